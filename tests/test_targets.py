from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from firstbert.targets import Targets, assign_folds, encode_labels, hold_out, standard_error

MANY = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0]], bool)


def test_many_labels_become_columns_in_order() -> None:
    classes, y = encode_labels([("b",), (), ("a", "c"), ("b", "c")])
    assert classes == ["a", "b", "c"]
    assert y.dtype == bool and y.astype(int).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 1]]


def test_links_and_columns() -> None:
    two, three, many = Targets(np.array([0, 1, 1])), Targets(np.array([0, 2, 1])), Targets(MANY)
    assert (two.link, three.link, many.link) == ("sigmoid", "softmax", "sigmoid")
    assert two.columns[:, 0].tolist() == [False, True, True]
    assert three.columns.shape == (3, 3) and (three.columns == three.carried).all()
    assert many.columns.shape == (4, 3) and many.classes == 3
    assert Targets(MANY[:, :2]).columns.shape == (4, 2)  # two labels that stand each for itself


@pytest.mark.parametrize(
    ("class_weight", "sample_weight"),
    [
        (None, None),
        ("balanced", None),
        ({0: 3.0, 2: 0.5}, None),
        ({0: 3.0, 2: 0.5}, np.array([1.0, 2.0, 0.0, 3.0, 1.0])),
    ],
)
def test_weights_are_scikit_learns(class_weight: Any, sample_weight: Any) -> None:
    y = np.array([0, 0, 2, 1, 2])
    plain = {c: class_weight.get(c, 1.0) for c in range(3)} if isinstance(class_weight, dict) else class_weight
    expected = compute_sample_weight(plain, y) * (1 if sample_weight is None else sample_weight)
    assert np.allclose(Targets(y, sample_weight, class_weight).weight[:, 0], expected)


@pytest.mark.parametrize("y", [np.array([0, 0, 1, 2]), MANY], ids=["one", "many"])
def test_balanced_takes_a_weight_of_3_for_three_rows(y: Any) -> None:
    times = np.array([1, 3, 1, 2])
    weighted = Targets(y, times.astype(float), "balanced").weight / times[:, None]
    repeated = Targets(np.repeat(y, times, axis=0), None, "balanced").weight
    assert np.allclose(np.repeat(weighted, times, axis=0), repeated)


def test_balanced_labels_weigh_the_same_with_and_without() -> None:
    y = np.random.default_rng(0).random((50, 3)) < [0.1, 0.5, 0.9]
    weight = Targets(y, None, "balanced").weight
    for column, w in zip(y.T, weight.T, strict=True):
        assert w[column].sum() == pytest.approx(25) and w[~column].sum() == pytest.approx(25)
    named = Targets(y, None, {1: 4.0}).weight
    assert (named[y[:, 1], 1] == 4).all() and (named[~y[:, 1], 1] == 1).all() and (named[:, [0, 2]] == 1).all()


def test_losses_are_minus_log_likelihoods() -> None:
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 3, 40), rng.normal(size=(40, 3)) * 5
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert Targets(y).losses(scores).mean() == pytest.approx(log_loss(y, p))
    assert Targets(y).right(scores).tolist() == (scores.argmax(axis=1) == y).tolist()
    many = rng.random((40, 3)) < 0.4
    each = [log_loss(column, 1 / (1 + np.exp(-s))) for column, s in zip(many.T, scores.T, strict=True)]
    assert Targets(many).losses(scores).mean() == pytest.approx(np.mean(each))
    assert Targets(many).right(scores).tolist() == [
        bool(((s > 0) == row).all()) for s, row in zip(scores, many, strict=True)
    ]


@pytest.mark.parametrize("y", [np.array([0, 2, 1, 1]), MANY], ids=["one", "many"])
def test_losses_of_several_penalties_at_once(y: Any) -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5, 3)) * 400  # extreme, and finite all the same
    losses, right = Targets(y).losses(scores), Targets(y).right(scores)
    assert losses.shape == right.shape == (4, 5) and np.isfinite(losses).all()
    for g in range(5):
        assert np.allclose(losses[:, g], Targets(y).losses(scores[:, g]))
        assert (right[:, g] == Targets(y).right(scores[:, g])).all()


