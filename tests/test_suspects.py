from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from firstbert.conflicts import NearOptions
from firstbert.data import Examples, from_lists
from firstbert.errors import DataError, UsageError
from firstbert.suspects import SuspectOptions, Suspects, find_suspects, label_doubt, pooled
from firstbert.targets import Targets

AB = ["a", "b"]


def rows_of(texts: list[str], labels: list[Any]) -> Examples:
    return from_lists(texts, labels, training=False)


def flipped(n: int = 2000, share: float = 0.05, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels drawn from known probabilities, some of them flipped: (N, 2), (N,), (N,) bool."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(size=n) * 4))
    flip = rng.random(n) < share
    return np.column_stack([1 - p, p]), (rng.random(n) < p).astype(np.intp) ^ flip, flip


def find(p: np.ndarray, y: np.ndarray, **options: Any) -> Suspects:
    names = [chr(97 + c) for c in range(p.shape[1])]
    examples = rows_of([f"text {i}" for i in range(len(y))], [names[c] for c in y])
    return find_suspects(examples, names, y, p, options=SuspectOptions(**options))


def test_flipped_labels_are_found_and_counted() -> None:
    p, y, flip = flipped()
    found = find(p, y)
    assert 0.03 < found.noise < 0.09
    assert len(found.rows) == round(1.5 * found.noise * len(y))
    first = [s.row for s in found.rows[:50]]
    assert flip[first].mean() > 0.8
    assert flip[[s.row for s in found.rows]].mean() > 0.4
    assert all(s.given != s.suggested and s.reason == "model" and 0 <= s.doubt <= 1 for s in found.rows)


def test_where_the_wrong_ones_are_plain_all_are_suspected() -> None:
    true = np.arange(2000) % 2
    sure = np.where(true == 1, 0.97, 0.03)
    y = np.where(np.arange(2000) % 20 == 0, 1 - true, true)
    assert {s.row for s in find(np.column_stack([1 - sure, sure]), y).rows} == set(range(0, 2000, 20))


def test_where_no_label_is_wrong_few_are_suspected() -> None:
    p, y, _ = flipped(share=0)
    assert len(find(p, y).rows) < 0.03 * len(y)


def test_where_labels_hardly_fit_most_rows_stay() -> None:
    p, y, _ = flipped(share=0.4)
    found = find(p, y)
    assert found.noise > 0.25 and len(found.rows) == round(0.3 * len(y))


def test_with_two_labels_the_order_is_that_of_the_given_labels_probability() -> None:
    p, y, _ = flipped(500)
    doubt, _ = label_doubt(p, y)
    own = p[np.arange(500), y]
    order = np.argsort(-doubt, kind="stable")
    assert (np.diff(own[order]) >= -1e-9).all()


def test_who_is_taken_for_whom_counts_with_several_labels() -> None:
    """Only 0 is ever written for 1: a doubtful 0 is worse than a 2 that is as doubtful."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 3000)
    scores = 2 * (rng.normal(size=(3000, 3)) + 2 * np.eye(3)[true])  # log-odds of unit normals 2 apart
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    wrong = (true == 1) & (rng.random(3000) < 0.15)
    y = np.where(wrong, 0, true)
    k = int(wrong.sum())
    by_doubt = np.argsort(-label_doubt(p, y)[0])[:k]
    by_probability = np.argsort(p[np.arange(3000), y])[:k]
    assert wrong[by_doubt].mean() > wrong[by_probability].mean() + 0.02


def test_a_share_can_be_asked_for() -> None:
    p, y, _ = flipped()
    assert len(find(p, y, share=0.02).rows) == 40
    assert find(p, y, share=0.0).rows == ()
    with pytest.raises(UsageError, match="'share'"):
        find(p, y, share=2.0)


def test_with_many_labels_each_is_judged_alone() -> None:
    n = 600
    rng = np.random.default_rng(1)
    Y = rng.random((n, 3)) < 0.3
    p = np.clip(np.where(Y, 0.95, 0.05) + rng.normal(size=(n, 3)) * 0.02, 0.001, 0.999)
    Y[7, 2] ^= True  # one label of one row is wrong
    labels = [tuple(np.array(["x", "y", "z"])[row].tolist()) for row in Y]
    examples = from_lists([f"text {i}" for i in range(n)], ["x"] * n, training=False)
    examples = Examples(**{**vars(examples), "labels": labels})
    found = find_suspects(examples, ["x", "y", "z"], Y, p)
    assert found.rows[0].row == 7
    right = Y[7].copy()
    right[2] ^= True
    assert found.rows[0].suggested == "|".join(np.array(["x", "y", "z"])[right])
    assert found.rows[0].given == "|".join(labels[7])


def test_a_text_with_two_labels_keeps_the_commoner_and_of_two_the_likelier() -> None:
    examples = rows_of(["good", "good", "Good", "bad", "bad", "so so"], ["a", "b", "a", "b", "a", "a"])
    y = np.array([0, 1, 0, 1, 0, 0])
    p = np.array([[0.4, 0.6], [0.4, 0.6], [0.4, 0.6], [0.2, 0.8], [0.2, 0.8], [0.9, 0.1]])
    found = find_suspects(examples, AB, y, p, options=SuspectOptions(share=0.0))
    told = {s.row: (s.suggested, s.reason) for s in found.rows}
    assert told == {
        1: ("a", "same text as item 0 labelled a"),
        4: ("b", "same text as item 3 labelled b"),
    }
    assert all(s.doubt >= 0.5 for s in found.rows)
    assert found.rows[0].row == 4


def near_pair(p: list[list[float]], rows: int = 100) -> Suspects:
    texts = ["one of the best films of the year", "one of the best films of this year", "x", "y"]
    points = np.array([(1, 0), (0.99, 0.1), (-1, 0), (-0.99, -0.1)], np.float32)
    options = SuspectOptions(share=0.0, near=NearOptions(rows=rows))
    examples = rows_of(texts, ["a", "b", "a", "b"])
    return find_suspects(examples, AB, np.array([0, 1, 0, 1]), np.array(p), vectors=points, options=options)


def test_of_near_duplicates_the_one_that_the_model_disputes_is_suspected() -> None:
    found = near_pair([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.1, 0.9]])
    (suspect,) = found.rows
    assert (suspect.row, suspect.suggested) == (1, "a")
    assert suspect.reason == "near duplicate of item 0 labelled a"
    assert suspect.doubt == pytest.approx(0.85)


def test_near_duplicates_whose_labels_the_model_believes_are_left_alone() -> None:
    assert near_pair([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.1, 0.9]]).rows == ()


def test_with_too_many_rows_for_near_duplicates_that_is_told() -> None:
    found = near_pair([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.1, 0.9]], rows=3)
    assert found.rows == ()
    assert found.notes == ("Near duplicates were not looked for: there are more than 3 rows.",)


def test_facts_and_sentence() -> None:
    p, y, _ = flipped(200)
    found = find(p, y)
    facts = found.as_dict()
    assert facts["n"] == 200 and len(facts["rows"]) == len(found.rows) > 0
    assert (
        facts["sentence"]
        == f"texts: {len(found.rows)} of 200 rows have a label in doubt ({len(found.rows) / 200:.1%})."
    )
    assert find(p, y, share=0.0).sentence == "texts: no label among 200 rows is in doubt."


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"probabilities of shape \(2, 2\)"):
        find_suspects(rows_of(["x", "y"], AB), AB, np.array([0, 1]), np.full((3, 2), 0.5))


@pytest.mark.parametrize("n", [2, 3, 12])
def test_a_handful_of_rows_is_no_reason_to_fail(n: int) -> None:
    y = np.arange(n) % 2
    p = np.where(y[:, None] == np.arange(2), 0.8, 0.2)
    assert find(p, y).rows == ()


def test_layers_are_pooled_by_their_logits_and_words_by_what_they_are_worth() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    told, noise = rng.normal(2 * y - 1, 1), rng.normal(size=400)

    def logits(s: np.ndarray) -> np.ndarray:
        return np.column_stack([-s, s])

    p = pooled([logits(told + noise), logits(told - noise)], 30 * logits(noise), Targets(y))
    assert np.corrcoef(np.log(p[:, 1] / p[:, 0]), told)[0, 1] > 0.999  # the layers' mean; the words are worth nothing
    assert np.log(p[:, 1] / p[:, 0]) == pytest.approx(2 * told, abs=1)  # no surer than that is right
    p = pooled([logits(noise)], 30 * logits(told), Targets(y))
    assert np.corrcoef(np.log(p[:, 1] / p[:, 0]), told)[0, 1] > 0.99
    carried = np.column_stack([y, 1 - y]) == 1
    p = pooled([np.column_stack([told, -told])], np.column_stack([noise, noise]), Targets(carried))
    assert p.sum(axis=1) == pytest.approx(1, abs=0.1) and ((p[:, 0] > 0.5) == (told > 0)).mean() > 0.98


@pytest.mark.parametrize("kind", ["two", "three", "many", "against", "all against", "no word", "told apart", "far off"])
def test_voices_get_the_weights_with_the_least_loss(kind: str) -> None:
    rng = np.random.default_rng(1)
    C = 3 if kind == "three" else 2
    y = rng.random((300, 2)) < 0.4 if kind == "many" else rng.integers(0, C, 300)
    targets = Targets(y)
    signs = {"against": (1, -1), "all against": (-1, -1)}.get(kind, (1, 1))
    layer, words = (sign * (targets.carried + rng.normal(size=(300, C))) for sign in signs)
    if kind == "no word":
        words = np.zeros_like(words)
    if kind == "told apart":
        layer = 1000.0 * targets.carried
    if kind == "far off":  # a whole step of Newton's raises the loss
        rng = np.random.default_rng(9392)
        targets = Targets(rng.integers(0, 2, 20), among=2)
        layer, words = (targets.carried + rng.standard_t(1, size=(20, 2)) for _ in range(2))

    def loss(weight: np.ndarray) -> float:
        return float(targets.losses(weight[0] * layer + 20 * weight[1] * words).mean())

    best = minimize(loss, (1.0, 0.1), method="L-BFGS-B", bounds=[(0, None)] * 2)
    p = pooled([layer, layer], 20 * words, targets)
    carried = np.where(targets.carried, p, 1 - p).clip(1e-300)
    found = -np.log(carried).mean() if kind == "many" else -np.log(carried[targets.carried]).mean()
    assert found == pytest.approx(min(best.fun, loss(np.zeros(2))), abs=1e-5)
