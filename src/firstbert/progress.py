"""Progress with an estimate of the time left, on stderr, for anything that takes over two seconds.

After errors.py on the way of a sentence: whatever takes long shows it through this.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

DELAY_S = 2.0  # anything quicker needs no bar


def _wanted() -> bool:
    setting = os.environ.get("FIRSTBERT_PROGRESS")
    return sys.stderr.isatty() if setting is None else setting not in ("", "0")


class Advance(Protocol):
    """What `progress` gives: called with how much more is done, and what to show behind the bar."""

    def __call__(self, n: int, detail: str = "", /) -> None:
        """Show that `n` more units are done."""


@contextmanager
def progress(what: str, total: int | None = None, unit: str = "texts") -> Iterator[Advance]:
    """Show a bar from the second on which the work has taken two seconds; yield ``advance(n)``.

    Shown where stderr is a terminal; ``FIRSTBERT_PROGRESS=0`` or ``=1`` overrides that.

    Args:
        what: a verb in its -ing form and its object, e.g. ``"Encoding"``.
        total: how many units there are, None where it isn't known.
        unit: ``"texts"``, ``"bytes"``, … ``"bytes"`` is shown as MB.
    """
    if _Bar.open or not _wanted():
        yield lambda n, detail="": None
        return
    bar = _Bar(what, total, unit)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    """A rich bar that is made, and rich imported, only once the work turns out to be long.

    One at a time: what runs inside something that already shows its progress stays silent.
    """

    open = False

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done, self.started = 0, time.monotonic()
        _Bar.open = True
        self.shown: tuple[object, Callable[..., None], Callable[[], None]] | None = None

    def advance(self, n: int, detail: str = "") -> None:
        self.done += n
        if self.shown is None:
            if time.monotonic() - self.started < DELAY_S:
                return
            self._open()
        assert self.shown is not None
        task, update, _ = self.shown
        update(task, completed=self.done, detail=detail)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        count = DownloadColumn() if self.unit == "bytes" else MofNCompleteColumn()
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), count, TextColumn(self.unit),
            TimeRemainingColumn(), TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True, force_terminal=True), transient=True,
        )  # fmt: skip
        bar.start()
        self.shown = (bar.add_task(self.what, total=self.total, detail=""), bar.update, bar.stop)

    def close(self) -> None:
        _Bar.open = False
        if self.shown is not None:
            self.shown[2]()
