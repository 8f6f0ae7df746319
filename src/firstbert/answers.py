"""A file of sentences → a file with their labels, whole or not at all.

After predictor.py; for `firstbert predict`. Files that fit in memory: bulk prediction takes over what doesn't.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firstbert.data import Examples
from firstbert.errors import UsageError
from firstbert.predictor import Predictions, answer_text, label_text

COLUMNS = ("text", "label", "score", "truncated", "unsure")


def rows(examples: Examples, predictions: Predictions) -> list[dict[str, Any]]:
    """Return one dict per text, the text first."""
    return [{"text": text, **record} for text, record in zip(examples.texts, predictions.records(), strict=True)]


def as_jsonl(answers: list[dict[str, Any]]) -> str:
    """Return one JSON object a line."""
    return "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)


def _delimited(answers: list[dict[str, Any]], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(COLUMNS)
    for a in answers:
        flags = (label_text(a[name]) for name in ("truncated", "unsure"))
        writer.writerow([a["text"], answer_text(a["label"]), f"{a['score']:.6f}", *flags])
    return out.getvalue()


def as_csv(answers: list[dict[str, Any]]) -> str:
    """Return comma-separated columns under a header, quoted where needed."""
    return _delimited(answers, ",")


def as_tsv(answers: list[dict[str, Any]]) -> str:
    """Return tab-separated columns under a header, quoted where needed."""
    return _delimited(answers, "\t")


_FORMATS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    ".jsonl": as_jsonl,
    ".csv": as_csv,
    ".tsv": as_tsv,
}


def format_of(path: Path) -> Callable[[list[dict[str, Any]]], str]:
    """Return the writer for a file's ending.

    Raises:
        UsageError: no format ends so.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"{path}: no format ends in '{path.suffix}'; name a file in {', '.join(_FORMATS)}.")
    return _FORMATS[path.suffix.lower()]


def check_place(path: Path) -> None:
    """Refuse a place where no file can be written; worth asking before long work.

    Raises:
        UsageError: its folder is missing, or there is a folder.
    """
    if path.is_dir():
        raise UsageError(f"{path}: can't be written (is a folder). Name a file.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: can't be written (there is no folder {path.parent}). Make it, or name another.")


def write(path: Path, text: str) -> None:
    """Put a whole file in place.

    Raises:
        UsageError: it can't be written; what stood there is unchanged.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: can't be written ({error.strerror}).") from error
