"""Pieces of a long job ↔ a work folder, so that whatever stops it costs one piece at most.

After bulk_ray.py on the way of a sentence. The folder: `manifest.json` (what the job is made of: model, input, options,
versions), `journal.jsonl` (a line for each piece that is done), the pieces, and for a piece in which rows were set
aside a file of these. A piece is written beside its place, flushed to the disk and moved there; then its line is added
to the journal. What the journal doesn't name was not done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from firstbert.answers import LOCK
from firstbert.errors import UsageError

FORMAT = 1  # of the folder; one that another version left is refused, and --restart begins anew

JOURNAL = "journal.jsonl"

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Piece:
    """A piece that is done.

    Attributes:
        group: which group of files it is of, from 0.
        number: which piece of that group, from 0.
        last: whether it is the group's last.
        rows: rows answered in it.
        bad: rows set aside.
        truncated: texts that lost their ends.
        unsure: answers not to be relied on.
        labels: how often each label was answered.
        size: bytes.
        sha256: of its bytes.
    """

    group: int
    number: int
    last: bool
    rows: int
    bad: int
    truncated: int
    unsure: int
    labels: dict[str, int] = field(default_factory=dict)
    size: int = 0
    sha256: str = ""

    @property
    def name(self) -> str:
        """Its file's name in the work folder."""
        return f"{self.group:06d}-{self.number:08d}"


class Work:
    """A job's folder, held by this process.

    Args:
        folder: where.
        facts: what the job is made of, JSON-ready; those of a folder that is there must be the same.
        restart: drop what is there.

    Raises:
        UsageError: the folder is of another job, or the disk refuses it.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], *, restart: bool = False) -> None:
        self.folder = folder
        self.done: dict[tuple[int, int], Piece] = {}
        facts = {"format": FORMAT} | facts
        with self._writing():
            if restart:
                for path in folder.iterdir():
                    if path.name not in (LOCK, "stdin"):
                        path.unlink()
            manifest = folder / _MANIFEST
            if manifest.exists():
                self._resume(manifest, json.loads(json.dumps(facts)))
            else:
                _write(manifest, json.dumps(facts, indent=1).encode())

    def _resume(self, manifest: Path, facts: dict[str, Any]) -> None:
        try:
            kept = json.loads(manifest.read_bytes())
        except ValueError:
            raise UsageError(f"{manifest}: is damaged: begin anew with --restart.") from None
        if difference := _difference(kept, facts):
            raise UsageError(
                f"{self.folder}: a job was begun here that differs from this one: {difference}. "
                "Begin anew with --restart, or go on with what it was begun with."
            )
        journal = self.folder / JOURNAL
        lines = journal.read_bytes().split(b"\n") if journal.exists() else [b""]
        if lines.pop():  # a line that was cut off
            _write(journal, b"".join(line + b"\n" for line in lines))
        for line in lines:
            piece = Piece(**json.loads(line))
            path = self.folder / piece.name
            if path.is_file() and path.stat().st_size == piece.size:
                self.done[piece.group, piece.number] = piece
        first = {group: self.done_of(group) for group, _ in self.done}  # what stands behind a gap is done again
        self.done = {at: piece for at, piece in self.done.items() if at[1] < first[at[0]]}

    def done_of(self, group: int) -> int:
        """Return how many of a group's pieces, from its first on, are done."""
        number = 0
        while (group, number) in self.done:
            number += 1
        return number

    def complete(self, group: int) -> bool:
        """Say whether all of a group is done."""
        number = self.done_of(group)
        return number > 0 and self.done[group, number - 1].last

    def put(self, piece: Piece, data: bytes, aside: bytes) -> None:
        """Keep a piece, and the rows set aside in it.

        Raises:
            UsageError: it can't be written.
        """
        piece = Piece(**asdict(piece) | {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        with self._writing():
            if aside:
                _write(self.folder / f"{piece.name}.bad", aside)
            _write(self.folder / piece.name, data)
            with (self.folder / JOURNAL).open("ab") as journal:
                journal.write(json.dumps(asdict(piece)).encode() + b"\n")
                journal.flush()
                os.fsync(journal.fileno())
        self.done[piece.group, piece.number] = piece

    def pieces(self) -> Iterator[Path]:
        """Yield the pieces' files in order, each checked.

        Raises:
            UsageError: one was damaged.
        """
        for _, piece in sorted(self.done.items()):
            path = self.folder / piece.name
            if hashlib.sha256(path.read_bytes()).hexdigest() != piece.sha256:
                raise UsageError(f"{path}: was damaged after it was written: begin anew with --restart.")
            yield path

    def asides(self) -> Iterator[Path]:
        """Yield the files of rows set aside, in order."""
        return (self.folder / f"{piece.name}.bad" for _, piece in sorted(self.done.items()) if piece.bad)

    def remove(self) -> None:
        """Drop the folder; the job is done. Renamed first, so that no half of it is ever taken up again."""
        gone = self.folder.with_name(f"{self.folder.name}.done")
        shutil.rmtree(gone, ignore_errors=True)
        self.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"{self.folder}: can't be written ({error.strerror or error}); {len(self.done):,} pieces are kept. "
                "Make room and run the same command again: it goes on from them."
            ) from error


def _write(path: Path, data: bytes) -> None:
    """Put a whole file in place and on the disk."""
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _difference(kept: dict[str, Any], facts: dict[str, Any]) -> str | None:
    """Say what differs first between two sets of facts."""
    for part in dict.fromkeys([*kept, *facts]):
        old, new = kept.get(part), facts.get(part)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            name = next(key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key))
            if name not in old or name not in new:
                return f"{part} {name!r} is {'new' if name in new else 'not there any more'}"
            return f"{part} {name!r} {_changed(old[name], new[name])}"
        return f"{part} {_changed(old, new)}"
    return None


def _changed(old: object, new: object) -> str:
    def short(value: object) -> str:
        return "nothing" if value is None else json.dumps(value)[:80]

    return f"was {short(old)}, is {short(new)}"
