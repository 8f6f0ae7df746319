"""A file written whole or not at all, and a folder that one process at a time works in.

After predictor.py on the way of a sentence; for reports, reviews and other files that fit in memory.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firstbert.errors import UsageError

LOCK = "lock"  # in a folder that is held


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


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a work folder for this process, making it where it isn't there.

    Raises:
        UsageError: another process has it, or it can't be made.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{folder}: another process is at work on this output: wait for it, or stop it.") from None
    except OSError as error:
        raise UsageError(f"{folder}: can't be written ({error.strerror}).") from error
    try:
        yield
    finally:
        lock.release()
