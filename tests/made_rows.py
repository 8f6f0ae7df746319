"""Texts, labels and rows out of hypothesis, and what reading made of their files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from firstbert.data import DataOptions, Examples, read
from firstbert.rows import text_fault

# Any characters but halves of pairs, and those that files are made of more often than chance would have them.
ANY = st.text(
    st.one_of(st.sampled_from('"\t,;|\n\r\\{}[]: \u00a0\u2028é日😀a'), st.characters(exclude_categories=["Cs"]))
)
TEXT = ANY.filter(lambda text: text_fault(text) is None)
LINE = TEXT.filter(lambda text: not set(text) & set("\r\n"))
WORD = st.text(st.characters(categories=["L"]), min_size=1, max_size=8)
UNUSABLE = st.sampled_from(["", " ", "\u200b", "a\0b"])


def skipping(path: Path, labelled: bool = True) -> Examples:
    """What is read of a file with the columns "text" and "label", bad rows left out."""
    options = DataOptions("text", "label" if labelled else None, on_bad_row="skip", labels="one")
    return read(path, options, labelled=labelled, training=False)


def dropped(examples: Examples) -> list[int]:
    """Where rows were left out."""
    return sorted(line for one in examples.findings if one.message.startswith("dropped") for line in one.lines)


def write_csv(path: Path, rows: Sequence[Sequence[str]], *, always: bool = False) -> list[int]:
    """Write a header and rows as Python's csv does, and return the line that each row begins on."""
    starts, line = [], 2
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(
            file, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\r\n",
            quoting=csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL,
        )  # fmt: skip
        writer.writerow(("text", "label"))
        for row in rows:
            starts.append(line)
            writer.writerow(row)
            line += 1 + sum(cell.replace("\r\n", "\n").replace("\r", "\n").count("\n") for cell in row)
    return starts


def write_json(path: Path, rows: Sequence[dict[str, Any]], *, ascii_only: bool = False) -> None:
    """Write rows as JSON, one a line."""
    lines = (json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8", newline="")
