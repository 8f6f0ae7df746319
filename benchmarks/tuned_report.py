"""results/finetune*.json → docs/results.md, as far as it is about fine-tuning: `python -m benchmarks.tuned_report`.

No figure is typed by hand but the tutorial's own: a test compares the page with what is made here.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t

from benchmarks import trust_report
from benchmarks.marks import Parts, begin, fill, listed, merged, warning
from benchmarks.tables import Cell, Goal, block, goals_table, named, percent
from benchmarks.tuned_ours import Job

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "results.md", ROOT / "benchmarks" / "results"
BEGIN = begin("tuned_report")
NOTHING = "Nothing has been measured yet: `make finetune`.\n"
SURE = 0.95  # of intervals

# What the tutorial prints: DistilBERT as it comes, fine-tuned encoders, and the best it knew of.
FROZEN, PUBLISHED, BEST_KNOWN = 81.0, {"distilbert": 90.7, "bert": 94.9}, 96.8
_KINDS = {"full": "fine-tuned", "distilled": "fine-tuned, taught by MPNet"}
_AIMS = {"full, minilm": 0.89, "distilled, minilm": 0.90, "full, mpnet": 0.935}
_MINUTES, _FASTER = 15.0, 1.3
_SYSTEMS = ("frozen", "finetuned", "setfit")


def read(folder: Path = RESULTS) -> list[Parts]:
    """Return the parts measured so far, one dictionary for each machine."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("finetune*.json"))]


def render(machines: Sequence[Parts], frozen: Parts | None = None) -> str:
    """Return all tables as Markdown.

    Args:
        machines: see `read`.
        frozen: the parts of results/trust.json, which has the frozen encoders; None: they are read.
    """
    machines = [parts for parts in machines if set(parts) - {"header"}]
    if not machines:
        return NOTHING
    frozen = trust_report.read() if frozen is None else frozen
    blocks = [*(_machine(parts["header"]) for parts in machines), goals_table(list(_goals(machines))),
              *_whole(machines, frozen), *_trainer(machines), *_speed(machines), *_few(machines)]  # fmt: skip
    return "\n\n".join(text for text in blocks if text) + "\n"


def write(machines: Sequence[Parts], page: Path = PAGE) -> None:
    """Put the tables into the page."""
    fill(page, BEGIN, render(machines))


def _machine(header: Parts) -> str:
    versions = listed(merged(header["versions"]))
    return f"{warning(header)}**{place(header)}**. {versions}."


def place(header: Parts) -> str:
    """Return the machine in few words."""
    machine = header["machine"]
    return header.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores"


