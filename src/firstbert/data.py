"""Files, frames, lists → Examples(texts, labels), as tokens.py takes them; every odd row accounted for.

read_table → header → which columns → rows that can't be used → the labels' own type → repeats → Examples.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from firstbert.errors import DataError, UsageError
from firstbert.readers import TEXT_NAMES, BadRow, Table, excerpt, read_table

Label: TypeAlias = str | int | float | bool

LABEL_NAMES = frozenset(
    ("label", "class", "category", "sentiment", "target", "intent", "tag", "topic", "rating", "y")
)

_KINDS = {
    "empty_text": "without a text",
    "missing_label": "without a label",
    "columns": "with another number of columns than the rest",
    "quote": "with a stray quote",
    "header": "repeating the header",
    "json": "holding no JSON object",
    "text_type": "whose text is no string",
    "label_type": "whose label is no string, boolean or finite number",
    "nul": "with a NUL character",
    "surrogate": "with half a surrogate pair",
    "invalid_utf8": "not in UTF-8",
}
_NATIVE = {str, int, float, bool, type(None)}
_SURROGATE = re.compile("[\ud800-\udfff]")
# Anything but white space, control and format characters, and blank letters.
_VISIBLE = re.compile(
    "[^\\s\0-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)


@dataclass(frozen=True)
class DataOptions:
    """How to read.

    Attributes:
        text: the text column's name, or its position from 1; None: guessed where there is no doubt.
        label: the same for the label column.
        on_bad_row: refuse data with rows that can't be used, or skip those rows.
        on_duplicate: what to do with texts that stand twice: keep them, skip all but the first (texts with
            two labels altogether), or refuse the data.
        rows: the first so many rows only, bad ones counted.
    """

    text: str | int | None = None
    label: str | int | None = None
    on_bad_row: Literal["fail", "skip"] = "fail"
    on_duplicate: Literal["keep", "skip", "fail"] = "keep"
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("fail", "skip"):
            raise UsageError(f"on_bad_row must be 'fail' or 'skip', not {self.on_bad_row!r}")
        if self.on_duplicate not in ("keep", "skip", "fail"):
            raise UsageError(f"on_duplicate must be 'keep', 'skip' or 'fail', not {self.on_duplicate!r}")
        if self.rows is not None and self.rows < 1:
            raise UsageError(f"rows must be 1 or more, not {self.rows}")


_DEFAULT = DataOptions()


@dataclass(frozen=True)
class Finding:
    """Something to know about the rows: its kind, all its lines, and a message of one line."""

    kind: str
    lines: tuple[int, ...]
    message: str


@dataclass(frozen=True)
class Examples:
    """Texts, ready for the encoder, with their labels.

    Attributes:
        texts: the texts, exactly as written.
        labels: one label a text, all of one type; None where none were asked for.
        lines: where each text stands: the line of a file (from 1), the row of a Parquet file or a frame
            (from 0), the item of a list (from 0).
        source: what messages call it.
        findings: what was dropped and what is odd.
        sha256: of texts and labels as used; the same rows in another format give the same one.
        place: what ``lines`` counts: ``"line"``, ``"row"`` or ``"item"``.
    """

    texts: list[str]
    labels: list[Label] | None
    lines: list[int]
    source: str
    findings: tuple[Finding, ...]
    sha256: str
    place: str = "line"


@dataclass(frozen=True)
class _Rows:
    """Texts and labels as found; ``as_text``: labels are strings only because the file knows nothing else."""

    source: str
    place: str
    texts: list[Any]
    labels: list[Any] | None
    lines: list[int]
    as_text: bool = False

    def take(self, keep: Sequence[int]) -> _Rows:
        labels = None if self.labels is None else [self.labels[i] for i in keep]
        return replace(
            self, texts=[self.texts[i] for i in keep], labels=labels, lines=[self.lines[i] for i in keep]
        )

    def at(self, lines: Sequence[int]) -> str:
        return _at(self.place, lines)


def read(source: object, options: DataOptions = _DEFAULT, *, labelled: bool = True) -> Examples:
    """Read texts, and their labels, from a file, stdin or a frame.

    Args:
        source: the path of a TSV, CSV, JSONL, Parquet or Arrow file, ``"-"`` for stdin, or a pandas, polars
            or Arrow frame.
        options: which columns, and what to do with bad and repeated rows.
        labelled: whether labels are needed; without them a plain file of one text a line will do.

    Returns:
        The examples, in the order of the source.

    Raises:
        DataError: the source can't be read, leaves doubt about its columns, or holds rows that can't be used.
        UsageError: an optional library is missing.
    """
    table = _without_header(read_table(source, labelled=labelled), options)
    if not table.lines and not table.bad:
        raise DataError(f"{table.source}: holds no rows{' below its header' if table.names else ''}")
    bad, lines = table.bad, table.lines
    if options.rows is not None:
        within = set(sorted(lines + [row.line for row in bad])[: options.rows])
        lines = [line for line in lines if line in within]
        bad = [row for row in bad if row.line in within]
    if not lines:
        raise DataError(_refusal(table.source, table.place, bad))
    text, label = _columns(table, options, labelled)
    n = len(lines)
    labels = None if label is None else table.column(label)[:n]
    rows = _Rows(table.source, table.place, table.column(text)[:n], labels, lines, table.as_text)
    if table.as_text and table.names:
        again = (table.names[text], label if label is None else table.names[label])
        rows, bad = _drop_headers(rows, bad, again)
    return _examples(rows, bad, options)


def from_lists(
    texts: Any, labels: Any = None, *, source: str = "texts", options: DataOptions = _DEFAULT
) -> Examples:
    """Check texts, and their labels, that are in memory already, as ``read`` does.

    Args:
        texts: strings: a list, tuple, array, pandas or polars Series, Arrow array.
        labels: one label a text, or None.
        source: what messages call it.
        options: what to do with bad and repeated rows.

    Returns:
        The examples; their ``lines`` are the items' positions, counted from 0.

    Raises:
        DataError: these aren't texts, texts and labels differ in number, or items can't be used.
    """
    listed = _listed(texts, source, "texts")
    given = None if labels is None else _listed(labels, source, "labels")
    if given is not None and len(given) != len(listed):
        raise DataError(f"{source}: {len(listed)} texts but {len(given)} labels: give one label a text")
    if not listed:
        raise DataError(f"{source}: is empty: give at least one text")
    rows = _Rows(source, "item", listed, given, list(range(len(listed))))
    return _examples(rows.take(range(len(listed))[: options.rows]), [], options)


def without_overlap(test: Examples, train: Examples, options: DataOptions = _DEFAULT) -> Examples:
    """Find texts of ``test`` that ``train`` holds too, and do with them as ``options.on_duplicate`` says.

    Args:
        test: the examples to measure on.
        train: the examples learned from.
        options: ``on_duplicate``: keep them (and say so), skip them, or refuse.

    Returns:
        ``test``, with a finding of kind ``"in_train"`` where there is overlap.

    Raises:
        DataError: there is overlap and it's to be refused, or skipping it leaves nothing.
    """
    seen = set(train.texts)
    shared = [i for i, text in enumerate(test.texts) if text in seen]
    if not shared:
        return test
    rows = _Rows(test.source, test.place, test.texts, test.labels, test.lines)
    lines = [test.lines[i] for i in shared]
    told = f"{_count(len(lines), test.place)} whose text is also in {train.source} ({rows.at(lines)})"
    if options.on_duplicate == "fail":
        raise DataError(f"{test.source}: {told}: {_ON_DUPLICATE}")
    if options.on_duplicate == "keep":
        return replace(test, findings=(*test.findings, Finding("in_train", tuple(lines), told)))
    rows = rows.take(sorted(set(range(len(test.texts))) - set(shared)))
    if not rows.texts:
        raise DataError(f"{test.source}: every text is also in {train.source}: give other texts")
    finding = Finding("in_train", tuple(lines), f"dropped {told}")
    return _finish(rows, (*test.findings, finding))


# Which columns


def _without_header(table: Table, options: DataOptions) -> Table:
    """Take the first row of a text file for its header where it is one."""
    if table.names is not None or not table.lines:
        return table
    columns = [table.column(i) for i in range(table.width)]
    named = any(isinstance(c, str) and not c.isdecimal() for c in (options.text, options.label))
    if not named and not _has_header(table, columns):
        return table
    names = [column[0].strip() for column in columns]
    return replace(table, names=names, lines=table.lines[1:], column=lambda i: columns[i][1:])


def _has_header(table: Table, columns: list[list[str]]) -> bool:
    first = [column[0] for column in columns]
    names = [cell.strip().casefold() for cell in first]
    text = not TEXT_NAMES.isdisjoint(names)
    label = not LABEL_NAMES.isdisjoint(names)
    if table.width == 1 or (text and label):
        return text
    if any(not name or _is_number(name) or len(name.split()) > 3 for name in names):
        return False
    if any(cell in column[1:] for cell, column in zip(first, columns, strict=True)):
        return False  # it looks like the others: its label occurs again
    if text or label or len(table.lines) == 1:
        return text or label
    shown = " and ".join(map(excerpt, first))
    raise DataError(
        f"{table.source}, line {table.lines[0]}: {shown} may be a header or a row. If a header, "
        "name its columns with --text and --label (in Python: text=, label=). If a row, "
        "add a header line (text, label) above it"
    )


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _columns(table: Table, options: DataOptions, labelled: bool) -> tuple[int, int | None]:
    """Return the indices of the text column and the label column."""
    text = _asked(table, options.text, "text")
    label = _asked(table, options.label, "label") if labelled else None
    if labelled and table.width == 1:
        raise DataError(f"{table.source}: has one column only: a label is needed too, after a tab or a comma")
    if text is not None and text == label:
        raise UsageError(
            f"{table.source}: text and label are both the column {_shown_columns(table, [text])}: name two"
        )
    text = _known(table, TEXT_NAMES, label) if text is None else text
    label = _known(table, LABEL_NAMES, text) if label is None else label
    if table.width == 1:
        text = 0
    elif table.width == 2 and (text is None) != (label is None):
        text, label = (1 - label, label) if label is not None else (text, 1 - (text or 0))
    elif table.width == 2 and text is None:
        text, label = _by_shape([table.column(0), table.column(1)])
    if text is None or (labelled and label is None):
        raise _doubt(table, "text" if text is None else "label", text is None and label is None and labelled)
    return text, label if labelled else None


def _asked(table: Table, asked: str | int | None, what: str) -> int | None:
    if asked is None:
        return None
    if isinstance(asked, str) and table.names is not None and asked in table.names:
        if table.names.count(asked) > 1:
            raise DataError(f"{table.source}: several columns are called {asked!r}: give a position")
        return table.names.index(asked)
    if isinstance(asked, int) or asked.isdecimal():
        if 1 <= int(asked) <= table.width:
            return int(asked) - 1
        raise DataError(f"{table.source}: there is no {what} column {asked}: give 1 to {table.width}")
    early = [row for row in table.bad if table.lines and row.line < table.lines[0]]
    hint = f" (line {early[0].line} can't be the header: {early[0].shown})" if early else ""
    columns = _shown_columns(table, range(table.width))
    raise DataError(f"{table.source}: there is no {what} column {asked!r}{hint}: choose one of {columns}")


def _known(table: Table, known: frozenset[str], taken: int | None) -> int | None:
    """Return the one column that bears a well-known name."""
    found = [i for i, name in enumerate(table.names or []) if name.strip().casefold() in known and i != taken]
    return found[0] if len(found) == 1 else None


def _by_shape(columns: list[list[Any]]) -> tuple[int, int] | tuple[None, None]:
    """Of two columns, the texts are the longer, mostly distinct ones; labels occur again."""
    head = zip(*(map(_cell, column[:10_000]) for column in columns), strict=True)  # enough to judge by
    pairs = [pair for pair in head if all(pair)]
    n = len(pairs)
    distinct = [len({pair[i] for pair in pairs}) for i in (0, 1)]
    length = [sum(len(pair[i]) for pair in pairs) for i in (0, 1)]
    fits = [
        (text, label)
        for text, label in ((0, 1), (1, 0))
        if distinct[text] * 2 > n >= distinct[label] * 2 and length[text] > length[label]
    ]
    return fits[0] if fits else (None, None)


def _cell(value: object) -> str:
    return "" if value is None else str(value).strip()


def _doubt(table: Table, what: str, both: bool) -> DataError:
    columns = _shown_columns(table, range(table.width))
    which = "texts and which the labels" if both else f"{what}s"
    how = "--text and --label (in Python: text=, label=)" if both else f"--{what} (in Python: {what}=)"
    return DataError(f"{table.source}: which column holds the {which}? Say with {how}; there are {columns}")


def _shown_columns(table: Table, indices: Iterable[int]) -> str:
    def shown(i: int) -> str:
        values = table.column(i)
        name = table.names[i] if table.names else i + 1
        return f"{name!r} (e.g. {excerpt(values[0])})" if values else repr(name)

    return ", ".join(map(shown, list(indices)[:30]))


# Rows that can't be used


def _drop_headers(
    rows: _Rows, bad: list[BadRow], again: tuple[str, str | None]
) -> tuple[_Rows, list[BadRow]]:
    """Files put one behind the other bring their header along."""
    pairs = zip(rows.texts, rows.labels or [None] * len(rows.texts), strict=True)
    hits = [i for i, pair in enumerate(pairs) if pair == again]
    if not hits:
        return rows, bad
    bad = bad + [BadRow(rows.lines[i], "header", excerpt(rows.texts[i])) for i in hits]
    return rows.take(sorted(set(range(len(rows.texts))) - set(hits))), bad


def _listed(values: Any, source: str, what: str) -> list[Any]:
    shape = f"a {type(values).__name__}"
    if len(getattr(values, "shape", (0,))) != 1:
        shape = f"of {len(values.shape)} dimensions"
    elif not isinstance(values, str | bytes | dict | set | frozenset | None):
        for method in ("to_pylist", "to_list", "tolist"):
            if hasattr(values, method):
                return list(getattr(values, method)())
        if isinstance(values, Iterable):
            return list(values)
    raise DataError(f"{source}: the {what} are {shape}: give a list with one item a text")


def _native(values: list[Any]) -> list[Any]:
    """Turn numpy's scalars and subclasses of str into Python's own."""
    return values if {type(v) for v in values} <= _NATIVE else [_scalar(v) for v in values]


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) not in _NATIVE and hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def _text_fault(text: Any) -> str | None:
    if not isinstance(text, str):
        return "text_type"
    if "\0" in text:
        return "nul"
    if not _VISIBLE.search(text):
        return "empty_text"
    return "surrogate" if not text.isascii() and _SURROGATE.search(text) else None


def _label_fault(label: Any) -> str | None:
    if isinstance(label, str):
        fault = _text_fault(label)
        return "missing_label" if fault == "empty_text" else fault
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return "missing_label"
    finite = isinstance(label, int) or (isinstance(label, float) and math.isfinite(label))
    return None if finite else "label_type"


def _faults(values: list[Any], fault: Callable[[Any], str | None], lines: list[int]) -> dict[int, BadRow]:
    found = ((i, kind) for i, value in enumerate(values) if (kind := fault(value)))
    return {i: BadRow(lines[i], kind, _shown(values[i], kind)) for i, kind in found}


def _shown(value: Any, kind: str) -> str:
    return f"{type(value).__name__} {excerpt(value)}" if kind.endswith("_type") else excerpt(value)


def _usable(rows: _Rows, bad: list[BadRow], options: DataOptions) -> tuple[_Rows, list[Finding]]:
    """Drop the rows that can't be used, or refuse them all at once."""
    faults = _faults(rows.labels or [], _label_fault, rows.lines)
    faults |= _faults(rows.texts, _text_fault, rows.lines)
    bad = sorted([*bad, *faults.values()])
    if not bad:
        return rows, []
    rows = rows.take([i for i in range(len(rows.texts)) if i not in faults])
    if options.on_bad_row == "fail" or not rows.texts:
        raise DataError(_refusal(rows.source, rows.place, bad))
    lines = defaultdict(list)
    for row in bad:
        lines[row.kind].append(row.line)
    return rows, [
        Finding(kind, tuple(at), f"dropped {_count(len(at), rows.place)} {_KINDS[kind]} ({rows.at(at)})")
        for kind, at in lines.items()
    ]


