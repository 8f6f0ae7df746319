"""The layer is chosen by what rows say that were not fitted on, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from firstbert import search as module
from firstbert.graph import Read
from firstbert.head import HeadOptions
from firstbert.search import Search, by_rule, places_to_try, rows_to_search, search

READS = places_to_try(6, ["mean"])


def layers(clear: Any, n: int = 400, classes: int = 2, seed: int = 0, width: int = 12) -> tuple[Any, Any]:
    """(N, K, D): each layer tells the class as clearly as asked, in directions of its own."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    told = rng.normal(size=(len(clear), classes, width))
    told /= np.linalg.norm(told, axis=2, keepdims=True)
    vectors = rng.normal(size=(n, len(clear), width)) + np.array(clear)[:, None] * told[:, y].transpose(1, 0, 2)
    return vectors.astype(np.float32), y


def chosen(found: Search | None) -> tuple[int, ...]:
    assert found is not None
    return found.chosen.layers


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_layer_that_tells_most_is_chosen(classes: int, seed: int) -> None:
    vectors, y = layers([0.2, 0.5, 3.0, 1.0, 1.0, 0.5], 300, classes, seed)
    found = search(vectors, READS, y, HeadOptions())
    assert chosen(found) == (3,)
    assert found is not None and [place.layers[0] for place in found.places] == [1, 2, 3, 4, 5, 6]
    best = found.chosen
    assert best.log_loss == min(place.log_loss for place in found.places)
    assert best.rows == 300 and best.accuracy_se == pytest.approx((best.accuracy * (1 - best.accuracy) / 300) ** 0.5)


def test_the_lower_layer_wins_a_tie() -> None:
    vectors, y = layers([0.1, 2.0, 0.1, 0.1, 0.1, 0.1])
    vectors[:, 3:] = vectors[:, 1:2]  # the same from layer 4 on
    assert chosen(search(vectors, READS, y, HeadOptions())) == (2,)
    vectors[:, 5] += 1e-3 * np.random.default_rng(0).normal(size=vectors[:, 5].shape).astype(np.float32)
    assert chosen(search(vectors, READS, y, HeadOptions())) == (2,)


def test_noise_does_not_make_it_climb() -> None:
    climbed = []
    for seed in range(8):
        vectors, y = layers([0.0] * 6, 200, seed=seed)
        climbed.append(chosen(search(vectors, READS, y, HeadOptions(C=0.001)))[0])
    assert np.mean(climbed) < 2.5  # the middle of 1 to 6 is 3.5


def test_the_better_pooling_of_the_lowest_layer_wins() -> None:
    reads = places_to_try(3, ["cls", "mean"])
    vectors, y = layers([0.1, 0.1, 1.6, 2.6, 2.0, 2.6])
    vectors[:, 5] = vectors[:, 3]
    found = search(vectors, reads, y, HeadOptions())
    assert found is not None and (found.chosen.layers, found.chosen.pooling) == ((2,), "mean")
    assert found.chosen.reads == (Read(2, "mean"),)


def test_same_seed_same_choice() -> None:
    vectors, y = layers([0.5, 1.0, 1.2, 1.3, 1.2, 1.0])
    one, two, other = (search(vectors, READS, y, HeadOptions(seed=seed)) for seed in (3, 3, 4))
    assert one == two and one is not None and other is not None and one.places != other.places


def test_labels_shuffled_tell_nothing() -> None:
    """Were rows scored by heads that knew them, the widest noise would look best."""
    vectors, y = layers([0.0] * 6, 100, width=90)
    found = search(vectors, READS, np.random.default_rng(0).permutation(y), HeadOptions())
    assert found is not None and all(place.accuracy < 0.68 and place.log_loss > 0.6 for place in found.places)


# ---------------------------------------------------------------- side by side


def test_neighbours_join_while_they_help() -> None:
    vectors, y = layers([0.0, 0.0, 1.5, 1.5, 0.0, 0.0], 500)
    found = search(vectors, READS, y, HeadOptions(), join=True)
    assert chosen(found) == (3, 4)
    assert found is not None and found.chosen.reads == (Read(3, "mean"), Read(4, "mean"))
    grown = [place for place in found.places if len(place.layers) > 1]
    assert [place.layers for place in grown] == [(3, 4)]
    singles = [place for place in found.places if len(place.layers) == 1]
    assert found.chosen.log_loss < min(place.log_loss for place in singles)
    assert chosen(search(vectors, READS, y, HeadOptions())) in ((3,), (4,))  # not unless asked for


