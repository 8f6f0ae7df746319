from __future__ import annotations

import numpy as np
import pytest

from firstbert import bootstrap
from firstbert.bootstrap import BootstrapOptions, interval, resample, resamples
from firstbert.errors import UsageError
from firstbert.outcome import Outcome
from made_up import answers, several, single


def outcome(n: int = 150, classes: int = 3, seed: int = 0) -> Outcome:
    y, p = single(n, classes, seed)
    return Outcome(np.arange(classes) == y[:, None], answers(p))


def test_every_resample_holds_as_many_rows_and_differs() -> None:
    weights = np.concatenate(list(resamples(50, 400, 0)))
    assert weights.shape == (400, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert len(np.unique(weights, axis=0)) == 400
    # A row's count is binomial: mean 1, variance 1 − 1/50; 20,000 counts.
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.04)
    assert np.abs(weights.mean(axis=0) - 1).max() < 0.25


def test_small_chunks_give_what_large_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, p = several(80, 3)
    for each in (outcome(80), Outcome(truth, answers(p, many=True))):
        options = BootstrapOptions(resamples=37, seed=3)
        found = []
        for chunk in (1, 5 * 80, 1 << 18):
            monkeypatch.setattr(bootstrap, "CHUNK", chunk)
            found.append(resample(each, options))
        for other in found[1:]:
            for name, values in found[0].whole.items():
                np.testing.assert_allclose(other.whole[name], values, rtol=1e-12)
            for name, values in found[0].by_label.items():
                np.testing.assert_allclose(other.by_label[name], values, rtol=1e-12)


def test_the_same_rows_and_seed_give_the_same_intervals_another_seed_others() -> None:
    one, again, other = (
        resample(outcome(), BootstrapOptions(resamples=100, seed=seed)).intervals() for seed in (0, 0, 1)
    )
    assert one == again
    assert all(one[name] != other[name] for name in one)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        right = rng.random(120) < 0.8
        truth = np.stack([right, ~right], axis=1)
        each = Outcome(truth, answers(np.tile([0.8, 0.2], (120, 1))))
        low, high = resample(each, BootstrapOptions(resamples=200, seed=trial)).intervals()["accuracy"] or (0, 0)
        inside += low <= 0.8 <= high
    assert 176 <= inside < 200


def test_an_interval_is_the_middle_of_what_was_found() -> None:
    values = np.arange(1001.0)
    assert interval(values, 0.95) == pytest.approx((25, 975))
    assert interval(values, 0.5) == pytest.approx((250, 750))


def test_an_interval_needs_nine_resamples_in_ten() -> None:
    values = np.arange(100.0)
    values[:10] = np.nan
    assert interval(values, 0.95) is not None
    values[10] = np.nan
    assert interval(values, 0.95) is None


def test_a_label_on_one_row_has_no_interval() -> None:
    truth = np.zeros((60, 3), bool)
    truth[:40, 0], truth[40:59, 1], truth[59, 2] = True, True, True
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 60)
    p[59] = [0.1, 0.1, 0.8]
    found = resample(Outcome(truth, answers(p)))
    assert {name for name, around in found.intervals_of(2).items() if around is None} == {"recall", "roc_auc", "pr_auc"}
    assert None not in found.intervals_of(0).values()
    assert None not in found.intervals().values()


def test_resamples_that_all_agree_give_no_interval() -> None:
    truth = np.tile([True, False], (20, 1))
    found = resample(Outcome(truth, answers(np.tile([0.75, 0.25], (20, 1)))), BootstrapOptions(resamples=50))
    assert set(found.intervals().values()) == set(found.intervals_of(0).values()) == {None}


@pytest.mark.parametrize(
    ("n", "classes", "count"), [(10, 2, 1000), (1821, 2, 1000), (100_000, 4, 500), (100_000, 20, 200)]
)
def test_fewer_resamples_where_there_is_much_to_count(n: int, classes: int, count: int) -> None:
    assert BootstrapOptions().count(n, classes) == count
    assert BootstrapOptions(resamples=7).count(n, classes) == 7


@pytest.mark.parametrize("options", [{"resamples": 0}, {"confidence": 1.0}, {"confidence": 0}])
def test_options_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        BootstrapOptions(**options)  # type: ignore[arg-type]
