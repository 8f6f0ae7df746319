"""results/bulk.json → the tables of docs/scale.md: `python -m benchmarks.bulk_report`.

No figure is typed by hand but the example's price: a test compares the page with what is made here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

from benchmarks import bulk_model, marks
from benchmarks.bulk_model import Parts, rounds
from benchmarks.marks import begin, fill, listed, merged, warning
from benchmarks.tables import Cell, Goal, block, goals_table, mb, named, ratio

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "scale.md", ROOT / "benchmarks" / "results" / "bulk.json"
BEGIN = begin("bulk_report")
NOTHING = "Nothing has been measured yet: `make bulk`.\n"

PRICE = 0.05  # of a core-hour, an example
TOKENS = 24  # of a sentence, about SST-2's
MILLION = 1_000_000
JOBS = ((MILLION, (2, 16)), (10 * MILLION, (2, 16, 64)), (1000 * MILLION, (16, 64, 256, 1024)))
_FASTER, _OF_ENCODER, _OF_LOCAL, _MEMORY = 1.5, 0.95, 0.9, 1.2
_LAST = {"minilm": "6", "mpnet": "12", "tiny": "1"}


def read(path: Path = RESULTS) -> Parts:
    """Return the parts measured so far; none where there is no file."""
    return marks.read(path)


def render(parts: Parts) -> str:
    """Return all tables as Markdown; each needs the sections that it is made from."""
    if not set(parts) - {"header"}:
        return NOTHING
    blocks = [_machine(parts["header"]), goals_table(list(_goals(parts))), *_peers(parts), *_rate(parts),
              *_memory(parts), *_encode(parts), *_cost(parts), *_files(parts), *_limits(parts), *_jobs(parts),
              *_checked(parts)]  # fmt: skip
    return "\n\n".join(text for text in blocks if text) + "\n"


def write(parts: Parts, page: Path = PAGE) -> None:
    """Put the tables into the page."""
    fill(page, BEGIN, render(parts))


def _machine(header: Parts) -> str:
    machine = header["machine"]
    versions = listed(merged(header["versions"]))
    size = f"{machine['cores']} cores, {machine['threads']} threads, {machine['memory_gb']:.0f} GB"
    return f"{warning(header)}{machine['cpu']}, {size}, Python {machine['python']}. {versions}."


# ---------------------------------------------------------------- numbers


def _count(value: float) -> str:
    """Two digits of what is small, none after the point of what is large."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(seconds: float) -> str:
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _rows(n: float) -> str:
    return f"{n:,.0f}"


def _median(runs: Iterable[Parts], name: str, key: str) -> float:
    return statistics.median(run[name][key] for run in runs)


def _within(runs: Iterable[Parts], one: str, other: str, key: str) -> float:
    """The median of the ratios formed within rounds."""
    return statistics.median(run[one][key] / run[other][key] for run in runs)


# ---------------------------------------------------------------- goals


def _goals(parts: Parts) -> Iterable[Goal]:
    if runs := rounds(parts, "peers"):
        for what, others in (("sentence-transformers, its best", _loops(runs)), ("SetFit", ["SetFit"])):
            own = min(_within(runs, "firstbert", name, "rows_per_s") for name in others)
            whole = min(_within(runs, name, "firstbert", "wall") for name in others)
            peak = min(_within(runs, name, "firstbert", "peak") for name in others)
            yield f"rows/s, times {what}", "≥", _FASTER, own, ratio
            yield f"the whole command, times as quick as {what}", "≥", _FASTER, whole, ratio
            yield f"least memory of {what}, times ours", ">", 1.0, peak, ratio
    if runs := rounds(parts, "rate"):
        share = _within(runs, "local", "encoder", "rows_per_s")
        yield "rows/s, share of SentenceEncoder's alone", "≥", _OF_ENCODER, share, ratio
        yield "Ray: rows/s, share of one process's", "≥", _OF_LOCAL, bulk_model.of_ray(parts), ratio
    for kind, part in named(parts, "memory"):
        few, many = (f"{int(n):,}" for n in part["runs"])
        yield f"{kind}: memory of {many} rows, times that of {few}", "≤", _MEMORY, part["ratio"], ratio


def _loops(runs: list[Parts]) -> list[str]:
    return [name for name in runs[0] if name.startswith("sentence-transformers")]


# ---------------------------------------------------------------- what was measured


def _peers(parts: Parts) -> list[str]:
    runs = rounds(parts, "peers")
    if not runs:
        return []
    rows: list[list[Cell]] = []
    for name in sorted(runs[0], key=lambda name: -_median(runs, name, "rows_per_s")):
        figures = (_median(runs, name, key) for key in ("rows_per_s", "wall"))
        same = min(run[name]["same_labels"] for run in runs)
        rows.append([name, *map(_count, figures), mb(_median(runs, name, "peak")), f"{100 * same:.2f} %"])
    text = (
        f"{_rows(runs[0]['firstbert']['rows'])} different sentences, MiniLM's last layer, the same weights of the "
        f"regression everywhere; median of {len(runs)} rounds in turns, each run a process of its own. *Rows/s* is "
        "from the first row read to the last one written, the model being loaded; *seconds* is the whole command."
    )
    return block("Against others", text, ["", "rows/s", "seconds", "peak MB", "labels as ours"], rows)


