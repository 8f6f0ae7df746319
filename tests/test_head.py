from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from firstbert import head as module
from firstbert.calibration import RAW
from firstbert.errors import DataError, UsageError
from firstbert.head import DEFAULT_C, GRID, Head, HeadOptions, check, fit_head
from firstbert.targets import Targets, assign_folds, encode_labels


def blobs(n: int, classes: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.normal(size=(n, 8)) * [1, 10, 0.1, 1, 1, 1, 1, 1] + rng.normal(size=(classes, 8))[y] + 3
    return X.astype(np.float32), y


def probabilities(head: Head, X: Any) -> Any:
    return RAW.probabilities(head.scores(X))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_equals_a_scaler_and_a_regression(classes: int, class_weight: Any) -> None:
    X, y = blobs(200, classes)
    fit = fit_head(X, y, HeadOptions(C=0.1, class_weight=class_weight))
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight=class_weight, max_iter=1000))
    reference.fit(X.astype(np.float64), y)
    assert np.abs(probabilities(fit.head, X) - reference.predict_proba(X)).max() < 1e-4


def test_sample_weight_counts_as_repeated_rows() -> None:
    X, y = blobs(60, 2)
    weight = np.where(np.arange(60) < 20, 3.0, 1.0)
    repeated = np.concatenate([np.arange(60), np.arange(20), np.arange(20)])
    weighted = fit_head(X, y, HeadOptions(C=0.1), weight).head
    assert np.abs(weighted.weight - fit_head(X[repeated], y[repeated], HeadOptions(C=0.1)).head.weight).max() < 1e-3


def test_class_weight_by_index_moves_the_border() -> None:
    X, y = blobs(200, 2)
    plain = probabilities(fit_head(X, y, HeadOptions(C=0.1)).head, X)[:, 1]
    options = HeadOptions(C=0.1, class_weight={0: 1.0, 1: 10.0})
    heavy = probabilities(fit_head(X, y, options).head, X)[:, 1]
    assert heavy.mean() > plain.mean() + 0.01


def test_the_search_takes_the_least_loss_of_the_grid() -> None:
    X, y = blobs(200, 3)
    fit = fit_head(X, y, HeadOptions())
    assert set(fit.curve) == set(GRID)
    assert min(fit.curve, key=lambda C: fit.curve[C][1]) == fit.C
    assert fit.accuracy == fit.curve[fit.C][0]


def test_the_search_measures_rows_it_did_not_fit() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 60)).astype(np.float32), np.arange(100) % 2
    fit = fit_head(X, y, HeadOptions())
    assert fit.accuracy is not None and fit.accuracy < 0.65  # noise: nothing to be learned


