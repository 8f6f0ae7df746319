"""Token ids → padded batches by token budget, rows of like length together.

After tokens.py on the way of a sentence. The one rule by which texts are put together: encoding, bulk prediction
and the service all batch by it.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]


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
    rows: Places


PADDING = 0  # any id would do: lengths keep what is padded from being read


def batches(ids: Sequence[Sequence[int]], max_tokens: int, workers: int = 1) -> Iterator[Batch]:
    """Yield batches that hold every row once; see `plan`."""
    return (batch_of(ids, rows) for rows in plan(ids, max_tokens, workers))


def plan(ids: Sequence[Sequence[int]], max_tokens: int, workers: int = 1) -> Iterator[Places]:
    """Yield each batch's rows: longest rows first, every one once, cut where the least time goes into padding.

    Args:
        ids: token ids of N texts.
        max_tokens: the most B × T of a batch, padding included; a single row may be longer than that.
        workers: how many run batches side by side. Towards the end batches get smaller, down to a quarter, so that
            none of them is left alone with a large one.
    """
    lengths = np.fromiter((len(row) for row in ids), np.int32, len(ids))
    order = np.argsort(-lengths, kind="stable")
    start = 0
    for stop in _cuts(lengths[order], max_tokens, workers):
        yield order[start:stop]
        start = stop


def _cuts(lengths: IntArray, max_tokens: int, workers: int) -> list[int]:
    """Return where each batch of the sorted rows ends, by the cheapest way to reach each row.

    A batch costs its B × T tokens and, for being one more, a 32nd of the budget: 8 tokens of 256, as was measured.
    Reckoned is what a way costs beyond the rows' own tokens. That never falls from one row to the next, and a batch
    has the same padding whichever of several rows of one length it begins with. So of those only the first is tried.
    """
    longest, overhead = np.maximum(lengths, 1).tolist(), max_tokens / 32
    tokens, budgets = [0, *itertools.accumulate(longest)], _budgets(lengths, max_tokens, workers)
    cost, before = [0.0], [0]
    firsts: list[tuple[int, int]] = []  # of each length so far: its first row
    for stop, length in enumerate(longest, 1):
        if not firsts or length < firsts[-1][1]:
            firsts.append((stop - 1, length))
        best = end = stop - 1
        least = cost[best] + overhead  # a row by itself is always allowed
        for first, most in reversed(firsts):
            padded = (stop - first) * most - (tokens[stop] - tokens[first]) + overhead
            if padded >= least:
                break
            start = _first_within(budgets, stop, most, max(first, stop - max_tokens // most), end)
            if start < end and cost[start] + padded < least:
                least = cost[start] + padded
                best = bisect_right(cost, cost[start], start, end) - 1  # the smallest batch of those that cost the same
            if (stop - first) * most > max_tokens:
                break
            end = first
        cost.append(least)
        before.append(best)
    cuts, stop = [], len(longest)
    while stop:
        cuts.append(stop)
        stop = before[stop]
    return cuts[::-1]


def _first_within(budgets: list[int], stop: int, length: int, low: int, high: int) -> int:
    """The first of these rows, all of one length, from which on a batch up to `stop` keeps to its budget, or `high`."""
    if low >= high or (stop - low) * length <= budgets[low]:
        return low
    return bisect_left(range(high), True, low, high, key=lambda start: (stop - start) * length <= budgets[start])


def _budgets(lengths: IntArray, max_tokens: int, workers: int) -> list[int]:
    """The most tokens of a batch that begins at each row: less where little is left for each worker."""
    if workers == 1:
        return [max_tokens] * len(lengths)
    remaining = lengths[::-1].cumsum()[::-1]
    budgets: list[int] = np.clip(remaining // (2 * workers), max_tokens // 4, max_tokens).tolist()
    return budgets


def batch_of(ids: Sequence[Sequence[int]], rows: Places) -> Batch:
    """Return the rows at these places as one batch, in this order."""
    lengths = np.fromiter((len(ids[i]) for i in rows), np.int32, len(rows))
    padded = np.full((len(rows), int(lengths.max())), PADDING, np.int32)
    for row, i in zip(padded, rows, strict=True):
        row[: len(ids[i])] = ids[i]
    return Batch(padded, lengths, rows)
