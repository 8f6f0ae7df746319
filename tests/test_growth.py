from __future__ import annotations

import json

import numpy as np
import pytest

from firstbert.errors import UsageError
from firstbert.growth import GrowthOptions, _power_law, learning_curve


def clusters(n: int, apart: float, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, 30))
    return (apart * centres[y] + rng.normal(size=(n, 30))).astype(np.float32), y


def test_the_curve_rises_and_is_carried_on() -> None:
    X, y = clusters(1500, 0.25)
    growth = learning_curve(X, y)
    assert [p.rows for p in growth.points] == sorted(p.rows for p in growth.points)
    assert growth.points[0].rows == 40 and growth.points[-1].rows == 1200
    assert growth.points[-1].accuracy > growth.points[0].accuracy + 0.05
    assert all(0 < p.se < 0.05 for p in growth.points)
    assert [f.rows for f in growth.forecast] == [3000, 6000]
    assert growth.now is not None
    for forecast in growth.forecast:
        assert growth.now <= forecast.accuracy <= 1
        assert forecast.low <= forecast.accuracy <= forecast.high
    assert json.loads(json.dumps(growth.as_dict()))["points"][0]["rows"] == 40


def test_the_forecast_holds_on_rows_that_came_later() -> None:
    X, y = clusters(4000, 0.25)
    early = learning_curve(X[:1000], y[:1000]).forecast[0]
    later = learning_curve(X, y, GrowthOptions(sizes=2)).points[-1]
    assert early.low - 0.01 <= later.accuracy <= early.high + 0.01


def test_each_size_answers_about_rows_it_was_not_fitted_on() -> None:
    """With labels that mean nothing, no size is better than chance."""
    X, _ = clusters(800, 0)
    y = np.random.default_rng(1).integers(0, 2, 800)
    growth = learning_curve(X, y)
    assert all(abs(p.accuracy - 0.5) < 0.07 for p in growth.points)


def test_more_of_what_is_known_brings_little() -> None:
    X, y = clusters(1500, 3)
    assert learning_curve(X, y).sentence.startswith("More rows of this kind would bring little: twice as many would")


def test_too_few_rows_to_tell() -> None:
    X, y = clusters(30, 1)
    growth = learning_curve(X, y)
    assert growth.forecast == () and growth.points == ()
    assert growth.sentence == "There are too few rows to tell what more of them would bring."
    X, y = clusters(100, 0.3)
    assert learning_curve(X, y).sentence.startswith(
        "There are too few rows to tell what more of them would bring: with"
    )


def test_several_labels_and_many_labels_a_text() -> None:
    X, y = clusters(900, 0.6, classes=3)
    several = learning_curve(X, y)
    assert several.points[-1].accuracy > 0.8
    many = learning_curve(X, y[:, None] == np.arange(3))
    assert many.points[-1].accuracy > several.points[-1].accuracy  # of each label, not of the whole answer
    assert many.points[0].rows == several.points[0].rows == 60


def test_the_same_seed_gives_the_same_curve() -> None:
    X, y = clusters(400, 0.5)
    assert learning_curve(X, y) == learning_curve(X, y)
    assert learning_curve(X, y) != learning_curve(X, y, GrowthOptions(seed=1))


@pytest.mark.parametrize(("a", "b", "c"), [(0.9, 0.3, 0.5), (0.8, 0.2, 1.0), (0.97, 0.5, 0.2)])
def test_a_power_law_is_recovered(a: float, b: float, c: float) -> None:
    rows, at = np.array([50, 100, 200, 400, 800, 1600]), np.array([3200, 6400])

    def curve(n: np.ndarray) -> np.ndarray:
        return a - b * (n / 50) ** -c

    found = _power_law(rows, curve(rows)[None], np.ones((1, 6)), at)
    assert found[0] == pytest.approx(curve(at), abs=1e-6)


def test_no_curve_exceeds_one_or_falls() -> None:
    rows, at = np.array([50, 100, 200, 400]), np.array([10_000, 1_000_000])
    rising, falling = [0.6, 0.75, 0.88, 0.99], [0.9, 0.88, 0.86, 0.8]
    found = _power_law(rows, np.array([rising, falling]), np.ones((2, 4)), at)
    assert (found <= 1).all()
    assert found[1] == pytest.approx([0.86, 0.86])


def test_options_out_of_range() -> None:
    with pytest.raises(UsageError, match="learning curve"):
        GrowthOptions(folds=1)
