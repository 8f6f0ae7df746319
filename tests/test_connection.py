"""A client's connection: which requests take the short way, and that nobody can tell from the answer."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Response
from uvicorn.server import ServerState

from firstbert.serve.connection import AHEAD, Direct, Guarded
from firstbert.serve.gate import Answer, Ask, Gate, GoneError, Known, NoRoomError, Room, body_of, refusal
from firstbert.serve.options import ServeOptions
from firstbert.serve.watch import Log, Metrics
from serving import Service, serve

KEY = "a-key-for-the-tests-0123456789"
BODY = b'{"inputs": "What a joy."}'


def wire(*lines: str, first: str = "POST /predict HTTP/1.1", body: bytes = BODY, length: bool = True) -> bytes:
    head = [first, "Host: x", *lines, *([f"Content-Length: {len(body)}"] if length else [])]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:], b""))


CHUNKED = wire("Transfer-Encoding: chunked", body=chunked(BODY), length=False)


# ---------------------------------------------------------------- which way


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent, self.ended, self.closed = b"", False, False
        self.unsent: list[int] = []
        self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.ended and not self.closed
        self.sent += data

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.unsent.pop(0) if self.unsent else 0

    def abort(self) -> None:
        self.aborted = self.closed = True


async def eventually(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not done() and time.monotonic() < until:
        await asyncio.sleep(0.01)


def connection(other: Guarded | None = None, seconds: float = 0.05, **options: Any) -> tuple[Guarded, Transport]:
    """A connection to a service that answers each body with itself, beside another one."""

    async def echo(ask: Ask) -> Answer:
        if b"fault" in ask.body:
            raise RuntimeError
        return Answer(ask.body)

    known = {"/predict": Known("/predict", None, echo)}
    gate = Gate(FastAPI(), known, ServeOptions(("m",), max_body=1000, **options), Metrics(), Log(quiet=True))
    state, gate = (other.server_state, other.gate) if other else (ServerState(), gate)
    config, most = uvicorn.Config(gate, ws="none", log_config=None), options.get("max_connections", 100)
    made = Guarded(config, state, {}, gate=gate, read_timeout_s=seconds, most=most)
    made.connection_made(transport := Transport())
    return made, transport


@pytest.mark.parametrize(
    ("sent", "options", "short"),
    [
        (wire(), {}, True),
        (wire("X-Request-Id: a", "Connection: close"), {}, True),
        (wire(f"Authorization: Bearer {KEY}"), {"keys": (KEY,)}, True),
        (wire(), {"keys": (KEY,)}, False),
        (wire("Authorization: Bearer wrong"), {"keys": (KEY,)}, False),
        (CHUNKED, {}, False),
        (wire("Expect: 100-continue"), {}, False),
        (wire("Connection: Upgrade", "Upgrade: h2c"), {}, True),
        (wire(first="POST /predict HTTP/1.0"), {}, False),
        (wire(first="PUT /predict HTTP/1.1"), {}, False),
        (wire(first="POST /predict?a=b HTTP/1.1"), {}, False),
        (wire(first="POST /other HTTP/1.1"), {}, False),
        (wire(body=b"a" * 1000), {}, True),
        (wire(body=b"a" * 1001), {}, False),
        (wire(body=b""), {}, False),
        (wire(), {"max_connections": 2}, True),
        (wire() + wire(), {}, False),  # the last of them waits for the first
    ],
)  # fmt: skip
def test_which_requests_take_the_short_way(sent: bytes, options: dict[str, Any], short: bool) -> None:
    async def send() -> bool:
        made, _ = connection(**options)
        made.data_received(sent)
        taken = isinstance(made.cycle, Direct)
        await asyncio.sleep(0)
        made.connection_lost(None)
        for task in made.tasks:
            task.cancel()
        return taken

    assert asyncio.run(send()) == short


# ---------------------------------------------------------------- too many


def test_the_first_to_come_are_served_and_the_others_told_when_to_come_again() -> None:
    async def send() -> tuple[bool, bytes, bool, bool]:
        first, _ = connection(max_connections=1)
        (second, refused), (third, _) = (connection(first, max_connections=1) for _ in range(2))
        for each in (second, first):
            each.data_received(wire("X-Request-Id: a"))
        served = isinstance(first.cycle, Direct)
        await asyncio.sleep(0.01)
        first.connection_lost(None)
        second.connection_lost(None)
        third.data_received(wire())
        return served, refused.sent, refused.closed, isinstance(third.cycle, Direct)

    served, told, closed, later = asyncio.run(send())
    head, _, body = told.partition(b"\r\n\r\n")
    assert served and closed and later
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n") and json.loads(body)["error_type"] == "unavailable"
    lines = head.lower().split(b"\r\n")
    assert {b"retry-after: 1", b"connection: close", b"x-request-id: a"} <= set(lines)
    assert b"content-length: %d" % len(body) in lines


@pytest.mark.parametrize(
    ("first", "refused"),
    [
        ("GET /health HTTP/1.1", False),
        ("GET /metrics HTTP/1.1", False),
        ("POST /health HTTP/1.1", True),
        ("GET / HTTP/1.1", True),
        ("GET /health?a HTTP/1.1", True),
    ],
)
def test_probes_are_answered_however_many_there_are(first: str, refused: bool) -> None:
    async def send() -> bool:
        made, transport = connection(connection(max_connections=1)[0], max_connections=1)
        made.data_received(wire(first=first, body=b""))
        await asyncio.sleep(0.01)
        return b" 503 " in transport.sent

    assert asyncio.run(send()) == refused


def test_a_refusal_has_no_body_where_the_head_alone_was_wanted() -> None:
    async def send() -> bytes:
        made, transport = connection(connection(max_connections=1)[0], max_connections=1)
        made.data_received(wire(first="HEAD / HTTP/1.1", body=b"") + wire())  # what follows isn't answered
        return transport.sent

    assert asyncio.run(send()).endswith(b"\r\n\r\n")


def test_a_request_behind_another_one_waits_for_its_turn() -> None:
    async def send() -> bytes:
        made, transport = connection(max_connections=1)
        made.data_received(wire() + wire(first="GET / HTTP/1.1", body=b""))
        await asyncio.sleep(0.05)
        return transport.sent

    assert [part[:4] for part in asyncio.run(send()).split(b"HTTP/1.1 ")[1:]] == [b"200 ", b"404 "]


def test_a_probe_leaves_no_place_taken() -> None:
    async def send() -> tuple[bytes, bool]:
        made, transport = connection(connection(max_connections=1)[0], max_connections=1)
        made.app = made.gate
        made.data_received(wire(first="GET /health HTTP/1.1", body=b"") + wire())
        await asyncio.sleep(0.05)
        return transport.sent, transport.ended

    sent, closed = asyncio.run(send())
    assert sent.startswith(b"HTTP/1.1 404 ") and sent.count(b"HTTP/1.1 ") == 1 and closed


def test_the_places_are_counted() -> None:
    async def send() -> list[int]:
        first, _ = connection(max_connections=2)
        others = [connection(first, max_connections=2)[0] for _ in range(3)]
        counts = [first.gate.served]
        for each in (others[1], others[0], first):
            each.connection_lost(None)
            counts.append(first.gate.served)
        others[2].data_received(wire())
        return [*counts, first.gate.served]

    assert asyncio.run(send()) == [2, 2, 1, 0, 1]


SLOW = wire(first="PUT /slow HTTP/1.1")


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        ([wire(), b"no HTTP"], "200 400"),
        ([wire() + b"no HTTP"], "200 400"),
        ([SLOW, b"no HTTP"], "200 400"),
        ([SLOW, wire()[:-3]], "200 408"),
        ([SLOW, CHUNKED[:-12] + b"no chunk"], "200 400"),
        ([SLOW + CHUNKED[:-12] + b"no chunk"], "200 400"),
        ([SLOW + wire() + b"no HTTP"], "200 200 400"),
        ([SLOW, b"GET / HTTP/1.1\r\nX: ", b"a" * 70_000], "200 431"),
        ([SLOW + wire() * (AHEAD + 100)], "200 " * (AHEAD + 1) + "503"),
        ([SLOW + wire(first="PUT / HTTP/1.1", body=b"a" * 1_100_000)], "200 503"),
        ([b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"], "501"),
        (["GET /\xe9 HTTP/1.1\r\n\r\n".encode()], "400"),
        ([b"GET http://a:99999/ HTTP/1.1\r\n\r\n"], "400"),
        ([CHUNKED[:-2], *[b"X: " + b"a" * 30_000 + b"\r\n"] * 3], "431"),
    ],
)
def test_first_comes_what_was_asked_first(sent: list[bytes], statuses: str) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        try:
            await body_of(scope, receive, Room(1000))
        except GoneError:
            return
        await asyncio.sleep(0.1 if scope["path"] == "/slow" else 0)
        await Response(b"slow")(scope, receive, send)

    async def talk() -> tuple[bytes, bool]:
        made, transport = connection(seconds=1.0)
        made.app = slow
        for part in sent:
            made.data_received(part)
            await asyncio.sleep(0.001)
        await eventually(lambda: transport.ended or transport.closed)
        await eventually(lambda: not made.tasks)
        assert not made.tasks
        return transport.sent, transport.ended or transport.closed

    answers, ended = asyncio.run(talk())
    assert [part[:3].decode() for part in answers.split(b"HTTP/1.1 ")[1:]] == statuses.split()
    assert ended


def test_what_follows_an_error_is_not_even_parsed() -> None:
    async def send() -> tuple[int, int]:
        made, _ = connection()
        for sent in (wire(), b"GET / HTTP/1.1\r\nX: ", b"a" * 70_000):
            made.data_received(sent)
        before = made.head_bytes
        made.data_received(b"a" * 70_000)
        await asyncio.sleep(0.01)
        return before, made.head_bytes

    before, after = asyncio.run(send())
    assert before == after


def test_an_end_waits_for_what_was_sent_ahead() -> None:
    async def send() -> bytes:
        made, transport = connection()
        made.data_received(wire() + wire(first="PUT /other HTTP/1.1"))
        made.server_state.default_headers = [(b"connection", b"close")]
        await asyncio.sleep(0.05)
        return transport.sent.lower()

    first, second = asyncio.run(send()).split(b"http/1.1 ")[1:]
    assert first.startswith(b"200 ") and b"connection: close" not in first
    assert second.startswith(b"404 ")


def test_no_client_is_too_slow_while_we_do_not_read() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await body_of(scope, receive, Room(10**6))
        await asyncio.sleep(0.8)
        await Response(b"slow")(scope, receive, send)

    async def send() -> tuple[bytes, bytes]:
        made, transport = connection()
        made.app = slow
        made.data_received(SLOW)
        await asyncio.sleep(0)  # it has been read
        made.data_received(wire(first="PUT /slow HTTP/1.1", body=b"a" * 70_000)[:-3])
        await asyncio.sleep(0.2)
        before = transport.sent
        made.data_received(b"aaa")
        await eventually(lambda: transport.sent.count(b"slow") == 2)
        return before, transport.sent

    before, after = asyncio.run(send())
    assert not before and after.count(b"HTTP/1.1 200 ") == 2


def test_who_stops_reading_a_last_answer_halfway_is_left() -> None:
    async def send() -> bool:
        made, transport = connection()
        made.data_received(wire("Connection: close"))
        await asyncio.sleep(0.01)
        assert transport.closed  # as soon as all is sent
        transport.unsent = [9] * 99
        made.pause_writing()
        made.resume_writing()
        await asyncio.sleep(0.2)
        return transport.aborted

    assert asyncio.run(send())


def test_nothing_is_written_to_a_connection_that_is_lost() -> None:
    async def send() -> bytes:
        made, transport = connection()
        made.app = made.gate
        made.data_received(SLOW * 2)
        made.connection_lost(OSError())
        await asyncio.sleep(0.05)
        return transport.sent

    assert not asyncio.run(send())


@pytest.mark.parametrize("way", ["POST /predict HTTP/1.1", "PUT /other HTTP/1.1"])
def test_all_that_comes_in_at_once_has_a_bound(way: str) -> None:
    async def read(scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await body_of(scope, receive, room)
        except NoRoomError as error:
            await refusal(error).as_response()(scope, receive, send)
        except GoneError:
            return
        else:
            await Response(body)(scope, receive, send)

    async def send() -> tuple[list[bytes], list[int]]:
        taken = []
        for number, (made, _) in enumerate(every):
            made.app = read
            made.data_received(wire(first=way, body=b"a" * 900)[: -1 if number else -101])
            await asyncio.sleep(0.01)
            taken.append(room.taken)
        every[2][0].connection_lost(None)
        every[3][0]._too_slow()
        await asyncio.sleep(0.05)
        every[0][0].data_received(b"a" * 101)
        every[1][0].data_received(b"a")
        await asyncio.sleep(0.05)
        return [transport.sent for _, transport in every], [*taken, room.taken]

    async def start() -> list[tuple[Guarded, Transport]]:
        first = connection(seconds=5.0)
        return [first, *(connection(first[0], seconds=5.0) for _ in range(4))]

    with asyncio.Runner() as runner:
        every = runner.run(start())
        room = every[0][0].gate.room
        room.all = 799 + 3 * 899
        answers, taken = runner.run(send())
    assert taken == [799, 799 + 899, 799 + 2 * 899, 799 + 3 * 899, 799 + 3 * 899, 0]
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"", b"408", b"503"]
    assert b"retry-after: 1" in answers[4].lower() and b"room" in answers[4]


def test_every_connection_has_a_clock() -> None:
    """Line ends between requests, and the end of a body that was answered before it came, stop uvicorn's."""

    async def send() -> tuple[bool, bool]:
        made, _ = connection()
        made.data_received(wire())
        await asyncio.sleep(0.01)
        made.data_received(b"\r\n")
        other, _ = connection(seconds=5.0)
        other.app = made.gate
        other.data_received(wire(first="PUT /other HTTP/1.1")[:-3])
        await asyncio.sleep(0.02)
        other.data_received(BODY[-3:])
        return made.timeout_keep_alive_task is not None, other.timeout_keep_alive_task is not None

    assert asyncio.run(send()) == (True, True)


