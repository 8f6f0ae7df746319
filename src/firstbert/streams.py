"""Files of any size → blocks of rows with their texts, some thousand at a time.

After data.py on the way of a sentence, with its rules: a file's beginning tells its format, its header and its column
of texts, as the whole tells `data.read`. Memory doesn't grow with the file. Nothing is lost in silence: what can't be
used comes out beside the rows, with its place and its reason.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from firstbert.columns import choose_columns, with_header
from firstbert.delimited import Dialect, dialect_of, open_from, quotes_meant, read_block, read_delimited
from firstbert.errors import DataError, missing_extra
from firstbert.opening import UNPACKING_ERRORS, ending, is_address, open_raw, state_of, unpacked
from firstbert.progress import progress
from firstbert.readers import ARROW_FILE, ARROW_STREAM, PARQUET, UTF16, is_json, json_lines, json_row, lines_of
from firstbert.rows import halved, native, text_fault
from firstbert.table import BadRow, Table, excerpt

Kind: TypeAlias = Literal["delimited", "json", "parquet", "arrow", "arrow stream"]
Row: TypeAlias = dict[str, Any]

_HEAD = 1 << 20  # bytes from which a text file's format is told
_FEW = 8  # rows, from fewer of which a format is not told
_CHUNK = 1 << 20  # characters of a text file read at a time
_LONGEST = 1 << 26  # characters of a line; what is longer is no line of a data file
_BATCH = 2048  # rows of a Parquet file read at a time, fewer where they are long


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


@dataclass(frozen=True)
class Aside:
    """A row that can't be used.

    Attributes:
        source: the file.
        place: what `line` counts: ``"line"``, from 1, or ``"row"``, from 0.
        line: where it begins; None: it is the whole file.
        kind: of its fault; see ``rows.KINDS``.
        shown: what is wrong with it.
        raw: the row as it stands in a text file; bytes that aren't UTF-8 as surrogates.
    """

    source: str
    place: str
    line: int | None
    kind: str
    shown: str
    raw: str | None = None


@dataclass(frozen=True)
class Block:
    """Some rows of one file, N of them.

    Attributes:
        rows: a dict each, or an Arrow record batch.
        texts: their texts.
        bad: rows set aside between them.
    """

    rows: Any
    texts: list[str]
    bad: tuple[Aside, ...] = ()

    def part(self, start: int, stop: int) -> Block:
        """Return some of the rows; those set aside stay with the first."""
        rows = self.rows[start:stop] if isinstance(self.rows, list) else self.rows.slice(start, stop - start)
        return Block(rows, self.texts[start:stop], self.bad if start == 0 else ())


# ---------------------------------------------------------------- looking through


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
        buffered = io.BufferedReader(hashed, _CHUNK)
        try:
            file = unpacked(cast(BinaryIO, buffered), name)
            source = _look_into(name, text, file, packed=file is not buffered)
            while hashed.read(_CHUNK):  # what an archive's end, or a Parquet file's rest, has left
                pass
        except UNPACKING_ERRORS as error:
            raise DataError(f"{name}: is damaged, or its end is missing ({error}): get it anew") from None
    return replace(source, sha256=None if is_address(name) else hashed.sha256.hexdigest())


def _look_into(name: str, text: str | int | None, file: BinaryIO, *, packed: bool) -> Source:
    head = file.read(_HEAD)
    while len(head) < _LONGEST and _too_short(head) and (more := file.read(len(head))):
        head += more
    for magic, kind in ((PARQUET, "parquet"), (ARROW_FILE, "arrow"), (ARROW_STREAM, "arrow stream")):
        if head.startswith(magic):
            if packed:
                raise DataError(f"{name}: is Parquet or Arrow, packed once more: unpack it")
            return _arrow_source(name, cast(Kind, kind), text)
    rest = file.read(_CHUNK)
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
            chunk += file.readline(_CHUNK)
            later = _whole_lines(chunk[chunk.find(b"\n") + 1 :]).decode("utf-8", "surrogateescape")
            dialect = quotes_meant(list(io.StringIO(later, newline="")), dialect)
        rows += chunk.count(b"\n")
        chunk = file.read(_CHUNK)
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


def _decoded(file: BinaryIO) -> io.TextIOWrapper:
    """A text file's characters; bytes that aren't UTF-8 as surrogates."""
    if cast(io.BufferedReader, file).peek(2)[:2] in UTF16:
        return io.TextIOWrapper(cast(Any, file), "utf-16", newline="")
    return io.TextIOWrapper(cast(Any, file), "utf-8-sig", "surrogateescape", newline="")


def _all_lines(file: BinaryIO, head: bytes) -> Iterator[str]:
    """The lines of a file whose first bytes were read already, up to one that is none."""
    text = _decoded(cast(BinaryIO, io.BufferedReader(_Rest(head, file), _CHUNK)))
    while (line := text.readline(_LONGEST)) and len(line) < _LONGEST:
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
        schema, rows, batches = _arrow_open(name, kind, raw)
        first = next(iter(batches), None)
    if len(set(schema.names)) < len(schema.names):
        raise DataError(f"{name}: several columns have the same name: rename them")

    broken = None if first is None else _not_utf8(first.slice(0, 100))

    def values(i: int) -> list[Any]:
        if first is None:
            return []
        rows = first.slice(0, 100)
        good = [k for k in range(rows.num_rows) if k not in (broken or set())]
        return [rows.column(i)[k].as_py() for k in good]

    table = Table(name, "row", [], list(schema.names), len(schema.names), values, [], as_text=False)
    at = choose_columns(table, text, None, labelled=False)[0]
    return Source(name, kind, tuple(schema.names), schema.names[at], schema=schema, rows=rows)


# ---------------------------------------------------------------- reading


def blocks(source: Source) -> Iterator[Block]:
    """Yield a file's rows in order, some thousand at a time.

    What is damaged midway is read up to there, and the place set aside.

    Raises:
        DataError: the file was changed since it was looked through.
    """
    _unchanged(source)
    reading = {"delimited": _delimited, "json": _json}.get(source.kind, _arrow)
    try:
        yield from reading(source)
    except _UnreadableError as error:
        shown = f"{error} (the rows before it were read)"
        yield Block([], [], (Aside(source.name, error.place, error.at, "unreadable", shown),))
    _unchanged(source)


def _unchanged(source: Source) -> None:
    if state_of(source.name) != (source.size, source.changed_ns):
        raise DataError(
            f"{source.name}: was changed while it was being read: rows before and after the change would be mixed. "
            "Run again with --restart, once the file is complete"
        )


class _UnreadableError(Exception):
    """From a line or row on, a file can't be read."""

    def __init__(self, place: str, at: int, reason: str) -> None:
        super().__init__(reason)
        self.place, self.at = place, at


