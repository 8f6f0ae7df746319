"""Files, standard input and frames → a Table of raw columns, as columns.py takes it.

After delimited.py on the way of a sentence. What is read here is not judged: only rows that have no columns to
speak of (a wrong number of them, broken JSON, bytes that aren't UTF-8) are set aside, each with its line and kind.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from firstbert.delimited import read_delimited
from firstbert.errors import DataError, missing_extra
from firstbert.table import BadRow, Table, excerpt, undecoded

_MAGIC = (
    (b"PK\x03\x04", "a zip archive (.xlsx?)", "export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls?)", "export it as CSV"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first"),
    (b"\x89PNG", "a PNG image", "give a file of texts"),
    (b"\xff\xd8\xff", "a JPEG image", "give a file of texts"),
    (b"GIF8", "a GIF image", "give a file of texts"),
    (b"%PDF-", "a PDF", "give a file of texts"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    *((bytes([0x80, n]), "a Python pickle", "save the table as CSV or Parquet") for n in (2, 3, 4, 5)),
)  # fmt: skip
_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


def read_table(source: object, *, labelled: bool) -> Table:
    """Read a file, stdin or a frame.

    Args:
        source: a path, ``"-"`` for stdin, or a pandas, polars or Arrow frame.
        labelled: whether labels are needed; without them a file may hold one text a line.

    Raises:
        DataError: it can't be read, is empty, or is of no format known here.
        UsageError: pyarrow is needed and not installed.
    """
    if not isinstance(source, str | os.PathLike):
        return _frame(source)
    name, data = _load(source)
    if data.startswith((_PARQUET, _ARROW_FILE, _ARROW_STREAM)):
        return _arrow(name, data)
    _refuse_binary(name, data)
    text = _decode(name, data).rstrip("\r\n")
    if not text:
        raise DataError(f"{name}: is empty: a file of texts is needed")
    lines = list(io.StringIO(text, newline=""))  # ends lines at \n, \r\n and \r only, and keeps the ends
    ending = Path(source).suffix.lower()
    if _is_json(name, lines, ending):
        return _json_lines(name, lines)
    return read_delimited(name, lines, ending, labelled=labelled)


def _load(source: str | os.PathLike[str]) -> tuple[str, bytes]:
    if source == "-":
        return "stdin", sys.stdin.buffer.read()
    name, path = os.fspath(source), Path(source)
    try:
        if path.is_dir():
            raise DataError(f"{name}: is a directory: give a file inside it")
        return name, path.read_bytes()
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name}: there is no such file: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name}: can't be read ({reason}): check the path and its permissions") from None


def _refuse_binary(name: str, data: bytes) -> None:
    for magic, what, remedy in _MAGIC:
        if data.startswith(magic):
            raise DataError(f"{name}: looks like {what}: {remedy}")
    head = data[:8192]
    if not head.startswith(_UTF16) and head.count(0) * 10 > len(head):
        raise DataError(f"{name}: looks like a binary file, or UTF-16 without its mark: save it as UTF-8")


def _decode(name: str, data: bytes) -> str:
    if not data.startswith(_UTF16):
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-16")
    except UnicodeDecodeError as error:
        at = error.start
        raise DataError(f"{name}: begins as UTF-16 but breaks at byte {at}: save it as UTF-8") from None


# JSON lines


def _is_json(name: str, lines: list[str], ending: str) -> bool:
    if re.match(r"\s*\[\s*\{", "".join(lines[:3])):
        raise DataError(f"{name}: looks like one JSON array: write one object a line (jq -c '.[]' FILE)")
    likely = [line for line in lines[:5] if line.lstrip().startswith("{")]
    parses = (isinstance(_object(line), dict) for line in likely)
    return bool(likely) and (ending in _JSON_ENDINGS or any(parses))


def _json_lines(name: str, lines: list[str]) -> Table:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    for n, line in enumerate(lines, 1):
        row = _json_row(n, line)
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            rows.append(row)
            numbers.append(n)
    names = list(dict.fromkeys(key for row in rows for key in row))

    def column(i: int) -> list[Any]:
        return [row.get(names[i]) for row in rows]

    return Table(name, "line", numbers, names, len(names), column, bad, as_text=False)


def _json_row(n: int, line: str) -> dict[str, Any] | BadRow:
    if not line.rstrip("\r\n"):
        return BadRow(n, "empty_text", "a blank line")
    if shown := undecoded(line):
        return BadRow(n, "invalid_utf8", shown)
    found = _object(line)
    return found if isinstance(found, dict) else BadRow(n, "json", f"{found}: {excerpt(line)}")


def _object(line: str) -> dict[str, Any] | str:
    """Return the line's object, or what is wrong with it."""
    try:
        value = _JSON.decode(line.strip(" \t\r\n"))
    except RecursionError:
        return "nested too deep"
    except ValueError as error:  # also an integer of over 4,300 digits
        return str(error)
    return value if isinstance(value, dict) else f"a {type(value).__name__}, not an object"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_unique)


# Frames and columns on disk


def _arrow(name: str, data: bytes) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("Reading Parquet", "parquet") from None
    buffer = pa.BufferReader(data)
    try:
        if data.startswith(_PARQUET):
            table = pq.ParquetFile(buffer).read()
        elif data.startswith(_ARROW_FILE):
            table = pa.ipc.open_file(buffer).read_all()
        else:
            table = pa.ipc.open_stream(buffer).read_all()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name}: begins as Parquet or Arrow but is damaged ({error}): write it anew") from None
    return _columns(name, table.column_names, table.num_rows, lambda i: table.column(i).to_pylist())


def _frame(frame: Any) -> Table:
    """Recognise a frame by what it can do, so that no frame library is ever imported."""
    name = f"{type(frame).__module__.partition('.')[0]} {type(frame).__name__}"
    if hasattr(frame, "collect_schema") and hasattr(frame, "collect"):  # polars, lazy
        frame = frame.collect()
    if hasattr(frame, "column_names") and hasattr(frame, "num_rows"):  # Arrow
        return _columns(name, frame.column_names, frame.num_rows, lambda i: frame.column(i).to_pylist())
    if hasattr(frame, "columns") and hasattr(frame, "iloc"):  # pandas
        return _columns(name, frame.columns, len(frame), lambda i: frame.iloc[:, i].tolist())
    if hasattr(frame, "columns") and hasattr(frame, "to_series"):  # polars
        return _columns(name, frame.columns, len(frame), lambda i: frame.to_series(i).to_list())
    raise DataError(
        f"{name}: is no source of texts: give a path, '-', or a pandas, polars or Arrow frame; "
        "lists and single columns go to from_lists(texts, labels)"
    )


def _columns(name: str, names: Iterable[object], n: int, column: Callable[[int], list[Any]]) -> Table:
    shown = [str(one) for one in names]

    def values(i: int) -> list[Any]:
        try:
            return column(i)
        except UnicodeDecodeError:
            raise DataError(f"{name}: column {shown[i]!r} isn't UTF-8: write it anew") from None

    return Table(name, "row", list(range(n)), shown, len(shown), values, [], as_text=False)
