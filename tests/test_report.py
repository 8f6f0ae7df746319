from __future__ import annotations

import numpy as np
import pytest

from firstbert.bootstrap import BootstrapOptions
from firstbert.compare import compare
from firstbert.evaluate import evaluate
from firstbert.report import as_text, comparison_as_text
from made_up import answers, rows, sets, several, single

FEW = BootstrapOptions(resamples=100)


def percent(value: float | None) -> str:
    return f"{100 * (value or 0):.1f} %"


def test_the_text_holds_the_numbers_with_their_intervals() -> None:
    y, p = single(200, 3)
    found = evaluate(rows(["abc"[i] for i in y]), answers(p), bootstrap=FEW)
    lines = as_text(found).splitlines()
    for name, words in (("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("ece", "calibration error")):
        line = next(line for line in lines if line.startswith(words))
        low, high = found.intervals[name] or (0, 0)
        assert percent(getattr(found, name)) in line
        assert f"({100 * low:.1f}–{100 * high:.1f} %)" in line
    for name, words in (("roc_auc", "ROC area"), ("log_loss", "log-loss"), ("brier", "Brier score")):
        line = next(line for line in lines if line.startswith(words))
        low, high = found.intervals[name] or (0, 0)
        assert f"{getattr(found, name):.3f}  ({low:.3f}–{high:.3f})" in line
    row = next(line for line in lines if line.startswith("b "))
    scores = found.per_class["b"]
    assert row.split()[1:4:2] == [f"{100 * scores.precision:.1f}", f"{100 * scores.recall:.1f}"]
    assert f"{scores.roc_auc:.3f}" in row and f"{scores.pr_auc:.3f}" in row and row.endswith(str(scores.support))
    assert found.confusion and lines[-3].split() == ["a", *map(str, found.confusion[0])]
    assert f"always the most frequent label: {percent(found.baseline_accuracy)}" in lines[1]


def test_what_is_undefined_is_a_dash() -> None:
    found = evaluate(rows(["a"]), answers(np.array([[0.9, 0.1]])), bootstrap=FEW)
    line = next(line for line in as_text(found).splitlines() if line.startswith("ROC area"))
    assert line.split() == ["ROC", "area", "–"]


def test_abstention_and_cut_texts_are_told() -> None:
    y, p = single(200, 2)
    labels = ["ab"[i] for i in y]
    plain = as_text(evaluate(rows(labels), answers(p), bootstrap=FEW))
    assert "are answered" not in plain and "lost their ends" not in plain
    found = evaluate(rows(labels), answers(p, accept=0.6, truncated=[True] * 7 + [False] * 193), bootstrap=FEW)
    abstention = found.abstention
    assert abstention and abstention.error_interval
    low, high = abstention.error_interval
    assert (
        f"With a confidence of 0.600 or more, {percent(abstention.coverage)} of the rows are answered; "
        f"{percent(abstention.error)} of those wrongly ({100 * low:.1f}–{100 * high:.1f} %)."
    ) in as_text(found)
    assert "7 rows were longer than the model reads" in as_text(found)
    nothing = evaluate(rows(labels), answers(p, accept=1.5), bootstrap=FEW)
    assert "Every answer is unsure: no threshold" in as_text(nothing)


def test_worse_slices_are_told_and_others_are_not() -> None:
    right = np.arange(200) % 20 > 0
    right[:20] = False
    p = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    columns = {"source": ["forum"] * 40 + ["press"] * 160, "even": [True, False] * 100}
    text = as_text(evaluate(rows(["a"] * 200), answers(p), columns, FEW))
    told = text.partition("Answered less well than the rest (of ")[2].splitlines()
    assert len(told) == 2 and told[1].startswith("  source: forum ") and told[1].endswith(" 40 rows")
    assert percent(right[:40].mean()) in told[1]
    assert "less well" not in as_text(evaluate(rows(["a"] * 200), answers(p), {}, FEW))


@pytest.mark.parametrize("many", [False, True])
def test_nothing_is_wider_than_a_hundred_columns(many: bool) -> None:
    names = [f"a very long name of a label, number {i}, that goes on and on" for i in range(10)]
    truth, p = several(120, 10)
    y, q = single(120, 10)
    labels = (
        [tuple(names[ord(x) - 97] for x in each) for each in sets(truth)] if many else [names[i] for i in y]
    )  # fmt: skip
    p = p if many else q
    right = (p.argmax(axis=1) == y).tolist()
    examples = rows(labels, ["word " * 60] * 120)
    columns = {"a column with a long name": [f"{'right' if each else 'wrong'} and a long value" for each in right]}
    first, second = answers(p, names, many=many), answers(p[::-1], names, many=many)
    text = as_text(evaluate(examples, first, columns, FEW))
    if not many:
        assert "less well" in text and "predicted" in text
    compared = comparison_as_text(
        compare(examples, first, second, ("some/folder/" * 5 + "a", "some/folder/" * 5 + "b"), FEW)
    )
    assert "Answered differently" in compared
    assert max(map(len, (text + "\n" + compared).splitlines())) <= 100


def test_the_comparison_holds_its_numbers() -> None:
    y, p = single(200, 3)
    q = 0.8 * p + 0.2 * np.eye(3)[y]
    found = compare(rows(["abc"[i] for i in y]), answers(p), answers(q), ("old", "new"), FEW)
    text = comparison_as_text(found)
    assert " ".join(text.split("\n\n")[0].split()) == found.verdict
    accuracy, loss = found.differences["accuracy"], found.differences["log_loss"]
    line = next(line for line in text.splitlines() if line.startswith("accuracy "))
    low, high = accuracy.interval or (0, 0)
    assert (
        line.split("  ", 1)[1].split()
        == (
            f"{percent(accuracy.a)} {percent(accuracy.b)} {100 * (accuracy.difference or 0):+.1f} "
            f"({100 * low:+.1f} to {100 * high:+.1f}) points"
        ).split()
    )
    assert f"{loss.difference:+.3f}" in next(line for line in text.splitlines() if line.startswith("log-loss "))
    assert (
        f"Both right: {found.both_right}   only old: {found.only_a}   only new: {found.only_b}   "
        f"both wrong: {found.both_wrong}"
    ) in text
    for each in found.disagreements:
        assert f"true: {each.truth}   old: {each.a} ({each.a_confidence:.2f})   new: {each.b}" in text
