"""A path, an address or a pattern → files, and a file → its bytes, unpacked.

After catalog.py on the way of a sentence, before everything that reads data. An address names a file of an object
store or another file system (`s3://`, `gs://`, `hdfs://` by Arrow; any other scheme by fsspec).
"""

from __future__ import annotations

import fnmatch
import glob
import gzip
import io
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import quote, unquote

from firstbert.errors import DataError, FirstbertError, UsageError, missing_extra

# Endings by which files of a folder are known as data; each may be followed by .gz or .zst.
ENDINGS = (".tsv", ".csv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".arrow", ".feather")
PACKED = (".gz", ".zst")

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")
_QUERY = re.compile(r"\?\w+=.*", re.DOTALL)  # an address's options, such as "?endpoint_override=…"
_GLOB = re.compile(r"[*?\[]")
_ARROWS = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
_READ = 1 << 20  # bytes asked of a file at a time
_ZSTD_READ = 1 << 16  # of what a zstd file holds: of a damaged one, so many before the damage are lost


def is_address(source: str) -> bool:
    """Say whether this is an address rather than a path."""
    return _ADDRESS.match(source) is not None


def ending(source: str) -> str:
    """Return the ending that tells a file's format: ``".csv"`` of ``x.csv`` and of ``x.CSV.gz``."""
    path = PurePosixPath(bare(source).lower())
    return PurePosixPath(path.stem).suffix if path.suffix in PACKED else path.suffix


def bare(source: str) -> str:
    """Return an address without the options behind its path; a path as it is."""
    return _QUERY.sub("", source) if is_address(source) else source


# ---------------------------------------------------------------- which files


def expand(inputs: Sequence[str]) -> list[str]:
    """Return the files that paths, patterns (`*`, `?`, `[…]`, `**`), folders and addresses name, in order.

    A folder gives the data files in it and below it, by name; hidden ones are left out.

    Raises:
        DataError: nothing is there, or a file is named twice.
    """
    found = [one for source in inputs for one in _files(source)]
    if not found:
        raise DataError("No input: give a file, a folder, a pattern, or - for stdin.")
    places = [_uri(one) if is_address(one) else one if one == "-" else os.path.realpath(one) for one in found]
    twice = [one for one, n in Counter(places).items() if n > 1]
    if twice:
        named = dict.fromkeys(one for one, place in zip(found, places, strict=True) if place == twice[0])
        raise DataError(f"{' and '.join(named)}: is named twice: its rows would be labelled twice. Name it once.")
    return found


def _files(source: str) -> list[str]:
    if source == "-":
        return [source]
    listed = _listed_there(source) if is_address(source) else _listed_here(source)
    if listed == []:
        raise DataError(f"{source}: holds no data file (one that ends in {', '.join(ENDINGS)}): name the files.")
    return (
        [source] if listed is None else sorted(set(listed), key=lambda one: _plain(one, one))
    )  # a set: `**/**` finds files again


def _listed_here(source: str) -> list[str] | None:
    """The files of a folder or pattern; None: it is a file by itself, or nothing."""
    path = Path(source)
    with _told(source):
        if path.is_dir():
            return [str(one) for one in path.rglob("*") if one.is_file() and _is_data(str(one.relative_to(path)))]
        if path.exists() or not glob.has_magic(source):
            return None
        matches = [one for one in glob.glob(source, recursive=True) if Path(one).is_file()]  # noqa: PTH207
    return _matching(source, matches)


def _matching(source: str, matches: list[str]) -> list[str]:
    if not matches:
        raise DataError(f"{source}: no file matches this pattern: check the path.")
    return matches


def _listed_there(source: str) -> list[str] | None:
    """The same at an address; the files' own keep its host, its keys and its options."""
    address, options = bare(source), source[len(bare(source)) :]
    system, path = _system(source)
    parts: list[str] = []  # of the pattern, from the first folder that has one in its name
    with _told(source):
        found = system.get_file_info(path)
        at = _GLOB.search(address, _host(address))
        if found.is_file or (found.type.name == "NotFound" and not at):
            return None
        if found.type.name == "NotFound":
            address, parts = address[: address.rindex("/", 0, at.start()) + 1], address.split("/")  # type: ignore[union-attr]
            parts = parts[address.count("/") :]
            system, path = _system(address + options)
        names = [one.removeprefix(path).lstrip("/") for one in _below(system, path)]
    address = address if address.endswith("/") else f"{address}/"
    if parts:
        matches = [name for name in names if _matches(name.split("/"), [_plain(address, part) for part in parts])]
        return _matching(source, [address + _encoded(address, name) + options for name in matches])
    return [address + _encoded(address, name) + options for name in names if _is_data(name)]


def _below(system: Any, path: str) -> list[str]:
    from pyarrow import fs

    found = system.get_file_info(fs.FileSelector(path.rstrip("/") or path, recursive=True))
    return [info.path for info in found if info.is_file]


def _matches(names: list[str], parts: list[str]) -> bool:
    """Say whether a path matches a pattern, as glob has it: hidden names need their dot, `**` is any folders."""
    if not parts or not names:
        return not parts and not names
    hidden = names[0].startswith(".") and not parts[0].startswith(".")
    if parts[0] == "**":
        ends = len(parts) == len(names) == 1 or _matches(names, parts[1:])
        return not hidden and (ends or _matches(names[1:], parts))
    return not hidden and fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _is_data(relative: str) -> bool:
    return ending(relative) in ENDINGS and not any(part.startswith((".", "_")) for part in relative.split("/"))


# ---------------------------------------------------------------- addresses


def _scheme(address: str) -> str:
    return address.partition("://")[0]


def _host(address: str) -> int:
    """Where an address's path begins; only Arrow's have a host, or a bucket, that is no part of it."""
    start = len(_scheme(address)) + 3
    found = re.compile(r"[/?]").search(address, start) if _scheme(address) in _ARROWS else None
    return start if found is None else found.start()


def _encoded(address: str, path: str) -> str:
    return quote(path) if _scheme(address) in _ARROWS else path


def _plain(address: str, path: str) -> str:
    return unquote(path) if _scheme(address) in _ARROWS else path


def _uri(address: str) -> str:
    """An address as Arrow takes it: what no URI may hold, such as a space, is encoded; `%20` stays as it is."""
    start, end = _host(address), len(bare(address))
    return address[:start] + quote(address[start:end], safe="/%!$&'()*+,;=:@~") + address[end:]


# ---------------------------------------------------------------- opening


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Turn what goes wrong in opening into a message that names the file."""
    try:
        yield
    except FirstbertError:  # a ValueError too
        raise
    except FileNotFoundError:
        raise DataError(f"{source}: there is no such file: check the path") from None
    except (OSError, ValueError, NotImplementedError) as error:  # NotImplementedError: Arrow, built without it
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{source}: can't be read ({reason}): check the path and its permissions") from None


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    try:
        from pyarrow import fs
    except ImportError:
        raise missing_extra("Reading from an object store", "parquet") from None
    with _told(address):
        if _scheme(address) in _ARROWS:
            return cast(tuple[Any, str], fs.FileSystem.from_uri(_uri(address)))
        try:
            import fsspec

            system, path = fsspec.url_to_fs(address)
        except ImportError as error:
            raise UsageError(f"{address}: {error}") from None
        except ValueError as error:  # a scheme that fsspec doesn't know
            raise UsageError(f"{address}: {error}; known are {', '.join(_ARROWS)} and fsspec's") from None
        return fs.PyFileSystem(fs.FSSpecHandler(system)), path


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """Open a file's bytes as they are, for a while; ``"-"`` is stdin, which stays open.

    Raises:
        DataError: it can't be opened.
    """
    if source == "-":
        yield sys.stdin.buffer
        return
    with open_raw(source) as raw:
        yield raw


def open_raw(source: str) -> BinaryIO:
    """Open a file's bytes as they are.

    Raises:
        DataError: it can't be opened.
    """
    if is_address(source):
        system, path = _system(source)
        with _told(source):
            return io.BufferedReader(_Arrow(system.open_input_file(path)), _READ)
    path_here = Path(source)
    with _told(source):
        if path_here.is_dir():
            raise DataError(f"{source}: is a directory: give a file inside it")
        return path_here.open("rb", buffering=_READ)


def open_target(target: str) -> BinaryIO:
    """Open a file to be written at an address; it is there, whole, once it is closed."""
    system, path = _system(target)
    with _told(target):
        return cast(BinaryIO, system.open_output_stream(path, compression=None))  # not once more


def unpacked(raw: BinaryIO, name: str) -> BinaryIO:
    """Return the bytes that a gzip or zstd file holds, by its first bytes; any other file's own."""
    head = cast(io.BufferedReader, raw).peek(4)[:4]
    if head.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb"))
    if head.startswith(_ZSTD):
        try:
            import pyarrow as pa
        except ImportError:
            raise missing_extra(f"{name}: reading zstd", "parquet") from None
        return cast(BinaryIO, io.BufferedReader(_Arrow(pa.CompressedInputStream(raw, "zstd")), _ZSTD_READ))
    return raw


UNPACKING_ERRORS = (EOFError, OSError, zlib.error)  # what a damaged archive, or a failing disk, raises midway


class _Arrow(io.RawIOBase):
    """Arrow's file as Python's: its own can't be buffered or decoded."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def state_of(source: str) -> tuple[int, int]:
    """Return a file's size and when it was last changed, in nanoseconds.

    Raises:
        DataError: it isn't there.
    """
    if is_address(source):
        system, path = _system(source)
        with _told(source):
            info = system.get_file_info(path)
            if not info.is_file:
                raise FileNotFoundError
            return info.size, info.mtime_ns or 0
    with _told(source):
        stat = Path(source).stat()
        return stat.st_size, stat.st_mtime_ns
