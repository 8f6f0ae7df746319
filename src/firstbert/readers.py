"""Files, streams and frames → a Table of raw columns, as data.py takes it.

What is read here is not judged: only rows that have no columns to speak of (a wrong number of them, broken
JSON, bytes that aren't UTF-8) are set aside, each with its line and kind.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from firstbert.errors import DataError, missing_extra

TEXT_NAMES = frozenset(
    (
        "text",
        "sentence",
        "review",
        "comment",
        "content",
        "message",
        "title",
        "utterance",
        "query",
        "question",
        "body",
    )
)

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
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
_UNDECODED = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that isn't UTF-8
_WRAPPED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')


class BadRow(NamedTuple):
    """A row that can't be used: where it is, of what kind its fault is, and what to show of it."""

    line: int
    kind: str
    shown: str


@dataclass(frozen=True)
class Table:
    """Columns as they were found.

    Attributes:
        source: what messages call it.
        place: what ``lines`` counts: ``"line"``, of a text file and from 1, or ``"row"``, from 0.
        lines: where each row begins.
        names: the columns' names; None where the first row may be a header.
        width: the number of columns.
        column: gives the values of the column with this index; only what is used is ever made.
        bad: rows set aside.
        as_text: whether values are strings only because the file holds nothing else.
    """

    source: str
    place: str
    lines: list[int]
    names: list[str] | None
    width: int
    column: Callable[[int], list[Any]]
    bad: list[BadRow]
    as_text: bool


