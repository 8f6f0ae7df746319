"""A Table: columns as they were found in a file or frame, with the rows that could not be read.

After catalog.py on the way of a sentence. delimited.py and readers.py make Tables, columns.py and data.py use them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

# Names that columns of texts and of labels bear in most data sets.
TEXT_NAMES = frozenset(
    ("text", "sentence", "review", "comment", "content", "message", "title", "utterance", "query", "question", "body")
)  # fmt: skip
LABEL_NAMES = frozenset(("label", "class", "category", "sentiment", "target", "intent", "tag", "topic", "rating", "y"))

_UNDECODED = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that isn't UTF-8


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


def undecoded(text: str) -> str | None:
    """Return what to show of a text holding bytes that aren't UTF-8, or None."""
    found = None if text.isascii() else _UNDECODED.search(text)
    if found is None:
        return None
    start = max(0, found.start() - 15)
    return excerpt(text[start : start + 30].encode("utf-8", "surrogateescape"))
