from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from firstbert.bootstrap import resamples
from firstbert.outcome import Outcome, Ranking
from made_up import answers, several, single


def drawn(n: int) -> np.ndarray:
    """Weights with zeros, ones and more."""
    weights = next(resamples(n, 5, 1))
    assert 0 in weights and 3 in weights
    return weights


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_areas_equal_scikit_learns_with_weights_and_ties(decimals: int, share: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(300) < share
    p = np.round(np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1), decimals)
    weights = drawn(300)
    roc, average = Ranking.of(truth, p).areas(weights)
    for w, mine, mean in zip(weights, roc, average, strict=True):
        assert mine == pytest.approx(roc_auc_score(truth, p, sample_weight=w), abs=1e-12)
        assert mean == pytest.approx(average_precision_score(truth, p, sample_weight=w), abs=1e-12)


def test_areas_of_one_kind_of_rows_only_are_undefined() -> None:
    for truth in ([True, True, False], [False, False, True]):
        roc, average = Ranking.of(np.array(truth), np.array([0.1, 0.2, 0.3])).areas(np.array([[1, 1, 0], [1, 0, 1]]))
        assert np.isnan([roc[0], average[0]]).all()
        assert not np.isnan([roc[1], average[1]]).any()
    for truth in ([True] * 3, [False] * 3):
        found = Ranking.of(np.array(truth), np.array([0.1, 0.2, 0.3])).areas(np.ones((2, 3), np.int32))
        assert np.isnan(found).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_weighted_measures_equal_scikit_learns(classes: int) -> None:
    y, p = single(200, classes)
    outcome = Outcome(np.arange(classes) == y[:, None], answers(p))
    best, weights = p.argmax(axis=1), drawn(200)
    sums = outcome.sums(weights)
    whole, by_label = sums.whole(), sums.by_label()
    for r, w in enumerate(weights):
        scores = precision_recall_fscore_support(y, best, labels=range(classes), sample_weight=w, zero_division=np.nan)
        for name, expected in zip(("precision", "recall", "f1"), scores, strict=False):
            np.testing.assert_allclose(by_label[name][r], expected)
        assert whole["accuracy"][r] == pytest.approx(accuracy_score(y, best, sample_weight=w))
        assert whole["balanced_accuracy"][r] == pytest.approx(balanced_accuracy_score(y, best, sample_weight=w))
        assert whole["macro_f1"][r] == pytest.approx(f1_score(y, best, average="macro", sample_weight=w))
        assert whole["log_loss"][r] == pytest.approx(log_loss(y, p, sample_weight=w))
        squares = ((p - np.eye(classes)[y]) ** 2).sum(axis=1)
        assert whole["brier"][r] == pytest.approx(np.average(squares, weights=w))
        again = np.repeat(np.arange(200), w)
        repeated = Outcome(outcome.truth[again], answers(p[again]))
        assert whole["ece"][r] == pytest.approx(repeated.sums(np.ones((1, 200), np.int32)).whole()["ece"][0])


def test_weighted_measures_of_texts_with_many_labels() -> None:
    truth, p = several(200, 4)
    outcome = Outcome(truth, answers(p, many=True, thresholds=(0.3, 0.5, 0.6, 0.4)))
    chosen, weights = p >= [0.3, 0.5, 0.6, 0.4], drawn(200)
    whole = outcome.sums(weights).whole()
    for r, w in enumerate(weights):
        assert whole["accuracy"][r] == pytest.approx(accuracy_score(truth, chosen, sample_weight=w))
        assert whole["macro_f1"][r] == pytest.approx(f1_score(truth, chosen, average="macro", sample_weight=w))
        balanced = [balanced_accuracy_score(truth[:, c], chosen[:, c], sample_weight=w) for c in range(4)]
        assert whole["balanced_accuracy"][r] == pytest.approx(np.mean(balanced))
        losses = [log_loss(truth[:, c], np.clip(p[:, c], 1e-15, 1 - 1e-15), sample_weight=w) for c in range(4)]
        assert whole["log_loss"][r] == pytest.approx(np.mean(losses))
        assert whole["brier"][r] == pytest.approx(np.average(((p - truth) ** 2).mean(axis=1), weights=w))


def test_calibration_of_many_labels_is_of_every_probability() -> None:
    outcome = Outcome(np.array([[True, False], [False, False]]), answers(np.array([[0.9, 0.1], [0.9, 0.5]]), many=True))
    found = outcome.sums(np.ones((1, 2), np.int32)).whole()["ece"][0]
    assert found == pytest.approx((2 * abs(0.5 - 0.9) + abs(0 - 0.1) + abs(0 - 0.5)) / 4)


def test_calibration_is_of_the_answer_even_if_it_is_not_the_most_probable() -> None:
    outcome = Outcome(np.array([[False, True]] * 4), answers(np.array([[0.7, 0.3]] * 4), thresholds=(0.9, 0.1)))
    assert outcome.right.all()
    assert outcome.sums(np.ones((1, 4), np.int32)).whole()["ece"][0] == pytest.approx(1 - 0.3)


def test_a_probability_of_nought_for_the_truth_costs_much_but_not_everything() -> None:
    outcome = Outcome(np.array([[False, True]]), answers(np.array([[1.0, 0.0]])))
    assert outcome.log_loss[0] == pytest.approx(-np.log(1e-15))
