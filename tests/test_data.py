from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstbert.data import DataOptions, Examples, from_lists, read, without_overlap
from firstbert.errors import DataError, FirstbertError, UsageError

SKIP = DataOptions(on_bad_row="skip")
GOOD = "a fine evening at the pictures\t1\nnot worth the ticket at all\t0\n"


def given(tmp_path: Path, content: str | bytes, ending: str = ".tsv") -> Path:
    path = tmp_path / f"data{ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


def found(examples: Examples) -> dict[str, tuple[int, ...]]:
    return {finding.kind: finding.lines for finding in examples.findings}


def many(*labels: str, separator: str = "\t") -> str:
    """Rows with a sentence of their own for each label."""
    return "".join(f"the evening number {i} was long{separator}{label}\n" for i, label in enumerate(labels))


# Columns and headers


@pytest.mark.parametrize(
    ("content", "options", "first", "line"),
    [
        (many("1", "0", "1", "0"), {}, "the evening number 0 was long", 1),
        (many("rare", "pos", "pos", "pos"), {}, "the evening number 0 was long", 1),
        ("text\tlabel\n" + many("1", "0"), {}, "the evening number 0 was long", 2),
        ("Sentence\tid\tLABEL\nso good\t7\t1\nso bad\t8\t0\n", {}, "so good", 2),
        ("label\tphrase\n1\tso good\n0\tso bad\n", {}, "so good", 2),
        ("phrase\tmood\nso good\t1\nso bad\t0\n", {"text": "phrase"}, "so good", 2),
        ("phrase\tmood\tid\nso good\t1\t7\nso bad\t0\t8\n", {"text": "phrase", "label": 2}, "so good", 2),
        ("a b c d\t1\tx\ne f g h\t0\ty\n", {"text": "1", "label": "2"}, "a b c d", 1),
        (
            "".join(json.dumps({"a": i // 5, "b": f"so long {i}"}) + "\n" for i in range(6)),
            {},
            "so long 0",
            1,
        ),
        ("1\tso good\n0\tso bad\n1\tso what\n0\tso long\n", {}, "so good", 1),
        (
            "how are you\tquestion\ngo away now\torder\nwho is it\tquestion\nsit\torder\n",
            {},
            "how are you",
            1,
        ),
        (
            '{"id": 7, "text": "so good", "label": 1}\n{"id": 8, "text": "so bad", "label": 0}\n',
            {},
            "so good",
            1,
        ),
    ],
)
def test_columns_are_found(
    tmp_path: Path, content: str, options: dict[str, Any], first: str, line: int
) -> None:
    examples = read(given(tmp_path, content), DataOptions(**options))
    assert (examples.texts[0], examples.lines[0]) == (first, line)
    assert len(set(examples.labels or [])) == 2


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        ("text\tlabel\na\t1\nb\t0\n", {"text": "texts"}, "no text column 'texts'.*'text' .e.g. 'a'.*'label'"),
        ("text\tlabel\na\t1\nb\t0\n", {"label": 3}, "no label column 3: give 1 to 2"),
        ("text\tlabel\na\t1\nb\t0\n", {"text": 0}, "no text column 0"),
        ("text\tlabel\na\t1\nb\t0\n", {"text": 1, "label": 1}, "both the column 'text'"),
        ("text\ttext\tlabel\na\tb\t1\nb\tc\t0\n", {"text": "text"}, "several columns are called 'text'"),
        (
            "title\tbody\tlabel\na\tb\t1\nb\tc\t0\n",
            {},
            "holds the texts. Say with --text .*'title' .e.g. 'a'",
        ),
        ("text\tid\tage\na\tb\t1\nb\tc\t0\n", {}, "holds the labels. Say with --label"),
        ("a b c d\t1\t5\nb c d e\t0\t5\n", {}, "texts and which the labels.*1 .e.g. 'a b c d'"),
        ("a b c d\t1\nb c d e\t2\nc d e f\t3\n", {}, "texts and which the labels"),
        (
            "so good\tpos\nso bad\tneg\nso so\tneg\n",
            {},
            "line 1: 'so good' and 'pos' may be a header or a row",
        ),
        ("one\ntwo\nthree\n", {}, "one column only"),
        ("text\tlabel\n", {}, "no rows below its header"),
        ("text\tlabel\textra\na\t1\nb\t0\n", {"text": "text"}, "line 1 can't be the header: 3 instead of 2"),
    ],
)
def test_doubt_about_columns_is_asked(
    tmp_path: Path, content: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises((DataError, UsageError), match=told) as error:
        read(given(tmp_path, content), DataOptions(**options))
    assert error.value.exit_code == 2
    assert "data.tsv" in str(error.value)


@pytest.mark.parametrize(
    ("content", "ending", "texts"),
    [
        ("Well, then\nno, not that\n", ".txt", ["Well, then", "no, not that"]),
        ("text\nso good\n", ".csv", ["so good"]),
        ("text\tlabel\nso good\t1\n", ".tsv", ["so good"]),
        ("phrase,label\nso good,1\n", ".csv", ["so good"]),
        ("one single line", ".txt", ["one single line"]),
        ('{"text": "so good", "other": null}', ".jsonl", ["so good"]),
    ],
)
def test_without_labels(tmp_path: Path, content: str, ending: str, texts: list[str]) -> None:
    examples = read(given(tmp_path, content, ending), labelled=False)
    assert (examples.texts, examples.labels) == (texts, None)


def test_the_first_rows_only(tmp_path: Path) -> None:
    path = given(tmp_path, "text\tlabel\n" + many("1", "0") + "odd\n" + many("1"))
    assert read(path, DataOptions(rows=2)).lines == [2, 3]
    examples = read(path, DataOptions(rows=3, on_bad_row="skip"))
    assert (examples.lines, found(examples)) == ([2, 3], {"columns": (4,)})


# Labels


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
        ([["pos"], ["neg"]], "whose label is no string"),
        ([float("inf"), 1.0], "item 0, counted from 0: float inf"),
        (["pos"], "2 texts but 1 labels"),
        ("ab", "the labels are a str"),
        ([[0, 1], None], "1 item whose label is no string.*1 item without a label"),
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
    examples = read(
        given(tmp_path, many("pos", "neg", "pos", "pos ", "Neg", "neg")), DataOptions(text=1, label=2)
    )
    told = [finding.message for finding in examples.findings]
    assert told == [
        "'pos' and 'pos ' are taken as two labels (line 4)",
        "'neg' and 'Neg' are taken as two labels (line 5)",
    ]
    assert examples.labels == ["pos", "neg", "pos", "pos ", "Neg", "neg"]


# Rows that can't be used

BAD = [
    ("\t1", "empty_text"),
    (" \u200b\ufeff\u3000\t1", "empty_text"),
    ("so odd\t", "missing_label"),
    ("so odd\t  ", "missing_label"),
    ("so\0odd\t1", "nul"),
    (b"so caf\xe9\t1", "invalid_utf8"),
    (b"so \xed\xa0\x80\t1", "invalid_utf8"),  # a surrogate written as UTF-8
    ("so odd", "columns"),
    ("so odd\t1\t1", "columns"),
    ("", "empty_text"),
    ("text\tlabel", "header"),
]
BAD_JSON = [
    ('{"text": null, "label": 1}', "text_type"),
    ('{"label": 1}', "text_type"),
    ('{"text": ["a"], "label": 1}', "text_type"),
    ('{"text": 7, "label": 1}', "text_type"),
    ('{"text": " ", "label": 1}', "empty_text"),
    ('{"text": "a", "label": null}', "missing_label"),
    ('{"text": "a"}', "missing_label"),
    ('{"text": "a", "label": NaN}', "missing_label"),
    ('{"text": "a", "label": Infinity}', "label_type"),
    ('{"text": "a", "label": 1e999}', "label_type"),
    ('{"text": "a", "label": {"b": 1}}', "label_type"),
    ('{"text": "a \\ud800", "label": 1}', "surrogate"),
    ('{"text": "a \\u0000", "label": 1}', "nul"),
    ('{"text": "a", "text": "b", "label": 1}', "json"),
    ("7", "json"),
]
GOOD_JSON = '{"text": "so good", "label": 1}\n{"text": "so bad", "label": 0}\n'


@pytest.mark.parametrize(
    ("content", "row", "kind"),
    [("text\tlabel\n" + GOOD, *bad) for bad in BAD] + [(GOOD_JSON, *bad) for bad in BAD_JSON],
)
def test_a_bad_row_is_refused_or_dropped_and_told(
    tmp_path: Path, content: str, row: str | bytes, kind: str
) -> None:
    line = row if isinstance(row, bytes) else row.encode()
    more = b'{"text": "the end", "label": 0}\n' if content == GOOD_JSON else b"the end\t0\n"
    path = given(tmp_path, content.encode() + line + b"\n" + more)
    at = content.count("\n") + 1
    with pytest.raises(DataError, match=rf"1 row .*\n  line {at}: .*\nCorrect them, or drop them") as error:
        read(path)
    assert ("iconv" in str(error.value)) == (kind == "invalid_utf8")
    examples = read(path, SKIP)
    assert found(examples) == {kind: (at,)}
    assert examples.findings[0].message.startswith("dropped 1 row ")
    assert len(examples.texts) == len(examples.labels or []) == len(examples.lines) == 3


def test_all_bad_rows_are_counted_before_refusing(tmp_path: Path) -> None:
    path = given(tmp_path, "text\tlabel\n" + GOOD + " \t1\n" * 7 + "odd\n" * 2 + "fine again after all\t1\n")
    with pytest.raises(DataError) as error:
        read(path)
    told = str(error.value).splitlines()
    assert told[0].endswith("7 rows without a text, 2 rows with another number of columns than the rest")
    assert told[1:7] == [f"  line {n}: ' '" for n in range(4, 9)] + ["  and 4 more"]
    dropped = {f.kind: f.message for f in read(path, SKIP).findings}["empty_text"]
    assert dropped == "dropped 7 rows without a text (lines 4, 5, 6, 7, 8 and 2 more)"


def test_nothing_left_is_refused_even_when_skipping(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 rows without a text"):
        read(given(tmp_path, '{"text": "", "label": 1}\n{"text": " ", "label": 0}\n'), SKIP)
    with pytest.raises(DataError, match="1 row holding no JSON object"):
        read(given(tmp_path, "{broken\n", ".jsonl"), SKIP)


def test_lines_are_right_after_fields_of_several_lines(tmp_path: Path) -> None:
    content = 'text,label\n"one\ntwo",a\n"three, four",b\n,a\nlast,b\n'
    examples = read(given(tmp_path, content, ".csv"), SKIP)
    assert examples.lines == [2, 4, 6]
    assert found(examples) == {"empty_text": (5,)}


# Repeats


def test_repeats_are_kept_skipped_or_refused() -> None:
    texts = ["so good", "so bad", "so good", "so long", "so long", "so good"]
    labels = ["pos", "neg", "pos", "pos", "neg", "pos"]
    kept = from_lists(texts, labels)
    assert kept.texts == texts
    assert found(kept) == {"duplicate": (2, 5), "two_labels": (3, 4)}
    message = {f.kind: f.message for f in kept.findings}["two_labels"]
    assert "'so long' as 'pos' (item 3, counted from 0) and 'neg' (item 4, counted from 0)" in message
    skipped = from_lists(texts, labels, options=DataOptions(on_duplicate="skip"))
    assert (skipped.texts, skipped.lines) == (["so good", "so bad"], [0, 1])
    assert found(skipped) == found(kept)
    with pytest.raises(DataError, match=r"2 items repeating .*2 items sharing.*--on-duplicate skip"):
        from_lists(texts, labels, options=DataOptions(on_duplicate="fail"))
    with pytest.raises(DataError, match="nothing is left"):
        from_lists(["a", "a"], [1, 0], options=DataOptions(on_duplicate="skip"))


def test_texts_of_train_in_test_are_kept_skipped_or_refused() -> None:
    train = from_lists(["so good", "so bad"], [1, 0], source="train")
    test = from_lists(["so bad", "so long", "so far"], [0, 1, 0], source="test")
    kept = without_overlap(test, train)
    assert kept.texts == test.texts
    assert kept.sha256 == test.sha256
    assert [f.message for f in kept.findings] == [
        "1 item whose text is also in train (item 0, counted from 0)"
    ]
    skipped = without_overlap(test, train, DataOptions(on_duplicate="skip"))
    assert (skipped.texts, skipped.labels, skipped.lines) == (["so long", "so far"], [1, 0], [1, 2])
    assert found(skipped) == {"in_train": (0,)}
    with pytest.raises(DataError, match="also in train"):
        without_overlap(test, train, DataOptions(on_duplicate="fail"))
    with pytest.raises(DataError, match="every text is also in"):
        without_overlap(train, train, DataOptions(on_duplicate="skip"))
    assert without_overlap(skipped, train) is skipped


# Lists, arrays, frames


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


# Everything


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
    alphabet = list(b'ab ,\t\n\r"{}[]:1\\u\0\xff\xc3\xa9')
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
