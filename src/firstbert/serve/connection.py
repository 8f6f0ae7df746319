"""One client's connection: uvicorn's, with bounds, and a short way for what is asked most often.

After gate.py in serve/. uvicorn has no bound on the time and the size of a request's head. On the short way a request
takes neither ASGI nor FastAPI: the body goes to its route's handler as soon as it is complete, and the answer is
written in one piece. What is out of the ordinary (no length, too long, no key, pipelined, HTTP/1.0 …) goes by ASGI.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from firstbert.serve.gate import GONE, JSON, Answer, Ask, Gate, Known, problem

HEAD_BYTES = 64_000
_CLOSE = (b"connection", b"close")


class Direct:
    """A request on the short way, with what uvicorn looks at of a request.

    Args:
        connection: that it came on.
        known: what answers it.
        request_id: as it is written down.
        start: when it began to come in, in seconds of time.perf_counter.
        keep_alive: whether the connection stays after it.
    """

    __slots__ = ("ask", "body", "complete", "connection", "disconnected", "keep_alive", "known", "request_id",
                 "response_complete", "response_started")  # fmt: skip
    message_event = asyncio.Event()  # uvicorn sets it; nobody waits for it

    def __init__(self, connection: Guarded, known: Known, request_id: str, start: float, keep_alive: bool) -> None:
        self.connection, self.known, self.request_id, self.keep_alive = connection, known, request_id, keep_alive
        self.ask = Ask(b"", known.model, start)
        self.body: list[bytes] = []
        self.complete = self.disconnected = self.response_started = self.response_complete = False

    def begin(self) -> None:
        """Answer it: it is all here."""
        self.complete, self.ask.body = True, b"".join(self.body)
        self.connection._start_asgi_task(self, self.connection.gate)  # type: ignore[arg-type]

    async def run_asgi(self, gate: Gate) -> None:
        """Answer it; uvicorn's name for that."""
        answer = await gate.answer(self.known, self.ask, self.request_id)
        if self.connection.flow.write_paused:  # the client doesn't read what it was answered before
            await self.connection.flow.drain()
        self.connection.reply(self, answer)

    def gone(self, gate: Gate) -> None:
        """The connection has ended."""
        if not self.complete:
            gate.note(self.request_id, "POST", self.known.route, GONE, self.ask)


class Guarded(HttpToolsProtocol):
    """A connection that must bring each request within a time, and its head within a size.

    Args:
        given, named: uvicorn's own.
        gate: the application.
        read_timeout_s: how long a request may take to come in.
    """

    def __init__(self, *given: Any, gate: Gate, read_timeout_s: float, **named: Any) -> None:
        super().__init__(*given, **named)
        self.gate, self.read_timeout_s = gate, read_timeout_s

    def connection_made(self, transport: Any) -> None:
        """Start the clock: who connects must ask."""
        super().connection_made(transport)
        self.head_bytes = 0
        self.in_head = self.reading = True
        self.clock: asyncio.TimerHandle | None = None
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        if isinstance(self.cycle, Direct):
            self.cycle.gone(self.gate)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the head's bytes; start the clock for a request that isn't complete yet."""
        if self.in_head:
            self.head_bytes += len(data)
        super().data_received(data)
        if self.in_head and self.head_bytes > HEAD_BYTES:
            self._end(431, f"The request's head is longer than {HEAD_BYTES:,} bytes.")
        elif self.reading and self.clock is None and not self.transport.is_closing():
            self._start_clock()

    # -- a request comes in

    def on_message_begin(self) -> None:
        """One more request."""
        self.in_head = self.reading = True
        self.head_bytes = 0
        self._stop_clock()
        self.start = time.perf_counter()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Choose the way; from here on the application bounds the size."""
        self.in_head = False
        if (direct := self._direct()) is None:
            super().on_headers_complete()
        else:
            self.cycle = direct  # type: ignore[assignment]

    def _direct(self) -> Direct | None:
        """Return the request where it takes the short way."""
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1" or parser.should_upgrade():
            return None
        headers = dict(self.headers)
        if (known := self.gate.direct(self.url, headers)) is None or b"expect" in headers or not self._room:
            return None
        request_id = self.gate.new_id(headers.get(b"x-request-id"))
        return Direct(self, known, request_id, self.start, parser.should_keep_alive())

    @property
    def _room(self) -> bool:
        """Whether nothing is before it on this connection, and there aren't too many of these."""
        most = self.limit_concurrency or 10**9
        idle = self.cycle is None or self.cycle.response_complete
        return idle and len(self.connections) < most and len(self.tasks) < most

    def on_body(self, body: bytes) -> None:
        """Keep what has come."""
        if isinstance(self.cycle, Direct):
            self.cycle.body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is all here."""
        self.reading = False
        self._stop_clock()
        if isinstance(self.cycle, Direct):
            self.cycle.begin()
        else:
            super().on_message_complete()

    # -- an answer goes out

    def reply(self, direct: Direct, answer: Answer) -> None:
        """Write the answer, unless the client has gone."""
        if self.transport.is_closing():
            return
        defaults = self.server_state.default_headers
        closes = not direct.keep_alive or _CLOSE in defaults
        names = [*defaults, _CLOSE] if closes and _CLOSE not in defaults else defaults
        own = "".join(f"{name.lower()}: {value}\r\n" for name, value in answer.headers.items())
        head = (
            f"{_STATUS[answer.status]}content-type: {JSON}\r\ncontent-length: {len(answer.body)}\r\n"
            f"x-request-id: {direct.request_id}\r\n{own}"
        )
        direct.response_started = direct.response_complete = True
        shared = b"".join([b"%b: %b\r\n" % header for header in names])
        self.transport.write(b"%b%b\r\n%b" % (head.encode("latin-1"), shared, answer.body))
        if closes:
            self.transport.close()
        self.on_response_complete()

    @property
    def busy(self) -> bool:
        """Whether a request has begun that isn't answered yet."""
        begun = self.in_head and self.head_bytes > 0
        return begun or (self.cycle is not None and not self.cycle.response_complete)

    # -- time

    def _start_clock(self) -> None:
        self.clock = self.loop.call_later(self.read_timeout_s, self._too_slow)

    def _stop_clock(self) -> None:
        if self.clock is not None:
            self.clock.cancel()
            self.clock = None

    def _too_slow(self) -> None:
        self._end(408, f"The request wasn't complete within {self.read_timeout_s:g} s.")

    def _end(self, status: int, message: str) -> None:
        """Say why, unless an answer is being sent already, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = problem(status, message).body
            head = f"HTTP/1.1 {status} Error\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()


_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
