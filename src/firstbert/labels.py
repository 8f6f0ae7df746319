"""Labels: their own type, whether they can be learned, and spellings that look alike.

After rows.py on the way of a sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, TypeAlias

from firstbert.errors import DataError
from firstbert.rows import Finding, Rows, where
from firstbert.table import excerpt

Label: TypeAlias = str | int | float | bool
SEPARATOR = "|"  # between the labels of a text that carries several


def own_type(labels: list[str]) -> list[Any]:
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


def check_types(rows: Rows) -> None:
    """Refuse labels of several types.

    Raises:
        DataError: with a first example of each type.
    """
    labels = rows.labels or []
    first: dict[type, int] = {}
    for i, label in enumerate(labels):
        first.setdefault(type(label), i)
    if len(first) > 1:
        shown = ", ".join(
            f"{kind.__name__} ({where(rows.place, [rows.lines[i]])}: {excerpt(labels[i])})" for kind, i in first.items()
        )
        raise DataError(f"{rows.source}: labels of mixed types: {shown}: make them one type")


def check_learnable(rows: Rows) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        DataError: all are alike, or nearly every row has one of its own.
    """
    labels = rows.labels or []
    distinct = len(set(labels))
    if distinct < 2:
        raise DataError(f"{rows.source}: every label is {labels[0]!r}: at least two labels are needed")
    if distinct > max(20, 0 if isinstance(labels[0], float) else len(labels) // 2):
        raise DataError(
            f"{rows.source}: {distinct:,} different labels on {len(labels):,} rows, e.g. {labels[0]!r:.60}: "
            "the column looks like texts, ids or a number to predict: give one with few labels (--label)"
        )


def spellings(rows: Rows) -> list[Finding]:
    """Find labels that differ by case or surrounding white space only."""
    labels = rows.labels or []
    groups = defaultdict(list)
    for label, _ in Counter(label for label in labels if isinstance(label, str)).most_common():
        groups[label.strip().casefold()].append(label)
    findings = []
    for names in groups.values():
        if len(names) > 1:
            at = [line for line, label in zip(rows.lines, labels, strict=True) if label in names[1:]]
            many = "two" if len(names) == 2 else len(names)
            message = f"{' and '.join(map(repr, names))} are taken as {many} labels ({where(rows.place, at)})"
            findings.append(Finding("label_spelling", tuple(at), message))
    return findings
