"""Requests sent to a server, and what came back: `python -m benchmarks.serve_load JOB.json OUT.json`.

One process, one thread, bare sockets kept alive, bytes made beforehand: the load shares the cores with what it
measures. JOB holds the fields of `Load` and `requests`, a file of one JSON object a line: path, body, and `kept`,
whether the bodies of its answers are wanted. OUT gets `Found`. Which answers are right is judged afterwards
(serve_answers.py).

A closed loop has so many clients, each of which sends its next request when it has the answer to the last. An open loop
sends at its own rate, whatever the server does: each request takes an idle connection or opens another one, and its
latency counts from the moment at which it was due.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
# Where no status came: the connection ended, none could be had, none was free, or the server was still silent.
LOST, REFUSED, UNSENT, SILENT = 0, -1, -2, -3
_AT_ONCE = 256  # requests sent before answers are read again
_RETRY = 0.05  # seconds until a client of the closed loop tries again where it was refused


@dataclass(frozen=True)
class Request:
    """What is sent."""

    path: str
    body: str
    kept: bool = True

    @property
    def wire(self) -> bytes:
        """Its bytes."""
        body = self.body.encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True, kw_only=True)
class Load:
    """How requests are sent.

    Attributes:
        port: of the server.
        seconds: for how long.
        clients: of a closed loop.
        rate: requests a second of an open loop; None: a closed one.
        connections: that an open loop may have at once.
        first: the request to begin with; they are sent in turn, over and over.
        limit: requests in all, None for no limit.
        patience: seconds that answers are waited for after the end.
        term: a process that is sent SIGTERM under load, None for none.
        term_after: seconds from the beginning to that; a closed loop's clients go on until they are refused.
    """

    port: int
    seconds: float
    clients: int = 1
    rate: float | None = None
    connections: int = 8000
    first: int = 0
    limit: int | None = None
    patience: float = 30.0
    term: int | None = None
    term_after: float = 0.0


@dataclass
class Found:
    """What came of each request, in the order in which they ended.

    Attributes:
        index: which request.
        status: of HTTP; LOST, REFUSED, UNSENT or SILENT where there was none.
        start: seconds from the beginning until it was sent, or due.
        seconds: from then to its end.
        answers: request, body and how often: the bodies of status 200.
        cpu: seconds that sending and reading took this process.
        wall: seconds from the beginning to the end.
        termed: seconds from the beginning to SIGTERM.
        opened: connections.
    """

    index: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    answers: list[tuple[int, str, int]] = field(default_factory=list)
    cpu: float = 0.0
    wall: float = 0.0
    termed: float | None = None
    opened: int = 0


class _Connection:
    """A socket, and the request that it waits for."""

    __slots__ = ("buffer", "index", "left", "sock", "start")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.left = b""  # of the request, unsent
        self.index = -1
        self.start = 0.0


class _Loop:
    def __init__(self, load: Load, requests: Sequence[Request]) -> None:
        self.load = load
        self.wires = [request.wire for request in requests]
        self.kept = [request.kept for request in requests]
        self.selector = selectors.DefaultSelector()
        self.found = Found()
        self.bodies: dict[tuple[int, bytes], int] = {}
        self.idle: list[_Connection] = []
        self.busy: set[_Connection] = set()
        self.waiting: list[float] = []  # clients that were refused: when they try again
        self.sent = 0
        self.begun = 0.0

    def now(self) -> float:
        return time.perf_counter() - self.begun

    # -- what is due

    @property
    def over(self) -> bool:
        """Whether no more is to be sent: an open loop sends all that is due in its time, however late."""
        load = self.load
        if load.limit is not None and self.sent >= load.limit:
            return True
        return (self.now() if load.rate is None else self.sent / load.rate) >= load.seconds

    def run(self) -> Found:
        load, found = self.load, self.found
        self.begun, cpu = time.perf_counter(), time.process_time()
        if load.rate is None:
            self.waiting = [0.0] * load.clients
        while True:
            self._term()
            self._due()
            if not self.busy and (self.over or (load.rate is None and not self.waiting)):
                break
            if self.now() > load.seconds + load.patience:
                break
            for key, events in self.selector.select(self._pause()):
                if events & selectors.EVENT_WRITE:
                    self._send(key.data)
                if events & selectors.EVENT_READ and key.data.sock.fileno() >= 0:
                    self._receive(key.data)
        for connection in [*self.busy]:
            self._end(connection, SILENT)
            self._close(connection)
        for connection in self.idle:
            self._close(connection)
        self.selector.close()
        found.cpu, found.wall = time.process_time() - cpu, self.now()
        found.answers = [(index, body.decode(), n) for (index, body), n in self.bodies.items()]
        return found

    def _term(self) -> None:
        load = self.load
        if load.term and self.found.termed is None and self.now() >= load.term_after:
            self.found.termed = self.now()
            os.kill(load.term, signal.SIGTERM)

    def _due(self) -> None:
        """Send what is due now."""
        rate = self.load.rate
        for _ in range(_AT_ONCE):
            if self.over:
                return
            if rate is not None:
                if self.sent > self.now() * rate:
                    return
                self._begin(self.sent / rate)
            elif self.waiting and self.waiting[0] <= self.now():
                self.waiting.pop(0)
                self._begin(self.now())
            else:
                return

    def _pause(self) -> float:
        """Seconds until there is something to do unless an answer comes."""
        now, load = self.now(), self.load
        until = load.seconds if now < load.seconds else load.seconds + load.patience
        if not self.over:
            if load.rate is not None:
                until = min(until, self.sent / load.rate)
            elif self.waiting:
                until = min(until, self.waiting[0])
        if load.term and self.found.termed is None:
            until = min(until, load.term_after)
        return max(0.0, until - now)

    def _begin(self, due: float) -> None:
        """Send the next request on an idle connection or a new one."""
        index = (self.load.first + self.sent) % len(self.wires)
        self.sent += 1
        connection = self.idle.pop() if self.idle else self._open()
        if connection is None:
            self._note(index, UNSENT, due)
            return
        connection.index, connection.start = index, due
        connection.left = self.wires[index]
        self.busy.add(connection)
        self._send(connection)

    # -- connections

    def _open(self) -> _Connection | None:
        """Open a connection; None where there are as many as may be, or this machine has no port left."""
        if len(self.busy) >= max(self.load.connections, self.load.clients):
            return None
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sock.connect_ex((HOST, self.load.port)) == errno.EADDRNOTAVAIL:
            sock.close()
            return None
        self.found.opened += 1
        connection = _Connection(sock)
        self.selector.register(sock, selectors.EVENT_READ, connection)
        return connection

    def _close(self, connection: _Connection) -> None:
        self.selector.unregister(connection.sock)
        connection.sock.close()

    def _send(self, connection: _Connection) -> None:
        wanted = selectors.EVENT_READ
        try:
            connection.left = connection.left[connection.sock.send(connection.left) :]
        except BlockingIOError:
            pass
        except ConnectionRefusedError:
            self._lose(connection, REFUSED)
            return
        except OSError:
            self._lose(connection, LOST)
            return
        if connection.left:
            wanted |= selectors.EVENT_WRITE
        if self.selector.get_key(connection.sock).events != wanted:
            self.selector.modify(connection.sock, wanted, connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            self._lose(connection, REFUSED)
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection, LOST)
            return
        connection.buffer += data
        if (answer := _answer(connection.buffer)) is None:
            return
        status, body, stays = answer
        index = connection.index
        if status == 200 and self.kept[index]:
            self.bodies[index, body] = self.bodies.get((index, body), 0) + 1
        self._end(connection, status)
        connection.buffer = b""
        if stays and not connection.left:
            self.idle.append(connection)
        else:  # refused before it was read to its end, or the server's last answer here
            self._close(connection)
        self._next()

    def _lose(self, connection: _Connection, status: int) -> None:
        """The connection has ended."""
        self._close(connection)
        if connection not in self.busy:
            self.idle.remove(connection)
            return
        self._end(connection, status)
        if self.load.rate is None and (self.found.termed is None or status != REFUSED):
            self.waiting.append(self.now() + _RETRY)

    def _next(self) -> None:
        """A client of the closed loop goes on."""
        if self.load.rate is None and not self.over:
            self._begin(self.now())

    def _end(self, connection: _Connection, status: int) -> None:
        self.busy.discard(connection)
        self._note(connection.index, status, connection.start)

    def _note(self, index: int, status: int, start: float) -> None:
        found = self.found
        found.index.append(index)
        found.status.append(status)
        found.start.append(start)
        found.seconds.append(self.now() - start)


def _answer(data: bytes) -> tuple[int, bytes, bool] | None:
    """Return status, body and whether the connection stays; None where there is more to come."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError(f"an answer without a length: {data[:200]!r}")
    length = int(head[at + 17 :].split(b"\r\n", 1)[0])
    body = data[end + 4 : end + 4 + length]
    return (int(data[9:12]), body, b"\r\nconnection: close" not in head) if len(body) == length else None


def send(load: Load, requests: Sequence[Request]) -> Found:
    """Send requests; return what came of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    try:
        return _Loop(load, requests).run()
    finally:
        gc.enable()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main(question: str, answer: str) -> None:
    job = json.loads(Path(question).read_text(encoding="utf-8"))
    lines = Path(job.pop("requests")).read_text(encoding="utf-8").splitlines()
    found = send(Load(**job), [Request(**json.loads(line)) for line in lines])
    Path(answer).write_text(json.dumps(asdict(found)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
