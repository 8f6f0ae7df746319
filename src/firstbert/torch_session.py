"""A batch → vectors, by torch: for families that the graph doesn't know, and for GPUs.

After torch_model.py on the way of a sentence. `TorchEncoder` stands where `Prepared` does and `TorchSession` where
`Session` does; the vectors are the same within their precision. torch is imported when an encoder is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Literal

import numpy as np

from firstbert.batches import Batch, IntArray
from firstbert.catalog import EncoderFiles
from firstbert.errors import EncoderError, UsageError, missing_extra
from firstbert.families import FloatArray, Shape
from firstbert.graph import Read
from firstbert.prepared import Precision, hash_of_weights
from firstbert.session import finite
from firstbert.torch_model import load_model, shape_of, told

Device = Literal["auto", "cpu", "cuda"]

_BATCH_TOKENS = {"cpu": 512, "cuda": 16_384}  # docs/decisions.md has the measurements
_PROBE = (9, 5)  # lengths of the two rows on which an encoder is tried when it is opened
# Relative to the largest number: what padding may change by rounding. A family that reads it is off by far more.
_SAME = {"fp32": 1e-3, "bf16": 0.1}


@dataclass(frozen=True)
class TorchEncoder:
    """An encoder that torch is to run; its weights are read when a session is opened.

    Attributes:
        files: where its files are.
        architecture: its shape.
        weights_sha256: of model.safetensors, or of the list of its shards' hashes.
        precision: ``"fp32"`` or ``"bf16"``.
        device: ``"cpu"`` or ``"cuda"``.
        fingerprint: None: a vector's last bits depend on its batch, so none is kept in the cache of vectors.
        backend, libraries: what runs it.
    """

    files: EncoderFiles
    architecture: Shape
    weights_sha256: str
    precision: Precision
    device: str
    fingerprint: None = None
    backend: Literal["torch"] = "torch"
    libraries: tuple[str, ...] = ("torch", "transformers")

    @property
    def batch_tokens(self) -> int:
        """The most tokens of a batch, unless an option says otherwise."""
        return _BATCH_TOKENS[self.device]

    def side_by_side(self, cores: int) -> int:
        """How many batches are worth being run at once: on a GPU one runs while another's vectors come back."""
        return 2 if self.device == "cuda" else cores

    def session(self, reads: Sequence[Read]) -> TorchSession:
        """Load the weights and return what runs them up to the highest layer read.

        Raises:
            EncoderError: the weights can't be read or don't fit config.json.
        """
        return TorchSession(self, reads)


