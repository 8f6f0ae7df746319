"""Token ids → padded batches by token budget, rows of like length together.

After tokens.py on the way of a sentence. The one rule by which texts are put together: encoding, bulk prediction
and the service all batch by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """B rows padded to the longest of them, T tokens.

    Attributes:
        ids: (B, T) int32, padded on the right with `PADDING`.
        lengths: (B,) int32, the real tokens of each row.
        rows: (B,) the place of each row among the texts given.
    """

    ids: IntArray
    lengths: IntArray
    rows: npt.NDArray[np.intp]


PADDING = 0  # any id would do: lengths keep what is padded from being read


def batches(ids: Sequence[Sequence[int]], max_tokens: int, workers: int = 1) -> Iterator[Batch]:
    """Yield batches that hold every row once, longest rows first.

    Args:
        ids: token ids of N texts.
        max_tokens: the most B × T of a batch, padding included; a single row may be longer than that.
        workers: how many run batches side by side. Towards the end batches get smaller, down to a quarter, so that
            none of them is left alone with a large one.
    """
    lengths = np.fromiter((len(row) for row in ids), np.int32, len(ids))
    order = np.argsort(-lengths, kind="stable")
    for rows in _split(order, lengths[order], max_tokens, workers):
        yield _pad(ids, rows, lengths[rows])


def _split(
    order: npt.NDArray[np.intp], lengths: IntArray, max_tokens: int, workers: int
) -> Iterator[npt.NDArray[np.intp]]:
    """Cut the sorted rows where the next one would exceed the budget."""
    remaining = lengths[::-1].cumsum()[::-1]
    start = 0
    while start < len(order):
        budget = max_tokens
        if workers > 1:
            budget = min(max_tokens, max(int(remaining[start]) // (2 * workers), max_tokens // 4))
        stop = start + max(budget // max(int(lengths[start]), 1), 1)
        yield order[start:stop]
        start = stop


def _pad(ids: Sequence[Sequence[int]], rows: npt.NDArray[np.intp], lengths: IntArray) -> Batch:
    padded = np.full((len(rows), int(lengths.max())), PADDING, np.int32)
    for row, i in zip(padded, rows, strict=True):
        row[: len(ids[i])] = ids[i]
    return Batch(padded, lengths, rows)
