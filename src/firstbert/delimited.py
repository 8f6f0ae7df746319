"""Lines with tabs, commas or semicolons → a Table, by the separator and quotes that the file itself shows.

After table.py on the way of a sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from firstbert.table import TEXT_NAMES, BadRow, Table, excerpt, undecoded

HELD = 1 << 24  # characters after which a quote that was never closed is taken for a stray one

_Record = tuple[int, int, list[str] | None]  # its first and last line, its fields; None: a quote isn't closed
_OPEN = re.compile(r'(\A|[\t,;\r\n])"[^"]*+(?:""[^"]*+)*+\Z')
_WRAPPED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')


@dataclass(frozen=True)
class _Reading:
    """A file read with one separator and one way of quoting."""

    rows: list[list[str]]
    lines: list[int]
    bad: list[BadRow]
    width: int
    misfits: int  # rows with a wrong number of columns or a stray quote
    separator: str
    quoted: bool


@dataclass(frozen=True)
class Dialect:
    """How a file parts its columns.

    Attributes:
        separator: a tab, a comma or a semicolon; a line's end where each line is one text.
        quoted: whether quotes may wrap a field.
        width: the number of columns.
    """

    separator: str
    quoted: bool
    width: int


@dataclass(frozen=True)
class Block:
    """Some lines of a longer file, read.

    Attributes:
        rows: the rows' fields.
        lines: where each begins, counted from 0 within the block.
        bad: rows set aside, counted likewise.
        held: how many lines at the end belong to a row whose end isn't there yet.
    """

    rows: list[list[str]]
    lines: list[int]
    bad: list[BadRow]
    held: int = 0


def read_delimited(name: str, lines: list[str], ending: str, *, labelled: bool, cut: bool = False) -> Table:
    """Read lines as rows of columns; what fits none is set aside.

    Args:
        name: what messages call the file.
        lines: its lines with their ends, one at least; bytes that aren't UTF-8 as surrogates.
        ending: the file name's ending, such as ``".csv"``.
        labelled: whether labels are needed; without them a file may be one text a line.
        cut: whether they are a longer file's beginning, whose last row may go on.
    """
    reading = _decoded(_best(lines, ending, labelled, cut))

    def column(i: int) -> list[Any]:
        return [row[i] for row in reading.rows]

    return Table(name, "line", reading.lines, None, reading.width, column, reading.bad, as_text=True)


def dialect_of(lines: list[str], ending: str, *, labelled: bool, cut: bool = False) -> Dialect:
    """Tell how a file parts its columns from its beginning, as `read_delimited` tells it from the whole."""
    best = _best(lines, ending, labelled, cut)
    quoted = best.quoted or best.separator in (",", ";")  # tabs alone need evidence
    return Dialect(best.separator, quoted, best.width)


def quotes_meant(lines: list[str], dialect: Dialect) -> Dialect:
    """Return the dialect of a file with tabs whose quotes begin with these lines only, far from its beginning."""
    return replace(dialect, quoted=_read(lines, dialect.separator, cut=True).quoted)


def open_from(lines: list[str]) -> int | None:
    """Return the first line, from 0, with a quote that may wrap a field and isn't closed up to the end; None: none."""
    found = _OPEN.search("".join(lines)) if any('"' in line for line in lines) else None
    if found is None:
        return None
    at = found.end(1)
    for n, line in enumerate(lines):
        at -= len(line)
        if at < 0:
            return n
    return None


def read_block(lines: list[str], dialect: Dialect, *, last: bool) -> Block:
    """Read some lines of a file whose dialect is known.

    Args:
        lines: with their ends.
        dialect: of the file.
        last: whether these are the file's last lines: then nothing is held back.
    """
    text = "".join(lines)
    if not dialect.quoted or '"' not in text:
        return _block(_plain(lines, dialect.separator, dialect.width))
    records: list[_Record] = []
    held = 0
    for record in _quoted(text, lines, dialect.separator):
        if record[2] is None and not last and len(text) < HELD:  # its end may be in what comes next
            held = len(lines) - record[0] + 1
            lines = lines[: record[0] - 1]
            break
        records.append(record)
    return _block(_gather(records, lines, dialect.separator, dialect.width), held)


def _block(reading: _Reading, held: int = 0) -> Block:
    reading = _decoded(reading)
    bad = [row._replace(line=row.line - 1) for row in reading.bad]
    return Block(reading.rows, [line - 1 for line in reading.lines], bad, held)


