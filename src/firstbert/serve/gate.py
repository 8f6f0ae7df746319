"""What stands around every request: keys, ids, the log, the counters, and how errors are answered.

After models.py in serve/. What is asked most often takes a short way, from a connection (connection.py) to a route's
handler; all else goes by ASGI and FastAPI to the same handlers.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from firstbert.errors import FirstbertError
from firstbert.serve.models import NotReadyError
from firstbert.serve.options import ServeOptions
from firstbert.serve.queue import QueueFullError
from firstbert.serve.watch import Keys, Log, Metrics, RequestIds

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

JSON = "application/json"
GONE = 499  # as nginx has it: nobody waits for an answer any more; nobody sees it but the log
_AT_ONCE = 64  # requests of the greatest size that may be coming in
_OPEN = ("/", "/health", "/ready", "/docs", "/openapi.json")  # for these, GET needs no key
_KINDS = {
    400: "bad_request", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 408: "timeout",
    413: "too_large", 422: "validation", 429: "overloaded", 431: "too_large", 500: "internal", 503: "unavailable",
    504: "deadline",
}  # fmt: skip


class TooLargeError(FirstbertError):
    """A request with more bytes or texts than are taken."""

    http_status = 413


class NoRoomError(FirstbertError):
    """More requests are coming in at once than there is memory for."""

    http_status = 503

    def __init__(self) -> None:
        super().__init__("More is being sent at once than there is room for. Try again in 1 s.")


class GoneError(Exception):
    """Nobody waits for an answer any more."""


class Answer(NamedTuple):
    """What goes back, as JSON."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})

    def as_response(self) -> Response:
        """Return it as FastAPI has it."""
        return Response(self.body, self.status, {"content-type": JSON, **self.headers})


@dataclass(slots=True, eq=False)
class Ask:
    """A request as handlers take it.

    Attributes:
        body: its bytes.
        model: the name of the model it asks, if it names one.
        start: when it began to come in, in seconds of time.perf_counter.
        facts: what the log is to say of it.
    """

    body: bytes
    model: str | None = None
    start: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)


Handler: TypeAlias = Callable[[Ask], Awaitable[Answer]]


class Known(NamedTuple):
    """What answers POST requests to one path: the route as it is counted, the model that it names, the handler."""

    route: str
    model: str | None
    handler: Handler


class Room:
    """How many bytes a request may bring, and how many all of those may that are still coming in.

    Args:
        each: of one request.
    """

    def __init__(self, each: int) -> None:
        self.each, self.all, self.taken = each, _AT_ONCE * each, 0

    def take(self, size: int) -> None:
        """Count bytes that have come in; whoever takes them gives them back by taking less than none.

        Raises:
            NoRoomError: there are too many.
        """
        self.taken += size
        if size > 0 and self.taken > self.all:
            raise NoRoomError


async def body_of(scope: Message, receive: Receive, room: Room) -> bytes:
    """Return a request's body.

    Raises:
        TooLargeError: it has more bytes than it may; what follows is not read.
        NoRoomError: others bring too many.
        GoneError: the connection has ended before it was complete.
    """
    too_large = TooLargeError(f"The body is too large: at most {room.each:,} bytes.")
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(length) > room.each:
        raise too_large
    parts: list[bytes] = []
    size, more = 0, True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            room.take(len(parts[-1]))
            if size > room.each:
                raise too_large
            more = message.get("more_body", False)
    finally:
        room.take(-size)
    return b"".join(parts)


# ---------------------------------------------------------------- errors


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error as all of them are answered."""
    body = {"error": message, "error_type": _KINDS.get(status, "error")}
    return Answer(json.dumps(body).encode(), status, headers or {})


def refusal(error: FirstbertError) -> Answer:
    """Return what one of this library's errors is answered with."""
    headers = {}
    if isinstance(error, QueueFullError):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, (NotReadyError, NoRoomError)):
        headers["Retry-After"] = "1"
    return problem(error.http_status, str(error), headers)


def fault() -> Answer:
    """Return what is answered where this service is at fault."""
    return problem(500, "A fault of this service; its log says more under the request's id.")


