from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from firstbert.calibration import Calibration, calibrate
from firstbert.targets import Targets


def sample(n: int, classes: int, temperature: float, many: bool = False, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Scores, and labels drawn by the probabilities that they give at a temperature."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, classes)) * 3
    p = Calibration(many, temperature).probabilities(scores)
    y = rng.random(p.shape) < p if many else (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return scores, Targets(y)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
@pytest.mark.parametrize(("classes", "many"), [(2, False), (5, False), (3, True)])
def test_a_known_temperature_is_found(classes: int, many: bool, temperature: float) -> None:
    found = calibrate(*sample(4000, classes, temperature, many))
    assert found.many == many and found.temperature == pytest.approx(temperature, rel=0.08)


@pytest.mark.parametrize("many", [False, True])
def test_what_may_be_chance_changes_nothing(many: bool) -> None:
    kept = sum(calibrate(*sample(300, 3, 1.0, many, seed)).temperature == 1 for seed in range(40))
    assert kept >= 25  # a gain of one standard error comes by chance now and then


@pytest.mark.parametrize("seed", range(10))
def test_log_loss_never_rises_on_the_rows_it_was_found_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, targets = rng.normal(size=(50, 3)) * rng.uniform(0.1, 10), Targets(rng.integers(0, 3, 50))
    temperature = calibrate(scores, targets).temperature
    assert targets.losses(scores / temperature).mean() <= targets.losses(scores).mean()


def test_weights_decide() -> None:
    (sharp, a), (flat, b) = sample(1000, 3, 0.4), sample(1000, 3, 2.5, seed=1)
    scores, y = np.vstack([sharp, flat]), np.concatenate([a.y, b.y])
    first = calibrate(scores, Targets(y, np.repeat([1.0, 0.0], 1000)))
    second = calibrate(scores, Targets(y, np.repeat([0.0, 1.0], 1000)))
    assert first.temperature == pytest.approx(calibrate(sharp, a).temperature, rel=1e-3)
    assert second.temperature == pytest.approx(calibrate(flat, b).temperature, rel=1e-3)


def test_rows_of_weight_0_make_no_chance_a_finding() -> None:
    scores, targets = sample(30, 3, 0.8, seed=3)
    few = calibrate(scores, targets)
    padded = calibrate(
        np.vstack([scores, np.zeros((3000, 3))]),
        Targets(np.concatenate([targets.y, np.zeros(3000, int)]), np.repeat([1.0, 0.0], [30, 3000])),
    )
    assert padded.temperature == pytest.approx(few.temperature, rel=1e-3)


def test_without_scores_nothing_is_changed() -> None:
    assert calibrate(None, Targets(np.array([0, 1]))) == Calibration()
    assert calibrate(None, Targets(np.eye(2, dtype=bool))) == Calibration(many=True)


def test_all_right_and_all_wrong_stay_in_range() -> None:
    y = np.arange(40) % 2
    scores = np.stack([1 - y, y], axis=1) * 6.0
    assert 0.05 <= calibrate(scores, Targets(y)).temperature < 1
    assert 10 < calibrate(scores, Targets(1 - y)).temperature <= 20


def test_probabilities() -> None:
    scores = np.array([[1.0, 2.0, 4.0], [-800.0, 0.0, 800.0]])
    p = Calibration(False, 2.0).probabilities(scores)
    assert np.allclose(p[0], np.exp(scores[0] / 2) / np.exp(scores[0] / 2).sum()) and np.allclose(p.sum(axis=1), 1)
    many = Calibration(True, 2.0).probabilities(scores)
    assert np.allclose(many[0], 1 / (1 + np.exp(-scores[0] / 2))) and many[1].tolist()[1:] == [0.5, 1.0]


def test_new_rows_are_told_better() -> None:
    gains = []
    for seed in range(10):
        scores, targets = sample(600, 3, 2.0, seed=seed)
        half = np.arange(600) < 300
        found = calibrate(scores[half], targets.take(half))
        raw, better = (c.probabilities(scores[~half]) for c in (Calibration(), found))
        gains.append(log_loss(targets.y[~half], raw) - log_loss(targets.y[~half], better))
    assert min(gains) > 0
