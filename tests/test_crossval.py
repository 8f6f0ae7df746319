"""Fits of all folds and penalties at once equal scikit-learn's, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from firstbert import crossval
from firstbert.crossval import from_gram, out_of_fold, solve, spectrum, standardisation, standardised
from firstbert.targets import Targets

PENALTIES = (1e-3, 1e-2, 1e-1)


@dataclass
class Problem:
    X: Any
    targets: Targets


def problem(n: int, width: int, classes: int, many: bool = False, clear: float = 0.15, **options: Any) -> Problem:
    """Rows that carry a class, or several, and vectors that tell a little of it."""
    rng = np.random.default_rng(0)
    share = options.pop("share", None)
    if many:
        y = rng.random((n, classes)) < (share or 0.3)
    else:
        y = np.sort(rng.choice(classes, n, p=share))[rng.permutation(n)]
    told = (y if many else y[:, None] == np.arange(classes)) @ rng.normal(size=(classes, width))
    X = rng.normal(size=(n, width)) * np.arange(1, width + 1) ** -0.5 + clear * told + 3
    return Problem(X.astype(np.float32), Targets(y, **options))


def reference(X: Any, targets: Targets, rows: Any, C: float) -> Any:
    """(N, K) scores of all rows by scikit-learn's regressions on some of them."""

    def one(y: Any, weight: Any) -> Any:
        model = LogisticRegression(C=C, tol=1e-9, max_iter=20_000).fit(X[rows], y[rows], sample_weight=weight[rows])
        return model.decision_function(X).reshape(len(X), -1)

    if targets.many:
        weight = np.broadcast_to(targets.weight, targets.y.shape)
        return np.hstack([one(y, w) for y, w in zip(targets.y.T, weight.T, strict=True)])
    return one(targets.y, targets.weight[:, 0])


def centred(scores: Any, targets: Targets) -> Any:
    """Softmax takes no notice of what all scores have in common."""
    return scores - scores.mean(axis=-1, keepdims=True) if targets.link == "softmax" else scores


def solved(given: Problem, rows: Any, penalties: Any = PENALTIES) -> Any:
    masks = np.repeat(rows[:, None], len(penalties), axis=1).astype(np.float32)
    weight, columns = given.targets.weight.astype(np.float32), given.targets.columns.astype(np.float32)
    spectrum_ = spectrum(given.X, given.targets.sample_weight)
    return solve(spectrum_, columns, masks, np.array(penalties, np.float32), given.targets.link, weight)