def add_errors(app: FastAPI) -> None:
    """Have FastAPI answer errors in the same way."""

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, FirstbertError)
        return refusal(error).as_response()

    async def refuse_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:  # the router names the methods of the first route at this path alone
            found = [r for r in app.routes if isinstance(r, Route) and r.path_regex.match(request.scope["path"])]
            headers["Allow"] = ", ".join(sorted({method for route in found for method in route.methods or ()}))
        return problem(error.status_code, str(error.detail), headers).as_response()

    async def at_fault(request: Request, error: Exception) -> Response:
        return fault().as_response()

    app.add_exception_handler(FirstbertError, refuse)
    app.add_exception_handler(HTTPException, refuse_http)
    app.add_exception_handler(Exception, at_fault)


# ---------------------------------------------------------------- around every request


class Gate:
    """The service as an ASGI application, and a short way past ASGI.

    Args:
        app: answers what doesn't take the short way.
        known: path → what answers POST requests to it.
        options: who may ask, and how much.
        metrics, log: what is counted and written down.
    """

    def __init__(
        self, app: FastAPI, known: Mapping[str, Known], options: ServeOptions, metrics: Metrics, log: Log
    ) -> None:
        self.app, self.metrics, self.log = app, metrics, log
        self.room = Room(options.max_body)
        self.known = {path.encode(): each for path, each in known.items()}
        self.keys = Keys(options.keys)
        self.new_id = RequestIds()
        self.served = 0  # connections

    # -- the short way

    def direct(self, path: bytes, headers: Mapping[bytes, bytes]) -> Known | None:
        """Return what answers a POST request right away; None for one that is out of the ordinary."""
        known = self.known.get(path)
        if known is None or not 0 < int(headers.get(b"content-length", b"0")) <= self.room.each:
            return None
        return known if not self.keys or self._has_key(headers.get(b"authorization")) else None

    async def answer(self, known: Known, ask: Ask, request_id: str) -> Answer:
        """Answer such a request, whatever becomes of it."""
        try:
            answer = await known.handler(ask)
        except FirstbertError as error:
            answer = refusal(error)
        except Exception as error:
            self._at_fault(request_id, error)
            answer = fault()
        self.note(request_id, "POST", known.route, answer.status, ask)
        return answer

    # -- ASGI

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        scope.setdefault("id", self.new_id(headers.get(b"x-request-id")))
        scope["ask"], scope["room"] = Ask(b""), self.room
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", scope["id"].encode()))
            await send(message)

        route = None
        try:
            if self._allowed(scope, headers.get(b"authorization")):
                await self.app(scope, receive, sending)
            else:
                route = "unauthorized"
                message = "An API key is needed: send it as 'Authorization: Bearer KEY'."
                refused = problem(401, message, {"WWW-Authenticate": "Bearer"})
                await refused.as_response()(scope, receive, sending)
        except GoneError:
            status = GONE
        except Exception as error:  # answered with 500 already
            self._at_fault(scope["id"], error)
        route = route or str(getattr(scope.get("route"), "path", "other"))
        self.note(scope["id"], scope["method"], route, status, scope["ask"])

    def _allowed(self, scope: Message, sent: bytes | None) -> bool:
        path, method = scope["path"], scope["method"]
        if not self.keys or method == "OPTIONS":
            return True
        if method in ("GET", "HEAD") and (path in _OPEN or path.startswith("/docs/")):
            return True
        return self._has_key(sent)

    # -- both

    def _has_key(self, sent: bytes | None) -> bool:
        return self.keys.allow(sent.decode("latin-1") if sent else None)

    def _at_fault(self, request_id: str, error: Exception) -> None:
        where = "".join(traceback.format_tb(error.__traceback__))  # its message might hold a text
        self.log("fault", "error", id=request_id, kind=type(error).__name__, where=where)

    def note(self, request_id: str, method: str | None, route: str, status: int, ask: Ask) -> None:
        """Count a request that has ended, and write it down."""
        seconds = time.perf_counter() - ask.start
        self.metrics.request(route, status, seconds)
        wrong = status >= 500 and status != 503  # in a flood, a line for each that is refused would be one more load
        self.log("request", "warning" if wrong else "info", id=request_id, method=method, route=route,
                 status=status, ms=round(1000 * seconds, 2), **ask.facts)  # fmt: skip