def prepare_torch(files: EncoderFiles, precision: Precision, device: Device, why: str) -> TorchEncoder:
    """Look at an encoder that torch is to run.

    Args:
        files: where its files are.
        precision: ``"fp32"`` or ``"bf16"``.
        device: ``"auto"`` takes the GPU where there is one.
        why: what torch is needed for, should it be missing.

    Raises:
        UsageError: torch isn't installed, or sees no GPU where one is asked for.
        EncoderError: config.json is no encoder's that transformers knows.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra(why, "torch") from None
    return TorchEncoder(files, shape_of(files), hash_of_weights(files.weights), precision, chosen_device(device))


def chosen_device(device: Device) -> Literal["cpu", "cuda"]:
    """Return where torch is to run.

    Raises:
        UsageError: it sees no GPU, and one is asked for.
    """
    import torch

    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise UsageError("device='cuda' was asked for, but torch sees no CUDA device here. Take device='cpu'.")
    return "cuda" if gpu and device != "cpu" else "cpu"


# ---------------------------------------------------------------- running


class TorchSession:
    """A model of transformers with its weights; several threads may call it at once.

    Args:
        encoder: which, and where it is to run.
        reads: the outputs, in order; layers above the highest of them are cut off.

    Raises:
        EncoderError: its weights can't be read, or it can't be read by layers.
    """

    def __init__(self, encoder: TorchEncoder, reads: Sequence[Read]) -> None:
        self.encoder, self.reads = encoder, tuple(reads)
        # The GPU takes one batch after the other; on the CPU each runs on a core of its own.
        self._turn = threading.Lock() if encoder.device == "cuda" else _OneCore()
        self._model = load_model(encoder.files, encoder.precision, encoder.device)
        self._whole, self._by_length = True, False
        with told(encoder.files, "can't be run by transformers"):
            probe = self._probe()
        self._check(probe)
        self._by_length = self._reads_padding(probe)
        self._cut(probe)

    def __call__(self, batch: Batch) -> list[FloatArray]:
        """Return one float32 array per read: (B, D), or (B, T, D) for "tokens".

        Raises:
            EncoderError: the batch doesn't fit into the GPU's memory, or what comes out are no numbers.
        """
        import torch

        try:
            with self._turn, torch.inference_mode():
                outputs = self._outputs(batch)
                together = torch.cat([output.flatten() for output in outputs])
                home = together.to("cpu", non_blocking=True)  # all reads in one go
                done = self._mark()
        except torch.OutOfMemoryError as error:
            size = "x".join(map(str, batch.ids.shape))
            raise EncoderError(
                f"A batch of {size} tokens doesn't fit into the GPU's memory: take a smaller batch_tokens than "
                f"{batch.ids.size}."
            ) from error
        if done is not None:
            done.synchronize()  # not in its turn any more: meanwhile the next batch is on its way
        apart = _apart(home.numpy(), [tuple(output.shape) for output in outputs])
        return finite(apart, self.encoder.files.weights[0])

    @property
    def names(self) -> list[str]:
        """The outputs' names, in order."""
        return [read.name for read in self.reads]

    def _mark(self) -> Any:
        """A mark in the GPU's work, behind the copy; None on the CPU, where all is done already."""
        import torch

        if self.encoder.device != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def _outputs(self, batch: Batch) -> list[Any]:
        """One float32 tensor per read, on the device."""
        import torch

        ids, lengths, T = self._moved(batch.ids).long(), self._moved(batch.lengths).long(), batch.ids.shape[1]
        parts = _equal_lengths(batch.lengths) if self._by_length else [(slice(None), T)]
        found = []
        for rows, longest in parts:
            padded = bool((batch.lengths[rows] < longest).any())
            states = self._states(ids[rows, :longest], lengths[rows], padded=padded)
            found.append([pooled(states[read.layer].float(), lengths[rows], read.pooling, T) for read in self.reads])
        return [torch.cat(pieces) for pieces in zip(*found, strict=True)]

    def _moved(self, array: Any) -> Any:
        import torch

        tensor = torch.from_numpy(array)
        if self.encoder.device == "cuda":
            return tensor.pin_memory().to("cuda", non_blocking=True)
        return tensor

    def _states(self, ids: Any, lengths: Any, *, padded: bool) -> list[Any]:
        """The states (B, T, D) after 0, 1, … layers, the last one with what norm the family puts behind it.

        Args:
            ids: (B, T).
            lengths: (B,).
            padded: whether any row is shorter than T; where none is, SDPA needs no mask and takes its fastest kernel.
        """
        mask = real_tokens(lengths, ids.shape[1]).long() if padded else None
        out = self._model(input_ids=ids, attention_mask=mask, output_hidden_states=True, return_dict=True)
        states = list(out.hidden_states)
        if self._whole:
            states[-1] = out.last_hidden_state
        return states

    # -- opening

    def _probe(self, rows: int = 2, last: int = 0) -> list[Any]:
        """The states of a small padded batch, or of its second row alone; `last` is added to the last token's id."""
        import torch

        size = self.encoder.architecture.vocabulary
        ids = torch.arange(2 * _PROBE[0]).reshape(2, -1).add(size // 2)[-rows:, : _PROBE[-rows]]
        ids[:, -1] += last
        lengths = torch.tensor(_PROBE[-rows:])
        device = self.encoder.device
        with torch.inference_mode():
            return self._states(ids.remainder(size).to(device), lengths.to(device), padded=rows > 1)

    def _check(self, probe: list[Any]) -> None:
        """Refuse what has no state for each layer, and decoders, whose first token sees none of the others."""
        import torch

        arch, where = self.encoder.architecture, f"{self.encoder.files.config}: family"
        shapes = {tuple(state.shape) for state in probe}
        if len(probe) != arch.layers + 1 or shapes != {(2, _PROBE[0], arch.width)}:
            raise EncoderError(f"{where} {arch.family!r} doesn't give one state of width {arch.width} for each layer.")
        one, other = self._probe(rows=1)[-1], self._probe(rows=1, last=1)[-1]
        if torch.equal(one[0, 0], other[0, 0]):
            raise EncoderError(f"{where} {arch.family!r} is a decoder: no token sees those behind it. Take an encoder.")

    def _reads_padding(self, probe: list[Any]) -> bool:
        """Whether a padded row comes out otherwise than alone; MobileBERT's last word looks at the one behind it."""
        together, alone = probe[-1][1, : _PROBE[1]].float(), self._probe(rows=1)[-1][0].float()
        off = float((together - alone).abs().max() / alone.abs().max())
        return not off <= _SAME[self.encoder.precision]

    def _cut(self, probe: list[Any]) -> None:
        """Cut off the layers above the highest one read; put them back where that changes what is read below.

        Families keep their layers in one list, or count them by config.json, and some put a norm behind the last.
        """
        top, config = max(1, *(read.layer for read in self.reads)), self._model.config
        if top == self.encoder.architecture.layers:
            return
        layers = layer_list(self._model, config.num_hidden_layers)
        above = list(layers[top:])
        del layers[top:]
        config.num_hidden_layers, config.tie_last_hidden_states, self._whole = top, False, False
        if not self._same_up_to(top, probe):
            layers.extend(above)
            config.num_hidden_layers, self._whole = self.encoder.architecture.layers, True

    def _same_up_to(self, top: int, probe: list[Any]) -> bool:
        import torch

        try:
            states = self._probe()
        except Exception:  # whatever a model does that misses its layers
            return False
        return len(states) == top + 1 and all(map(torch.allclose, states, probe))


def layer_list(model: Any, n: int) -> Any:
    """The outermost list of `n` modules; an empty one where there is none, as where layers share their weights."""
    import torch

    lists = (module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == n)
    return next(lists, torch.nn.ModuleList())


def real_tokens(lengths: Any, T: int) -> Any:
    """(B,) → (B, T) bool, whether a token stands there."""
    import torch

    return torch.arange(T, device=lengths.device) < lengths[:, None]


def _equal_lengths(lengths: IntArray) -> list[tuple[slice, int]]:
    """Runs of rows of one length, and that length: nothing is padded where only such rows are put together."""
    ends = [*(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    return [(slice(start, end), int(lengths[start])) for start, end in pairwise([0, *ends])]


def pooled(states: Any, lengths: Any, pooling: str, T: int) -> Any:
    """(B, t, D) → (B, D), or (B, T, D) for "tokens", zeros behind."""
    import torch

    match pooling:
        case "tokens":
            return torch.nn.functional.pad(states, (0, 0, 0, T - states.shape[1]))
        case "cls":
            return states[:, 0]
    real = real_tokens(lengths, states.shape[1])[:, :, None]
    return states.masked_fill(~real, 0).sum(1) / lengths[:, None]


def _apart(together: FloatArray, shapes: list[tuple[int, ...]]) -> list[FloatArray]:
    ends = np.cumsum([prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(together, ends), shapes, strict=True)]


class _OneCore:
    """torch on one core in the threads that are in here: sharing a batch among cores makes each wait for the slowest.

    The number also holds for threads to come, so what the process had is put back.
    """

    _lock = threading.Lock()
    _inside, _before = 0, 0

    def __enter__(self) -> None:
        import torch

        with self._lock:
            if not _OneCore._inside:
                _OneCore._before = torch.get_num_threads()
            _OneCore._inside += 1
        torch.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        import torch

        torch.set_num_threads(self._before)
        with self._lock:
            _OneCore._inside -= 1
