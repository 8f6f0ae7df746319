"""Truth and predictions → what each row earned, and the measures of rows that count any number of times.

After classifier.py on the way of a sentence. Rows that count once give the numbers of an evaluation, rows drawn with
replacement (bootstrap.py) their spread. R resamples, N texts, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert.decision import BoolArray
from firstbert.targets import DoubleArray
from firstbert.predictor import Predictions

IntArray = npt.NDArray[np.int32]
Index = npt.NDArray[np.intp]
Measures = dict[str, DoubleArray]

ECE_BINS = 15
_LEAST = 1e-15  # a probability of 0 for what is true would cost infinitely much


@dataclass(frozen=True)
class Outcome:
    """N rows with their true labels and what was answered.

    Attributes:
        truth: (N, C), which labels each text carries.
        predictions: the answers to the same texts.
    """

    truth: BoolArray
    predictions: Predictions

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.truth)

    @property
    def many(self) -> bool:
        """Whether a text may carry any number of labels."""
        return self.predictions.decision.many

    @cached_property
    def right(self) -> BoolArray:
        """Which answers are wholly right, (N,)."""
        result: BoolArray = (self.truth == self.predictions.chosen).all(axis=1)
        return result

    @cached_property
    def log_loss(self) -> DoubleArray:
        """−ln(probability of the truth), in nats, (N,); with many labels the mean over labels."""
        p = self.predictions.probabilities
        given = np.where(self.truth, p, 1 - p) if self.many else p[self.truth][:, None]
        loss: DoubleArray = -np.log(np.maximum(given, _LEAST)).mean(axis=1)
        return loss

    @cached_property
    def brier(self) -> DoubleArray:
        """Σ over labels of (probability − truth)², (N,) (Brier 1950); with many labels the mean over labels."""
        squares = (self.predictions.probabilities - self.truth) ** 2
        score: DoubleArray = squares.mean(axis=1) if self.many else squares.sum(axis=1)
        return score

    @cached_property
    def stated(self) -> DoubleArray:
        """Probabilities whose calibration counts, (N, 1): each answer's; with many labels (N, C): each label's."""
        return self.predictions.probabilities if self.many else self.predictions.confidence[:, None]

    @cached_property
    def came_true(self) -> BoolArray:
        """Whether what `stated` gives a probability was so, in its shape."""
        return self.truth if self.many else self.right[:, None]

    @cached_property
    def bins(self) -> Index:
        """Which of `ECE_BINS` equal bins of [0, 1] each of `stated` falls in, in its shape."""
        return np.minimum((self.stated * ECE_BINS).astype(np.intp), ECE_BINS - 1)

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Each label's rows, the most probable first."""
        columns = zip(self.truth.T, self.predictions.probabilities.T, strict=True)
        return [Ranking.of(truth, p) for truth, p in columns]

    @cached_property
    def _table(self) -> Any:
        """What each row adds to each sum, (3 C + ECE_BINS + 3, N); sparse, as truth and answers are."""
        from scipy.sparse import csr_array, vstack

        rows = np.broadcast_to(np.arange(self.n)[:, None], self.bins.shape)
        gap = (self.came_true - self.stated) / self.stated.shape[1]
        gaps = csr_array((gap.ravel(), (self.bins.ravel(), rows.ravel())), shape=(ECE_BINS, self.n))
        sets = (self.truth, self.predictions.chosen, self.truth & self.predictions.chosen)
        each = np.array([self.right, self.log_loss, self.brier])
        parts = [*(csr_array(labels.T).astype(np.float64) for labels in sets), gaps, csr_array(each)]
        return vstack(parts, format="csr")

    def sums(self, weights: IntArray) -> Sums:
        """Add up rows that count `weights` times, (R, N) with rows that aren't all 0."""
        total = (self._table @ np.ascontiguousarray(weights.T, np.float64)).T
        carried, answered, both, gaps, each = np.split(total, np.cumsum([self.truth.shape[1]] * 3 + [ECE_BINS]), axis=1)
        n = weights.sum(axis=1, dtype=np.float64)[:, None]
        return Sums(self.many, n, carried, answered, both, gaps / n, each / n)


