"""Training sentences kept with their vectors → those nearest to a new one.

After predictor.py on the way of a sentence. A model has them only where that was asked for: they are its owner's texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from firstbert.cache import encode
from firstbert.data import Label
from firstbert.families import FloatArray
from firstbert.predictor import Answer, Predictor

HalfArray: TypeAlias = npt.NDArray[np.float16]

MOST = 20_000  # kept; of more rows a sample
LIMIT = 200_000_000  # bytes of all their texts


@dataclass(frozen=True)
class Neighbour:
    """A training sentence near a text.

    Attributes:
        text: the sentence.
        label: what it was labelled with; a tuple where a text may carry many.
        similarity: cosine of the two vectors, in [−1, 1].
    """

    text: str
    label: Answer
    similarity: float


@dataclass(frozen=True)
class Neighbours:
    """Training sentences with their labels and vectors.

    Attributes:
        texts: N sentences.
        labels: theirs.
        vectors: (N, D) float16 of length 1, as the head meets them otherwise. Half precision moves a cosine by less
            than 0.001.
    """

    texts: tuple[str, ...]
    labels: tuple[Answer, ...]
    vectors: HalfArray

    def nearest(self, vector: FloatArray, k: int = 5) -> list[Neighbour]:
        """Return the `k` sentences whose vectors point most nearly where this one, (D,), points; nearest first."""
        similar = self.vectors.astype(np.float32) @ unit(vector[None])[0]
        order = np.argsort(-similar, kind="stable")[:k]
        return [Neighbour(self.texts[i], self.labels[i], float(similar[i])) for i in order]


def neighbours(
    predictor: Predictor, texts: Sequence[str], labels: Sequence[Label] | Sequence[tuple[Label, ...]],
    *, seed: int = 0, cache: bool = False,
) -> Neighbours:  # fmt: skip
    """Return the sentences as a model keeps them, each text once; of more than `MOST` a sample.

    Args:
        predictor: whose vectors these are.
        texts: what it was trained on.
        labels: one a text, or a tuple where a text may carry many.
        seed: of the sample.
        cache: whether vectors are taken from and kept in the cache folder.
    """
    once = list(dict(zip(texts, labels, strict=True)).items())
    chosen = sorted(np.random.default_rng(seed).permutation(len(once))[:MOST].tolist())
    kept, theirs = zip(*(once[i] for i in chosen), strict=True)
    vectors = encode(predictor.engine, kept, cache).joined
    return Neighbours(kept, theirs, unit(vectors).astype(np.float16))


def unit(vectors: FloatArray) -> FloatArray:
    """Return the vectors, (N, D), each brought to length 1; zeros stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    brought: FloatArray = (vectors / np.where(length == 0, 1, length)).astype(np.float32)
    return brought
