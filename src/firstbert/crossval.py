"""Vectors and labels → out-of-fold scores of every fold and penalty at once.

After targets.py on the way of a sentence, before head.py, whose search over C it is. Fitting fifty regressions one
after the other takes fifty times as long as bringing the vectors into their eigenbasis once, where a diagonal is a
good approximation of every problem's curvature, and taking the fifty steps of an iteration in two matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from firstbert.families import FloatArray
from firstbert.targets import BoolArray, ClassIndex, DoubleArray, Link, Targets

_CHUNK = 16_000_000  # numbers in a matrix of scores: 64 MB each for a handful of them
_TOLERANCE = 1e-5  # of the mean loss, in nats: far below what folds differ by
_ITERATIONS = 500
_HARMLESS = 1.3  # steps of momentum stay stable up to 4/3 of the bound
_POWER = 10


# ---------------------------------------------------------------- the vectors


@dataclass(frozen=True)
class Spectrum:
    """Standardised vectors in the basis of their covariance's eigenvectors; R is the smaller of N and D.

    Attributes:
        Z: (N, R) float32; columns are orthogonal, so a ridge penalty on weights means the same here.
        eigenvalues: (R,) float32, the columns' squared lengths.
    """

    Z: FloatArray
    eigenvalues: FloatArray


def standardisation(X: DoubleArray, weight: DoubleArray | None = None) -> tuple[DoubleArray, DoubleArray]:
    """Return mean and scale of each column, both (D,); the scale is infinite where a column carries noise only.

    A number that varies by less than float32's rounding would be blown up by scaling. Small alone is no reason:
    MiniLM has three numbers of 1e-9 to 1e-32 that vary by as much as they measure, and without them 0.5 points of
    SST-2's test accuracy are gone.
    """
    mean = np.average(X, axis=0, weights=weight)
    spread = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
    return mean, np.where(spread <= np.maximum(1e-6 * np.abs(mean), 1e-35), np.inf, spread)


def spectrum(vectors: FloatArray, weight: DoubleArray | None = None) -> Spectrum:
    """Standardise N vectors, (N, D), by weighted mean and spread, and turn them into their eigenbasis."""
    X = standardised(vectors, weight)
    N, D = X.shape
    if D > N:
        return from_gram(X @ X.T)
    values, basis = np.linalg.eigh(X.T @ X)
    return Spectrum(X @ basis, np.maximum(values, 0))


def standardised(vectors: FloatArray, weight: DoubleArray | None = None) -> FloatArray:
    """Return the vectors with columns of mean 0 and spread 1, (N, D) float32."""
    X = vectors.astype(np.float64)
    mean, scale = standardisation(X, weight)
    X -= mean
    X /= scale
    return X.astype(np.float32)


def from_gram(gram: FloatArray) -> Spectrum:
    """Return the same from the vectors' products with each other, (N, N); sums of these stand for concatenations."""
    values, basis = np.linalg.eigh(gram)
    values = np.maximum(values, 0)
    return Spectrum(basis * np.sqrt(values), values)


# ---------------------------------------------------------------- fitting


def solve(  # noqa: PLR0917 - a problem has that many parts
    spectrum: Spectrum,
    targets: FloatArray,
    masks: FloatArray,
    penalties: FloatArray,
    link: Link,
    weight: FloatArray | None = None,
) -> FloatArray:
    """Fit M logistic regressions on the same N rows and return each one's scores of all rows.

    Minimises Σ weight · loss + ‖w‖² / (2C), the intercept unpenalised, by accelerated steps of a quadratic bound
    (Böhning 1992: the curvature of a logistic loss is at most ¼, of a softmax ½), restarted where they overshoot
    (O'Donoghue & Candès 2015). Weights that differ a thousandfold and a weak penalty take more steps than there are.

    Args:
        spectrum: of the N vectors.
        targets: (N, K) of 0 and 1; K is 1 for two classes.
        masks: (N, M), the weight of each row in each problem; 0 leaves it out.
        penalties: (M,), C of each problem.
        link: ``"softmax"`` where one of the K is right, ``"sigmoid"`` where each stands for itself.
        weight: (N, 1) or (N, K), in all problems; None: 1.

    Returns:
        (N, M, K) float32.
    """
    descent = _begin(spectrum, targets, masks, penalties, link, weight)
    (N, K), M = targets.shape, masks.shape[1]
    found, live = np.empty((N, M, K), np.float32), np.arange(M)
    for _ in range(_ITERATIONS):
        done = descent.step()
        if 4 * done.sum() >= len(done):  # not one by one: each time, the others are copied
            found[:, live[done]] = descent.scores(done)
            descent, live = descent.take(~done), live[~done]
        if not len(live):
            return found
    found[:, live] = descent.scores(np.ones(len(live), np.bool_))
    return found


