from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from firstbert.bootstrap import BootstrapOptions
from firstbert.compare import Comparison, compare, mcnemar, rows_needed
from firstbert.errors import DataError, UsageError
from firstbert.predictor import Predictions
from made_up import answers, rows, sets, several, single

FEW = BootstrapOptions(resamples=100)


def model(right: list[bool] | np.ndarray, p: float = 0.9) -> Predictions:
    """All rows carry a; the wrong ones are given b."""
    return answers(np.where(np.array(right)[:, None], [p, 1 - p], [1 - p, p]))


def both(both_right: int, only_a: int, only_b: int, both_wrong: int) -> Comparison:
    a = [True] * (both_right + only_a) + [False] * (only_b + both_wrong)
    b = [True] * both_right + [False] * only_a + [True] * only_b + [False] * both_wrong
    return compare(rows(["a"] * len(a)), model(a), model(b), bootstrap=FEW)


def test_measures_equal_scikit_learns_and_rows_are_counted() -> None:
    y, p = single(200, 3)
    q = single(200, 3, seed=1)[1] * 0.3 + p * 0.7
    labels = ["abc"[i] for i in y]
    found = compare(rows(labels), answers(p), answers(q), bootstrap=FEW)
    one, other = p.argmax(axis=1) == y, q.argmax(axis=1) == y
    assert (found.both_right, found.only_a, found.only_b, found.both_wrong) == (
        (one & other).sum(), (one & ~other).sum(), (other & ~one).sum(), (~one & ~other).sum()
    )  # fmt: skip
    for side, probabilities in (("a", p), ("b", q)):
        best = probabilities.argmax(axis=1)
        for name, expected in (
            ("accuracy", accuracy_score(y, best)),
            ("macro_f1", f1_score(y, best, average="macro")),
            ("log_loss", log_loss(y, probabilities)),
        ):
            assert getattr(found.differences[name], side) == pytest.approx(expected)
    for each in found.differences.values():
        assert each.difference == pytest.approx((each.b or 0) - (each.a or 0))
        low, high = each.interval or (0, 0)
        assert low < (each.difference or 0) < high
    assert found.n_different == (p.argmax(axis=1) != q.argmax(axis=1)).sum()


def test_mcnemars_test_by_hand() -> None:
    # 1 against 9 tosses: 2 × (1 + 10) / 2¹⁰
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(22 / 1024)
    assert mcnemar(5, 5) == mcnemar(0, 0) == 1


def test_the_better_one_is_named() -> None:
    found = both(50, 1, 20, 29)
    assert (found.better, found.rows_needed) == ("b", None)
    assert found.p == pytest.approx(mcnemar(1, 20))
    assert found.verdict.startswith(
        "B is better: it is right on 70.0 % of the rows, A on 51.0 %: 19.0 points more (95 %"
    )
    turned = both(50, 20, 1, 29)
    assert turned.better == "a"
    assert turned.verdict.startswith(
        "A is better: it is right on 70.0 % of the rows, B on 51.0 %: 19.0 points more (95 %"
    )
    low, high = turned.differences["accuracy"].interval or (0, 0)
    assert low < high < 0
    assert f"interval {-100 * high:.1f} to {-100 * low:.1f}; p = " in turned.verdict


def test_pairing_makes_the_interval_narrow() -> None:
    """Ninety rows are alike for both models, so that the difference hangs on ten."""
    found = both(45, 2, 8, 45)
    low, high = found.differences["accuracy"].interval or (0, 0)
    # Of the difference in paired shares: √(ψ − δ²) / √n
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt((0.10 - 0.06**2) / 100), rel=0.25)


def test_no_difference_and_what_it_would_take() -> None:
    found = both(80, 4, 8, 8)
    assert found.better is None
    # Connor 1987 by hand: ψ = 0.12, δ = 0.04
    needed = (1.959964 * np.sqrt(0.12) + 0.841621 * np.sqrt(0.12 - 0.0016)) ** 2 / 0.0016
    assert found.rows_needed == np.ceil(needed) == 587
    assert found.verdict == (
        "No difference can be shown: A is right on 84.0 % of the rows, B on 88.0 % (p = 0.39); "
        "to show one as small as this, about 587 rows would be needed."
    )


