"""(Encoder, text) → vector, on disk: what was encoded once is never encoded again.

After engine.py on the way of a sentence, before head.py. One LMDB environment in the cache folder, shared by all
processes. What is found there is, bit for bit, what the encoder would give; where the store fails, the encoder
does the work and a warning says why.

A key is a digest of everything that decides a vector, and of the text; texts themselves are never stored. A value
ends in a digest of itself and its key, so that no other bytes can pass for it. Two tables: `index`, key → (place,
time of last use), and `vectors`, place → value. Places count upwards, so vectors are written and read in a row and
fill their pages.

When vectors change and nothing in the key says so, raise `FORMAT`: older entries are never asked for again and
leave as the least recently used. A change of the tables' layout needs another folder name as well.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache as once
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from firstbert.engine import Encoded, Engine
from firstbert.errors import UsageError
from firstbert.graph import Read
from firstbert.sources import cache_folder

if TYPE_CHECKING:
    import lmdb

FORMAT = 1

_OFF = ("0", "false", "no", "off")
_DEFAULT_GB = 2.0
_LEAST_CAP = 1 << 20  # bytes; below this the store's own pages leave no room for vectors
_PLACE = struct.Struct(">QQ")  # (place in `vectors`, second of last use); big-endian: sorted as numbers are
_CHECK = 16  # bytes of a value's digest
_ROWS = 4096  # looked up, written or removed in one transaction: none holds up another process for long
_STALE_S = 3600  # a use is written down when the last one lies further back: reading stays reading
# The store copies a page before it changes it, so it needs room beside what it holds: it is emptied to _LOW of
# the cap once it would hold more than _HIGH.
_HIGH, _LOW = 0.85, 0.75


class VectorCache:
    """Values by key, in one folder, up to a cap; the least recently used leave first.

    Opened at first use; safe with threads, forks and several processes. It never raises: once the folder can't be
    used it warns, finds nothing and keeps nothing.

    Args:
        folder: where; made if need be.
        cap: the most bytes its file may have.
        clock: the time in seconds.
    """

    def __init__(self, folder: Path, cap: int, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.cap, self.clock = folder, cap, clock
        self.pid = os.getpid()
        self.broken = False
        self._lock = threading.Lock()
        self._env: lmdb.Environment | None = None
        self._opened_as: object = None
        self._index: Any = None
        self._vectors: Any = None

    # ---------------------------------------------------------------- what callers do

    def get_many(self, keys: Sequence[bytes], length: int) -> list[bytes | None]:
        """Return the value of each key, None where there is none of this length that is whole."""
        found: list[bytes | None] = [None] * len(keys)
        for start in range(0, len(keys), _ROWS):
            rows = range(start, min(start + _ROWS, len(keys)))
            self._use(partial(self._look_up, keys=keys, rows=rows, found=found, length=length))
        return found

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep values under their keys, for good once this returns; what is there already stays as it is."""
        for batch in _bounded(items, self.cap // 32):
            self._use(partial(self._put, batch=batch))

    def info(self) -> dict[str, int]:
        """Return how many entries and bytes there are, and the cap."""
        facts = {"entries": 0, "bytes": 0, "cap": self.cap}

        def look(env: lmdb.Environment) -> None:
            with self._begin(env) as transaction:
                facts["entries"] = transaction.stat(self._index)["entries"]
            facts["bytes"] = _data(self.folder).stat().st_size

        if self.folder.exists():
            self._use(look)
        return facts

    def clear(self, trash: Path) -> None:
        """Remove all entries and give their space back, also while other processes have them open.

        The folder is moved away whole and then deleted: whoever has it open goes on with what he has, finds at his
        next call that it is gone, and starts a new one.

        Args:
            trash: a path on the same disk, used for a moment.
        """
        with self._lock:
            self.close()
            self.broken = False
        if not self.folder.exists():
            return
        try:
            trash.parent.mkdir(parents=True, exist_ok=True)
            self.folder.rename(trash)
        except OSError:  # a system that won't move open files: emptied, its space is used again
            self._drop_all()
            return
        shutil.rmtree(trash, ignore_errors=True)
        if trash.is_file():
            trash.unlink()

    def close(self) -> None:
        """Let go of the folder; the next use opens it again."""
        if self._env is not None:
            self._env.close()
        self._env = None

    # ---------------------------------------------------------------- opening, and failing

    def _use(self, work: Callable[[lmdb.Environment], None]) -> None:
        """Do work on the open environment; if the store fails at it, the store is given up."""
        import lmdb

        with self._lock:
            if self.broken:
                return
            try:
                work(self._open())
            except (lmdb.Error, OSError) as error:
                self._give_up(error)

    def _open(self) -> lmdb.Environment:
        if self._env is None or self._opened_as != (self.cap, _identity(self.folder)):
            self.close()
            self._env = self._open_anew()
            self._opened_as = (self.cap, _identity(self.folder))
        return self._env

    def _open_anew(self) -> lmdb.Environment:
        import lmdb

        for other in list(_stores.values()):
            if other.folder == self.folder and other.pid != self.pid:
                other.close()  # it came here by a fork; the process it belongs to doesn't notice
        self.folder.mkdir(parents=True, exist_ok=True)
        length = _data(self.folder).stat().st_size if _data(self.folder).exists() else 0
        env = lmdb.open(str(self.folder), map_size=_map_size(self.cap, length), max_dbs=2, mode=0o644)
        try:
            env.reader_check()  # readers that were killed would keep old pages from being used again
            self._fill_up(env)
            self._index, self._vectors = env.open_db(b"index"), env.open_db(b"vectors")
        except BaseException:
            env.close()
            raise
        return env

    def _fill_up(self, env: lmdb.Environment) -> None:
        """Make the file as long as it says it is: a missing end, read through a memory map, would kill the process.

        What is missing reads as zeros then, which the store takes for the damage that it is.
        """
        with self._begin(env, write=True) as transaction:  # nobody else changes the length meanwhile
            length = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            if _data(self.folder).stat().st_size < length:
                os.truncate(_data(self.folder), length)
            transaction.abort()

    def _begin(self, env: lmdb.Environment, write: bool = False) -> lmdb.Transaction:
        import lmdb

        try:
            return env.begin(write=write)
        except lmdb.MapResizedError:  # a process with a higher cap wrote more than our map shows
            env.set_mapsize(0)
            return env.begin(write=write)

    def _give_up(self, error: Exception) -> None:
        self.broken = True
        with suppress(Exception):
            self.close()
        warnings.warn(
            f"{self.folder}: the vectors kept there can't be used ({error}); texts are encoded anew instead. "
            "'firstbert cache clear --vectors' starts afresh, FIRSTBERT_VECTOR_CACHE=0 does without.",
            stacklevel=2,
        )

    # ---------------------------------------------------------------- reading

    def _look_up(
        self,
        env: lmdb.Environment,
        keys: Sequence[bytes],
        rows: Iterable[int],
        found: list[bytes | None],
        length: int,
    ) -> None:
        now, used, bad = int(self.clock()), [], []
        with self._begin(env) as transaction:
            for row in rows:
                key = keys[row]
                entry = _get(transaction, key, self._index)
                if entry is None:
                    continue
                place, last_use = _PLACE.unpack(entry) if len(entry) == _PLACE.size else (0, 0)
                value = _get(transaction, entry[:8], self._vectors)
                if value is None or not _is_whole(key, value, length):
                    bad.append(key)
                    continue
                found[row] = value[:-_CHECK]
                if abs(now - last_use) > _STALE_S:
                    used.append((key, entry, _PLACE.pack(place, now)))
        if used or bad:
            self._amend(env, used, bad)

    def _amend(self, env: lmdb.Environment, used: list[tuple[bytes, bytes, bytes]], bad: list[bytes]) -> None:
        """Write down what was used, and remove what turned out to be no vector."""
        import lmdb

        with suppress(lmdb.MapFullError), self._begin(env, write=True) as transaction:
            for key, before, after in used:
                if _get(transaction, key, self._index) == before:
                    transaction.put(key, after, db=self._index)
            for key in bad:
                self._remove(transaction, key, _get(transaction, key, self._index))

    # ---------------------------------------------------------------- writing

    def _put(self, env: lmdb.Environment, batch: Sequence[tuple[bytes, bytes]]) -> None:
        import lmdb

        with suppress(lmdb.MapFullError):  # old pages that others are reading fill the file: these aren't kept
            try:
                self._make_room(env, batch)
                self._write(env, batch)
            except lmdb.MapFullError:
                self._evict(env, int(self.cap * _LOW / 2))
                self._write(env, batch)

    def _write(self, env: lmdb.Environment, batch: Sequence[tuple[bytes, bytes]]) -> None:
        now = int(self.clock())
        with self._begin(env, write=True) as transaction:
            place = self._next_place(transaction)
            for key, value in batch:
                if transaction.put(key, _PLACE.pack(place, now), db=self._index, overwrite=False):
                    checked = value + _digest(key, value)
                    transaction.put(place.to_bytes(8, "big"), checked, db=self._vectors, append=True)
                    place += 1

    def _next_place(self, transaction: lmdb.Transaction) -> int:
        with transaction.cursor(self._vectors) as cursor:
            return int.from_bytes(bytes(cursor.key()), "big") + 1 if cursor.last() else 0

    def _make_room(self, env: lmdb.Environment, batch: Sequence[tuple[bytes, bytes]]) -> None:
        need = 2 * sum(len(value) for _, value in batch)  # pages are never quite full
        with self._begin(env) as transaction:
            full = self._held(transaction) + need > self.cap * _HIGH
        if full:
            self._evict(env, int(self.cap * _LOW) - need)

    def _held(self, transaction: lmdb.Transaction) -> int:
        """Bytes in pages that hold something; the file's other pages are free to be used again."""
        tables = [transaction.stat(db) for db in (self._index, self._vectors)]
        return sum(t["psize"] * (t["branch_pages"] + t["leaf_pages"] + t["overflow_pages"]) for t in tables)

    def _evict(self, env: lmdb.Environment, target: int) -> None:
        """Remove the least recently used until at most `target` bytes are held."""
        with self._begin(env) as transaction, transaction.cursor(self._index) as cursor:
            entries = sorted(((bytes(key), bytes(entry)) for key, entry in cursor), key=_by_use)
            share = 1 - max(0, target) / max(1, self._held(transaction))
        oldest = entries[: int(np.ceil(share * len(entries)))]
        step = min(_ROWS, max(16, self.cap >> 16))  # what is removed in one go is copied first
        for start in range(0, len(oldest), step):
            with self._begin(env, write=True) as transaction:
                if self._held(transaction) <= target:  # another process has been at it too
                    return
                for key, entry in oldest[start : start + step]:
                    if _get(transaction, key, self._index) == entry:  # not used in the meantime
                        self._remove(transaction, key, entry)

    def _remove(self, transaction: lmdb.Transaction, key: bytes, entry: bytes | None) -> None:
        if entry:
            transaction.delete(entry[:8], db=self._vectors)
            transaction.delete(key, db=self._index)

    def _drop_all(self) -> None:
        def drop(env: lmdb.Environment) -> None:
            with self._begin(env, write=True) as transaction:
                transaction.drop(self._index, delete=False)
                transaction.drop(self._vectors, delete=False)

        self._use(drop)


_stores: dict[tuple[int, Path], VectorCache] = {}  # by process: a child must not use its parent's


def _get(transaction: lmdb.Transaction, key: bytes, table: Any) -> bytes | None:
    value = transaction.get(key, db=table)
    return None if value is None else bytes(value)


def _by_use(item: tuple[bytes, bytes]) -> bytes:
    """An entry's last use, then its place: what was kept together leaves together, and with it whole pages."""
    return item[1][8:] + item[1][:8]


def _data(folder: Path) -> Path:
    return folder / "data.mdb"


def _identity(folder: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        stat = _data(folder).stat()
        return stat.st_dev, stat.st_ino
    return None


def _map_size(cap: int, length: int) -> int:
    """The most the file may grow to: the cap; some more where it is larger already, or nothing could be removed."""
    return (cap if length <= cap else length * 5 // 4) // 65536 * 65536  # whole pages on every system


def _bounded(items: Iterable[tuple[bytes, bytes]], most: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Lists of at most _ROWS items and about `most` bytes."""
    batch: list[tuple[bytes, bytes]] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item[1])
        if len(batch) == _ROWS or size > most:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _digest(key: bytes, value: bytes) -> bytes:
    return blake2b(value, digest_size=_CHECK, key=key).digest()


def _is_whole(key: bytes, value: bytes, length: int) -> bool:
    return len(value) == length + _CHECK and _digest(key, value[:-_CHECK]) == value[-_CHECK:]


# ---------------------------------------------------------------- which store


def vector_cache() -> VectorCache | None:
    """Return this process's cache of vectors; None where the environment switches it off.

    `FIRSTBERT_VECTOR_CACHE_GB` is its cap, 2 unless given; 0 switches it off, and so does `FIRSTBERT_VECTOR_CACHE=0`.

    Raises:
        UsageError: the cap is no number.
    """
    return None if _cap() == 0 else _store()


def _store() -> VectorCache:
    folder, cap = cache_folder() / "vectors", max(_cap(), _LEAST_CAP)
    store = _stores.setdefault((os.getpid(), folder), VectorCache(folder, cap))
    store.cap = cap
    return store


def _cap() -> int:
    if os.environ.get("FIRSTBERT_VECTOR_CACHE", "").strip().lower() in _OFF:
        return 0
    text = os.environ.get("FIRSTBERT_VECTOR_CACHE_GB", "").strip() or str(_DEFAULT_GB)
    try:
        bytes_ = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        bytes_ = -1
    if bytes_ < 0:
        raise UsageError(f"FIRSTBERT_VECTOR_CACHE_GB must be a number of gigabytes, 0 or more. Got {text!r} instead.")
    return bytes_


def vectors_info() -> dict[str, Any]:
    """Return the entries and bytes of the cache of vectors, its cap, and whether it is switched on."""
    on = vector_cache() is not None
    return _store().info() | {"cap": _cap(), "on": on}


def clear_vectors() -> None:
    """Remove all vectors, also while other processes have them open."""
    store = _store()
    store.clear(cache_folder() / "partial" / f"vectors-{os.getpid()}-{time.time_ns()}")


# ---------------------------------------------------------------- keys


def _keys(engine: Engine, texts: Sequence[str]) -> list[bytes] | None:
    """One key per text and read, a text's keys side by side; None where an item is no text."""
    if not all(isinstance(text, str) for text in texts):
        return None
    seeds = [_seed(engine, read) for read in engine.reads]
    try:
        data = [text.encode() for text in texts]
    except UnicodeEncodeError:
        return None
    return [blake2b(item, digest_size=16, key=seed).digest() for item in data for seed in seeds]


def _seed(engine: Engine, read: Read) -> bytes:
    """A digest of all that decides a vector but the text. Batches and threads are not in it: they change no bit."""
    facts = {
        "format": FORMAT,
        "encoder": engine.prepared.fingerprint,
        "tokenizer": engine.tokenizer.fingerprint,
        "layer": int(read.layer),
        "pooling": read.pooling,
        "first_only": _first_only(engine.reads, read),
        "max_length": int(engine.options.max_length),
        "precision": engine.options.precision,
        "libraries": [version("onnxruntime"), version("tokenizers")],
        "processor": _processor(),
    }
    return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=32).digest()


def _first_only(reads: Sequence[Read], read: Read) -> bool:
    """Whether the layer may be computed for the first position alone: other kernels, so other last bits."""
    top = max(other.layer for other in reads)
    return read.layer == top and all(other.pooling == "cls" for other in reads if other.layer == top)


@once
def _processor() -> list[str]:
    """What the processor can do: ONNX Runtime picks its kernels, and so the order of sums, by that."""
    lines: dict[str, str] = {}
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if not name.strip():
                break  # the first core's part
            lines[name.strip()] = value.strip()
    told = [lines.get(name, "") for name in ("model name", "CPU part", "flags", "Features")]
    return [platform.machine(), platform.processor(), *told]


# ---------------------------------------------------------------- encoding through it


def encode(engine: Engine, texts: Sequence[str], cache: bool = True) -> Encoded:
    """Return what `engine.encode` returns, encoding only texts whose vectors aren't kept yet.

    Vectors are kept some thousand texts at a time, so what an interrupted run has done is done.

    Raises:
        DataError: an item is no text.
    """
    store = vector_cache() if cache else None
    keys = _keys(engine, texts) if store else None
    if store is None or keys is None:  # what is no text, the engine refuses in its own words
        return engine.encode(texts)
    return _Run(store, engine, texts, keys).encoded()


class _Run:
    """One call of `encode`: N texts, K reads, vectors of width D."""

    def __init__(self, store: VectorCache, engine: Engine, texts: Sequence[str], keys: list[bytes]) -> None:
        self.store, self.engine, self.texts, self.keys = store, engine, texts, keys
        self.K, self.D = len(engine.reads), engine.prepared.architecture.width
        self.vectors = np.empty((len(texts), self.K, self.D), np.float32)
        self.truncated = np.empty(len(texts), np.bool_)

    def encoded(self) -> Encoded:
        missing: dict[str, list[int]] = {}  # text → its rows
        for start in range(0, len(self.texts), _ROWS):
            for row in self._fill_from_store(start, min(start + _ROWS, len(self.texts))):
                missing.setdefault(self.texts[row], []).append(row)
        self._fill_by_engine(missing)
        return Encoded(self.vectors, self.truncated)

    def _fill_from_store(self, start: int, stop: int) -> list[int]:
        """Fill in rows that are kept at all reads; return the others."""
        K, length = self.K, 4 * self.D + 1
        found = self.store.get_many(self.keys[start * K : stop * K], length)
        of_rows = [found[k : k + K] for k in range(0, len(found), K)]
        missing = [start + i for i, values in enumerate(of_rows) if None in values]
        values = [value for values in of_rows if None not in values for value in values if value is not None]
        if values:
            rows = np.setdiff1d(np.arange(start, stop), missing)
            block = np.frombuffer(b"".join(values), np.uint8).reshape(len(rows), K, length)
            self.vectors[rows] = np.ascontiguousarray(block[:, :, :-1]).view("<f4")
            self.truncated[rows] = block[:, 0, -1]
        return missing

    def _fill_by_engine(self, missing: dict[str, list[int]]) -> None:
        todo = list(missing)
        done = 0
        for window in self.engine.stream(todo, total=len(todo)) if todo else ():
            groups = [missing[text] for text in todo[done : done + len(window.vectors)]]
            done += len(groups)
            self.store.put_many(self._items([rows[0] for rows in groups], window))
            rows = [row for group in groups for row in group]
            source = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
            self.vectors[rows], self.truncated[rows] = window.vectors[source], window.truncated[source]

    def _items(self, rows: list[int], window: Encoded) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of each read of each row; a value is the vector's bytes and whether the text was cut."""
        for row, vectors, truncated in zip(rows, window.vectors, window.truncated, strict=True):
            for k, vector in enumerate(vectors):
                yield self.keys[row * self.K + k], vector.astype("<f4").tobytes() + bytes([int(truncated)])
