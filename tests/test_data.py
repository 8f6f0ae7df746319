from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstbert import data
from firstbert.data import DataOptions, from_lists, read, without_overlap
from firstbert.errors import DataError, FirstbertError, UsageError
from written import found, given, many

SKIP = DataOptions(on_bad_row="skip")


def test_the_first_rows_only(tmp_path: Path) -> None:
    path = given(tmp_path, "text\tlabel\n" + many("1", "0") + "odd\n" + many("1"))
    assert read(path, DataOptions(rows=2)).lines == [2, 3]
    examples = read(path, DataOptions(rows=3, on_bad_row="skip"))
    assert (examples.lines, found(examples)) == ([2, 3], {"columns": (4,)})


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["so good", "so bad"], [1, 0]),
        (("so good", "so bad"), (1, 0)),
        (np.array(["so good", "so bad"]), np.array([1, 0])),
        (np.array(["so good", "so bad"], dtype=object), np.array([1, 0], dtype=object)),
        ([np.str_("so good"), np.str_("so bad")], [np.int8(1), np.int8(0)]),
        (iter(["so good", "so bad"]), {1: "a", 0: "b"}.keys()),
    ],
)
def test_lists_and_arrays_become_python_values(texts: Any, labels: Any) -> None:
    examples = from_lists(texts, labels)
    assert (examples.texts, examples.labels, examples.lines) == (["so good", "so bad"], [1, 0], [0, 1])
    assert {type(v) for v in [*examples.texts, *(examples.labels or [])]} == {str, int}


