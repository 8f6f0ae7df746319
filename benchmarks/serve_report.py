"""results/serve.json → the tables of docs/serving.md: `python -m benchmarks.serve_report`.

No figure is typed by hand: a test compares the page with what is made here.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import marks
from benchmarks.marks import Parts, begin, fill, listed, warning
from benchmarks.tables import Cell, Goal, block, goals_table, mb, named, ratio

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "serving.md", ROOT / "benchmarks" / "results" / "serve.json"
BEGIN = begin("serve_report")
NOTHING = "Nothing has been measured yet: `make serve-bench`.\n"
OURS, INSIDE = "firstbert", "in-process"
ALLOWED = {"200", "429", "503"}  # what a flooded server may answer

_SHARE, _TIMES, _MORE_MS, _FLAT = 0.85, 2.0, 3.0, 1.05


def read(path: Path = RESULTS) -> Parts:
    """Return the parts measured so far; none where there is no file."""
    return marks.read(path)


def render(parts: Parts) -> str:
    """Return all tables as Markdown; each needs the sections that it is made from."""
    if not set(parts) - {"header"}:
        return NOTHING
    blocks = [_machine(parts["header"]), goals_table(list(_goals(parts))), *_throughput(parts), *_settings(parts),
              *_latency(parts), *_flood(parts), *_memory(parts), *_term(parts), *_soak(parts)]  # fmt: skip
    return "\n\n".join(text for text in blocks if text) + "\n"


def write(parts: Parts, page: Path = PAGE) -> None:
    """Put the tables into the page."""
    fill(page, BEGIN, render(parts))


def _machine(header: Parts) -> str:
    machine = header["machine"]
    size = f"{machine['cores']} cores, {machine['threads']} threads, {machine['memory_gb']:.0f} GB"
    lines = [f"{warning(header)}{machine['cpu']}, {size}, Python {machine['python']}."]
    for name, found in header["versions"].items():
        if found:
            lines.append(f"{'firstbert' if name == OURS else 'The environment of ' + name}: {listed(found)}.")
    return "\n".join(lines)


# ---------------------------------------------------------------- numbers


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f}" if seconds >= 0.1 else f"{1000 * seconds:.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _tiny(value: float) -> str:
    return f"{value:.1g}"


def _statuses(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {n:,}" for name, n in found.items()) or "none"


def _summed(found: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in found:
        for name, n in one.items():
            total[name] = total.get(name, 0) + n
    return total


def _rounds(parts: Parts) -> list[Parts]:
    """The runs of each round; a system that failed in one is told of in none."""
    return [part["runs"] for name, part in named(parts, "throughput") if not name.startswith("settings")]


def _names(runs: Sequence[Parts]) -> list[str]:
    return [name for name in runs[0] if all(name in run for run in runs)]


def _median(runs: Iterable[Parts], value: Callable[[Parts], float]) -> float:
    return statistics.median(map(value, runs))


def _share(runs: Iterable[Parts], one: str, other: str) -> float:
    """The median of the ratios of rates formed within rounds."""
    return statistics.median(run[one]["rate"] / run[other]["rate"] for run in runs)


def _inside(name: str) -> str:
    """The in-process run of the same model."""
    return f"{INSIDE}, layer auto" if name.endswith("layer auto") else INSIDE


def _bad(statuses: Mapping[str, int]) -> int:
    return sum(n for name, n in statuses.items() if name not in ALLOWED)


# ---------------------------------------------------------------- goals


def _goals(parts: Parts) -> Iterable[Goal]:
    if runs := _rounds(parts):
        for name in (name for name in _names(runs) if name.startswith(OURS)):
            what = f"rows/s, share of in-process bulk{name.removeprefix(OURS)}"
            yield what, "≥", _SHARE, _share(runs, name, _inside(name)), ratio
        for name in _names(runs):
            if not name.startswith((OURS, INSIDE, "infinity")):
                yield f"rows/s, times {name}", "≥", _TIMES, _share(runs, OURS, name), ratio
        yield "answers that are wrong", "≤", 0, sum(run[OURS]["answers"]["wrong"] for run in runs), _count
    if found := [part for _, part in named(parts, "latency")]:
        more = statistics.median(_difference(part) for part in found)
        yield "one request of an idle server: p50, ms above in-process", "≤", _MORE_MS, 1000 * more, ratio
    yield from _goals_overload(parts)
    if part := parts.get("soak, mixed"):
        wrong = part["answers"]["wrong"] + sum(kind["wrong"] for kind in part["kinds"].values())
        yield "soak: answers that are wrong, or of a wrong status", "≤", 0, wrong, _count
        yield (
            "soak: most memory after the first minute, times the least",
            "≤",
            _FLAT,
            part["rss"]["ratio"],
            "{:.3f}".format,
        )


def _goals_overload(parts: Parts) -> Iterable[Goal]:
    if part := parts.get("overload, flood"):
        found, rss = part["flood"], part["rss"]
        yield "flood: answers that are wrong", "≤", 0, found["answers"]["wrong"], _count
        yield "flood: ended otherwise than by 200, 429, 503", "≤", 0, _bad(_sent(found["statuses"])), _count
        grown = rss["second_half"] / max(rss["first_half"], 1)
        yield "flood: most memory of its second half, times the first's", "≤", _FLAT, grown, "{:.3f}".format
        yield (
            "flood: capacity after it, times before",
            "≥",
            0.95,
            part["after"]["rate"] / part["before"]["rate"],
            ratio,
        )
    if ends := [part for name, part in named(parts, "overload") if name.startswith("term")]:
        yield "SIGTERM under load: requests sent before it and lost", "≤", 0, sum(one["lost"] for one in ends), _count


def _sent(statuses: Mapping[str, int]) -> dict[str, int]:
    """Without those for which the load had no connection."""
    return {name: n for name, n in statuses.items() if name != "unsent"}


def _difference(part: Parts) -> float:
    return float(part["served"]["p50"] - part["in-process"]["p50"])


# ---------------------------------------------------------------- what was measured


def _throughput(parts: Parts) -> list[str]:
    runs = _rounds(parts)
    if not runs:
        return []
    rows: list[list[Cell]] = []
    every = {name: [run[name] for run in runs] for name in _names(runs)}
    for name, of in sorted(every.items(), key=lambda item: -_median(item[1], lambda run: run["rate"])):
        share = None if name.startswith(INSIDE) else ratio(_share(runs, name, _inside(name)))
        rows.append([name, _count(_median(of, lambda run: run["rate"])), share, *_of_server(of)])
    text = (
        "64 clients, each sending one of SST-2's test sentences when it has the answer to the last; median of "
        f"{len(runs)} rounds in turns, shares formed within rounds. *In-process* labels the same sentences as files "
        "are labelled. *Load* is the CPU time that sending and reading took, a share of one core. *Wrong* counts "
        "answers with another label than the library's, or a score further off than 1e-6 (1e-4 for another library's "
        "arithmetic)."
    )
    head = ["", "rows/s", "of in-process", "p50 ms", "p95 ms", "p99 ms", "peak MB", "load", "not 200", "wrong"]
    return block("64 clients at once", text, head, rows)


def _of_server(of: list[Parts]) -> list[Cell]:
    if "latency" not in of[0]:
        return [None] * 7
    times = [_ms(_median(of, lambda run, q=q: run["latency"][q] or 0.0)) for q in ("p50", "p95", "p99")]
    others = sum(n for run in of for status, n in run["statuses"].items() if status != "200")
    wrong = sum(run["answers"]["wrong"] for run in of) if "answers" in of[0] else None
    load = _median(of, lambda run: run["load_cpu"] / run["wall"])
    return [*times, mb(_median(of, lambda run: run["peak"])), ratio(load), others, wrong]


def _settings(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    for system, part in named(parts, "throughput"):
        if not system.startswith("settings"):
            continue
        for name, run in part["tried"].items():
            title = f"{system.removeprefix('settings of ')}: {name}"
            mark = "**taken**" if name == part["best"] else ""
            rows.append([title, _count(run["rate"]), _ms(run["latency"]["p99"]), mark])
    text = "Each for ten seconds; the quickest runs against the others."
    return block("How the others were set", text, ["", "rows/s", "p99 ms", ""], rows)


def _latency(parts: Parts) -> list[str]:
    found = [part for _, part in named(parts, "latency")]
    if not found:
        return []
    rows: list[list[Cell]] = [
        [title, *(_ms(statistics.median(part[name][q] for part in found)) for q in ("p50", "p99"))]
        for name, title in (("in-process", "`predictor.predict([text])`"), ("served", "a request"))
    ]
    text = (
        "One text at a time, nothing else to do: one client on one connection, and the same calls inside a process, "
        f"in turns; {found[0]['n']:,} of each a round, median of {len(found)} rounds."
    )
    return block("One request at a time", text, ["", "p50 ms", "p99 ms"], rows)


def _flood(parts: Parts) -> list[str]:
    part = parts.get("overload, flood")
    if not part:
        return []
    rows: list[list[Cell]] = []
    for name, title in (("before", "before, 64 clients"), ("flood", "the flood"), ("after", "after it, 64 clients")):
        run = part[name]
        cells = [_count(run["rate"]), _ms(run["latency"]["p50"]), _ms(run["latency"]["p99"])]
        rows.append([title, _count(run["sent_rate"]), *cells, _statuses(run["statuses"]),
                     run["answers"]["wrong"]])  # fmt: skip
    text = (
        f"Requests come at ten times the rate that 64 clients reached, {_count(part['flood']['asked_rate'])} a second "
        "for a minute, whether they are answered or not; latency counts from the moment at which a request was due. "
        f"Sending took {ratio(part['flood']['load_cpu'] / part['flood']['wall'])} of a core. *Unsent*: the load had "
        f"no connection left. The server {'still ran' if part['alive'] else '**had ended**'}, and SIGTERM ended it "
        f"with code {part['exit']}."
    )
    head = ["", "sent/s", "answered/s", "p50 ms", "p99 ms", "how they ended", "wrong"]
    return block("Ten times too many", text, head, rows)


def _memory(parts: Parts) -> list[str]:
    part = parts.get("overload, flood")
    if not part:
        return []
    titles = {"before": "before", "first_half": "most in the first half", "second_half": "most in the second half",
              "after": "after", "at_the_end": "after 64 clients again"}  # fmt: skip
    rows: list[list[Cell]] = [[title, mb(part["rss"][name])] for name, title in titles.items()]
    return block("Memory in the flood", "Resident memory of the server.", ["", "MB"], rows)


def _term(parts: Parts) -> list[str]:
    ends = [part for name, part in named(parts, "overload") if name.startswith("term")]
    if not ends:
        return []
    titles = {
        "before": "sent before SIGTERM",
        "under_way": "of these, unanswered at that moment",
        "after": "sent after it",
    }
    rows: list[list[Cell]] = [[title, _statuses(_summed(one[name] for one in ends))] for name, title in titles.items()]
    rows.append(["of what was sent after it, lost with its connection", str(sum(one["reset_after"] for one in ends))])
    rows.append(["wrong answers", str(sum(one["answers"]["wrong"] for one in ends))])
    rows.append(["exit codes", ", ".join(str(one["exit"]) for one in ends)])
    slowest = max(one["last_answer"] for one in ends)
    text = (
        f"{len(ends)} servers, each ended while 64 clients wait; a client whose connection ends tries another, until "
        f"that is refused. The last answer came {_ms(slowest)} ms after the signal, at most."
    )
    return block("SIGTERM under load", text, ["", ""], rows)


def _soak(parts: Parts) -> list[str]:
    part = parts.get("soak, mixed")
    if not part:
        return []
    rows: list[list[Cell]] = [
        [name, _statuses(kind["statuses"]), kind["wrong"]] for name, kind in part["kinds"].items()
    ]
    rss, load = part["rss"], part["load"]
    text = (
        f"16 clients for {load['wall'] / 60:.0f} minutes: texts of one to sixteen sentences, lists of 1 to 32, "
        f"requests that can't be answered, explanations. {_count(part['answers']['checked'])} answers were held "
        f"against the library's, {part['answers']['wrong']} were wrong; the largest difference of a score is "
        f"{_tiny(part['answers']['furthest'])}. After the first minute the server held {mb(rss['least'])} to "
        f"{mb(rss['most'])} MB, with a slope of {rss['slope'] / 1e6:+.2f} MB a minute."
    )
    return block("Ten minutes of everything", text, ["", "how they ended", "otherwise than they should"], rows)


def main() -> None:
    write(read())


if __name__ == "__main__":
    main()
