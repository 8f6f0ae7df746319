"""Texts → vectors: an encoder opened, with its tokenizer, its batches and its session.

After session.py on the way of a sentence; encoder.py gives it scikit-learn's face. Nothing here needs
scikit-learn, so a classifier that only predicts starts without it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from firstbert.backend import Backend, prepare_for
from firstbert.batches import Batch, batches
from firstbert.catalog import EncoderFiles, encoder_files, folder_named
from firstbert.errors import EncoderError, OptionError
from firstbert.families import Architecture, FloatArray
from firstbert.graph import Pooling, Read
from firstbert.prepared import Precision, Prepared, hash_of_weights, prepare
from firstbert.progress import progress
from firstbert.session import Session, usable_cores
from firstbert.tokens import Tokenizer, Tokens, refuse
from firstbert.torch_session import Device, TorchEncoder, TorchSession

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Told: TypeAlias = Callable[[int], None]

WINDOW = 8192  # texts tokenised and sorted at a time
_OPENED = ("*.safetensors", "*.json", "vocab.txt", "1_Pooling/config.json")  # what an encoder is opened from
_ATTENTION = 8_000_000_000  # bytes of the weights that the tokens of a text give each other


@dataclass(frozen=True)
class EngineOptions:
    """What decides an encoder's vectors, and how the work is shared.

    Attributes:
        encoder: a name of the catalogue, a hub id or a folder.
        pooling: ``"cls"``, ``"mean"`` or ``"auto"``, the encoder's own.
        layer: ``"last"``, a number counted from 1, or several, whose vectors are put side by side.
        max_length: the most tokens of a text, special ones included.
        precision: of the arithmetic.
        threads: batches encoded side by side; None: one per usable core.
        batch_tokens: the most tokens of a batch, padding included; None: 256, by torch 512, on a GPU 16,384.
        backend: ``"onnx"``, ``"torch"`` or ``"auto"``: torch for families that the graph doesn't know, and on a GPU.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``: where torch runs an encoder anyway, a GPU if there is one.
    """

    encoder: str = "minilm"
    pooling: str = "auto"
    layer: str | int | tuple[int, ...] = "last"
    max_length: int = 256
    precision: Precision = "fp32"
    threads: int | None = None
    batch_tokens: int | None = None
    backend: Backend = "auto"
    device: Device = "auto"

    def __post_init__(self) -> None:
        for name in ("layer", "max_length", "threads", "batch_tokens"):
            object.__setattr__(self, name, _plain(getattr(self, name)))


def _plain(value: Any) -> Any:
    """numpy's whole numbers as Python's, which JSON knows."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return int(value) if isinstance(value, np.integer) else value


@dataclass(frozen=True)
class Encoded:
    """Vectors of N texts.

    Attributes:
        vectors: (N, K, D) float32, one vector for each of the K places read.
        truncated: (N,) bool, whether the text was longer than max_length and lost its end.
        tokens: how many were encoded, special ones included; equal texts of a window count once.
    """

    vectors: FloatArray
    truncated: npt.NDArray[np.bool_]
    tokens: int = 0

    @property
    def joined(self) -> FloatArray:
        """The vectors of a text's places side by side, (N, K D)."""
        N, K, D = self.vectors.shape
        return self.vectors.reshape(N, K * D)


@dataclass(frozen=True)
class _Window:
    """Some thousand texts made ready: `rows` says which of the distinct ones each text is."""

    rows: list[int]
    tokens: Tokens
    batches: list[Batch]


