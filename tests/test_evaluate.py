from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from firstbert.bootstrap import BootstrapOptions
from firstbert.data import from_lists
from firstbert.errors import DataError, UsageError
from firstbert.evaluate import Evaluation, evaluate, true_classes, truth
from made_up import answers, rows, sets, several, single

FEW = BootstrapOptions(resamples=50)
MEASURES = ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece", "roc_auc", "pr_auc"]


def measure(labels: Any, p: Any, **more: Any) -> Evaluation:
    return evaluate(rows(labels), answers(np.array(p, float), **more), bootstrap=FEW)


@pytest.mark.parametrize("classes", [2, 5])
def test_numbers_equal_scikit_learns(classes: int) -> None:
    y, p = single(300, classes)
    names = ["abcde"[i] for i in y]
    found = measure(names, p)
    best = p.argmax(axis=1)
    predicted = ["abcde"[i] for i in best]
    assert found.n == 300 and found.many is False
    assert found.accuracy == pytest.approx(accuracy_score(names, predicted))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(names, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(names, predicted, average="macro"))
    assert found.log_loss == pytest.approx(log_loss(names, p))
    assert found.brier == pytest.approx(((p - np.eye(classes)[y]) ** 2).sum(axis=1).mean())
    assert found.roc_auc == pytest.approx(roc_auc_score(np.eye(classes)[y], p, average="macro"))
    assert found.pr_auc == pytest.approx(average_precision_score(np.eye(classes)[y], p, average="macro"))
    assert found.baseline_accuracy == np.bincount(y).max() / 300
    assert found.confusion == confusion_matrix(y, best).tolist()
    scores = precision_recall_fscore_support(y, best)
    for c, mine in enumerate(found.per_class.values()):
        assert (mine.precision, mine.recall, mine.f1, mine.support) == pytest.approx([s[c] for s in scores])
        assert mine.roc_auc == pytest.approx(roc_auc_score(y == c, p[:, c]))
        assert mine.pr_auc == pytest.approx(average_precision_score(y == c, p[:, c]))


def test_numbers_of_texts_with_many_labels_equal_scikit_learns() -> None:
    carried, p = several(300, 4)
    chosen = p >= [0.3, 0.4, 0.5, 0.6]
    found = measure(sets(carried), p, many=True, thresholds=(0.3, 0.4, 0.5, 0.6))
    assert found.many is True and found.confusion is None
    assert found.accuracy == pytest.approx(accuracy_score(carried, chosen))
    assert found.macro_f1 == pytest.approx(f1_score(carried, chosen, average="macro"))
    assert found.roc_auc == pytest.approx(roc_auc_score(carried, p, average="macro"))
    assert found.pr_auc == pytest.approx(average_precision_score(carried, p, average="macro"))
    assert found.brier == pytest.approx(((p - carried) ** 2).mean())
    assert found.balanced_accuracy == pytest.approx(
        np.mean([balanced_accuracy_score(carried[:, c], chosen[:, c]) for c in range(4)])
    )
    _, counts = np.unique(carried, axis=0, return_counts=True)
    assert found.baseline_accuracy == counts.max() / 300
    scores = precision_recall_fscore_support(carried, chosen)
    for c, mine in enumerate(found.per_class.values()):
        assert (mine.precision, mine.recall, mine.f1, mine.support) == pytest.approx([s[c] for s in scores])
    assert sum(each.n for each in found.reliability) == 1200


@pytest.mark.parametrize("many", [False, True])
def test_every_number_has_an_interval_that_holds_it(many: bool) -> None:
    carried, p = several(300, 4) if many else (None, single(300, 4)[1])
    labels = sets(carried) if carried is not None else ["abcd"[i] for i in single(300, 4)[0]]
    found = evaluate(rows(labels), answers(p, many=many))
    assert list(found.intervals) != [] and set(found.intervals) == set(MEASURES)
    for name in set(MEASURES) - {"ece"}:
        low, high = found.intervals[name] or (1, 0)
        assert low < getattr(found, name) < high
    assert found.intervals["ece"] is not None
    for scores in found.per_class.values():
        assert set(scores.intervals) == {"precision", "recall", "f1", "roc_auc", "pr_auc"}
        for name, around in scores.intervals.items():
            assert around is not None and around[0] < getattr(scores, name) < around[1]
    assert found.bootstrap == {"resamples": 1000, "confidence": 0.95, "seed": 0}


def test_the_answer_counts_not_the_most_probable_label() -> None:
    p = [[0.6, 0.4], [0.6, 0.4], [0.9, 0.1]]
    found = measure(["b", "b", "a"], p, thresholds=(0.7, 0.3))
    assert found.accuracy == 1
    assert found.confusion == [[1, 0], [0, 2]]
    assert found.per_class["b"].f1 == found.macro_f1 == 1
    assert measure(["b", "b", "a"], p).accuracy == pytest.approx(1 / 3)


