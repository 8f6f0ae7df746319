"""The JSON files of a run → tables in docs/benchmarks.md and the README, and a plot.

`python -m benchmarks.report` writes all three.

No figure is typed by hand: a test compares the page with what is made here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.marks import Parts, begin, fill, listed, merged, warning
from benchmarks.tables import Cell, mb, met, table

ROOT = Path(__file__).parent.parent
PAGE, PLOT = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.svg"
README = ROOT / "README.md"
BEGIN = begin("report")
NOTHING = "Nothing has been measured yet: `make bench`.\n"


def read(folder: Path) -> dict[str, Parts]:
    """Return section → its parts, of the sections that are there; other pages' files lie beside them."""
    files = {name: folder / f"{name}.json" for name in sorted(_MAKERS)}
    return {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}


def render(sections: dict[str, Parts]) -> str:
    """Return all tables as Markdown."""
    if not sections:
        return NOTHING
    blocks = [_machine(next(iter(sections.values()))["header"]), _goals(sections)]
    blocks += [block for name, make in _MAKERS.items() if name in sections for block in make(sections[name])]
    return "\n\n".join(block for block in blocks if block) + "\n"


def write(folder: Path, page: Path = PAGE, plot: Path = PLOT, readme: Path = README) -> None:
    """Put the tables into the page and the README, and draw the plot."""
    sections = read(folder)
    fill(page, BEGIN, render(sections))
    fill(readme, BEGIN, summary(sections))
    if "throughput" in sections:
        draw(sections["throughput"], plot)


def summary(sections: dict[str, Parts]) -> str:
    """Return the README's table: firstbert and the fastest of the others, load by load."""
    loads = [(f"{name}, fp32", part, "fp32") for name, part in _measured(sections.get("throughput", {}))]
    int8 = _measured(sections.get("int8", {}))
    loads += [(f"{name[7:]}, int8", part, "int8") for name, part in int8 if name.startswith("rates")]
    rows: list[list[Cell]] = []
    for name, part, precision in loads:
        own = part["systems"]["firstbert" if precision == "fp32" else f"firstbert {precision}"]
        if best := fastest(part, precision):
            rows.append([name, own["rate"], best[0], best[1]["rate"], _times(best[1])])
    return (
        table(["texts a second", "firstbert", "fastest other", "it has", "firstbert is"], rows) + "\n"
        if rows
        else NOTHING
    )


# ---------------------------------------------------------------- the machine and the goals


def _machine(header: Parts) -> str:
    machine, versions = header["machine"], header["versions"]
    flags = ", ".join(machine["flags"])
    return (
        f"{warning(header)}{machine['cpu']} (family/model/stepping {machine['family']}; {flags}), "
        f"{machine['cores']} cores, {machine['threads']} threads for every system, {machine['memory_gb']:.0f} GB, "
        f"Python {machine['python']}. {listed(merged(versions))}."
    )


def _goals(sections: dict[str, Parts]) -> str:
    rows = [*_goals_throughput(sections.get("throughput", {})), *_goals_int8(sections.get("int8", {})),
            *_goals_tutorial(sections.get("tutorial", {})), *_goals_latency(sections.get("latency", {})),
            *_goals_memory(sections.get("memory", {}))]  # fmt: skip
    if not rows:
        return ""
    shown = [(what, f"{sign} {goal:g}", value, "yes" if met(sign, goal, value) else "**no**")
             for what, sign, goal, value in rows]  # fmt: skip
    return "### Goals\n\n" + table(["", "goal", "measured", "reached"], shown)


Goal = tuple[str, str, float, float]


def _peers(part: Parts, precision: str) -> dict[str, Parts]:
    """Return the peers that were measured at a precision."""
    return {name: facts for name, facts in part["systems"].items()
            if facts["system"] != "firstbert" and "rate" in facts and facts["precision"] == precision}  # fmt: skip


