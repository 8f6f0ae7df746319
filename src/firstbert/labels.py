"""Labels: their own type, whether they can be learned, and spellings that look alike.

After rows.py on the way of a sentence.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import Any, TypeAlias

from firstbert.errors import DataError
from firstbert.rows import Finding, Rows, native, where
from firstbert.table import excerpt

Label: TypeAlias = str | int | float | bool
SEPARATOR = "|"  # between the labels of a text that carries several
MOST_LABELS = 20_000  # a window of texts has a probability for each of them in memory
FEW = 5  # rows: a label with fewer is hardly learned, and never measured well

_LONGEST = 10_000  # characters of a label
# Characters that make a terminal or a page show something else than stands there: those that control it, and those that
# turn the order of letters around.
_MISLEADING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_LISTS = (list, tuple, set, frozenset)


def as_many(labels: list[Any], how: str) -> list[Any] | None:
    """Return each row's labels as a tuple, in order, each once; None where rows carry one label.

    Args:
        labels: as found: a text row may name several with `|` between them, others may be lists.
        how: ``"one"`` or ``"many"`` a row, or ``"auto"``: many where a row names several.
    """
    lists = any(isinstance(label, _LISTS) or getattr(label, "ndim", 0) == 1 for label in labels)
    several = lists or any(isinstance(label, str) and SEPARATOR in label for label in labels)
    if how == "one" or not (several or how == "many"):
        return None
    return [_parts(label) for label in native(labels)]


def _parts(label: Any) -> Any:
    if getattr(label, "ndim", 0) == 1:  # an array, as pandas reads lists from Parquet
        label = list(label)
    if isinstance(label, str):
        label = [part.strip() for part in label.split(SEPARATOR)] if label.strip() else []
    elif isinstance(label, bool | int | float) and label == label:  # noqa: PLR0124 - not NaN
        label = [label]
    if not isinstance(label, _LISTS):
        return label
    parts = native(list(label))
    try:
        return tuple(sorted(set(parts), key=lambda part: (str(type(part)), part)))
    except TypeError:  # no labels: rows.py refuses them
        return tuple(parts)


def own_types(labels: list[Any]) -> list[Any]:
    """Return labels of a text file, or the parts of each row's tuple, in the type they are written in."""
    if labels and isinstance(labels[0], tuple):
        parts = sorted({part for row in labels for part in row})
        typed = dict(zip(parts, own_type(parts), strict=True))
        return [tuple(sorted(typed[part] for part in row)) for row in labels]
    return own_type(labels)


def each(labels: list[Any]) -> list[Any]:
    """Return all labels of all rows, one after the other."""
    return [part for row in labels for part in row] if labels and isinstance(labels[0], tuple) else labels


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


def unusable(label: Label) -> str | None:
    """Return why this can't be a label of a model, or None: the rule for those learned and those loaded."""
    if isinstance(label, str):
        if len(label) > _LONGEST:
            return f"{excerpt(label)} is over {_LONGEST:,} characters long"
        if found := _MISLEADING.search(label):
            return f"{excerpt(label)} holds the character U+{ord(found[0]):04X}, which can make it look like another"
    elif isinstance(label, float) and not math.isfinite(label):
        return f"{label} is no finite number"
    elif isinstance(label, int) and not -(2**63) <= label < 2**63:
        return f"an integer of {label.bit_length():,} bits is too large"
    return None


def check_types(rows: Rows) -> None:
    """Refuse labels of several types, and those that can't be labels of a model.

    Raises:
        DataError: with a first example of each type, or of what can't be.
    """
    labels = rows.labels or []
    first: dict[type, int] = {}
    for i, label in enumerate(labels):
        for part in label if isinstance(label, tuple) else (label,):
            first.setdefault(type(part), i)
    if len(first) > 1:
        shown = ", ".join(
            f"{kind.__name__} ({where(rows.place, [rows.lines[i]])}: {excerpt(labels[i])})" for kind, i in first.items()
        )
        raise DataError(f"{rows.source}: labels of mixed types: {shown}: make them one type")
    for label in dict.fromkeys(each(labels)):
        if why := unusable(label):
            raise DataError(f"{rows.source}: the label {why}: clean the labels")


def check_learnable(rows: Rows) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        DataError: all are alike, or nearly every row has one of its own.
    """
    labels = each(rows.labels or [])
    distinct = len(set(labels))
    if distinct > MOST_LABELS:
        raise DataError(f"{rows.source}: {distinct:,} different labels; {MOST_LABELS:,} are the most")
    if distinct < 2:
        if not labels or isinstance(rows.labels and rows.labels[0], tuple):
            raise DataError(f"{rows.source}: rows carry {distinct} different labels in all: at least two are needed")
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
    for label, _ in Counter(label for label in each(labels) if isinstance(label, str)).most_common():
        groups[label.strip().casefold()].append(label)
    findings = []
    for names in groups.values():
        if len(names) > 1:
            others = set(names[1:])
            at = [line for line, label in zip(rows.lines, labels, strict=True) if others.intersection(each([label]))]
            many = "two" if len(names) == 2 else len(names)
            message = f"{' and '.join(map(repr, names))} are taken as {many} labels ({where(rows.place, at)})"
            findings.append(Finding("label_spelling", tuple(at), message))
    return findings


def rare(labels: list[Any], lines: list[int], place: str) -> list[Finding]:
    """Find labels with so few rows that little can be learned of them; worth telling before a training."""
    stand = defaultdict(list)
    for line, label in zip(lines, labels, strict=True):
        for part in each([label]):
            stand[part].append(line)
    few = {label: at for label, at in stand.items() if len(at) < FEW}
    if not few:
        return []
    shown = [f"{label!r} ({len(at)}, {where(place, at)})" for label, at in list(few.items())[:5]]
    more = [f"{len(few) - 5} more"] if len(few) > 5 else []
    what = "1 label has" if len(few) == 1 else f"{len(few)} labels have"
    message = f"{what} fewer than {FEW} rows, too few to learn much from: {', '.join(shown + more)}"
    return [Finding("rare_label", tuple(sorted(line for at in few.values() for line in at)), message)]