def test_a_layer_that_says_it_all_stays_alone() -> None:
    vectors, y = layers([0.0, 0.0, 2.5, 0.0, 0.0, 0.0], 400)
    assert chosen(search(vectors, READS, y, HeadOptions(), join=True)) == (3,)


def test_never_more_than_six_and_of_one_pooling() -> None:
    reads = places_to_try(9, ["cls", "mean"])
    vectors, y = layers([0.0 if read.pooling == "cls" else 0.9 for read in reads], 900)
    found = search(vectors, reads, y, HeadOptions(C=0.1), join=True)
    assert found is not None
    assert max(len(place.layers) for place in found.places) == 6 == len(found.chosen.layers)
    assert found.chosen.pooling == "mean" and np.ptp(found.chosen.layers) == 5  # neighbours


def test_what_was_joined_is_measured_on_the_rows_it_was_tried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_JOINED_ROWS", 150)
    vectors, y = layers([0.0, 0.0, 0.9, 0.9, 0.0, 0.0], 300)
    weight = np.random.default_rng(1).gamma(0.5, size=300)
    found = search(vectors, READS, y, HeadOptions(C=0.1), weight, join=True)
    assert found is not None and {place.rows for place in found.places} == {300, 150}
    few = np.sort(np.random.default_rng(0).permutation(300)[:150])
    for place in found.places:
        w = weight if place.rows == 300 else weight[few]
        p = place.accuracy
        assert place.accuracy_se == pytest.approx(np.sqrt(p * (1 - p) * (w**2).sum()) / w.sum())


def test_side_by_side_is_what_fitting_on_joined_vectors_finds() -> None:
    vectors, y = layers([0.0, 0.0, 1.5, 1.5, 0.0, 0.0], 300)
    weight = np.random.default_rng(0).gamma(0.3, size=300)
    found = search(vectors, READS, y, HeadOptions(), weight, join=True)
    assert found is not None and found.chosen.layers == (3, 4)
    joined = search(vectors[:, 2:4].reshape(300, 1, -1), READS[:1], y, HeadOptions(), weight)
    assert joined is not None
    assert joined.chosen.log_loss == pytest.approx(found.chosen.log_loss, abs=2e-3)


def test_concatenations_are_tried_on_some_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_JOINED_ROWS", 100)
    vectors, y = layers([0.0, 0.0, 1.5, 1.5, 0.0, 0.0], 500)
    found = search(vectors, READS, y, HeadOptions(), np.linspace(0.5, 1.5, 500), join=True)
    assert found is not None
    assert {place.rows for place in found.places[:6]} == {500} and {place.rows for place in found.places[6:]} == {100}


def test_too_few_of_a_class_among_these_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_JOINED_ROWS", 50)
    vectors, _ = layers([0.0, 2.0, 0.0, 0.0, 0.0, 0.0], 1000)
    y = np.zeros(1000, int)
    y[[7, 400]] = 1
    found = search(vectors, READS, y, HeadOptions(), join=True)
    assert found is not None and found.chosen in found.places and len(found.places) == 6


# ---------------------------------------------------------------- rows and labels of every kind


def test_weights_decide() -> None:
    clear, y = layers([0.0, 2.5, 0.0, 0.0, 0.0, 0.0], 300)
    other, _ = layers([0.0, 0.0, 0.0, 0.0, 2.5, 0.0], 300)
    vectors, y = np.concatenate([clear, other]), np.concatenate([y, y])
    for weight, layer in ((np.repeat([1.0, 0.0], 300), 2), (np.repeat([0.0, 1.0], 300), 5)):
        assert chosen(search(vectors, READS, y, HeadOptions(), weight)) == (layer,)


