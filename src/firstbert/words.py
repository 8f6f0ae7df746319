"""Texts and labels → what the words of each text say about its label, by counts of the other rows.

After conflicts.py on the way of a sentence; check.py lets words vote beside the encoder's layers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from firstbert.families import FloatArray
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
    said = _said(texts)
    carried = targets.carried.astype(np.float32)
    scores = np.empty(carried.shape)
    for f in range(int(fold.max()) + 1):
        out = fold == f
        scores[out] = _bayes(said[~out], carried[~out], said[out], targets.many)
    return scores


def _said(texts: Sequence[str]) -> Any:
    """(N, F) sparse, 1 where a text has a word or a pair; one that a single text has says nothing of the others."""
    from scipy.sparse import csr_matrix

    place: dict[str, int] = {}
    columns, ends = [], [0]
    for text in texts:
        words = _TOKEN.findall(text.casefold())
        parts = dict.fromkeys((*words, *map(" ".join, pairwise(words))))
        columns += [place.setdefault(part, len(place)) for part in parts]
        ends.append(len(columns))
    said = csr_matrix((np.ones(len(columns), np.float32), columns, ends), (len(texts), len(place)))
    count = np.bincount(np.array(columns, np.intp), minlength=len(place))
    kept = np.argsort(-count, kind="stable")[: min(_MOST, int((count > 1).sum()))]
    return said[:, np.sort(kept)]


def _bayes(seen: Any, carried: FloatArray, said: Any, many: bool) -> DoubleArray:
    """Scores of the rows of `said`: the words' and the label's shares with it, with many labels against those without.

    Everything is taken to have been seen once more than it was.
    """
    of, rows = seen.T @ carried + 1, carried.sum(axis=0) + 1
    scores: DoubleArray = said @ np.log(of / of.sum(axis=0)) + np.log(rows)
    if many:
        of, rows = seen.T @ (1 - carried) + 1, (1 - carried).sum(axis=0) + 1
        scores -= said @ np.log(of / of.sum(axis=0)) + np.log(rows)
    return scores
