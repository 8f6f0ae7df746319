"""Whatever the lengths: every text in one batch, none changed, the budget kept, and the order back at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstbert.batches import PADDING, batch_of, batches, plan
from firstbert.engine import Engine, EngineOptions, open_engine
from firstbert.predictor import Predictor
from made_rows import ANY

LENGTHS = st.lists(st.integers(0, 40) | st.sampled_from([1, 1, 2, 16, 512, 3000]), max_size=60)
BUDGETS = st.integers(1, 64) | st.sampled_from([256, 2048, 16_384])
WORKERS = st.integers(1, 9)


def rows_of(lengths: Sequence[int]) -> list[list[int]]:
    """Rows that differ from each other and hold no padding."""
    return [[1 + i, *range(2, length + 1)][:length] for i, length in enumerate(lengths)]


@given(LENGTHS, BUDGETS, WORKERS)
def test_every_row_is_in_one_batch_unchanged(lengths: list[int], budget: int, workers: int) -> None:
    ids = rows_of(lengths)
    seen: dict[int, list[int]] = {}
    for batch in batches(ids, budget, workers):
        assert batch.ids.shape == (len(batch.rows), max(batch.lengths))
        for row, length, padded in zip(batch.rows.tolist(), batch.lengths.tolist(), batch.ids.tolist(), strict=True):
            assert row not in seen
            assert set(padded[length:]) <= {PADDING}
            seen[row] = padded[:length]
    assert [seen[i] for i in range(len(ids))] == ids and len(seen) == len(ids)


@given(LENGTHS, BUDGETS, WORKERS)
def test_the_budget_is_kept_but_by_a_single_row(lengths: list[int], budget: int, workers: int) -> None:
    for batch in batches(rows_of(lengths), budget, workers):
        assert batch.ids.size <= budget or len(batch.rows) == 1


@given(LENGTHS, BUDGETS, WORKERS)
def test_the_longest_come_first_and_equals_keep_their_order(lengths: list[int], budget: int, workers: int) -> None:
    order = [int(row) for rows in plan(rows_of(lengths), budget, workers) for row in rows]
    assert order == sorted(range(len(lengths)), key=lambda i: -lengths[i])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(1, 6))
def test_rows_stand_in_a_batch_as_they_are_asked_for(lengths: list[int], step: int) -> None:
    ids = rows_of(lengths)
    places = np.array(sorted(range(len(ids)), key=lambda i: i * step % len(ids)), np.intp)
    batch = batch_of(ids, places)
    found = [row[:length] for row, length in zip(batch.ids.tolist(), batch.lengths.tolist(), strict=True)]
    assert found == [ids[i] for i in places] and batch.rows.tolist() == places.tolist()


# ---------------------------------------------------------------- through an encoder


@pytest.fixture(scope="module")
def engines(quick: Path) -> list[Engine]:
    """The same small encoder with other batches and threads."""
    from firstbert.artifact import load

    predictor: Predictor = load(quick).predictor
    encoder = predictor.encoder.encoder
    return [
        open_engine(EngineOptions(encoder, max_length=24, batch_tokens=tokens, threads=threads))
        for tokens, threads in ((None, 1), (1, 2), (48, 2), (4096, 1))
    ]


@settings(max_examples=40)
@given(st.lists(ANY | st.sampled_from(["", "so good", "word " * 30]), max_size=30))
def test_vectors_come_back_in_the_order_of_their_texts(engines: list[Engine], texts: list[str]) -> None:
    alone = [engines[0].encode([text]) for text in texts]
    for engine in engines:
        found = engine.encode(texts)
        assert found.truncated.tolist() == [bool(one.truncated[0]) for one in alone]
        for vector, one in zip(found.vectors, alone, strict=True):
            assert np.array_equal(vector, one.vectors[0])