def test_a_tie_is_judged_by_weighted_rows() -> None:
    """Rows of weight 0 can't make a layer as good as another."""
    vectors, y = layers([0.0, 1.0, 2.0, 0.0, 0.0, 0.0], 300)
    blurred = vectors.copy()
    blurred[:, 2] = np.random.default_rng(5).normal(size=blurred[:, 2].shape) * 3
    found = search(
        np.concatenate([vectors, *[blurred] * 3]), READS, np.tile(y, 4), HeadOptions(), np.repeat([1.0, 0, 0, 0], 300)
    )
    assert chosen(found) == (3,)


def test_many_labels() -> None:
    rng = np.random.default_rng(0)
    y = rng.random((300, 3)) < [0.1, 0.4, 0.7]
    vectors = rng.normal(size=(300, 6, 12))
    vectors[:, 3] += 2.0 * y @ rng.normal(size=(3, 12))
    found = search(vectors.astype(np.float32), READS, y, HeadOptions())
    assert chosen(found) == (4,)


@pytest.mark.parametrize("rare", [1, 2])
def test_a_rare_class_is_no_hindrance(rare: int) -> None:
    vectors, y = layers([0.2, 2.5, 0.2, 0.2, 0.2, 0.2], 200)
    y[:rare] = 2
    assert chosen(search(vectors, READS, y, HeadOptions(class_weight="balanced"))) == (2,)


def test_too_few_rows_for_folds() -> None:
    vectors, _ = layers([0.0] * 6, 10)
    y = np.zeros(10, int)
    y[0] = 1
    assert search(vectors, READS, y, HeadOptions()) is None


def test_places_and_the_rule() -> None:
    assert places_to_try(2, ["cls", "mean"]) == (Read(1, "cls"), Read(1, "mean"), Read(2, "cls"), Read(2, "mean"))
    assert [by_rule(n) for n in (1, 2, 4, 6, 12)] == [1, 2, 3, 4, 9]


def test_as_dicts_marks_the_chosen_one() -> None:
    vectors, y = layers([0.0, 2.0, 0.0, 0.0, 0.0, 0.0], 200)
    found = search(vectors, READS, y, HeadOptions(C=0.01))
    assert found is not None
    rows = found.as_dicts()
    place = found.places[1]
    assert rows[1] == {
        "layers": [2], "pooling": "mean", "C": 0.01, "accuracy": place.accuracy, "accuracy_se": place.accuracy_se,
        "log_loss": place.log_loss, "rows": 200, "level": True, "chosen": True,
    }  # fmt: skip
    assert [row["level"] for row in rows] == [place in found.level for place in found.places]
    assert False in [row["level"] for row in rows]
    assert [row["layers"] for row in rows if row["chosen"]] == [[2]] and {row["C"] for row in rows} == {0.01}


def test_it_says_how_far_it_is_and_keeps_threads_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told, threads = [], []

    @contextmanager
    def progress(*what: object) -> Iterator[Callable[[int], None]]:
        told.append(what)
        yield told.append
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    monkeypatch.setattr(module, "progress", progress)
    vectors, y = layers([0.0, 2.0, 0.0, 0.0, 0.0, 0.0], 100)
    with threadpool_limits(2, user_api="blas"):
        search(vectors, READS, y, HeadOptions(C=0.01))
    assert told == [("Choosing a layer", 6, "layers"), 1, 1, 1, 1, 1, 1]
    assert set(threads) == {1}


@pytest.mark.parametrize(
    ("labels", "rows"),
    [(2, 65_104), (3, 50_000), (20, 7_500), (50, 3_000), (500, 3_000)],
)
def test_how_many_rows_are_searched(labels: int, rows: int) -> None:
    assert rows_to_search(6, 384, labels) == rows
    assert rows_to_search(24, 1024, labels) == min(rows, 6_103)


def test_a_label_may_be_missing_among_the_rows_that_are_searched() -> None:
    random = np.random.default_rng(0)
    y = random.permutation(np.repeat([0, 2, 3], 40))
    told = np.eye(4)[y] + 0.3 * random.normal(size=(120, 4))
    vectors = np.stack([random.normal(size=(120, 4)), told], axis=1).astype(np.float32)
    found = search(vectors, [Read(1, "mean"), Read(2, "mean")], y, HeadOptions())
    assert found is not None and found.chosen.layers == (2,) and found.chosen.accuracy > 0.9
