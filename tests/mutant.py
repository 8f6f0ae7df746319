"""A sound model folder, changed at random."""

from __future__ import annotations

import base64
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

from fuzz.encoder import bytewise, unigram
from fuzz.mutate import mutated

from hostile import mend, plain
from ways import FILES, OUTSIDE, PICKLE, TOKENIZER, Change, zipped


def mutant(seed: int) -> Change:
    """One to three things in a folder are changed at random; in most cases its hashes are made to fit."""
    rng = random.Random(seed)

    def change(folder: Path) -> None:
        if rng.random() < 0.3:
            _other_tokenizer(folder, rng)
        for _ in range(rng.choice((1, 1, 2, 3))):
            path = folder / rng.choice(FILES)
            if plain(path):
                rng.choice(_WAYS)(path, rng)
        if rng.random() < 0.8:
            mend(folder)

    return change


def _said_otherwise(path: Path, rng: random.Random) -> None:
    """Something else stands in its JSON; of a safetensors file in its header."""
    changed = mutated(path.read_bytes(), rng)
    if changed is not None:
        path.write_bytes(changed)


def _bytes_changed(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 4, 64))):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def _beginning_changed(path: Path, rng: random.Random) -> None:
    """As before, but where a file says what it is."""
    data = bytearray(path.read_bytes())
    data[: rng.randrange(1, 64)] = rng.randbytes(rng.randrange(64))
    path.write_bytes(data)


def _length_changed(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    at, n = rng.randint(0, len(data)), rng.choice((1, 8, 100, 5000))
    path.write_bytes(
        rng.choice((data[:at], data[:at] + data[at + n :], data[:at] + rng.randbytes(n) + data[at:], data * 2))
    )


def _numbers_changed(path: Path, rng: random.Random) -> None:
    """Numbers of a tensor are of all sizes, or none."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 20))):
        if len(data) > 4:
            number = rng.choice((float("nan"), float("inf"), 3e38, -3e38, 1e-45, 0.0, 1e30))
            struct.pack_into("<f", data, max(0, len(data) - 4 * rng.randint(1, len(data) // 4)), number)
    path.write_bytes(data)


def _other_thing(path: Path, rng: random.Random) -> None:
    """No longer the file that it was."""
    content, other = path.read_bytes(), path.parent / rng.choice(FILES).split("/")[-1]
    others = other.read_bytes() if plain(other) else b""
    path.unlink()
    up = "../" if path.parent.name == "encoder" else ""
    things: list[Callable[[], object]] = [
        lambda: None, path.mkdir, lambda: os.mkfifo(path),
        lambda: path.symlink_to(f"{up}{OUTSIDE}/{path.name}"),
        lambda: path.symlink_to("/dev/zero"), lambda: path.symlink_to(path.name), lambda: path.write_bytes(PICKLE),
        lambda: path.write_bytes(zipped("a", 1_000_000)), lambda: path.write_bytes(content[::-1]),
        lambda: (path.write_bytes(content), os.truncate(path, rng.randrange(2**34))),
        lambda: path.write_bytes(others),
    ]  # fmt: skip
    rng.choice(things)()


def _other_tokenizer(folder: Path, rng: random.Random) -> None:
    """One as RoBERTa's or XLM-R's, in part with a table of characters."""
    made = rng.choice((bytewise, unigram))()
    if rng.random() < 0.5:
        trie = rng.randbytes(4 * rng.choice((2, 256, 1024)))
        table = struct.pack("<I", len(trie)) + trie + b"a\0b\0"
        made["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
    (folder / TOKENIZER).write_text(json.dumps(made))


_WAYS = (
    _said_otherwise, _said_otherwise, _said_otherwise, _said_otherwise, _bytes_changed, _beginning_changed,
    _length_changed,
    _numbers_changed, _other_thing,
)  # fmt: skip
