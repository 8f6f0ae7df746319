"""Truth and probabilities → an Evaluation: numbers only.

After classifier.py on the way of a sentence. report.py puts them into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from firstbert.data import Examples, Label
from firstbert.errors import DataError
from firstbert.head import ClassIndex, DoubleArray
from firstbert.predictor import Predictions, label_text

ECE_BINS = 15


@dataclass(frozen=True)
class ClassScores:
    """One label's scores; `support` is how many rows truly carry it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """What predictions are worth on rows whose labels are known.

    Attributes:
        n: rows.
        accuracy: share of rows whose most probable label is right.
        macro_f1: mean of the labels' F1, over labels that occur in truth or predictions.
        log_loss: mean of −ln(probability of the true label), in nats.
        ece: expected calibration error of the most probable label, 15 equal bins (Guo et al. 2017, eq. 3).
        baseline_accuracy: accuracy of always answering these rows' most frequent label.
        per_class: label → its scores.
        confusion: (C, C) counts, rows are the truth, columns the prediction, in the order of `labels`.
        labels: the C labels, as text.
        truncated: rows that were longer than the classifier reads.
    """

    n: int
    accuracy: float
    macro_f1: float
    log_loss: float
    ece: float
    baseline_accuracy: float
    per_class: dict[str, ClassScores]
    confusion: list[list[int]]
    labels: list[str]
    truncated: int

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers ready for JSON."""
        return asdict(self)


def evaluate(examples: Examples, predictions: Predictions) -> Evaluation:
    """Compare predictions with the labels of the rows they were made for.

    Raises:
        DataError: the rows carry no labels, or one that the classifier doesn't know.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    truth = true_classes(examples, predictions.labels)
    p, best = predictions.probabilities, predictions.probabilities.argmax(axis=1)
    every = np.arange(len(predictions.labels))
    scores = precision_recall_fscore_support(truth, best, labels=every, zero_division=0)
    seen = np.union1d(truth, best)
    names = [label_text(label) for label in predictions.labels]
    return Evaluation(
        n=len(truth),
        accuracy=float((truth == best).mean()),
        macro_f1=float(scores[2][seen].mean()),
        log_loss=float(-np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-15)).mean()),
        ece=_ece(p, truth),
        baseline_accuracy=float(np.bincount(truth).max() / len(truth)),
        per_class={
            name: ClassScores(float(precision), float(recall), float(f1), int(support))
            for name, precision, recall, f1, support in zip(names, *scores, strict=True)
        },
        confusion=confusion_matrix(truth, best, labels=every).tolist(),
        labels=names,
        truncated=int(predictions.truncated.sum()),
    )


def true_classes(examples: Examples, labels: Sequence[Label]) -> ClassIndex:
    """Return each row's true label as an index into `labels`.

    A label that isn't there in its own type is matched by its text: a file of 0 and 1 doesn't say whether
    the model was taught numbers or strings.
    """
    if examples.labels is None:
        raise DataError(f"{examples.source}: evaluation needs labels.")
    exact = {(type(label), label): i for i, label in enumerate(labels)}
    by_text = {label_text(label): i for i, label in enumerate(labels)}
    found = [exact.get((type(x), x), by_text.get(label_text(x), -1)) for x in examples.labels]
    if -1 in found:
        _refuse_unknown(examples, labels, found)
    return np.array(found, np.intp)


def _refuse_unknown(examples: Examples, labels: Sequence[Label], found: list[int]) -> None:
    assert examples.labels is not None
    rows = [i for i, place in enumerate(found) if place < 0]
    first = rows[0]
    known = ", ".join(label_text(label) for label in labels[:10]) + (", …" if len(labels) > 10 else "")
    raise DataError(
        f"{examples.source}: {examples.place} {examples.lines[first]}: label {examples.labels[first]!r} is none of the "
        f"model's ({known}); {len(rows)} of {len(found)} rows carry such a label. Remove them or train on them."
    )


def _ece(p: DoubleArray, truth: ClassIndex) -> float:
    """Σ over bins of (share of rows) × |accuracy − mean confidence|."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(bins, weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(truth))