class Engine:
    """An encoder opened by `open_engine`.

    Attributes:
        options: as given.
        files: where its files are.
        prepared: its weights as the library that runs it takes them.
        reads: the places where it is read; those of the options, unless given.
    """

    def __init__(self, options: EngineOptions, reads: tuple[Read, ...] | None = None) -> None:
        self.options = options
        self.files: EncoderFiles = encoder_files(options.encoder)
        for name, known in (("precision", Precision), ("backend", Backend), ("device", Device)):
            _one_of(name, getattr(options, name), get_args(known))
        if options.pooling == "auto" and self.files.beyond:
            raise OptionError("pooling", f"{self.files.beyond}, which isn't done here: take pooling='cls' or 'mean'.")
        self.prepared = prepare_for(self.files, options.backend, options.device, options.precision)
        _check(options, self.prepared)
        self.reads = reads or self._reads()
        arch = self.prepared.architecture
        self.tokenizer = Tokenizer(self.files.tokenizer, options.max_length, arch.vocabulary)
        self.threads = self.prepared.side_by_side(options.threads or usable_cores())
        self.batch_tokens = options.batch_tokens or self.prepared.batch_tokens
        if self.prepared.backend == "torch":  # whether it can run a family, is found out by opening it
            _ = self.session

    @cached_property
    def session(self) -> Session | TorchSession:
        """Runs batches side by side, one thread each: small products stay in a core's cache."""
        return self._session(1)

    @cached_property
    def session_alone(self) -> Session | TorchSession:
        """Runs a batch that has all cores to itself; the same to the last bit."""
        if self.threads == 1 or self.prepared.backend != "onnx":
            return self.session
        return self._session(self.threads)

    def _session(self, threads: int) -> Session | TorchSession:
        self.lay_out()
        if isinstance(self.prepared, Prepared):
            return self.prepared.session(self.reads, threads)
        return self.prepared.session(self.reads)

    def lay_out(self) -> None:
        """Prepare the weights anew where what was prepared has been removed from the cache folder since.

        Raises:
            EncoderError: meanwhile they are others.
        """
        if isinstance(self.prepared, Prepared) and not self.prepared.complete:
            again = prepare(self.files, self.options.precision)
            if again.fingerprint != self.prepared.fingerprint:
                raise EncoderError(
                    f"{self.files.name}: its files have changed since this encoder was opened, and what was prepared "
                    "of them is gone from the cache folder. Open the encoder anew."
                )
            self.prepared = again

    def _reads(self) -> tuple[Read, ...]:
        layer = self.options.layer
        if isinstance(layer, tuple):
            return tuple(Read(int(one), self.pooling) for one in layer)
        return (Read(self.prepared.architecture.layers if layer == "last" else int(layer), self.pooling),)

    @property
    def layer(self) -> int | tuple[int, ...]:
        """The layer read, counted from 1, or several."""
        layers = tuple(read.layer for read in self.reads)
        return layers[0] if len(layers) == 1 else layers

    @property
    def pooling(self) -> Pooling:
        """The pooling used: the encoder's own where the option says ``"auto"``, ``"cls"`` where it names none."""
        if self.options.pooling == "auto":
            return self.files.pooling or "cls"
        return "mean" if self.options.pooling == "mean" else "cls"

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the vectors of `texts`."""
        encoded = self._empty(len(texts))
        start = 0
        for window in self.stream(texts, total=len(texts)):
            stop = start + len(window.vectors)
            encoded.vectors[start:stop], encoded.truncated[start:stop] = window.vectors, window.truncated
            start = stop
        return encoded

    def encode_ids(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """Return the vectors, (N, K, D), of texts that are token ids already, special ones included."""
        todo = list(batches(ids, self.batch_tokens, self.threads))
        vectors = self._empty(len(ids)).vectors
        with self._workers() as start, progress("Encoding", len(ids)) as advance:
            self._place(todo, start(todo), vectors, advance)
        return vectors

    def _empty(self, n: int) -> Encoded:
        shape = (n, len(self.reads), self.prepared.architecture.width)
        return Encoded(np.empty(shape, np.float32), np.empty(n, np.bool_))

    def stream(self, texts: Iterable[str], total: int | None = None) -> Iterator[Encoded]:
        """Yield vectors window by window, in order; memory stays that of two windows.

        Args:
            texts: any number of texts.
            total: how many there are, for the progress bar.

        Raises:
            DataError: an item is no text.
        """
        remaining = iter(texts)
        yield from self.stream_windows(iter(lambda: list(itertools.islice(remaining, WINDOW)), []), total)

    def stream_windows(
        self, windows: Iterable[Sequence[str]], total: int | None = None, told: Told | None = None
    ) -> Iterator[Encoded]:
        """Yield vectors of windows that the caller has cut; see `stream`. `told` hears of texts as they are done."""
        with self._workers() as start, progress("Encoding", total) as shown:
            advance: Told = told or shown
            running: tuple[_Window, Iterator[list[FloatArray]]] | None = None
            for window in self._windows(windows):  # tokenised while the one before is encoded
                started = window, start(window.batches)
                if running:
                    yield self._finish(*running, advance)
                running = started
            if running:
                yield self._finish(*running, advance)

    def _windows(self, windows: Iterable[Sequence[str]]) -> Iterator[_Window]:
        """Tokenise each window, equal texts once."""
        done = 0
        for window in windows:
            place: dict[str, int] = {}
            try:
                rows = [place.setdefault(text, len(place)) for text in window]
                tokens = self.tokenizer(list(place))
            except (TypeError, UnicodeEncodeError):
                refuse(window, done)
                raise
            yield _Window(rows, tokens, list(batches(tokens.ids, self.batch_tokens, self.threads)))
            done += len(window)

    @contextmanager
    def _workers(self) -> Iterator[Callable[[list[Batch]], Iterator[list[FloatArray]]]]:
        """Give what runs batches: several side by side, a single one by all cores."""
        pool: ThreadPoolExecutor | None = None

        def start(todo: list[Batch]) -> Iterator[list[FloatArray]]:
            nonlocal pool
            if len(todo) == 1 and pool is None:
                return map(self.session_alone, todo)
            from concurrent.futures import ThreadPoolExecutor  # here: a single text starts sooner without

            pool = pool or ThreadPoolExecutor(self.threads)
            return pool.map(self.session, todo)

        try:
            yield start
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)  # where the caller stops early, nobody wants the rest

    def _finish(self, window: _Window, outputs: Iterator[list[FloatArray]], advance: Callable[[int], None]) -> Encoded:
        """Wait for a window's vectors and give each text its own."""
        vectors = self._empty(len(window.tokens.ids)).vectors
        advance(len(window.rows) - len(vectors))
        self._place(window.batches, outputs, vectors, advance)
        truncated = np.array(window.tokens.truncated, np.bool_)
        return Encoded(vectors[window.rows], truncated[window.rows], sum(map(len, window.tokens.ids)))

    @staticmethod
    def _place(todo: list[Batch], outputs: Iterator[list[FloatArray]], vectors: FloatArray, advance: Told) -> None:
        """Put what comes out of batches into the rows of `vectors`, (N, K, D)."""
        for batch, reads in zip(todo, outputs, strict=True):
            for k, read in enumerate(reads):
                vectors[batch.rows, k] = read
            advance(len(batch.rows))