def fastest(part: Parts, precision: str) -> tuple[str, Parts] | None:
    """Return the fastest of the peers at a precision."""
    peers = _peers(part, precision)
    return max(peers.items(), key=lambda item: float(item[1]["rate"])) if peers else None


def _goals_throughput(parts: Parts) -> Iterable[Goal]:
    for name, part in _measured(parts):
        if best := fastest(part, "fp32"):
            yield f"{name}, fp32: times {best[0]}", "≥", 1.0, best[1]["firstbert_faster"]
    for name, part in _measured(parts):
        yield f"{name}, fp32: useful arithmetic, share of the best sgemm", "≥", 0.92, share(part, "firstbert")
        worst = max(facts["max_difference"] for facts in part["systems"].values() if "rate" in facts)
        yield f"{name}, fp32: largest difference from any peer", "≤", 1e-4, worst


def _goals_int8(parts: Parts) -> Iterable[Goal]:
    for name, part in _measured(parts):
        if name.startswith("rates") and (best := fastest(part, "int8")):
            yield f"{name[7:]}, int8: times {best[0]}", "≥", 1.1, best[1]["firstbert_faster"]
    changes = [part["change"] for name, part in _measured(parts) if name.startswith("accuracy")]
    if changes:
        yield (
            f"int8: points of accuracy lost, mean of {len(changes)} encoders, dev and test",
            "≤",
            0.3,
            -sum(changes) / len(changes),
        )
    if part := parts.get("less, minilm"):
        (only,) = _peers(part, "int8").values()
        yield (
            "less: points of test accuracy above the peer's",
            "≥",
            0.0,
            100 * (part["firstbert"]["test"] - part["peer"]["test"]),
        )
        yield f"less: rows/s, times {part['peer']['system']}", "≥", 1.5, only["firstbert_faster"]


def _goals_tutorial(parts: Parts) -> Iterable[Goal]:
    if part := parts.get("vectors"):
        systems = part["systems"]
        yield "the tutorial's vectors, fp32: times its code", "≥", 3.5, systems["firstbert"]["faster"]
        yield "the tutorial's vectors, int8: times its code", "≥", 6.0, systems["firstbert int8"]["faster"]
        yield "the tutorial's vectors, fp32: largest difference", "≤", 1e-4, systems["firstbert"]["max_difference"]
    if part := parts.get("result"):
        reached = [trial for trial in part["timed"] if trial["accuracy"] >= part["target"]]
        best = max((trial["sooner"] for trial in reached), default=0.0)
        yield "the tutorial's result: times sooner", "≥", 10.0, best


def _goals_latency(parts: Parts) -> Iterable[Goal]:
    if part := parts.get("warm"):
        systems = part["systems"]
        for name in ("sentence-transformers", "transformers pipeline"):
            if "p50" in systems[name]:
                yield (
                    f"one sentence, warm: share of {name}'s p50",
                    "≤",
                    0.5,
                    (systems["firstbert"]["p50"] / systems[name]["p50"]),
                )
    if part := parts.get("cold"):
        yield "one sentence, cold: times `import onnxruntime`", "≤", 2.5, part["times_import"]


def _goals_memory(parts: Parts) -> Iterable[Goal]:
    if part := parts.get("stream"):
        yield "a stream of a million texts: peak memory, times that of 10,000", "≤", 1.2, part["ratio"]


def _measured(parts: Parts) -> list[tuple[str, Parts]]:
    return [(name, part) for name, part in parts.items() if name != "header"]


# ---------------------------------------------------------------- sections


def best_sgemm(part: Parts) -> float:
    """Return the best rate of a square product seen while a part was measured, GFLOP/s."""
    return max(rate for sample in part["sgemm"] for rate in sample.values())


def share(part: Parts, system: str) -> float:
    """Return a system's useful arithmetic as a share of that."""
    rate: float = part["systems"][system]["rate"]
    return rate / part["n"] * float(part["gflop"]) / best_sgemm(part)


