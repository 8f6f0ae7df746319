"""Facts → the parts of the report about what the model is worth: its numbers, label by label, and how far to trust it.

After charts.py on the way of a sentence. Each function gives the HTML of one part, or "" where its facts aren't there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firstbert import charts
from firstbert.errors import plural
from firstbert.facts import Fact, ReportFacts
from firstbert.markup import (
    answer,
    count,
    decimal,
    drawing,
    folded,
    interval,
    own,
    percent,
    pointer,
    scroller,
    sentence,
    share,
    table,
)

_WIDEST_CONFUSION = 12  # labels; a wider table fits no screen
_MOST_CONFUSIONS = 20
_MOST_BEHIND = 25  # rows of the table behind a curve
MOST_CASES = 50  # sentences in a table to be read one by one
NOTHING = '<span class="quiet">–</span>'


@dataclass(frozen=True)
class _Measure:
    name: str
    title: str
    told: str
    shown: Callable[[str, float], str]


_MEASURES = [
    _Measure("accuracy", "Accuracy", "Share of the rows that get the right answer.", percent),
    _Measure(
        "balanced_accuracy", "Balanced accuracy", "The same with each label counting alike, however rare.", percent
    ),
    _Measure(
        "macro_f1",
        "Macro F1",
        "How fully each label is found, and with how few false alarms; mean of all labels.",
        percent,
    ),
    _Measure("roc_auc", "ROC area", "How often a row with a label ranks above one without it; 0.5 is chance.", decimal),
    _Measure("pr_auc", "PR area", "Precision over all thresholds; chance is the label’s share of the rows.", decimal),
    _Measure("log_loss", "Log-loss", "What being sure and wrong costs; lower is better, 0 is perfect.", decimal),
    _Measure("brier", "Brier score", "Squared error of the probabilities; lower is better, 0 is perfect.", decimal),
    _Measure("ece", "Calibration error", "How far probabilities are from what comes true; lower is better.", percent),
]
_OF_MANY = {
    "accuracy": "Share of the rows with every label right and none missing.",
    "balanced_accuracy": "How often carrying a label and not carrying it are told rightly, both counting alike.",
}


def numbers(facts: ReportFacts) -> str:
    """Return the table of measures with their intervals."""
    e = facts.evaluation or {}
    rows = [_measure(m, e) for m in _MEASURES if m.name in e]
    return table(["Measure", "#Value", "#" + confidence(e)], rows, kind="measures") if rows else ""


def _measure(m: _Measure, e: Fact) -> list[str]:
    told = _OF_MANY.get(m.name, m.told) if e.get("many") else m.told
    if m.name == "log_loss" and not e.get("many") and len(e.get("labels", ())) > 1:
        told = f"{told.rstrip('.')}, blind guessing costs {math.log(len(e['labels'])):.3f}."
    value = NOTHING if e[m.name] is None else f"<strong>{m.shown(m.name, e[m.name])}</strong>"
    bounds = interval(pointer("intervals", m.name), e.get("intervals", {}).get(m.name), m.shown)
    return [f'{m.title}<p class="told">{told}</p>', value, bounds]


def confidence(e: Fact) -> str:
    """Return what the intervals are called: `95 % interval`."""
    return f"{100 * e.get('bootstrap', {}).get('confidence', 0.95):g}\u00a0% interval"


def per_label(facts: ReportFacts) -> str:
    """Return each label's precision, recall and F1 with intervals; its areas under curves on demand."""
    found = (facts.evaluation or {}).get("per_class", {})
    if not found:
        return ""
    rows = [
        [
            own(label),
            count(pointer("per_class", label, "support"), scores["support"]),
            *(_score(label, scores, name, percent, _bar(scores[name])) for name in ("precision", "recall", "f1")),
        ]
        for label, scores in found.items()
    ]
    told = table(["Label", "#Rows", "#Precision", "#Recall", "#F1"], rows, kind="labels")
    areas = [
        [own(label), *(_score(label, scores, name, decimal) for name in ("roc_auc", "pr_auc"))]
        for label, scores in found.items()
        if scores.get("roc_auc") is not None
    ]
    if areas:
        told += folded(
            "Areas under each label’s curves", table(["Label", "#ROC area", "#PR area"], areas, kind="labels")
        )
    return told