def open_engine(
    options: EngineOptions, reads: tuple[Read, ...] | None = None, weights_sha256: str | None = None
) -> Engine:
    """Open an encoder, or return it where this process has it open already.

    Args:
        options: which, and how it is read.
        reads: the places where it is read; those of the options, unless given.
        weights_sha256: of the weights that it must have. This is looked at before its other files are read: a model
            may name any folder, and so can't have one read that its maker doesn't know.

    Raises:
        UsageError: an option makes no sense for this encoder.
        EncoderError, SourceError: its files can't be used or had, or its weights are others.
    """
    try:
        hash(options)
    except TypeError:  # a list, say, where a name belongs: opening says which
        return Engine(options, reads)
    stamp = _stamp(options.encoder)
    if weights_sha256 is not None:
        _expect(options.encoder, stamp, weights_sha256)
    return _open(options, reads, repr(options), stamp)


@lru_cache(maxsize=16)
def _expect(encoder: str, stamp: object, sha256: str) -> None:
    weights = encoder_files(encoder).weights
    if (found := hash_of_weights(weights)) != sha256:
        raise EncoderError(
            f"{weights[0]}: these weights (sha256 {found[:12]}…) are not the ones this model was trained on (sha256 "
            f"{sha256[:12]}…); its probabilities would mean nothing."
        )


@lru_cache(maxsize=4)
def _open(options: EngineOptions, reads: tuple[Read, ...] | None, spelled: str, stamp: object) -> Engine:
    """`spelled` tells options apart that Python takes as equal: 1, 1.0 and True; `stamp`, what a folder has held."""
    return Engine(options, reads)


def _stamp(encoder: str | Path) -> object:
    """When the files of a local folder were last changed: a model that is trained anew has other weights there."""
    try:
        folder = folder_named(encoder) if isinstance(encoder, str) else Path(encoder)
        if folder is None or not folder.is_dir():
            return None
    except (OSError, TypeError, ValueError):  # no name that a folder could have: opening says so
        return None
    stats = (path.stat() for pattern in _OPENED for path in sorted(folder.glob(pattern)) if path.is_file())
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


def _check(options: EngineOptions, prepared: Prepared | TorchEncoder) -> None:
    arch = prepared.architecture
    _one_of("pooling", options.pooling, ("auto", "cls", "mean"))
    _int_in("max_length", options.max_length, 2, arch.positions)
    if isinstance(arch, Architecture) and 4 * arch.heads * options.max_length**2 > _ATTENTION:
        raise OptionError(
            "max_length",
            f"max_length={options.max_length} with {arch.heads} attention heads would take over "
            f"{_ATTENTION / 1e9:.0f} GB for a text: take less.",
        )
    _check_layers(options.layer, arch.layers)
    if options.threads is not None:
        _int_in("threads", options.threads, 1, 1024, or_else="None")
    if options.batch_tokens is not None:
        _int_in("batch_tokens", options.batch_tokens, 1, 1_000_000, or_else="None")


def _check_layers(given: object, highest: int) -> None:
    if isinstance(given, str) and given == "last":
        return
    layers = given if isinstance(given, tuple) else (given,)
    for layer in layers:
        _int_in("layer", layer, 1, highest, or_else="'last'")
    if not layers:
        raise OptionError("layer", "The 'layer' option of SentenceEncoder names no layer: give at least one.")
    if len(set(layers)) < len(layers):
        raise OptionError("layer", f"The 'layer' option of SentenceEncoder names a layer twice: {given!r}.")


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        choices = ", ".join(repr(choice) for choice in known)
        raise OptionError(
            name, f"The {name!r} option of SentenceEncoder must be one of {choices}. Got {value!r} instead."
        )


def _int_in(name: str, value: object, low: int, high: int, or_else: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        choice = f"{or_else} or " if or_else else ""
        raise OptionError(
            name,
            f"The {name!r} option of SentenceEncoder must be {choice}an int in [{low}, {high}]. Got {value!r} instead.",
        )
