"""An Evaluation → words.

After evaluate.py on the way of a sentence.
"""

from __future__ import annotations

from firstbert.evaluate import Evaluation

_WIDEST_CONFUSION = 12  # labels; a wider table fits no screen


def as_text(evaluation: Evaluation) -> str:
    """Return the evaluation for a terminal: the numbers first, then label by label, then what is taken for what."""
    return "\n\n".join(part for part in (_summary(evaluation), _per_class(evaluation), _confusion(evaluation)) if part)


def _summary(e: Evaluation) -> str:
    lines = [
        f"{e.n} rows",
        f"accuracy  {_percent(e.accuracy)}   always the most frequent label: {_percent(e.baseline_accuracy)}",
        f"macro F1  {_percent(e.macro_f1)}   log-loss: {e.log_loss:.3f}   calibration error: {_percent(e.ece)}",
    ]
    if e.truncated:
        lines.append(f"{e.truncated} rows were longer than the model reads and lost their ends.")
    return "\n".join(lines)


def _per_class(e: Evaluation) -> str:
    width = max(len("label"), *(len(name) for name in e.per_class))
    rows = [f"{'label':<{width}}  precision  recall     F1    rows"]
    for name, s in e.per_class.items():
        rows.append(
            f"{name:<{width}}  {_percent(s.precision):>9}  {_percent(s.recall):>6}  {_percent(s.f1):>5}  {s.support:>6}"
        )
    return "\n".join(rows)


def _confusion(e: Evaluation) -> str:
    if len(e.labels) > _WIDEST_CONFUSION:
        return ""
    width = max(6, *(len(name) for name in e.labels))
    rows = ["true ↓  predicted →", " ".join(f"{name:>{width}}" for name in ["", *e.labels])]
    for name, counts in zip(e.labels, e.confusion, strict=True):
        rows.append(" ".join([f"{name:>{width}}", *(f"{count:>{width}}" for count in counts)]))
    return "\n".join(rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
