"""Files of any size → what they are: format, columns, number of rows, hash.

After data.py on the way of a sentence, with its rules: a file's beginning tells its format, its header and its column
of texts, as the whole tells `data.read`. Each file is read through once; streams.py then reads its rows.
"""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from firstbert.columns import choose_columns, with_header
from firstbert.delimited import Dialect, dialect_of, open_from, quotes_meant, read_delimited
from firstbert.errors import DataError, missing_extra
from firstbert.opening import UNPACKING_ERRORS, ending, is_address, open_raw, state_of, unpacked
from firstbert.progress import progress
from firstbert.readers import (
    ARROW_FILE,
    ARROW_STREAM,
    PARQUET,
    UNREADABLE,
    UTF16,
    is_json,
    json_lines,
    json_row,
    lines_of,
    sound,
    unreadable,
)  # fmt: skip
from firstbert.strict import reason
from firstbert.table import Table, excerpt

Kind: TypeAlias = Literal["delimited", "json", "parquet", "arrow", "arrow stream"]
Row: TypeAlias = dict[str, Any]

_HEAD = 1 << 20  # bytes from which a text file's format is told
_FEW = 8  # rows, from fewer of which a format is not told
CHUNK = 1 << 20  # characters of a text file read at a time
LONGEST = 1 << 26  # characters of a line; what is longer is no line of a data file
BATCH = 2048  # rows of a Parquet file read at a time, fewer where they are long


@dataclass(frozen=True)
class Source:
    """A file, looked through once.

    Attributes:
        name: as it was given.
        kind: its format.
        names: its columns.
        text: which of them holds the texts.
        dialect: how a delimited file parts its columns.
        header: whether its first row names them.
        types: of a column, what JSON's values are called that stand in it: ``{"score": {"int", "float"}}``.
        schema: an Arrow schema, of Parquet and Arrow files.
        rows: about how many there are.
        size: bytes.
        changed_ns: when it was last changed.
        sha256: of its bytes; None of what lies in an object store, which is not read twice.
    """

    name: str
    kind: Kind
    names: tuple[str, ...]
    text: str
    dialect: Dialect | None = None
    header: bool = False
    types: dict[str, frozenset[str]] | None = None
    schema: Any = None
    rows: int = 0
    size: int = 0
    changed_ns: int = 0
    sha256: str | None = None


def survey(files: Sequence[str], text: str | int | None = None) -> tuple[list[Source], list[DataError]]:
    """Look through files once: what they are, what columns they have, how many rows, and their hash.

    Args:
        files: paths and addresses.
        text: the column of texts, by name or position; None: guessed where there is no doubt.

    Returns:
        The files that can be read, and what is wrong with each of the others.
    """
    sources, faults = [], []
    states = []
    for name in files:
        try:
            states.append((name, *state_of(name)))
        except DataError as error:
            faults.append(error)
    with progress("Looking through the input", sum(size for _, size, _ in states), "bytes") as advance:
        for name, size, changed_ns in states:
            try:
                sources.append(replace(_look(name, text), size=size, changed_ns=changed_ns))
            except DataError as error:
                faults.append(error)
            advance(size)
    return sources, faults


def agree(sources: Sequence[Source]) -> list[DataError]:
    """Say which files lack columns that the first has, or have others; JSON's rows may each have their own."""
    named = [source for source in sources if source.kind != "json"]
    faults = []
    for source in named[1:]:
        first = named[0]
        missing = [name for name in first.names if name not in source.names]
        more = [name for name in source.names if name not in first.names]
        if missing or more:
            told = f"has no column {missing[0]!r}, which" if missing else f"has a column {more[0]!r}, which"
            lacks = "has" if missing else "lacks"
            faults.append(
                DataError(
                    f"{source.name}: {told} {first.name} {lacks}: give files with the same columns, "
                    "or label them one by one"
                )
            )
    return faults


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self.sha256 = raw, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n = cast(Any, self._raw).readinto(buffer)
        self.sha256.update(memoryview(buffer)[:n])
        return int(n)