def _refusal(source: str, place: str, bad: list[BadRow]) -> str:
    counts = Counter(row.kind for row in bad)
    summary = ", ".join(f"{_count(n, place)} {_KINDS[kind]}" for kind, n in counts.most_common())
    shown = [f"  {_at(place, [row.line])}: {row.shown}" for row in sorted(bad)[:5]]
    more = [f"  and {len(bad) - 5} more"] if len(bad) > 5 else []
    remedy = 'Correct them, or drop them with --on-bad-row skip (in Python: on_bad_row="skip").'
    if counts["invalid_utf8"]:
        remedy += f" If the file is Latin-1: iconv -f latin1 -t utf8 {source} > NEW"
    return "\n".join([f"{source}: {summary}", *shown, *more, remedy])


def _count(n: int, place: str) -> str:
    noun = "item" if place == "item" else "row"
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _at(place: str, lines: Sequence[int]) -> str:
    first = ", ".join(map(str, lines[:5]))
    more = f" and {len(lines) - 5:,} more" if len(lines) > 5 else ""
    counted = "" if place == "line" else ", counted from 0"
    return f"{place}{'s' if len(lines) > 1 else ''} {first}{more}{counted}"


# Labels


def _own_type(labels: list[str]) -> list[Any]:
    """Return labels of a text file as booleans, integers or floats where that loses not one character."""
    distinct = set(labels)
    if distinct <= {"True", "False"} or distinct <= {"true", "false"}:
        return [label in ("True", "true") for label in labels]
    for kind in (int, float):
        try:
            values = {label: kind(label) for label in distinct}
        except ValueError:  # also an integer of over 4,300 digits
            continue
        exact = distinct.isdisjoint(("nan", "inf", "-inf")) and len(set(values.values())) == len(distinct)
        if exact and all(repr(value) == label for label, value in values.items()):
            return [values[label] for label in labels]
    return labels


