"""Vectors and labels → accuracy by number of rows, and what more rows would bring.

After review.py on the way of a sentence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from firstbert.crossval import solve, spectrum
from firstbert.errors import UsageError
from firstbert.families import FloatArray
from firstbert.targets import BoolArray, ClassIndex, DoubleArray

_PENALTIES = np.array([1e-4, 1e-3, 5e-3, 2e-2, 1e-1], np.float32)  # fewer rows want another C: each size chooses
_EXPONENTS = np.linspace(0.05, 2, 40)  # of the power law; measured ones lie between 0.07 and 0.5 (Hestness et al.)
_LITTLE = 0.005  # half a point: less is not worth labelling as many rows again
_VAGUE = 0.06  # a range of six points says nothing


@dataclass(frozen=True)
class GrowthOptions:
    """How the curve is measured and carried on.

    Attributes:
        folds: of the cross-validation at each size.
        sizes: how many sizes, at most.
        parts: the most parts that the rows are divided into for one size.
        factors: how many times the rows to forecast for.
        draws: bootstrap draws for the intervals.
        level: the share of draws within an interval.
        seed: of parts, folds and draws.
    """

    folds: int = 5
    sizes: int = 8
    parts: int = 40
    factors: tuple[int, ...] = (2, 4)
    draws: int = 300
    level: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2 or self.sizes < 1 or self.parts < 1 or self.draws < 1 or not 0 < self.level < 1:
            raise UsageError(f"Options of the learning curve are out of range: {self}.")


_DEFAULT = GrowthOptions()


@dataclass(frozen=True)
class Point:
    """Accuracy of classifiers fitted on so many rows, on rows they were not fitted on; `se` is its standard error."""

    rows: int
    accuracy: float
    se: float


@dataclass(frozen=True)
class Forecast:
    """Accuracy to be expected with so many rows of the same kind, and the range it should lie in."""

    rows: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Growth:
    """How accuracy grows with rows. With many labels a text, accuracy is that of each label on each text.

    Attributes:
        points: measured, the fewest rows first.
        now: the curve's accuracy with all rows; None where there are too few points for a curve.
        forecast: the curve carried on; empty where there are too few points.
        sentence: what it means.
    """

    points: tuple[Point, ...]
    now: float | None
    forecast: tuple[Forecast, ...]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers ready for JSON."""
        return {
            "points": [asdict(point) for point in self.points],
            "now": self.now,
            "forecast": [asdict(forecast) for forecast in self.forecast],
            "sentence": self.sentence,
        }


def learning_curve(vectors: FloatArray, y: ClassIndex | BoolArray, options: GrowthOptions = _DEFAULT) -> Growth:
    """Measure accuracy at several numbers of rows and carry the curve on.

    For each size the rows are divided into as many parts as fit, and each part is cross-validated: every row is
    answered once by classifiers fitted on so many rows, so sizes are compared on the same rows.

    The curve is a − b·n^(−c) (Cortes et al. 1994; Hestness et al. 2017; of the forms that Viering and Loog 2023
    review, the one with the fewest parameters that levels off), by least squares weighted with 1/se². Intervals are
    the bootstrap's: rows drawn with replacement, and noise for the choice of training rows.

    Args:
        vectors: (N, D).
        y: (N,) class indices, or (N, C) which labels each row carries.
        options: see there.
    """
    from threadpoolctl import threadpool_limits

    sizes = _sizes(y, options)
    if not sizes:
        return Growth((), None, (), "There are too few rows to tell what more of them would bring.")
    with threadpool_limits(1, user_api="blas"):
        measured = [_Size(vectors, y, size, options) for size in sizes]
    rng = np.random.default_rng(options.seed)
    means, errors = _bootstrap(measured, options, rng)
    points = tuple(Point(m.rows, float(m.accuracy), float(e)) for m, e in zip(measured, errors, strict=True))
    return _forecast(points, means, len(vectors), options, rng)


def _sizes(y: ClassIndex | BoolArray, options: GrowthOptions) -> list[int]:
    """Return numbers of rows to fit on, evenly spread on a logarithmic scale up to all but one fold."""
    N, classes = len(y), y.shape[1] if y.ndim == 2 else int(y.max(initial=0)) + 1
    largest = N * (options.folds - 1) // options.folds
    least = max(20 * classes, round(0.02 * N))
    if largest < least:
        return []
    return sorted(set(np.geomspace(least, largest, options.sizes).round().astype(int).tolist()))