def test_calibration_error_by_hand() -> None:
    p = [[0.9, 0.1, 0], [0.9, 0.1, 0], [0.61, 0.39, 0], [0.61, 0.39, 0]]
    found = measure(["a", "b", "a", "a"], p)
    assert found.ece == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1 - 0.61))
    assert [(b.low, b.high, b.n, b.confidence, b.accuracy) for b in found.reliability] == [
        pytest.approx((9 / 15, 10 / 15, 2, 0.61, 1)),
        pytest.approx((13 / 15, 14 / 15, 2, 0.9, 0.5)),
    ]


def test_the_reliability_bins_give_the_calibration_error() -> None:
    y, p = single(300, 3)
    p[0] = np.eye(3)[y[0]]  # a confidence of 1 belongs to the last bin
    found = measure(["abc"[i] for i in y], p)
    assert found.ece == pytest.approx(sum(b.n * abs(b.accuracy - b.confidence) for b in found.reliability) / 300)
    assert all(b.low <= b.confidence <= b.high for b in found.reliability)
    assert found.reliability[-1].high == 1


def test_coverage_against_error_by_hand() -> None:
    p = [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.6, 0.4], [0.7, 0.3]]
    points = measure(["a", "a", "b", "b", "a"], p).coverage
    assert [(point.threshold, point.coverage, point.error) for point in points] == [
        pytest.approx(each) for each in ((0.9, 0.2, 0), (0.8, 0.4, 1 / 2), (0.7, 0.6, 1 / 3), (0.6, 1, 2 / 5))
    ]


def test_coverage_has_fifty_points_at_most_and_ends_with_all_rows() -> None:
    y, p = single(2000, 2, ties=False)
    found = measure(["ab"[i] for i in y], p)
    coverage = [point.coverage for point in found.coverage]
    assert len(coverage) == 50 and coverage == sorted(coverage) and coverage[-1] == 1
    assert np.diff(coverage) == pytest.approx(0.02, abs=0.001)
    assert found.coverage[-1].error == pytest.approx(1 - found.accuracy)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    for point in found.coverage:
        accepted = confidence >= point.threshold
        assert (point.coverage, point.error) == pytest.approx((accepted.mean(), 1 - right[accepted].mean()))


def test_abstention() -> None:
    y, p = single(400, 2, ties=False)
    labels = ["ab"[i] for i in y]
    assert measure(labels, p).abstention is None
    found = measure(labels, p, accept=0.6).abstention
    accepted = p.max(axis=1) >= 0.6
    wrong = (p.argmax(axis=1) != y)[accepted]
    assert found is not None and 0 < wrong.sum() < len(wrong) < 400
    assert (found.threshold, found.n_accepted, found.coverage) == (0.6, accepted.sum(), accepted.mean())
    assert found.error == pytest.approx(wrong.mean())
    # Clopper & Pearson: each bound leaves 2.5 % for what was found and worse.
    from scipy.stats import binom

    low, high = found.error_interval or (0, 1)
    assert binom.sf(wrong.sum() - 1, len(wrong), low) == pytest.approx(0.025)
    assert binom.cdf(wrong.sum(), len(wrong), high) == pytest.approx(0.025)
    exactly = measure(["a", "a"], [[0.75, 0.25], [0.7, 0.3]], accept=0.75).abstention
    assert exactly is not None and exactly.n_accepted == 1
    nothing = measure(labels, p, accept=1.5).abstention
    assert nothing is not None
    assert (nothing.n_accepted, nothing.coverage, nothing.error, nothing.error_interval) == (0, 0, None, None)


def test_a_label_that_never_occurs_does_not_count() -> None:
    found = measure(["a", "b"], [[0.9, 0.1, 0], [0.1, 0.9, 0]])
    assert (found.macro_f1, found.balanced_accuracy, found.roc_auc, found.pr_auc) == (1, 1, 1, 1)
    absent = found.per_class["c"]
    assert (absent.precision, absent.recall, absent.f1, absent.support) == (0, 0, 0, 0)
    assert (absent.roc_auc, absent.pr_auc, set(absent.intervals.values())) == (None, None, {None})


def test_a_label_that_is_answered_but_never_true_counts_in_macro_f1_alone() -> None:
    found = measure(["a", "b"], [[0.9, 0.1, 0], [0.1, 0.3, 0.6]])
    assert found.macro_f1 == pytest.approx((1 + 0 + 0) / 3)
    assert found.balanced_accuracy == pytest.approx(1 / 2)


def assert_json(found: Evaluation) -> None:
    facts = found.as_dict()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts

    def walk(value: Any) -> None:
        assert not (isinstance(value, float) and not math.isfinite(value))
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
            walk(each)

    walk(facts)


def test_a_single_row() -> None:
    found = measure(["a"], [[0.9, 0.1]], accept=0.5)
    assert (found.n, found.accuracy, found.balanced_accuracy, found.roc_auc, found.pr_auc) == (1, 1, 1, None, None)
    assert found.intervals["accuracy"] == (pytest.approx(0.025), 1)
    assert all(around is None for name, around in found.intervals.items() if name != "accuracy")
    assert len(found.coverage) == len(found.reliability) == 1 and found.slices == []
    assert_json(found)