def test_who_doesnt_read_the_last_answer_is_left() -> None:
    async def send() -> tuple[bool, bool]:
        made, transport = connection()
        transport.unsent = [9] * 9
        made.data_received(wire("Connection: close"))
        await asyncio.sleep(0.01)
        before = transport.aborted
        await asyncio.sleep(0.2)
        return before, transport.aborted

    assert asyncio.run(send()) == (False, True)


@pytest.mark.parametrize("rest", [b"", BODY])
def test_a_connection_refused_in_the_middle_of_a_request_reads_on(rest: bytes) -> None:
    """It is closed once the client has ended, or has had its time; what comes is thrown away."""

    async def send() -> list[bool]:
        made, transport = connection(connection(max_connections=1)[0], max_connections=1)
        made.data_received(wire()[: -len(BODY)] + rest)
        seen = [transport.ended, transport.closed]
        made.data_received(BODY + wire())
        assert made.cycle is None and not made.busy
        await asyncio.sleep(0.1)
        return [*seen, transport.closed]

    assert asyncio.run(send()) == [True, bool(rest), True]


def test_a_service_that_ends_waits_for_no_such_connection() -> None:
    async def send() -> bool:
        made, transport = connection()
        for sent in (b"GET / HTTP/1.1\r\nX: ", b"a" * 70_000):
            made.data_received(sent)
        assert b" 431 " in transport.sent and not transport.closed
        made.shutdown()
        return transport.closed

    assert asyncio.run(send())