def _best(lines: list[str], ending: str, labelled: bool, cut: bool = False) -> _Reading:
    """Read with the first separator that fits every row, else with the one that fits most."""
    readings = []
    for separator in _separators(lines[0], ending, labelled):
        reading = _read(lines, separator, cut)
        if reading.width > 1 and not reading.misfits:
            return reading
        readings.append(reading)
    wide = [reading for reading in readings if reading.width > 1]
    if wide:
        return min(wide, key=lambda reading: reading.misfits)
    return readings[0] if ending in (".csv", ".tsv") else _plain(lines, "\n")


def _separators(first: str, ending: str, labelled: bool) -> list[str]:
    """Return what may separate columns, likeliest first."""
    header = re.split("[,;]", first.strip("\r\n").casefold().replace('"', ""))
    if not labelled and ending != ".csv" and TEXT_NAMES.isdisjoint(header):
        return ["\t"]  # it may be lines of prose, commas and all
    likely = [",", "\t"] if ending == ".csv" else ["\t", ","]
    return [*likely, ";"] if ";" in first else likely


def _read(lines: list[str], separator: str, cut: bool = False) -> _Reading:
    """Read with quoting where the file shows that it means it: only tabs need evidence."""
    text = "".join(lines)
    if '"' not in text:
        return _plain(lines, separator)
    records, whole = list(_quoted(text, lines, separator)), lines
    if cut and (n := open_from(lines)) and any(first == n + 1 and fields is None for first, _, fields in records):
        records, whole = [record for record in records if record[0] <= n], lines[:n]
    quoted = _gather(records, whole, separator)
    if separator != "\t":
        return quoted
    plain = _plain(whole, separator)
    meant = not quoted.misfits and (plain.misfits or _quotes_meant(plain.rows))
    return replace(quoted, quoted=True) if meant else _plain(lines, separator)


def _plain(lines: list[str], separator: str, width: int | None = None) -> _Reading:
    records: list[_Record] = [(n, n, line.rstrip("\r\n").split(separator)) for n, line in enumerate(lines, 1)]
    return _gather(records, lines, separator, width)


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


def _gather(records: list[_Record], lines: list[str], separator: str, width: int | None = None) -> _Reading:
    """Keep the records of this width, the commonest unless given; set the others aside."""
    width = width or _commonest_width(records)
    swallowing = _swallowing(records, lines, separator, width)
    rows: list[list[str]] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    for record in records:
        first, _, fields = record
        if fields and len(fields) == width and first not in swallowing:
            rows.append(fields)
            numbers.append(first)
        else:
            bad.append(_fault(record, lines[first - 1].rstrip("\r\n"), width))
    misfits = sum(row.kind in ("columns", "quote") for row in bad)
    return _Reading(rows, numbers, bad, width, misfits, separator, quoted=False)


def _commonest_width(records: list[_Record]) -> int:
    blank = [""]
    widths = Counter(len(fields) for _, _, fields in records if fields and fields != blank)
    return widths.most_common(1)[0][0] if widths else 1


def _fault(record: _Record, line: str, width: int) -> BadRow:
    first, last, fields = record
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
    long = [(first, last) for first, last, _ in records if last > first]
    if not long or width == 1:
        return set()
    rows = [fields for first, last, fields in records if fields and first == last and len(fields) == width]
    known = [set(column) - {""} for column in zip(*rows, strict=True)]

    def is_row(line: str) -> bool:
        fields = line.rstrip("\r\n").split(separator)
        return len(fields) == width and any(f in values for f, values in zip(fields, known, strict=False))

    return {first for first, last in long if sum(map(is_row, lines[first - 1 : last])) > 1}


def _decoded(reading: _Reading) -> _Reading:
    """Set rows aside that hold bytes which aren't UTF-8; until here they told the separator and quotes too."""
    broken = {i: shown for i, row in enumerate(reading.rows) for field in row if (shown := undecoded(field))}
    if not broken:
        return reading
    bad = [BadRow(reading.lines[i], "invalid_utf8", shown) for i, shown in broken.items()]
    kept = [i for i in range(len(reading.rows)) if i not in broken]
    rows, numbers = [reading.rows[i] for i in kept], [reading.lines[i] for i in kept]
    return replace(reading, rows=rows, lines=numbers, bad=reading.bad + bad)
