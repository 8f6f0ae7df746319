from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from firstbert.decision import MOST_PROBABLE, NEVER, Decision, macro_f1_thresholds, promise
from made_up import several, single


def indicator(y: Any, classes: int) -> Any:
    return y[:, None] == np.arange(classes)


# ---------------------------------------------------------------- deciding


def test_the_most_probable_unless_thresholds_say_otherwise() -> None:
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.4, 0.4]])
    assert MOST_PROBABLE.chosen(p).argmax(axis=1).tolist() == [0, 1]  # the first of equals
    decision = Decision(thresholds=(1.0, 0.4, 0.1))
    assert decision.chosen(p).argmax(axis=1).tolist() == [2, 2]
    assert decision.confidence(p).tolist() == [0.1, 0.4]
    assert (decision.chosen(p).sum(axis=1) == 1).all()


def test_many_labels_reach_their_own_threshold() -> None:
    p = np.array([[0.5, 0.2], [0.49, 0.1]])
    assert Decision(many=True).chosen(p).tolist() == [[True, False], [False, False]]
    assert Decision(many=True, thresholds=(0.4, 0.2)).chosen(p).tolist() == [[True, True], [True, False]]
    assert np.allclose(Decision(many=True).confidence(p), [0.5 * 0.8, 0.51 * 0.9])


def test_unsure_below_what_is_accepted() -> None:
    p = np.array([[0.6, 0.4], [0.9, 0.1]])
    assert not MOST_PROBABLE.unsure(p).any()
    assert Decision(accept=0.9).unsure(p).tolist() == [True, False]
    assert Decision(accept=0.0).unsure(p).tolist() == [False, False]
    assert Decision(accept=NEVER).unsure(np.array([[1.0, 0.0]])).all()
    assert Decision(many=True, accept=NEVER).unsure(np.array([[1.0, 0.0]])).all()


# ---------------------------------------------------------------- thresholds


@pytest.mark.parametrize("seed", range(15))
def test_with_many_labels_no_threshold_is_better(seed: int) -> None:
    truth, p = several(25, 3, seed)
    found = macro_f1_thresholds(p, truth, many=True)
    for k, threshold in enumerate(found):
        cuts = [0.5, *np.unique(p[:, k]), 1.1]
        best = max(f1_score(truth[:, k], p[:, k] >= cut, zero_division=0) for cut in cuts)
        assert f1_score(truth[:, k], p[:, k] >= threshold, zero_division=0) == pytest.approx(best)
        assert 0 < threshold <= 1


def test_half_where_nothing_is_better_and_half_way_between_rows() -> None:
    p = np.array([[0.9], [0.8], [0.3], [0.1]])
    assert macro_f1_thresholds(p, np.array([[1], [1], [0], [0]], bool), many=True) == (0.5,)
    assert macro_f1_thresholds(p, np.array([[1], [1], [1], [0]], bool), many=True) == pytest.approx((0.2,))
    assert macro_f1_thresholds(p, np.array([[1], [0], [0], [0]], bool), many=True) == pytest.approx((0.85,))


@pytest.mark.parametrize("value", [False, True])
def test_labels_that_no_row_or_every_row_carries(value: bool) -> None:
    p, truth = np.array([[0.2], [0.4], [0.0]]), np.full((3, 1), value)
    (threshold,) = macro_f1_thresholds(p, truth, many=True)
    assert threshold == 0.5 if not value else 0 < threshold <= 0.2
    equal = np.full((3, 1), 0.3)
    assert macro_f1_thresholds(equal, truth, many=True) == ((0.15,) if value else (0.5,))


@pytest.mark.parametrize("seed", range(8))
def test_with_one_label_it_is_close_to_the_best_of_a_grid(seed: int) -> None:
    y, p = single(40, 3, seed)
    found = macro_f1_thresholds(p, indicator(y, 3), many=False)

    def score(thresholds: Any) -> float:
        both = np.bincount(3 * y + (p / np.array(thresholds)).argmax(axis=1), minlength=9).reshape(3, 3)
        return float((2 * both.diagonal() / (both.sum(axis=0) + both.sum(axis=1))).mean())

    steps = 2.0 ** np.arange(-5, 1, 0.5)
    best = max(score(t) for t in itertools.product(steps, repeat=3))
    assert score((1, 1, 1)) <= score(found)
    assert score(found) >= best - 0.03  # label after label: the last hundredths may be missed
    assert max(found) == 1 and min(found) > 0


def test_two_labels_are_decided_as_by_the_best_of_all_factors() -> None:
    y, p = single(60, 2, 3)
    found = macro_f1_thresholds(p, indicator(y, 2), many=False)
    scores = [
        f1_score(y, (p / np.array([1, t])).argmax(axis=1), average="macro") for t in 2.0 ** np.arange(-5, 5.1, 0.5)
    ]
    assert f1_score(y, (p / np.array(found)).argmax(axis=1), average="macro") == pytest.approx(max(scores))


