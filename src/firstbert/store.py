"""Key → value, on disk: after engine.py on the way of a sentence, before cache.py, which keeps its vectors here.

One LMDB environment in one folder, shared by all processes. What is found there is, bit for bit, what was kept;
where the store fails, nothing is found and a warning says why.

A value ends in a digest of itself and its key, so that no other bytes can pass for it. Two tables: `index`, key →
(place, second of last use), and `vectors`, place → value. These numbers are eight bytes, big-endian: sorted as
numbers are. Places count upwards, so vectors are written and read in a row and fill their pages. A change of the
tables' layout needs another folder name.
"""

from __future__ import annotations

import math
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lmdb

    Item = tuple[bytes, bytes]  # (key, value)

ROWS = 4096  # looked up, written or removed in one transaction: none holds up another process for long

_LEAST_CAP = 1 << 20  # bytes; below this the store's own pages leave no room for vectors
_CHECK = 16  # bytes of a value's digest
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
        self._file = folder / "data.mdb"
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
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), ROWS):
            self._use(partial(self._look_up, keys=keys[start : start + ROWS], found=found, length=length))
        return [found.get(key) for key in keys]

    def put_many(self, items: Iterable[Item]) -> None:
        """Keep values under their keys, for good once this returns; what is there already stays as it is."""
        for batch in _bounded(items, self.cap // 32):
            self._use(partial(self._put, batch=batch))

    def info(self) -> dict[str, int]:
        """Return how many entries and bytes there are, and the cap."""
        facts = {"entries": 0, "bytes": 0, "cap": self.cap}

        def look(env: lmdb.Environment) -> None:
            with self._begin(env) as transaction:
                facts["entries"] = transaction.stat(self._index)["entries"]
            facts["bytes"] = self._file.stat().st_size

        if self.folder.exists():
            self._use(look)
        return facts

    def clear(self, trash: Path) -> bool:
        """Remove all entries and give their space back, also while other processes have them open.

        The folder is moved away whole and then deleted: whoever has it open goes on with what he has, finds at his
        next call that it is gone, and starts a new one.

        Args:
            trash: a path on the same disk, used for a moment.

        Returns:
            Whether they are gone.
        """
        with self._lock:
            self.close()
            self.broken = False
        if not self.folder.exists():
            return True
        try:
            trash.parent.mkdir(parents=True, exist_ok=True)
            self.folder.rename(trash)
        except OSError:  # a system that won't move open files: emptied, its space is used again
            self._use(self._drop_all)
            return not self.broken
        shutil.rmtree(trash, ignore_errors=True)
        if trash.is_file():
            trash.unlink()
        return True

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
        if self._env is None or self._opened_as != (self.cap, self._identity()):
            self.close()
            self._env = self._open_anew()
            self._opened_as = (self.cap, self._identity())
        return self._env

    def _open_anew(self) -> lmdb.Environment:
        import lmdb

        for other in list(_stores.values()):
            if other.folder == self.folder and other.pid != self.pid:
                other.close()  # it came here by a fork; the process it belongs to doesn't notice
        self.folder.mkdir(parents=True, exist_ok=True)
        length = self._file.stat().st_size if self._file.exists() else 0
        env = lmdb.open(str(self.folder), map_size=_map_size(self.cap, length), max_dbs=2, mode=0o644)
        try:
            env.reader_check()  # readers that were killed would keep old pages from being used again
            self._fill_up(env)
            self._index, self._vectors = env.open_db(b"index"), env.open_db(b"vectors")
        except BaseException:
            env.close()
            raise
        return env

    def _identity(self) -> tuple[int, int] | None:
        """Which file it is: another one once the folder was cleared."""
        with suppress(OSError):
            stat = self._file.stat()
            return stat.st_dev, stat.st_ino
        return None

    def _fill_up(self, env: lmdb.Environment) -> None:
        """Make the file as long as it says it is: a missing end, read through a memory map, would kill the process.

        What is missing reads as zeros then, which the store takes for the damage that it is.
        """
        with self._begin(env, write=True) as transaction:  # nobody else changes the length meanwhile
            length = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            if self._file.stat().st_size < length:
                os.truncate(self._file, length)
            transaction.abort()

    def _now(self) -> int:
        """The second it is; 0 where the clock says that it is before 1970."""
        return max(0, int(self.clock()))

    def _begin(self, env: lmdb.Environment, write: bool = False) -> lmdb.Transaction[bytes]:
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

    def _look_up(self, env: lmdb.Environment, keys: Iterable[bytes], found: dict[bytes, bytes], length: int) -> None:
        now, used, bad = self._now(), [], []
        with self._begin(env) as transaction:
            for key in keys:
                entry = transaction.get(key, db=self._index)
                if entry is None:
                    continue
                value = transaction.get(entry[:8], db=self._vectors)
                if value is None or not _is_whole(key, value, length):
                    bad.append(key)
                    continue
                found[key] = value[:-_CHECK]
                if abs(now - int.from_bytes(entry[8:])) > _STALE_S:
                    used.append((key, entry))
        if used or bad:
            self._amend(env, now, used, bad)

    def _amend(self, env: lmdb.Environment, now: int, used: list[Item], bad: list[bytes]) -> None:
        """Write down what was used, and remove what turned out to be no vector."""
        import lmdb

        with suppress(lmdb.MapFullError), self._begin(env, write=True) as transaction:
            for key, entry in used:
                if transaction.get(key, db=self._index) == entry:
                    transaction.put(key, entry[:8] + now.to_bytes(8), db=self._index)
            for key in bad:
                self._remove(transaction, key, transaction.get(key, db=self._index))

    # ---------------------------------------------------------------- writing

    def _put(self, env: lmdb.Environment, batch: Sequence[Item]) -> None:
        import lmdb

        with suppress(lmdb.MapFullError):  # old pages that others are reading fill the file: these aren't kept
            try:
                self._make_room(env, batch)
                self._write(env, batch)
            except lmdb.MapFullError:
                self._evict(env, int(self.cap * _LOW / 2))
                self._write(env, batch)

    def _write(self, env: lmdb.Environment, batch: Sequence[Item]) -> None:
        now = self._now().to_bytes(8)
        with self._begin(env, write=True) as transaction:
            with transaction.cursor(self._vectors) as cursor:
                place = int.from_bytes(cursor.key()) + 1 if cursor.last() else 0
            for key, value in batch:
                at = place.to_bytes(8)
                if transaction.put(key, at + now, db=self._index, overwrite=False):
                    transaction.put(at, value + _digest(key, value), db=self._vectors, append=True)
                    place += 1

    def _make_room(self, env: lmdb.Environment, batch: Sequence[Item]) -> None:
        need = 2 * sum(len(value) for _, value in batch)  # pages are never quite full
        with self._begin(env) as transaction:
            full = self._held(transaction) + need > self.cap * _HIGH
        if full:
            self._evict(env, int(self.cap * _LOW) - need)

    def _held(self, transaction: lmdb.Transaction[bytes]) -> int:
        """Bytes in pages that hold something; the file's other pages are free to be used again."""
        tables = [transaction.stat(db) for db in (self._index, self._vectors)]
        return sum(t["psize"] * (t["branch_pages"] + t["leaf_pages"] + t["overflow_pages"]) for t in tables)

    def _evict(self, env: lmdb.Environment, target: int) -> None:
        """Remove the least recently used until at most `target` bytes are held."""
        with self._begin(env) as transaction, transaction.cursor(self._index) as cursor:
            entries = sorted(cursor, key=_by_use)
            share = 1 - max(0, target) / max(1, self._held(transaction))
        oldest = entries[: math.ceil(share * len(entries))]
        step = min(ROWS, max(16, self.cap >> 16))  # what is removed in one go is copied first
        for start in range(0, len(oldest), step):
            with self._begin(env, write=True) as transaction:
                if self._held(transaction) <= target:  # another process has been at it too
                    return
                for key, entry in oldest[start : start + step]:
                    if transaction.get(key, db=self._index) == entry:  # not used in the meantime
                        self._remove(transaction, key, entry)

    def _remove(self, transaction: lmdb.Transaction[bytes], key: bytes, entry: bytes | None) -> None:
        if entry:
            transaction.delete(entry[:8], db=self._vectors)
            transaction.delete(key, db=self._index)

    def _drop_all(self, env: lmdb.Environment) -> None:
        with self._begin(env, write=True) as transaction:
            transaction.drop(self._index, delete=False)
            transaction.drop(self._vectors, delete=False)


_stores: dict[tuple[int, Path], VectorCache] = {}  # by process: a child must not use its parent's


def store_in(folder: Path, cap: int) -> VectorCache:
    """Return this process's one store in the folder, with this cap from now on."""
    cap = max(cap, _LEAST_CAP)
    store = _stores.setdefault((os.getpid(), folder), VectorCache(folder, cap))
    store.cap = cap
    return store


def _by_use(item: Item) -> bytes:
    """An entry's last use, then its place: what was kept together leaves together, and with it whole pages."""
    return item[1][8:] + item[1][:8]


def _map_size(cap: int, length: int) -> int:
    """The most the file may grow to: the cap; some more where it is larger already, or nothing could be removed."""
    return (cap if length <= cap else length * 5 // 4) // 65536 * 65536  # whole pages on every system


def _bounded(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Lists of at most ROWS items and about `most` bytes."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item[1])
        if len(batch) == ROWS or size > most:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _digest(key: bytes, value: bytes) -> bytes:
    return blake2b(value, digest_size=_CHECK, key=key).digest()


def _is_whole(key: bytes, value: bytes, length: int) -> bool:
    return len(value) == length + _CHECK and _digest(key, value[:-_CHECK]) == value[-_CHECK:]