def test_the_rows_asked_for_show_the_difference_four_times_in_five() -> None:
    needed = rows_needed(100, 4, 8) or 0
    rng = np.random.default_rng(0)
    counts = rng.multinomial(needed, [0.04, 0.08, 0.88], 400)
    assert 0.7 <= np.mean([mcnemar(int(a), int(b)) < 0.05 for a, b, _ in counts]) <= 0.9


def test_models_that_are_right_equally_often() -> None:
    found = both(5, 2, 2, 1)
    assert (found.better, found.rows_needed, found.p) == (None, None, 1)
    assert found.verdict == "No difference can be shown: A and B are both right on 70.0 % of the rows."
    same = both(5, 0, 0, 5)
    assert (same.n_different, same.disagreements) == (0, [])


def test_labels_may_stand_in_another_order() -> None:
    y, p = single(100, 3, ties=False)  # a tie goes to the first in order
    labels = ["abc"[i] for i in y]
    turned = answers(p[:, [2, 0, 1]], ["c", "a", "b"])
    found = compare(rows(labels), answers(p), turned, bootstrap=FEW)
    assert (found.n_different, found.only_a, found.only_b) == (0, 0, 0)
    assert {each.difference for each in found.differences.values()} == {0}


def test_models_of_other_labels_are_refused() -> None:
    p = np.full((2, 2), 0.5)
    with pytest.raises(
        UsageError, match=r"m1 and m2 don't know the same labels: m1 alone knows b; m2 alone knows c, d\. "
    ):
        compare(rows(["a", "a"]), answers(p), answers(np.full((2, 3), 1 / 3), ["a", "c", "d"]), ("m1", "m2"))
    with pytest.raises(UsageError, match="m2 gives a text any number of labels, m1 exactly one"):
        compare(rows(["a", "a"]), answers(p), answers(p, many=True), ("m1", "m2"))
    with pytest.raises(DataError, match="label 'z' is none of the model's"):
        compare(rows(["a", "z"]), answers(p), answers(p))


def test_disagreements_are_those_whose_confidences_are_furthest_apart() -> None:
    n = 30
    a = answers(np.tile([0.9, 0.1], (n, 1)))
    sure = np.linspace(0.51, 0.8, n)
    p = np.stack([1 - sure, sure], axis=1)
    p[5] = [0.6, 0.4]  # answered alike
    found = compare(rows([*"ab"] * 15), a, answers(p), bootstrap=FEW)
    assert found.n_different == 29
    assert [each.line for each in found.disagreements] == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    first = found.disagreements[1]
    assert (first.text, first.truth, first.a, first.b, first.a_confidence) == ("text 1", "b", "a", "b", 0.9)
    assert first.b_confidence == pytest.approx(0.52)


def test_texts_with_many_labels() -> None:
    truth, p = several(120, 3)
    q = np.clip(p + 0.2, 0, 1)
    found = compare(rows(sets(truth)), answers(p, many=True), answers(q, many=True), bootstrap=FEW)
    assert found.differences["accuracy"].a == pytest.approx(((p >= 0.5) == truth).all(axis=1).mean())
    assert found.differences["macro_f1"].b == pytest.approx(f1_score(truth, q >= 0.5, average="macro"))
    assert found.n_different == ((p >= 0.5) != (q >= 0.5)).any(axis=1).sum()
    shown = found.disagreements[0]
    assert set(shown.b.split("|")) > set(filter(None, shown.a.split("|")))


def test_all_is_json_ready_and_the_same_again() -> None:
    found = both(5, 3, 2, 1)
    facts = found.as_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert found == both(5, 3, 2, 1)
    one, other = model([True, False] * 30), model([False] * 20 + [True] * 40)
    seeds = [compare(rows(["a"] * 60), one, other, bootstrap=BootstrapOptions(resamples=50, seed=s)) for s in (0, 0, 1)]
    assert seeds[0].differences == seeds[1].differences != seeds[2].differences
    assert facts["bootstrap"] == {"resamples": 100, "confidence": 0.95, "seed": 0}
    empty = compare(rows([(), ()]), answers(np.full((2, 2), 0.1), many=True), answers(np.full((2, 2), 0.1), many=True))
    assert empty.as_dict()["differences"]["macro_f1"] == {"a": None, "b": None, "difference": None, "interval": None}
    json.dumps(empty.as_dict(), allow_nan=False)
