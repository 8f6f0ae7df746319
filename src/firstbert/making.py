"""Facts → the parts of the report about how the model came about: layers, rows, the map, doubts, commands.

After sections.py on the way of a sentence. Each function gives the HTML of one part, or "" where its facts aren't
there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from firstbert import charts
from firstbert.facts import Fact, ReportFacts
from firstbert.markup import (
    answer,
    count,
    cut,
    decimal,
    drawing,
    escape,
    figure,
    folded,
    items,
    own,
    pairs,
    percent,
    pointer,
    sentence,
    table,
)
from firstbert.sections import MOST_CASES, listed
from firstbert.svg import COLOURS, swatch

MOST_POINTS = 1000  # of the map; more hide each other
_ON_THE_MAP = 240  # characters of a sentence


def layers(facts: ReportFacts) -> str:
    """Return the log-loss of each way of reading the encoder, and why one was chosen."""
    reads = facts.layers
    if not reads:
        return ""
    kinds = charts.poolings(reads)
    legend = _legend([(k, escape(kind)) for k, kind in enumerate(kinds)]) if len(kinds) > 1 else ""
    rows = [
        [
            own(r["reads"]) + (' <span class="flag">chosen</span>' if r["chosen"] else ""),
            decimal(pointer("layers", i, "log_loss"), r["log_loss"]),
            "yes" if r["level"] else "",
            _right(r, i),
        ]
        for i, r in enumerate(reads)
    ]
    caption = "Filled: level with the best, by a difference within one standard error. Hollow: worse by more than that."
    losses = [r["log_loss"] for r in reads]
    if max(losses) > charts.highest(losses):
        caption += " Those at the upper edge lie beyond it."
    if any("+" in r["reads"] for r in reads):
        caption += " Several layers side by side stand at the topmost of them."
    head = ["Read at", "#Log-loss", "Level with the best", "#Accuracy ± standard error"]
    return _why(reads) + drawing(
        charts.layer_curve(reads), caption, legend=legend, behind=folded("The numbers as a table", table(head, rows))
    )


def _why(reads: Sequence[Fact]) -> str:
    """The choice in words; the tie is Breiman et al.'s (1984, Classification and regression trees, rule 1 SE)."""
    chosen = next((i for i, r in enumerate(reads) if r["chosen"]), None)
    if chosen is None:
        return ""
    read, name = reads[chosen], own(reads[chosen]["reads"])
    loss, right = _loss(reads, chosen), _right(read, chosen)
    if read.get("alone") is not None:
        alone = decimal(pointer("layers", chosen, "alone"), read["alone"])
        return (
            f"<p>Layers {name} are read side by side: on the same rows, that lowers the log-loss from {alone}, the "
            f"least of any one layer, to {loss}. They answer {right} rightly.</p>"
        )
    best = min(range(len(reads)), key=lambda i: ("+" in reads[i]["reads"], reads[i]["log_loss"]))
    if best == chosen:
        return (
            f"<p>The encoder is read at layer {name}, which has the least log-loss of {len(reads)} ways tried, {loss}, "
            f"and answers {right} rightly.</p>"
        )
    told = f"<p>The encoder is read at layer {name}, with a log-loss of {loss}; it answers {right} rightly. "
    if not read["level"] or reads[best]["layer"] < read["layer"]:
        return f"{told}The least log-loss was {_loss(reads, best)}, at layer {own(reads[best]['reads'])}.</p>"
    return (
        f"{told}Layer {own(reads[best]['reads'])} has {_loss(reads, best)}: less, but by no more than one standard "
        "error of the difference, which chance brings about. That is a tie, and in a tie the lower layer wins: those "
        "above it never need to run.</p>"
    )


def _loss(reads: Sequence[Fact], i: int) -> str:
    return decimal(pointer("layers", i, "log_loss"), reads[i]["log_loss"])


def _right(read: Fact, i: int) -> str:
    shown = percent(pointer("layers", i, "accuracy"), read["accuracy"])
    return f"{shown} ± {_error(pointer('layers', i, 'se'), read['se'])}"