def test_a_fault_is_answered_and_the_connection_goes_on() -> None:
    async def send() -> bytes:
        made, transport = connection()
        for body in (b"fault", b"[1]"):
            made.data_received(wire(body=body))
            await asyncio.sleep(0.01)
        return transport.sent

    first, second = asyncio.run(send()).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"500 ") and b"A fault of this service" in first
    assert second.startswith(b"200 ") and second.endswith(b"\r\n\r\n[1]")


def test_who_reads_no_answers_is_written_no_more() -> None:
    async def send() -> tuple[bytes, bytes]:
        made, transport = connection()
        made.pause_writing()
        made.data_received(wire())
        await asyncio.sleep(0.01)
        before = transport.sent
        made.resume_writing()
        await asyncio.sleep(0.01)
        return before, transport.sent

    before, after = asyncio.run(send())
    assert not before and after.endswith(BODY)


def test_who_reads_a_little_has_more_time_and_who_reads_nothing_is_left() -> None:
    async def send() -> tuple[bool, list[int], bool, bool]:
        made, transport = connection()
        made.data_received(wire())  # its own clock ends
        transport.unsent = [100, 90, 90, 80, 80, 80]
        made.pause_writing()
        other, reads = connection()
        other.data_received(wire())
        lost, gone = connection()
        reads.unsent, gone.unsent = [9] * 9, [9] * 9
        lost.pause_writing()
        lost.connection_lost(None)
        other.pause_writing()
        other.resume_writing()
        await eventually(lambda: transport.aborted)
        for task in made.tasks:
            task.cancel()
        return transport.aborted, transport.unsent, reads.aborted, gone.aborted

    assert asyncio.run(send()) == (True, [], False, False)