def _lines(source: Source) -> Iterator[tuple[list[str], bool]]:
    """Yield a text file's lines, with their ends, about 1 MB at a time, and whether they are the last.

    Blank lines at the file's end are left out, as where a file is read whole.

    Raises:
        _UnreadableError: the file is damaged; the lines before that were yielded.
    """
    with open_raw(source.name) as raw:
        try:
            text = _decoded(unpacked(raw, source.name))
        except UNPACKING_ERRORS as error:
            raise _UnreadableError("line", 1, str(error)) from None
        lines: list[str] = []
        blank: list[str] = []
        size = number = 0
        damage = None
        while True:
            try:
                line = text.readline(_LONGEST)
            except (*UNPACKING_ERRORS, UnicodeDecodeError) as error:
                damage = str(error)
                break
            if len(line) == _LONGEST:
                damage = f"a line is longer than {_LONGEST >> 20} million characters"
                break
            if not line:
                break
            number += 1
            if not line.strip("\r\n"):
                blank.append(line)
                continue
            if size >= _CHUNK:
                yield lines, False
                lines, size = [], 0
            lines += [*blank, line]
            blank.clear()
            size += len(line)
        yield lines, True
        if damage is not None:
            raise _UnreadableError("line", number + 1, damage)


def _delimited(source: Source) -> Iterator[Block]:
    assert source.dialect is not None
    held: list[str] = []
    start = 1  # the line at which the block begins
    header = source.header
    heading: list[str] | None = None
    for more, last in _lines(source):
        lines = held + more
        block = read_block(lines, source.dialect, last=last)
        rows, numbers, bad = block.rows, [start + line for line in block.lines], list(block.bad)
        if header and rows:
            heading, rows, numbers, header = rows[0], rows[1:], numbers[1:], False
        if heading in rows:  # files put one behind the other bring their header along
            again = {i for i, row in enumerate(rows) if row == heading}
            bad += [BadRow(numbers[i] - start, "header", excerpt(rows[i][0])) for i in again]
            kept = [i for i in range(len(rows)) if i not in again]
            rows, numbers = [rows[i] for i in kept], [numbers[i] for i in kept]
        starts = sorted({*block.lines, *(row.line for row in block.bad), len(lines) - block.held})

        def raw(n: int, lines: list[str] = lines, start: int = start, starts: list[int] = starts) -> str:
            return "".join(lines[n - start : starts[bisect(starts, n - start)]]).rstrip("\r\n")

        asides = [
            Aside(source.name, "line", start + row.line, row.kind, row.shown, raw(start + row.line)) for row in bad
        ]
        yield _usable(source, [dict(zip(source.names, row, strict=True)) for row in rows], numbers, asides, raw)
        held = lines[len(lines) - block.held :] if block.held else []
        start += len(lines) - block.held


