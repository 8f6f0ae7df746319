"""Signals, and the end: uvicorn, with what it leaves open.

Last of serve/. uvicorn closes idle connections at once when it is to end; a request that is on its way there at that
moment would be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import resource
import select
import signal
import socket
import struct
import sys
import time
from functools import partial
from typing import Any

import uvicorn

from firstbert.errors import UsageError
from firstbert.serve.app import create
from firstbert.serve.connection import Guarded
from firstbert.serve.models import Models
from firstbert.serve.options import ServeOptions
from firstbert.serve.watch import Log, Metrics
from firstbert.terminal import note

KEEP_ALIVE_S = 75  # longer than proxies keep theirs
_MOST_FILES = 65536  # open at once
_OWN_FILES = 200  # models and libraries; and those connections that are being refused
BACKLOG = 4096  # connections that wait to be taken; the system takes its own bound where that is less
LAME_DUCK_S = 1.0  # after SIGTERM, still taking connections, but no longer keeping them
QUIET_S = 0.5  # without a request on any connection, before they are closed

_SO_ATTACH_FILTER = 26
# What the kernel is to do with each packet for a listener: load the byte of flags, drop it if SYN is set, else take it.
_NO_NEW = struct.pack("HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 0x02, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFFFFFF)


class Server(uvicorn.Server):
    """uvicorn's server, ending so that no request is lost that it has taken."""

    def __init__(self, config: uvicorn.Config, models: Models) -> None:
        super().__init__(config)
        self.models = models

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and hear of new models."""
        await super().startup(sockets)
        for server in self.servers if self.started else ():
            host, port = server.sockets[0].getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            self.models.log("listening", url=url, models=list(self.models.folders))
            if sys.stderr.isatty():
                note(f"The page is {url}, the API {url}/docs. Ctrl-C ends it.")
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, AttributeError):  # Windows knows no SIGHUP
            loop.add_signal_handler(signal.SIGHUP, lambda: self._background(self.models.reload()))
        self._tasks: set[asyncio.Task[None]] = set()

    def _background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say at `/ready` and with each answer that this is the end, take what is coming, then close."""
        self.models.draining = True
        self.models.log("draining")
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await self._pause(LAME_DUCK_S)
        for listener in sockets or []:
            hold(listener)
        await self._take_the_last(sockets or [])
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()  # as long as one is open, the system takes connections that nobody will answer
        quiet, until = 0.0, time.monotonic() + (self.config.timeout_graceful_shutdown or 0)
        while quiet < QUIET_S and self.server_state.connections and not self.force_exit and time.monotonic() < until:
            await asyncio.sleep(0.05)
            busy = any(isinstance(each, Guarded) and each.busy for each in self.server_state.connections)
            quiet = 0.0 if busy else quiet + 0.05
        await super().shutdown(sockets)
        self.models.log("ended")

    @staticmethod
    async def _take_the_last(listeners: list[socket.socket]) -> None:
        """Take all connections that have come in: when a listener closes, the system resets those left over."""
        quiet = 0
        for _ in range(1000):  # so many at most: where they can't be held, others may never stop coming
            quiet = 0 if select.select(listeners, [], [], 0)[0] else quiet + 1
            if quiet == 10:
                return
            await asyncio.sleep(0.001 if quiet else 0)  # one that was shaking hands is there in a moment

    async def _pause(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            if not self.server_state.connections or self.force_exit:
                return
            await asyncio.sleep(0.05)


def hold(listener: socket.socket) -> None:
    """Let no more connections come in; those that have stay to be taken. Linux can; elsewhere nothing happens."""
    if sys.platform == "linux":
        program = ctypes.create_string_buffer(_NO_NEW)
        with contextlib.suppress(OSError):
            listener.setsockopt(
                socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_NEW) // 8, ctypes.addressof(program))
            )


def run(options: ServeOptions) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError: the address can't be had.
        FirstbertError: a model can't be used.
    """
    most = min(options.max_connections, max(1, _raise_file_limit() - _OWN_FILES))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it once more after the end
    log = Log(quiet=options.quiet, texts=options.log_texts)
    metrics = Metrics()
    listener = _listen(options)
    try:
        models = Models(options, metrics, log)
    except BaseException:
        listener.close()
        raise
    gate = create(options, models, metrics, log)
    guarded: Any = partial(Guarded, gate=gate, read_timeout_s=options.read_timeout_s, most=most)
    config = uvicorn.Config(
        gate, http=guarded, ws="none", loop="auto", log_config=None, log_level="error", access_log=False,
        server_header=False, proxy_headers=False, backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(options.deadline_s) + 5, lifespan="on",
    )  # fmt: skip
    gc.collect()
    gc.freeze()  # what is here now stays: nothing to search for garbage
    Server(config, models).run(sockets=[listener])


def _listen(options: ServeOptions) -> socket.socket:
    """Take the address, before a model is opened for nothing."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(
            f"{options.host}:{options.port} can't be listened at ({error.strerror}). Name another --port or --host; "
            "0 takes any port that is free."
        ) from error
    return listener


def _raise_file_limit() -> int:
    """Return how many files may be open, more than before: each connection is one, and many systems allow 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_FILES
    wanted = max(soft, _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft
