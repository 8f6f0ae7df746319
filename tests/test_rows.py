from __future__ import annotations

from pathlib import Path

import pytest

from firstbert.data import DataOptions, read
from firstbert.errors import DataError
from written import found, given

SKIP = DataOptions(on_bad_row="skip")

GOOD = "a fine evening at the pictures\t1\nnot worth the ticket at all\t0\n"

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
def test_a_bad_row_is_refused_or_dropped_and_told(tmp_path: Path, content: str, row: str | bytes, kind: str) -> None:
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
