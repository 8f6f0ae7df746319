"""Truth and answers out of a random generator, for the tests of measuring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from firstbert.data import Examples
from firstbert.decision import Decision
from firstbert.predictor import Predictions


def rows(labels: Sequence[Any], texts: Sequence[str] | None = None, **more: Any) -> Examples:
    texts = [f"text {i}" for i in range(len(labels))] if texts is None else list(texts)
    lines = list(range(2, len(texts) + 2))
    return Examples(texts, list(labels), lines, "rows.tsv", (), "", **more)


def answers(
    p: np.ndarray, labels: Sequence[Any] | None = None, truncated: Sequence[bool] | None = None, **decision: Any
) -> Predictions:
    labels = tuple("abcdefghij"[: p.shape[1]]) if labels is None else tuple(labels)
    cut = np.zeros(len(p), bool) if truncated is None else np.array(truncated)
    return Predictions(labels, np.asarray(p, float), cut, Decision(**decision))


def single(n: int, classes: int, seed: int = 0, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(N,) indices and (N, C) probabilities that know something of them; some probabilities are equal."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    scores = rng.random((n, classes)) + 0.4 * (np.arange(classes) == y[:, None])
    scores = np.round(scores, 1) + 0.1 if ties else scores
    return y, scores / scores.sum(axis=1, keepdims=True)


def several(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, C) bool and (N, C) probabilities, for texts that carry any number of labels."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, classes)) < np.linspace(0.1, 0.6, classes)
    return truth, np.round(np.clip(rng.normal(0.3 + 0.35 * truth, 0.2), 0, 1), 2)


def sets(truth: np.ndarray) -> list[tuple[str, ...]]:
    """The same as tuples of labels, as examples hold them."""
    return [tuple("abcdefghij"[i] for i in np.flatnonzero(row)) for row in truth]
