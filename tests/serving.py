"""A real server in a process of its own, and what asks it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conftest import clean


@dataclass
class Service:
    """A server and where it is."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == name]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(service: Service, path: str, body: object = None, headers: dict[str, str] | None = None, **how: Any) -> Reply:
    """Send one request on a connection of its own: GET, or POST where there is a body."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=how.get("timeout", 30))
    try:
        connection.request(how.get("method", "GET" if data is None else "POST"), path, data, headers or {})
        response = connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@contextmanager
def serve(models: Sequence[object], folder: Path, *options: object, ready: bool = True, **environment: str) -> Iterator[
    Service
]:  # fmt: skip
    """Run `firstbert serve`, wait till it answers, and end it by its id."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "firstbert", "serve", *map(str, models), "--port", "0", *map(str, options)]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, env=clean(dict(os.environ)) | environment, text=True)
    service = Service(process, "", log)
    try:
        _wait(service, lambda: service.events("listening"))
        service.url = service.events("listening")[0]["url"]
        if ready:
            _wait(service, lambda: ask(service, "/ready").status == 200)
        yield service
    finally:
        process.kill()
        process.wait()


def _wait(service: Service, done: Any) -> None:
    until = time.monotonic() + 60
    while not done():
        if service.process.poll() is not None or time.monotonic() > until:
            raise AssertionError(service.log.read_text())
        time.sleep(0.02)
