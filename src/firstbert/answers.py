"""A file written whole or not at all.

After predictor.py on the way of a sentence; for reports, reviews and other files that fit in memory.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from firstbert.errors import UsageError


def as_jsonl(answers: list[dict[str, Any]]) -> str:
    """Return one JSON object a line."""
    return "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)


def check_place(path: Path) -> None:
    """Refuse a place where no file can be written; worth asking before long work.

    Raises:
        UsageError: its folder is missing, or there is a folder.
    """
    if path.is_dir():
        raise UsageError(f"{path}: can't be written (is a folder). Name a file.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: can't be written (there is no folder {path.parent}). Make it, or name another.")


def write(path: Path, content: str | bytes) -> None:
    """Put a whole file in place, text as UTF-8.

    Raises:
        UsageError: it can't be written; what stood there is unchanged.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: can't be written ({error.strerror}).") from error