@dataclass(frozen=True)
class Sums:
    """What R weightings of the rows add up to. A share of nothing is NaN.

    Attributes:
        many: whether a text may carry any number of labels.
        n: (R, 1), rows.
        carried, answered, both: (R, C), rows that carry each label, that were given it, that are both.
        gaps: (R, ECE_BINS), mean over rows of what came true less what was stated, in each bin.
        means: (R, 3), of right answers, log-loss and Brier score.
    """

    many: bool
    n: DoubleArray
    carried: DoubleArray
    answered: DoubleArray
    both: DoubleArray
    gaps: DoubleArray
    means: DoubleArray

    def by_label(self) -> Measures:
        """Return precision, recall and F1, (R, C) each; F1 is 0 where only one of the others is a share of nothing."""
        return {
            "precision": share(self.both, self.answered),
            "recall": share(self.both, self.carried),
            "f1": share(2 * self.both, self.carried + self.answered),
        }

    def whole(self) -> Measures:
        """Return accuracy, balanced accuracy, macro F1, log-loss, Brier score and ECE, (R,) each."""
        accuracy, log_loss, brier = self.means.T
        return {
            "accuracy": accuracy,
            "balanced_accuracy": mean_defined(self._balanced()),
            "macro_f1": mean_defined(self.by_label()["f1"]),
            "log_loss": log_loss,
            "brier": brier,
            "ece": np.abs(self.gaps).sum(axis=1),
        }

    def _balanced(self) -> DoubleArray:
        """Each label's recall; with many labels its balanced accuracy, the label against its absence."""
        recall = share(self.both, self.carried)
        if not self.many:
            return recall
        without = self.n - self.carried
        return (recall + share(without - (self.answered - self.both), without)) / 2


@dataclass(frozen=True)
class Ranking:
    """One label's rows, the most probable first: P that carry the label, Q that don't.

    A threshold can't part equal probabilities, so that what counts for each of the P is where its run of equals begins
    and ends.

    Attributes:
        carrying, lacking: (P,) and (Q,), rows.
        hits: (P,), how many of the P are as probable or more.
        false: (P,), how many of the Q are as probable or more.
        above: (P,), how many of the Q are more probable.
    """

    carrying: Index
    lacking: Index
    hits: Index
    false: Index
    above: Index

    @classmethod
    def of(cls, truth: BoolArray, probability: DoubleArray) -> Ranking:
        """Sort once."""
        order = np.argsort(-probability, kind="stable")
        carrying, lacking = order[truth[order]], order[~truth[order]]
        mine, others = -probability[carrying], -probability[lacking]
        return cls(
            carrying,
            lacking,
            np.searchsorted(mine, mine, side="right"),
            np.searchsorted(others, mine, side="right"),
            np.searchsorted(others, mine, side="left"),
        )

    def areas(self, weights: IntArray) -> tuple[DoubleArray, DoubleArray]:
        """Return the areas under the ROC curve and the precision-recall curve, (R,) each.

        The first is the chance that a row with the label is more probable than one without, ties counting half (Hanley
        & McNeil 1982); the second average precision, Σ (recallᵢ − recallᵢ₋₁) precisionᵢ over thresholds: as
        scikit-learn's `roc_auc_score` and `average_precision_score` have them. NaN where no row carries the label or
        every row does.

        Args:
            weights: (R, N), how often each row counts.
        """
        mine = np.take(weights, self.carrying, axis=1)
        hits, false = _running(mine), _running(np.take(weights, self.lacking, axis=1))
        with_label, without = hits[:, -1].astype(np.float64), false[:, -1].astype(np.float64)
        found, wrong, above = hits[:, self.hits], false[:, self.false], false[:, self.above]
        beaten = (mine * (2 * without[:, None] - wrong - above)).sum(axis=1) / 2
        precise = (mine * (found / np.maximum(found + wrong, 1))).sum(axis=1)
        defined = np.where(without > 0, with_label, 0)
        return share(beaten, with_label * without), share(precise, defined)


def _running(weights: IntArray) -> IntArray:
    """Return running sums from 0, one more than there are weights."""
    sums = np.zeros((len(weights), weights.shape[1] + 1), np.int32)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def share(part: DoubleArray, whole: DoubleArray) -> DoubleArray:
    """Return part / whole, NaN where the whole is 0."""
    result = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def mean_defined(values: DoubleArray) -> DoubleArray:
    """Return the mean of each row's values that aren't NaN, (R,); NaN where all are."""
    defined = ~np.isnan(values)
    return share(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
