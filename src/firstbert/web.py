"""A file at a web address, downloaded; what a cut connection left is gone on from.

Stands between mirrors.py and sources.py. Nothing here trusts what it receives.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from firstbert.mirrors import ANSWER_S, CAP, CHUNK, MirrorError, WebFile, ask, first_line, safe
from firstbert.progress import progress


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
        if not safe(newurl):
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
