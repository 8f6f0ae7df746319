"""Vectors and labels → a logistic regression; vectors → probabilities.

After cache.py's place on the way of a sentence. All that is trained, when the encoder stays frozen, is here.
scikit-learn is imported by `fit_head` alone: using a head takes numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from firstbert.errors import DataError, UsageError
from firstbert.families import FloatArray
from firstbert.progress import progress

ClassIndex = npt.NDArray[np.intp]
DoubleArray = npt.NDArray[np.float64]
ClassWeight = Literal["balanced"] | Mapping[int, float] | None

# From a head that hardly looks at the vectors to one that may overfit; finer where sentence vectors have their best.
GRID = (1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Head:
    """A linear classifier.

    Attributes:
        weight: (C, D) float32.
        bias: (C,) float32.
    """

    weight: FloatArray
    bias: FloatArray

    def scores(self, vectors: FloatArray | DoubleArray) -> DoubleArray:
        """Return the logits of N vectors, (N, C)."""
        # In float64 a text's score doesn't depend on how many texts stand beside it.
        product: DoubleArray = vectors.astype(np.float64) @ self.weight.T.astype(np.float64)
        return product + self.bias

    def probabilities(self, vectors: FloatArray | DoubleArray) -> DoubleArray:
        """Return the softmax of the scores, (N, C); rows sum to 1."""
        scores = self.scores(vectors)
        exp = np.exp(scores - scores.max(axis=1, keepdims=True))
        result: DoubleArray = exp / exp.sum(axis=1, keepdims=True)
        return result


@dataclass(frozen=True)
class HeadOptions:
    """How a head is fitted.

    Attributes:
        C: inverse strength of the L2 penalty; ``"auto"``: the value of `GRID` with the least log-loss in
            cross-validation.
        class_weight: None, ``"balanced"`` (each class counts as much as any other), or class index → weight.
        folds: of the cross-validation; fewer where the second largest class has fewer rows than that.
        seed: of the folds.
    """

    C: float | Literal["auto"] = "auto"
    class_weight: ClassWeight = None
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Fit:
    """A head and how it was found.

    Attributes:
        head: the classifier, standardisation folded in.
        C: the penalty used.
        accuracy: mean over folds at that C, measured on rows not fitted on; None where C was given or there were
            too few rows for folds.
        curve: C → (accuracy, log-loss), means over folds.
    """

    head: Head
    C: float
    accuracy: float | None = None
    curve: dict[float, tuple[float, float]] = field(default_factory=dict)


def fit_head(
    vectors: FloatArray,
    y: ClassIndex,
    options: HeadOptions,
    sample_weight: DoubleArray | None = None,
) -> Fit:
    """Fit a logistic regression on standardised vectors.

    Args:
        vectors: (N, D).
        y: (N,) class indices; every class in [0, C) has at least one row.
        options: see there.
        sample_weight: (N,), None for equal weights.

    Raises:
        DataError: fewer than two classes.
        UsageError: an option is out of range.
    """
    from threadpoolctl import threadpool_limits

    _check(options)
    if y.max(initial=0) < 1:
        raise DataError("At least two labels are needed to train; these rows have one.")
    X = vectors.astype(np.float64)
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    # The products are too small for several threads: one is over ten times faster on a busy machine.
    with threadpool_limits(1, user_api="blas"):
        curve = _curve(X, y, weight, options) if options.C == "auto" else {}
        C = float(options.C) if options.C != "auto" else _best(curve)
        head = _Path(X, y, weight, options).head(C)
    return Fit(head, C, curve[C][0] if curve else None, curve)


def _check(options: HeadOptions) -> None:
    C = options.C
    if C != "auto" and (isinstance(C, bool) or not isinstance(C, int | float) or not 0 < C < np.inf):
        raise UsageError(f"The 'C' option must be 'auto' or a number above 0. Got {C!r} instead.")
    if isinstance(options.class_weight, str) and options.class_weight != "balanced":
        raise UsageError(
            f"The 'class_weight' option must be 'balanced', a dict or None. Got {options.class_weight!r} instead."
        )
    if not isinstance(options.folds, int | np.integer) or options.folds < 2:
        raise UsageError(f"The 'folds' option must be an int of at least 2. Got {options.folds!r} instead.")


def _best(curve: dict[float, tuple[float, float]]) -> float:
    """Least log-loss; the middle of the grid where no fold could be made."""
    return min(curve, key=lambda C: curve[C][1]) if curve else 1e-2


def _curve(
    X: DoubleArray, y: ClassIndex, weight: DoubleArray, options: HeadOptions
) -> dict[float, tuple[float, float]]:
    """Cross-validated (accuracy, log-loss) for each C of the grid."""
    results: dict[float, list[tuple[float, float]]] = {C: [] for C in GRID}
    with progress("Choosing C", options.folds * len(GRID), "fits") as advance:
        for train, test in folds(y, options):
            path = _Path(X[train], y[train], weight[train], options, classes=int(y.max()) + 1)
            for C in GRID:
                p = path.head(C).probabilities(X[test])
                results[C].append(_score(p, y[test], weight[test]))
                advance(1)
    return {C: _mean(values) for C, values in results.items() if values}


def _score(p: DoubleArray, y: ClassIndex, weight: DoubleArray) -> tuple[float, float]:
    right = np.average(p.argmax(axis=1) == y, weights=weight)
    loss = np.average(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)), weights=weight)
    return float(right), float(loss)


def _mean(values: list[tuple[float, float]]) -> tuple[float, float]:
    accuracy, loss = np.mean(values, axis=0)
    return float(accuracy), float(loss)


def folds(y: ClassIndex, options: HeadOptions) -> Iterator[tuple[ClassIndex, ClassIndex]]:
    """Yield (train, test) rows of a stratified split; nothing where two classes can't both be in each part."""
    from sklearn.model_selection import StratifiedKFold

    counts = np.sort(np.bincount(y))[::-1]
    k = min(options.folds, int(counts[1]))
    if k < 2:
        return
    rare = np.flatnonzero(np.bincount(y) < k)
    stratum = np.where(np.isin(y, rare), -1, y)  # classes with fewer rows than folds are spread together
    if 0 < (stratum == -1).sum() < k:
        stratum = np.where(stratum == -1, np.argmax(np.bincount(y)), stratum)
    yield from StratifiedKFold(k, shuffle=True, random_state=options.seed).split(X=y, y=stratum)


