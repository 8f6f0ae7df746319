from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from firstbert.errors import DataError
from firstbert.readers import read_table
from firstbert.table import Table


def table(tmp_path: Path, content: str | bytes, ending: str = ".tsv", labelled: bool = True) -> Table:
    path = tmp_path / f"data{ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, labelled=labelled)


def rows(found: Table) -> list[tuple[Any, ...]]:
    return list(zip(*(found.column(i) for i in range(found.width)), strict=True))


def kinds(found: Table) -> list[tuple[int, str]]:
    return [(row.line, row.kind) for row in found.bad]


@pytest.mark.parametrize(
    "content",
    [
        "so good\t1\nso, bad\t0\n",
        "so good\t1\rso, bad\t0\r",
        "so good;1\r\nso, bad;0\r\n",
        "\ufeffso good\t1\nso, bad\t0\n\n\r\n",
        "so good\t1\nso, bad\t0\n".encode("utf-16"),
        b"\xfe\xff" + "so good\t1\nso, bad\t0\n".encode("utf-16-be"),
    ],
)
def test_line_ends_and_marks_are_taken_off(tmp_path: Path, content: str | bytes) -> None:
    found = table(tmp_path, content)
    assert rows(found) == [("so good", "1"), ("so, bad", "0")]
    assert (found.lines, found.bad, found.names) == ([1, 2], [], None)


def test_json_lines_are_found_by_content(tmp_path: Path) -> None:
    found = table(tmp_path, '{"text": "so good", "label": 1}\n{"label": 0, "text": "so\\nbad"}\n', ".tsv")
    assert found.names == ["text", "label"]
    assert rows(found) == [("so good", 1), ("so\nbad", 0)]


def test_a_brace_alone_makes_no_json(tmp_path: Path) -> None:
    assert rows(table(tmp_path, "{so good\t1\nso bad\t0\n")) == [("{so good", "1"), ("so bad", "0")]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"text": "a", "label": 1', "json"),
        (b'["a", 1]', "json"),
        (b'{"text": "a", "text": "b"}', "json"),
        (b"[" * 100_000, "json"),
        (b'{"text": "a", "label": ' + b"9" * 5000 + b"}", "json"),
        (b'{"text": "caf\xe9"}', "invalid_utf8"),
        (b"", "empty_text"),
    ],
)
def test_broken_json_lines_are_set_aside(tmp_path: Path, line: bytes, kind: str) -> None:
    good = b'{"text": "a", "label": 1}\n'
    found = table(tmp_path, good + line + b"\n" + good, ".jsonl")
    assert kinds(found) == [(2, kind)]
    assert found.lines == [1, 3]


def test_bytes_that_are_not_utf8_are_shown_not_replaced(tmp_path: Path) -> None:
    found = table(tmp_path, b"good caf\xe9\t1\nplain caf\xc3\xa9\t0\nbad\t1\n")
    assert kinds(found) == [(1, "invalid_utf8")]
    assert r"caf\xe9" in found.bad[0].shown
    assert rows(found) == [("plain café", "0"), ("bad", "1")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (b"PK\x03\x04rest", r"zip archive \(.xlsx\?\): export it as CSV"),
        (b"\x89PNG\r\n", "PNG image"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x1f\x8b\x08", "damaged archive"),
        (bytes(range(8)) * 50 + b"\0" * 100, "binary"),
        ("good\t1".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"\xff\xfea\0b", "breaks at byte"),
        (b'[{"text": "a"}]', "one object a line"),
        (b'[\n {"text": "a"}]', "one object a line"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        table(tmp_path, content)
    assert "data.tsv" in str(error.value)


def test_paths_that_hold_nothing_are_named(tmp_path: Path) -> None:
    for path, told in (
        (tmp_path, "is a directory"),
        (tmp_path / "no.tsv", "no such file"),
        ("a\0b", "can't be read"),
    ):
        with pytest.raises(DataError, match=told):
            read_table(path, labelled=True)
    with pytest.raises(DataError, match="from_lists"):
        read_table(["a", "b"], labelled=True)


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(b"so good\t1\nso bad\t0\n"))

    monkeypatch.setattr("sys.stdin", Stdin)
    found = read_table("-", labelled=True)
    assert (found.source, rows(found)) == ("stdin", [("so good", "1"), ("so bad", "0")])


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_arrow_files(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    given = pa.table({"text": ["so good", None], "label": [True, False]})
    path = tmp_path / "data.csv"  # the ending lies
    if kind == "parquet":
        pq.write_table(given, path)
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(str(path), given.schema) as writer:
            writer.write_table(given)
    found = read_table(path, labelled=True)
    assert (found.names, found.place, found.lines) == (["text", "label"], "row", [0, 1])
    assert rows(found) == [("so good", True), (None, False)]
    path.write_bytes(path.read_bytes()[:-20])
    if kind != "stream":
        with pytest.raises(DataError, match="is damaged"):
            read_table(path, labelled=True)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(Exception, match=r"firstbert\[parquet\]"):
        table(tmp_path, b"PAR1....PAR1")


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames(library: str) -> None:
    given = {"text": ["so good", "so bad"], "label": ["pos", "neg"]}
    module = pytest.importorskip(library)
    found = read_table(module.table(given) if library == "pyarrow" else module.DataFrame(given), labelled=True)
    assert found.names == ["text", "label"]
    assert rows(found) == [("so good", "pos"), ("so bad", "neg")]
    assert (found.lines, found.place) == ([0, 1], "row")
    assert found.source.startswith(library)


def test_a_lazy_frame_is_collected() -> None:
    polars = pytest.importorskip("polars")
    assert rows(read_table(polars.LazyFrame({"text": ["a"], "y": [1]}), labelled=True)) == [("a", 1)]


def test_columns_of_json_are_made_only_when_asked_for(tmp_path: Path) -> None:
    wild = "".join(json.dumps({"text": "a", f"key {i}": i}) + "\n" for i in range(3000))
    found = table(tmp_path, wild, ".jsonl")
    assert found.width == 3001
    assert found.column(0) == ["a"] * 3000
