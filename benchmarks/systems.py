"""What all systems share: the case they are given, the interface they stand behind, and batches for those fed by hand.

Open with a setting, then texts → vectors (N, D). What a system leaves to its user (batch size, threads, order of texts)
is swept: `first` are the settings tried first, `then` those tried beside the best of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from benchmarks import machine

FloatArray = npt.NDArray[np.float32]
Setting = dict[str, Any]
Ids = list[list[int]]
BUDGETS = (256, 1024, 2048)  # tokens of a batch; 512 is tried first
SIZES = (8, 16, 64, 128)  # texts of a batch; 32 is tried first


@dataclass(frozen=True)
class Case:
    """What is to be encoded, by all systems alike.

    Attributes:
        encoder: folder of the encoder.
        work: folder for what is converted from it.
        precision: ``"fp32"``, ``"int8"`` or ``"bf16"``.
        threads: that a system may keep busy.
        pooling: ``"mean"`` or ``"cls"``.
        layer: ``"last"`` or a number; firstbert alone can stop earlier.
        max_length: tokens of a text, at most.
        calibration: texts that OpenVINO's quantisation may look at.
    """

    encoder: str
    work: str
    precision: str = "fp32"
    threads: int = 2
    pooling: str = "mean"
    layer: str | int = "last"
    max_length: int = 256
    calibration: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def name(self) -> str:
        return Path(self.encoder).name


class System:
    """A way of encoding.

    Attributes:
        name: as in the tables.
        environment: the one it runs in.
        precisions: it can be had in.
        poolings: it can be had with.
    """

    name: ClassVar[str]
    environment: ClassVar[str] = "peers"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    poolings: ClassVar[tuple[str, ...]] = ("mean",)

    def __init__(self, case: Case, setting: Setting) -> None:
        self.case, self.setting = case, setting

    @staticmethod
    def first(case: Case) -> list[Setting]:
        """Return the settings to try first; ``"environment"`` in one holds variables of its process."""
        return [{}]

    @staticmethod
    def then(case: Case, best: Setting) -> list[Setting]:
        """Return the settings to try beside the best of the first."""
        return []

    def prepare(self) -> None:
        """Open the encoder."""
        raise NotImplementedError

    def encode(self, texts: list[str]) -> FloatArray:
        """Return the vectors (N, D)."""
        raise NotImplementedError


class BatchSystem(System):
    """A system whose user chooses how many texts make a batch."""

    @staticmethod
    def first(case: Case) -> list[Setting]:
        return [{"batch_size": 32}]

    @staticmethod
    def then(case: Case, best: Setting) -> list[Setting]:
        return [best | {"batch_size": size} for size in SIZES]


class TokenSystem(System):
    """A system that takes token ids: its tokenising can be timed by itself."""

    def prepare(self) -> None:
        self.tokenizer = open_tokenizer(self.case)
        self.open()

    def open(self) -> None:
        raise NotImplementedError

    def tokens(self, texts: list[str]) -> Ids:
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]

    def encode_tokens(self, ids: Ids) -> FloatArray:
        raise NotImplementedError

    def encode(self, texts: list[str]) -> FloatArray:
        return self.encode_tokens(self.tokens(texts))


def open_tokenizer(case: Case) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(case.encoder) / "tokenizer.json"))
    tokenizer.enable_truncation(case.max_length)
    return tokenizer


def by_budget(ids: Ids, budget: int) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each batch: like lengths together, the longest first, at most `budget` tokens with padding."""
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    order, start, batches = np.argsort(-lengths, kind="stable"), 0, []
    while start < len(order):
        stop = start + max(budget // int(lengths[order[start]]), 1)
        batches.append(order[start:stop])
        start = stop
    return batches


def padded(ids: Ids, rows: npt.NDArray[np.intp], dtype: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return (B, T) ids, filled up with 0, and (B,) lengths."""
    lengths = np.array([len(ids[i]) for i in rows], np.int32)
    batch = np.zeros((len(rows), int(lengths.max())), dtype)
    for row, i in zip(batch, rows, strict=True):
        row[: len(ids[i])] = ids[i]
    return batch, lengths


def longest_first(texts: Sequence[str]) -> npt.NDArray[np.intp]:
    """Return the order by characters, as sentence-transformers sorts: for systems that don't sort by themselves."""
    return np.argsort([-len(text) for text in texts], kind="stable")


def mean_of(hidden: FloatArray, lengths: npt.NDArray[np.int32]) -> FloatArray:
    """(B, T, D) → (B, D), over real tokens."""
    share = (np.arange(hidden.shape[1]) < lengths[:, None]) / lengths[:, None].astype(np.float32)
    return np.matmul(share[:, None].astype(np.float32), hidden)[:, 0]


def in_place(n: int, batches: list[npt.NDArray[np.intp]], parts: Any) -> FloatArray:
    """Return the rows of all batches in the order of the texts."""
    vectors: FloatArray | None = None
    for rows, part in zip(batches, parts, strict=True):
        if vectors is None:
            vectors = np.empty((n, part.shape[1]), np.float32)
        vectors[rows] = part
    assert vectors is not None
    return vectors


def budgets(best: Setting) -> list[Setting]:
    return [best | {"batch_tokens": budget} for budget in BUDGETS]


def environment(case: Case, setting: Setting) -> dict[str, str]:
    """Return the variables of a system's process."""
    threads = str(case.threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    fixed = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "TRANSFORMERS_VERBOSITY": "error"}
    return machine.variables() | dict.fromkeys(names, threads) | fixed | setting.get("environment", {})
