"""What is planned without torch: batches, rates, what fits into the time, times as people write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from firstbert.cli_app import seconds
from firstbert.errors import UsageError
from firstbert.plan import FinetuneOptions, epoch_batches, fit_in, mixed_batches, plan, recipe_for


@pytest.mark.parametrize("n", [1, 31, 32, 33, 1600, 5003])
def test_every_row_once_in_an_epoch_and_another_order_in_the_next(n: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 60, n).astype(np.int32)
    batches = epoch_batches(lengths, 32, seed=1, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert len(batches) == -(-n // 32)
    assert all(map(np.array_equal, batches, epoch_batches(lengths, 32, seed=1, epoch=0)))
    for other in (epoch_batches(lengths, 32, 1, 1), epoch_batches(lengths, 32, 2, 0)):
        assert n <= 32 or not all(map(np.array_equal, batches, other))


def test_rows_of_a_batch_are_of_like_length_and_batches_come_mixed() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 6920).astype(np.int32)
    batches = epoch_batches(lengths, 32, 0, 0)
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padded < 1.05 * lengths.sum()
    longest = [int(lengths[rows].max()) for rows in batches]
    assert np.corrcoef(longest[1:], longest[:-1])[0, 1] < 0.3


@pytest.mark.parametrize("counts", [(64, 64), (100, 10, 3), (1, 1), (70, 2)])
def test_each_class_is_spread_over_all_batches(counts: tuple[int, ...]) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    batches = mixed_batches(classes, 32, 0, 0)
    assert sorted(np.concatenate(batches)) == list(range(len(classes)))
    for c, n in enumerate(counts):
        found = [int((classes[rows] == c).sum()) for rows in batches]
        assert max(found) - min(found) <= 1 + n // 20
    assert max(map(len, batches)) <= 32


def test_the_rate_rises_and_falls_to_nothing() -> None:
    found = plan(FinetuneOptions(epochs=3), 6920, 384)
    rates = [found.rate(step) for step in range(found.steps)]
    assert max(rates) == found.learning_rate == 1e-4
    assert rates.index(max(rates)) == pytest.approx(0.1 * found.steps, abs=2)
    assert 0 < rates[-1] < rates[0] < max(rates)
    assert plan(FinetuneOptions(), 6920, 768).learning_rate == 2.5e-5


def test_fewer_rows_are_seen_more_often() -> None:
    assert plan(FinetuneOptions(recipe="labels"), 60_000, 384).epochs == 3
    assert plan(FinetuneOptions(recipe="labels"), 1000, 384).epochs == pytest.approx(6, abs=0.1)
    assert recipe_for(FinetuneOptions(), 200) == "pairs"
    assert recipe_for(FinetuneOptions(), 201) == "labels"


def test_wider_encoders_see_pairs_more_often() -> None:
    assert [plan(FinetuneOptions(), 32, width).steps for width in (128, 384, 576, 768, 1024)] == [16, 16, 24, 32, 32]
    assert [plan(FinetuneOptions(), rows, 768).epochs for rows in (4, 16, 24, 64, 200)] == [16, 16, 24, 32, 32]


def test_few_rows_beside_plenty_of_text_are_not_compared_in_pairs() -> None:
    asked = FinetuneOptions()
    assert recipe_for(asked, 100, 200) == "labels"
    assert recipe_for(asked, 100, 199) == "pairs"  # less than two texts for each row
    assert recipe_for(asked, 50, 150) == "pairs"  # few all told
    assert recipe_for(FinetuneOptions(recipe="pairs"), 100, 200) == "pairs"
    assert plan(asked, 210, 384, 60).recipe == "pairs"
    taught = plan(asked, 24 + 6000, 384, 6000)
    assert (taught.recipe, taught.epochs, taught.options.dropout) == ("labels", pytest.approx(2, abs=0.01), 0.0)


def test_where_a_teacher_labels_plenty_its_word_is_learned_fast_and_without_dropout() -> None:
    labels = FinetuneOptions(recipe="labels")
    own, little, much = (plan(labels, 6000, 384, unlabelled) for unlabelled in (0, 3999, 4000))
    assert (own.epochs, own.learning_rate, own.options.dropout) == (3, 1e-4, None)
    assert (little.epochs, little.learning_rate, little.options.dropout) == (3, 1e-4, None)
    assert (much.epochs, much.learning_rate, much.options.dropout) == pytest.approx((2, 2e-4, 0.0), abs=0.01)
    assert plan(labels, 1000, 384, 900).epochs == pytest.approx(6, abs=0.1)
    given = plan(FinetuneOptions(recipe="labels", epochs=5, learning_rate=3e-5, dropout=0.2), 6000, 384, 4000)
    assert (given.epochs, given.learning_rate, given.options.dropout) == pytest.approx((5, 3e-5, 0.2), abs=0.01)
    pairs = FinetuneOptions(recipe="pairs")
    assert plan(pairs, 180, 384, 170) == plan(pairs, 180, 384)


def test_what_fits_into_the_time() -> None:
    def fitting(budget: float) -> tuple[int, object] | None:
        whole = plan(FinetuneOptions(epochs=3, time_budget=budget), 6400, 384)
        found = fit_in(whole, seconds_per_step=1.0, fixed=10.0, layers=6)
        return found and (found.steps, found.tune)

    assert fitting(10_000) == (600, "all")
    assert fitting(500) == (415, "all")  # over two epochs of 200 steps
    assert fitting(200) == (240, 3)  # an epoch of all layers doesn't fit, one of half of them does
    assert fitting(60) == (73, 2)  # a part of an epoch
    assert fitting(20) is None
    for budget in (60, 200, 500):
        steps, tune = fitting(budget) or (0, "all")
        cost = 1.0 if tune == "all" else (1 + 2 * int(str(tune)) / 6) / 3
        assert 10 + steps * cost <= budget


@pytest.mark.parametrize(
    ("asked", "budget", "learns"), [("lora", 200, "lora"), (1, 200, 1), (2, 100, 1), (2, 5000, 2), (9, 5000, 9)]
)
def test_no_more_layers_learn_than_were_asked_for(asked: Any, budget: float, learns: Any) -> None:
    whole = plan(FinetuneOptions(epochs=3, time_budget=budget, tune=asked), 6400, 384)
    found = fit_in(whole, seconds_per_step=1.0, fixed=10.0, layers=6)
    assert found is not None and (found.tune, found.learning_rate) == (learns, whole.learning_rate)
    assert found.steps <= budget or learns != asked


@pytest.mark.parametrize(("classes", "each"), [(50, 4), (40, 5), (77, 8), (20, 3)])
def test_rows_of_a_class_meet_however_many_classes_there_are(classes: int, each: int) -> None:
    y = np.repeat(np.arange(classes), each)
    batches = mixed_batches(y, 32, 0, 0)
    assert sorted(np.concatenate(batches)) == list(range(len(y)))
    meeting = sum(len(rows) - len(set(y[rows])) for rows in batches)
    assert meeting > 0.6 * classes * (each // 2)


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("2h", 7200), ("45", 45), ("1.5 h", 5400)])
def test_times_as_people_write_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "10 days", "-5m", "1..5s"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="--time-budget must be a time such as 90s"):
        seconds(text)
