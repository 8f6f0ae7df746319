"""Ways to change the files of a model folder, and what any file may be changed into."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from hostile import mend

Change = Callable[[Path], object]
MODEL, HEAD, TEXTS, VECTORS = "model.json", "head.safetensors", "neighbours.jsonl", "neighbours.safetensors"
CONFIG, TOKENIZER, WEIGHTS = "encoder/config.json", "encoder/tokenizer.json", "encoder/model.safetensors"
FILES = (MODEL, HEAD, TEXTS, VECTORS, CONFIG, TOKENIZER, WEIGHTS)
OUTSIDE = "../../outside"  # what lies there is watched; see test_hostile.py


@dataclass(frozen=True)
class Attack:
    """What is done to a folder, and what has to come of it.

    Attributes:
        name: of the test case.
        change: called with the folder.
        file: the one that the refusal names; None where all goes on as if nothing had been done.
        told: a pattern of what else the refusal says.
    """

    name: str
    change: Change
    file: str | None
    told: str = ""


# ---------------------------------------------------------------- how files are changed


def replaced(file: str, content: bytes) -> Change:
    """The file holds something else, and the hashes are those of what it holds."""

    def change(folder: Path) -> None:
        (folder / file).write_bytes(content)
        mend(folder)

    return change


def fact(file: str, place: str, value: Any) -> Change:
    """A fact of a JSON file has another value; `...` takes it away."""

    def change(folder: Path) -> None:
        facts = inside = json.loads((folder / file).read_text())
        *outer, last = [int(key) if key.isdigit() else key for key in place.split("/")]
        for key in outer:
            inside = inside[key]
        if value is ...:
            del inside[last]
        else:
            inside[last] = value
        (folder / file).write_text(json.dumps(facts))

    return change


def tensors(file: str, edit: Callable[[dict[str, Any]], object]) -> Change:
    """A safetensors file holds other tensors."""

    def change(folder: Path) -> None:
        found = load_tensors((folder / file).read_bytes())
        with np.errstate(all="ignore"):
            edit(found)
        (folder / file).write_bytes(save_tensors(found))
        mend(folder)

    return change


def header(file: str, edit: Callable[[dict[str, Any]], object]) -> Change:
    """A safetensors file's header says something else of the same bytes."""

    def change(folder: Path) -> None:
        data = (folder / file).read_bytes()
        length = int.from_bytes(data[:8], "little")
        found = json.loads(data[8 : 8 + length])
        edited = edit(found) or found
        text = edited if isinstance(edited, bytes) else json.dumps(edited).encode()
        (folder / file).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        mend(folder)

    return change


def both(*changes: Change) -> Change:
    """One change after the other."""
    return lambda folder: [change(folder) for change in changes]


def removed(file: str) -> Change:
    return lambda folder: (folder / file).unlink()


def linked(file: str, target: str) -> Change:
    """The file is a link to a place."""

    def change(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).symlink_to(target)

    return change


def instead(file: str, make: Callable[[Path], object]) -> Change:
    """Something that is no file stands there."""

    def change(folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)

    return change


def long(file: str, size: int) -> Change:
    """The file has a hole, so that it seems to be of any size."""
    return lambda folder: os.truncate(folder / file, size)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # such a path may have a hundred characters
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


class _Run:
    """A pickle of it makes a file where it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ../../outside/canary",)


PICKLE = pickle.dumps(_Run())


def zipped(name: str, size: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    return packed.getvalue()


def _entry(name: str, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found[name].update(values)


def safetensors(file: str, name: str, other: str) -> Iterator[Attack]:
    """Headers that lie; `name` and `other` are tensors of the file."""
    lies: dict[str, Callable[[dict[str, Any]], object]] = {
        "a negative shape": _entry(name, shape=[-1, 8]),
        "a giant shape": _entry(name, shape=[2**62, 4]),
        "a shape beyond 64 bits": _entry(name, shape=[2**70]),
        "a shape whose product wraps round": _entry(name, shape=[2**32, 2**32, 8]),
        "a shape of words": _entry(name, shape=["8"]),
        "no shape": lambda found: found[name].pop("shape") and None,
        "an unknown type": _entry(name, dtype="PICKLE"),
        "a type of half bytes": _entry(name, dtype="F4"),
        "offsets turned round": _entry(name, data_offsets=[64, 0]),
        "offsets beyond the end": _entry(name, data_offsets=[0, 2**40]),
        "negative offsets": _entry(name, data_offsets=[-8, 64]),
        "offsets of words": _entry(name, data_offsets=["0", "64"]),
        "offsets over each other": lambda found: found[name].update(data_offsets=found[other]["data_offsets"]),
        "no offsets": lambda found: found[name].pop("data_offsets") and None,
        "an entry that is none": lambda found: found.update({name: 5}),
        "metadata that is none": lambda found: found.update(__metadata__={"a": [1]}),
        "the same tensor twice": lambda found: json.dumps(found)[:-1].encode() + b", " + json.dumps(found)[1:].encode(),
        "a list": lambda found: b"[]",
        "nested deep": lambda found: b'{"a":' + b"[" * 50_000,
        "not UTF-8": lambda found: b'{"\xff": 1}',
    }
    if name == other:
        lies.pop("offsets over each other")
    for lie, edit in lies.items():
        yield Attack(f"{file} {lie}", header(file, edit), file)
    for length in (0, 1, 2**32, 2**63, 2**64 - 1):
        yield Attack(f"{file} header of {length}", replaced(file, struct.pack("<Q", length) + b"{}" * 50), file)


# ---------------------------------------------------------------- any file


def any_file() -> Iterator[Attack]:
    folded = b"[" * 100_000
    for file in FILES:
        text = file.endswith((".json", ".jsonl"))
        yield Attack(f"{file} missing", removed(file), "encoder" if file.startswith("encoder") else file)
        yield Attack(f"{file} empty", replaced(file, b""), file)
        yield Attack(f"{file} a pickle", replaced(file, PICKLE), file)
        yield Attack(f"{file} a zip bomb", replaced(file, zipped("a.npy", 20_000_000)), file)
        yield Attack(
            f"{file} cut", lambda folder, file=file: replaced(file, (folder / file).read_bytes()[:-9])(folder), file
        )
        yield Attack(f"{file} a folder", instead(file, Path.mkdir), "encoder" if file.startswith("encoder") else file)
        yield Attack(f"{file} a pipe", instead(file, os.mkfifo), "encoder" if file.startswith("encoder") else file)
        yield Attack(f"{file} a socket", instead(file, _socket), "encoder" if file.startswith("encoder") else file)
        up = "../" if file.startswith("encoder") else ""
        yield Attack(f"{file} a link out", linked(file, f"{up}{OUTSIDE}/{Path(file).name}"), file)
        yield Attack(
            f"{file} a link to zeros", linked(file, "/dev/zero"), "encoder" if file.startswith("encoder") else file
        )
        yield Attack(f"{file} a link to itself", linked(file, Path(file).name), file if "/" not in file else "encoder")
        yield Attack(f"{file} of 30 GB", long(file, 30_000_000_000), file)
        if text:
            yield Attack(f"{file} nested deep", replaced(file, b'{"a":' + folded), file)
            yield Attack(f"{file} in UTF-16", replaced(file, "{}".encode("utf-16")), file)
