from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firstbert.data import DataOptions, read
from firstbert.errors import DataError, UsageError
from written import given, many


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
def test_columns_are_found(tmp_path: Path, content: str, options: dict[str, Any], first: str, line: int) -> None:
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
def test_doubt_about_columns_is_asked(tmp_path: Path, content: str, options: dict[str, Any], told: str) -> None:
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