def _error(place: str, se: float) -> str:
    return figure(place, se, f"{100 * se:.1f}\u00a0%")


def growth(facts: ReportFacts) -> str:
    """Return the learning curve and what more rows would bring."""
    curve = facts.growth or {}
    points, forecast = curve.get("points") or [], curve.get("forecast") or []
    if not points:
        return ""
    rows = [
        [
            count(pointer("growth", "points", i, "rows"), p["rows"]),
            percent(pointer("growth", "points", i, "accuracy"), p["accuracy"]),
            f"± {_error(pointer('growth', 'points', i, 'se'), p['se'])}",
        ]
        for i, p in enumerate(points)
    ]
    for i, p in enumerate(forecast):
        place = pointer("growth", "forecast", i)
        low, high = (percent(f"{place}/{name}", p[name]) for name in ("low", "high"))
        shown = percent(f"{place}/accuracy", p["accuracy"])
        rows.append([f"{count(f'{place}/rows', p['rows'])} (forecast)", shown, f"{low} to {high}"])
    told = f'<p class="key">{escape(curve["sentence"])}</p>' if curve.get("sentence") else ""
    caption = "Measured on the training rows by cross-validation; whiskers are one standard error."
    if forecast:
        caption += " Dashed: the curve carried on; the band is where it is likely to lie."
    behind = folded("The numbers as a table", table(["#Rows", "#Accuracy", "#Error or range"], rows))
    return told + drawing(charts.growth(points, forecast), caption, behind=behind)


def sentences(facts: ReportFacts) -> str:
    """Return the map of the test sentences."""
    points = (facts.points or [])[:MOST_POINTS]
    if not points:
        return ""
    counts = Counter(_name(p["true"]) for p in points)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    dots = [
        charts.Dot(p["x"], p["y"], order.index(_name(p["true"])), _name(p["true"]) != _name(p["predicted"]), _told(p))
        for p in points
    ]
    wrong = sum(dot.wrong for dot in dots)
    told = f"Map of {len(points)} test sentences by what the encoder finds alike, {wrong} answered wrongly."
    caption = (
        "Sentences that the encoder finds alike lie close to each other; labels had no part in placing them. Which way "
        "is up and how far apart groups lie mean nothing. Point at a mark to read its sentence, tap it, or move with "
        "the arrow keys."
    )
    rows = [
        [
            _short(p["text"]),
            answer(p["true"]),
            answer(p["predicted"]),
            percent(pointer("points", i, "score"), p["score"]),
        ]
        for i, p in enumerate(points)
    ]
    behind = table(["Sentence", "True", "Answered", "#Sure by"], rows, kind="cases")
    legend = _legend_of_map(order, counts, wrong)
    return drawing(
        charts.scatter(dots, told), caption, legend=legend, behind=folded("The sentences as a table", behind)
    )


def _legend_of_map(order: Sequence[str], counts: Counter[str], wrong: int) -> str:
    """A mark for each label, the most frequent first; where there are more than marks, the rest share the last."""
    named = order if len(order) <= COLOURS else order[: COLOURS - 1]
    entries = [(k, f"{own(name)} {_quiet(counts[name])}") for k, name in enumerate(named)]
    if len(named) < len(order):
        others = sum(counts[name] for name in order[len(named) :])
        entries.append((COLOURS - 1, f"{len(order) - len(named)} others {_quiet(others)}"))
    ringed = f'<li><span class="ringed"></span>answered wrongly {_quiet(wrong)}</li>' if wrong else ""
    return _legend(entries, ringed)


def _quiet(n: int) -> str:
    return f'<span class="quiet">{n:,}</span>'


def _short(text: str) -> str:
    return f'<p class="said" dir="auto">{escape(cut(text, _ON_THE_MAP))}</p>'


def _told(point: Fact) -> str:
    true, predicted = _name(point["true"]), _name(point["predicted"])
    verdict = f"{true}, answered so" if true == predicted else f"{true}, answered {predicted}"
    said = " ".join(point["text"].split())  # page.js takes the first line for the sentence
    return f"{cut(said, _ON_THE_MAP)}\n{verdict} ({100 * point['score']:.1f}\u00a0% sure)"