def _score(label: str, scores: Fact, name: str, shown: Callable[[str, float], str], bar: str = "") -> str:
    place = pointer("per_class", label)
    bounds = interval(f"{place}/intervals/{name}", scores.get("intervals", {}).get(name), shown)
    return NOTHING if scores.get(name) is None else shown(f"{place}/{name}", scores[name]) + bar + bounds


def _bar(value: float) -> str:
    return f'<i class="bar" style="--w:{100 * value:.1f}%"></i>'


def thresholds(facts: ReportFacts) -> str:
    """Return each label's threshold, and what they change."""
    found, e = facts.thresholds, facts.evaluation or {}
    if not found:
        return ""
    told = (
        "A label is answered where its probability reaches its threshold."
        if e.get("many")
        else "The answer is the label whose probability is the largest multiple of its threshold, so that a label with "
        "a low one is answered more often."
    )
    told = f"<p>{told} The thresholds were chosen on the training rows for the best mean of the labels’ F1. "
    if alike := found.get("alike"):
        f1, right = (percent(pointer("thresholds", "alike", name), alike[name]) for name in ("macro_f1", "accuracy"))
        told += (
            f"On the test rows, macro F1 is {percent('macro_f1', e['macro_f1'])} with them and {f1} without; accuracy "
            f"is {percent('accuracy', e['accuracy'])} with them and {right} without."
        )
    rows = [[own(name), decimal(pointer("thresholds", "labels", name), t)] for name, t in found["labels"].items()]
    return f"{told}</p>{table(['Label', '#Threshold'], rows, kind='labels')}"


def confusion(facts: ReportFacts) -> str:
    """Return which labels are taken for which others."""
    e = facts.evaluation or {}
    if e.get("many"):
        return _found_and_missed(e)
    if not e.get("confusion"):
        return ""
    return _heat(e) if len(e["labels"]) <= _WIDEST_CONFUSION else _largest(e)


def _heat(e: Fact) -> str:
    labels, counts = e["labels"], e["confusion"]
    heads = "".join(f'<th scope="col"><span>{own(label)}</span></th>' for label in labels)
    rows = []
    for i, (label, row) in enumerate(zip(labels, counts, strict=True)):
        cells = "".join(_cell(pointer("confusion", i, j), n, n / (sum(row) or 1), i == j) for j, n in enumerate(row))
        rows.append(f'<tr><th scope="row">{own(label)}</th>{cells}</tr>\n')
    crowded = " crowded" if len(labels) > 4 else ""
    drawn = (
        f'<table class="heat{crowded}"><thead>'
        f'<tr><td></td><th scope="colgroup" colspan="{len(labels)}">answered</th></tr>'
        f'<tr><th scope="col" class="corner">true</th>{heads}</tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody></table>"
    )
    return (
        f"{scroller('Confusion matrix', drawn)}"
        '<p class="note">Each row holds the rows that truly carry a label. Blue: answered rightly; orange: taken for '
        "another. The stronger the colour, the larger the share of the row.</p>"
    )


def _cell(place: str, n: int, part: float, right: bool) -> str:
    # The square root lets small shares be seen.
    kind = ("right" if right else "wrong") + ("" if n else " none")
    return f'<td class="{kind}" style="--s:{100 * math.sqrt(part):.0f}%" title="{share(part)}">{count(place, n)}</td>'


