"""Files, frames, lists → Examples(texts, labels), as tokens.py takes them; every odd row accounted for.

After repeats.py on the way of a sentence. A Table (readers.py) gets its header and its two columns (columns.py);
their Rows lose what can't be used (rows.py), labels take their own type (labels.py), repeats are told (repeats.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from firstbert.columns import choose_columns, extra_columns, with_header
from firstbert.errors import DataError, UsageError
from firstbert.labels import SEPARATOR, Label, as_many, check_learnable, check_types, own_types, rare, spellings
from firstbert.readers import read_table
from firstbert.repeats import REMEDY, repeats
from firstbert.rows import Finding, Rows, listed, refusal, told, usable, without_headers
from firstbert.table import BadRow, Table

__all__ = ["SEPARATOR", "DataOptions", "Examples", "Finding", "Label", "from_lists", "read", "without_overlap"]


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
        labels: whether a row carries one label or many, with `|` between them or as a list; ``"auto"``: many where
            any row names several.
        extra: further columns to keep, by name or position from 1; of files and frames.
    """

    text: str | int | None = None
    label: str | int | None = None
    on_bad_row: Literal["fail", "skip"] = "fail"
    on_duplicate: Literal["keep", "skip", "fail"] = "keep"
    rows: int | None = None
    labels: Literal["auto", "one", "many"] = "auto"
    extra: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("fail", "skip"):
            raise UsageError(f"on_bad_row must be 'fail' or 'skip', not {self.on_bad_row!r}")
        if self.on_duplicate not in ("keep", "skip", "fail"):
            raise UsageError(f"on_duplicate must be 'keep', 'skip' or 'fail', not {self.on_duplicate!r}")
        if self.labels not in ("auto", "one", "many"):
            raise UsageError(f"labels must be 'auto', 'one' or 'many', not {self.labels!r}")
        if self.rows is not None and self.rows < 1:
            raise UsageError(f"rows must be 1 or more, not {self.rows}")


_DEFAULT = DataOptions()


@dataclass(frozen=True)
class Examples:
    """Texts, ready for the encoder, with their labels.

    Attributes:
        texts: the texts, exactly as written.
        labels: one label a text, all of one type, or a tuple of them where a text may carry many; None where none
            were asked for.
        lines: where each text stands: the line of a file (from 1), the row of a Parquet file or a frame
            (from 0), the item of a list (from 0).
        source: what messages call it.
        findings: what was dropped and what is odd.
        sha256: of texts and labels as used; the same rows in another format give the same one.
        place: what ``lines`` counts: ``"line"``, ``"row"`` or ``"item"``.
        extra: further columns asked for, as found: name → one value a text.
    """

    texts: list[str]
    labels: list[Any] | None
    lines: list[int]
    source: str
    findings: tuple[Finding, ...]
    sha256: str
    place: str = "line"
    extra: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def many(self) -> bool:
        """Whether a text may carry any number of labels."""
        return bool(self.labels) and isinstance((self.labels or [0])[0], tuple)

    def take(self, rows: Sequence[int]) -> Examples:
        """Return the examples at these positions, counted from 0; the findings stay those of the whole."""
        labels = None if self.labels is None else [self.labels[i] for i in rows]
        texts, lines = [self.texts[i] for i in rows], [self.lines[i] for i in rows]
        extra = {name: [values[i] for i in rows] for name, values in self.extra.items()}
        return _finish(Rows(self.source, self.place, texts, labels, lines, extra=extra), self.findings)


def read(source: object, options: DataOptions = _DEFAULT, *, labelled: bool = True, training: bool = True) -> Examples:
    """Read texts, and their labels, from a file, stdin or a frame.

    Args:
        source: the path of a TSV, CSV (commas or semicolons), JSONL, Parquet or Arrow file, ``"-"`` for stdin,
            or a pandas, polars or Arrow frame.
        options: which columns, and what to do with bad and repeated rows.
        labelled: whether labels are needed; without them a plain file of one text a line will do.
        training: whether a classifier is to learn from the labels: then one label only, or nearly one a row,
            is refused. Rows to evaluate on may have either.

    Returns:
        The examples, in the order of the source.

    Raises:
        DataError: the source can't be read, leaves doubt about its columns, or holds rows that can't be used.
        UsageError: an optional library is missing.
    """
    table = with_header(read_table(source, labelled=labelled), options.text, options.label)
    if not table.lines and not table.bad:
        raise DataError(f"{table.source}: holds no rows{' below its header' if table.names else ''}")
    lines, bad = _first(table, options.rows)
    if not lines:
        raise DataError(refusal(table.source, table.place, bad))
    text, label = choose_columns(table, options.text, options.label, labelled=labelled)
    n = len(lines)
    labels = None if label is None else table.column(label)[:n]
    extra = {name: table.column(i)[:n] for name, i in extra_columns(table, options.extra).items()}
    rows = Rows(table.source, table.place, table.column(text)[:n], labels, lines, table.as_text, extra)
    if table.as_text and table.names:
        rows, bad = without_headers(rows, bad, table.names[text], None if label is None else table.names[label])
    return _examples(rows, bad, options, training)