# ---------------------------------------------------------------- runs put together


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and Student's interval for it, (mean, low, high); as wide as can be for fewer than two values."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, float("-inf"), float("inf")
    half = float(t.ppf((1 + SURE) / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def grouped(parts: Parts, section: str) -> dict[str, dict[int, Parts]]:
    """Return what stands between a section's name and the seed → seed → run."""
    found: dict[str, dict[int, Parts]] = {}
    for name, part in named(parts, section):
        group, seed = name.rsplit(", ", 1)
        found.setdefault(group, {})[int(seed)] = part
    return found


def few(machines: Sequence[Parts]) -> dict[tuple[str, int], dict[str, dict[int, Parts]]]:
    """Return (encoder, rows of a label) → system → seed → run, of draws from which both compared systems learned.

    A draw's systems all ran on one machine.
    """
    found: dict[tuple[str, int], dict[str, dict[int, Parts]]] = {}
    for parts in machines:
        for name, part in named(parts, "few"):
            encoder, size, seed, system = name.split(", ")
            seeds = found.setdefault((encoder, int(size)), {}).setdefault(system, {})
            seeds.setdefault(int(seed), part | {"place": place(parts["header"])})
    drawn = ((group, _of_both(systems)) for group, systems in sorted(found.items()))
    return {group: systems for group, systems in drawn if systems}


def _of_both(systems: dict[str, dict[int, Parts]]) -> dict[str, dict[int, Parts]]:
    both = set(systems.get("finetuned", {})) & set(systems.get("setfit", {}))
    shared = {name: {seed: runs[seed] for seed in sorted(both & set(runs))} for name, runs in systems.items()}
    return shared if both else {}


def paired(systems: dict[str, dict[int, Parts]], key: str) -> list[tuple[float, float]]:
    """Return the values of `--finetune` and of SetFit, draw by draw."""
    own, other = systems["finetuned"], systems["setfit"]
    return [(own[seed][key], other[seed][key]) for seed in own]


def race(rounds: Iterable[Parts]) -> tuple[dict[str, float], float]:
    """Return system → median rate, and the median of the ratios formed within rounds."""
    runs = [part["runs"] for part in rounds]
    rates = {name: statistics.median(run[name]["rate"] for run in runs) for name in ("firstbert", "trainer")}
    return rates, statistics.median(run["firstbert"]["rate"] / run["trainer"]["rate"] for run in runs)


def _mean(runs: Iterable[Parts], key: str, scale: float = 1.0) -> float | None:
    known = [run[key] * scale for run in runs if run.get(key) is not None]
    return statistics.mean(known) if known else None


# ---------------------------------------------------------------- goals


def _goals(machines: Sequence[Parts]) -> Iterable[Goal]:
    for parts in machines:
        yield from _goals_whole(parts)
        for name, rounds in grouped(parts, "speed").items():
            yield f"{name}: examples/s, times Trainer's", "≥", _FASTER, race(rounds.values())[1], "{:.2f}".format
    for (encoder, size), systems in few(machines).items():
        what = f"{encoder}, {size} a label"
        pairs = paired(systems, "accuracy")
        if len(pairs) > 1:
            high = interval([own - other for own, other in pairs])[2]
            yield f"{what}: accuracy less SetFit's, upper end of the interval", "≥", 0.0, high, _points
            ratios = [other / own for own, other in paired(systems, "seconds")]
            yield f"{what}: times as quick as SetFit", ">", 1.0, statistics.median(ratios), "{:.2f}".format


def _goals_whole(parts: Parts) -> Iterable[Goal]:
    for key, aim in _AIMS.items():
        section, encoder = key.split(", ")
        if seeds := grouped(parts, section).get(encoder):
            accuracy = _mean(seeds.values(), "accuracy")
            assert accuracy is not None
            what = f"{encoder}, {_KINDS[section]} ({place(parts['header'])})"
            yield f"{what}: accuracy, mean of {len(seeds)}", "≥", aim, accuracy, percent
            if key == "full, minilm" and not parts["header"].get("gpu"):
                longest = max(run["seconds"] for run in seeds.values()) / 60
                yield f"{what}: minutes, the longest run", "≤", _MINUTES, longest, "{:.1f}".format


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


# ---------------------------------------------------------------- the tutorial's table


def _whole(machines: Sequence[Parts], frozen: Parts) -> list[str]:
    measured = {("full", encoder) for parts in machines for encoder in grouped(parts, "full")}
    rows = [*_out_of_reach(measured), *_frozen_rows(frozen), *(row for parts in machines for row in _tuned_rows(parts))]
    rows.append(["best the tutorial knows of", f"{BEST_KNOWN:.1f}", *[None] * 7])
    text = (
        "Accuracy in %; ± is the deviation over seeds; *published* is the tutorial's figure for the same. It takes the "
        "frozen one on a quarter of the first 2,000 rows, which is what *2,000 rows* means here; all else is on the "
        "test rows. Where nothing was measured, the encoder's weights are only to be had from the hub, which wasn't "
        "within reach: the command measures it. Minutes are those of the cores and the arithmetic beside the machine; "
        "below the table is what else they had to do."
    )
    head = ["", "published", "ours", "on dev", "tuned one saved", "seeds", "minutes", "machine", "command"]
    return [*block("The tutorial's table", text, head, rows), *_notes(machines, ("full", "distilled"))]


def _frozen_rows(frozen: Parts) -> Iterable[list[Cell]]:
    protocol = "the tutorial's protocol, "
    for name, part in named(frozen, "layers"):
        run, encoder, machine = part["runs"]["auto"], name.removeprefix(protocol), place(frozen["header"])
        if name != encoder:
            yield [f"{_title(encoder)}, frozen, 2,000 rows", None, f"{percent(run['accuracy'])} ± {percent(run['sd'])}",
                   None, None, run["seeds"], None, machine, f"`firstbert tutorial --encoder {encoder}`"]  # fmt: skip
        else:
            command = Job(Path("train.tsv"), Path("model"), encoder, finetune=False, test=Path("test.tsv")).shown
            yield [f"{_title(encoder)}, frozen", None, percent(run["accuracy"]), None, None, 1,
                   f"{run['seconds'] / 60:.1f}", machine, f"`{_any_seed(command)}`"]  # fmt: skip


def _tuned_rows(parts: Parts) -> Iterable[list[Cell]]:
    for section in ("full", "distilled"):
        for encoder, seeds in grouped(parts, section).items():
            runs = list(seeds.values())
            tuned = sum(run["saved"] != "frozen" for run in runs)
            figure = PUBLISHED.get(encoder) if section == "full" else None
            yield [f"{_title(encoder)}, {_KINDS[section]}", _digits(figure, 1), _spread(runs),
                   percent(_mean(runs, "validation")), f"{tuned} of {len(runs)}", len(runs),
                   _digits(_mean(runs, "seconds", 1 / 60), 1), _where(parts, runs),
                   f"`{_any_seed(runs[0]['command'])}`"]  # fmt: skip


def _where(parts: Parts, runs: Sequence[Parts]) -> str:
    """The machine, how many of its cores were used, and the arithmetic of the training."""
    header, cores = parts["header"], []
    if not header.get("gpu"):
        used = sorted({run.get("threads", header["machine"]["threads"]) for run in runs})
        cores = [f"{' or '.join(map(str, used))} used"]
    return "; ".join([place(header), *cores, *_precisions(runs)])


def _precisions(runs: Iterable[Parts]) -> list[str]:
    return sorted({run["finetune"]["precision"] for run in runs if run.get("finetune", {}).get("precision")})


def _notes(machines: Sequence[Parts], sections: Iterable[str]) -> Iterable[str]:
    """What is to be known of the machines' runs besides: what else they did at the time."""
    for parts in machines:
        found: dict[str, set[str]] = {}
        for section in sections:
            for name, part in named(parts, section):
                if "note" in part:
                    found.setdefault(name.split(", ")[0], set()).add(part["note"])
        for encoder, notes in found.items():
            yield f"{_title(encoder)} on {place(parts['header'])}: {' / '.join(sorted(notes))}."


def _out_of_reach(measured: set[tuple[str, str]]) -> Iterable[list[Cell]]:
    """Rows of the tutorial's encoders that weren't measured here."""
    gap: list[Cell] = ["weights out of reach", *[None] * 5]
    yield ["DistilBERT, frozen, 2,000 rows", f"{FROZEN:.1f}", *gap, "`firstbert tutorial --encoder distilbert`"]
    for encoder, figure in PUBLISHED.items():
        if ("full", encoder) not in measured:
            job = Job(Path("train.tsv"), Path("model"), encoder, validation=Path("dev.tsv"), test=Path("test.tsv"))
            yield [f"{_title(encoder)}, fine-tuned", f"{figure:.1f}", *gap, f"`{_any_seed(job.shown)}`"]


def _any_seed(command: str) -> str:
    return " ".join(command.replace(" --seed 0", "").split())


def _title(encoder: str) -> str:
    return {"distilbert": "DistilBERT", "bert": "BERT", "minilm": "MiniLM", "mpnet": "MPNet"}.get(encoder, encoder)


def _spread(runs: Iterable[Parts], key: str = "accuracy") -> str | None:
    values = [run[key] for run in runs if run.get(key) is not None]
    if len(values) < 2:
        return percent(values[0]) if values else None
    return f"{percent(statistics.mean(values))} ± {percent(statistics.stdev(values))}"


def _digits(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


# ---------------------------------------------------------------- peers


def _rows(machines: Sequence[Parts], section: str, row: Callable[[str, dict[int, Parts]], list[Cell]]) -> list[Any]:
    return [[*row(name, seeds), place(parts["header"])] for parts in machines
            for name, seeds in grouped(parts, section).items()]  # fmt: skip


def _trainer(machines: Sequence[Parts]) -> list[str]:
    def row(encoder: str, seeds: dict[int, Parts]) -> list[Cell]:
        runs = list(seeds.values())
        return [encoder, _spread(runs), len(runs), _digits(_mean(runs, "seconds", 1 / 60), 1), runs[0]["batch_size"],
                f"{runs[0]['epochs']:g}"]  # fmt: skip

    text = "All of SST-2's training rows, nothing set: no early stopping, so its minutes are those of three epochs."
    head = ["", "accuracy on test, %", "seeds", "minutes", "batch", "epochs", "machine"]
    return block("transformers' Trainer with its defaults", text, head, _rows(machines, "trainer", row))


def _speed(machines: Sequence[Parts]) -> list[str]:
    def row(name: str, rounds: dict[int, Parts]) -> list[Cell]:
        rates, faster = race(rounds.values())
        runs = [part["runs"] for part in rounds.values()]
        systems = ("firstbert", "trainer")
        accuracy = [percent(_mean((run[system] for run in runs), "accuracy")) for system in systems]
        steps = [runs[0][system]["steps"] for system in systems]
        return [name, rates["firstbert"], rates["trainer"], f"{faster:.2f} ×", *accuracy, *steps, len(runs)]

    text = (
        "One epoch on SST-2's training rows, or on as many of the first of them as the steps say, batches of 32, in "
        "turns; medians, the ratio formed within a round."
    )
    head = ["", "firstbert, examples/s", "Trainer, examples/s", "faster", "firstbert on dev, %", "Trainer on dev, %",
            "firstbert, steps", "Trainer, steps", "rounds", "machine"]  # fmt: skip
    return block("Examples a second", text, head, _rows(machines, "speed", row))


def _few(machines: Sequence[Parts]) -> list[str]:
    rows: list[list[Cell]] = []
    for (encoder, size), systems in few(machines).items():
        runs = [list(systems.get(system, {}).values()) for system in _SYSTEMS]
        differences = [own - other for own, other in paired(systems, "accuracy")]
        places = Counter(run["place"] for run in runs[1])
        where = "; ".join(f"{place} ({n})" if len(places) > 1 else place for place, n in places.items())
        how = " or ".join(_precisions(runs[1])) or None
        rows.append([f"{encoder}, {size}", *map(_spread, runs), _difference(differences), len(differences),
                     *(_digits(_mean(own, "seconds"), 1) for own in runs), how, where])  # fmt: skip
    text = (
        "Accuracy on SST-2's test rows, %, by rows of each label; ± is the deviation over seeds. *Ours less SetFit* is "
        "paired over seeds, in points, with Student's 95 % interval. Seconds are those of "
        "the whole command; SetFit's, from its first import to the trained model. `--finetune` trains in *precision*, "
        "which it chooses by the processor; SetFit in fp32, as it comes."
    )
    head = ["", "frozen", "`--finetune`", "SetFit", "ours less SetFit", "seeds", "frozen, s", "`--finetune`, s",
            "SetFit, s", "precision", "machine"]  # fmt: skip
    return [*block("Few labels", text, head, rows), *_notes(machines, ["few"])]


def _difference(values: Sequence[float]) -> str | None:
    if len(values) < 2:
        return None
    mean, low, high = interval(values)
    return f"{_points(mean)} ({_points(low)} to {_points(high)})"


if __name__ == "__main__":
    write(read())