def _rate(parts: Parts) -> list[str]:
    runs = rounds(parts, "rate")
    if not runs:
        return []
    names = {"encoder": "SentenceEncoder alone", "local": "firstbert predict", "ray": "firstbert predict --engine ray"}
    rows: list[list[Cell]] = [
        [
            f"`{names[name]}`" if name != "encoder" else names[name],
            _count(_median(runs, name, "rows_per_s")),
            ratio(_within(runs, name, "encoder", "rows_per_s")),
            _count(_median(runs, name, "wall")),
        ]
        for name in names
    ]
    text = (
        f"{_rows(runs[0]['local']['rows'])} sentences, MiniLM's last layer, CSV in and out; median of {len(runs)} "
        "rounds in turns, ratios formed within rounds. Ray has a cluster of this machine's cores, one worker each; "
        "*seconds* has its start in it, *rows/s* that of its workers."
    )
    return block("Against the encoder alone, and on Ray", text, ["", "rows/s", "of the encoder's", "seconds"], rows)


def _memory(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    for kind, part in named(parts, "memory"):
        for n, run in part["runs"].items():
            whole = "yes" if run["in_order"] else "**no**"
            rows.append([f"{kind}, {int(n):,} rows", mb(run["peak"]), _count(run["rows_per_s"]),
                         _count(run["wall"]), whole])  # fmt: skip
    text = "A tiny random encoder, so that all but encoding shows: one layer, 32 wide."
    return block("Memory by size", text, ["", "peak MB", "rows/s", "seconds", "each id once, in order"], rows)


def _configurations(parts: Parts) -> list[tuple[str, Parts]]:
    return [(name, part) for name, part in named(parts, "encode") if not name.startswith("tiny")]


def _title(name: str) -> str:
    encoder, precision, layer = name.split(", ")
    return f"{encoder}, layer {_LAST[encoder] if layer == 'last' else layer}, {precision}"


def _encode(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    head: list[str] = []
    for name, part in _configurations(parts):
        runs = list(part["lengths"].values())
        head = [f"{run['tokens'] / run['rows']:.0f} tokens" for run in runs]
        both = part["lengths"][sorted(part["lengths"], key=int)[1]]["tokens_per_s"]
        threads = parts["header"]["machine"]["threads"]
        scaled = both / (threads * part["one_core"]["tokens_per_s"])
        rows.append([_title(name), *(_count(run["tokens_per_s"]) for run in runs), ratio(scaled)])
    for threads, part in named(parts, "tokenise"):
        cells = [_count(run["tokens_per_s"]) for run in part["lengths"].values()]
        rows.append([f"tokenising alone, threads: {threads}", *cells, None])
    text = (
        "Tokens/s on all cores by length of the texts, tokenising included; median of 3. The last column: what all "
        "cores do together, as a share of what one does alone, times their number."
    )
    return block("Tokens a second", text, ["", *head, "efficiency"], rows)


def _cost(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    head: list[str] = []
    for name, part in _configurations(parts):
        lengths = [run["tokens"] / run["rows"] for run in part["lengths"].values()]
        head = [f"{n:.0f} tokens" for n in lengths]
        hours = [MILLION * n / bulk_model.core_rate(parts, name, n) / 3600 for n in lengths]
        rows.append([_title(name), *(_count(one) for one in hours), *(f"{PRICE * one:.2f}" for one in hours[1:2])])
    text = (
        f"Core-hours for a million sentences of so many tokens, and what they cost at {PRICE} a core-hour: an example, "
        "put in your own price. Reading and writing come on top, see below."
    )
    return block("What a million sentences take", text, ["", *head, f"price, {head[1]}"] if head else [], rows)


def _files(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = [
        [
            kind,
            *(_count(part["rows"] / part[step]) for step in ("look", "read", "write", "whole")),
            _count(part["bytes"] / 1e6 / part["read"]),
            _count(part["bytes"] / part["rows"]),
        ]
        for kind, part in named(parts, "files")
    ]
    text = (
        "One process, rows/s: looking through a file before the start (and hashing it), reading, writing, and a whole "
        "job whose encoder costs nothing, the journal and the putting together included. The last but one is MB/s of "
        "reading, the last bytes a row."
    )
    return block(
        "Reading and writing", text, ["", "looking", "reading", "writing", "a whole job", "MB/s", "bytes"], rows
    )


# ---------------------------------------------------------------- what follows


def _known(parts: Parts, *names: str) -> bool:
    return all(name in parts for name in names) and all(rounds(parts, one) for one in ("peers", "rate"))


def _limits(parts: Parts) -> list[str]:
    if not _known(parts, "files, csv", "cluster, start", "cluster, free"):
        return []
    rows: list[list[Cell]] = []
    for name, part in _configurations(parts):
        lengths = [run["tokens"] / run["rows"] for run in part["lengths"].values()]
        cells = [f"{bulk_model.on_ray(parts, name, n).limit(n):,}" for n in lengths]
        rows.append([_title(name), *cells])
    head = [f"{n:.0f} tokens" for n in lengths] if rows else []
    text = (
        f"Rows go to the workers and back through one process, the driver: {_rows(bulk_model.driver_of_ray(parts))} "
        "rows/s where workers cost nothing, with reader, driver and workers sharing this machine's cores. From so many "
        "cores on, more of them bring nothing: part the input then, and run several jobs, each with a driver of its "
        "own. Tokenising is the workers' and grows with them; what one core tokenises stands above."
    )
    return block("Where the bottleneck moves", text, ["cores", *head], rows)


def _jobs(parts: Parts) -> list[str]:
    if not _known(parts, "files, csv", "cluster, start", "cluster, free"):
        return []
    rows: list[list[Cell]] = []
    for name in ("minilm, fp32, last", "minilm, int8, 4", "mpnet, fp32, last", "mpnet, int8, last"):
        if f"encode, {name}" not in parts:
            continue
        speeds = bulk_model.on_ray(parts, name, TOKENS)
        alone = bulk_model.local(parts, name, TOKENS)
        for n, clusters in JOBS:
            for cores in clusters:
                here = cores == parts["header"]["machine"]["threads"]
                seconds = alone.here(n, TOKENS, cores) if here else speeds.cluster(n, TOKENS, cores)
                held = not here and n / speeds.driver > speeds.encoding(n, TOKENS, cores)
                core_hours = seconds * cores / 3600
                rows.append([f"{_title(name)}: {n:,} rows, {cores:,} cores", _time(seconds), _count(core_hours),
                             _count(PRICE * core_hours), "the driver" if held else "encoding"])  # fmt: skip
    share = bulk_model.of_ray(parts)
    text = (
        f"Sentences of {TOKENS} tokens; {parts['header']['machine']['threads']} cores are one machine, more are a Ray "
        f"cluster with an efficiency of {min(1.0, share):.2f}, which is what Ray reached of one process on this "
        f"machine's cores. Reckoned, not run; the price is {PRICE} a core-hour. Not in it: a network slower than the "
        "driver, cores unlike these, nodes that die."
    )
    return block("Ten million rows, and a billion", text, ["", "time", "core-hours", "price", "held up by"], rows)


def _checked(parts: Parts) -> list[str]:
    """What was foretold from the parts, beside what a whole run took."""
    rows = [_row(*one) for one in (*_runs_here(parts), *_runs_waited(parts))]
    text = (
        "The model against runs that it wasn't made from: whole commands on this machine, start to end, and clusters "
        "in which Ray, driver, reader and files are real and the workers wait as long as so many cores would encode."
    )
    return block("The model, checked", text, ["", "foretold, s", "measured, s", "off by"], rows)


def _row(what: str, foretold: float, measured: float) -> list[Cell]:
    return [what, _count(foretold), _count(measured), f"{100 * (foretold / measured - 1):+.0f} %"]


def _runs_here(parts: Parts) -> Iterable[tuple[str, float, float]]:
    if not _known(parts, "files, csv"):
        return
    threads = parts["header"]["machine"]["threads"]
    if "encode, minilm, fp32, last" in parts:
        runs = [run["local"] for run in rounds(parts, "rate")]
        n, tokens = runs[0]["rows"], runs[0]["tokens"] / runs[0]["rows"]
        foretold = bulk_model.local(parts, "minilm, fp32, last", tokens).here(n, tokens, threads)
        yield f"MiniLM, {n:,} rows, CSV", foretold, statistics.median(run["wall"] for run in runs)
    if "encode, tiny, fp32, last" in parts:
        for kind, part in named(parts, "memory"):
            if f"files, {kind}" not in parts:
                continue
            few, many = part["runs"].values()
            n, tokens = many["rows"], many["tokens"] / many["rows"]
            core = bulk_model.core_rate(parts, "tiny, fp32, last", tokens)
            start = few["wall"] - few["seconds"]
            speeds = bulk_model.Speeds(core, bulk_model.driver_here(parts, kind), start)
            yield f"tiny encoder, {n:,} rows, {kind}", speeds.here(n, tokens, threads), many["wall"]


def _runs_waited(parts: Parts) -> Iterable[tuple[str, float, float]]:
    if "cluster, free" not in parts or "cluster, start" not in parts:
        return
    driver, start = bulk_model.driver_of_ray(parts), parts["cluster, start"]["seconds"]
    for name, part in named(parts, "cluster"):
        if name not in ("free", "start"):
            foretold = bulk_model.Speeds(part["core_rows_per_s"], driver, start).cluster(part["rows"], 1, part["cores"])
            yield f"waiting for {int(name):,} cores of MiniLM, {part['rows']:,} rows", foretold, part["seconds"]


def main() -> None:
    write(read())


if __name__ == "__main__":
    main()