class _Path:
    """Fits on the same rows for rising C, each starting where the last one ended."""

    def __init__(
        self, X: DoubleArray, y: ClassIndex, weight: DoubleArray, options: HeadOptions, classes: int | None = None
    ) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        self.scaler = StandardScaler().fit(X, sample_weight=weight)
        self._silence_dead()
        self.X, self.y, self.weight = self.scaler.transform(X), y, weight
        self.classes = classes or int(y.max()) + 1
        present = set(np.unique(y).tolist())
        class_weight = options.class_weight
        if isinstance(class_weight, Mapping):
            class_weight = {c: w for c, w in class_weight.items() if c in present}
        self.model = LogisticRegression(class_weight=class_weight, max_iter=1000, warm_start=True)

    def _silence_dead(self) -> None:
        """Numbers that vary by less than float32's rounding carry noise, which scaling would blow up: no say for them.

        Small alone is no reason: MiniLM has three numbers of 1e-9 to 1e-32 that vary by as much as they measure, and
        without them 0.5 points of SST-2's test accuracy are gone.
        """
        spread = np.sqrt(self.scaler.var_)
        self.dead = spread <= np.maximum(1e-6 * np.abs(self.scaler.mean_), 1e-35)
        self.scaler.scale_ = np.where(self.dead, 1.0, spread)

    def head(self, C: float) -> Head:
        self.model.set_params(C=C).fit(self.X, self.y, sample_weight=self.weight)
        return self._fold_in(self.model.coef_, self.model.intercept_)

    def _fold_in(self, coef: DoubleArray, intercept: DoubleArray) -> Head:
        """w·(x − mean)/scale + b  =  (w/scale)·x + (b − w·mean/scale): no scaler is needed afterwards."""
        if len(coef) == 1:  # two classes: one row, split so that softmax gives its sigmoid
            coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        weight = np.where(self.dead, 0, coef / self.scaler.scale_)
        bias = intercept - weight @ self.scaler.mean_
        return self._with_absent(weight, bias)

    def _with_absent(self, weight: DoubleArray, bias: DoubleArray) -> Head:
        """Give classes without a row among these a score that never wins."""
        full_weight = np.zeros((self.classes, weight.shape[1]))
        full_bias = np.full(self.classes, -1e4)
        full_weight[self.model.classes_], full_bias[self.model.classes_] = weight, bias
        return Head(full_weight.astype(np.float32), full_bias.astype(np.float32))


def encode_labels(labels: Any) -> tuple[list[Any], ClassIndex]:
    """Return the distinct labels in order, as Python values, and each row's index among them."""
    classes = sorted(set(labels))
    place = {label: i for i, label in enumerate(classes)}
    return classes, np.fromiter((place[label] for label in labels), np.intp, len(labels))
