"""A Table → its header and the columns of texts and labels: found where there is no doubt, else asked for.

After readers.py on the way of a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from firstbert.errors import DataError, UsageError
from firstbert.table import LABEL_NAMES, TEXT_NAMES, Table, excerpt


def with_header(table: Table, text: str | int | None, label: str | int | None) -> Table:
    """Take the first row of a text file for its header where it is one.

    Args:
        table: the columns as found.
        text: the name or position that the user gave of the text column.
        label: the same for the label column.

    Raises:
        DataError: the first row may be a header or a row.
    """
    if table.names is not None or not table.lines:
        return table
    columns = [table.column(i) for i in range(table.width)]
    named = any(isinstance(asked, str) and not asked.isdecimal() for asked in (text, label))
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
        float(value.replace(",", "."))  # a decimal comma comes with semicolons
    except ValueError:
        return False
    return True


def choose_columns(
    table: Table, asked_text: str | int | None, asked_label: str | int | None, *, labelled: bool
) -> tuple[int, int | None]:
    """Return the indices of the text column and, where labels are needed, of the label column.

    Args:
        table: what ``with_header`` returned.
        asked_text: the name or position that the user gave of the text column; None: it is to be found.
        asked_label: the same for the label column.
        labelled: whether labels are needed.

    Raises:
        DataError: a column isn't there, or there is doubt which one is meant.
        UsageError: one column is asked for twice.
    """
    text = _asked(table, asked_text, "text")
    label = _asked(table, asked_label, "label") if labelled else None
    if labelled and table.width == 1:
        raise DataError(f"{table.source}: has one column only: a label is needed too, after a tab or a comma")
    if text is not None and text == label:
        shown = _shown_columns(table, [text])
        raise UsageError(f"{table.source}: text and label are both the column {shown}: name two")
    text = _known(table, TEXT_NAMES, label) if text is None else text
    label = _known(table, LABEL_NAMES, text) if label is None else label
    if table.width == 1:
        text = 0
    elif table.width == 2:
        text, label = _of_two(table, text, label)
    if text is None or (labelled and label is None):
        raise _doubt(table, "text" if text is None else "label", text is None and label is None and labelled)
    return text, label if labelled else None


def extra_columns(table: Table, asked: Sequence[str | int]) -> dict[str, int]:
    """Return the names and indices of further columns; one without a name is called by its position.

    Raises:
        DataError: a column isn't there.
    """
    found = [_asked(table, column, "extra") for column in asked]
    return {table.names[i] if table.names else str(i + 1): i for i in found if i is not None}


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


def _of_two(table: Table, text: int | None, label: int | None) -> tuple[int | None, int | None]:
    """Of two columns, the one that isn't the texts holds the labels; if neither is known, their shape tells."""
    if text is not None:
        return text, 1 - text if label is None else label
    return (1 - label, label) if label is not None else _by_shape([table.column(0), table.column(1)])


def _by_shape(columns: list[list[Any]]) -> tuple[int, int] | tuple[None, None]:
    """Of two columns, the texts are the longer, mostly distinct ones; labels occur again."""
    head = zip(*(map(_cell, column[:10_000]) for column in columns), strict=True)  # enough to judge by
    pairs = [pair for pair in head if all(pair)]
    n = len(pairs)
    distinct = [len({pair[i] for pair in pairs}) for i in (0, 1)]
    length = [sum(len(pair[i]) for pair in pairs) for i in (0, 1)]
    for text, label in ((0, 1), (1, 0)):
        if distinct[text] * 2 > n >= distinct[label] * 2 and length[text] > length[label]:
            return text, label
    return None, None


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
