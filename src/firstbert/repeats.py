"""Texts that stand twice, with one label or with two.

After labels.py on the way of a sentence.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from firstbert.errors import DataError
from firstbert.rows import Finding, Rows, told, where
from firstbert.table import excerpt

REMEDY = 'drop them with --on-duplicate skip (in Python: on_duplicate="skip") or keep them with keep'


def repeats(rows: Rows, on_duplicate: str) -> tuple[Rows, list[Finding]]:
    """Find texts that stand twice, and do with them as asked: ``"keep"``, ``"skip"`` or ``"fail"``.

    Raises:
        DataError: there are some and they're to be refused, or skipping them leaves nothing.
    """
    if len(set(rows.texts)) == len(rows.texts):
        return rows, []
    again, disputed = _same_texts(rows)
    findings = []
    if again:
        at = [rows.lines[i] for i in again]
        findings.append(Finding("duplicate", tuple(at), told(rows.place, at, "repeating an earlier one")))
    if disputed:
        at = [rows.lines[i] for i in disputed]
        message = told(rows.place, at, "sharing their text but not their label") + _dispute(rows, disputed[0])
        findings.append(Finding("two_labels", tuple(at), message))
    if on_duplicate == "fail":
        raise DataError(f"{rows.source}: {'; '.join(f.message for f in findings)}: {REMEDY}")
    if on_duplicate == "keep":
        return rows, findings
    rows = rows.without({*again, *disputed})
    if not rows.texts:
        raise DataError(f"{rows.source}: nothing is left: every text stands with two labels: correct them")
    return rows, [replace(finding, message=f"dropped {finding.message}") for finding in findings]


def _same_texts(rows: Rows) -> tuple[list[int], list[int]]:
    """Return rows that repeat an earlier one, and all rows of texts that stand with two labels."""
    labels = rows.labels or [None] * len(rows.texts)
    places = defaultdict(list)
    for i, text in enumerate(rows.texts):
        places[text].append(i)
    again: list[int] = []
    disputed: list[int] = []
    for same in places.values():
        if len({labels[i] for i in same}) > 1:
            disputed += same
        else:
            again += same[1:]
    return sorted(again), sorted(disputed)


def _dispute(rows: Rows, i: int) -> str:
    """Show the text of row ``i`` with its two labels."""
    labels = rows.labels or []
    j = next(j for j in range(i, len(labels)) if rows.texts[j] == rows.texts[i] and labels[j] != labels[i])
    sides = " and ".join(f"{labels[k]!r} ({where(rows.place, [rows.lines[k]])})" for k in (i, j))
    return f", e.g. {excerpt(rows.texts[i])} as {sides}"