def test_a_body_that_stops_coming_is_given_up() -> None:
    async def send() -> tuple[bytes, bool]:
        made, transport = connection()
        made.data_received(wire())  # in time: its clock must not end what follows
        await asyncio.sleep(0.1)
        assert not transport.closed
        made.data_received(wire()[:-3])
        await eventually(lambda: transport.closed)
        return transport.sent, transport.closed

    sent, closed = asyncio.run(send())
    assert closed and b"HTTP/1.1 408 " in sent


def test_nor_does_the_application_wait_for_it() -> None:
    async def read(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(GoneError):
            await body_of(scope, receive, Room(1000))
        left.append(True)

    async def send() -> bytes:
        made, transport = connection()
        made.app = read
        made.data_received(wire(first="PUT /predict HTTP/1.1")[:-3])
        await asyncio.sleep(0.2)
        assert left  # before the connection has ended
        return transport.sent

    left: list[bool] = []
    assert b"HTTP/1.1 408 " in asyncio.run(send())


def test_what_is_no_http_is_told_so_and_what_was_answered_gets_no_second_answer() -> None:
    async def send() -> tuple[bytes, bytes, list[bool]]:
        closed = []
        made, garbage = connection(seconds=1.0)
        for sent in (wire(), b"no HTTP"):
            made.data_received(sent)
            await asyncio.sleep(0.01)
        made, answered = connection(seconds=1.0)
        made.data_received(wire("Transfer-Encoding: chunked", length=False, body=b"7\r\nfault, "))
        made.cycle.response_started = made.cycle.response_complete = True  # as where it is too long
        made.data_received(b"no chunk")
        await asyncio.sleep(0.01)
        for each in (garbage, answered):
            closed += [each.ended, each.closed]
        await eventually(lambda: garbage.closed and answered.closed)
        for task in made.tasks:
            task.cancel()
        return garbage.sent, answered.sent, [*closed, garbage.closed, answered.closed]

    garbage, answered, closed = asyncio.run(send())
    assert [part[:4] for part in garbage.split(b"HTTP/1.1 ")[1:]] == [b"200 ", b"400 "]
    assert not answered
    assert closed == [True, False, True, False, True, True]


def test_the_clock_of_a_connection_that_is_lost_is_stopped() -> None:
    async def send() -> tuple[bool, bool]:
        made, transport = connection()
        for sent in (b"GET / HTTP/1.1\r\nX: ", b"a" * 70_000):
            made.data_received(sent)
        clock = made.clock
        made.connection_lost(None)
        return clock is not None and clock.cancelled(), transport.closed

    assert asyncio.run(send()) == (True, True)


# ---------------------------------------------------------------- what comes back


@pytest.fixture(scope="module")
def service(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve([quick], tmp_path_factory.mktemp("connection")) as running:
        yield running


def talk(service: Service, *parts: bytes, pause: float = 0.0) -> list[tuple[str, list[str], bytes]]:
    """Send parts one by one; return status, names of headers and body of each answer till the connection ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as s:
        for part in parts:
            s.sendall(part)
            time.sleep(pause)
        while piece := s.recv(65536):
            got += piece
    answers = []
    while got:
        head, _, rest = got.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        if " 100 " not in status:
            length = int(re.search(r"content-length: (\d+)", head.decode()).group(1))  # type: ignore[union-attr]
            answers.append((status[9:12], sorted(line.partition(":")[0] for line in lines), rest[:length]))
            rest = rest[length:]
        got = rest
    return answers


def test_the_answer_is_the_same_on_both_ways(service: Service) -> None:
    close = "Connection: close"
    plain = wire(close)
    ((status, names, body),) = talk(service, plain)
    assert status == "200" and {"date", "x-request-id", "content-type", "connection"} <= set(names)
    pieces = [plain[i : i + 9] for i in range(0, len(plain), 9)]
    for parts in (
        pieces,
        [wire("Transfer-Encoding: chunked", close, body=chunked(BODY), length=False)],
        [wire("Expect: 100-continue", close)],
        [wire(close, first="POST /predict?a=b HTTP/1.1")],
        [wire(first="POST /predict HTTP/1.0")],
    ):
        assert talk(service, *parts, pause=0.002) == [("200", names, body)]


H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


@pytest.mark.parametrize("way", ["POST /predict HTTP/1.1", "POST /predict?a=b HTTP/1.1"])
@pytest.mark.parametrize("cut", [1, 60, -3, 10_000])
def test_a_wish_for_another_protocol_is_passed_over(service: Service, way: str, cut: int) -> None:
    """As Java's own client asks for HTTP/2 with any request; the body must not be taken for something else."""
    ((_, _, expected),) = talk(service, wire("Connection: close"))
    sent = wire(*H2C, "X-Request-Id: upgrade", first=way)
    last = wire("Connection: close, Upgrade", "Upgrade: websocket", first=way)
    before = len([line for line in service.events("request") if line["id"] == "upgrade"])
    answers = talk(service, sent[:cut], sent[cut:] + sent, sent + last, pause=0.01)
    assert [(status, body) for status, _, body in answers] == [("200", expected)] * 4
    time.sleep(0.3)  # the log is written by then
    assert len([line for line in service.events("request") if line["id"] == "upgrade"]) == before + 3


@pytest.mark.parametrize("way", ["POST /predict HTTP/1.1", "POST /predict?a=b HTTP/1.1"])
def test_a_client_that_ends_its_side_is_answered(service: Service, way: str) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as s:
        s.sendall(wire(first=way) * 3)
        s.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: s.recv(65536), b""))
    assert got.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("body", [b'{"inputs": ""}', b"{", b'{"inputs": "a", "parameters": {"top_k": 0}}'])
def test_so_is_a_refusal(service: Service, body: bytes) -> None:
    short = talk(service, wire("Connection: close", body=body))
    long = talk(service, wire("Transfer-Encoding: chunked", "Connection: close", body=chunked(body), length=False))
    assert short == long
    assert short[0][0] == "422"


def test_requests_sent_together_are_answered_in_their_order(service: Service) -> None:
    inputs = ["a", "b c", "d e f", "what a very long day it was"]
    bodies = [json.dumps({"inputs": text, "parameters": {"details": True}}).encode() for text in inputs]
    alone = [talk(service, wire("Connection: close", body=body))[0][2] for body in bodies]
    together = b"".join(wire(*["Connection: close"] * (body is bodies[-1]), body=body) for body in bodies)
    assert [body for _, _, body in talk(service, together)] == alone
    assert len(set(alone)) == len(alone)


def test_a_client_that_leaves_in_the_middle_is_written_down(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as s:
        s.sendall(wire("X-Request-Id: gone-1")[:-5])
        time.sleep(0.1)
    until = time.monotonic() + 10
    while not (found := [line for line in service.events("request") if line["id"] == "gone-1"]):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert (found[0]["status"], found[0]["route"]) == (499, "/predict")