def _first(table: Table, n: int | None) -> tuple[list[int], list[BadRow]]:
    """Return where the rows among the first ``n`` stand, and those of them that are bad."""
    if n is None:
        return table.lines, table.bad
    within = set(sorted(table.lines + [row.line for row in table.bad])[:n])
    return [line for line in table.lines if line in within], [row for row in table.bad if row.line in within]


def from_lists(
    texts: Any,
    labels: Any = None,
    *,
    source: str = "texts",
    options: DataOptions = _DEFAULT,
    training: bool = True,
) -> Examples:
    """Check texts, and their labels, that are in memory already, as ``read`` does.

    Args:
        texts: strings: a list, tuple, array, pandas or polars Series, Arrow array.
        labels: one label a text, or None.
        source: what messages call it.
        options: what to do with bad and repeated rows.
        training: as ``read`` takes it.

    Returns:
        The examples; their ``lines`` are the items' positions, counted from 0.

    Raises:
        DataError: these aren't texts, texts and labels differ in number, or items can't be used.
    """
    items = listed(texts, source, "texts")
    given = None if labels is None else listed(labels, source, "labels")
    if given is not None and len(given) != len(items):
        raise DataError(f"{source}: {len(items)} texts but {len(given)} labels: give one label a text")
    if not items:
        raise DataError(f"{source}: is empty: give at least one text")
    n = options.rows
    rows = Rows(source, "item", items[:n], given and given[:n], list(range(len(items)))[:n])
    return _examples(rows, [], options, training)


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
    lines = tuple(test.lines[i] for i in shared)
    message = told(test.place, lines, f"whose text is also in {train.source}")
    if options.on_duplicate == "fail":
        raise DataError(f"{test.source}: {message}: {REMEDY}")
    if options.on_duplicate == "keep":
        return replace(test, findings=(*test.findings, Finding("in_train", lines, message)))
    rest = test.take([i for i, text in enumerate(test.texts) if text not in seen])
    if not rest.texts:
        raise DataError(f"{test.source}: every text is also in {train.source}: give other texts")
    return replace(rest, findings=(*test.findings, Finding("in_train", lines, f"dropped {message}")))


def _examples(rows: Rows, bad: list[BadRow], options: DataOptions, training: bool) -> Examples:
    many = rows.labels and as_many(rows.labels, options.labels)
    rows, findings = usable(replace(rows, labels=many or rows.labels), bad, skip=options.on_bad_row == "skip")
    if rows.labels is not None:
        check_types(rows)
        rows = replace(rows, labels=own_types(rows.labels)) if rows.as_text else rows
        if training:
            check_learnable(rows)
            findings += rare(rows)
        if many and options.labels == "auto" and rows.as_text:
            findings.append(_told_many(rows))
        findings += spellings(rows)
    rows, repeated = repeats(rows, options.on_duplicate)
    return _finish(rows, (*findings, *repeated))


def _told_many(rows: Rows) -> Finding:
    at = [line for line, label in zip(rows.lines, rows.labels or [], strict=True) if len(label) > 1]
    message = (
        f"labels are parted at '{SEPARATOR}': {told(rows.place, at, 'carrying several')}; "
        '--labels one takes them whole (in Python: labels="one")'
    )
    return Finding("many_labels", tuple(at), message)


def _finish(rows: Rows, findings: tuple[Finding, ...]) -> Examples:
    """Hash what is left; no text or label holds a NUL, so joining by NUL is unambiguous."""
    labels = rows.labels
    kind = type(labels[0]).__name__ if labels else "none"
    parts = [str(len(rows.texts)), kind, *rows.texts, *map(str, labels or [])]
    sha256 = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Examples(rows.texts, labels, rows.lines, rows.source, findings, sha256, rows.place, rows.extra)