def imbalanced(n: int, seed: int) -> tuple[Any, Any]:
    """Two frequent classes and one in twenty-five, with probabilities that are right for these shares."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=(0.48, 0.48, 0.04))
    scores = rng.normal(size=(n, 3)) + 1.5 * indicator(y, 3) + np.log([0.48, 0.48, 0.04])
    p = np.exp(1.5 * scores)
    return y, p / p.sum(axis=1, keepdims=True)


def test_macro_f1_rises_on_new_rows_with_a_rare_class() -> None:
    gains = []
    for seed in range(12):
        y, p = imbalanced(1000, seed)
        thresholds = macro_f1_thresholds(p, indicator(y, 3), many=False)
        y, p = imbalanced(2000, 100 + seed)
        plain, better = (d.chosen(p).argmax(axis=1) for d in (MOST_PROBABLE, Decision(thresholds=thresholds)))
        gains.append(f1_score(y, better, average="macro") - f1_score(y, plain, average="macro"))
    assert np.mean(gains) > 0.02 and min(gains) > -0.02


def test_macro_f1_rises_on_new_rows_with_many_labels() -> None:
    gains = []
    for seed in range(10):
        halves = []
        for part in (0, 1):
            rng = np.random.default_rng(2 * seed + part)
            truth = rng.random((1500, 4)) < [0.03, 0.05, 0.2, 0.5]
            halves.append((truth, 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + 3 * truth - 4)))))
        (truth, p), (new_truth, new_p) = halves
        better = Decision(many=True, thresholds=macro_f1_thresholds(p, truth, many=True)).chosen(new_p)
        plain = f1_score(new_truth, new_p >= 0.5, average="macro", zero_division=0)
        gains.append(f1_score(new_truth, better, average="macro") - plain)
    assert min(gains) > 0.05


# ---------------------------------------------------------------- the promise


def draw(n: int, rng: Any, sharp: float = 1.0) -> tuple[Any, Any]:
    """Confidences, and whether the answer is right: as often as it says, to a power."""
    confidence = 1 - 0.5 * rng.random(n) ** 2
    return confidence, rng.random(n) < confidence**sharp


def true_error(threshold: float, sharp: float) -> float:
    """Among answers at least that confident, over all texts there are."""
    u = np.linspace(0, np.sqrt(2 * (1 - threshold)), 2001)
    return float(1 - ((1 - 0.5 * u**2) ** sharp).mean())


@pytest.mark.parametrize(("max_error", "confidence", "sharp"), [(0.1, 0.9, 1.0), (0.2, 0.8, 1.5), (0.05, 0.9, 0.5)])
def test_it_is_kept_as_often_as_it_says(max_error: float, confidence: float, sharp: float) -> None:
    """What was learned from may be wrong about itself: only the order of thresholds comes from there."""
    rng = np.random.default_rng(0)
    broken, found = 0, 0
    for _ in range(300):
        known, held = draw(600, rng, sharp * rng.uniform(0.3, 2)), draw(200, rng, sharp)
        threshold = promise(held, known, max_error, confidence).threshold
        found += threshold < NEVER
        broken += threshold < NEVER and true_error(threshold, sharp) > max_error
    slack = 2.5 * np.sqrt(confidence * (1 - confidence) / 300)
    assert broken / 300 <= 1 - confidence + slack
    assert found > 100  # nor is it kept by answering nothing


def test_more_may_be_wrong_and_more_is_answered() -> None:
    rng = np.random.default_rng(1)
    known, held = draw(2000, rng), draw(2000, rng)
    found = [promise(held, known, max_error) for max_error in (0.02, 0.05, 0.1, 0.15, 0.2, 0.24)]
    coverage = [one.coverage for one in found]
    assert coverage == sorted(coverage) and coverage[-1] > coverage[1] > 0
    for one in found:
        accepted = held[0] >= one.threshold
        assert one.coverage == accepted.mean() and one.rows == 2000
        assert one.error == ((~held[1][accepted]).mean() if accepted.any() else None)
        assert one.error is None or one.error < one.max_error


def test_the_surer_it_must_be_the_less_is_answered() -> None:
    rng = np.random.default_rng(2)
    known, held = draw(1000, rng), draw(400, rng)
    coverage = [promise(held, known, 0.1, confidence).coverage for confidence in (0.5, 0.9, 0.999)]
    assert coverage == sorted(coverage, reverse=True) and coverage[0] > coverage[2]


def test_all_right() -> None:
    known = np.linspace(0.5, 1, 100), np.ones(100, bool)
    held = np.linspace(0.5, 1, 50), np.ones(50, bool)
    found = promise(held, known, 0.05, 0.9)
    assert found.threshold == 0.5 and found.coverage == 1 and found.error == 0
    # 0.95 ** 44 is 0.105, 0.95 ** 45 is 0.099: with fewer rows nothing can be shown
    for n, coverage in ((44, 0), (45, 1)):
        few = promise((np.full(n, 0.9), np.ones(n, bool)), (np.full(100, 0.9), np.ones(100, bool)), 0.05, 0.9)
        assert (few.coverage, few.threshold) == ((1, 0.9) if coverage else (0, NEVER))


def test_all_wrong_or_nothing_to_go_by() -> None:
    known = np.linspace(0.5, 1, 100), np.zeros(100, bool)
    for held in ((np.linspace(0.5, 1, 50), np.zeros(50, bool)), (np.empty(0), np.empty(0, bool))):
        found = promise(held, known, 0.05)
        assert (found.threshold, found.error) == (NEVER, None) and found.rows == len(held[0])


def test_equal_confidences_are_taken_together() -> None:
    rng = np.random.default_rng(0)
    known = np.round(rng.uniform(0.5, 1, 500), 1), rng.random(500) < 0.97
    held = np.round(rng.uniform(0.5, 1, 300), 1), rng.random(300) < 0.97
    found = promise(held, known, 0.1)
    assert found.threshold in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0) and found.coverage == (held[0] >= found.threshold).mean()
