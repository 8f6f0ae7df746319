"""Suspects → a file that a person goes through; that file and the rows → the rows that are left.

After suspects.py on the way of a sentence. The file has a line for each suspect with two empty columns: `keep`, for
labels that are right after all, and `correct_label`. What is left blank is dropped.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from firstbert.answers import as_jsonl, check_place, write
from firstbert.data import Examples, Finding, Label
from firstbert.errors import DataError, UsageError
from firstbert.labels import SEPARATOR
from firstbert.predictor import label_text
from firstbert.readers import read_table
from firstbert.rows import told
from firstbert.suspects import Suspects
from firstbert.table import Table, excerpt

COLUMNS = ("line", "text", "given", "suggested", "doubt", "reason", "keep", "correct_label")
_YES = frozenset(("yes", "y", "true", "1", "x", "keep"))
_NO = frozenset(("", "no", "n", "false", "0", "drop"))
_DELIMITERS = {".tsv": "\t", ".csv": ","}


def check_review(path: Path) -> None:
    """Refuse a place where no review can be written; worth asking before the search.

    Raises:
        UsageError: the ending is none of .tsv, .csv, .jsonl, or no file can be written there.
    """
    if path.suffix.lower() not in (*_DELIMITERS, ".jsonl"):
        raise UsageError(f"{path}: no format ends in '{path.suffix}'; name a file in .tsv, .csv, .jsonl.")
    check_place(path)


def write_review(path: Path, suspects: Suspects) -> None:
    """Write the suspects down for review, the most doubted first.

    Args:
        path: a file in .tsv, .csv or .jsonl.
        suspects: what was found.

    Raises:
        UsageError: the ending is none of these, or the file can't be written.
    """
    check_review(path)
    ending = path.suffix.lower()
    records = [
        {"line": s.line, "text": s.text, "given": s.given, "suggested": s.suggested, "doubt": round(s.doubt, 4),
         "reason": s.reason, "keep": "", "correct_label": ""}
        for s in suspects.rows
    ]  # fmt: skip
    write(path, as_jsonl(records) if ending == ".jsonl" else _delimited(records, _DELIMITERS[ending]))


def _delimited(records: list[dict[str, Any]], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


@dataclass(frozen=True)
class _Verdict:
    """What a line of the file says about a row: keep it, give it this label, or neither."""

    at: str  # the file's name and line, for messages
    line: int
    text: str
    given: str | None
    keep: bool
    correct: str


@dataclass(frozen=True)
class Reviewed:
    """Rows after a review.

    Attributes:
        examples: all of them, with the labels that were corrected.
        dropped: positions of those to leave out.
    """

    examples: Examples
    dropped: frozenset[int]


def reviewed(examples: Examples, path: str | os.PathLike[str]) -> Reviewed:
    """Read what a review file says about rows.

    Args:
        examples: the rows that the file was made from.
        path: what `write_review` wrote, perhaps edited since: a `keep` of "yes" keeps the row, a `correct_label`
            replaces its label. Other columns may be missing, all but `line` and `text`.

    Returns:
        The rows, with a finding that counts.

    Raises:
        DataError: the file can't be read, isn't of these rows, holds a word that can't be understood or a label that
            no row carries, or leaves nothing.
    """
    verdicts = _read(os.fspath(path))
    place = {line: i for i, line in enumerate(examples.lines)}
    labels = list(examples.labels or [])
    known = {label_text(label).strip(): label for label in _single(labels)}
    dropped: set[int] = set()
    changed: set[int] = set()
    seen: dict[int, str] = {}
    for v in verdicts:
        i = _matched(v, examples, place)
        if i in seen:
            raise DataError(f"{v.at}: {examples.place} {v.line} stands in {seen[i]} already: leave one of the two")
        seen[i] = v.at
        if v.correct:
            labels[i] = _label(v, labels[i], known)
            changed.add(i)
        elif not v.keep:
            dropped.add(i)
    return Reviewed(_told(examples, labels, dropped, changed, os.fspath(path)), frozenset(dropped))


def _told(examples: Examples, labels: list[Any], dropped: set[int], changed: set[int], path: str) -> Examples:
    if len(dropped) == len(examples.texts):
        raise DataError(f"{path}: names every row of {examples.source}: nothing is left to train on")
    findings = []
    for kind, rows, what in (("dropped", dropped, "dropped"), ("relabelled", changed, "given another label")):
        if rows:
            lines = tuple(examples.lines[i] for i in sorted(rows))
            findings.append(Finding(kind, lines, told(examples.place, lines, f"{what} by {path}")))
    every = range(len(examples.texts))
    result = replace(examples, labels=labels if examples.labels is not None else None).take(every)
    return replace(result, findings=(*examples.findings, *findings))


def _matched(v: _Verdict, examples: Examples, place: dict[int, int]) -> int:
    """Return which row is meant, or refuse: a file of other rows would take out the wrong ones."""
    remedy = f"the file isn't of {examples.source} as it is read now: make it anew with firstbert check-labels"
    if v.line not in place:
        raise DataError(f"{v.at}: there is no row at {examples.place} {v.line} of {examples.source}; {remedy}")
    i = place[v.line]
    if examples.texts[i].split() != v.text.split():  # a spreadsheet may change line ends
        raise DataError(
            f"{v.at}: {examples.place} {v.line} reads {excerpt(examples.texts[i])}, not {excerpt(v.text)}; {remedy}"
        )
    label = None if examples.labels is None else examples.labels[i]
    if v.given is not None and label is not None and v.given not in _spellings(label):
        raise DataError(
            f"{v.at}: {examples.place} {v.line} is labelled {min(_spellings(label))!r}, not {v.given!r}; {remedy}"
        )
    return i


def _label(v: _Verdict, old: Any, known: dict[str, Label]) -> Any:
    """Return a label that the reviewer gave, in the type of the others."""
    many = isinstance(old, tuple)
    words = [word.strip() for word in v.correct.split(SEPARATOR) if word.strip()] if many else [v.correct]
    for word in words:
        if word not in known:
            some = ", ".join(sorted(known)[:10]) + (", …" if len(known) > 10 else "")
            raise DataError(f"{v.at}: no row is labelled {word!r}: give one of {some}, or drop the row")
    return tuple(known[word] for word in words) if many else known[words[0]]


def _single(labels: Sequence[Any]) -> set[Any]:
    """Return the distinct labels, those of texts with many among them."""
    return {one for label in set(labels) for one in (label if isinstance(label, tuple) else (label,))}


def _spellings(label: Any) -> set[str]:
    """Return how a label may stand in the file; several may come in any order."""
    if isinstance(label, tuple):
        return {SEPARATOR.join(map(label_text, some)) for some in (label, sorted(label))}
    return {label_text(label).strip()}


# The file


def _read(path: str) -> list[_Verdict]:
    table = read_table(path, labelled=True)
    if table.bad:
        raise DataError(f"{table.source}, line {table.bad[0].line}: can't be read ({table.bad[0].shown})")
    columns = _columns(table)
    missing = [name for name in ("line", "text") if name not in columns]
    if missing:
        raise DataError(
            f"{table.source}: has no column {missing[0]!r}: give the file that firstbert check-labels wrote, "
            "edited or not"
        )
    skip = 0 if table.names is not None else 1
    return [
        _verdict(f"{table.source}, line {at}", {name: values[i + skip] for name, values in columns.items()})
        for i, at in enumerate(table.lines[skip:])
    ]


def _columns(table: Table) -> dict[str, list[Any]]:
    """Return columns by name; of a text file, the first row still stands on top of each."""
    columns = [table.column(i) for i in range(table.width)]
    names = table.names or [str(column[0]) for column in columns]
    return {name.strip().casefold(): column for name, column in zip(names, columns, strict=True)}


def _verdict(at: str, row: dict[str, Any]) -> _Verdict:
    line, keep = str(row["line"]).strip(), _cell(row.get("keep")).casefold()
    if not line.isdecimal():
        raise DataError(f"{at}: {excerpt(row['line'])} is no line number")
    if keep not in _YES | _NO:
        raise DataError(f"{at}: {excerpt(row['keep'])} in the column 'keep' is neither yes nor no (or blank)")
    given = _cell(row["given"]) if "given" in row else None
    return _Verdict(at, int(line), str(row["text"]), given, keep in _YES, _cell(row.get("correct_label")))


def _cell(value: Any) -> str:
    """Return what stands in a cell; JSON may hold a boolean or a number."""
    return "" if value is None else label_text(value).strip()
