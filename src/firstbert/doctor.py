"""What this machine has, what the cache holds, and whether a model answers here as it did where it was saved.

After train.py; for `firstbert doctor` and `firstbert cache`.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from firstbert import __version__, artifact
from firstbert.artifact import GoldenCheck
from firstbert.cache import clear_vectors, vectors_info
from firstbert.errors import UsageError
from firstbert.session import usable_cores
from firstbert.shelf import cap
from firstbert.sources import cache_folder, offline

# Only these are ever deleted: FIRSTBERT_CACHE may name a folder that holds other things too.
_PARTS = ("files", "hashes", "locks", "partial", "prepared", "vectors")
_LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "tokenizers", "safetensors", "huggingface-hub")
_EXTRAS = ("torch", "transformers")


@dataclass(frozen=True)
class Machine:
    """What a report of a fault should say of the machine.

    Attributes:
        python, system: versions.
        cores: how many this process may use.
        libraries: name → version.
        cache: the cache folder, and whether it can be written.
        offline: whether downloads are switched off.
    """

    python: str
    system: str
    cores: int
    libraries: dict[str, str]
    cache: str
    cache_writable: bool
    offline: bool


def machine() -> Machine:
    """Look at this machine."""
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=usable_cores(),
        libraries={"firstbert": __version__} | {name: version(name) for name in _LIBRARIES} | _extras(),
        cache=str(cache_folder()),
        cache_writable=_writable(cache_folder()),
        offline=offline(),
    )


def _extras() -> dict[str, str]:
    """Versions of those optional libraries that are installed."""
    found = {}
    for name in _EXTRAS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _writable(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, can be written."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)


def check_model(folder: str | Path) -> GoldenCheck:
    """Compute a model's golden texts here.

    Raises:
        FirstbertError: the model or its encoder can't be used.
    """
    return artifact.check_golden(artifact.load(folder))


def cache_info() -> dict[str, Any]:
    """Return the cache's folder, the files and bytes of each part of it, and how large parts may grow."""
    folder = cache_folder()
    parts = [folder / part for part in _PARTS if (folder / part).is_dir()]
    return {
        "folder": str(folder), "parts": {part.name: _size(part) for part in parts}, "prepared": {"cap": cap()},
        "vectors": vectors_info(),
    }  # fmt: skip


def _size(folder: Path) -> dict[str, int]:
    """Files and bytes; what another process takes away meanwhile is passed over."""
    sizes = []
    for inside, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found = (Path(inside) / name).lstat()
                sizes += [found.st_size] if stat.S_ISREG(found.st_mode) else []
    return {"files": len(sizes), "bytes": sum(sizes)}


def clear_cache(vectors_only: bool = False) -> dict[str, Any]:
    """Delete what the cache holds, downloaded encoders included; return what was there.

    Args:
        vectors_only: leave all but the vectors in place.

    Raises:
        UsageError: some of it can't be deleted.
    """
    before, folder = cache_info(), cache_folder()
    kept = [] if clear_vectors() else ["vectors"]  # in their own way, since other processes may be using them
    parts = () if vectors_only else _PARTS
    kept += [part for part in parts if not _removed(folder / part) and part != "vectors"]
    if kept:
        raise UsageError(f"{folder}: still there: {', '.join(kept)}. Delete it as a user who may write there.")
    return before


def _removed(folder: Path) -> bool:
    """Whether all could be deleted that was there; what another process has written since is its own."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTEMPTY)
    return True