def _largest(e: Fact) -> str:
    labels, counts = e["labels"], e["confusion"]
    found = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    found.sort(key=lambda each: (-each[0], each[1:]))
    rows = [
        [
            own(labels[i]),
            own(labels[j]),
            count(pointer("confusion", i, j), n),
            _bar(n / sum(counts[i])) + share(n / sum(counts[i])),
        ]
        for n, i, j in found[:_MOST_CONFUSIONS]
    ]
    if not rows:
        return "<p>No label was taken for another.</p>"
    left = len(found) - len(rows)
    note = f'<p class="note">{left:,} smaller {plural(left, "confusion")} left out.</p>' if left else ""
    return table(["True label", "Answered", "#Rows", "#Share of its rows"], rows, kind="labels") + note


def _found_and_missed(e: Fact) -> str:
    """Counts of each label by itself: from a (C, 2, 2) confusion if there is one, else from precision and recall."""
    rows = []
    for i, (label, scores) in enumerate(e.get("per_class", {}).items()):
        if e.get("confusion"):
            cells = [
                count(pointer("confusion", i, *at), e["confusion"][i][at[0]][at[1]]) for at in ((1, 1), (1, 0), (0, 1))
            ]
        else:
            hits = round(scores["recall"] * scores["support"])
            alarms = f"{round(hits / scores['precision']) - hits:,}" if scores["precision"] else NOTHING
            cells = [f"{hits:,}", f"{scores['support'] - hits:,}", alarms]
        rows.append([own(label), *cells])
    return table(["Label", "#Found", "#Missed", "#False alarms"], rows, kind="labels") if rows else ""


def reliability(facts: ReportFacts) -> str:
    """Return how probabilities compare with what came true."""
    e = facts.evaluation or {}
    bins = e.get("reliability")
    if not bins:
        return ""
    what = "judgements" if e.get("many") else "answers"
    caption = (
        f"One dot for each group of {what} about equally sure, larger where there are more; whiskers are 95\u00a0% "
        "intervals. On the dashed line, probabilities come true exactly. Bars below: how many there are."
    )
    rows = [
        [
            f"{share(b['low'])} to {share(b['high'])}",
            count(pointer("reliability", i, "n"), b["n"]),
            percent(pointer("reliability", i, "confidence"), b["confidence"]),
            percent(pointer("reliability", i, "accuracy"), b["accuracy"]),
        ]
        for i, b in enumerate(bins)
        if b["n"]
    ]
    behind = folded(
        "The numbers as a table", table(["Probability", f"#{what.capitalize()}", "#Mean probability", "#Right"], rows)
    )
    return drawing(charts.reliability(bins), caption, behind=behind)


def coverage(facts: ReportFacts) -> str:
    """Return what leaving out unsure answers brings, and the threshold in force with its guarantee."""
    e = facts.evaluation or {}
    points = e.get("coverage")
    if not points:
        return ""
    every = range(0, len(points), math.ceil(len(points) / _MOST_BEHIND))
    rows = [
        [
            percent(pointer("coverage", i, "threshold"), points[i]["threshold"]),
            percent(pointer("coverage", i, "coverage"), points[i]["coverage"]),
            percent(pointer("coverage", i, "error"), points[i]["error"]),
        ]
        for i in every
    ]
    behind = folded("The numbers as a table", table(["#Sure by at least", "#Rows answered", "#Wrong among them"], rows))
    chosen = e.get("abstention")
    drawn = chosen if chosen and chosen.get("error") is not None else None
    caption = (
        "From left to right, more rows are answered, the surest first. The lower the curve, the better the model knows "
        "when it is likely to be wrong."
    )
    return _guarantee(chosen, facts.model.get("promise")) + drawing(
        charts.coverage(points, drawn), caption, behind=behind
    )


