"""Vectors and labels → a logistic regression; vectors → scores.

After crossval.py on the way of a sentence. All that is trained, when the encoder stays frozen, is here.
scikit-learn is imported by `fit_head` alone: using a head takes numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from firstbert.crossval import Spectrum, out_of_fold, spectrum, standardisation
from firstbert.errors import DataError, UsageError
from firstbert.families import FloatArray
from firstbert.targets import BoolArray, ClassIndex, ClassWeight, DoubleArray, Targets, assign_folds

# From a head that hardly looks at the vectors to one that may overfit; finer where sentence vectors have their best.
GRID = (1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 1.0)
DEFAULT_C = 1e-2  # where there are too few rows to choose one
_ANCHOR = 0.5  # of a label's weight that goes to what heads fitted without the row say, where rows are left out
_LOOSER = 2.0  # times the penalty that was chosen with all rows, wrong labels held it small


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
        # Not a matrix product, whose last bits depend on how many rows there are: a text's score must not.
        X, W = vectors.astype(np.float64), self.weight.astype(np.float64)
        product: DoubleArray = np.einsum("nd,cd->nc", X, W)
        return product + self.bias


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

    def targets(self, y: ClassIndex | BoolArray, sample_weight: DoubleArray | None = None) -> Targets:
        """Return the labels as regressions take them."""
        return Targets(y, sample_weight, self.class_weight)

    @property
    def grid(self) -> tuple[float, ...]:
        """The penalties to try."""
        return GRID if self.C == "auto" else (float(self.C),)


@dataclass(frozen=True)
class Fit:
    """A head and how it was found.

    Attributes:
        head: the classifier, standardisation folded in.
        C: the penalty chosen.
        accuracy: at that C, on rows not fitted on; None where there were too few rows for folds.
        curve: C → (accuracy, log-loss), on rows not fitted on.
        scores: (N, C), each row's scores by a head that was fitted without it; None where there were no folds.
    """

    head: Head
    C: float
    accuracy: float | None = None
    curve: dict[float, tuple[float, float]] = field(default_factory=dict)
    scores: DoubleArray | None = None


def fit_head(
    vectors: FloatArray,
    y: ClassIndex | BoolArray,
    options: HeadOptions,
    sample_weight: DoubleArray | None = None,
    left_out: BoolArray | None = None,
) -> Fit:
    """Fit a logistic regression on standardised vectors.

    Args:
        vectors: (N, D).
        y: (N,) class indices, every class in [0, C) with at least one row; or (N, C) bool, which labels each row
            carries: then each label is fitted for itself.
        options: see there.
        sample_weight: (N,), None for equal weights.
        left_out: (N,) rows whose labels the head isn't fitted on, though C is chosen with them: without rows that a
            cross-validation got wrong, the next one would be too hopeful. So would be a head fitted on the others
            alone: it is anchored at what was said with all rows (`_anchored`). Some row of each class must stay.

    Raises:
        DataError: fewer than two classes.
        UsageError: an option is out of range.
    """
    from threadpoolctl import threadpool_limits

    check(options)
    targets = options.targets(y, sample_weight)
    if targets.classes < 2:
        raise DataError("At least two labels are needed to train; these rows have one.")
    # The products are too small for several threads: one is over ten times faster on a busy machine.
    with threadpool_limits(1, user_api="blas"):
        tried = cross_validate(spectrum(vectors, sample_weight), targets, options)
        C = options.grid[0] if options.C != "auto" else DEFAULT_C if tried is None else tried.C
        if left_out is None or not left_out.any():
            head = _fit(vectors, targets, C)
        elif tried is None:
            head = _fit(vectors[~left_out], targets.take(~left_out), C)
        else:
            looser = _LOOSER if options.C == "auto" else 1.0
            head = _anchored(vectors, targets, left_out, tried.at(C)[0], looser * C)
    if tried is None:
        return Fit(head, C)
    return Fit(head, C, tried.curve[C][0], tried.curve, tried.at(C)[0].astype(np.float64))


@dataclass(frozen=True)
class Tried:
    """A cross-validation over penalties.

    Attributes:
        scores: (N, G, C), each row's scores by heads fitted without it.
        losses: (N, G), −ln of the probability given to what is true.
        curve: C → (accuracy, log-loss), means over rows as they are weighted.
    """

    scores: FloatArray
    losses: DoubleArray
    curve: dict[float, tuple[float, float]]

    def at(self, C: float) -> tuple[FloatArray, DoubleArray]:
        """Return the scores, (N, C), and the losses, (N,), at one of the penalties."""
        k = list(self.curve).index(C)
        return self.scores[:, k], self.losses[:, k]

    @property
    def C(self) -> float:  # noqa: N802 - its name
        """The penalty with the least log-loss."""
        return min(self.curve, key=lambda C: self.curve[C][1])


def cross_validate(spectrum: Spectrum, targets: Targets, options: HeadOptions) -> Tried | None:
    """Try the penalties on rows not fitted on; None where there are too few rows for folds.

    Rows are standardised together, before they are parted: that looks at no label.
    """
    fold = assign_folds(targets, options.folds, options.seed)
    if fold is None:
        return None
    scores = out_of_fold(spectrum, targets, fold, options.grid)
    losses, right = targets.losses(scores), targets.right(scores)
    means = (np.average(values, axis=0, weights=targets.row_weight).tolist() for values in (right, losses))
    return Tried(scores, losses, dict(zip(options.grid, zip(*means, strict=True), strict=True)))


def check(options: HeadOptions) -> None:
    """Refuse options that are out of range; worth asking before texts are encoded.

    Raises:
        UsageError: the option is named.
    """
    C = options.C
    if C != "auto" and (isinstance(C, bool) or not isinstance(C, int | float) or not 0 < C < np.inf):
        raise UsageError(f"The 'C' option must be 'auto' or a number above 0. Got {C!r} instead.")
    if isinstance(options.class_weight, str) and options.class_weight != "balanced":
        raise UsageError(
            f"The 'class_weight' option must be 'balanced', a dict or None. Got {options.class_weight!r} instead."
        )
    if not isinstance(options.folds, int | np.integer) or options.folds < 2:
        raise UsageError(f"The 'folds' option must be an int of at least 2. Got {options.folds!r} instead.")


def _fit(vectors: FloatArray, targets: Targets, C: float) -> Head:
    X, mean, scale = _scaled(vectors, targets.sample_weight)
    return _unscaled(*_regressions(X, targets, C), mean, scale)


def _anchored(vectors: FloatArray, targets: Targets, left_out: BoolArray, scores: FloatArray, C: float) -> Head:
    """Fit a head on the labels of some rows and on what was said of all of them by heads that hadn't seen the row.

    Without the rows that a cross-validation contradicts, the others confirm whatever it believed. So each label is
    mixed half and half with the out-of-fold probabilities (Reed et al. 2015, "soft bootstrapping"); these alone stand
    for a row left out, which counts half. As half of the labels' pull is gone, C is doubled.

    Args:
        vectors: (N, D).
        targets: labels of all rows.
        left_out: (N,) rows whose labels don't count.
        scores: (N, C), out of fold.
        C: the penalty.
    """
    from scipy.special import expit, softmax

    X, mean, scale = _scaled(vectors, targets.sample_weight)
    columns = targets.columns.astype(np.float64)  # (N, K)
    said = expit(scores) if targets.many else softmax(scores, axis=1)[:, -columns.shape[1] :]
    share = np.where(left_out, 0.0, 1 - _ANCHOR)[:, None]  # of a label
    aims = (share * columns + _ANCHOR * said) / (share + _ANCHOR)
    weight = targets.weight * (share + _ANCHOR)
    return _unscaled(*_halves(*_soft_regressions(X, aims, weight, C / (1 - _ANCHOR), targets), targets), mean, scale)


def _scaled(vectors: FloatArray, weight: DoubleArray | None) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return standardised vectors, their mean and their scale."""
    X = vectors.astype(np.float64)
    mean, scale = standardisation(X, weight)
    X -= mean
    X /= scale
    return X, mean, scale


