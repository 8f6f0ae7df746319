"""Texts and labels → what the words of each text say about its label, by counts of the other rows.

After conflicts.py on the way of a sentence; check.py lets words vote beside the encoder's layers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from firstbert.targets import ClassIndex, DoubleArray, Targets

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MOST = 50_000  # words and pairs that are counted, the commonest ones: C labels take C times as much memory


def words_out_of_fold(texts: Sequence[str], targets: Targets, fold: ClassIndex) -> DoubleArray:
    """Return each row's scores by naive Bayes on words and pairs of words, counted on the other folds, (N, C).

    Each counts once a text (Wang and Manning 2012, section 2.1). The scores are far too sure, since words don't come
    independently: whoever takes them gives them a weight.

    Args:
        texts: N texts.
        targets: their labels.
        fold: (N,) the fold of each row.
    """
    row, part, F = _said(texts)
    carried = targets.carried.astype(np.float64)
    texts_with, all_with = _summed(carried, row, part, F), carried.sum(axis=0)
    scores = np.empty(carried.shape)
    for f in range(int(fold.max()) + 1):
        out = fold == f
        asked = out[row]
        row_f, part_f = row[asked], part[asked]
        of, rows = texts_with - _summed(carried, row_f, part_f, F), all_with - carried[out].sum(axis=0)
        says, share = _shares(of, rows)
        if targets.many:
            n = np.bincount(part, minlength=F) - np.bincount(part_f, minlength=F)
            says_not, share_not = _shares(n[:, None] - of, np.count_nonzero(~out) - rows)
            says, share = says - says_not, share - share_not
        scores[out] = (_summed(says, part_f, row_f, len(texts)) + share)[out]
    return scores


def _said(texts: Sequence[str]) -> tuple[ClassIndex, ClassIndex, int]:
    """Which text has which word or pair of words, (M,) each, and how many of these there are.

    One that a single text has says nothing of the others.
    """
    place: dict[str, int] = {}
    parts, n = [], []
    for text in texts:
        words = _TOKEN.findall(text.casefold())
        own = dict.fromkeys((*words, *map(" ".join, pairwise(words))))
        parts += [place.setdefault(part, len(place)) for part in own]
        n.append(len(own))
    row, part = np.repeat(np.arange(len(texts)), n), np.array(parts, np.intp)
    count = np.bincount(part, minlength=len(place))
    kept = np.argsort(-count, kind="stable")[: min(_MOST, int((count > 1).sum()))]
    new = np.full(len(place), -1)
    new[kept] = np.arange(len(kept))
    known = new[part] >= 0
    return row[known], new[part[known]], len(kept)


def _summed(values: DoubleArray, of: ClassIndex, to: ClassIndex, n: int) -> DoubleArray:
    """Add up rows `of` the values, (…, C), in rows `to` of the result, (n, C)."""
    return np.stack([np.bincount(to, column[of], n) for column in np.ascontiguousarray(values.T)], axis=1)


def _shares(of: DoubleArray, rows: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """The logarithms of the words' and the labels' shares, where everything was seen once more than it was."""
    of = of + 1
    return np.log(of / of.sum(axis=0)), np.log(rows + 1)
