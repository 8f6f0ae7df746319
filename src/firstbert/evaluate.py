"""Truth and probabilities → an Evaluation: numbers only.

After slices.py on the way of a sentence. report.py puts them into words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from firstbert.bootstrap import DEFAULT, BootstrapOptions, Interval, Resampled, resample
from firstbert.data import Examples, Label
from firstbert.decision import BoolArray
from firstbert.errors import DataError, UsageError
from firstbert.targets import ClassIndex
from firstbert.outcome import ECE_BINS, Outcome
from firstbert.predictor import Predictions, label_text
from firstbert.slices import Slice, slices

CURVE_POINTS = 50


@dataclass(frozen=True)
class ClassScores:
    """One label's scores.

    Attributes:
        precision: share of the rows given the label that carry it; 0 where none was given it.
        recall: share of the rows that carry it that were given it; 0 where none carries it.
        f1: their harmonic mean; 0 where both are 0.
        support: how many rows truly carry it.
        roc_auc: area under the ROC curve, the label against the rest; None unless some rows carry it and some don't.
        pr_auc: area under the precision-recall curve (average precision), likewise.
        intervals: each of the five's bootstrap interval; None where too few rows define it, or all resamples agree.
    """

    precision: float
    recall: float
    f1: float
    support: int
    roc_auc: float | None
    pr_auc: float | None
    intervals: dict[str, Interval | None]


@dataclass(frozen=True)
class Bin:
    """Answers of like confidence, [low, high): how many, their mean confidence, and the share that was right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class CurvePoint:
    """Rows with a confidence of `threshold` or more: their share of all, and the share of them answered wrongly."""

    threshold: float
    coverage: float
    error: float


@dataclass(frozen=True)
class Abstention:
    """What the model's threshold of confidence does.

    Attributes:
        threshold: answers below it are unsure.
        coverage: share of rows answered.
        n_accepted: rows answered.
        error: share of those answered wrongly; None where none is answered.
        error_interval: of that, 95 %, exact (Clopper & Pearson 1934).
    """

    threshold: float
    coverage: float
    n_accepted: int
    error: float | None
    error_interval: Interval | None