def _guarantee(chosen: Fact | None, promise: Fact | None) -> str:
    if chosen is None:
        return "<p>No threshold is set: this model answers every text. Its user can set one by this curve.</p>"
    if chosen["threshold"] > 1:
        return _no_guarantee(chosen, promise)
    told = f"<p>Answers less sure than {percent('abstention/threshold', chosen['threshold'])} are marked unsure. "
    if chosen.get("max_error") is not None:
        most = percent("abstention/max_error", chosen["max_error"])
        told += f"The threshold was set so that at most {most} of the answers given are wrong"
        if chosen.get("confidence") is not None:
            told += f", which holds with a confidence of {percent('abstention/confidence', chosen['confidence'])}"
        told += ", for texts that come from where the training rows came from. "
        if promise is not None:
            told += f"{_rests_on(promise)} held out in training show that. "
    if chosen["error"] is None:
        return told + "No test row was answered.</p>"
    bounds = interval("abstention/error_interval", chosen.get("error_interval"))
    return (
        f"{told}On the test rows, {percent('abstention/coverage', chosen['coverage'])} were answered, and "
        f"{percent('abstention/error', chosen['error'])} of those wrongly{f' ({bounds})' if bounds else ''}"
        f"{_kept(chosen)}.</p>"
    )


def _no_guarantee(chosen: Fact, promise: Fact | None) -> str:
    told = "<p><strong>Every answer is marked unsure.</strong> No threshold could be shown to keep errors within "
    told += (
        "what was asked for"
        if chosen.get("max_error") is None
        else percent("abstention/max_error", chosen["max_error"])
    )
    if chosen.get("confidence") is not None:
        told += f", with a confidence of {percent('abstention/confidence', chosen['confidence'])}"
    if promise is not None:
        told += f", by {_rests_on(promise)} held out in training"
    return told + ". Allow more errors, or give it more rows.</p>"


def _rests_on(promise: Fact) -> str:
    return f"{count('model/promise/rows', promise['rows'])} {plural(promise['rows'], 'row')}"


def _kept(chosen: Fact) -> str:
    """What to think of an error above the limit."""
    limit, bounds = chosen.get("max_error"), chosen.get("error_interval")
    if limit is None or chosen["error"] <= limit:
        return ""
    if bounds is not None and bounds[0] <= limit:
        return ": more than the limit, though chance may bring that about on so few rows"
    return ": <strong>more than the limit, by more than chance</strong>. These rows aren’t like the training rows"


def slices(facts: ReportFacts) -> str:
    """Return how parts of the rows fare."""
    found = (facts.evaluation or {}).get("slices") or []
    rows = []
    for i, s in enumerate(found):
        place = pointer("slices", i)
        worse = ' <span class="flag">worse than the rest</span>' if s["worse"] else ""
        bounds = interval(f"{place}/interval", s.get("interval"))
        f1 = NOTHING if s.get("macro_f1") is None else percent(f"{place}/macro_f1", s["macro_f1"])
        rows.append(
            [
                f'<span class="quiet">{own(s["name"])}:</span> {answer(s["value"])}{worse}',
                count(f"{place}/n", s["n"]),
                percent(f"{place}/accuracy", s["accuracy"]) + _bar(s["accuracy"]) + bounds,
                f1,
            ]
        )
    return table(["Rows", "#How many", "#Accuracy", "#Macro F1"], rows, kind="labels") if rows else ""


def mistakes(facts: ReportFacts) -> str:
    """Return the wrong answers that the model was surest of."""
    rows = [
        [
            sentence(m["text"]),
            answer(m["true"]),
            answer(m["predicted"]),
            percent(pointer("mistakes", i, "score"), m["score"]),
        ]
        for i, m in enumerate(facts.mistakes[:MOST_CASES])
    ]
    return listed(["Sentence", "True", "Answered", "#Sure by"], rows, len(facts.mistakes))


def listed(head: Sequence[str], rows: Sequence[Sequence[str]], n: int) -> str:
    """Return sentences to be read one by one, and how many of all `n` aren't there."""
    if not rows:
        return ""
    more = f'<p class="note">{n - len(rows):,} more left out.</p>' if n > len(rows) else ""
    return table(head, rows, kind="cases") + more
