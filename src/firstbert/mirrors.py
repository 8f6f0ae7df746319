"""A mirror, its failure, and the plainest kind of it: a file at a web address.

Stands before hub.py and packages.py, the two other kinds, and sources.py, which decides whom to ask and what
to trust. Nothing here trusts what it receives; everything gives up within seconds when nobody answers.
"""

from __future__ import annotations

import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urlsplit

from firstbert.progress import progress

ANSWER_S = 5.0  # a host that takes longer to say its first word counts as unreachable
SILENT_S = 60.0  # for how long a silent host isn't asked again
CHUNK = 1 << 20
CAP = 4 << 30  # bytes; no single file of an encoder we run is larger
T = TypeVar("T")


class MirrorError(Exception):
    """Why one mirror could not deliver; sources.py gathers these into one SourceError.

    Attributes:
        absent: the mirror did answer, and its answer was that there is no such file.
    """

    def __init__(self, reason: str, *, absent: bool = False) -> None:
        super().__init__(reason)
        self.absent = absent


@dataclass(frozen=True)
class WebFile:
    """A file at an https address (http only on this machine)."""

    url: str

    def __post_init__(self) -> None:
        if not _safe(self.url):
            raise ValueError(f"Only https addresses are fetched. Got {self.url}")

    def __str__(self) -> str:
        return self.url


# ---- asking without hanging ------------------------------------------------------------------------------

_silent: dict[str, tuple[float, str]] = {}  # host → when it failed to answer, and how


def ask(host: str, question: Callable[[], T]) -> T:
    """Return a host's first answer, or raise within seconds; a silent host isn't asked again for a minute.

    A thread of its own, because no timeout of an HTTP library covers a name server that doesn't answer.
    """
    when, reason = _silent.get(host, (-SILENT_S, ""))
    if time.monotonic() - when < SILENT_S:
        raise MirrorError(reason)
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((question(), None))
        except Exception as error:  # handed over, not swallowed
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = answers.get(timeout=ANSWER_S + 1)
    except queue.Empty:
        answer, error = None, TimeoutError(f"silent for {ANSWER_S:.0f} s")
    if isinstance(error, MirrorError):  # it did answer: no
        raise error
    if error is not None:
        reason = f"no answer from {host}: {first_line(error)}"
        _silent[host] = (time.monotonic(), reason)
        raise MirrorError(reason) from error
    return answer  # type: ignore[return-value]  # T may itself be None


def first_line(error: BaseException) -> str:
    """Return an error's first line, or its kind where it has no words."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# ---- the web ---------------------------------------------------------------------------------------------


def _safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow no redirect that leaves https."""

    def redirect_request(  # noqa: PLR0917 - the base class says so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not _safe(newurl):
            fp.close()
            raise MirrorError(f"redirected to {newurl}, which isn't https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def web_download(mirror: WebFile, part: Path, cap: int = CAP) -> None:
    """Bring ``part`` to its full length; what it already holds is kept and the rest asked for.

    A connection that is cut is taken up again for as long as each try brings something.

    Args:
        mirror: the address.
        part: the file to append to; created where missing. The caller verifies it.
        cap: refuse a file longer than this many bytes.

    Raises:
        MirrorError: unreachable, refused, cut, or too long.
        OSError: ``part`` could not be written.
    """
    held = -1
    while reason := _append(mirror, part, cap):
        size = part.stat().st_size
        if size <= held:  # also where the host knows no ranges and is cut each time
            raise MirrorError(reason)
        held = size


def _append(mirror: WebFile, part: Path, cap: int) -> str:
    """Make one request for what ``part`` lacks; return why it isn't complete, "" if it may be."""
    start = part.stat().st_size if part.exists() else 0
    response = _open(mirror.url, start)
    if response is None:  # nothing lies beyond what we have
        return ""
    with response:
        start = start if response.status == 206 else 0  # 200: the whole file comes
        length = response.headers.get("Content-Length") or ""
        total = start + int(length) if length.isdigit() else None
        with part.open("ab" if start else "wb") as out:
            size, cut = _pour(response, out, start, total, cap)
    if total is not None and size < total:
        return f"connection cut after {size:,} of {total:,} bytes"
    return cut


def _pour(response: HTTPResponse, out: IO[bytes], start: int, total: int | None, cap: int) -> tuple[int, str]:
    """Copy a response to a file; return the file's size and what cut the copying short, if anything did."""
    size = start
    with progress(f"Downloading {Path(out.name).stem}", total, "bytes") as advance:
        advance(start)
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, HTTPException) as error:
                return size, first_line(error)
            if not chunk:
                return size, ""
            size += out.write(chunk)
            advance(len(chunk))
            if size > cap:
                raise MirrorError(f"longer than the {cap:,} bytes expected")


def _open(url: str, start: int) -> HTTPResponse | None:
    """Return the answer to a request for everything from byte ``start`` on; None where there is nothing."""
    request = urllib.request.Request(url, headers={"User-Agent": "firstbert"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener(_SafeRedirects)

    def question() -> HTTPResponse | None:
        try:
            response: HTTPResponse = opener.open(request, timeout=ANSWER_S)
        except urllib.error.HTTPError as error:
            error.close()
            if start and error.code == 416:
                return None
            gone = error.code in (404, 410)
            raise MirrorError(f"answered {error.code} {error.reason}", absent=gone) from None
        except urllib.error.URLError as error:
            raise OSError(str(error.reason)) from error
        return response

    return ask(urlsplit(url).netloc, question)
