"""What was written is read back, and every row accounted for, whatever the texts: read whole and in parts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstbert import streams, survey
from firstbert.errors import DataError
from firstbert.labels import unusable
from made_rows import ANY, LINE, TEXT, UNUSABLE, WORD, dropped, skipping, write_csv, write_json

SOME = {"min_size": 3, "max_size": 20}


@contextmanager
def a_file(ending: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / f"data{ending}"


@contextmanager
def parts_of(size: int) -> Iterator[None]:
    """Read in parts of so many bytes and characters, and of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        for module, names in ((survey, ("_HEAD", "CHUNK")), (streams, ("CHUNK",))):
            for name in names:
                patch.setattr(module, name, size)
            patch.setattr(module, "BATCH", 3)
        yield


def in_parts(path: Path) -> tuple[list[str], list[int | None]]:
    """The texts, and the places of the rows set aside."""
    (source,), faults = survey.survey([str(path)], "text")
    assert faults == []
    found = list(streams.blocks(source))
    return [text for block in found for text in block.texts], [one.line for block in found for one in block.bad]


# ---------------------------------------------------------------- files of columns


@given(st.lists(st.tuples(LINE, WORD), **SOME), st.booleans())
def test_csv_is_read_as_it_was_written(rows: list[tuple[str, str]], always: bool) -> None:
    with a_file(".csv") as path:
        write_csv(path, rows, always=always)
        found = skipping(path)
    kept = [row for row in rows if row != ("text", "label")]
    assert list(zip(found.texts, found.labels or [], strict=True)) == kept


@given(st.lists(st.tuples(TEXT | UNUSABLE, WORD | UNUSABLE), **SOME), st.booleans())
def test_each_row_of_a_csv_file_is_read_as_it_was_written_or_told(rows: list[tuple[str, str]], always: bool) -> None:
    with a_file(".csv") as path:
        starts = write_csv(path, rows, always=always)
        try:
            found = skipping(path)
        except DataError:  # no row is left
            return
    written = dict(zip(starts, rows, strict=True))
    assert sorted([*found.lines, *dropped(found)]) == starts
    assert all(written[line][0] == text for line, text in zip(found.lines, found.texts, strict=True))
    usable = {line for line, row in written.items() if row[0].strip() and row[1].strip() and "\0" not in "".join(row)}
    assert set(found.lines) <= usable


@given(st.lists(st.tuples(LINE.filter(lambda text: not set(text) & set('"\t')), WORD), **SOME))
def test_tabs_without_quotes_are_read_as_they_were_written(rows: list[tuple[str, str]]) -> None:
    with a_file(".tsv") as path:
        write_csv(path, rows)
        found = skipping(path)
    assert list(zip(found.texts, found.labels or [], strict=True)) == [row for row in rows if row != ("text", "label")]


# ---------------------------------------------------------------- JSON and Parquet

LABELS = st.one_of(
    st.lists(kind, min_size=3, max_size=20)
    for kind in (TEXT.filter(lambda text: unusable(text) is None), st.integers(-(2**63), 2**63 - 1), st.booleans(),
                 st.floats(allow_nan=False, allow_infinity=False))
)  # fmt: skip


@given(LABELS, st.data(), st.booleans())
def test_json_is_read_as_it_was_written(labels: list[Any], data: st.DataObject, ascii_only: bool) -> None:
    texts = data.draw(st.lists(TEXT, min_size=len(labels), max_size=len(labels)))
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    with a_file(".jsonl") as path:
        write_json(path, rows, ascii_only=ascii_only)
        found = skipping(path)
    assert (found.texts, found.labels, found.lines) == (texts, labels, list(range(1, len(rows) + 1)))
    assert [type(label) for label in found.labels or []] == [type(label) for label in labels]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
)


@given(st.lists(st.fixed_dictionaries({"text": JSON_VALUES}, optional={"other": JSON_VALUES}) | JSON_VALUES, **SOME))
def test_each_line_of_json_is_read_or_told(rows: list[Any]) -> None:
    rows = [{"text": "first"}, *rows]
    with a_file(".jsonl") as path:
        write_json(path, rows)
        found = skipping(path, labelled=False)
    assert sorted([*found.lines, *dropped(found)]) == list(range(1, len(rows) + 1))
    assert [rows[line - 1]["text"] for line in found.lines] == found.texts


@given(LABELS, st.data(), st.integers(1, 9), st.sampled_from([".parquet", ".arrow", ".stream"]))
def test_columns_on_disk_are_read_as_they_were_written(
    labels: list[Any], data: st.DataObject, group: int, ending: str
) -> None:
    texts = data.draw(st.lists(TEXT | UNUSABLE | st.none(), min_size=len(labels), max_size=len(labels)))
    table = pa.table({"text": pa.array(texts, pa.string()), "label": labels})
    good = [i for i, text in enumerate(texts) if text is not None and text.strip("\u200b ") and "\0" not in text]
    with a_file(ending) as path:
        write_table(path, table, group)
        if not good:
            with pytest.raises(DataError, match=r"without a text|whose text|NUL"):
                skipping(path)
            return
        found = skipping(path)
        with parts_of(200):
            parts, aside = in_parts(path)
    assert (found.texts, found.labels, found.lines) == ([texts[i] for i in good], [labels[i] for i in good], good)
    assert dropped(found) == aside == [i for i in range(len(texts)) if i not in good]
    assert parts == found.texts


def write_table(path: Path, table: pa.Table, group: int) -> None:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=group)
        return
    with (pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=group)


# ---------------------------------------------------------------- in parts


def assert_same_in_parts(path: Path, size: int) -> None:
    found = skipping(path, labelled=False)
    with parts_of(size):
        texts, aside = in_parts(path)
    assert texts == found.texts
    assert sorted(line for line in aside if line is not None) == dropped(found)


LONG = {"min_size": 12, "max_size": 40}  # of fewer rows a file's kind isn't told by a part of them


@given(st.lists(st.tuples(TEXT | UNUSABLE, WORD), **LONG), st.integers(30, 600))
def test_csv_in_parts_gives_what_it_gives_as_a_whole(rows: Sequence[tuple[str, str]], size: int) -> None:
    with a_file(".csv") as path:
        write_csv(path, [("a first text", "good"), *rows], always=True)
        assert_same_in_parts(path, size)


@given(st.lists(st.fixed_dictionaries({"text": JSON_VALUES}) | JSON_VALUES, **LONG), st.integers(30, 600))
def test_json_in_parts_gives_what_it_gives_as_a_whole(rows: list[Any], size: int) -> None:
    with a_file(".jsonl") as path:
        write_json(path, [{"text": "a first text"}, *rows])
        assert_same_in_parts(path, size)