def test_same_seed_same_head_and_another_seed_other_folds() -> None:
    X, y = blobs(90, 3)
    one, two, other = (fit_head(X, y, HeadOptions(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.head.weight, two.head.weight) and one.curve == two.curve
    assert one.curve != other.curve


@pytest.mark.parametrize("rare", [1, 2, 3])
def test_a_rare_class_is_learned_and_never_breaks_the_folds(rare: int) -> None:
    X, y = blobs(60, 2)
    X, y = np.concatenate([X, X[:rare] + 20]), np.concatenate([y, np.full(rare, 2)])
    fit = fit_head(X, y, HeadOptions())
    assert fit.accuracy is not None
    assert (probabilities(fit.head, X[-rare:]).argmax(axis=1) == 2).all()


def test_folds_hold_every_row_once() -> None:
    y = np.array([0] * 30 + [1] * 10 + [2] * 3 + [3])
    fold = assign_folds(Targets(y), 5, 0)
    assert fold is not None and np.bincount(fold).tolist() == [9, 9, 9, 9, 8]
    assert all((y[fold == k] == 1).sum() == 2 for k in range(5))


def test_too_few_rows_for_folds_take_the_default() -> None:
    X, y = blobs(2, 2)
    fit = fit_head(X, y, HeadOptions())
    assert (fit.C, fit.accuracy, fit.curve) == (1e-2, None, {})


def test_probabilities_do_not_depend_on_the_batch() -> None:
    X, y = blobs(300, 3)
    head = fit_head(X, y, HeadOptions(C=0.1)).head
    alone = np.concatenate([probabilities(head, X[i : i + 1]) for i in range(300)])
    assert np.abs(alone - probabilities(head, X)).max() < 1e-12


def test_extreme_scores_stay_finite() -> None:
    head = Head(np.array([[1e4], [-1e4]], np.float32), np.zeros(2, np.float32))
    assert probabilities(head, np.array([[1.0], [-1.0]], np.float32)).tolist() == [[1, 0], [0, 1]]


def test_labels_keep_their_type_and_order() -> None:
    classes, y = encode_labels(["b", "a", "10", "2", "a"])
    assert (classes, y.tolist()) == (["10", "2", "a", "b"], [3, 2, 0, 1, 2])


@pytest.mark.parametrize(
    "options",
    [
        {"C": 0}, {"C": -1.0}, {"C": float("nan")}, {"C": float("inf")}, {"C": "best"}, {"C": True}, {"C": None},
        {"class_weight": "even"}, {"folds": 1}, {"folds": 2.5},
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(options: Any) -> None:
    X, y = blobs(20, 2)
    with pytest.raises(UsageError, match=next(iter(options))):
        fit_head(X, y, HeadOptions(**options))


@pytest.mark.parametrize("options", [{"C": 1e-9}, {"C": 3}, {"folds": 2}, {"folds": np.int64(3)}])
def test_options_at_the_edge_are_taken(options: Any) -> None:
    check(HeadOptions(**options))


def test_what_is_tried_and_how_unless_told() -> None:
    assert list(GRID) == sorted(set(GRID)) and GRID[0] < DEFAULT_C < GRID[-1] == 1 and DEFAULT_C in GRID
    X, y = blobs(120, 3)
    as_told = fit_head(X, y, HeadOptions(C="auto", class_weight=None, folds=5, seed=0))
    assert fit_head(X, y, HeadOptions()).curve == as_told.curve
    one = fit_head(X, y, HeadOptions(C=1))
    assert (one.C, list(one.curve)) == (1.0, [1.0])


def test_scores_and_accuracy_are_of_rows_not_fitted_on() -> None:
    X, y = blobs(200, 3)
    weight = np.linspace(0.1, 2.0, 200)
    fit = fit_head(X, y, HeadOptions(), weight)
    assert fit.scores is not None and fit.scores.shape == (200, 3) and fit.scores.dtype == np.float64
    assert fit.accuracy == pytest.approx(np.average(fit.scores.argmax(axis=1) == y, weights=weight))
    losses = Targets(y).losses(fit.scores)
    assert fit.curve[fit.C][1] == pytest.approx(np.average(losses, weights=weight), abs=1e-6)
    assert not np.allclose(fit.scores, fit.head.scores(X), atol=1e-3)  # those have seen the row


def doubled(X: np.ndarray, aims: np.ndarray, weight: np.ndarray, C: float) -> np.ndarray:
    """Log-probabilities by scikit-learn, given each row once for each class and weighed by how far it is that class."""
    X = StandardScaler().fit(X, sample_weight=weight).transform(X)
    (N, classes), each = aims.shape, (aims * weight[:, None]).T.ravel()
    model = LogisticRegression(C=C, max_iter=1000, tol=1e-6)
    model.fit(np.tile(X, (classes, 1)), np.repeat(np.arange(classes), N), each)
    return np.asarray(model.predict_log_proba(X))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", ["auto", 0.05])
def test_rows_left_out_choose_with_the_others_but_their_labels_teach_nothing(classes: int, C: Any) -> None:
    X, y = blobs(200, classes)
    out = np.arange(200) % 10 < 4
    y_wrong = np.where(out, (y + 1) % classes, y)
    weight = np.linspace(0.1, 2.0, 200)
    fit = fit_head(X, y_wrong, HeadOptions(C), weight, left_out=out)
    assert fit.curve == fit_head(X, y_wrong, HeadOptions(C), weight).curve
    assert fit.scores is not None
    aims = np.where(out[:, None], 0, np.eye(classes)[y_wrong]) / 2 + softmax(fit.scores, axis=1) / 2
    expected = doubled(X.astype(np.float64), aims, weight, 4 * fit.C if C == "auto" else 2 * fit.C)
    assert log_softmax(fit.head.scores(X), axis=1) == pytest.approx(expected, abs=0.02)


def test_with_many_labels_rows_left_out_teach_none() -> None:
    X, y = blobs(200, 3)
    out, carried = np.arange(200) % 10 < 2, np.eye(3, dtype=bool)[y]
    fit = fit_head(X, carried, HeadOptions(0.05), left_out=out)
    one = fit_head(X, (y == 1).astype(np.intp), HeadOptions(0.05), left_out=out)
    scores = one.head.scores(X)
    # The folds differ, and with them what is said of a row.
    assert np.corrcoef(fit.head.scores(X)[:, 1], scores[:, 1] - scores[:, 0])[0, 1] > 0.99


def test_where_no_row_is_left_out_the_anchor_changes_next_to_nothing() -> None:
    X, y = blobs(600, 2)
    none, one = np.zeros(600, bool), np.arange(600) == 0
    fit = fit_head(X, y, HeadOptions(0.01))
    assert np.array_equal(fit_head(X, y, HeadOptions(0.01), left_out=none).head.weight, fit.head.weight)
    anchored = fit_head(X, y, HeadOptions(0.01), left_out=one).head.scores(X)
    assert np.abs(anchored - fit.head.scores(X)).max() < 0.1 * np.abs(anchored).max()


def test_with_too_few_rows_for_folds_those_left_out_are_simply_gone() -> None:
    X, y = blobs(40, 2)
    rows = np.concatenate([np.flatnonzero(y == 0)[:4], np.flatnonzero(y == 1)[:1]])
    out = np.arange(5) == 1
    fit = fit_head(X[rows], y[rows], HeadOptions(), left_out=out)
    alone = fit_head(X[rows[~out]], y[rows[~out]], HeadOptions()).head
    assert fit.scores is None and np.array_equal(fit.head.weight, alone.weight)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_many_labels_are_each_a_regression_of_its_own(class_weight: Any) -> None:
    rng = np.random.default_rng(0)
    y = rng.random((150, 3)) < [0.2, 0.5, 0.8]
    X = (rng.normal(size=(150, 6)) + 1.5 * y @ rng.normal(size=(3, 6))).astype(np.float32)
    head = fit_head(X, y, HeadOptions(C=0.1, class_weight=class_weight)).head
    assert head.weight.shape == (3, 6) and head.bias.shape == (3,)
    for label in range(3):
        alone = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight=class_weight, max_iter=1000))
        expected = alone.fit(X.astype(np.float64), y[:, label]).decision_function(X)
        assert np.abs(head.scores(X)[:, label] - expected).max() < 2e-3


def test_a_label_that_every_row_carries_is_given_to_all() -> None:
    X, y = blobs(40, 2)
    head = fit_head(X, np.column_stack([np.ones(40, bool), y == 1]), HeadOptions(C=0.1)).head
    assert (head.weight[0] == 0).all() and head.bias[0] == pytest.approx(np.log(41))  # as if one more didn't
    assert (head.weight[1] != 0).all()


def test_what_it_says_may_be_written_down_as_it_lies() -> None:
    for classes in (2, 3):
        head = fit_head(*blobs(60, classes), HeadOptions(C=0.1)).head
        assert head.weight.dtype == head.bias.dtype == np.float32 and head.weight.flags.c_contiguous
    two = fit_head(*blobs(60, 2), HeadOptions(C=0.1)).head
    assert np.array_equal(two.weight[0], -two.weight[1]) and two.bias[0] == -two.bias[1]


def test_threads_stay_out_of_small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def tried(*_: Any) -> None:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    monkeypatch.setattr(module, "cross_validate", tried)
    with threadpool_limits(2, user_api="blas"):
        fit_head(*blobs(60, 2), HeadOptions())
    assert set(seen) == {1}


def test_one_label_is_refused() -> None:
    with pytest.raises(DataError, match="two labels"):
        fit_head(np.zeros((3, 2), np.float32), np.zeros(3, np.intp), HeadOptions())


def test_numbers_that_hardly_vary_have_no_say() -> None:
    X, y = blobs(100, 2)
    noise = 0.5 + 1e-8 * np.where(y == 1, 1, -1)[:, None]  # rounding noise that happens to know the label
    fit = fit_head(np.hstack([X, noise, np.ones((100, 1))]).astype(np.float64), y, HeadOptions(C=1.0))
    assert (fit.head.weight[:, -2:] == 0).all() and (fit.head.weight[:, :-2] != 0).all()


def test_tiny_numbers_that_vary_have_their_say() -> None:
    X, y = blobs(100, 2)
    tiny = X * np.array([1, 1e-32, 1, 1, 1, 1, 1, 1])
    plain, small = (probabilities(fit_head(x, y, HeadOptions(C=0.1)).head, x) for x in (X.astype(np.float64), tiny))
    assert np.abs(plain - small).max() < 1e-5
