"""results/trust.json → the tables of docs/results.md: `python -m benchmarks.trust_report`.

No figure is typed by hand: a test compares the page with what is made here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks import marks
from benchmarks.marks import Parts, begin, fill, listed, warning
from benchmarks.tables import Cell, Goal, block, goals_table, named, percent, table

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "results.md", ROOT / "benchmarks" / "results" / "trust.json"
BEGIN = begin("trust_report")
NOTHING = "Nothing has been measured yet: `make trust`.\n"


def read(path: Path = RESULTS) -> Parts:
    """Return the parts measured so far; none where there is no file."""
    return marks.read(path)


def render(parts: Parts) -> str:
    """Return all tables as Markdown."""
    measured = [name for name in parts if name != "header"]
    if not measured:
        return NOTHING
    blocks = [_machine(parts["header"]), _goals(parts), *_layers(parts), *_cut(parts), *_kinds(parts),
              *_calibration(parts), *_promise(parts), *_disputed(parts)]  # fmt: skip
    return "\n\n".join(block for block in blocks if block) + "\n"


def write(parts: Parts, page: Path = PAGE) -> None:
    """Put the tables into the page."""
    fill(page, BEGIN, render(parts))


def _machine(header: Parts) -> str:
    machine, versions = header["machine"], header["versions"]["firstbert"]
    left_out = "" if "mpnet" in header["encoders"] else " MPNet was left out."
    size = f"{machine['cores']} cores, {machine['threads']} threads"
    return f"{warning(header)}{machine['cpu']}, {size}, Python {machine['python']}. {listed(versions)}.{left_out}"


# ---------------------------------------------------------------- numbers as text


def _signed(value: float, se: float, scale: float = 1.0, digits: int = 4) -> str:
    return f"{scale * value:+.{digits}f} ± {scale * se:.{digits}f}"


def _plain(value: float) -> str:
    return f"{value:.3g}"


# ---------------------------------------------------------------- goals


_WHOLE = {("minilm", "auto"): 0.825, ("mpnet", "auto"): 0.9, ("mpnet", "best"): 0.907}
_PROTOCOL = {("minilm", "auto"): 0.783, ("mpnet", "auto"): 0.875}
_SPLITS = "the tutorial's protocol"
_OWN = "firstbert"
_FASTER, _WARM, _RECOVERED = 1.15, 0.1, 0.5


def _goals(parts: Parts) -> str:
    return goals_table([
        *_goals_layers(parts), *_goals_kinds(parts), *_goals_probabilities(parts), *_goals_disputed(parts)
    ])  # fmt: skip


def _goals_layers(parts: Parts) -> Iterable[Goal]:
    for goals, start, what in ((_WHOLE, "", "all rows"), (_PROTOCOL, f"{_SPLITS}, ", _SPLITS)):
        for (encoder, layer), goal in goals.items():
            if part := parts.get(f"layers, {start}{encoder}"):
                yield f"{encoder}, {layer}, {what}: accuracy", "≥", goal, part["runs"][layer]["accuracy"], percent
    for name, part in named(parts, "cut"):
        accuracy = part["accuracy"]
        yield f"{name}: times as fast when cut", "≥", _FASTER, part["faster"], _plain
        yield f"{name}: accuracy when cut, against whole", "≥", accuracy["whole"], accuracy["cut"], percent


def _goals_kinds(parts: Parts) -> Iterable[Goal]:
    for name, part in named(parts, "kinds"):
        if name in ("rare", "sst2, 1:50"):
            yield f"{name}: points of macro-F1 won by thresholds", ">", 0.0, part["gain"], percent


def _goals_probabilities(parts: Parts) -> Iterable[Goal]:
    for name, part in named(parts, "calibration"):
        for measure in ("log_loss", "ece"):
            found = part[measure]
            yield f"{name}: change of {_words(measure)} by calibration", "≤", 0.0, found["difference"], "{:.2g}".format
    for name, part in named(parts, "promise"):
        yield f"{name}: splits with more errors than promised", "≤", part["allowed"], part["over"], _plain


def _goals_disputed(parts: Parts) -> Iterable[Goal]:
    for name, part in _findings(parts):
        own, peers = part["precision"][_OWN]["k"], [found["k"] for found in _peers(part)]
        if peers:
            yield f"{name}: precision, against cleanlab's best", "≥", max(peers), own, percent
        for measure in ("accuracy", "log_loss"):
            lost, left = (part["fits"][fit][measure] for fit in ("clean", "without the flagged rows"))
            if abs(lost["gain"]) > lost["se"]:  # else nothing was lost that could be recovered
                share = left["gain"] / lost["gain"]
                yield f"{name}: share of lost {_words(measure)} recovered", "≥", _RECOVERED, share, _plain
    for name, part in named(parts, "disputed, seconds"):
        yield f"{name}: check of labels, share of the encoding", "≤", _WARM, _share(part), _plain


def _peers(part: Parts) -> list[Parts]:
    return [found for system, found in part["precision"].items() if system != _OWN]


def _words(measure: str) -> str:
    return {"log_loss": "log-loss", "ece": "ECE"}.get(measure, measure)


def _share(part: Parts) -> float:
    return float(part["warm"]) / max(part["cold"] - part["warm"], 1e-9)


# ---------------------------------------------------------------- sections


def _layers(parts: Parts) -> list[str]:
    whole, splits = [], []
    for name, part in named(parts, "layers"):
        encoder = name.removeprefix(f"{_SPLITS}, ")
        rows, make = (whole, _whole) if encoder == name else (splits, _split)
        rows += [[f"{encoder}, {layer}", percent(run["accuracy"]), *make(run)] for layer, run in part["runs"].items()]
    text = "`firstbert train train.tsv --test test.tsv --layer …`, no vector kept from before."
    head = ["", "accuracy on test, %", "95 % interval", "layers", "pooling", "C", "seconds"]
    blocks = block("SST-2, all training rows", text, head, whole)
    text = "The first 2,000 rows, 75 to 25 at random; everything is chosen on the larger part."
    head = ["", "accuracy, mean, %", "deviation", "splits", "layers chosen (splits)"]
    return blocks + block(f"SST-2, {_SPLITS}", text, head, splits)


def _whole(run: Parts) -> list[Cell]:
    low, high = run["interval"]
    layers = "+".join(map(str, run["layers"]))
    return [f"{percent(low)} to {percent(high)}", layers, run["pooling"], f"{run['C']:g}", f"{run['seconds']:.1f}"]


def _split(run: Parts) -> list[Cell]:
    chosen = ", ".join(f"{layers} ({n})" for layers, n in run["chosen"].items())
    return [percent(run["sd"]), run["seeds"], chosen]


def _cut(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    for name, part in named(parts, "cut"):
        rates, accuracy = part["rates"], part["accuracy"]
        rows.append([f"{name}, ends at layer {part['layer']}", rates["whole"], rates["cut"], f"{part['faster']:.2f} ×",
                     percent(accuracy["whole"]), percent(accuracy["cut"])])  # fmt: skip
    head = ["", "whole, sentences/s", "cut, sentences/s", "faster", "accuracy whole, %", "accuracy cut, %"]
    return block("The encoder that ends where it is read", "The same sentences, in turns.", head, rows)


def _kinds(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    for name, part in named(parts, "kinds"):
        first, equal, own = part["trials"][0], part["runs"]["equal"], part["runs"]["macro-f1"]
        numbers = [percent(run[measure]) for measure in ("accuracy", "macro_f1") for run in (equal, own)]
        rows.append([name, first["rows"][0], len(first["labels"]), len(part["trials"]), *numbers,
                     _signed(part["gain"], part["gain_se"], 100, 2)])  # fmt: skip
    head = ["", "rows", "labels", "seeds", "accuracy, equal", "with thresholds", "macro-F1, equal", "with thresholds",
            "points of macro-F1 won"]  # fmt: skip
    text = (
        "`firstbert train`, `evaluate` and `predict`, with `--thresholds equal` and `macro-f1`, %; ± is the standard "
        "error of the paired difference over seeds."
    )
    return block("Kinds of labels", text, head, rows)


def _calibration(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    for name, part in named(parts, "calibration"):
        rows.append([name, len(part["trials"]), part["changed"]])
        for found in (part["log_loss"], part["ece"]):
            change = _signed(found["difference"], found["se"], 1, 5)
            rows[-1] += [f"{found['before']:.4f}", f"{found['after']:.4f}", change]
    head = ["", "splits", "temperature not 1", "log-loss raw", "calibrated", "difference", "ECE raw", "calibrated",
            "difference"]  # fmt: skip
    return block("Calibration", "Splits of SST-2's training rows; measured on those not fitted on.", head, rows)


def _promise(parts: Parts) -> list[str]:
    rows: list[list[Cell]] = []
    for name, part in named(parts, "promise"):
        worst = max((trial["error"] for trial in part["trials"] if trial["error"] is not None), default=None)
        numbers = [percent(value) for value in (part["error"], worst, part["error_of_all"], part["coverage"])]
        rows.append([name, f"{part['over']} of {part['splits']}", part["allowed"], *numbers])
    text = (
        "`max_error=0.05` at confidence 0.9. A bound that holds with probability 0.9 fails in up to *allowed* splits "
        "with probability 0.95."
    )
    head = ["", "splits with more than 5 % wrong", "allowed", "wrong among answered, %", "in the worst split, %",
            "wrong among all, %", "answered, %"]  # fmt: skip
    return block("At most 5 % wrong among what is answered", text, head, rows)


def _findings(parts: Parts) -> list[tuple[str, Parts]]:
    return [(name, part) for name, part in named(parts, "disputed") if not name.startswith("seconds")]


def _disputed(parts: Parts) -> list[str]:
    findings = _findings(parts)
    text = "5 % of SST-2's training labels flipped, k of them; SST-2's own mistakes count as wrongly found."
    head = ["precision, %", "first 100", "first half of k", "first k"]
    ranks: list[list[Cell]] = [
        [f"{name}, {system}", *(percent(found[k]) for k in ("100", "k/2", "k"))]
        for name, part in findings for system, found in part["precision"].items()
    ]  # fmt: skip
    blocks = block("Labels in doubt", text, head, ranks)
    flagged: list[list[Cell]] = [
        [f"{name}, {system}", f"{found['rows']:.0f}", percent(found["precision"]), percent(found["recall"])]
        for name, part in findings for system, found in part["flagged"].items()
    ]  # fmt: skip
    fits = [_fit(f"{name}, {fit}", found) for name, part in findings for fit, found in part["fits"].items()]
    seconds: list[list[Cell]] = [
        [name, part["n"], part["cold"], part["warm"], f"{_share(part):.1%}"]
        for name, part in named(parts, "disputed, seconds")
    ]
    tables = [
        (["", "rows flagged", "of these flipped, %", "of the flipped, %"], flagged),
        (["trained on", "accuracy, %", "against flipped", "log-loss", "against flipped"], fits),
        (["`firstbert check-labels`", "rows", "cold, s", "all vectors kept, s", "share of the encoding"], seconds),
    ]
    return blocks + [table(head, rows) for head, rows in tables if rows]


def _fit(name: str, found: Parts) -> list[Cell]:
    accuracy, log_loss = found["accuracy"], found["log_loss"]
    own = name.endswith(", flipped")
    return [name, percent(accuracy["mean"]), None if own else _signed(accuracy["gain"], accuracy["se"], 100, 2),
            f"{log_loss['mean']:.4f}", None if own else _signed(log_loss["gain"], log_loss["se"])]  # fmt: skip


if __name__ == "__main__":
    write(read())
