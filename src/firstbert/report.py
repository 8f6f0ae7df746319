"""An Evaluation or a Comparison → words.

After compare.py on the way of a sentence.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from firstbert.bootstrap import Interval
from firstbert.compare import Comparison, Difference
from firstbert.errors import counted, plural
from firstbert.evaluate import Abstention, Evaluation

_WIDTH = 100  # columns
_WIDEST_CONFUSION = 12  # labels; a wider table fits no screen
_MEASURES = (
    ("accuracy", "accuracy", True),
    ("balanced_accuracy", "balanced accuracy", True),
    ("macro_f1", "macro F1", True),
    ("roc_auc", "ROC area", False),
    ("pr_auc", "precision-recall area", False),
    ("log_loss", "log-loss", False),
    ("brier", "Brier score", False),
    ("ece", "calibration error", True),
)


def as_text(evaluation: Evaluation) -> str:
    """Return the evaluation for a terminal of 100 columns.

    The numbers first, then label by label, then what is taken for what, then slices that are worse than the rest.
    """
    parts = (_summary(evaluation), _per_class(evaluation), _confusion(evaluation), _worse(evaluation))
    return "\n\n".join(part for part in parts if part)


def _summary(e: Evaluation) -> str:
    held, drawn = f"{100 * e.bootstrap['confidence']:g} %", f"{e.bootstrap['resamples']:,}"
    lines = [f"{counted(e.n, 'row')}; between brackets: {held} intervals, from {drawn} resamples of them"]
    for name, words, percent in _MEASURES:
        show = _percent if percent else _number
        lines.append(f"{words:<21}  {show(getattr(e, name)):>7}  {_between(e.intervals[name], percent)}".rstrip())
    what = "set of labels" if e.many else "label"
    lines[1] += f"   always the most frequent {what}: {_percent(e.baseline_accuracy)}"
    if e.abstention:
        lines.append(_abstention(e.abstention))
    if e.truncated:
        words = counted(e.truncated, "row was", "rows were"), plural(e.truncated, "its end", "their ends")
        lines.append(f"{words[0]} longer than the model reads and lost {words[1]}.")
    return "\n".join(lines)


def _abstention(a: Abstention) -> str:
    if a.threshold > 1:
        return "Every answer is unsure: no threshold was shown to keep errors within what was asked for."
    line = f"With a confidence of {a.threshold:.3f} or more, {_percent(a.coverage)} of the rows are answered"
    if a.error is None or a.error_interval is None:
        return f"{line}."
    return f"{line}; {_percent(a.error)} of those wrongly ({_span(a.error_interval, True)})."


def _per_class(e: Evaluation) -> str:
    width = min(25, max(len("label"), *(len(name) for name in e.per_class)))
    rows = [f"{'label':<{width}}  precision   recall       F1                  ROC area  PR area     rows"]
    for name, s in e.per_class.items():
        rows.append(
            f"{_cut(name, width):<{width}}  {_percent(s.precision):>9}  {_percent(s.recall):>7}  {_percent(s.f1):>7}  "
            f"{_between(s.intervals['f1'], True):<16}  {_number(s.roc_auc):>8}  {_number(s.pr_auc):>7}  {s.support:>7,}"
        )
    return "\n".join(rows)


def _confusion(e: Evaluation) -> str:
    if e.confusion is None or len(e.labels) > _WIDEST_CONFUSION:
        return ""
    most = _WIDTH // (len(e.labels) + 1) - 1
    width = min(most, max(6, *(len(name) for name in e.labels)))
    names = [_cut(name, width) for name in e.labels]
    rows = ["true ↓  predicted →", " ".join(f"{name:>{width}}" for name in ["", *names])]
    for name, counts in zip(names, e.confusion, strict=True):
        rows.append(" ".join([f"{name:>{width}}", *(f"{count:>{width}}" for count in counts)]))
    return "\n".join(rows)


def _worse(e: Evaluation) -> str:
    worse = [part for part in e.slices if part.worse]
    if not worse:
        return ""
    head = f"Answered less well than the rest (of {len(e.slices)} slices; p corrected for so many):"
    rows = [
        f"  {_cut(f'{part.name}: {part.value}', 46):<46}  accuracy {_percent(part.accuracy):>7}  "
        f"{_between(part.interval, True):<16}  {part.n:>7,} rows"
        for part in sorted(worse, key=lambda part: part.accuracy)
    ]
    return "\n".join([head, *rows])


def comparison_as_text(comparison: Comparison) -> str:
    """Return the comparison for a terminal of 100 columns: the verdict first."""
    a, b = (name if len(name) <= 20 else f"…{name[-19:]}" for name in comparison.names)  # folders differ at their ends
    c = replace(comparison, names=(a, b))
    parts = (textwrap.fill(c.verdict, _WIDTH), _differences(c), textwrap.fill(_both(c), _WIDTH), _disagreements(c))
    return "\n\n".join(part for part in parts if part)


def _differences(c: Comparison) -> str:
    wide = [max(8, len(name)) for name in c.names]
    names = "  ".join(f"{name:>{width}}" for name, width in zip(c.names, wide, strict=True))
    head = counted(c.n, "row")
    start = max(len(head), len("accuracy")) + 3
    rows = [f"{head:<{start}}{names}  difference"]
    labels = {name: (words, percent) for name, words, percent in _MEASURES}
    for name, found in c.differences.items():
        words, percent = labels[name]
        show = _percent if percent else _number
        values = f"{show(found.a):>{wide[0]}}  {show(found.b):>{wide[1]}}"
        rows.append(f"{words:<{start}}{values}  {_difference(found, percent)}".rstrip())
    return "\n".join(rows)


def _difference(found: Difference, percent: bool) -> str:
    if found.difference is None:
        return f"{'–':>10}"
    show = _points if percent else _signed
    around = "" if found.interval is None else f"  ({show(found.interval[0])} to {show(found.interval[1])})"
    return f"{show(found.difference):>10}{around}{' points' if percent else ''}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _both(c: Comparison) -> str:
    a, b = c.names
    return (
        f"Both right: {c.both_right:,}   only {a}: {c.only_a:,}   only {b}: {c.only_b:,}   "
        f"both wrong: {c.both_wrong:,}   McNemar's exact test: p = {c.p:.2g}"
    )


def _disagreements(c: Comparison) -> str:
    if not c.disagreements:
        return ""
    rows = [f"Answered differently: {counted(c.n_different, 'row')}. Those with confidences furthest apart:"]
    for d in c.disagreements:
        rows.append(f"  {_cut(' '.join(d.text.split()), _WIDTH - 2)}")
        sides = ((c.names[0], d.a, d.a_confidence), (c.names[1], d.b, d.b_confidence))
        said = "   ".join(f"{name}: {_cut(answer, 20) or '(none)'} ({p:.2f})" for name, answer, p in sides)
        rows.append(_cut(f"    true: {_cut(d.truth, 20) or '(none)'}   {said}", _WIDTH))
    return "\n".join(rows)


def _between(interval: Interval | None, percent: bool) -> str:
    return "" if interval is None else f"({_span(interval, percent)})"


def _span(interval: Sequence[float], percent: bool) -> str:
    low, high = interval
    return f"{100 * low:.1f}–{100 * high:.1f} %" if percent else f"{low:.3f}–{high:.3f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