@pytest.mark.parametrize("dtype", ["bool", "float32", "str"])
def test_numpy_labels_keep_their_kind(dtype: str) -> None:
    labels = from_lists(["a", "b"], np.array([1, 0]).astype(dtype)).labels or []
    assert {type(v) for v in labels} == {{"bool": bool, "float32": float, "str": str}[dtype]}


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ("one text", "texts are a str: give a list"),
        (b"one text", "texts are a bytes"),
        (None, "texts are a NoneType"),
        (7, "texts are a int"),
        ({"a": 1}, "texts are a dict"),
        ([], "is empty"),
        (np.array([["a", "b"]]), "of 2 dimensions"),
        (np.array("a"), "of 0 dimensions"),
        (["a", 7], "item 1, counted from 0: int 7"),
        (["a", None], "item 1, counted from 0: NoneType None"),
        (["a", b"b"], "item 1, counted from 0: bytes b'b'"),
        (["a", ["b"]], "item 1, counted from 0: list"),
        (["a", "\ud800"], "half a surrogate pair"),
    ],
)
def test_what_is_no_list_of_texts(texts: Any, told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        from_lists(texts, source="inputs")
    assert str(error.value).startswith("inputs: ")


def test_pandas_columns() -> None:
    pd = pytest.importorskip("pandas")
    texts = ["so good", "so bad", "so so"]
    for labels, expected in (
        (pd.Series(["pos", "neg", "pos"], dtype="category"), ["pos", "neg", "pos"]),
        (pd.Series(["pos", "neg", "pos"], dtype="string"), ["pos", "neg", "pos"]),
        (pd.Series([1, 0, 1], dtype="Int64"), [1, 0, 1]),
        (pd.Series([True, False, True]), [True, False, True]),
    ):
        frame = pd.DataFrame({"text": texts, "label": labels}).set_index(pd.Index([7, 7, 7]))
        got = read(frame)
        assert got.labels == expected == from_lists(frame["text"], frame["label"]).labels
        assert {type(v) for v in got.labels} == {type(expected[0])}
    for missing in (
        pd.Series([1, None, 0], dtype="Int64"),
        pd.Series(["a", None, "b"]),
        pd.Series([1, None, 0]),
    ):
        frame = pd.DataFrame({"text": texts, "label": missing})
        with pytest.raises(DataError, match="1 row without a label\n  row 1, counted from 0: "):
            read(frame)
        assert read(frame, SKIP).lines == [0, 2]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_columns_of_other_libraries(library: str) -> None:
    module = pytest.importorskip(library)
    column = module.Series if library == "polars" else module.array
    examples = from_lists(column(["so good", "so bad"]), column([True, False]))
    assert (examples.texts, examples.labels) == (["so good", "so bad"], [True, False])


def test_the_same_rows_have_the_same_hash_in_every_format(tmp_path: Path) -> None:
    lists = from_lists(["so good", "so, bad"], [1, 0])
    written = {
        ".tsv": "so good\t1\nso, bad\t0\n",
        ".csv": 'text,label\r\nso good,1\r\n"so, bad",0\r\n',
        ".jsonl": '{"label": 1, "text": "so good"}\n{"label": 0, "text": "so, bad"}',
    }
    for ending, content in written.items():
        options = DataOptions() if ending != ".tsv" else DataOptions(text=1, label=2)
        assert read(given(tmp_path, content, ending), options).sha256 == lists.sha256
    others = [
        from_lists(["so good", "so, bad"], ["1", "0"]),
        from_lists(["so good", "so, bad"], [0, 1]),
        from_lists(["so, bad", "so good"], [1, 0]),
        from_lists(["so good", "so, bad"]),
    ]
    assert len({lists.sha256, *(other.sha256 for other in others)}) == 5


@pytest.mark.parametrize("options", [{"on_bad_row": "drop"}, {"on_duplicate": "drop"}, {"rows": 0}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        DataOptions(**options)


def test_hostile_bytes_end_in_examples_or_a_told_refusal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    alphabet = list(b'ab ,;\t\n\r"{}[]:1\\u\0\xff\xc3\xa9')
    for _ in range(400):
        content = bytes(rng.choice(alphabet, size=rng.integers(1, 60)).tolist())
        for ending in (".tsv", ".csv", ".jsonl"):
            for labelled in (True, False):
                try:
                    examples = read(given(tmp_path, content, ending), SKIP, labelled=labelled)
                except FirstbertError as error:
                    assert "data" in str(error)
                else:
                    assert len(examples.texts) == len(examples.lines) > 0


def test_texts_of_train_in_test_are_kept_skipped_or_refused() -> None:
    train = from_lists(["so good", "so bad"], [1, 0], source="train")
    test = from_lists(["so bad", "so long", "so far"], [0, 1, 0], source="test")
    kept = without_overlap(test, train)
    assert kept.texts == test.texts
    assert kept.sha256 == test.sha256
    assert [f.message for f in kept.findings] == ["1 item whose text is also in train (item 0, counted from 0)"]
    skipped = without_overlap(test, train, DataOptions(on_duplicate="skip"))
    assert (skipped.texts, skipped.labels, skipped.lines) == (["so long", "so far"], [1, 0], [1, 2])
    assert found(skipped) == {"in_train": (0,)}
    with pytest.raises(DataError, match="also in train"):
        without_overlap(test, train, DataOptions(on_duplicate="fail"))
    with pytest.raises(DataError, match="every text is also in"):
        without_overlap(train, train, DataOptions(on_duplicate="skip"))
    assert without_overlap(skipped, train) is skipped


def test_test_rows_of_one_label_lose_what_train_holds() -> None:
    train = from_lists(["so good", "so bad"], [1, 0], source="train")
    test = from_lists(["so bad", "so dull"], [0, 0], source="test", training=False)
    skipped = without_overlap(test, train, DataOptions(on_duplicate="skip"))
    assert (skipped.texts, skipped.labels, skipped.lines) == (["so dull"], [0], [1])


def test_some_examples_are_taken_in_the_order_asked_for() -> None:
    whole = from_lists(["so good", "so bad", "so good"], [1, 0, 1])
    some = whole.take([2, 1])
    assert (some.texts, some.labels, some.lines) == (["so good", "so bad"], [1, 0], [2, 1])
    assert some.sha256 == from_lists(["so good", "so bad"], [1, 0]).sha256
    assert some.findings == whole.findings


def test_public_names() -> None:
    names = ["DataOptions", "Examples", "Finding", "Label", "from_lists", "read", "without_overlap"]
    assert sorted(data.__all__) == names
    assert all(hasattr(data, name) for name in names)


def test_further_columns_stay_in_step_with_their_texts(tmp_path: Path) -> None:
    content = "text\tlabel\tsource\tyear\nso good\t1\tx\t1990\n\t1\ty\t1991\nso bad\t0\tz\t1992\nso good\t1\tw\t1993\n"
    path = given(tmp_path, content + "so long\t0\tv\t1994\n")
    options = DataOptions(on_bad_row="skip", on_duplicate="skip", extra=("source", 4))
    examples = read(path, options)
    assert examples.texts == ["so good", "so bad", "so long"]
    assert examples.extra == {"source": ["x", "z", "v"], "year": ["1990", "1992", "1994"]}
    assert examples.take([2, 0]).extra == {"source": ["v", "x"], "year": ["1994", "1990"]}
    without = read(path, DataOptions(text="text", label="label", on_bad_row="skip", on_duplicate="skip"))
    assert (examples.sha256, without.extra) == (without.sha256, {})
    train = from_lists(["so bad", "so far"], [0, 1])
    assert without_overlap(examples, train, options).extra["source"] == ["x", "v"]
    assert read(path, DataOptions(rows=1, extra=("year",)), training=False).extra == {"year": ["1990"]}


def test_a_further_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = given(tmp_path, "text\tlabel\tsource\nso good\t1\tx\nso bad\t0\ty\n")
    with pytest.raises(DataError, match=r"there is no extra column 'origin': choose one of 'text' .*'source'"):
        read(path, DataOptions(extra=("origin",)))