def test_rows_of_one_label() -> None:
    found = measure(["a"] * 4, [[0.9, 0.1], [0.4, 0.6]] * 2)
    assert (found.accuracy, found.balanced_accuracy, found.baseline_accuracy) == (0.5, 0.5, 1)
    assert (found.roc_auc, found.intervals["roc_auc"], found.per_class["a"].roc_auc) == (None, None, None)
    assert_json(found)


def test_rows_that_are_all_right_still_leave_doubt() -> None:
    p = [[0.9, 0.1], [0.2, 0.8]] * 6
    found = measure([*"ab"] * 6, p)
    # 1 − the share of wrong answers that leaves twelve right in a row to one chance in forty
    assert found.intervals["accuracy"] == pytest.approx((0.025 ** (1 / 12), 1))
    assert found.intervals["macro_f1"] is None and found.per_class["a"].intervals["f1"] is None
    wrong = measure([*"ba"] * 6, p)
    assert wrong.intervals["accuracy"] == pytest.approx((0, 1 - 0.025 ** (1 / 12)))


def test_texts_without_any_label() -> None:
    found = measure([(), ()], [[0.1, 0.2], [0.3, 0.1]], many=True)
    assert (found.accuracy, found.baseline_accuracy, found.macro_f1, found.balanced_accuracy) == (1, 1, None, None)
    assert found.intervals["macro_f1"] is None
    assert_json(found)


def test_all_is_json_ready() -> None:
    carried, p = several(60, 3)
    columns = {"year": [1990, None, 1992.5] * 20, "good": [True, False] * 30}
    cut = [True] * 5 + [False] * 55
    assert_json(evaluate(rows(sets(carried)), answers(p, many=True, truncated=cut, accept=0.2), columns, FEW))
    y, p = single(60, 3)
    labels = np.array([3, 5, 9])
    found = evaluate(rows(labels[y].tolist()), answers(p, labels.tolist(), truncated=cut), columns, FEW)
    assert_json(found)
    assert list(found.per_class) == found.labels == ["3", "5", "9"]
    assert found.truncated == 5
    assert {part["name"] for part in found.as_dict()["slices"]} == {"truncated", "year", "good"}


def test_slices_are_of_the_examples_own_columns_unless_others_are_given() -> None:
    p = np.array([[0.9, 0.1]] * 4)
    examples = rows(["a", "a", "b", "b"], ["w"] * 4, extra={"source": ["x", "x", "y", "y"]})
    own = evaluate(examples, answers(p), bootstrap=FEW).slices
    assert [(part.name, part.value, part.accuracy) for part in own] == [("source", "x", 1), ("source", "y", 0)]
    given = evaluate(examples, answers(p), {"half": [1, 2, 1, 2]}, FEW).slices
    assert [(part.name, part.value, part.accuracy) for part in given] == [("half", "1", 0.5), ("half", "2", 0.5)]
    assert evaluate(examples, answers(p), {}, FEW).slices == []


def test_the_same_rows_give_the_same_evaluation() -> None:
    y, p = single(100, 3)
    assert measure(["abc"[i] for i in y], p) == measure(["abc"[i] for i in y], p)


def test_labels_are_matched_by_their_text_where_their_type_is_another() -> None:
    p = np.full((3, 2), 0.5)
    assert truth(rows(["1", "0", "1"]), answers(p, [0, 1])).tolist() == [[False, True], [True, False], [False, True]]
    assert true_classes(rows([True, False]), ["false", "true"]).tolist() == [1, 0]


def test_the_truth_of_texts_with_many_labels() -> None:
    labels = [("a", "c"), (), "b", ("b",), ("2",)]
    found = truth(rows(labels), answers(np.full((5, 4), 0.5), ["a", "b", "c", 2], many=True))
    assert found.astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_an_unknown_label_is_named_with_its_place() -> None:
    examples = from_lists(["one", "two"], ["a", "z"])
    told = r"item 1: label 'z' is none of the model's \(a, b, c\); 1 of 2 rows"
    with pytest.raises(DataError, match=told):
        evaluate(examples, answers(np.full((2, 3), 1 / 3)))
    several_labels = rows([("a",), ("b", "z", "y"), ("y",)])
    with pytest.raises(DataError, match=r"line 3: label 'z' is none of the model's \(a, b, c\); 2 of 3 rows"):
        evaluate(several_labels, answers(np.full((3, 3), 1 / 3), many=True))


def test_rows_without_labels_are_refused() -> None:
    for many in (False, True):
        with pytest.raises(DataError, match="evaluation needs labels"):
            evaluate(from_lists(["x"]), answers(np.array([[0.5, 0.5]]), many=many))


def test_predictions_for_other_rows_are_refused() -> None:
    for many in (False, True):
        with pytest.raises(UsageError, match=r"rows.tsv: 1 rows, but predictions for 2: predict the texts"):
            truth(rows(["a"]), answers(np.full((2, 2), 0.5), many=many))