def _throughput(parts: Parts) -> list[str]:
    blocks = ["### Sentences a second, fp32, equal output"]
    for name, part in _measured(parts):
        rows = []
        for system, facts in _ranked(part):
            arithmetic = facts["rate"] / part["n"] * part["gflop"]
            rows.append((system, facts["rate"], _times(facts), facts["without_tokenising"], arithmetic,
                         f"{100 * share(part, system):.0f} %", _difference(facts), _setting(facts)))  # fmt: skip
        head = [
            "",
            "texts/s",
            "firstbert is",
            "without tokenising",
            "GFLOP/s",
            "of best sgemm",
            "difference",
            "setting",
        ]
        size = f"{part['n']:,} texts of {part['tokens'] / part['n']:.0f} tokens; sgemm {best_sgemm(part):.0f} GFLOP/s"
        blocks.append(f"**{name}** ({size})\n\n{table(head, rows)}{_missing(part)}")
    return blocks


def _ranked(part: Parts) -> list[tuple[str, Parts]]:
    measured = [(name, facts) for name, facts in part["systems"].items() if "rate" in facts]
    return sorted(measured, key=lambda item: -item[1]["rate"])


def _difference(facts: Parts) -> str:
    return f"{facts['max_difference']:.1e}" if facts["max_difference"] else "–"


def _times(facts: Parts) -> str:
    return "–" if facts["firstbert_faster"] == 1 else f"{facts['firstbert_faster']:.2f} ×"


def _setting(facts: Parts) -> str:
    parts = [f"{key.replace('_', ' ')} {value}" for key, value in facts["setting"].items() if key != "environment"]
    parts += [f"{key}={value}" for key, value in facts["setting"].get("environment", {}).items()]
    return ", ".join(parts) or "as it comes"


def _missing(part: Parts) -> str:
    lines = [f"{name}: {facts['error']}" for name, facts in part["systems"].items() if "error" in facts]
    return "\n\nNot to be had: " + "; ".join(lines) + "." if lines else ""


def _int8(parts: Parts) -> list[str]:
    blocks = ["### int8"]
    for name, part in _measured(parts):
        if name.startswith("rates"):
            rows = [(system, facts["rate"], _times(facts), _difference(facts), _setting(facts))
                    for system, facts in _ranked(part)]  # fmt: skip
            head = ["", "texts/s", "firstbert int8 is", "difference", "setting"]
            blocks.append(f"**{name[7:]}**, {part['n']:,} texts\n\n{table(head, rows)}{_missing(part)}")
    rows = [row for name, part in _measured(parts) if name.startswith("accuracy") for row in _accuracy(name[10:], part)]
    if rows:
        head = ["accuracy of the head, %", "dev", "test", "dev, all rows", "test, all rows"]
        blocks.append(table(head, rows))
    if part := parts.get("less, minilm"):
        blocks.append(_less(part))
    return blocks


def _accuracy(encoder: str, part: Parts) -> Iterable[list[Cell]]:
    for precision, facts in part["precisions"].items():
        numbers = [*facts["mean"].values(), *facts["all_rows"].values()]
        yield [f"{encoder} {precision}", *(f"{100 * number:.2f}" for number in numbers)]


def _less(part: Parts) -> str:
    peer, own = part["peer"], part["firstbert"]
    accuracy = {name: own["test"] if facts["system"] == "firstbert" else peer["test"]
                for name, facts in part["systems"].items()}  # fmt: skip
    rows = [(name, facts["rate"], f"{100 * accuracy[name]:.2f}", _times(facts)) for name, facts in _ranked(part)]
    text = f"**The same task by doing less**: the {part['n']:,} test sentences of SST-2, MiniLM, mean vectors, logistic"
    return f"{text} regression\n\n{table(['', 'texts/s', 'test accuracy, %', 'firstbert is'], rows)}"


