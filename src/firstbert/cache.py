"""(Encoder, text) → vector, from disk where it was encoded before: after store.py on the way of a sentence.

Before head.py. What is found in the cache folder is, bit for bit, what the encoder would give; where the store
fails, the encoder does the work.

A key is a digest of everything that decides a vector, and of the text; texts themselves are never stored. A value
is the vector's bytes and whether the text was cut. When vectors change and nothing in the key says so, raise
`FORMAT`: older entries are never asked for again and leave as the least recently used.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache as once
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from firstbert.engine import Encoded, Engine
from firstbert.graph import Read, first_only
from firstbert.sources import cache_folder, gigabytes
from firstbert.store import ROWS, VectorCache, store_in

FORMAT = 1

_OFF = ("0", "false", "no", "off")


# ---------------------------------------------------------------- which store


def vector_cache() -> VectorCache | None:
    """Return this process's cache of vectors; None where the environment switches it off.

    `FIRSTBERT_VECTOR_CACHE_GB` is its cap, 2 unless given; 0 switches it off, and so does `FIRSTBERT_VECTOR_CACHE=0`.

    Raises:
        UsageError: the cap is no number.
    """
    return None if _cap() == 0 else _store()


def _store() -> VectorCache:
    return store_in(cache_folder() / "vectors", _cap())


def _cap() -> int:
    if os.environ.get("FIRSTBERT_VECTOR_CACHE", "").strip().lower() in _OFF:
        return 0
    return gigabytes("FIRSTBERT_VECTOR_CACHE_GB", "2")


def vectors_info() -> dict[str, Any]:
    """Return the entries and bytes of the cache of vectors, its cap, and whether it is switched on."""
    on = vector_cache() is not None
    return _store().info() | {"cap": _cap(), "on": on}


def clear_vectors() -> bool:
    """Remove all vectors, also while other processes have them open; say whether they are gone."""
    return _store().clear(cache_folder() / "partial" / f"vectors-{os.getpid()}-{time.time_ns()}")


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
    from importlib.metadata import version  # here: it takes longer to import than a text to encode

    facts = {
        "format": FORMAT,
        "encoder": engine.prepared.fingerprint,
        "tokenizer": engine.tokenizer.fingerprint,
        "layer": int(read.layer),
        "pooling": read.pooling,
        "first_only": first_only(engine.reads, read.layer),
        "max_length": int(engine.options.max_length),
        "precision": engine.options.precision,
        "libraries": [version("onnxruntime"), version("tokenizers")],
        "processor": _processor(),
    }
    return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=32).digest()


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
    keys = _keys(engine, texts) if store and engine.prepared.fingerprint else None
    if store is None or keys is None:  # torch's vectors aren't kept; what is no text, the engine refuses
        return engine.encode(texts)
    return _Run(store, engine, texts, keys).encoded()


class _Run:
    """One call of `encode`: N texts, K reads, vectors of width D."""

    def __init__(self, store: VectorCache, engine: Engine, texts: Sequence[str], keys: list[bytes]) -> None:
        self.store, self.engine, self.texts, self.keys = store, engine, texts, keys
        self.K, self.D = len(engine.reads), engine.prepared.architecture.width
        self.vectors = np.empty((len(texts), self.K, self.D), np.float32)
        self.truncated = np.empty(len(texts), np.bool_)
        self.tokens = 0

    def encoded(self) -> Encoded:
        missing: dict[str, list[int]] = {}  # text → its rows
        for start in range(0, len(self.texts), ROWS):
            for row in self._fill_from_store(start, min(start + ROWS, len(self.texts))):
                missing.setdefault(self.texts[row], []).append(row)
        self._fill_by_engine(missing)
        return Encoded(self.vectors, self.truncated, self.tokens)

    def _fill_from_store(self, start: int, stop: int) -> list[int]:
        """Fill in rows that are kept at all reads; return the others."""
        K, length = self.K, 4 * self.D + 1
        found = self.store.get_many(self.keys[start * K : stop * K], length)
        of_rows = [found[k : k + K] for k in range(0, len(found), K)]
        rows = [start + i for i, values in enumerate(of_rows) if None not in values]
        kept = b"".join(value for values in of_rows if None not in values for value in values if value)
        block = np.frombuffer(kept, np.uint8).reshape(len(rows), K, length)
        self.vectors[rows] = np.ascontiguousarray(block[:, :, :-1]).view("<f4")
        self.truncated[rows] = block[:, 0, -1]
        return [start + i for i, values in enumerate(of_rows) if None in values]

    def _fill_by_engine(self, missing: dict[str, list[int]]) -> None:
        todo = list(missing)
        done = 0
        for window in self.engine.stream(todo, total=len(todo)) if todo else ():
            groups = [missing[text] for text in todo[done : done + len(window.vectors)]]
            done += len(groups)
            self.tokens += window.tokens
            self.store.put_many(self._items([rows[0] for rows in groups], window))
            rows = [row for group in groups for row in group]
            source = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
            self.vectors[rows], self.truncated[rows] = window.vectors[source], window.truncated[source]

    def _items(self, rows: list[int], window: Encoded) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of each read of each row; a value is the vector's bytes and whether the text was cut."""
        for row, vectors, truncated in zip(rows, window.vectors, window.truncated, strict=True):
            for k, vector in enumerate(vectors):
                yield self.keys[row * self.K + k], vector.astype("<f4").tobytes() + bytes([int(truncated)])
