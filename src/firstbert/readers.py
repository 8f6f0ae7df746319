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
from collections.abc import Callable, Iterable
from typing import Any

from firstbert.delimited import read_delimited
from firstbert.errors import DataError, missing_extra
from firstbert.opening import UNPACKING_ERRORS, ending, opened, unpacked
from firstbert.strict import reason
from firstbert.table import BadRow, Table, excerpt, undecoded

_MAGIC = (
    (b"PK\x03\x04", "a zip archive (.xlsx?)", "export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls?)", "export it as CSV"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"\x89PNG", "a PNG image", "give a file of texts"),
    (b"\xff\xd8\xff", "a JPEG image", "give a file of texts"),
    (b"GIF8", "a GIF image", "give a file of texts"),
    (b"%PDF-", "a PDF", "give a file of texts"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    *((bytes([0x80, n]), "a Python pickle", "save the table as CSV or Parquet") for n in (2, 3, 4, 5)),
)  # fmt: skip
PARQUET, ARROW_FILE, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MOST_ROWS = 100_000_000  # read whole, as Python's own objects; a file of some bytes can say that it has more
# What values raise that Python's types can't hold: text that is no UTF-8, the year 10,000, a time zone nobody knows.
UNREADABLE = (ValueError, OverflowError, KeyError)
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
    if data.startswith((PARQUET, ARROW_FILE, ARROW_STREAM)):
        return _arrow(name, data)
    lines, end = lines_of(name, data), ending(name)
    if is_json(name, lines, end):
        return json_lines(name, lines)
    return read_delimited(name, lines, end, labelled=labelled)


def _load(source: str | os.PathLike[str]) -> tuple[str, bytes]:
    path = os.fspath(source)
    name = "stdin" if path == "-" else path
    with opened(path) as raw:
        try:
            return name, unpacked(raw, name).read()
        except UNPACKING_ERRORS as error:
            raise DataError(f"{name}: is a damaged archive, or its end is missing ({error}): get it anew") from None


def lines_of(name: str, data: bytes) -> list[str]:
    """Return the lines of a text file with their ends; bytes that aren't UTF-8 as surrogates.

    Raises:
        DataError: it is empty, or no text file.
    """
    _refuse_binary(name, data)
    text = _decode(name, data).rstrip("\r\n")
    if not text:
        raise DataError(f"{name}: is empty: a file of texts is needed")
    return list(io.StringIO(text, newline=""))  # ends lines at \n, \r\n and \r only, and keeps the ends


def _refuse_binary(name: str, data: bytes) -> None:
    for magic, what, remedy in _MAGIC:
        if data.startswith(magic):
            raise DataError(f"{name}: looks like {what}: {remedy}")
    head = data[:8192]
    if not head.startswith(UTF16) and head.count(0) * 10 > len(head):
        raise DataError(f"{name}: looks like a binary file, or UTF-16 without its mark: save it as UTF-8")


def _decode(name: str, data: bytes) -> str:
    if not data.startswith(UTF16):
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-16")
    except UnicodeDecodeError as error:
        at = error.start
        raise DataError(f"{name}: begins as UTF-16 but breaks at byte {at}: save it as UTF-8") from None


# JSON lines


def is_json(name: str, lines: list[str], ending: str) -> bool:
    """Say whether these lines, a file's first, hold JSON objects.

    Raises:
        DataError: they hold one JSON array.
    """
    if re.match(r"\s*\[\s*\{", "".join(lines[:3])):
        raise DataError(f"{name}: looks like one JSON array: write one object a line (jq -c '.[]' FILE)")
    likely = [line for line in lines[:5] if line.lstrip().startswith("{")]
    parses = (isinstance(_object(line), dict) for line in likely)
    return bool(likely) and (ending in _JSON_ENDINGS or any(parses))


def json_lines(name: str, lines: list[str]) -> Table:
    """Return lines of JSON objects as a table; what holds none is set aside."""
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    for n, line in enumerate(lines, 1):
        row = json_row(n, line)
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            rows.append(row)
            numbers.append(n)
    names = list(dict.fromkeys(key for row in rows for key in row))

    def column(i: int) -> list[Any]:
        return [row.get(names[i]) for row in rows]

    return Table(name, "line", numbers, names, len(names), column, bad, as_text=False)


def json_row(n: int, line: str) -> dict[str, Any] | BadRow:
    """Return the object on line `n`, or what is wrong with it."""
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
        if data.startswith(PARQUET):
            table = pq.ParquetFile(buffer).read()
        elif data.startswith(ARROW_FILE):
            table = sound(pa.ipc.open_file(buffer).read_all())
        else:
            table = sound(pa.ipc.open_stream(buffer).read_all())
        names = table.column_names
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:  # memory: for a size it says it has
        raise DataError(f"{name}: begins as Parquet or Arrow but is damaged ({reason(error)}): write it anew") from None
    return _columns(name, names, table.num_rows, lambda i: table.column(i).to_pylist())


def sound(batch: Any) -> Any:
    """Return what Arrow read, if all of it points into the file: Arrow takes that on trust, and would read elsewhere.

    Strings may be no UTF-8 all the same.

    Raises:
        ArrowInvalid: it doesn't.
    """
    import pyarrow as pa

    as_bytes = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    try:
        columns = batch.columns
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(f"the name of a column: {error}") from None
    for column in columns:
        (column.cast(as_bytes[column.type]) if column.type in as_bytes else column).validate(full=True)
    return batch


def unreadable(name: str, column: str, error: Exception) -> DataError:
    """Return what is said of a column whose values can't be read."""
    return DataError(f"{name}: column {excerpt(column)} holds what can't be read ({reason(error)}): write it anew")


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
    if n > _MOST_ROWS or (n and not shown):
        raise DataError(
            f"{name}: has {n:,} rows in {len(shown)} columns: give up to {_MOST_ROWS:,} rows with a text each"
        )

    def values(i: int) -> list[Any]:
        try:
            return column(i)
        except UNREADABLE as error:
            raise unreadable(name, shown[i], error) from None

    return Table(name, "row", list(range(n)), shown, len(shown), values, [], as_text=False)