def _look(name: str, text: str | int | None) -> Source:
    with open_raw(name) as raw:
        hashed = _Hashed(raw)
        buffered = io.BufferedReader(hashed, CHUNK)
        try:
            file = unpacked(cast(BinaryIO, buffered), name)
            source = _look_into(name, text, file, packed=file is not buffered)
            while hashed.read(CHUNK):  # what an archive's end, or a Parquet file's rest, has left
                pass
        except UNPACKING_ERRORS as error:
            raise DataError(f"{name}: is damaged, or its end is missing ({error}): get it anew") from None
    return replace(source, sha256=None if is_address(name) else hashed.sha256.hexdigest())


def _look_into(name: str, text: str | int | None, file: BinaryIO, *, packed: bool) -> Source:
    head = file.read(_HEAD)
    while len(head) < LONGEST and _too_short(head) and (more := file.read(len(head))):
        head += more
    for magic, kind in ((PARQUET, "parquet"), (ARROW_FILE, "arrow"), (ARROW_STREAM, "arrow stream")):
        if head.startswith(magic):
            if packed:
                raise DataError(f"{name}: is Parquet or Arrow, packed once more: unpack it")
            return _arrow_source(name, cast(Kind, kind), text)
    rest = file.read(CHUNK)
    whole = head if not rest else _whole_lines(head)
    lines = lines_of(name, whole)
    if is_json(name, lines, ending(name)):
        return _json_source(name, text, lines, _all_lines(file, head + rest))
    cut = bool(rest)
    dialect = dialect_of(lines, ending(name), labelled=False, cut=cut)
    found = read_delimited(name, lines, ending(name), labelled=False, cut=cut)
    table = with_header(found, text, None)
    names = _unique_names(table.names, table.width, at := choose_columns(table, text, None, labelled=False)[0])
    rows, chunk, seen = head.count(b"\n"), rest, b'"' in head or head.startswith(UTF16)
    while chunk:
        if dialect.separator == "\t" and not seen and b'"' in chunk:
            seen = True  # the head had no quote to tell by
            chunk += file.readline(CHUNK)
            later = _whole_lines(chunk[chunk.find(b"\n") + 1 :]).decode("utf-8", "surrogateescape")
            dialect = quotes_meant(list(io.StringIO(later, newline="")), dialect)
        rows += chunk.count(b"\n")
        chunk = file.read(CHUNK)
    return Source(name, "delimited", names, names[at], dialect, table.names is not None, rows=rows)


def _too_short(head: bytes) -> bool:
    """Whether a text file's head shows too few rows: its first are long."""
    if head.startswith((PARQUET, ARROW_FILE, ARROW_STREAM)):
        return False
    if head.count(b"\n") < _FEW:
        return True
    if len(head) >= 8 * _HEAD or head.startswith(UTF16):
        return False
    begun = open_from(list(io.StringIO(head.decode("utf-8", "surrogateescape"), newline="")))
    return begun is not None and begun < _FEW


def _whole_lines(data: bytes) -> bytes:
    """Bytes up to the last line's end."""
    if data.startswith(UTF16):
        mark, order = data[:2], "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
        text = data[2:].decode(order, "ignore")
        return mark + (text[: text.rfind("\n") + 1] or text).encode(order)
    return data[: data.rfind(b"\n") + 1] or data[: data.rfind(b"\r") + 1] or data


def _unique_names(names: list[str] | None, width: int, text: int) -> tuple[str, ...]:
    """Names for all columns: a second of the same name, and one without, is called by its position."""
    if names is None:
        return tuple("text" if i == text else f"column_{i + 1}" for i in range(width))
    unique: list[str] = []
    for i, name in enumerate(names):
        called = name if name and name not in unique else f"{name}_{i + 1}".removeprefix("_")
        while called in unique or (called != name and called in names):  # `a, a, a_2`
            called += "_"
        unique.append(called)
    return tuple(unique)


