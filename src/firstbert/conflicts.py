"""Texts and vectors → rows that say the same, or nearly the same, under different labels.

After answers.py on the way of a sentence; suspects.py decides which of such rows to doubt.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from firstbert.families import FloatArray
from firstbert.targets import ClassIndex

_WORD = re.compile(r"\w+")
_FEW_WORDS = 4  # below, texts are compared letter by letter: one word of three is no small change
_BLOCK = 2**22  # similarities held at once (16 MiB)


@dataclass(frozen=True)
class NearOptions:
    """What counts as nearly the same text.

    Attributes:
        cosine: the least cosine similarity of two vectors, their mean taken off before.
        words: the least share of words (letters, in texts of fewer than four words) that two texts have in common
            and in the same order, in [0, 1].
        rows: with more rows than this, only equal texts are found.
        pairs: the most pairs of similar vectors whose words are compared; the most similar are.
    """

    # With one word more, less, moved or misspelt, over nine in ten sentences of SST-2 stay above 0.8 (both MiniLM and
    # MPNet); below it, most pairs only speak of the same thing, and opposite opinions often do.
    cosine: float = 0.8
    words: float = 0.8
    rows: int = 100_000
    pairs: int = 10_000


def same_texts(texts: Sequence[str], kinds: ClassIndex) -> list[list[int]]:
    """Return the rows of each text that stands with several labels; case and white space make no difference.

    Args:
        texts: N texts.
        kinds: (N,) which label each carries, or which set of labels.
    """
    places = defaultdict(list)
    for i, text in enumerate(texts):
        places[normalised(text)].append(i)
    return [rows for rows in places.values() if len({int(kinds[i]) for i in rows}) > 1]


def normalised(text: str) -> str:
    """Return a text without what same texts may differ in."""
    return " ".join(text.casefold().split())


def near_duplicates(
    texts: Sequence[str], vectors: FloatArray, kinds: ClassIndex, options: NearOptions
) -> list[tuple[int, int]]:
    """Return pairs of rows with nearly the same text and different labels, the most similar first.

    A small difference can turn a meaning round ("is funny", "isn't funny"): such pairs are found too.

    Args:
        texts: N texts.
        vectors: (N, D).
        kinds: (N,) which label each carries, or which set of labels.
        options: see there; its `rows` is the caller's to heed.
    """
    found = []
    for i, j in _similar(vectors, kinds, options):
        if normalised(texts[i]) != normalised(texts[j]) and _alike(texts[i], texts[j], options.words):
            found.append((i, j))
    return found


def _similar(vectors: FloatArray, kinds: ClassIndex, options: NearOptions) -> list[tuple[int, int]]:
    """Return pairs of rows of different kinds whose vectors are similar, the most similar first."""
    order = np.argsort(kinds, kind="stable")
    Z, kinds = _directions(vectors[order]), kinds[order]
    later = np.searchsorted(kinds, kinds, side="right")  # where the next kind begins: only unlike pairs are computed
    step = max(1, _BLOCK // len(Z))
    pairs, cosines = np.empty((0, 2), np.intp), np.empty(0, np.float32)
    for a in range(0, len(Z), step):
        start = later[a]
        S = Z[a : a + step] @ Z[start:].T
        i, j = np.nonzero(options.cosine <= S)
        unlike = kinds[i + a] < kinds[j + start]
        i, j = i[unlike], j[unlike]
        pairs = np.concatenate([pairs, np.column_stack([i + a, j + start])])
        cosines = np.concatenate([cosines, S[i, j]])
        best = np.argsort(-cosines, kind="stable")[: options.pairs]
        pairs, cosines = pairs[best], cosines[best]
    return [(int(i), int(j)) for i, j in order[pairs]]


def _directions(vectors: FloatArray) -> FloatArray:
    """Take the mean off, which all texts share and which makes any two look similar; scale to length one."""
    Z = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    result: FloatArray = Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-12)
    return result


def _alike(a: str, b: str, share: float) -> bool:
    """Whether two texts have this share of words, or letters, in common and in the same order."""
    parts: list[Sequence[str]] = [_WORD.findall(text.casefold()) for text in (a, b)]
    if max(map(len, parts)) < _FEW_WORDS:
        parts = [a.casefold(), b.casefold()]
    matcher: SequenceMatcher[str] = SequenceMatcher(None, parts[0], parts[1], autojunk=False)
    return matcher.quick_ratio() >= share and matcher.ratio() >= share
