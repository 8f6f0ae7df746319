"""Files of any size → blocks of rows with their texts, some thousand at a time.

After survey.py on the way of a sentence. Memory doesn't grow with the file. Nothing is lost in silence: what can't be
used comes out beside the rows, with its place and its reason.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from firstbert.delimited import read_block
from firstbert.errors import DataError
from firstbert.opening import UNPACKING_ERRORS, open_raw, state_of, unpacked
from firstbert.readers import UNREADABLE, json_row
from firstbert.rows import halved, native, text_fault
from firstbert.strict import reason
from firstbert.survey import BATCH, CHUNK, LONGEST, Row, Source, arrow_batches, decoded, not_utf8
from firstbert.table import BadRow, excerpt


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
            text = decoded(unpacked(raw, source.name))
        except UNPACKING_ERRORS as error:
            raise _UnreadableError("line", 1, str(error)) from None
        lines: list[str] = []
        blank: list[str] = []
        size = number = 0
        damage = None
        while True:
            try:
                line = text.readline(LONGEST)
            except (*UNPACKING_ERRORS, UnicodeDecodeError) as error:
                damage = str(error)
                break
            if len(line) == LONGEST:
                damage = f"a line is longer than {LONGEST >> 20} million characters"
                break
            if not line:
                break
            number += 1
            if not line.strip("\r\n"):
                blank.append(line)
                continue
            if size >= CHUNK:
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


def _arrow(source: Source) -> Iterator[Block]:
    import pyarrow as pa

    start = 0
    with open_raw(source.name) as raw:
        _, _, batches = arrow_batches(source.name, source.kind, raw)
        try:
            for whole in batches:
                for offset in range(0, whole.num_rows, BATCH):
                    batch = whole.slice(offset, BATCH)
                    yield _arrow_block(source, batch, start)
                    start += batch.num_rows
        # Memory runs out for a size that it says it has.
        except (pa.ArrowException, MemoryError, *UNREADABLE, *UNPACKING_ERRORS) as error:
            raise _UnreadableError("row", start, reason(error)) from None


def _arrow_block(source: Source, batch: Any, start: int) -> Block:
    import pyarrow as pa

    numbers = list(range(start, start + batch.num_rows))
    asides = []
    if broken := not_utf8(batch):
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