@dataclass
class _Descent:
    """M regressions on the way to their least loss.

    Attributes:
        spectrum, targets, link: as for `solve`.
        weights: (N, M, 1|K), of each row's loss.
        penalties: (M,).
        curvature, curvature_bias: (R, M, 1|K) and (M, 1|K), at most what the loss has.
        steeper: (M, 1|K), how much of that the basis owes to weights that differ.
        w, b: (R, M, K) and (M, K), where each is.
        ahead, ahead_bias: the same, where its momentum would take it.
        t: (M, K), how long it has gone on without a restart.
    """

    spectrum: Spectrum
    targets: FloatArray
    link: Link
    weights: FloatArray
    penalties: FloatArray
    curvature: FloatArray
    curvature_bias: FloatArray
    steeper: FloatArray
    w: FloatArray
    b: FloatArray
    ahead: FloatArray
    ahead_bias: FloatArray
    t: FloatArray

    def step(self) -> BoolArray:
        """Go one step; return which are there, (M,), if it is a quarter of them or more, else none."""
        Z, total = self.spectrum.Z, self.weights.sum(axis=0)
        miss = _probabilities(_scores(Z, self.ahead, self.ahead_bias), self.link) - self.targets[:, None, :]
        miss *= self.weights
        slope = (Z.T @ miss.reshape(len(miss), -1)).reshape(self.w.shape) + self.ahead / self.penalties[:, None]
        slope_bias = miss.sum(axis=0)
        step, step_bias = slope / self.curvature, slope_bias / self.curvature_bias
        new, new_bias = self.ahead - step, self.ahead_bias - step_bias
        # at most what is to be gained, twice
        left = ((slope * step).sum(axis=0) + slope_bias * step_bias) * self.steeper
        overshot = (step * (new - self.w)).sum(axis=0) > 0
        t = np.where(overshot, 1, self.t)
        t_next = (1 + np.sqrt(1 + 4 * t * t)) / 2
        momentum = np.where(overshot, 0, (t - 1) / t_next)
        self.ahead, self.ahead_bias = new + momentum * (new - self.w), new_bias + momentum * (new_bias - self.b)
        self.w, self.b, self.t = new, new_bias, t_next.astype(np.float32)
        near: BoolArray = (left <= _TOLERANCE * total).all(axis=1)
        if 4 * near.sum() < len(near):
            return np.zeros_like(near)
        near[near] = self.settled(near, miss[:, near], slope[:, near], slope_bias[near])
        return near

    def settled(self, which: BoolArray, miss: FloatArray, slope: FloatArray, slope_bias: FloatArray) -> BoolArray:
        """For which of some Newton's steps would gain next to nothing: on flat ground, later than the bound says so."""
        weights = self.weights[:, which]
        sure = np.abs(np.divide(miss, weights, out=np.zeros_like(miss), where=weights > 0))
        bends = (sure * (1 - sure) * weights).sum(axis=0)
        curvature = self.spectrum.eigenvalues[:, None, None] * (bends / len(miss)) + 1 / self.penalties[which, None]
        left = (slope * slope / curvature).sum(axis=0) + slope_bias**2 / np.maximum(bends, 1e-12)
        done: BoolArray = (left <= 10 * _TOLERANCE * weights.sum(axis=0)).all(axis=1)
        return done

    def take(self, which: BoolArray) -> _Descent:
        """Return some of them."""
        of_rows = ("weights", "curvature", "w", "ahead")
        of_each = ("penalties", "curvature_bias", "steeper", "b", "ahead_bias", "t")
        some = {name: getattr(self, name)[:, which] for name in of_rows}
        return replace(self, **some, **{name: getattr(self, name)[which] for name in of_each})

    def scores(self, which: BoolArray) -> FloatArray:
        """Return what some of them say of all rows, (N, those, K)."""
        return _scores(self.spectrum.Z, self.w[:, which], self.b[which])


