"""A path, an address or a pattern → files, and a file → its bytes, unpacked.

After catalog.py on the way of a sentence, before everything that reads data. An address names a file of an object
store or another file system (`s3://`, `gs://`, `hdfs://` by Arrow; any other scheme by fsspec).
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from firstbert.errors import DataError, UsageError, missing_extra

# Endings by which files of a folder are known as data; each may be followed by .gz or .zst.
ENDINGS = (".tsv", ".csv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".arrow", ".feather")
PACKED = (".gz", ".zst")

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://")
_ARROWS = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
_READ = 1 << 20  # bytes asked of a file at a time


def is_address(source: str) -> bool:
    """Say whether this is an address rather than a path."""
    return _ADDRESS.match(source) is not None


def ending(source: str) -> str:
    """Return the ending that tells a file's format: ``".csv"`` of ``x.csv`` and of ``x.CSV.gz``."""
    path = PurePosixPath(source.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in PACKED else path.suffix


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
    twice = {one for one in found if found.count(one) > 1} if len(set(found)) < len(found) else set()
    if twice:
        raise DataError(f"{sorted(twice)[0]}: is named twice: its rows would be labelled twice. Name it once.")
    return found


def _files(source: str) -> list[str]:
    if source == "-":
        return [source]
    listed = _listed_there(source) if is_address(source) else _listed_here(source)
    if listed == []:
        raise DataError(f"{source}: holds no data file (one that ends in {', '.join(ENDINGS)}): name the files.")
    return [source] if listed is None else sorted(listed)


def _listed_here(source: str) -> list[str] | None:
    """The files of a folder or pattern; None: it is a file by itself, or nothing."""
    path = Path(source)
    if path.is_dir():
        return [str(one) for one in path.rglob("*") if one.is_file() and _is_data(str(one.relative_to(path)))]
    if path.exists() or not glob.has_magic(source):
        return None
    matches = [one for one in glob.glob(source, recursive=True) if Path(one).is_file()]  # noqa: PTH207
    if not matches:
        raise DataError(f"{source}: no file matches this pattern: check the path.")
    return matches


def _listed_there(source: str) -> list[str] | None:
    from pyarrow import fs

    system, path = _system(source)
    scheme = source.partition("://")[0]
    with _told(source):
        if not glob.has_magic(path):
            if system.get_file_info(path).type != fs.FileType.Directory:
                return None
            below = system.get_file_info(fs.FileSelector(path, recursive=True))
            names = [info.path for info in below if info.type == fs.FileType.File]
            return [f"{scheme}://{one}" for one in names if _is_data(one.removeprefix(path).lstrip("/"))]
        base = path[: re.search(r"[*?\[]", path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        below = system.get_file_info(fs.FileSelector(base, recursive=True))
        matches = _pattern(path)
        return [f"{scheme}://{info.path}" for info in below if info.is_file and matches.fullmatch(info.path)]


def _pattern(path: str) -> re.Pattern[str]:
    """A pattern's meaning in an object store, where `*` stays within a folder too."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]+\])", path)
    meaning = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(p) or (p if p.startswith("[") else re.escape(p)) for p in parts))


def _is_data(relative: str) -> bool:
    return ending(relative) in ENDINGS and not any(part.startswith((".", "_")) for part in relative.split("/"))


# ---------------------------------------------------------------- opening


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Turn what goes wrong in opening into a message that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{source}: there is no such file: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{source}: can't be read ({reason}): check the path and its permissions") from None


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    try:
        from pyarrow import fs
    except ImportError:
        raise missing_extra("Reading from an object store", "parquet") from None
    scheme = address.partition("://")[0]
    with _told(address):
        if scheme in _ARROWS:
            return cast(tuple[Any, str], fs.FileSystem.from_uri(address))
        import fsspec

        try:
            system, path = fsspec.url_to_fs(address)
        except ImportError as error:
            raise UsageError(f"{address}: {error}") from None
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
        return cast(BinaryIO, system.open_output_stream(path))


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
        return cast(BinaryIO, io.BufferedReader(_Arrow(pa.CompressedInputStream(raw, "zstd")), _READ))
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
