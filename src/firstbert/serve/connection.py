"""One client's connection: uvicorn's, with bounds, and a short way for what is asked most often.

After lingering.py in serve/. uvicorn has no bound on the time and the size of a request's head. On the short way a
request takes neither ASGI nor FastAPI: the body goes to its route's handler as soon as it is complete, and the answer
is written in one piece. What is out of the ordinary (no length, too long, no key, pipelined, HTTP/1.0 …) goes by ASGI.
Where more connections are open than may be, the first to come are served and the others refused, without either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from firstbert.serve.gate import GONE, JSON, Answer, Ask, Gate, Known, NoRoomError, problem
from firstbert.serve.lingering import Lingering

HEAD_BYTES = 64_000
AHEAD = 100  # requests that may be sent before the first of them is answered
AHEAD_BYTES = 1_000_000  # of the last of them
_CLOSE = (b"connection", b"close")
_UPGRADE = (b"upgrade", b"http2-settings")
_SOON = {"Retry-After": "1"}
_PROBES = (b"/health", b"/ready", b"/metrics")  # GET of these is answered however many connections are open


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
                 "response_complete", "response_started", "size")  # fmt: skip
    message_event = asyncio.Event()  # uvicorn sets it; nobody waits for it

    def __init__(self, connection: Guarded, known: Known, request_id: str, start: float, keep_alive: bool) -> None:
        self.connection, self.known, self.request_id, self.keep_alive = connection, known, request_id, keep_alive
        self.ask = Ask(b"", known.model, start)
        self.body: list[bytes] = []
        self.size = 0  # of these
        self.complete = self.disconnected = self.response_started = self.response_complete = False

    def take(self, body: bytes) -> None:
        """Keep a piece of its body.

        Raises:
            NoRoomError: too much is coming in at once.
        """
        self.body.append(body)
        self.size += len(body)
        self.connection.gate.room.take(len(body))

    def give_back(self) -> None:
        """It is no longer coming in."""
        self.connection.gate.room.take(-self.size)
        self.size = 0

    def begin(self) -> None:
        """Answer it: it is all here."""
        self.give_back()
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
        self.give_back()
        if not self.complete:
            gate.note(self.request_id, "POST", self.known.route, GONE, self.ask)


class Guarded(HttpToolsProtocol):
    """A connection that must bring each request within a time, and its head within a size.

    Args:
        given, named: uvicorn's own.
        gate: the application.
        read_timeout_s: how long a request may take to come in.
        most: connections that are served at once.
    """

    def __init__(self, *given: Any, gate: Gate, read_timeout_s: float, most: int, **named: Any) -> None:
        super().__init__(*given, **named)
        self.gate, self.read_timeout_s, self.most = gate, read_timeout_s, most

    def connection_made(self, transport: Any) -> None:
        """Start the clock: who connects must ask."""
        super().connection_made(transport)
        self.transport: Any = Lingering(transport, self.read_timeout_s, self._more_may_come, self._read_on)
        self.served = False  # one of those that the bound allows
        self._take_a_place()
        self.held: tuple[int, str] | None = None  # how the connection ends once what was asked before is answered
        self.head_bytes = 0  # since a request began, or since the last piece of its body
        self.in_head = True  # a head is due
        self.coming = False  # a request has begun and isn't all here
        self.start = time.perf_counter()
        self.clock: asyncio.TimerHandle | None = None  # of a request
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks, leave the place to another one."""
        if isinstance(self.cycle, Direct):
            self.cycle.gone(self.gate)
        super().connection_lost(exc)
        self.transport.lost()
        self._stop_clock()
        self.gate.served -= self.served
        self.served = False

    def data_received(self, data: bytes) -> None:
        """Count what isn't body; see to it that there is a clock: of the request, its answer, or doing nothing."""
        if self.deaf:
            return
        self.head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self.transport.is_closing():
            return
        if self.head_bytes > HEAD_BYTES:
            self._end(431, f"The request's head is longer than {HEAD_BYTES:,} bytes.")
        elif self.clock is None and self.coming:
            self._start_clock()
        elif self.clock is None and not self.answering:  # uvicorn has stopped it
            idle = self.timeout_keep_alive, self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(*idle)

    def _feed(self, data: bytes) -> None:
        """Have it parsed.

        A wish for another protocol is passed over, as a server may: the parser would take the body for that protocol's
        bytes, and clients that would like HTTP/2 send the wish with any request.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self.deaf:
                    return
                data = self._plain_head() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            except httptools.HttpParserError:
                self.send_400_response("")
                return

    def _plain_head(self) -> bytes:
        """Return the request's head without that wish."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                kept = b",".join(word for word in value.split(b",") if word.strip().lower() not in _UPGRADE)
            lines += [] if name in _UPGRADE else [b"%b: %b" % (name, kept)]
        return b"\r\n".join([*lines, b"", b""])

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client that has ended its side, and only that, is still answered what it has asked."""
        if not self.answering or (self.coming and not self.in_head) or self.transport.is_closing():
            self.transport.watch()
            return None
        self.cycle.keep_alive = False
        return True

    # -- a request comes in

    def on_message_begin(self) -> None:
        """One more request."""
        self.in_head = self.coming = True
        self.head_bytes = 0
        self._stop_clock()
        self.start = time.perf_counter()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Choose the way; from here on the application bounds the size."""
        if self.deaf or self._passed_over():
            return
        headers = dict(self.headers)
        request_id = self.gate.new_id(headers.get(b"x-request-id"))
        if self._too_many():
            self._end(503, f"More than {self.most:,} connections are open.", request_id)
            return
        if len(self.pipeline) >= AHEAD:
            self._end(503, f"More than {AHEAD} requests were sent ahead on one connection.", request_id)
            return
        if known := self._known(headers):
            keep_alive = self.parser.should_keep_alive()
            self.cycle = Direct(self, known, request_id, self.start, keep_alive)  # type: ignore[assignment]
        else:
            super().on_headers_complete()
            self.cycle.scope["id"] = request_id  # type: ignore[typeddict-unknown-key]
            self.cycle.keep_alive = self.cycle.keep_alive and self.served  # after a probe, others may have the place
        self.in_head = False

    def _passed_over(self) -> bool:
        """Whether it comes again, without the wish for another protocol."""
        if not self.parser.should_upgrade():
            return False
        if self.parser.get_method() == b"CONNECT":
            self._end(501, "CONNECT isn't known here.")
        return True

    def _take_a_place(self) -> None:
        """Become one of those that the bound allows, if there is room."""
        if not self.served and self.gate.served < self.most:
            self.served = True
            self.gate.served += 1

    def _too_many(self) -> bool:
        """Whether this request is refused, since others came before it."""
        self._take_a_place()
        return not self.served and (self.parser.get_method() != b"GET" or self.url not in _PROBES)

    def _known(self, headers: dict[bytes, bytes]) -> Known | None:
        """Return what answers it where it takes the short way."""
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        return None if b"expect" in headers or self.answering else self.gate.direct(self.url, headers)

    @property
    def answering(self) -> bool:
        """Whether there is a request whose answer isn't complete."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def deaf(self) -> bool:
        """Whether what comes isn't looked at any more."""
        return self.held is not None or self.transport.is_closing()

    def on_body(self, body: bytes) -> None:
        """Keep what has come."""
        self.head_bytes = 0
        if self.deaf:
            return
        if not isinstance(self.cycle, Direct):
            super().on_body(body)
            if self.pipeline and len(self.cycle.body) > AHEAD_BYTES:
                self._end(503, "Too much was sent before earlier requests were answered.")
            return
        try:
            self.cycle.take(body)
        except NoRoomError as error:
            self._end(error.http_status, str(error))

    def on_message_complete(self) -> None:
        """It is all here."""
        if self.held is not None or (self.parser.should_upgrade() and not self.transport.is_closing()):
            return
        self.coming = False
        self._stop_clock()
        if self.transport.is_closing():
            self.transport.close()
        elif isinstance(self.cycle, Direct):
            self.cycle.begin()
        else:
            super().on_message_complete()

    # -- an answer goes out

    def reply(self, direct: Direct, answer: Answer) -> None:
        """Write the answer, unless the client has gone."""
        if self.transport.is_closing():
            return
        defaults = self.server_state.default_headers
        closes = not direct.keep_alive or (_CLOSE in defaults and not self.pipeline)
        direct.response_started = direct.response_complete = True
        if closes != (_CLOSE in defaults):
            defaults = [*defaults, _CLOSE] if closes else [each for each in defaults if each != _CLOSE]
        self._write(answer, direct.request_id, defaults)
        if closes:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on with what was sent ahead; uvicorn's name for that."""
        super().on_response_complete()
        if self.held is not None and not self.pipeline:
            (status, message), self.held = self.held, None
            self._end(status, message)

    def _write(
        self, answer: Answer, request_id: str, names: Iterable[tuple[bytes, bytes]], *, body: bool = True
    ) -> None:
        own = "".join(f"{name.lower()}: {value}\r\n" for name, value in answer.headers.items())
        head = (
            f"{_STATUS[answer.status]}content-type: {JSON}\r\ncontent-length: {len(answer.body)}\r\n"
            f"x-request-id: {request_id}\r\n{own}"
        )
        shared = b"".join([b"%b: %b\r\n" % header for header in names])
        self.transport.write(b"%b%b\r\n%b" % (head.encode("latin-1"), shared, answer.body if body else b""))

    @property
    def busy(self) -> bool:
        """Whether a request has begun that isn't answered yet."""
        return not self.transport.is_closing() and (self.answering or (self.coming and self.in_head))

    # -- time

    def _more_may_come(self) -> bool:
        return self.coming or self.flow.read_paused

    def _read_on(self) -> None:
        """Read, whatever comes, for as long as a request may take; then leave."""
        self.flow.resume_reading()
        self._stop_clock()
        self.clock = self.loop.call_later(self.read_timeout_s, self.transport.abort)

    def _start_clock(self) -> None:
        self.clock = self.loop.call_later(self.read_timeout_s, self._too_slow)

    def _stop_clock(self) -> None:
        if self.clock is not None:
            self.clock.cancel()
            self.clock = None

    def pause_writing(self) -> None:
        """The client doesn't read: it has as long for that as for a request, and again whenever it has read some."""
        super().pause_writing()
        self.transport.watch()

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        self.transport.read_again()

    def _too_slow(self) -> None:
        if self.pipeline and self.flow.read_paused:  # we are, not the client
            self._start_clock()
            return
        self._end(408, f"The request wasn't complete within {self.read_timeout_s:g} s.")

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP; uvicorn's name for that."""
        self._end(400, "This is no request of HTTP/1.1.")

    def _end(self, status: int, message: str, request_id: str | None = None) -> None:
        """Say why, unless an answer is being sent already, and close; but first comes what was asked before."""
        if self.deaf:
            return
        if self.pipeline or (self.answering and self.in_head):
            self.held = status, message
            self.flow.pause_reading()
            self._stop_clock()
            return
        cycle = self.cycle if self.answering else None
        answered = self.coming and not self.in_head and cycle is None  # and its body still comes
        if answered or (cycle is not None and cycle.response_started):
            self.transport.close()
            return
        self.cycle = None  # type: ignore[assignment]
        answer = problem(status, message, _SOON if status == 503 else None)
        if isinstance(cycle, Direct):
            cycle.give_back()
            self._refuse(answer, cycle.request_id, "POST")
        elif cycle is not None:  # the gate will write it down, as left by its client
            self._refuse(answer, str(cycle.scope.get("id")), known=True)
            cycle.disconnected = True
            cycle.message_event.set()
        else:
            method = self.parser.get_method().decode() if request_id else None  # else there may be none yet
            self._refuse(answer, request_id or self.gate.new_id(None), method)

    def _refuse(self, answer: Answer, request_id: str, method: str | None = None, *, known: bool = False) -> None:
        """Write the connection's last answer and close it; write it down unless the gate knows of it."""
        self._write(answer, request_id, {*self.server_state.default_headers, _CLOSE}, body=method != "HEAD")
        self.transport.close()
        if not known:
            self.gate.note(request_id, method, "refused", answer.status, Ask(b"", None, self.start))


_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