def _unscaled(coef: DoubleArray, intercept: DoubleArray, mean: DoubleArray, scale: DoubleArray) -> Head:
    """w·(x − mean)/scale + b  =  (w/scale)·x + (b − w·mean/scale): no scaler is needed afterwards."""
    weight = coef / scale
    # Row by row: safetensors writes the bytes as they lie.
    return Head(weight.astype(np.float32, order="C"), (intercept - weight @ mean).astype(np.float32))


def _soft_regressions(
    X: DoubleArray, aims: DoubleArray, weight: DoubleArray, C: float, targets: Targets
) -> tuple[DoubleArray, DoubleArray]:
    """(K, D) and (K,): regressions on probabilities, (N, K), which scikit-learn's don't take; its tolerances."""
    from scipy.optimize import minimize
    from scipy.special import expit, logsumexp

    D, K, total = X.shape[1], aims.shape[1], weight.sum()

    def loss(flat: DoubleArray) -> tuple[float, DoubleArray]:
        W = flat.reshape(K, D + 1)
        s = X @ W[:, :D].T + W[:, D]  # (N, K)
        top = np.logaddexp(0, s) if targets.link == "sigmoid" else logsumexp(s, axis=1, keepdims=True)
        p = expit(s) if targets.link == "sigmoid" else np.exp(s - top)
        each = top - aims * s if targets.link == "sigmoid" else top / K - aims * s
        miss = weight * (p - aims)
        slope = np.column_stack([miss.T @ X + W[:, :D] / C, miss.sum(axis=0)])
        return float(((weight * each).sum() + (W[:, :D] ** 2).sum() / (2 * C)) / total), slope.ravel() / total

    found = minimize(loss, np.zeros(K * (D + 1)), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-4})
    W = found.x.reshape(K, D + 1)
    return W[:, :D], W[:, D]


def _regressions(X: DoubleArray, targets: Targets, C: float) -> tuple[DoubleArray, DoubleArray]:
    """(C, D) and (C,): one regression of all classes, or one of each label."""
    if targets.many:
        weight = np.broadcast_to(targets.weight, targets.y.shape)
        rows = [_regression(X, carried, w, C) for carried, w in zip(targets.y.T, weight.T, strict=True)]
        coef, intercept = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    else:
        coef, intercept = _regression(X, targets.y, targets.weight[:, 0], C)
    return _halves(coef, intercept, targets)


def _halves(coef: DoubleArray, intercept: DoubleArray, targets: Targets) -> tuple[DoubleArray, DoubleArray]:
    """Two classes have one row, which is split so that softmax gives its sigmoid."""
    if len(coef) < targets.classes:
        return np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    return coef, intercept


def _regression(
    X: DoubleArray, y: ClassIndex | BoolArray, weight: DoubleArray, C: float
) -> tuple[DoubleArray, DoubleArray]:
    from sklearn.linear_model import LogisticRegression

    if y.all():  # a label that every row carries
        return np.zeros((1, X.shape[1])), np.array([np.log(len(y) + 1)])
    model = LogisticRegression(C=C, max_iter=1000).fit(X, y, sample_weight=weight)
    return model.coef_, model.intercept_
