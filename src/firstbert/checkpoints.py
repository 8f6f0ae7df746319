"""The state of a training ↔ a folder, so that a run that is killed goes on where it was.

After trainable.py on the way of a sentence. A state is some numbers and named tensors. Each is written under a name of
its own, and counts from the moment on at which `state.json`, replaced in one step, names it: whatever is killed, the
folder holds one whole state. Nothing in it can execute.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firstbert.errors import ArtifactError

_INDEX = "state.json"


@dataclass(frozen=True)
class State:
    """What was kept.

    Attributes:
        facts: numbers, ready for JSON.
        parts: name → its tensors by name.
    """

    facts: dict[str, Any]
    parts: dict[str, dict[str, Any]]


class Checkpoints:
    """One training's states; the latest is kept.

    Args:
        folder: its own; made when the first state is saved.
        fingerprint: of all that decides the training; a state of another one is never gone on with.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        self._kept: dict[str, str] = {}

    def load(self, device: str = "cpu") -> State | None:
        """Return the latest state; None where there is none of this training, or it can't be read."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            index = json.loads((self.folder / _INDEX).read_bytes())
            if index["fingerprint"] != self.fingerprint:
                return None
            files: dict[str, str] = index["files"]
            parts = {name: load_file(self.folder / Path(file).name, device=device) for name, file in files.items()}
            state = State(index["facts"], parts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            return None
        self._kept = files
        return state

    def save(self, facts: dict[str, Any], parts: Mapping[str, dict[str, Any] | None]) -> None:
        """Write a state; a part that is None is the one that was kept under its name before.

        Raises:
            ArtifactError: there is no room, or the place can't be written; the state before stays whole.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            files = {
                name: self._kept[name] if tensors is None else self._write(f"{name}-{facts['step']}", tensors)
                for name, tensors in parts.items()
            }
            index = {"fingerprint": self.fingerprint, "facts": facts, "files": files}
            new = self.folder / f"{_INDEX}.new"
            new.write_text(json.dumps(index), encoding="utf-8")
            _to_disk(new)
            new.replace(self.folder / _INDEX)
        self._kept = files
        for path in self.folder.iterdir():
            if path.name not in (_INDEX, *files.values()):
                path.unlink(missing_ok=True)

    def _write(self, name: str, tensors: dict[str, Any]) -> str:
        from safetensors.torch import save_file

        file = f"{name}.safetensors"
        if file in self._kept.values():  # of a run before this one that ended right here
            file = f"{name}-again.safetensors"
        save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, self.folder / file)
        _to_disk(self.folder / file)
        return file

    def remove(self) -> None:
        """Forget all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell that something of a training can't be written, and that nothing is lost by it.

    Raises:
        ArtifactError: there is no room, or the place can't be written.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:  # the latter is that library's way of telling of a full disk
        raise ArtifactError(
            f"{folder}: the state of the training can't be written ({getattr(error, 'strerror', None) or error}). What "
            "was kept before is whole: make room and give the same command again to go on from there."
        ) from error


def _to_disk(path: Path) -> None:
    """Have the bytes on the disk before anything names them, should the power fail."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
