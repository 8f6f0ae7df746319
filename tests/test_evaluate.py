from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from firstbert.data import from_lists
from firstbert.errors import DataError
from firstbert.evaluate import Evaluation, evaluate
from firstbert.predictor import Predictions
from firstbert.report import as_text


def made_up(n: int = 200, seed: int = 0) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([1, 1, 1], n)
    truth = [["a", "b", "c"][i] for i in (p + rng.random((n, 3)) * 0.5).argmax(axis=1)]
    return truth, p


def measure(truth: list[str], p: np.ndarray, labels: tuple[str, ...] = ("a", "b", "c")) -> Evaluation:
    examples = from_lists([f"text {i}" for i in range(len(truth))], truth, training=False)
    return evaluate(examples, Predictions(labels, p, np.zeros(len(p), bool)))


def test_numbers_equal_scikit_learns() -> None:
    truth, p = made_up()
    found = measure(truth, p)
    predicted = [["a", "b", "c"][i] for i in p.argmax(axis=1)]
    assert found.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found.log_loss == pytest.approx(log_loss(truth, p))
    assert found.baseline_accuracy == max(truth.count(x) for x in "abc") / len(truth)
    assert sum(map(sum, found.confusion)) == found.n == 200
    assert {name: scores.support for name, scores in found.per_class.items()} == {x: truth.count(x) for x in "abc"}


def test_calibration_error_by_hand() -> None:
    p = np.array([[0.9, 0.1, 0], [0.9, 0.1, 0], [0.6, 0.4, 0], [0.6, 0.4, 0]])
    assert measure(["a", "b", "a", "a"], p).ece == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1 - 0.6))


def test_a_label_that_never_occurs_does_not_count_in_macro_f1() -> None:
    p = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0]])
    assert measure(["a", "b"], p).macro_f1 == 1


def test_an_unknown_label_is_named_with_its_place() -> None:
    with pytest.raises(DataError, match=r"item 1: label 'z' is none of the model's \(a, b, c\); 1 of 2 rows"):
        measure(["a", "z"], np.full((2, 3), 1 / 3))


def test_rows_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match="evaluation needs labels"):
        evaluate(from_lists(["x"]), Predictions(("a", "b"), np.array([[0.5, 0.5]]), np.zeros(1, bool)))


def test_the_text_holds_the_numbers() -> None:
    truth, p = made_up()
    found = measure(truth, p)
    text = as_text(found)
    for number in (found.accuracy, found.macro_f1, found.ece, found.per_class["b"].recall):
        assert f"{100 * number:.1f} %" in text
    assert str(found.confusion[0][1]) in text
