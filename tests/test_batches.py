from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import numpy as np
import pytest

from firstbert.batches import batches, plan


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


def budgets(lengths: list[int], budget: int, workers: int) -> list[int]:
    """Of a batch that begins at each row: half of what is left for each worker, between a quarter and all of it."""
    left = [sum(lengths[start:]) for start in range(len(lengths))]
    return [budget if workers == 1 else min(budget, max(budget // 4, n // (2 * workers))) for n in left]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_no_other_way_to_cut_costs_less(seed: int, workers: int) -> None:
    ids, budget = random_ids(9, seed), 126
    lengths = sorted(map(len, ids), reverse=True)
    most = budgets(lengths, budget, workers)
    ours = [len(rows) for rows in plan(ids, budget, workers)]
    allowed = [
        sizes
        for sizes in every_split(9)
        if all(n == 1 or n * lengths[sum(sizes[:k])] <= most[sum(sizes[:k])] for k, n in enumerate(sizes))
    ]
    assert ours in allowed
    assert cost(ours, lengths, budget) == min(cost(sizes, lengths, budget) for sizes in allowed)


def plain_cuts(lengths: list[int], budget: int, workers: int) -> list[int]:
    """Every batch that may end at each row is tried, the smallest first; slow."""
    most = budgets(lengths, budget, workers)
    cost, before = [0.0], [0]
    for stop in range(1, len(lengths) + 1):
        ways = [(start, (stop - start) * max(lengths[start], 1)) for start in range(stop - 1, -1, -1)]
        allowed = [way for way in ways if way[0] == stop - 1 or way[1] <= most[way[0]]]
        least, best = min(
            ((cost[start] + tokens + budget / 32, start) for start, tokens in allowed), key=lambda w: w[0]
        )
        cost.append(least)
        before.append(best)
    cuts, stop = [], len(lengths)
    while stop:
        cuts.append(stop)
        stop = before[stop]
    return cuts[::-1]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("budget", [7, 256, 512, 4097, 1_000_000])
@pytest.mark.parametrize("longest", [1, 4, 60, 300])
def test_what_is_passed_over_would_change_nothing(longest: int, budget: int, workers: int) -> None:
    rng = np.random.default_rng(longest)
    for n in (1, 40, 150):
        lengths = sorted(rng.integers(0, longest + 1, n).tolist(), reverse=True)
        ends = np.cumsum([len(rows) for rows in plan([[1] * length for length in lengths], budget, workers)])
        assert ends.tolist() == plain_cuts(lengths, budget, workers)


@pytest.mark.parametrize("length", [8, 25])
@pytest.mark.parametrize("budget", [256, 16_384, 1_000_000])
def test_a_window_is_planned_at_once_whatever_the_budget(length: int, budget: int) -> None:
    ids = [[1] * length] * 8192
    began = time.process_time()
    assert sum(map(len, plan(ids, budget, workers=2))) == 8192
    assert time.process_time() - began < 0.4  # seconds; it takes 0.02


@pytest.mark.parametrize("workers", [2, 3])
def test_where_little_is_left_a_batch_is_as_large_as_its_share(workers: int) -> None:
    lengths = [4] * 60
    sizes, start = [len(rows) for rows in plan([[1] * 4] * 60, 96, workers)], 0
    most = budgets(lengths, 96, workers)
    for size in sizes[:-1]:
        assert size == most[start] // 4
        start += size


def test_one_worker_unless_told() -> None:
    ids = random_ids(40)
    assert [rows.tolist() for rows in plan(ids, 512)] == [rows.tolist() for rows in plan(ids, 512, workers=1)]
    assert [b.rows.tolist() for b in batches(ids, 512)] == [rows.tolist() for rows in plan(ids, 512, workers=1)]


def test_rows_of_one_length_stay_in_the_order_given() -> None:
    ids = [[1] * (3 + i % 2) for i in range(200)]
    order = np.concatenate(list(plan(ids, 64)))
    assert order.tolist() == [*range(1, 200, 2), *range(0, 200, 2)]


@pytest.mark.parametrize("length", [0, 1])
def test_a_row_counts_for_one_token_at_least(length: int) -> None:
    """A text may come without any token; as many as one likes are still no batch."""
    assert [len(batch.rows) for batch in batches([[7] * length] * 64, 16)] == [16] * 4


def test_no_texts_no_batches() -> None:
    assert list(batches([], 512)) == []