def _json(source: Source) -> Iterator[Block]:
    start = 1
    for lines, _ in _lines(source):
        rows, numbers, asides = [], [], []
        for n, line in enumerate(lines, start):
            row = json_row(n, line)
            if isinstance(row, dict) and "\\u" in line and halved(json.dumps(row, ensure_ascii=False)):
                row = BadRow(n, "surrogate", excerpt(line.strip()))
            if isinstance(row, dict):
                rows.append(row)
                numbers.append(n)
            else:
                asides.append(Aside(source.name, "line", n, row.kind, row.shown, line.rstrip("\r\n")))

        def raw(n: int, lines: list[str] = lines, start: int = start) -> str:
            return lines[n - start].rstrip("\r\n")

        yield _usable(source, rows, numbers, asides, raw)
        start += len(lines)


def _usable(
    source: Source, rows: list[Row], numbers: list[int], asides: list[Aside], raw: Callable[[int], str]
) -> Block:
    """Set rows aside whose text can't be used."""
    texts = [row.get(source.text) for row in rows]
    faults = [text_fault(text) for text in texts]
    if any(faults):
        for n, text, fault in zip(numbers, texts, faults, strict=True):
            if fault:
                asides.append(Aside(source.name, "line", n, fault, _shown(fault, text), raw(n)))
        kept = [i for i, fault in enumerate(faults) if not fault]
        rows, texts = [rows[i] for i in kept], [texts[i] for i in kept]
    return Block(rows, cast(list[str], texts), tuple(sorted(asides, key=lambda aside: aside.line or 0)))


def _shown(fault: str, text: object) -> str:
    return (f"{type(text).__name__} " if fault.endswith("_type") else "") + excerpt(text)


# Parquet and Arrow


class _parquet_errors:  # noqa: N801 - used like a function
    """Turn Arrow's errors about a file into ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None and type(error).__module__.startswith("pyarrow"):
            raise DataError(f"{self._name}: begins as Parquet or Arrow but is damaged ({error}): write it anew")


def _arrow_open(name: str, kind: Kind, raw: BinaryIO) -> tuple[Any, int, Iterator[Any]]:
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
        rows = max(1, min(_BATCH, 4 * _HEAD * meta.num_rows // max(1, bytes_)))
        return file.schema_arrow, meta.num_rows, file.iter_batches(rows, use_threads=False)
    if kind == "arrow":
        opened = pa.ipc.open_file(raw)
        return opened.schema, 0, (opened.get_batch(i) for i in range(opened.num_record_batches))
    stream = pa.ipc.open_stream(raw)
    return stream.schema, 0, iter(stream)


def _arrow(source: Source) -> Iterator[Block]:
    import pyarrow as pa

    start = 0
    with open_raw(source.name) as raw:
        _, _, batches = _arrow_open(source.name, source.kind, raw)
        try:
            for whole in batches:
                for offset in range(0, whole.num_rows, _BATCH):
                    batch = whole.slice(offset, _BATCH)
                    yield _arrow_block(source, batch, start)
                    start += batch.num_rows
        except (pa.ArrowException, *UNPACKING_ERRORS) as error:
            raise _UnreadableError("row", start, str(error)) from None


def _arrow_block(source: Source, batch: Any, start: int) -> Block:
    import pyarrow as pa

    numbers = list(range(start, start + batch.num_rows))
    asides = []
    if broken := _not_utf8(batch):
        asides = [Aside(source.name, "row", numbers[i], "invalid_utf8", shown) for i, shown in broken.items()]
        kept = [i for i in range(batch.num_rows) if i not in broken]
        batch, numbers = batch.take(pa.array(kept, pa.int64())), [numbers[i] for i in kept]
    texts = native(batch.column(source.text).to_pylist())
    faults = {i: fault for i, text in enumerate(texts) if (fault := text_fault(text))}
    if faults:
        asides += [Aside(source.name, "row", numbers[i], fault, _shown(fault, texts[i])) for i, fault in faults.items()]
        kept = [i for i in range(len(texts)) if i not in faults]
        batch, texts = batch.take(pa.array(kept, pa.int64())), [texts[i] for i in kept]
    return Block(batch, texts, tuple(sorted(asides, key=lambda aside: aside.line or 0)))


def _not_utf8(batch: Any) -> dict[int, str]:
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
