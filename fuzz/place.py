"""Bytes of a fuzzer → files in a folder that is used again and again, and the errors that are no finding."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

MARK = b"\n%%\n"  # between the files that one input stands for


@cache
def folder() -> Path:
    """This process's folder; whoever runs a target removes it with `leave`."""
    return Path(tempfile.mkdtemp(prefix="firstbert-fuzz-"))


def leave() -> None:
    """Remove this process's folder."""
    shutil.rmtree(folder(), ignore_errors=True)
    folder.cache_clear()


def written(name: str, data: bytes) -> Path:
    """Write one file."""
    path = folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def split(data: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the files that an input stands for, by name; one that is left out is missing."""
    return dict(zip(names, data.split(MARK, len(names) - 1), strict=False))


def joined(parts: Mapping[str, bytes]) -> bytes:
    """Return the input that stands for these files."""
    return MARK.join(parts.values())


def filled(name: str, parts: Mapping[str, bytes], names: tuple[str, ...]) -> Path:
    """Write the files that are there into one folder, and remove the others from it."""
    for file in names:
        if (data := parts.get(file)) is not None:
            written(f"{name}/{file}", data)
        else:
            (folder() / name / file).unlink(missing_ok=True)
    return folder() / name
