"""An encoder's weights, laid out once for ONNX Runtime in the cache folder, and the small graphs beside them.

Between session.py and engine.py. One folder per encoder holds `weights.bin`, which ONNX Runtime maps into
memory, `index.json`, which says where each tensor lies in it, and a graph of some kilobytes for each set of
reads. All is written elsewhere and moved into place whole, so another process sees all of it or nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from firstbert import graph, layout
from firstbert.batches import batch_of
from firstbert.catalog import EncoderFiles
from firstbert.errors import EncoderError
from firstbert.families import Architecture, Checkpoint, FloatArray, read_config
from firstbert.graph import Read, Stored
from firstbert.progress import progress
from firstbert.quantize import SENTENCES, SETTINGS, Ranges, find_ranges, quantize
from firstbert.session import Session, onnx_runtime
from firstbert.shelf import cap, make_room, shelf, used, workbench
from firstbert.sources import sha256_of
from firstbert.strict import WEIGHTS, reason, safetensors_header
from firstbert.tokens import Tokenizer, hash_of_tokenizer

Precision = Literal["fp32", "int8", "bf16"]  # the last by torch alone
Tensors = Iterable[tuple[str, npt.NDArray[Any]]]

_PAGE = 4096  # tensors begin on pages, so that each can be mapped by itself
_WEIGHTS, _INDEX = "weights.bin", "index.json"


@dataclass(frozen=True)
class Prepared:
    """An encoder ready to be run.

    Attributes:
        source: the encoder's first file of weights, for messages.
        folder: holds the weights and the graphs.
        architecture: its shape.
        weights_sha256: of model.safetensors, or of the list of its shards' hashes.
        fingerprint: of everything that decides its vectors but tokens, layer and pooling.
        batch_tokens: the most tokens of a batch, unless an option says otherwise.
        backend, device, libraries: what runs it, and on what.
    """

    source: Path
    folder: Path
    architecture: Architecture
    weights_sha256: str
    fingerprint: str
    batch_tokens: int = 256
    backend: Literal["onnx"] = "onnx"
    device: str = "cpu"
    libraries: tuple[str, ...] = ("onnxruntime",)

    def side_by_side(self, cores: int) -> int:
        """How many batches are worth being run at once: one per core, small products stay in its cache."""
        return cores

    @property
    def complete(self) -> bool:
        """Whether its weights are there: the cache folder may be emptied at any time."""
        return self.weights.exists() and (self.folder / _INDEX).exists()

    @property
    def weights(self) -> Path:
        """The file of all tensors."""
        return self.folder / _WEIGHTS

    def stored(self) -> dict[str, Stored]:
        """Return where each tensor lies in it."""
        return _read_index(self.folder)

    def session(self, reads: Sequence[Read], threads: int = 1) -> Session:
        """Return what runs the encoder up to the highest layer read, by so many threads a batch."""
        try:
            return Session(self.graph(reads), threads, self.source)
        except EncoderError:  # a graph that was cut short on the disk, say: once more with a new one
            return Session(self.graph(reads, anew=True), threads, self.source)

    def graph(self, reads: Sequence[Read], *, anew: bool = False) -> Path:
        """Return the path of the graph that gives `reads`, in order; made on first use, or `anew`."""
        names = ",".join(read.name for read in reads)
        path = self.folder / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.onnx"
        if path.exists() and not anew:
            return path
        model = graph.build(self.architecture, reads, _read_index(self.folder), _WEIGHTS)
        return self.put(path.name, model.SerializeToString())

    def put(self, name: str, model: bytes) -> Path:
        """Write a graph beside the weights and return its path."""
        path = self.folder / name
        try:
            _write_whole(path, model)
        except OSError:  # a cache laid out by someone else, that we may only read
            path = _own_copy(self.folder) / name
            _write_whole(path, model)
        return path


def prepare(files: EncoderFiles, precision: Precision = "fp32") -> Prepared:
    """Lay out an encoder's weights, unless that has been done, and return where they are.

    Raises:
        EncoderError: its files are no supported encoder's.
    """
    arch = read_config(files.config)
    sha256 = hash_of_weights(files.weights)
    how = [graph.FORMAT, precision, *(_decide_ranges(files) if precision == "int8" else ())]
    facts = json.dumps([how, sha256, asdict(arch)], sort_keys=True)
    fingerprint = hashlib.sha256(facts.encode()).hexdigest()
    folder = shelf() / fingerprint[:32]
    if _complete(folder):
        used(folder)
    else:
        checkpoint = Checkpoint(files.weights, arch)
        ranges = _ranges(files, prepare(files)) if precision == "int8" else None

        def tensors() -> Tensors:
            exact = layout.tensors(checkpoint)
            return exact if ranges is None else quantize(exact, ranges)

        folder = _lay_out(tensors, folder, f"{files.name} ({precision})")
    return Prepared(files.weights[0], folder, arch, sha256, fingerprint)


def _decide_ranges(files: EncoderFiles) -> list[Any]:
    """What decides the vectors of int8 besides the weights: ranges are those of our sentences' tokens, in float32."""
    return [*SETTINGS, hash_of_tokenizer(files.tokenizer), onnx_runtime().__version__]


