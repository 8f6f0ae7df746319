from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import f1_score

from firstbert.errors import DataError
from firstbert.outcome import Outcome
from firstbert.slices import Slice, by_value, by_words, slices
from made_up import answers, rows, single


def outcome(right: np.ndarray, truncated: np.ndarray | None = None) -> Outcome:
    """Every row carries a; the wrong ones are given b."""
    p = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    return Outcome(np.tile([True, False], (len(right), 1)), answers(p, truncated=truncated))


def measured(right: np.ndarray, **columns: list[object]) -> list[Slice]:
    return slices(rows(["a"] * len(right), ["one two"] * len(right)), outcome(right), columns)


def test_texts_are_grouped_into_quarters_by_words() -> None:
    texts = [" ".join("w" * n) for n in (1, 2, 3, 4, 5, 6, 7, 30)]
    assert {name: rows.sum() for name, rows in by_words(texts)} == {
        "1–2 words": 2, "3–4 words": 2, "5–6 words": 2, "7–30 words": 2
    }  # fmt: skip
    assert [name for name, _ in by_words(["a"] * 6 + ["a b c"])] == ["1 word", "3 words"]
    assert [name for name, _ in by_words(["a  b\n"] * 5)] == ["2 words"]


def test_every_row_is_in_one_group_of_each_kind() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 40, 500).tolist()
    for groups in (by_words(["w " * n for n in values]), by_value(values)):
        assert (np.sum([rows for _, rows in groups], axis=0) == 1).all()


def test_the_most_frequent_values_of_a_column_and_the_rest_as_one() -> None:
    values = [f"v{i}" for i in range(25) for _ in range(30 - i)]
    groups = by_value(values)
    assert [name for name, _ in groups] == [*(f"v{i}" for i in range(20)), "other (5 values)"]
    assert groups[-1][1].sum() == sum(30 - i for i in range(20, 25))
    assert [name for name, _ in by_value(values[:10])] == ["v0"]


def test_nothing_is_a_value() -> None:
    groups = by_value([None, "", float("nan"), np.float64("nan"), True, 7])
    assert {name: rows.sum() for name, rows in groups} == {"(nothing)": 4, "true": 1, "7": 1}


def test_a_slice_that_is_worse_is_told() -> None:
    right = np.ones(400, bool)
    right[:30] = False  # half of the sixty of x
    right[380:] = False
    found = {part.value: part for part in measured(right, source=["x"] * 60 + ["y"] * 340)}
    assert set(found) == {"x", "y"}
    assert (found["x"].n, found["x"].accuracy, found["x"].worse) == (60, 0.5, True)
    assert found["y"].worse is False
    low, high = found["x"].interval
    # Wilson 1927 by hand: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)
    z, n = 1.959964, 60
    half = z * np.sqrt(0.25 / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))
    assert found["x"].p == pytest.approx(2 * fisher_exact([[30, 30], [320, 20]], alternative="less").pvalue)


def test_the_more_slices_the_more_it_takes() -> None:
    right = np.ones(300, bool)
    right[[0, 1, 2, 3, 4, 100]] = False
    kind = ["x"] * 60 + ["y"] * 240
    assert {part.value for part in measured(right, kind=kind) if part.worse} == {"x"}
    others = {f"column {i}": [*"pq"] * 150 for i in range(20)}
    many = measured(right, kind=kind, **others)
    assert len(many) == 42
    assert not any(part.worse for part in many)
    assert max(part.p for part in many) == 1


def test_slices_are_seldom_called_worse_where_none_is() -> None:
    rng = np.random.default_rng(0)
    called = [
        any(part.worse for part in measured(rng.random(300) < 0.8, source=rng.integers(0, 5, 300).tolist()))
        for _ in range(100)
    ]
    assert sum(called) <= 10


def test_what_holds_for_all_rows_is_no_slice() -> None:
    assert measured(np.array([True, False]), source=["x", "x"]) == []
    one = outcome(np.array([True]))
    assert slices(rows(["a"]), one, {"source": ["x"]}) == []


def test_cut_texts_are_a_slice_and_macro_f1_is_scikit_learns() -> None:
    y, p = single(100, 3)
    cut = np.arange(100) < 30
    whole = Outcome(np.arange(3) == y[:, None], answers(p, truncated=cut))
    found = {part.value: part for part in slices(rows(["a"] * 100, ["w"] * 100), whole, {})}
    assert {(part.name, value) for value, part in found.items()} == {("truncated", "yes"), ("truncated", "no")}
    best = p.argmax(axis=1)
    assert found["yes"].macro_f1 == pytest.approx(f1_score(y[cut], best[cut], average="macro"))
    assert found["no"].accuracy == pytest.approx((y == best)[~cut].mean())


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match=r"rows.tsv: the column 'source' holds 3 values for 2 rows"):
        measured(np.array([True, False]), source=["x", "y", "z"])
