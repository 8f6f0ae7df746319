"""Probabilities → the labels answered, and whether the answer is one to rely on.

After calibration.py on the way of a sentence. Every door decides by a `Decision`; how its thresholds are learned
stands below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from firstbert.targets import BoolArray, ClassIndex, DoubleArray


@dataclass(frozen=True)
class Decision:
    """How probabilities become an answer.

    Attributes:
        many: whether a text may carry any number of labels; else it carries one.
        thresholds: (C,) one for each label; None: all alike. With one label a text, the answer is the label whose
            probability is the largest multiple of its threshold; with many, every label that reaches its own
            (one half unless given).
        accept: the least confidence of an answer to rely on; below it the answer is unsure. None: none is.
    """

    many: bool = False
    thresholds: tuple[float, ...] | None = None
    accept: float | None = None

    def chosen(self, probabilities: DoubleArray) -> BoolArray:
        """Return which labels are answered, (N, C); one in each row unless `many`."""
        if self.many:
            reached: BoolArray = probabilities >= (0.5 if self.thresholds is None else np.array(self.thresholds))
            return reached
        rated = probabilities if self.thresholds is None else probabilities / np.array(self.thresholds)
        best: BoolArray = np.arange(probabilities.shape[1]) == rated.argmax(axis=1)[:, None]
        return best

    def confidence(self, probabilities: DoubleArray) -> DoubleArray:
        """Return the probability that each answer is right, (N,); with many labels, as if they were independent."""
        chosen = self.chosen(probabilities)
        if self.many:
            result: DoubleArray = np.where(chosen, probabilities, 1 - probabilities).prod(axis=1)
        else:
            result = (probabilities * chosen).sum(axis=1)
        return result

    def unsure(self, probabilities: DoubleArray) -> BoolArray:
        """Return which answers are not to be relied on, (N,)."""
        if self.accept is None:
            return np.zeros(len(probabilities), np.bool_)
        return self.confidence(probabilities) < self.accept


NEVER = 2.0  # as a threshold: no probability reaches it
_FACTORS = tuple(2.0 ** (k / 2) for k in range(-10, 11))
_ROUNDS = 5

MOST_PROBABLE = Decision()  # one label a text, all alike, always answered


# ---------------------------------------------------------------- a threshold for each label


def macro_f1_thresholds(probabilities: DoubleArray, carried: BoolArray, many: bool) -> tuple[float, ...]:
    """Return the thresholds with which the mean of the labels' F1 is largest: rare labels get low ones.

    Args:
        probabilities: (N, C), of rows that their head was not fitted on.
        carried: (N, C), which labels the rows carry.
        many: whether a row may carry any number of labels.
    """
    if many:
        return tuple(_best_cut(p, is_so) for p, is_so in zip(probabilities.T, carried.T, strict=True))
    return _best_factors(probabilities, carried)


def _best_cut(p: DoubleArray, is_so: BoolArray) -> float:
    """The threshold of one label with the best F1, half way between two rows' probabilities; ½ where none is better."""
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(is_so[order])
    f1 = 2 * hits / (np.arange(1, len(p) + 1) + is_so.sum())
    last = p[order] > np.append(p[order][1:], 0)  # a cut between equal probabilities is none
    f1 = np.where(last, f1, 0)
    chosen = p >= 0.5
    plain = 2 * (chosen & is_so).sum() / max(1, chosen.sum() + is_so.sum())
    k = int(f1.argmax())
    if f1[k] <= plain:
        return 0.5
    below = p[order][k + 1] if k + 1 < len(p) else 0.0
    return float(min(1.0, (p[order][k] + below) / 2))


def _best_factors(probabilities: DoubleArray, carried: BoolArray) -> tuple[float, ...]:
    """Label after label, the factor that helps most; till none does."""
    truth, C = carried.argmax(axis=1), carried.shape[1]
    thresholds, best = np.ones(C), _macro_f1(probabilities.argmax(axis=1), truth, C)
    for _ in range(_ROUNDS):
        before = best
        for c in range(C):
            for factor in _FACTORS:
                tried = thresholds.copy()
                tried[c] = factor
                score = _macro_f1((probabilities / tried).argmax(axis=1), truth, C)
                if score > best + 1e-12:
                    best, thresholds = score, tried
        if best == before:
            break
    return tuple((thresholds / thresholds.max()).tolist())


def _macro_f1(answer: ClassIndex, truth: ClassIndex, C: int) -> float:
    hits = np.bincount(truth[answer == truth], minlength=C)
    both = np.bincount(answer, minlength=C) + np.bincount(truth, minlength=C)
    return float((2 * hits / np.maximum(both, 1)).mean())


# ---------------------------------------------------------------- answers to rely on


@dataclass(frozen=True)
class Promise:
    """A bound on the share of wrong answers among those that are not unsure, and what it rests on.

    Attributes:
        max_error: the bound.
        confidence: the probability, over draws of the rows it rests on, that the bound holds.
        threshold: the least confidence of an answer that is not unsure.
        rows: how many rows it rests on; the head was not fitted on them.
        coverage: the share of them whose answers are not unsure.
        error: the share of wrong ones among those; None where there are none.
    """

    max_error: float
    confidence: float
    threshold: float
    rows: int
    coverage: float
    error: float | None


def promise(
    held: tuple[DoubleArray, BoolArray],
    known: tuple[DoubleArray, BoolArray],
    max_error: float,
    confidence: float = 0.9,
) -> Promise:
    """Find the threshold that lets most answers through with at most a share of `max_error` wrong among them.

    Thresholds are tested one after the other, each at level 1 − `confidence`, against the binomial law that the number
    of wrong ones follows whatever the data are like (Geifman & El-Yaniv 2017, lemma 3.1); at the first that can't be
    shown to keep the bound, it ends. Since thresholds and their order are fixed before the held-out rows are looked
    at, the level holds for the whole sequence (fixed-sequence testing: Angelopoulos, Bates, Candès, Jordan & Lei
    2021, section 2.3). All it takes is that new texts come from where the held-out rows came from.

    Args:
        held: (n,) confidence and (n,) whether the answer is right, of rows that nothing else has been learned from.
        known: the same of rows that were learned from, each answered by a head fitted without it; thresholds and
            their order come from these.
        max_error: in (0, 1).
        confidence: in (0, 1).

    Where no threshold can be shown to keep the bound, all answers are unsure.
    """
    from scipy.stats import binom

    order = np.argsort(-known[0], kind="stable")
    sizes = np.unique(np.linspace(0, len(order), 101).astype(int))[1:]
    thresholds, wrong = known[0][order][sizes - 1], np.cumsum(~known[1][order])[sizes - 1]
    share = len(held[0]) / len(order)
    expected = binom.cdf(np.round(wrong * share), np.round(sizes * share), max_error)
    found = Promise(max_error, confidence, NEVER, len(held[0]), 0.0, None)
    for threshold in thresholds[int(expected.argmin()) :]:
        accepted = held[0] >= threshold
        n, errors = int(accepted.sum()), int((~held[1][accepted]).sum())
        if binom.cdf(errors, n, max_error) > 1 - confidence:
            break
        found = Promise(max_error, confidence, float(threshold), len(accepted), n / len(accepted), errors / n)
    return found