def worst(given: Problem, rows: Any, penalties: Any = PENALTIES) -> list[float]:
    """The largest difference of a score from scikit-learn's, for each penalty."""
    scores, X = solved(given, rows, penalties), standardised(given.X, given.targets.sample_weight).astype(np.float64)
    return [
        np.abs(
            centred(scores[:, m], given.targets) - centred(reference(X, given.targets, rows, C), given.targets)
        ).max()
        for m, C in enumerate(penalties)
    ]


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stop at what is good enough for comparing folds."""
    monkeypatch.setattr(crossval, "_TOLERANCE", 1e-10)
    monkeypatch.setattr(crossval, "_ITERATIONS", 3000)


WEIGHTS = np.random.default_rng(1).gamma(1.0, size=160)
PROBLEMS = {
    "two classes": problem(160, 30, 2),
    "five classes": problem(160, 30, 5),
    "five classes, D > N": problem(80, 200, 5),
    "two classes, D > N": problem(80, 200, 2),
    "many labels": problem(160, 30, 4, many=True),
    "many labels, D > N": problem(80, 200, 4, many=True),
    "weighted rows": problem(160, 30, 2, sample_weight=WEIGHTS),
    "weighted rows, five classes": problem(160, 30, 5, sample_weight=WEIGHTS),
    "weighted rows, many labels": problem(160, 30, 4, many=True, sample_weight=WEIGHTS),
    "class weights": problem(160, 30, 3, class_weight={0: 5.0, 2: 0.2}),
    "class weights, many labels": problem(160, 30, 3, many=True, class_weight={0: 5.0, 2: 0.2}),
    "balanced 1:20": problem(200, 30, 2, share=(0.95, 0.05), class_weight="balanced"),
    "balanced 1:20, D > N": problem(160, 200, 2, share=(0.95, 0.05), class_weight="balanced"),
    "balanced many labels": problem(160, 30, 4, many=True, share=0.1, class_weight="balanced"),
}


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("name", PROBLEMS)
def test_equals_scikit_learn(name: str) -> None:
    given = PROBLEMS[name]
    rows = np.arange(len(given.X)) % 5 != 1
    assert max(worst(given, rows)) < 2e-3


@pytest.mark.parametrize("name", PROBLEMS)
def test_stops_where_losses_differ_by_far_less_than_folds_do(name: str) -> None:
    given = PROBLEMS[name]
    rows = np.arange(len(given.X)) % 5 != 1
    X = standardised(given.X, given.targets.sample_weight).astype(np.float64)
    found, held = solved(given, rows), given.targets.take(~rows)
    for m, C in enumerate(PENALTIES):
        exact = reference(X, given.targets, rows, C)
        losses = [_loss(s[~rows], given.targets, ~rows) for s in (found[:, m], exact)]
        assert abs(losses[0] - losses[1]) < 2e-3 + 0.02 * losses[1], (C, losses)
    assert held.y.shape[0] == (~rows).sum()


def _loss(scores: Any, targets: Targets, rows: Any) -> float:
    full = np.hstack([-scores / 2, scores / 2]) if targets.classes > scores.shape[1] else scores
    taken = targets.take(rows)
    return float(np.average(taken.losses(full), weights=taken.row_weight))


@pytest.mark.parametrize("width", [50, 500])
@pytest.mark.parametrize("many", [False, True])
def test_balanced_classes_of_1_to_50_converge(width: int, many: bool) -> None:
    """Steps of the unweighted curvature are twenty-five times too long there, and diverge."""
    given = problem(300, width, 3, many, share=0.02 if many else (0.96, 0.02, 0.02), class_weight="balanced")
    rows = np.arange(300) % 5 != 0
    assert max(worst(given, rows, (1e-3,))) < 0.15
    scores = solved(given, rows, (0.1, 1.0))
    exact = reference(standardised(given.X).astype(np.float64), given.targets, rows, 1.0)
    assert np.abs(scores).max() < 2 * np.abs(exact).max()


def test_nearly_separable_rows_do_not_stop_it_short() -> None:
    given = problem(200, 300, 3, clear=1.0, sample_weight=np.where(np.arange(200) % 50 == 1, 100.0, 1.0))
    rows = np.arange(200) % 4 != 0
    scores = solved(given, rows, (0.1,))[:, 0]
    loss = _loss(scores[rows], given.targets, rows)
    X = standardised(given.X, given.targets.sample_weight).astype(np.float64)
    assert loss < 3 * _loss(reference(X, given.targets, rows, 0.1)[rows], given.targets, rows)


def test_rows_of_weight_0_are_left_out_exactly() -> None:
    given = problem(120, 30, 3)
    rows = np.arange(120) % 3 != 0
    plain = solved(given, rows)
    y = given.targets.y.copy()
    y[~rows] = (y[~rows] + 1) % 3
    assert np.array_equal(solved(Problem(given.X, Targets(y)), rows), plain)


def test_a_class_that_a_fold_lacks_gets_no_probability_there() -> None:
    given = problem(120, 20, 3)
    rows = given.targets.y != 2
    scores = solved(given, rows)[:, 1]
    assert np.isfinite(scores).all() and (scores.argmax(axis=1) != 2).all()
    model = LogisticRegression(C=PENALTIES[1], tol=1e-9, max_iter=5000)
    X = standardised(given.X).astype(np.float64)
    exact = model.fit(X[rows], given.targets.y[rows]).decision_function(X)
    assert np.corrcoef(scores[:, 1] - scores[:, 0], exact)[0, 1] > 0.999


@pytest.mark.usefixtures("to_the_end")
def test_odd_columns() -> None:
    rng = np.random.default_rng(0)
    given = problem(150, 10, 2)
    odd = np.hstack([given.X, rng.standard_t(1.2, (150, 3)), np.ones((150, 2)), np.full((150, 1), 1e-20)])
    rows = np.arange(150) % 5 != 2
    scores = solved(Problem(odd.astype(np.float32), given.targets), rows)
    assert np.isfinite(scores).all()
    assert max(worst(Problem(odd.astype(np.float32), given.targets), rows)) < 2e-3
    constant = solved(Problem(np.ones((150, 4), np.float32), given.targets), rows)
    share = given.targets.y[rows].mean()
    assert np.allclose(constant, np.log(share / (1 - share)), atol=1e-4)  # nothing to tell rows apart by


def test_products_stand_for_the_vectors() -> None:
    given = problem(90, 40, 3)
    X = standardised(given.X)
    fold = np.arange(90) % 5
    plain = out_of_fold(spectrum(given.X), given.targets, fold, PENALTIES)
    assert np.abs(out_of_fold(from_gram(X @ X.T), given.targets, fold, PENALTIES) - plain).max() < 5e-3
    wide = spectrum(np.hstack([given.X] * 3))
    assert wide.Z.shape == (90, 90)  # D > N: by products
    assert np.allclose(wide.Z @ wide.Z.T, 3 * X @ X.T, atol=1e-2)


def test_the_basis_is_orthogonal_and_keeps_distances() -> None:
    given = problem(90, 40, 2)
    found, X = spectrum(given.X), standardised(given.X)
    assert np.allclose(found.Z.T @ found.Z, np.diag(found.eigenvalues), atol=1e-2)
    assert np.allclose(found.Z @ found.Z.T, X @ X.T, atol=1e-3)


def test_standardisation_weighs_rows() -> None:
    X = np.array([[0.0, 1.0], [2.0, 1.0], [100.0, 1.0]])
    mean, scale = standardisation(X, np.array([1.0, 1.0, 0.0]))
    assert mean.tolist() == [1, 1] and scale.tolist() == [1, np.inf]
    repeated = standardisation(X[[0, 1, 1, 1]])
    assert np.allclose(standardisation(X, np.array([1.0, 3.0, 0.0])), repeated)


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("name", ["two classes", "five classes", "many labels"])
def test_in_parts_as_in_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = PROBLEMS[name]
    fold = np.arange(len(given.X)) % 4
    whole = out_of_fold(spectrum(given.X), given.targets, fold, PENALTIES)
    monkeypatch.setattr(crossval, "_CHUNK", 1)  # one problem at a time
    parts = out_of_fold(spectrum(given.X), given.targets, fold, PENALTIES)
    assert parts.shape == (len(given.X), 3, given.targets.classes)
    assert np.abs(whole - parts).max() < 5e-3


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("name", ["two classes", "five classes", "many labels", "two classes, D > N"])
def test_a_fold_never_sees_its_own_labels(name: str) -> None:
    given = PROBLEMS[name]
    fold = np.arange(len(given.X)) % 4
    own = fold == 2
    y = given.targets.y.copy()
    y[own] = ~y[own] if given.targets.many else given.targets.classes - 1 - y[own]
    before, after = (out_of_fold(spectrum(given.X), t, fold, PENALTIES) for t in (given.targets, Targets(y)))
    assert np.abs(before[own] - after[own]).max() < 1e-3
    assert np.abs(before[~own] - after[~own]).max() > 0.1


@pytest.mark.usefixtures("to_the_end")
def test_each_row_is_scored_by_the_heads_of_its_own_fold() -> None:
    given = PROBLEMS["five classes"]
    fold = np.arange(len(given.X)) % 4
    found = out_of_fold(spectrum(given.X), given.targets, fold, PENALTIES)
    for f in range(4):
        alone = solved(given, fold != f)
        assert np.abs(found[fold == f] - alone[fold == f]).max() < 5e-3


def test_two_classes_have_two_scores_of_opposite_sign() -> None:
    given = PROBLEMS["two classes"]
    found = out_of_fold(spectrum(given.X), given.targets, np.arange(160) % 4, PENALTIES)
    assert found.shape == (160, 3, 2) and np.array_equal(found[..., 0], -found[..., 1])
