"""Weights that are mapped from disk, brought into memory before they are needed.

After watch.py in serve/. A word's row of the table is read when a text first has it. Page by page, that took a server's
memory up for minutes, and the disk into somebody's answer.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_POPULATE_READ = 22  # of madvise; Linux has it since 5.14, and says no before


def bring_in(folder: Path) -> int:
    """Bring all that is mapped of a folder's files into memory, where the system can; return how many bytes."""
    if sys.platform != "linux":
        return 0
    madvise, size = ctypes.CDLL(None).madvise, 0
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        span, *_, path = line.split(maxsplit=5)
        if path.startswith(f"{folder}/"):
            start, stop = (int(address, 16) for address in span.split("-"))
            if madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), _POPULATE_READ) == 0:
                size += stop - start
    return size