def _check_labels(rows: _Rows) -> None:
    labels = rows.labels or []
    first: dict[type, int] = {}
    for i, label in enumerate(labels):
        first.setdefault(type(label), i)
    if len(first) > 1:
        shown = ", ".join(
            f"{kind.__name__} ({rows.at([rows.lines[i]])}: {excerpt(labels[i])})" for kind, i in first.items()
        )
        raise DataError(f"{rows.source}: labels of mixed types: {shown}: make them one type")
    distinct = len(set(labels))
    if distinct < 2:
        raise DataError(f"{rows.source}: every label is {labels[0]!r}: at least two labels are needed")
    if distinct > max(20, 0 if float in first else len(labels) // 2):
        raise DataError(
            f"{rows.source}: {distinct:,} different labels on {len(labels):,} rows, e.g. {labels[0]!r:.60}: "
            "the column looks like texts, ids or a number to predict: give one with few labels (--label)"
        )


def _spellings(rows: _Rows) -> list[Finding]:
    """Find labels that differ by case or surrounding white space only."""
    groups = defaultdict(list)
    for label, _ in Counter(label for label in rows.labels or [] if isinstance(label, str)).most_common():
        groups[label.strip().casefold()].append(label)
    findings = []
    for first, *others in groups.values():
        if others:
            at = [line for line, label in zip(rows.lines, rows.labels or [], strict=True) if label in others]
            names = " and ".join(map(repr, [first, *others]))
            many = "two" if len(others) == 1 else len(others) + 1
            told = f"{names} are taken as {many} labels ({rows.at(at)})"
            findings.append(Finding("label_spelling", tuple(at), told))
    return findings


# Repeats

_ON_DUPLICATE = 'drop them with --on-duplicate skip (in Python: on_duplicate="skip") or keep them with keep'


def _repeats(rows: _Rows, options: DataOptions) -> tuple[_Rows, list[Finding]]:
    """Find texts that stand twice, and do with them as asked."""
    if len(set(rows.texts)) == len(rows.texts):
        return rows, []
    labels = rows.labels or [None] * len(rows.texts)
    again, disputed = _same_texts(rows.texts, labels)
    findings = []
    skip = "dropped " if options.on_duplicate == "skip" else ""
    for kind, hits in (("duplicate", again), ("two_labels", disputed)):
        at = [rows.lines[i] for i in hits]
        told = f"{skip}{_count(len(at), rows.place)} {_REPEATS[kind]} ({rows.at(at)})"
        if kind == "two_labels" and hits:
            told += _dispute(rows, hits[0])
        findings += [Finding(kind, tuple(at), told)] if hits else []
    if options.on_duplicate == "fail":
        raise DataError(f"{rows.source}: {'; '.join(f.message for f in findings)}: {_ON_DUPLICATE}")
    if options.on_duplicate == "skip":
        rows = rows.take(sorted(set(range(len(rows.texts))) - {*again, *disputed}))
    return rows, findings


_REPEATS = {"duplicate": "repeating an earlier one", "two_labels": "sharing their text but not their label"}


def _same_texts(texts: list[str], labels: Sequence[object]) -> tuple[list[int], list[int]]:
    """Return rows that repeat an earlier one, and all rows of texts that stand with two labels."""
    counts = Counter(texts)
    places = defaultdict(list)
    for i, text in enumerate(texts):
        if counts[text] > 1:
            places[text].append(i)
    again: list[int] = []
    disputed: list[int] = []
    for rows in places.values():
        if len({labels[i] for i in rows}) > 1:
            disputed += rows
        else:
            again += rows[1:]
    return sorted(again), sorted(disputed)


def _dispute(rows: _Rows, i: int) -> str:
    labels = rows.labels or []
    j = next(j for j in range(i, len(labels)) if rows.texts[j] == rows.texts[i] and labels[j] != labels[i])
    sides = " and ".join(f"{labels[k]!r} ({rows.at([rows.lines[k]])})" for k in (i, j))
    return f", e.g. {excerpt(rows.texts[i])} as {sides}"


# Examples


def _examples(rows: _Rows, bad: list[BadRow], options: DataOptions) -> Examples:
    rows = replace(rows, texts=_native(rows.texts), labels=rows.labels and _native(rows.labels))
    rows, findings = _usable(rows, bad, options)
    if rows.labels is not None:
        rows = replace(rows, labels=_own_type(rows.labels)) if rows.as_text else rows
        _check_labels(rows)
        findings += _spellings(rows)
    rows, repeats = _repeats(rows, options)
    if not rows.texts:
        raise DataError(f"{rows.source}: nothing is left: every text stands with two labels: correct them")
    return _finish(rows, (*findings, *repeats))


def _finish(rows: _Rows, findings: tuple[Finding, ...]) -> Examples:
    """Hash what is left; no text or label holds a NUL, so joining by NUL is unambiguous."""
    labels = rows.labels
    kind = "none" if labels is None else type(labels[0]).__name__
    parts = [str(len(rows.texts)), kind, *rows.texts, *map(str, labels or [])]
    sha256 = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Examples(rows.texts, labels, rows.lines, rows.source, findings, sha256, rows.place)
