"""What stands around every request: keys, ids, the log, the counters, and how errors are answered.

After models.py in serve/. Requests that are asked most often are answered from here: FastAPI's own way from the socket
to a function (ten middlewares and a router) took a quarter of the event loop's time, and half of what it had left over
when the encoder was busy.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

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

_OPEN = ("/", "/health", "/ready", "/docs", "/openapi.json")  # for these, GET needs no key
_KINDS = {
    401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 408: "timeout", 413: "too_large",
    422: "validation", 429: "overloaded", 500: "internal", 503: "unavailable", 504: "deadline",
}  # fmt: skip


class TooLargeError(FirstbertError):
    """A request with more bytes or texts than are taken."""

    http_status = 413


class GoneError(Exception):
    """Nobody waits for an answer any more."""


@dataclass(frozen=True)
class Answer:
    """What goes back: JSON unless the headers say otherwise."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_response(self) -> Response:
        """Return it as FastAPI has it."""
        return Response(self.body, self.status, {"content-type": "application/json", **self.headers})

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@dataclass(frozen=True)
class Ask:
    """A request as handlers take it.

    Attributes:
        scope, receive: as ASGI has them.
        limit: the most bytes of its body.
        model: the name of the model it asks, if it names one.
    """

    scope: Message
    receive: Receive
    limit: int
    model: str | None = None

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            TooLargeError: it is too large; what follows is not read.
            GoneError: the connection has ended before it was complete.
        """
        too_large = TooLargeError(f"The body is too large: at most {self.limit:,} bytes.")
        length = next((value for name, value in self.scope["headers"] if name == b"content-length"), b"0")
        if int(length) > self.limit:
            raise too_large
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.limit:
                raise too_large
            more = message.get("more_body", False)
        return b"".join(parts)

    def note(self, **facts: Any) -> None:
        """Have the log say something about this request."""
        self.scope["facts"] = facts


Handler: TypeAlias = Callable[[Ask], Awaitable[Answer]]


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
    if isinstance(error, NotReadyError):
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
    """The service as an ASGI application.

    Args:
        app: answers what isn't answered from here.
        direct: path → (route, model, handler) of POST requests that are.
        options: who may ask, and how much.
        metrics, log: what is counted and written down.
    """

    def __init__(
        self, app: FastAPI, direct: Mapping[str, tuple[str, str | None, Handler]], options: ServeOptions,
        metrics: Metrics, log: Log,
    ) -> None:  # fmt: skip
        self.app, self.direct, self.limit, self.metrics, self.log = app, direct, options.max_body, metrics, log
        self.keys = Keys(options.keys)
        self.new_id = RequestIds()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = dict(scope["headers"])
        scope["id"] = self.new_id(headers.get(b"x-request-id"))
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", scope["id"].encode()))
            await send(message)

        route = None
        try:
            route = await self._answer(scope, headers, receive, sending)
        except GoneError:
            status = 499  # as nginx has it; nobody sees it but the log
        except Exception as error:  # answered with 500 already
            where = "".join(traceback.format_tb(error.__traceback__))  # its message might hold a text
            self.log("fault", "error", id=scope["id"], kind=type(error).__name__, where=where)
        seconds = time.perf_counter() - start
        route = route or str(getattr(scope.get("route"), "path", "other"))
        self.metrics.request(route, status, seconds)
        self.log("request", "warning" if status >= 500 else "info", id=scope["id"], method=scope["method"],
                 route=route, status=status, ms=round(1000 * seconds, 2), **scope.get("facts", {}))  # fmt: skip

    async def _answer(self, scope: Message, headers: dict[bytes, bytes], receive: Receive, send: Send) -> str | None:
        """Answer, and return the route where FastAPI wasn't asked for it."""
        if not self._allowed(scope, headers.get(b"authorization")):
            message = "An API key is needed: send it as 'Authorization: Bearer KEY'."
            await problem(401, message, {"WWW-Authenticate": "Bearer"}).send(send)
            return "unauthorized"
        found = self.direct.get(scope["path"]) if scope["method"] == "POST" else None
        if found is None:
            await self.app(scope, receive, send)
            return None
        route, model, handler = found
        try:
            answer = await handler(Ask(scope, receive, self.limit, model))
        except FirstbertError as error:
            answer = refusal(error)
        except GoneError:
            raise
        except Exception:
            await fault().send(send)
            raise
        await answer.send(send)
        return route

    def _allowed(self, scope: Message, sent: bytes | None) -> bool:
        path, method = scope["path"], scope["method"]
        if not self.keys or method == "OPTIONS":
            return True
        if method in ("GET", "HEAD") and (path in _OPEN or path.startswith("/docs/")):
            return True
        return self.keys.allow(sent.decode("latin-1") if sent else None)
