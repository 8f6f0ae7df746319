from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from firstbert.batches import batches


def random_ids(n: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(5, 1000, rng.integers(1, 60)).tolist() for _ in range(n)]


@pytest.mark.parametrize("n", [1, 2, 17, 500])
@pytest.mark.parametrize("budget", [1, 64, 512])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_row_once_and_unchanged(n: int, budget: int, workers: int) -> None:
    ids = random_ids(n)
    seen: dict[int, list[int]] = {}
    for batch in batches(ids, budget, workers):
        for row, length, padded in zip(batch.rows, batch.lengths, batch.ids, strict=True):
            assert row not in seen
            seen[int(row)] = padded[:length].tolist()
    assert [seen[i] for i in range(n)] == ids


@pytest.mark.parametrize("budget", [64, 512, 2048])
def test_budget_holds_but_for_a_single_long_row(budget: int) -> None:
    ids = [*random_ids(200), list(range(3000))]
    for batch in batches(ids, budget):
        assert batch.ids.size <= budget or len(batch.rows) == 1
        assert batch.ids.shape[1] == batch.lengths.max()
        assert batch.ids.dtype == batch.lengths.dtype == np.int32


def test_like_lengths_stand_together_so_that_little_is_padded() -> None:
    sorted_waste = sum(batch.ids.size - batch.lengths.sum() for batch in batches(random_ids(500), 512))
    assert sorted_waste < 0.05 * sum(map(len, random_ids(500)))


def test_a_budget_is_used_up() -> None:
    sizes = [batch.ids.size for batch in batches([[1] * 16] * 64, 512)]
    assert sizes == [512, 512]


@pytest.mark.parametrize("workers", [2, 5])
def test_the_last_batches_are_small_where_several_run_side_by_side(workers: int) -> None:
    sizes = [batch.ids.size for batch in batches([[1] * 16] * 640, 512, workers)]
    assert sizes[:5] == [512] * 5 and sizes[-2] < 256
    assert sizes == sorted(sizes, reverse=True) and sizes[-2] >= 512 // 4


def test_few_texts_are_shared_among_workers() -> None:
    assert len(list(batches([[1] * 30] * 16, 512, workers=2))) >= 2


def cost(sizes: list[int], lengths: list[int], budget: int) -> float:
    """Of batches with so many rows each: their places, and a 32nd of the budget for every one."""
    starts = np.cumsum([0, *sizes[:-1]])
    return sum(n * lengths[start] + budget / 32 for n, start in zip(sizes, starts, strict=True))


def every_split(n: int) -> Iterator[list[int]]:
    """All ways to cut n rows into batches."""
    for cuts in itertools.product([False, True], repeat=n - 1):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [n]
        yield np.diff([0, *ends]).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_no_other_way_to_cut_costs_less(seed: int) -> None:
    ids, budget = random_ids(9, seed), 128
    lengths = sorted(map(len, ids), reverse=True)
    ours = [len(batch.rows) for batch in batches(ids, budget)]
    allowed = (
        sizes
        for sizes in every_split(9)
        if all(n == 1 or n * lengths[sum(sizes[:k])] <= budget for k, n in enumerate(sizes))
    )
    assert cost(ours, lengths, budget) == min(cost(sizes, lengths, budget) for sizes in allowed)


def test_no_texts_no_batches() -> None:
    assert list(batches([], 512)) == []