def _tutorial(parts: Parts) -> list[str]:
    blocks = ["### The tutorial's job"]
    if part := parts.get("vectors"):
        rows = [(name, facts["seconds"], f"{facts['faster']:.2f} ×", _difference(facts), facts["whole_process"])
                for name, facts in part["systems"].items()]  # fmt: skip
        head = ["", "sentences to vectors, s", "faster", "difference", "whole process, s"]
        blocks.append(f"{part['n']:,} sentences to [CLS] vectors, DistilBERT shape\n\n{table(head, rows)}")
    if part := parts.get("result"):
        rows = [_reached(trial) for trial in part["timed"]]
        rows.append(("the tutorial's code", f"{100 * part['target']:.1f}", part["tutorial_seconds"], "1.0 ×"))
        head = ["its result", "accuracy, %", "whole process, s", "sooner"]
        blocks.append(table(head, rows))
    return blocks


def _reached(trial: Parts) -> tuple[Cell, ...]:
    name = f"{trial['name']}, layer {trial['layer']}, int8, {trial['rows']:,} rows"
    return name, f"{100 * trial['accuracy']:.1f}", trial["seconds"], f"{trial['sooner']:.1f} ×"


def _latency(parts: Parts) -> list[str]:
    blocks = ["### One sentence"]
    if part := parts.get("warm"):
        rows = [(name, *(f"{1000 * facts[q]:.1f}" for q in ("p50", "p99")))
                for name, facts in part["systems"].items() if "p50" in facts]  # fmt: skip
        blocks.append(f"Warm, in process, MiniLM\n\n{table(['', 'p50, ms', 'p99, ms'], rows)}{_missing(part)}")
    if part := parts.get("cold"):
        rows = [(name, f"{1000 * value:.0f}") for name, value in part["medians"].items()]
        blocks.append(f"From the shell\n\n{table(['', 'ms'], rows)}")
    return blocks


def _memory(parts: Parts) -> list[str]:
    blocks = ["### Memory"]
    if part := parts.get("systems, minilm"):
        rows = [(name, mb(facts["opened"]), mb(facts["peak"]))
                for name, facts in part["systems"].items() if "peak" in facts]  # fmt: skip
        head = ["", "opened, MB", "peak, MB"]
        blocks.append(f"MiniLM, {part['n']:,} texts\n\n{table(head, rows)}{_missing(part)}")
    if part := parts.get("stream"):
        rows = [(f"{int(n):,} texts streamed", mb(facts["peak"])) for n, facts in part["peaks"].items()]
        blocks.append(table(["", "peak, MB"], rows))
    return blocks


# ---------------------------------------------------------------- the plot


def draw(parts: Parts, path: Path) -> None:
    """Draw texts a second of every system, one panel per load."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    loads = _measured(parts)
    heights = [len(_ranked(part)) for _, part in loads]
    with mpl.rc_context({"svg.hashsalt": "firstbert", "font.size": 8}):
        figure = Figure(figsize=(7, 0.28 * sum(heights) + 0.6 * len(loads)), layout="constrained")
        axes = figure.subplots(len(loads), 1, gridspec_kw={"height_ratios": heights}, squeeze=False)[:, 0]
        for axis, (name, part) in zip(axes, loads, strict=True):
            _panel(axis, name, _ranked(part)[::-1])
        figure.savefig(path, metadata={"Date": None})


def _panel(axis: Any, name: str, ranked: list[tuple[str, Parts]]) -> None:
    labels, rates = [label for label, _ in ranked], [facts["rate"] for _, facts in ranked]
    colours = ["#d1495b" if label.startswith("firstbert") else "#9aa5b1" for label in labels]
    bars = axis.barh(labels, rates, color=colours)
    axis.bar_label(bars, fmt="%.0f", padding=3)
    axis.set_title(f"{name}, fp32, texts a second", loc="left", fontsize=8)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(left=False, bottom=False, labelbottom=False)
    axis.margins(x=0.1)


_MAKERS: dict[str, Callable[[Parts], list[str]]] = {
    "throughput": _throughput, "int8": _int8, "tutorial": _tutorial, "latency": _latency, "memory": _memory,
}  # fmt: skip


if __name__ == "__main__":
    write(ROOT / "benchmarks" / "results")