def excerpt(value: object) -> str:
    """Return at most 60 characters of a value's repr."""
    shown = repr(value[:60] if isinstance(value, str) else value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


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
    return _delimited(name, text, lines, ending, labelled)


def _load(source: str | os.PathLike[str]) -> tuple[str, bytes]:
    if source == "-":
        return "stdin", sys.stdin.buffer.read()
    name, path = os.fspath(source), Path(source)
    try:
        if path.is_dir():
            raise DataError(f"{name}: is a directory: give a file inside it")
        return name, path.read_bytes()
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
    if not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and head.count(0) * 10 > len(head):
        raise DataError(f"{name}: looks like a binary file, or UTF-16 without its mark: save it as UTF-8")


def _decode(name: str, data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            at = error.start
            raise DataError(f"{name}: begins as UTF-16 but breaks at byte {at}: save it as UTF-8") from None
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


# JSON lines


def _is_json(name: str, lines: list[str], ending: str) -> bool:
    if re.match(r"\s*\[\s*\{", "".join(lines[:3])):
        raise DataError(f"{name}: looks like one JSON array: write one object a line (jq -c '.[]' FILE)")
    likely = [line for line in lines[:5] if line.lstrip().startswith("{")]
    parses = (isinstance(_object(line), dict) for line in likely)
    return bool(likely) and (ending in _JSON_ENDINGS or any(parses))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_unique)


def _object(line: str) -> dict[str, Any] | str:
    """Return the line's object, or what is wrong with it."""
    try:
        value = _JSON.decode(line.strip(" \t\r\n"))
    except RecursionError:
        return "nested too deep"
    except ValueError as error:  # also an integer of over 4,300 digits
        return str(error)
    return value if isinstance(value, dict) else f"a {type(value).__name__}, not an object"


def _json_lines(name: str, lines: list[str]) -> Table:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    keys: dict[str, None] = {}
    for n, line in enumerate(lines, 1):
        fault = _line_fault(n, line)
        found = _object(line) if fault is None else {}
        if isinstance(found, str):
            fault = BadRow(n, "json", f"{found}: {excerpt(line)}")
        if fault is not None or isinstance(found, str):
            bad += [fault] if fault else []
            continue
        rows.append(found)
        numbers.append(n)
        keys.update(dict.fromkeys(found))
    names = list(keys)

    def column(i: int) -> list[Any]:
        return [row.get(names[i]) for row in rows]

    return Table(name, "line", numbers, names, len(names), column, bad, as_text=False)


def _line_fault(n: int, line: str) -> BadRow | None:
    if not line.rstrip("\r\n"):
        return BadRow(n, "empty_text", "a blank line")
    if not line.isascii() and _UNDECODED.search(line):
        return BadRow(n, "invalid_utf8", _bytes_shown(line))
    return None


def _bytes_shown(line: str) -> str:
    at = _UNDECODED.search(line)
    start = max(0, at.start() - 15) if at else 0
    return excerpt(line[start : start + 30].encode("utf-8", "surrogateescape"))


# Tabs and commas

_Record = tuple[int, int, list[str] | None]  # its first and last line, its fields; None: a quote isn't closed


@dataclass(frozen=True)
class _Reading:
    """A file read with one separator and one way of quoting."""

    rows: list[list[str]]
    lines: list[int]
    bad: list[BadRow]
    width: int
    clean: bool  # no row has a wrong number of columns or a stray quote


def _delimited(name: str, text: str, lines: list[str], ending: str, labelled: bool) -> Table:
    reading = _best(text, lines, ending, labelled)
    if not text.isascii() and _UNDECODED.search(text):
        reading = _without_undecoded(reading)

    def column(i: int) -> list[Any]:
        return [row[i] for row in reading.rows]

    return Table(name, "line", reading.lines, None, reading.width, column, reading.bad, as_text=True)


def _best(text: str, lines: list[str], ending: str, labelled: bool) -> _Reading:
    """Read with the separator that fits; without labels a file may be lines of prose, commas and all."""
    separators = [",", "\t"] if ending == ".csv" else ["\t", ","]
    header = lines[0].strip("\r\n").casefold().replace('"', "").split(",")
    if not labelled and ending != ".csv" and TEXT_NAMES.isdisjoint(header):
        separators = ["\t"]
    tried: list[_Reading] = []
    for separator in separators:
        tried.append(_read(text, lines, separator))
        if tried[-1].width > 1 and tried[-1].clean:
            return tried[-1]
    wide = [reading for reading in tried if reading.width > 1]
    if wide:
        return min(wide, key=lambda reading: len(reading.bad))
    return tried[0] if ending in (".csv", ".tsv") else _plain(lines, "\n")


def _read(text: str, lines: list[str], separator: str) -> _Reading:
    """Read with quoting where the file shows that it means it: commas bring it, tabs need evidence."""
    if '"' not in text:
        return _plain(lines, separator)
    quoted = _gather(list(_quoted(text, lines, separator)), lines, separator)
    if separator == ",":
        return quoted
    plain = _plain(lines, separator)
    return quoted if quoted.clean and (not plain.clean or _quotes_meant(plain.rows)) else plain


def _plain(lines: list[str], separator: str) -> _Reading:
    rows = [line.rstrip("\r\n").split(separator) for line in lines]
    numbers = range(1, len(rows) + 1)
    return _gather(list(zip(numbers, numbers, rows, strict=True)), lines, separator)


def _quotes_meant(rows: list[list[str]]) -> bool:
    """Whether all quotes wrap fields, and it shows: some are doubled inside, or every field is wrapped."""
    quoting = [field for row in rows for field in row if '"' in field]
    if not all(map(_WRAPPED.fullmatch, quoting)):
        return False
    return any('""' in field[1:-1] for field in quoting) or len(quoting) == sum(map(len, rows))


def _quoted(text: str, lines: list[str], separator: str) -> Iterator[_Record]:
    """Yield records by RFC 4180; a quote that isn't closed costs its own line, not the rest of the file."""
    field = re.compile(
        rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"{separator}\r\n][^{separator}\r\n]*+|))({separator}|\r\n|\r|\n|\Z)'
    )
    at = position = 0
    while at < len(lines):
        first, line = at, lines[at]
        end = position + len(line)
        fields: list[str] | None
        if '"' in line:
            fields, end = _fields(field, text, position, separator) or (None, end)
        else:
            fields = line.rstrip("\r\n").split(separator)
        while position < end:
            position += len(lines[at])
            at += 1
        yield first + 1, at, fields


def _fields(field: re.Pattern[str], text: str, at: int, separator: str) -> tuple[list[str], int] | None:
    """Return the fields of the record that begins at ``at``, and where it ends."""
    fields = []
    while match := field.match(text, at):
        wrapped, bare, stop = match.groups()
        fields.append(bare if wrapped is None else wrapped.replace('""', '"'))
        at = match.end()
        if stop != separator:
            return fields, at
    return None


def _gather(records: list[_Record], lines: list[str], separator: str) -> _Reading:
    """Keep the records of the commonest width; set the others aside."""
    blank = [""]
    widths = Counter(len(fields) for _, _, fields in records if fields and fields != blank)
    width = widths.most_common(1)[0][0] if widths else 1
    swallowing = _swallowing(records, lines, separator, width)
    rows: list[list[str]] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    for first, last, fields in records:
        if fields and len(fields) == width and first not in swallowing:
            rows.append(fields)
            numbers.append(first)
        else:
            bad.append(_fault(first, last, fields, lines[first - 1].rstrip("\r\n"), width))
    clean = not any(row.kind in ("columns", "quote") for row in bad)
    return _Reading(rows, numbers, bad, width, clean)


def _fault(first: int, last: int, fields: list[str] | None, line: str, width: int) -> BadRow:
    if not line:
        return BadRow(first, "empty_text", "a blank line")
    if fields is None:
        return BadRow(first, "quote", f"a quote isn't closed: {excerpt(line)}")
    if len(fields) == width:
        return BadRow(first, "quote", f"a quote swallows the rows up to line {last}: {excerpt(line)}")
    return BadRow(first, "columns", f"{len(fields)} instead of {width}: {excerpt(line)}")


def _swallowing(records: list[_Record], lines: list[str], separator: str, width: int) -> set[int]:
    """Return where records begin that span lines which look like rows: two stray quotes, not one field.

    A line looks like a row if it has all columns, and in one of them a value that one-line rows have there.
    Of a field that truly spans lines, at most the first or the last line does.
    """
    long = [(first, last) for first, last, fields in records if fields and last > first]
    if not long:
        return set()
    rows = [fields for first, last, fields in records if fields and first == last and len(fields) == width]
    known = [set(column) - {""} for column in zip(*rows, strict=True)]

    def is_row(line: str) -> bool:
        fields = line.rstrip("\r\n").split(separator)
        return len(fields) == width and any(f in values for f, values in zip(fields, known, strict=False))

    return {first for first, last in long if width > 1 and sum(map(is_row, lines[first - 1 : last])) > 1}


def _without_undecoded(reading: _Reading) -> _Reading:
    """Set rows aside that hold bytes which aren't UTF-8."""
    broken = {i: field for i, row in enumerate(reading.rows) for field in row if _UNDECODED.search(field)}
    bad = [BadRow(reading.lines[i], "invalid_utf8", _bytes_shown(field)) for i, field in broken.items()]
    kept = [i for i in range(len(reading.rows)) if i not in broken]
    rows, numbers = [reading.rows[i] for i in kept], [reading.lines[i] for i in kept]
    return replace(reading, rows=rows, lines=numbers, bad=reading.bad + bad)


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
        raise DataError(
            f"{name}: begins as Parquet or Arrow but is damaged ({error}): write it anew"
        ) from None
    return _columns(name, table.column_names, table.num_rows, lambda i: table.column(i).to_pylist())


def _columns(name: str, names: Iterable[object], n: int, column: Callable[[int], list[Any]]) -> Table:
    shown = [str(one) for one in names]

    def values(i: int) -> list[Any]:
        try:
            return column(i)
        except UnicodeDecodeError:
            raise DataError(f"{name}: column {shown[i]!r} isn't UTF-8: write it anew") from None

    return Table(name, "row", list(range(n)), shown, len(shown), values, [], as_text=False)


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