def test_take_keeps_weights_with_their_rows() -> None:
    targets = Targets(np.array([0, 1, 2, 1]), np.array([1.0, 2.0, 3.0, 4.0]), {1: 2.0})
    some = targets.take(np.array([3, 1]))
    assert some.y.tolist() == [1, 1] and some.row_weight.tolist() == [4, 2] and some.weight[:, 0].tolist() == [8, 4]
    assert Targets(MANY).take(np.array([1])).classes == 3


def test_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=200)
    assert standard_error(values, np.ones(200)) == pytest.approx(values.std() / np.sqrt(200))
    assert standard_error(values, np.full(200, 7.0)) == pytest.approx(standard_error(values, np.ones(200)))
    half = np.repeat([1.0, 0.0], 100)
    assert standard_error(values, half) == pytest.approx(standard_error(values[:100], np.ones(100)))


# ---------------------------------------------------------------- parting rows


def test_classes_keep_their_shares() -> None:
    y = np.repeat([0, 1, 2], [60, 30, 10])
    inside, outside = hold_out([f"text {i}" for i in range(100)], y, 0.2, 0)
    assert sorted(inside + outside) == list(range(100)) and inside == sorted(inside) and outside == sorted(outside)
    assert np.bincount(y[outside]).tolist() == [12, 6, 2]
    again, other = (hold_out([f"text {i}" for i in range(100)], y, 0.2, seed)[1] for seed in (0, 1))
    assert again == outside != other


def test_equal_texts_stay_on_one_side() -> None:
    texts = [f"text {i % 30}" for i in range(90)]
    y = np.arange(90) % 30 % 2
    for seed in range(20):
        inside, outside = hold_out(texts, y, 0.25, seed)
        assert outside and not {texts[i] for i in inside} & {texts[i] for i in outside}


def test_every_class_stays_among_the_rows_learned_from() -> None:
    texts = ["a", "b", "c", "d", "a", "e", "f", "g"]  # the only row of class 2 is a repeated text
    y = np.array([0, 0, 1, 1, 2, 0, 1, 0])
    for seed in range(50):
        inside, outside = hold_out(texts, y, 0.4, seed)
        assert set(y[inside]) == {0, 1, 2} and outside
    for rows in (("ab", "ac", "bd", "cd"), ("ab", "ab", "bc", "bc", "ca", "ca")):
        many = encode_labels([tuple(row) for row in rows])[1]
        for seed in range(50):
            many_inside = hold_out([f"text {i}" for i in range(3 * len(rows))], np.repeat(many, 3, 0), 0.5, seed)[0]
            assert np.repeat(many, 3, 0)[many_inside].any(axis=0).all()


def test_a_label_met_only_beside_rarer_ones_stays() -> None:
    """Each of its rows counts for another label, so that all of them may be held out."""
    y = np.zeros((24, 13), bool)
    y[np.arange(24), np.arange(24) // 2] = True
    y[[0, 2], 12] = True
    for seed in range(60):
        inside, _ = hold_out([f"text {i}" for i in range(24)], y, 0.5, seed)
        assert y[inside].any(axis=0).all()


def test_too_few_rows_to_part() -> None:
    with pytest.raises(ValueError):
        hold_out(["a", "b"], np.array([0, 1]), 0.25, 0)
    with pytest.raises(ValueError, match="spared"):
        hold_out(["a", "a", "b", "b"], np.array([0, 1, 0, 2]), 0.5, 0)


# ---------------------------------------------------------------- folds


def test_folds_spread_every_class() -> None:
    y = np.repeat([0, 1, 2], [50, 25, 10])
    fold = assign_folds(Targets(y), 5, 0)
    assert fold is not None
    assert all(np.bincount(y[fold == k]).tolist() == [10, 5, 2] for k in range(5))


@pytest.mark.parametrize(("counts", "folds"), [([20, 3], 3), ([20, 20], 5), ([9, 2, 1], 2), ([20, 1], 0), ([20], 0)])
def test_as_many_folds_as_the_second_class_has_rows(counts: list[int], folds: int) -> None:
    fold = assign_folds(Targets(np.repeat(np.arange(len(counts)), counts)), 5, 0)
    assert (0 if fold is None else len(set(fold.tolist()))) == folds


def test_many_labels_are_spread_by_their_rarest() -> None:
    rng = np.random.default_rng(0)
    y = rng.random((200, 3)) < [0.05, 0.3, 0.9]
    fold = assign_folds(Targets(y), 5, 0)
    assert fold is not None
    rare = [int(y[fold == k, 0].sum()) for k in range(5)]
    assert max(rare) - min(rare) <= 1