class _Rest(io.RawIOBase):
    """A file whose first bytes were read already, from its beginning."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head, self._file = io.BytesIO(head), file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head.read(len(buffer)) or self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def decoded(file: BinaryIO) -> io.TextIOWrapper:
    """A text file's characters; bytes that aren't UTF-8 as surrogates."""
    if cast(io.BufferedReader, file).peek(2)[:2] in UTF16:
        return io.TextIOWrapper(cast(Any, file), "utf-16", newline="")
    return io.TextIOWrapper(cast(Any, file), "utf-8-sig", "surrogateescape", newline="")


def _all_lines(file: BinaryIO, head: bytes) -> Iterator[str]:
    """The lines of a file whose first bytes were read already, up to one that is none."""
    text = decoded(cast(BinaryIO, io.BufferedReader(_Rest(head, file), CHUNK)))
    while (line := text.readline(LONGEST)) and len(line) < LONGEST:
        yield line


def _json_source(name: str, text: str | int | None, head: list[str], lines: Iterator[str]) -> Source:
    """JSON's columns are known once every row has been seen."""
    types: dict[str, set[str]] = {}
    rows = 0
    for n, line in enumerate(lines, 1):
        row = json_row(n, line)
        rows += bool(line.rstrip("\r\n"))
        if isinstance(row, dict):
            for key, value in row.items():
                kinds = types.setdefault(key, set())
                kinds.add(_type_of(value))
    if isinstance(text, str) and text in types:
        column = text
    else:
        table = json_lines(name, head)
        column = (table.names or [])[choose_columns(table, text, None, labelled=False)[0]]
    found = {key: frozenset(kinds) for key, kinds in types.items()}
    return Source(name, "json", tuple(types), column, types=found, rows=rows)


def _type_of(value: object) -> str:
    """What JSON's value is called; a number that no 64-bit one holds exactly is `big`."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return "long" if abs(value) < 2**63 else "big"
    return type(value).__name__


def _arrow_source(name: str, kind: Kind, text: str | int | None) -> Source:
    with _parquet_errors(name), open_raw(name) as raw:
        schema, rows, batches = arrow_batches(name, kind, raw)
        first, names = next(iter(batches), None), tuple(schema.names)
    if len(set(names)) < len(names):
        raise DataError(f"{name}: several columns have the same name: rename them")

    broken = None if first is None else not_utf8(first.slice(0, 100))

    def values(i: int) -> list[Any]:
        if first is None:
            return []
        rows = first.slice(0, 100)
        good = [k for k in range(rows.num_rows) if k not in (broken or set())]
        try:
            return [rows.column(i)[k].as_py() for k in good]
        except UNREADABLE as error:
            raise unreadable(name, names[i], error) from None

    table = Table(name, "row", [], list(names), len(names), values, [], as_text=False)
    at = choose_columns(table, text, None, labelled=False)[0]
    return Source(name, kind, names, names[at], schema=schema, rows=rows)


# Parquet and Arrow


class _parquet_errors:  # noqa: N801 - used like a function
    """Turn Arrow's errors about a file into ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # Memory runs out where a damaged file says that it is larger than any; the name of a column may be no UTF-8.
        damage = isinstance(error, MemoryError | UnicodeDecodeError) or type(error).__module__.startswith("pyarrow")
        if damage:
            raise DataError(f"{self._name}: begins as Parquet or Arrow but is damaged ({reason(error)}): write it anew")


def arrow_batches(name: str, kind: Kind, raw: BinaryIO) -> tuple[Any, int, Iterator[Any]]:
    """Return a file's schema, its number of rows (0: unknown) and its record batches."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra(f"{name}: reading Parquet", "parquet") from None
    if kind == "parquet":
        # A buffer for each column: without it, a row group's whole column is read at once.
        file = pq.ParquetFile(raw, buffer_size=_HEAD, pre_buffer=False, page_checksum_verification=True)
        meta = file.metadata
        bytes_ = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        rows = max(1, min(BATCH, 4 * _HEAD * meta.num_rows // max(1, bytes_)))
        return file.schema_arrow, meta.num_rows, file.iter_batches(rows, use_threads=False)
    if kind == "arrow":
        opened = pa.ipc.open_file(raw)
        return opened.schema, 0, (sound(opened.get_batch(i)) for i in range(opened.num_record_batches))
    stream = pa.ipc.open_stream(raw)
    return stream.schema, 0, map(sound, stream)


def not_utf8(batch: Any) -> dict[int, str]:
    """Return the rows with a string that isn't UTF-8, and what to show of each."""
    import pyarrow as pa

    try:
        batch.validate(full=True)
        return {}
    except pa.ArrowInvalid:
        broken = {}
        for i in range(batch.num_rows):
            try:
                batch.slice(i, 1).validate(full=True)
            except pa.ArrowInvalid as error:
                broken[i] = excerpt(str(error))
        return broken
