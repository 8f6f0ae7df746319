"""Texts to learn from, texts to be tested with → those of the first that tell nothing of the second.

After data.py on the way of a sentence, for text without labels: whoever learns from a sentence of a test, or from
nearly that sentence, has seen the test. Two texts are the same if they're the same in letters and digits; nearly the
same if they share most of their shingles, runs of five letters regardless of white space and punctuation (Broder 1997),
so that neither "it 's" for "it's" nor scripts without spaces matter.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert.errors import UsageError
from firstbert.progress import progress

__all__ = ["Overlap", "OverlapOptions", "apart"]

_N = 5  # letters in a shingle
_BLOCK = 2**22  # pairs of texts looked at at once, at 8 to 40 bytes each
_NEITHER = re.compile(r"[\W_]+")  # all but letters and digits, as str.isalnum has it
_SENTENCE_END = re.compile("[.!?。।؟۔\n]+")
_BRACKET = re.compile(r"\b[lr][rsc]b\b")  # how the Penn Treebank, and texts cut up by its rules, write brackets
# A Chinese character or a syllable's sign says about as much as three letters, and is counted as three.
_SYLLABIC = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff]")

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class OverlapOptions:
    """What counts as nearly the same text.

    The shares are of shingles. Too many texts found cost little, one too few spoils a test: of SST-2's validation and
    test rows of six words or more, over 99 % are found with one word changed, and 99 % of clauses of six words. Of its
    6,920 rows for training, 17 are as much like one of those, about half of them for good reason. In a text of a
    hundred sentences, the shingles of a short one may be found all over the place: compare paragraphs.

    Attributes:
        alike: the least share that two texts have in common, twice the common ones by the sum of both (Dice 1945).
        alike_short: the same where one of the two is short.
        inside: the least share of the shorter text that is found in the longer one, where neither is short.
        letters: a text with fewer letters and digits than this, three or four words, is short: it is sought only as
            a whole text or a whole sentence, for many a sentence has "a good film" in it.
    """

    alike: float = 0.5
    alike_short: float = 0.8
    inside: float = 0.8
    letters: int = 16

    def __post_init__(self) -> None:
        for name in ("alike", "alike_short", "inside"):
            share = getattr(self, name)
            if not 0 < share <= 1:
                raise UsageError(f"{name} must be above 0 and at most 1, not {share!r}")
        if self.letters < _N:
            raise UsageError(f"letters must be {_N} or more, not {self.letters!r}")


_DEFAULT = OverlapOptions()


@dataclass(frozen=True)
class Overlap:
    """Where each of N texts belongs; every position is in exactly one of the four.

    Attributes:
        kept: positions of texts that match none of those seen, the first of each where texts repeat.
        equal: pairs (i, j): text i has the letters and digits of j, the first such text of those seen.
        near: pairs (i, j): text i, or a sentence of it, is nearly j, the most similar of those seen, or has j in it.
        repeated: pairs (i, first): text i matches none of those seen, but repeats an earlier text.
    """

    kept: tuple[int, ...]
    equal: tuple[tuple[int, int], ...]
    near: tuple[tuple[int, int], ...]
    repeated: tuple[tuple[int, int], ...]


def apart(texts: Sequence[str], seen: Sequence[str], options: OverlapOptions = _DEFAULT) -> Overlap:
    """Tell texts that match none of those seen from those that do.

    Case, punctuation, white space and the way accents are encoded make no difference; of scripts that write vowels as
    marks, only the letters count. A text without letters and digits matches one with the same signs.

    Args:
        texts: N texts, sentences or longer ones.
        seen: the texts that none of the kept may match.
        options: see there.
    """
    known = _Seen(seen, options)
    firsts: dict[bytes, int] = {}
    equal, near, repeated = [], [], []
    with progress("Comparing texts", total=len(texts)) as advance:
        for start in range(0, len(texts), known.rows):
            units: list[tuple[int, str]] = []
            stop = min(start + known.rows, len(texts))
            for i in range(start, stop):
                folded = _folded(texts[i])
                key = _key(folded)
                if (j := known.places.get(key)) is not None:
                    equal.append((i, j))
                elif (first := firsts.setdefault(_digest(key), i)) != i:
                    repeated.append((i, first))
                else:
                    units += [(i, unit) for unit in _units(folded, key)]
            near += known.nearest(units)
            advance(stop - start)
    return _sorted_out(len(texts), equal, near, repeated)


Pairs = list[tuple[int, int]]


def _sorted_out(n: int, equal: Pairs, near: Pairs, repeated: Pairs) -> Overlap:
    """A text that repeats a near one is near itself; what is in none of the three is kept."""
    similar = dict(near)
    near = sorted(near + [(i, similar[first]) for i, first in repeated if first in similar])
    repeated = [(i, first) for i, first in repeated if first not in similar]
    out = {i for pairs in (equal, near, repeated) for i, _ in pairs}
    return Overlap(tuple(i for i in range(n) if i not in out), tuple(equal), tuple(near), tuple(repeated))


class _Seen:
    """The texts seen, by their keys and by their shingles."""

    def __init__(self, seen: Sequence[str], options: OverlapOptions) -> None:
        self.options = options
        self.places: dict[str, int] = {}
        for j, text in enumerate(seen):
            self.places.setdefault(_key(_folded(text)), j)
        self.positions = list(self.places.values())
        self.rows = max(64, _BLOCK // max(1, len(self.positions)))  # texts taken at once
        self.columns: dict[str, int] = {}  # of the shingles
        all_shingles = [_shingles(key) for key in self.places]
        for shingles in all_shingles:
            for shingle in shingles:
                self.columns.setdefault(shingle, len(self.columns))
        self.sizes = np.array([len(shingles) for shingles in all_shingles], np.intp)
        self.has = self._incidence(all_shingles).T.tocsr()  # (shingles, texts seen)

    def _incidence(self, every: Iterable[set[str]]) -> Any:
        """Return the matrix of ones where a text, a row, has a shingle of those seen, a column."""
        from scipy.sparse import csr_array

        columns: list[int] = []
        ends = [0]
        for shingles in every:
            columns += [self.columns[shingle] for shingle in shingles & self.columns.keys()]
            ends.append(len(columns))
        ones = np.ones(len(columns), np.int32)
        return csr_array((ones, columns, ends), shape=(len(ends) - 1, len(self.columns)), dtype=np.int32)

    def nearest(self, units: Sequence[tuple[int, str]]) -> Pairs:
        """Return (i, j) for each text i of which a unit, the text or a sentence of it, is nearly text j of those seen.

        Args:
            units: (i, key) of each unit.
        """
        best: dict[int, tuple[float, int]] = {}
        for i, share, j in self._near(units):
            best[i] = max(best.get(i, (0.0, 0)), (share, -j))  # the first of several as similar
        return [(i, -j) for i, (_, j) in sorted(best.items())]

    def _near(self, units: Sequence[tuple[int, str]]) -> Iterator[tuple[int, float, int]]:
        for i, key in units:
            if (j := self.places.get(key)) is not None:
                yield i, 1.0, j
        for start in range(0, len(units) if self.columns else 0, self.rows):
            block = units[start : start + self.rows]
            all_shingles = [_shingles(key) for _, key in block]
            sizes = np.array([len(shingles) for shingles in all_shingles], np.intp)
            common = self._incidence(all_shingles) @ self.has  # (units, texts seen)
            rows = np.repeat(np.arange(len(block)), np.diff(common.indptr))
            shares, near = self._shares(common.data, sizes[rows], self.sizes[common.indices])
            for k in np.flatnonzero(near):
                yield block[rows[k]][0], float(shares[k]), self.positions[common.indices[k]]

    def _shares(self, common: IntArray, a: IntArray, b: IntArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Return how alike pairs of texts with a and b shingles are that have so many in common, and which are near."""
        options = self.options
        shorter = np.minimum(a, b)
        short = shorter <= options.letters - _N  # n letters have n - 4 shingles
        shares = 2 * common / (a + b)
        near = (shares >= np.where(short, options.alike_short, options.alike)) | (
            ~short & (common >= options.inside * shorter)
        )
        return shares, near


def _folded(text: str) -> str:
    """Return a text with no difference of case or encoding (Unicode's compatibility caseless form, in short)."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    folded = text.casefold()
    if not folded.isascii():
        folded = unicodedata.normalize("NFKC", folded)
    return _BRACKET.sub(" ", folded)


def _key(folded: str) -> str:
    """Return the letters and digits of a text; of one that has none, its signs."""
    return _NEITHER.sub("", folded) or " ".join(folded.split())


def _units(folded: str, key: str) -> list[str]:
    """Return the keys of a text and, where it has several, of its sentences."""
    sentences = {_NEITHER.sub("", sentence) for sentence in _SENTENCE_END.split(folded)}
    return [key, *(sentences - {key, ""})]


def _shingles(key: str) -> set[str]:
    """Return each run of five letters; none of fewer than five letters, or where there are no letters."""
    if not key.isalnum():
        return set()
    letters = key if key.isascii() else _SYLLABIC.sub(r"\g<0>\g<0>\g<0>", key)
    return {letters[k : k + _N] for k in range(len(letters) - _N + 1)}


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