def _ranges(files: EncoderFiles, exact: Prepared) -> Ranges:
    """How large the numbers get that enter each product, in float32, on our own sentences."""
    arch = exact.architecture
    tokenizer = Tokenizer(files.tokenizer, min(128, arch.positions), arch.vocabulary)
    model = graph.build_ranges(arch, _read_index(exact.folder), _WEIGHTS)
    session = Session(exact.put("ranges.onnx", model.SerializeToString()), source=exact.source)

    def run(ids: list[int]) -> dict[str, FloatArray]:
        return dict(zip(session.names, session(batch_of([ids], np.zeros(1, np.intp))), strict=True))

    ranges = find_ranges(tokenizer(SENTENCES).ids, run)
    if not all(np.isfinite(found.faintness) and 0 < found.largest.max() < np.inf for found in ranges.values()):
        raise EncoderError(f"{exact.source}: a product of it is all zeros, so it can't be had in int8: take fp32.")
    return ranges


def hash_of_weights(paths: tuple[Path, ...]) -> str:
    """Return the sha256 of model.safetensors, or of the list of its shards' hashes.

    Raises:
        EncoderError: a file isn't whole, or together they are too large.
    """
    path, size = paths[0], 0
    try:
        for path in paths:
            safetensors_header(path)
            size += path.stat().st_size
        if size > WEIGHTS:
            raise ValueError(f"{len(paths)} shards of {size:,} bytes, where {WEIGHTS:,} are the most")
        hashes = [sha256_of(path) for path in paths]
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path}: {reason(error)}.") from error
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _complete(folder: Path) -> bool:
    """Whether the folder is there with all bytes of its weights, and an index that says of each what it is."""
    try:
        told = sum(_on_pages(place.length) for place in _read_index(folder).values())
        return 0 < told == (folder / _WEIGHTS).stat().st_size
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _on_pages(length: int) -> int:
    return length + -length % _PAGE


def _read_index(folder: Path) -> dict[str, Stored]:
    index = json.loads((folder / _INDEX).read_text())
    return {
        name: Stored(tuple(place["shape"]), place["offset"], place["length"], place["dtype"])
        for name, place in index.items()
    }


def _lay_out(tensors: Callable[[], Tensors], folder: Path, name: str) -> Path:
    """Write weights and index, then move them to `folder`; where that can't be, into one for this process alone."""
    try:
        return _lay_out_in_cache(tensors(), folder, name)
    except OSError as error:
        refused = error.strerror
    try:
        own = _write_folder(tensors(), _own_folder(), name)
    except OSError as error:
        raise EncoderError(
            f"Prepared weights can be written neither to {folder.parent} ({refused}) nor to {tempfile.gettempdir()} "
            f"({error.strerror}). Free space there, or set FIRSTBERT_CACHE to another folder."
        ) from error
    warnings.warn(
        f"{folder.parent}: prepared weights can't be kept there ({refused}); they are laid out anew each time. Make "
        "room or make it writable, or set FIRSTBERT_CACHE to another folder.",
        stacklevel=2,
    )
    return own


def _lay_out_in_cache(tensors: Tensors, folder: Path, name: str) -> Path:
    most = cap()
    with workbench(folder.parent) as work:
        inner = work / folder.name  # `work` is private; what others are to read has the rights that are usual here
        inner.mkdir()
        _move(_write_folder(tensors, inner, name), folder)
    make_room(folder.parent, most)
    return folder


def _own_folder() -> Path:
    """A folder for this process alone, gone with it."""
    folder = Path(tempfile.mkdtemp(prefix="firstbert-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _own_copy(folder: Path) -> Path:
    """A copy of a prepared folder for this process: a graph and its weights must lie in one folder."""
    copy = _own_folder()
    try:
        for name in (_WEIGHTS, _INDEX):
            shutil.copyfile(folder / name, copy / name)
    except OSError as error:
        raise EncoderError(
            f"Neither {folder} nor {copy} can be written ({error.strerror}). Set FIRSTBERT_CACHE to a folder that can."
        ) from error
    return copy


def _write_folder(tensors: Tensors, folder: Path, name: str) -> Path:
    index = {}
    with (
        (folder / _WEIGHTS).open("wb") as file,
        progress(f"Preparing {name}", unit="tensors") as advance,
    ):
        for key, array in tensors:
            index[key] = asdict(_append(file, array))
            advance(1)
        file.flush()
        os.fsync(file.fileno())
    _write_whole(folder / _INDEX, json.dumps(index).encode())
    return folder


def _append(file: BinaryIO, array: npt.NDArray[Any]) -> Stored:
    data = array.tobytes()  # (d_in, d_out) in C order, also where `array` is a transposed view
    offset = file.tell()
    file.write(data)
    file.write(b"\0" * (_on_pages(len(data)) - len(data)))
    return Stored(array.shape, offset, len(data), str(array.dtype))


def _move(work: Path, folder: Path) -> None:
    if folder.exists() and not _complete(folder):  # cut short from outside: nobody can use it
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # another process was first: its folder holds the same bytes
        work.rename(folder)
    if not _complete(folder):
        raise OSError(errno.EEXIST, f"{folder.name} lies there, can't be read and can't be replaced")


def _write_whole(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a loss of power could leave an empty file under the final name
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
