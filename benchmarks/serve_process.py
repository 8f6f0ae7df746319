"""A server as a process: started, waited for, watched, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.kept import ROOT, BenchError
from benchmarks.serve_load import HOST, Request

STARTS, ENDS = 180.0, 60.0  # seconds that a server may take to
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


class Server:
    """A command that serves; a context in which it runs.

    Args:
        command: as typed.
        port: that it listens at.
        variables: its environment.
        log: file for all that it says.
        asked: answered with 200 as soon as it is ready: a path to GET, or a request.

    Raises:
        BenchError: on entering, where it ends or isn't ready in time.
    """

    def __init__(
        self, command: Sequence[object], port: int, variables: Mapping[str, str], log: Path, asked: str | Request
    ) -> None:
        self.command, self.port, self.variables, self.log, self.asked = (
            list(map(str, command)),
            port,
            variables,
            log,
            asked,
        )

    def __enter__(self) -> Self:
        with self.log.open("w", encoding="utf-8") as said:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=dict(self.variables), stdout=said, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        begun = time.monotonic()
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() - begun > STARTS:
                self.stop()
                raise BenchError(f"{' '.join(self.command[:4])}: not ready: {self.log.read_text()[-1000:]}")
            time.sleep(0.1)
        self.start_seconds = time.monotonic() - begun
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _ready(self) -> bool:
        path = self.asked if isinstance(self.asked, str) else self.asked.path
        body = None if isinstance(self.asked, str) else self.asked.body.encode()
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}{path}", data=body, headers={"Content-Type": "application/json"}
        )
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
        return False

    def stop(self) -> int:
        """End it by SIGTERM, by force where that takes too long; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; what is left of its processes is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def rss(self) -> int:
        """Return the bytes of memory that its processes hold; what they share counts for each."""
        return sum(_rss(pid) for pid in _tree(self.process.pid))

    def cpu(self) -> float:
        """Return the CPU seconds of its processes, ended ones not counted."""
        return sum(_cpu(pid) for pid in _tree(self.process.pid))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _rss(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def _cpu(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK
    return 0.0


@dataclass
class Watch:
    """A server's memory, looked at every so many seconds while the context lasts.

    Attributes:
        samples: (seconds from the beginning, bytes).
    """

    server: Server
    every: float
    samples: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        begun = time.monotonic()
        while True:
            if rss := self.server.rss():
                self.samples.append((time.monotonic() - begun, rss))
            if self._over.wait(self.every):
                return

    @property
    def peak(self) -> int:
        """The most bytes seen."""
        return max((rss for _, rss in self.samples), default=0)
