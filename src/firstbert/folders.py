"""An encoder's folder, or its repository on the hub → its files on this machine.

Between sources.py and catalog.py. What is asked of both is the same; only how a file is looked up differs.
What is in the files is for families.py and tokens.py to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from firstbert.errors import EncoderError
from firstbert.sources import HubFile, PinnedFile, find, offline
from firstbert.strict import json_object, plain_bytes, shown

OwnPooling = Literal["cls", "mean"]
JSON_CAP = 10_000_000  # bytes; real ones have a few thousand, an index of shards some hundred thousand
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class EncoderFiles:
    """An encoder's files on this machine.

    Attributes:
        name: the catalogue's name, the hub id, or the folder.
        config: its config.json.
        tokenizer: its tokenizer.json, or vocab.txt where it has only that.
        weights: its model.safetensors, or the shards in order.
        pooling: its own, None where nothing says it.
        pinned: whether the same name can never mean other files: a catalogue entry, or a hub id at a commit.
        beyond: which file asks for what can't be done here, if one does, as a clause.
    """

    name: str
    config: Path
    tokenizer: Path
    weights: tuple[Path, ...]
    pooling: OwnPooling | None
    pinned: bool
    beyond: str | None = None

    @property
    def title(self) -> str:
        """What others are told: of a folder its last name, since where it lies is this machine's own business."""
        folder = self.config.parent
        return folder.resolve().name or self.name if Path(self.name) == folder else self.name


_NO_WEIGHTS = (
    "has no model.safetensors. If it has a pytorch_model.bin: that is a pickle, which can run code when "
    "read, so it isn't read here. Convert it where you trust it: transformers' "
    "AutoModel.from_pretrained(…).save_pretrained(…) writes model.safetensors."
)
_NO_TOKENIZER = (
    "has neither tokenizer.json nor vocab.txt. transformers' "
    "AutoTokenizer.from_pretrained(…).save_pretrained(…) writes tokenizer.json."
)
_Look = Callable[[str], Path | None]  # a file's path by its name, None where there is no such file


def from_folder(folder: Path) -> EncoderFiles:
    """Return the files of an encoder in a local folder.

    Raises:
        EncoderError: the folder or a file in it is missing, leads out of it, or can't be read.
    """
    try:
        if not folder.is_dir():
            what = "is a file; give the folder that it lies in" if folder.exists() else "doesn't exist"
            raise EncoderError(f"The encoder's folder {folder} {what}.")
    except OSError as error:
        raise EncoderError(f"The encoder's folder {folder} can't be read ({error.strerror}).") from error

    def look(filename: str) -> Path | None:
        path = folder / filename
        try:
            if not path.is_file():  # a folder, a pipe and a device are none
                return None
            inside = _holds(folder.resolve(), path.resolve())
        except (OSError, RuntimeError) as error:  # the latter for links in a circle
            raise EncoderError(f"{path}: can't be read ({error}).") from error
        if not inside:
            raise EncoderError(f"{path}: is a link that leads out of its folder. Put the file itself there.")
        return path

    config = _required(look, "config.json", f"{folder}")
    return _gather(f"{folder}", f"{folder}", config, look, pinned=False)


def _holds(folder: Path, file: Path) -> bool:
    """Whether a file belongs to a folder; in the hub library's cache, links lead from `snapshots` to `blobs`."""
    snapshots = folder.parent
    return folder in file.parents or (snapshots.name == "snapshots" and file.parent == snapshots.parent / "blobs")


def from_hub(repo: str, revision: str) -> EncoderFiles:
    """Return the files of an encoder on the hub, downloaded where they aren't in the hub library's cache.

    Raises:
        EncoderError: the repository lacks a file.
        SourceError: the hub can't be reached, or refuses.
    """
    name = repo if revision == "main" else f"{repo}@{revision}"
    called = f"{name} (what is here of it, downloads being switched off)" if offline() else name
    config = _required(partial(_find_on_hub, repo, revision), "config.json", called)
    # The commit that the first file came from is asked for the others, so that they belong together.
    commit = config.parent.name if _COMMIT.fullmatch(config.parent.name) else revision
    look = partial(_find_on_hub, repo, commit)
    return _gather(name, called, config, look, pinned=_COMMIT.fullmatch(revision) is not None)


