"""Rows: texts and labels as found, and which of them can't be used.

After columns.py on the way of a sentence.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from firstbert.errors import DataError, counted
from firstbert.table import BadRow, excerpt

KINDS = {
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
    "unreadable": "from which on the file can't be read",
}
_NATIVE = {str, int, float, bool, type(None)}
_SURROGATE = re.compile("[\ud800-\udfff]")
# Anything but white space, control and format characters, and blank letters.
VISIBLE = re.compile(
    "[^\\s\0-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)


@dataclass(frozen=True)
class Finding:
    """Something to know about the rows: its kind, all its lines, and a message of one line."""

    kind: str
    lines: tuple[int, ...]
    message: str


@dataclass(frozen=True)
class Rows:
    """Texts and labels on their way to Examples.

    Attributes:
        source: what messages call them.
        place: what ``lines`` counts: ``"line"``, ``"row"`` or ``"item"``.
        texts: one a row.
        labels: one a row, or None where none were asked for.
        lines: where each row stands.
        as_text: whether labels are strings only because the file holds nothing else.
        extra: further columns, name → one value a row.
    """

    source: str
    place: str
    texts: list[Any]
    labels: list[Any] | None
    lines: list[int]
    as_text: bool = False
    extra: dict[str, list[Any]] = field(default_factory=dict)

    def without(self, dropped: Collection[int]) -> Rows:
        """Return the rows but those with these indices."""
        keep = [i for i in range(len(self.texts)) if i not in dropped]
        labels = None if self.labels is None else [self.labels[i] for i in keep]
        texts, lines = [self.texts[i] for i in keep], [self.lines[i] for i in keep]
        extra = {name: [values[i] for i in keep] for name, values in self.extra.items()}
        return replace(self, texts=texts, labels=labels, lines=lines, extra=extra)


def listed(values: Any, source: str, what: str) -> list[Any]:
    """Return a list, array, series or other column as a list.

    Raises:
        DataError: it's no single column of values.
    """
    shape = f"a {type(values).__name__}"
    if len(getattr(values, "shape", (0,))) != 1:
        shape = f"of {len(values.shape)} dimensions"
    elif not isinstance(values, str | bytes | dict | set | frozenset | None):
        for method in ("to_pylist", "to_list", "tolist"):
            if hasattr(values, method):
                return list(getattr(values, method)())
        if isinstance(values, Iterable):
            return list(values)
        if hasattr(values, "__array__"):
            return listed(values.__array__(), source, what)
    raise DataError(f"{source}: the {what} are {shape}: give a list with one item a text")


def without_headers(rows: Rows, bad: list[BadRow], text: str, label: str | None) -> tuple[Rows, list[BadRow]]:
    """Set the header aside wherever it stands again: files put one behind the other bring theirs along."""
    pairs = zip(rows.texts, rows.labels or [None] * len(rows.texts), strict=True)
    hits = {i for i, pair in enumerate(pairs) if pair == (text, label)}
    if not hits:
        return rows, bad
    again = [BadRow(rows.lines[i], "header", excerpt(rows.texts[i])) for i in hits]
    return rows.without(hits), bad + again


def usable(rows: Rows, bad: list[BadRow], *, skip: bool) -> tuple[Rows, list[Finding]]:
    """Drop the rows that can't be used, or refuse them all at once.

    Args:
        rows: the rows as found.
        bad: those set aside already.
        skip: whether bad rows may be dropped.

    Raises:
        DataError: there are bad rows, and they may not be dropped or nothing else is left.
    """
    rows = replace(rows, texts=native(rows.texts), labels=rows.labels and native(rows.labels))
    faults: dict[int, BadRow] = {}
    for values, fault in ((rows.labels or [], _label_fault), (rows.texts, text_fault)):
        for i, value in enumerate(values):
            if kind := fault(value):
                what = f"{type(value).__name__} " if kind.endswith("_type") else ""
                faults[i] = BadRow(rows.lines[i], kind, what + excerpt(value))
    bad = sorted([*bad, *faults.values()])
    if not bad:
        return rows, []
    rows = rows.without(faults.keys())
    if not skip or not rows.texts:
        raise DataError(refusal(rows.source, rows.place, bad))
    lines = defaultdict(list)
    for row in bad:
        lines[row.kind].append(row.line)
    return rows, [
        Finding(kind, tuple(at), f"dropped {told(rows.place, at, KINDS[kind])}") for kind, at in lines.items()
    ]


def refusal(source: str, place: str, bad: list[BadRow]) -> str:
    """Count the bad rows by kind, show the first five, and say what to do."""
    counts = Counter(row.kind for row in bad)
    summary = ", ".join(f"{_count(n, place)} {KINDS[kind]}" for kind, n in counts.most_common())
    shown = [f"  {where(place, [row.line])}: {row.shown}" for row in sorted(bad)[:5]]
    more = [f"  and {len(bad) - 5} more"] if len(bad) > 5 else []
    remedy = 'Correct them, or drop them with --on-bad-row skip (in Python: on_bad_row="skip").'
    if counts["invalid_utf8"]:
        remedy += f" If the file is Latin-1: iconv -f latin1 -t utf8 {source} > NEW"
    return "\n".join([f"{source}: {summary}", *shown, *more, remedy])


def native(values: list[Any]) -> list[Any]:
    """Return values with numpy's scalars and subclasses of str turned into Python's own."""
    return values if {type(v) for v in values} <= _NATIVE else [_scalar(v) for v in values]


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if type(value) not in _NATIVE and hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def text_fault(text: Any) -> str | None:
    """Return the kind of fault of a text that can't be used, None of one that can."""
    if not isinstance(text, str):
        return "text_type"
    if "\0" in text:
        return "nul"
    if not VISIBLE.search(text):
        return "empty_text"
    return "surrogate" if halved(text) else None


def halved(text: str) -> bool:
    """Say whether a text holds half of a surrogate pair."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def _label_fault(label: Any) -> str | None:
    if isinstance(label, tuple):
        return next((fault for part in label if (fault := _label_fault(part))), None)
    if isinstance(label, str):
        fault = text_fault(label)
        return "missing_label" if fault == "empty_text" else fault
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return "missing_label"
    finite = isinstance(label, int) or (isinstance(label, float) and math.isfinite(label))
    return None if finite else "label_type"


def told(place: str, lines: Sequence[int], what: str) -> str:
    """Say how many rows are so, and where they stand: ``"2 rows without a text (lines 3, 8)"``."""
    return f"{_count(len(lines), place)} {what} ({where(place, lines)})"


def _count(n: int, place: str) -> str:
    return counted(n, "item" if place == "item" else "row")


def where(place: str, lines: Sequence[int]) -> str:
    """Say where rows stand: ``"lines 3, 8"``."""
    first = ", ".join(map(str, lines[:5]))
    more = f" and {len(lines) - 5:,} more" if len(lines) > 5 else ""
    counted = "" if place == "line" else ", counted from 0"
    return f"{place}{'s' if len(lines) > 1 else ''} {first}{more}{counted}"
