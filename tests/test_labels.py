from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firstbert.data import DataOptions, from_lists, read
from firstbert.errors import DataError
from written import given, many


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        (["1", "0", "1", "-7"], [1, 0, 1, -7]),
        (["0.5", "-1.0", "0.5", "1e+16"], [0.5, -1.0, 0.5, 1e16]),
        (["True", "False", "True", "False"], [True, False, True, False]),
        (["true", "false", "true", "false"], [True, False, True, False]),
        (["01", "02", "01", "02"], ["01", "02", "01", "02"]),
        (["1", "1.0", "1", "1.0"], ["1", "1.0", "1", "1.0"]),
        (["1", "0", "1", "x"], ["1", "0", "1", "x"]),
        (["True", "false", "True", "false"], ["True", "false", "True", "false"]),
        (["nan", "inf", "nan", "inf"], ["nan", "inf", "nan", "inf"]),
        (["0.0", "-0.0", "0.0", "-0.0"], ["0.0", "-0.0", "0.0", "-0.0"]),
        (["٣", "٤", "٣", "٤"], ["٣", "٤", "٣", "٤"]),
        (["9" * 5000, "1", "1", "1"], ["9" * 5000, "1", "1", "1"]),
        (["pos ", "neg", "pos ", "neg"], ["pos ", "neg", "pos ", "neg"]),
    ],
)
def test_labels_of_text_files_take_a_type_only_without_loss(
    tmp_path: Path, written: list[str], labels: list[Any]
) -> None:
    got = read(given(tmp_path, "text\tlabel\n" + many(*written))).labels or []
    assert [(type(label), repr(label)) for label in got] == [(type(label), repr(label)) for label in labels]


def test_labels_of_json_keep_their_type(tmp_path: Path) -> None:
    for labels in (["1", "0"], [1, 0], [True, False], [0.5, 1.5]):
        lines = "\n".join(json.dumps({"text": f"line {i}", "label": v}) for i, v in enumerate(labels))
        got = read(given(tmp_path, lines)).labels
        assert got == labels
        assert {type(v) for v in got} == {type(labels[0])}


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([1, "1"], r"mixed types: int \(item 0, counted from 0: 1\), str \(item 1, counted from 0: '1'\)"),
        ([True, 1], "mixed types: bool"),
        ([1, 1.0], "mixed types: int"),
        (["pos", "pos"], "every label is 'pos'"),
        ([b"pos", b"neg"], "whose label is no string"),
        ([["pos", b"x"], ["neg"]], "whose label is no string"),
        ([{"a": 1}, {"b": 1}], "whose label is no string"),
        ([float("inf"), 1.0], "item 0, counted from 0: float inf"),
        (["pos"], "2 texts but 1 labels"),
        ("ab", "the labels are a str"),
        ([[0, 1], None], "1 item without a label"),
    ],
)
def test_labels_that_are_none(labels: Any, told: str) -> None:
    with pytest.raises(DataError, match=f"(?s){told}"):
        from_lists(["so good", "so bad"], labels)


@pytest.mark.parametrize("kind", [str, float, int])
def test_a_label_for_nearly_every_row_is_no_label(kind: type) -> None:
    texts = [f"line {i}" for i in range(60)]
    with pytest.raises(DataError, match=r"different labels on 60 rows.*looks like texts, ids or a number"):
        from_lists(texts, [kind(i) for i in range(60)])
    limit = 21 if kind is float else 31
    with pytest.raises(DataError, match=f"{limit} different labels"):
        from_lists(texts, [kind(i % limit) for i in range(60)])
    from_lists(texts, [kind(i % (limit - 1)) for i in range(60)])


def test_spellings_of_one_label_are_told(tmp_path: Path) -> None:
    examples = read(given(tmp_path, many("pos", "neg", "pos", "pos ", "Neg", "neg")), DataOptions(text=1, label=2))
    told = [finding.message for finding in examples.findings]
    assert told == [
        "'pos' and 'pos ' are taken as two labels (line 4)",
        "'neg' and 'Neg' are taken as two labels (line 5)",
    ]
    assert examples.labels == ["pos", "neg", "pos", "pos ", "Neg", "neg"]


@pytest.mark.parametrize("labels", [["1", "1", "1"], [str(i) for i in range(60)]])
def test_rows_to_evaluate_on_may_have_one_label_or_many(tmp_path: Path, labels: list[str]) -> None:
    path = given(tmp_path, "text\tlabel\n" + many(*labels))
    with pytest.raises(DataError, match=r"every label is 1|60 different labels"):
        read(path)
    examples = read(path, training=False)
    assert examples.labels == [int(label) for label in labels]
    assert from_lists(examples.texts, examples.labels, training=False).sha256 == examples.sha256


def test_rows_to_evaluate_on_have_labels_of_one_type() -> None:
    with pytest.raises(DataError, match="mixed types: int"):
        from_lists(["so good", "so bad"], [1, "1"], training=False)