def _find_on_hub(repo: str, revision: str, filename: str) -> Path | None:
    return find(PinnedFile(Path(filename).name, None, (HubFile(repo, filename, revision),)))


def _gather(name: str, called: str, config: Path, look: _Look, *, pinned: bool) -> EncoderFiles:
    tokenizer = look("tokenizer.json")
    if tokenizer is None:
        look("tokenizer_config.json")  # says whether vocab.txt is cased; tokens.py reads it beside that
        tokenizer = look("vocab.txt")
    if tokenizer is None:
        raise EncoderError(f"{called} {_NO_TOKENIZER}")
    pooling, beyond = _own_pooling(look)
    return EncoderFiles(name, config, tokenizer, _weights(look, called), pooling, pinned, beyond)


def _required(look: _Look, filename: str, called: str) -> Path:
    if path := look(filename):
        return path
    raise EncoderError(f"{called} has no {filename}.")


def _weights(look: _Look, called: str) -> tuple[Path, ...]:
    if single := look("model.safetensors"):
        return (single,)
    index = look("model.safetensors.index.json")
    if index is None:
        raise EncoderError(f"{called} {_NO_WEIGHTS}")
    table = read_json(index).get("weight_map")
    shards: set[str] = set(table.values()) if isinstance(table, dict) and _all_text(table.values()) else set()
    if not shards:
        raise EncoderError(f"{index}: 'weight_map' should say which file holds which tensor.")
    for shard in shards:
        # Plain names only: a path could lead out of the folder.
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors", shard):
            raise EncoderError(f"{index}: {shown(shard)} is no plain name of a .safetensors file.")
    return tuple(_required(look, shard, called) for shard in sorted(shards))


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _own_pooling(look: _Look) -> tuple[OwnPooling | None, str | None]:
    """Read sentence-transformers' note on how the encoder is meant to be pooled, in its old or new form.

    Returns:
        Its pooling, and what is asked for besides that can't be done here; None where nothing is.
    """
    path = look("1_Pooling/config.json")
    if path is None:
        return None, None
    note = read_json(path)
    old = [key for key, value in note.items() if key.startswith("pooling_mode_") and value is True]
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    asked = note.get("pooling_mode") or " + ".join(modes.get(key, key) for key in old)
    pooling: OwnPooling | None = "cls" if asked == "cls" else "mean" if asked == "mean" else None
    if asked and pooling is None:
        return None, f"{path} asks for the pooling {shown(asked)}"
    return pooling, _further_modules(look("modules.json"))


def _further_modules(path: Path | None) -> str | None:
    """What stands behind transformer and pooling; bringing vectors to a length of 1 is left to whoever reads them."""
    if path is None:
        return None
    try:
        names = [module["type"].rpartition(".")[2] for module in read_json(path, "modules")["modules"]]
    except (TypeError, LookupError, AttributeError) as error:
        raise EncoderError(f"{path}: should be a list of modules, each with its type.") from error
    further = [shown(name) for name in names if name not in ("Transformer", "Pooling", "Normalize")]
    return f"{path} asks for {', '.join(further)} as well" if further else None


def read_json(path: Path, key: str | None = None) -> dict[str, Any]:
    """Read a small JSON object from an encoder's folder.

    Args:
        path: the file.
        key: under which its content is returned, where that is no object but a list, say.

    Raises:
        EncoderError: it can't be read, is too large or too deep, or is no JSON object.
    """
    try:
        data = plain_bytes(path.resolve(), JSON_CAP)
        return json_object(data if key is None else b'{"%s":%s}' % (key.encode(), data))
    except (OSError, RuntimeError, ValueError) as error:
        raise EncoderError(f"{path} can't be read: {error}.") from error