@dataclass(frozen=True)
class Evaluation:
    """What predictions are worth on rows whose labels are known.

    Of texts that may carry many labels, what is said of a row's label holds for its set of labels; where labels are
    counted one by one, it is said.

    Attributes:
        n: rows.
        accuracy: share of rows whose answer is wholly right.
        balanced_accuracy: mean recall of the labels that occur; with many labels, the mean over labels of the mean of
            the recall of carrying it and of not carrying it; None where no label has both.
        macro_f1: mean of the labels' F1, over labels that occur in truth or answers; None where none does.
        log_loss: mean of −ln(probability of the true label), in nats; with many labels, mean over rows and labels of
            −ln(probability that the label is carried, or not, as it is).
        brier: mean over rows of the sum over labels of (probability − truth)², 0 to 2; with many labels, mean over
            rows and labels, 0 to 1 (Brier 1950).
        ece: expected calibration error of the answers' confidence, 15 equal bins (Guo et al. 2017, eq. 3); with many
            labels, of all (row, label) probabilities. Resampling adds to it: its interval lies somewhat high.
        roc_auc, pr_auc: means of the labels' areas, over labels that have one; None where none has.
        baseline_accuracy: accuracy of always answering these rows' most frequent label, or set of labels.
        per_class: label → its scores.
        confusion: (C, C) counts, rows are the truth, columns the answer, in the order of `labels`; None with many
            labels, where no label is taken for another.
        labels: the C labels, as text.
        truncated: rows that were longer than the classifier reads.
        many: whether a text may carry any number of labels.
        intervals: measure → its bootstrap percentile interval; None where too few rows define it (less than nine
            resamples in ten do), or all resamples agree. Where every row is answered rightly, or none is, that of
            accuracy is the exact one (Clopper & Pearson 1934).
        bootstrap: how these were found: resamples, confidence, seed.
        reliability: the bins of `ece` that hold anything.
        coverage: error against coverage (El-Yaniv & Wiener 2010), at most 50 points, the most confident rows first.
        abstention: None where the model answers every text.
        slices: parts of the rows.
    """

    n: int
    accuracy: float
    balanced_accuracy: float | None
    macro_f1: float | None
    log_loss: float
    brier: float
    ece: float
    roc_auc: float | None
    pr_auc: float | None
    baseline_accuracy: float
    per_class: dict[str, ClassScores]
    confusion: list[list[int]] | None
    labels: list[str]
    truncated: int
    many: bool
    intervals: dict[str, Interval | None]
    bootstrap: dict[str, float]
    reliability: list[Bin]
    coverage: list[CurvePoint]
    abstention: Abstention | None
    slices: list[Slice]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers ready for JSON; what is undefined is None."""
        result: dict[str, Any] = plain(asdict(self))
        return result


def evaluate(
    examples: Examples,
    predictions: Predictions,
    columns: Mapping[str, Sequence[object]] | None = None,
    bootstrap: BootstrapOptions = DEFAULT,
) -> Evaluation:
    """Compare predictions with the labels of the rows they were made for.

    Args:
        examples: N labelled rows.
        predictions: the answers to their texts.
        columns: name → N values; each value's rows are a slice. None: the examples' own extra columns.
        bootstrap: how intervals are found.

    Raises:
        DataError: the rows carry no labels, or one that the classifier doesn't know, or a column is of another length.
        UsageError: the predictions are of another number of texts.
    """
    outcome = Outcome(truth(examples, predictions), predictions)
    spread = resample(outcome, bootstrap)
    once = outcome.sums(np.ones((1, outcome.n), np.int32)).whole()
    names = [label_text(label) for label in predictions.labels]
    per_class = {name: _class_scores(outcome, c, spread) for c, name in enumerate(names)}
    return Evaluation(
        n=outcome.n,
        accuracy=float(outcome.right.mean()),
        balanced_accuracy=_number(once["balanced_accuracy"][0]),
        macro_f1=_number(once["macro_f1"][0]),
        log_loss=float(outcome.log_loss.mean()),
        brier=float(outcome.brier.mean()),
        ece=float(once["ece"][0]),
        roc_auc=_mean([scores.roc_auc for scores in per_class.values()]),
        pr_auc=_mean([scores.pr_auc for scores in per_class.values()]),
        baseline_accuracy=max(Counter(row.tobytes() for row in outcome.truth).values()) / outcome.n,
        per_class=per_class,
        confusion=_confusion(outcome),
        labels=names,
        truncated=int(predictions.truncated.sum()),
        many=outcome.many,
        intervals=spread.intervals() | _accuracy(outcome, spread),
        bootstrap=bootstrap.facts(*outcome.truth.shape),
        reliability=_reliability(outcome),
        coverage=_coverage(outcome),
        abstention=_abstention(outcome),
        slices=slices(examples, outcome, examples.extra if columns is None else columns),
    )


def truth(examples: Examples, predictions: Predictions) -> BoolArray:
    """Return which of the classifier's labels each row carries, (N, C) bool.

    A label that isn't there in its own type is matched by its text: a file of 0 and 1 doesn't say whether
    the model was taught numbers or strings. Where texts may carry many labels, a row's label is a tuple of them, or
    one alone.

    Raises:
        DataError: the rows carry no labels, or one that the classifier doesn't know.
        UsageError: the predictions are of another number of texts.
    """
    labels = predictions.labels
    if len(predictions.probabilities) != len(examples.texts):
        raise UsageError(
            f"{examples.source}: {len(examples.texts)} rows, but predictions for {len(predictions.probabilities)}: "
            "predict the texts of these rows."
        )
    carried = np.zeros((len(examples.texts), len(labels)), np.bool_)
    if not predictions.decision.many:
        carried[np.arange(len(carried)), true_classes(examples, labels)] = True
        return carried
    sets = [label if isinstance(label, tuple) else (label,) for label in _labels(examples)]
    rows = [i for i, each in enumerate(sets) for _ in each]
    carried[rows, _places(examples, rows, [label for each in sets for label in each], labels)] = True
    return carried


def true_classes(examples: Examples, labels: Sequence[Label]) -> ClassIndex:
    """Return each row's one true label as an index into `labels`, matched as `truth` does.

    Raises:
        DataError: the rows carry no labels, or one that isn't in `labels`.
    """
    carried = _labels(examples)
    return _places(examples, range(len(carried)), carried, labels)


def _labels(examples: Examples) -> list[Any]:
    if examples.labels is None:
        raise DataError(f"{examples.source}: evaluation needs labels.")
    return examples.labels


def _places(examples: Examples, rows: Sequence[int], carried: list[Any], labels: Sequence[Label]) -> ClassIndex:
    """Return the index of each label carried; `rows` says which row carries it."""
    exact = {(type(label), label): i for i, label in enumerate(labels)}
    by_text = {label_text(label): i for i, label in enumerate(labels)}
    found = [exact.get((type(x), x), by_text.get(label_text(x), -1)) for x in carried]
    unknown = [k for k, place in enumerate(found) if place < 0]
    if unknown:
        first, known = unknown[0], ", ".join(map(label_text, labels[:10])) + (", …" if len(labels) > 10 else "")
        raise DataError(
            f"{examples.source}: {examples.place} {examples.lines[rows[first]]}: label {carried[first]!r} is none of "
            f"the model's ({known}); {len({rows[k] for k in unknown})} of {len(examples.texts)} rows carry such a "
            "label. Remove them or train on them."
        )
    return np.array(found, np.intp)


def _class_scores(outcome: Outcome, label: int, spread: Resampled) -> ClassScores:
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    carried, p = outcome.truth[:, label], outcome.predictions.probabilities[:, label]
    given = outcome.predictions.chosen[:, label]
    precision, recall, f1, _ = precision_recall_fscore_support(carried, given, average="binary", zero_division=0)
    both = 0 < carried.sum() < outcome.n
    return ClassScores(
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        support=int(carried.sum()),
        roc_auc=float(roc_auc_score(carried, p)) if both else None,
        pr_auc=float(average_precision_score(carried, p)) if both else None,
        intervals=spread.intervals_of(label),
    )


def _confusion(outcome: Outcome) -> list[list[int]] | None:
    from sklearn.metrics import confusion_matrix

    if outcome.many:
        return None
    true, answered = outcome.truth.argmax(axis=1), outcome.predictions.chosen.argmax(axis=1)
    counts: list[list[int]] = confusion_matrix(true, answered, labels=range(outcome.truth.shape[1])).tolist()
    return counts


def _reliability(outcome: Outcome) -> list[Bin]:
    bins = outcome.bins.ravel()
    n = np.bincount(bins, minlength=ECE_BINS)
    stated = np.bincount(bins, weights=outcome.stated.ravel(), minlength=ECE_BINS)
    true = np.bincount(bins, weights=outcome.came_true.ravel(), minlength=ECE_BINS)
    return [
        Bin(i / ECE_BINS, (i + 1) / ECE_BINS, int(n[i]), float(stated[i] / n[i]), float(true[i] / n[i]))
        for i in np.flatnonzero(n)
    ]


def _coverage(outcome: Outcome) -> list[CurvePoint]:
    """Thresholds are confidences that occur, about evenly spread over the rows; the last accepts all."""
    order = np.argsort(-outcome.predictions.confidence, kind="stable")
    confidence = outcome.predictions.confidence[order]
    wrong = np.cumsum(~outcome.right[order])
    places = np.ceil(np.linspace(outcome.n / CURVE_POINTS, outcome.n, CURVE_POINTS)).astype(int) - 1
    points = []
    for threshold in np.unique(confidence[places])[::-1]:
        accepted = int(np.searchsorted(-confidence, -threshold, side="right"))
        points.append(CurvePoint(float(threshold), accepted / outcome.n, float(wrong[accepted - 1] / accepted)))
    return points


def _accuracy(outcome: Outcome, spread: Resampled) -> dict[str, Interval | None]:
    """All resamples of rows that are all right are alike; how many rows there are still tells something."""
    right = int(outcome.right.sum())
    return {"accuracy": _exact(right, outcome.n, spread.confidence)} if right in (0, outcome.n) else {}


def _exact(k: int, n: int, confidence: float) -> Interval:
    """Return Clopper and Pearson's interval of a share of k in n."""
    from scipy.stats import binomtest

    around = binomtest(k, n).proportion_ci(confidence, method="exact")
    return float(around.low), float(around.high)


def _abstention(outcome: Outcome) -> Abstention | None:
    threshold = outcome.predictions.decision.accept
    if threshold is None:
        return None
    accepted = ~outcome.predictions.unsure
    n, wrong = int(accepted.sum()), int((accepted & ~outcome.right).sum())
    if not n:
        return Abstention(float(threshold), 0.0, 0, None, None)
    return Abstention(float(threshold), n / outcome.n, n, wrong / n, _exact(wrong, n, 0.95))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def plain(value: Any) -> Any:
    """Return what JSON gives back: lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