def _name(label: Any) -> str:
    if isinstance(label, list | tuple):
        return ", ".join(map(str, label)) or "no label"
    return str(label).lower() if isinstance(label, bool) else str(label)


def _legend(entries: Sequence[tuple[int, str]], more: str = "") -> str:
    return '<ul class="legend">' + "".join(f"<li>{swatch(k)}{told}</li>" for k, told in entries) + more + "</ul>"


def disputed(facts: ReportFacts) -> str:
    """Return the training rows whose label the model doubts."""
    rows = [
        [
            sentence(d["text"]),
            count(pointer("disputed", i, "line"), d["line"]),
            answer(d["given"]),
            answer(d["suggested"]),
            percent(pointer("disputed", i, "doubt"), d["doubt"]),
            "The model, trained without it, says otherwise" if d["reason"] == "model" else escape(d["reason"]),
        ]
        for i, d in enumerate(facts.disputed[:MOST_CASES])
    ]
    return listed(["Sentence", "#Line", "Given", "Suggested", "#Doubt", "Why"], rows, len(facts.disputed))


def findings(facts: ReportFacts) -> str:
    """Return what reading the data brought up."""
    return (
        items((f'<span dir="auto">{escape(finding)}</span>' for finding in facts.findings), "plain")
        if facts.findings
        else ""
    )


def training(facts: ReportFacts) -> str:
    """Return what was trained on what, as names and values."""
    m = facts.model
    found: list[tuple[str, str]] = []
    if m.get("name"):
        found.append(("Model", own(m["name"])))
    if m.get("data"):
        found.append(("Data", own(m["data"])))
    if m.get("n_train") is not None:
        found.append(("Rows trained on", count("model/n_train", m["n_train"])))
    if m.get("labels"):
        found.append(("Labels", _labels(m["labels"])))
    if m.get("encoder"):
        family = f' <span class="quiet">({escape(m["family"])})</span>' if m.get("family") else ""
        found.append(("Encoder", own(m["encoder"]) + family))
    names = {"layer": "Layer", "pooling": "Pooling", "precision": "Precision"}
    found += [(title, escape(m[name])) for name, title in names.items() if m.get(name) is not None]
    scales = {"C": "C (regularisation)", "temperature": "Temperature (calibration)"}
    found += [
        (title, figure(pointer("model", name), m[name], f"{m[name]:.4g}"))
        for name, title in scales.items()
        if m.get(name) is not None
    ]
    if m.get("max_length") is not None:
        found.append(("Longest text", f"{count('model/max_length', m['max_length'])} tokens"))
    return pairs(found, "made") if found else ""


def _labels(labels: Any) -> str:
    """Names with rows trained on, or names alone."""
    if not isinstance(labels, dict):
        return ", ".join(map(answer, labels))
    told = [
        f'{own(name)} <span class="quiet">{count(pointer("model", "labels", name), n)}</span>'
        for name, n in labels.items()
    ]
    if len(told) <= 12:
        return ", ".join(told)
    return f"<details><summary>{len(told)} labels</summary>{', '.join(told)}</details>"


def reproduce(facts: ReportFacts) -> str:
    """Return the commands, and all that the result depends on."""
    m = facts.model
    commands = "\n".join(facts.commands)
    typed = f'<pre tabindex="0"><code>{escape(commands)}</code></pre>' if facts.commands else ""
    found = [("Seed", escape(m["seed"]))] if m.get("seed") is not None else []
    found += [
        (title, f'<code class="hash">{escape(m[name])}</code>')
        for name, title in (("data_sha256", "Data, sha256"), ("weights_sha256", "Encoder’s weights, sha256"))
        if m.get(name)
    ]
    found += [(escape(name), escape(version)) for name, version in (m.get("versions") or {}).items()]
    drawn = (facts.evaluation or {}).get("bootstrap")
    if drawn:
        resamples = count("bootstrap/resamples", drawn["resamples"])
        found.append(("Intervals", f"bootstrap, {resamples} resamples of the test rows, seed {escape(drawn['seed'])}"))
    return typed + (pairs(found, "made") if found else "")