class _Size:
    """Which rows are answered rightly by classifiers fitted on `rows` others.

    Attributes:
        rows: fitted on.
        right: (N,) the share of right answers to each row; NaN where it belongs to no part.
        accuracy: their mean.
        part: (N,) the part of each row, −1 for none.
    """

    def __init__(self, vectors: FloatArray, y: ClassIndex | BoolArray, rows: int, options: GrowthOptions) -> None:
        self.rows, N, k = rows, len(y), options.folds
        whole = min(N, -(-rows * k // (k - 1)))
        parts = max(1, min(N // whole, options.parts))
        rng = np.random.default_rng([options.seed, rows])
        self.part = _dealt(y, N // whole, rng)
        self.part[self.part >= parts] = -1
        fold = np.zeros(N, np.intp)
        targets, self.link = _targets(y)
        scores = np.full((N, len(_PENALTIES), targets.shape[1]), np.nan, np.float32)
        for one in range(parts):
            inside = np.flatnonzero(self.part == one)
            fold = _dealt(y[inside], k, rng)
            scores[inside] = self._scores(vectors[inside], targets[inside], fold, k)
        self.right = self._best(scores, targets)
        self.accuracy = float(np.nanmean(self.right))

    def _scores(self, vectors: FloatArray, targets: FloatArray, fold: ClassIndex, k: int) -> FloatArray:
        """Out-of-fold scores for each penalty, (n, G, K)."""
        G = len(_PENALTIES)
        masks = np.repeat(fold[:, None] != np.arange(k), G, axis=1).astype(np.float32)
        scores = solve(spectrum(vectors), targets, masks, np.tile(_PENALTIES, k), self.link)
        own: FloatArray = scores.reshape(len(fold), k, G, -1)[np.arange(len(fold)), fold]
        return own

    def _best(self, scores: FloatArray, targets: FloatArray) -> DoubleArray:
        """Right answers with the penalty of the least log-loss."""
        own = targets[:, None] > 0.5
        if self.link == "sigmoid":
            loss = np.logaddexp(0, np.where(own, -scores, scores)).mean(axis=2)
            right = ((scores > 0) == own).mean(axis=2)
        else:
            loss = np.logaddexp.reduce(scores, axis=2) - np.where(own, scores, 0).sum(axis=2)
            right = (scores.argmax(axis=2) == own.argmax(axis=2)).astype(np.float64)
        best = np.nanmean(loss, axis=0).argmin()
        result: DoubleArray = np.where(self.part < 0, np.nan, right[:, best])
        return result

    def training_variance(self) -> float | None:
        """How much accuracy varies with the rows fitted on, times their number; None with too few parts to tell."""
        n = int(self.part.max()) + 1
        if n < 4:
            return None
        means = np.array([self.right[self.part == one].mean() for one in range(n)])
        by_chance = float(np.nanvar(self.right)) / (np.sum(self.part >= 0) / n)
        return max(0.0, float(means.var(ddof=1)) - by_chance) * self.rows


def _targets(y: ClassIndex | BoolArray) -> tuple[FloatArray, Any]:
    if y.ndim == 2:
        return y.astype(np.float32), "sigmoid"
    if y.max() < 2:
        return y[:, None].astype(np.float32), "sigmoid"
    return (y[:, None] == np.arange(y.max() + 1)).astype(np.float32), "softmax"


def _dealt(y: ClassIndex | BoolArray, hands: int, rng: np.random.Generator) -> ClassIndex:
    """Deal rows out evenly, label by label; return each one's hand, (N,)."""
    order = rng.permutation(len(y))
    if y.ndim == 1:
        order = order[np.argsort(y[order], kind="stable")]
    hand = np.empty(len(y), np.intp)
    hand[order] = np.arange(len(y)) % hands
    return hand


def _bootstrap(
    measured: list[_Size], options: GrowthOptions, rng: np.random.Generator
) -> tuple[DoubleArray, DoubleArray]:
    """Return accuracies, (draws + 1, P) with the measured ones first, and their standard errors, (P,)."""
    right = np.column_stack([m.right for m in measured])
    known = ~np.isnan(right)
    N, value = len(right), np.where(known, right, 0)
    counts = np.vstack([np.ones(N), rng.poisson(1, (options.draws, N))])  # each row's number of times in a draw
    means = (counts @ value) / np.maximum(counts @ known, 1)
    found = [v for v in (m.training_variance() for m in measured) if v is not None]
    per_row = float(np.mean(found)) if found else 0.25
    folds = [max(int(m.part.max()) + 1, 1) for m in measured]
    noise = np.sqrt([per_row / m.rows / n for m, n in zip(measured, folds, strict=True)])
    means[1:] += rng.normal(size=(options.draws, len(measured))) * noise
    return means, np.maximum(means[1:].std(axis=0), 1e-4)


def _forecast(
    points: tuple[Point, ...], means: DoubleArray, N: int, options: GrowthOptions, rng: np.random.Generator
) -> Growth:
    if len(points) < 4:
        return Growth(points, None, (), "There are too few rows to tell what more of them would bring.")
    rows, se = np.array([p.rows for p in points]), np.array([p.se for p in points])
    at = np.array([N, *(N * factor for factor in options.factors)])
    # No curve has exactly this form: each draw weighs the points anew, so that the range shows what hangs on which.
    chance = np.vstack([np.ones(len(points)), rng.exponential(size=(options.draws, len(points)))])
    curve = _power_law(rows, means, chance / se**2, at)  # (draws + 1, 1 + F)
    now = float(curve[0, 0])
    edge = (1 - options.level) / 2
    low, high = np.quantile(curve[1:], [edge, 1 - edge], axis=0)
    forecast = tuple(
        Forecast(int(n), float(value), min(float(lo), float(value)), max(float(hi), float(value)))
        for n, value, lo, hi in list(zip(at, curve[0], low, high, strict=True))[1:]
    )
    return Growth(points, now, forecast, _sentence(now, forecast, options))


def _power_law(rows: ClassIndex, accuracy: DoubleArray, weight: DoubleArray, at: ClassIndex) -> DoubleArray:
    """Fit a − b·n^(−c) with b ≥ 0 and a ≤ 1 to each line of (M, P) accuracies; return its values, (M, len(at)).

    For each c on a grid, a and b are linear least squares (variable projection: Golub and Pereyra 1973).
    """
    w = weight / weight.sum(axis=1, keepdims=True)
    mean = (accuracy * w).sum(axis=1, keepdims=True)
    best = np.full(len(accuracy), np.inf)
    values = np.zeros((len(accuracy), len(at)))
    for c in _EXPONENTS:
        x = (rows / rows[-1]) ** -c
        spread = x - w @ x[:, None]
        b = np.maximum(-(w * spread * (accuracy - mean)).sum(axis=1) / (w * spread**2).sum(axis=1), 0)
        a = mean[:, 0] + b * (w @ x)
        # No more than everything can be right: a curve that would exceed that is drawn through 1.
        b = np.where(a > 1, np.maximum((w * x * (1 - accuracy)).sum(axis=1) / (w @ x**2), 0), b)
        a = np.minimum(a, 1)
        miss = (w * (accuracy - a[:, None] + b[:, None] * x) ** 2).sum(axis=1)
        better = miss < best
        best[better] = miss[better]
        values[better] = (a[:, None] - b[:, None] * (at / rows[-1]) ** -c)[better]
    return values


def _sentence(now: float, forecast: tuple[Forecast, ...], options: GrowthOptions) -> str:
    if not forecast:
        return f"With these rows, accuracy is about {_percent(now)} %."
    many = {2: "twice", 3: "three times", 4: "four times", 10: "ten times"}
    first, times = forecast[0], many.get(options.factors[0], f"{options.factors[0]} times")
    span = f"{_percent(first.low)} to {_percent(first.high)}"
    if first.high - first.low > _VAGUE:
        return (
            f"There are too few rows to tell what more of them would bring: with {times} the rows, accuracy could be "
            f"anything from {span} %."
        )
    change = f"from {_percent(now)} to about {_percent(first.accuracy)} % ({span})"
    if first.accuracy - now < _LITTLE:
        return f"More rows of this kind would bring little: {times} as many would take accuracy {change}."
    return f"With {times} the rows, accuracy would rise {change}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
