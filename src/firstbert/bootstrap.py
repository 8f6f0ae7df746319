"""An Outcome → how far its measures would move with other rows of the same kind.

After outcome.py on the way of a sentence. Rows are drawn with replacement, as many as there are, again and again
(Efron 1979); an interval holds the middle of what the measures were (Efron & Tibshirani 1993, ch. 13).
R resamples, N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from firstbert.errors import UsageError
from firstbert.targets import DoubleArray
from firstbert.outcome import IntArray, Measures, Outcome, mean_defined

Interval = tuple[float, float]

MOST_RESAMPLES = 1000
FEWEST_RESAMPLES = 200
BUDGET = 200_000_000  # resamples × rows × classes; some seconds on one core
CHUNK = 1 << 18  # weights at a time; their products stay in a processor's cache
ROUNDING = 1e-12  # sums of the same numbers in another order differ by less
DEFINED = 0.9  # of the resamples must give a number; a label on one row is missing from every third


@dataclass(frozen=True)
class BootstrapOptions:
    """How intervals are found.

    Attributes:
        resamples: how many; None: 1,000, fewer (200 at least) where rows × classes × resamples pass 2 × 10⁸.
        confidence: the share of resamples an interval holds.
        seed: the same rows and seed give the same intervals.
    """

    resamples: int | None = None
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples is not None and self.resamples < 1:
            raise UsageError(f"The 'resamples' option must be 1 or more, or None. Got {self.resamples!r} instead.")
        if not 0 < self.confidence < 1:
            raise UsageError(f"The 'confidence' option must be between 0 and 1. Got {self.confidence!r} instead.")

    def count(self, n: int, classes: int) -> int:
        """Return how many resamples N rows of C classes get."""
        if self.resamples is not None:
            return self.resamples
        return max(FEWEST_RESAMPLES, min(MOST_RESAMPLES, BUDGET // (n * classes)))

    def facts(self, n: int, classes: int) -> dict[str, float]:
        """Return what was done to N rows of C classes."""
        return {"resamples": self.count(n, classes), "confidence": self.confidence, "seed": self.seed}


DEFAULT = BootstrapOptions()


def resamples(n: int, count: int, seed: int) -> Iterator[IntArray]:
    """Yield how often each of `n` rows is drawn, (r, N) at a time; which draws come doesn't hang on r.

    Counts of uniform draws are multinomial.
    """
    rng = np.random.default_rng(seed)
    size = max(1, CHUNK // n)
    for start in range(0, count, size):
        drawn = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(min(size, count - start))]
        yield np.array(drawn, np.int32)


@dataclass(frozen=True)
class Resampled:
    """Measures of each resample.

    Attributes:
        whole: measure → (R,).
        by_label: measure → (R, C).
        confidence: of the intervals.
    """

    whole: Measures
    by_label: Measures
    confidence: float

    def intervals(self) -> dict[str, Interval | None]:
        """Return each measure's interval; None also where its ends meet, since all resamples alike tell nothing."""
        return {name: self._interval(values) for name, values in self.whole.items()}

    def intervals_of(self, label: int) -> dict[str, Interval | None]:
        """Return each measure's interval for one label, by its index, likewise."""
        return {name: self._interval(values[:, label]) for name, values in self.by_label.items()}

    def _interval(self, values: DoubleArray) -> Interval | None:
        found = interval(values, self.confidence)
        return None if found is None or found[1] - found[0] <= ROUNDING else found


def resample(outcome: Outcome, options: BootstrapOptions = DEFAULT) -> Resampled:
    """Measure resamples of the rows: all that `firstbert.evaluate` measures.

    Memory is bounded by a few times `CHUNK` numbers, or a few times N where there are more rows than that.
    """
    whole: list[Measures] = []
    by_label: list[Measures] = []
    for weights in resamples(outcome.n, options.count(*outcome.truth.shape), options.seed):
        sums = outcome.sums(weights)
        roc, average = np.array([ranking.areas(weights) for ranking in outcome.rankings]).transpose(1, 2, 0)
        by_label.append(sums.by_label() | {"roc_auc": roc, "pr_auc": average})
        whole.append(sums.whole() | {"roc_auc": mean_defined(roc), "pr_auc": mean_defined(average)})
    return Resampled(joined(whole), joined(by_label), options.confidence)


def joined(chunks: list[Measures]) -> Measures:
    """Return chunks of resamples as one."""
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def interval(values: DoubleArray, confidence: float) -> Interval | None:
    """Return the percentile interval of (R,) values; None where less than nine in ten resamples give a number."""
    defined = values[~np.isnan(values)]
    if len(defined) < DEFINED * len(values):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
