"""The folder in which encoders lie prepared: what was used least recently leaves where they take too much room.

Before prepared.py on the way of a sentence. Each fine-tuned model brings an encoder of its own, so they never end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from firstbert.sources import cache_folder, gigabytes

_MAKING = "making-"
_LEFT_S = 86_400  # a folder that was being made and hasn't changed for so long was left by a kill
_IN_USE_S = 600  # whoever took a folder so recently may still be about to open what is in it


def shelf() -> Path:
    """Return the folder; each encoder has one of its own in it."""
    return cache_folder() / "prepared"


def cap() -> int:
    """Return the most bytes that prepared encoders may take: ``FIRSTBERT_PREPARED_GB``, 10 unless given.

    Raises:
        UsageError: it is no number.
    """
    return gigabytes("FIRSTBERT_PREPARED_GB", "10")


@contextlib.contextmanager
def workbench(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside others, from which what is whole is moved; what killed processes left there goes.

    By a wrong clock another's may go: it then writes elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_MAKING}*"):
        if _age(left) > _LEFT_S:
            shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=folder, prefix=_MAKING))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def used(folder: Path) -> None:
    """Note that an encoder is used now."""
    with contextlib.suppress(OSError):  # not ours to touch: then it isn't ours to remove either
        os.utime(folder)


def make_room(folder: Path, most: int) -> None:
    """Remove the encoders that were used least recently, until all together have no more bytes than `most`.

    Those of the last minutes stay. What a process has mapped it keeps, and what it needs besides it prepares anew.
    """
    encoders = (one for one in folder.glob("*") if one.is_dir() and not one.name.startswith(_MAKING))
    found = sorted((_age(one), one, _bytes(one)) for one in encoders)
    excess = sum(size for *_, size in found) - most
    for age, one, size in reversed(found):
        if excess <= 0 or age < _IN_USE_S:
            return
        gone = folder / f"{_MAKING}{one.name}-{os.getpid()}"
        with contextlib.suppress(OSError):
            one.rename(gone)  # at once: nobody finds half of it
            excess -= size
        shutil.rmtree(gone, ignore_errors=True)


def _age(folder: Path) -> float:
    """Seconds since it was used; 0 where another process has just removed it."""
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _bytes(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for file in os.scandir(folder):
            total += file.stat(follow_symlinks=False).st_size
    return total