def _begin(  # noqa: PLR0917 - as `solve`
    spectrum: Spectrum,
    targets: FloatArray,
    masks: FloatArray,
    penalties: FloatArray,
    link: Link,
    weight: FloatArray | None,
) -> _Descent:
    (N, K), M = targets.shape, masks.shape[1]
    weights = masks[:, :, None] * (np.ones((1, 1), np.float32) if weight is None else weight)[:, None, :]  # (N, M, 1|K)
    total = weights.sum(axis=0)  # (M, 1|K)
    bound = 0.25 if link == "sigmoid" else 0.5
    curvature = bound * spectrum.eigenvalues[:, None, None] * (total / N) + 1 / penalties[:, None]  # (R, M, 1|K)
    curvature_bias = np.maximum(bound * total, 1e-12)
    steeper = _steeper(spectrum.Z, bound * weights, curvature, curvature_bias)
    w, b = np.zeros((spectrum.Z.shape[1], M, K), np.float32), _first_bias(targets, weights, link)
    return _Descent(
        spectrum, targets, link, weights, penalties, curvature * steeper, curvature_bias * steeper, steeper, w, b, w, b,
        np.ones((M, K), np.float32),
    )  # fmt: skip


def _steeper(Z: FloatArray, bends: FloatArray, curvature: FloatArray, curvature_bias: FloatArray) -> FloatArray:
    """How many times the diagonal's curvature the loss may have in some direction, (M, 1|K), by power iteration.

    Weights that differ much turn the basis: a row of weight 100 bends the loss along its own vector a hundred times.
    """
    N, R = Z.shape
    if (bends.max(axis=0) <= _HARMLESS * bends.mean(axis=0)).all():
        return np.ones_like(curvature_bias)
    root = 1 / np.sqrt(np.concatenate([curvature, curvature_bias[None]]))
    v = np.random.default_rng(0).normal(size=root.shape).astype(np.float32)
    size = np.ones_like(curvature_bias)
    for _ in range(_POWER):
        v /= np.sqrt((v * v).sum(axis=0))
        u = root * v
        rows = bends * _scores(Z, u[:R], u[R])
        turned = root * np.concatenate([(Z.T @ rows.reshape(N, -1)).reshape(curvature.shape), rows.sum(axis=0)[None]])
        v, size = turned, (turned * v).sum(axis=0)
    steeper: FloatArray = np.maximum(1, 1.1 * size)
    return steeper


def _scores(Z: FloatArray, w: FloatArray, b: FloatArray) -> FloatArray:
    """(N, M, K)."""
    product: FloatArray = (Z @ w.reshape(len(w), -1)).reshape(len(Z), *b.shape)
    product += b
    return product


def _probabilities(scores: FloatArray, link: Link) -> FloatArray:
    """In place: there are many of them."""
    if link == "sigmoid":
        np.negative(scores, out=scores)
        np.exp(np.minimum(scores, 80, out=scores), out=scores)
        scores += 1
        return np.reciprocal(scores, out=scores)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def _first_bias(targets: FloatArray, weights: FloatArray, link: Link) -> FloatArray:
    """The best one without any vector, (M, K)."""
    share = (weights * targets[:, None, :]).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-12)
    share = np.clip(share, 1e-4, 1 - 1e-4)
    bias: FloatArray = np.log(share) if link == "softmax" else np.log(share / (1 - share))
    return bias.astype(np.float32)


def out_of_fold(spectrum: Spectrum, targets: Targets, fold: ClassIndex, penalties: npt.ArrayLike) -> FloatArray:
    """Return each row's scores by regressions fitted on the other folds, one for each of G penalties.

    Args:
        spectrum: of the N vectors.
        targets: their labels.
        fold: (N,) the fold of each row.
        penalties: (G,).

    Returns:
        (N, G, C) float32.
    """
    grid, columns = np.asarray(penalties, np.float32), targets.columns.astype(np.float32)
    (N, K), G = columns.shape, len(grid)
    found = np.empty((N, G, K), np.float32)
    for folds, values in _problems(int(fold.max()) + 1, G, max(1, _CHUNK // (N * K))):
        masks = (fold[:, None] != folds).astype(np.float32)
        scores = solve(spectrum, columns, masks, grid[values], targets.link, targets.weight.astype(np.float32))
        for m, (f, g) in enumerate(zip(folds, values, strict=True)):
            found[fold == f, g] = scores[fold == f, m]
    return np.concatenate([-found / 2, found / 2], axis=2) if targets.classes > K else found


def _problems(folds: int, penalties: int, at_once: int) -> Iterator[tuple[ClassIndex, ClassIndex]]:
    """Every fold with every penalty, some at a time."""
    f, g = (axis.ravel() for axis in np.meshgrid(np.arange(folds), np.arange(penalties), indexing="ij"))
    for start in range(0, len(f), at_once):
        yield f[start : start + at_once], g[start : start + at_once]
