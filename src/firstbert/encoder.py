"""SentenceEncoder: texts → vectors, as a scikit-learn transformer.

After engine.py on the way of a sentence. The constructor stores its options; the encoder is opened on first use
and shared by every estimator of this process with equal options.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from firstbert.backend import Backend
from firstbert.engine import Encoded, Engine, EngineOptions, open_engine
from firstbert.errors import DataError, TruncationWarning
from firstbert.families import FloatArray
from firstbert.prepared import Precision
from firstbert.rows import listed
from firstbert.torch_session import Device


class SentenceEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A frozen pretrained encoder: N texts → a matrix of N vectors.

    Args:
        encoder: a name that ``firstbert models`` lists, a hub id, or a folder with config.json, tokenizer.json
            and model.safetensors.
        pooling: how T token vectors become one: ``"cls"`` takes the first, ``"mean"`` averages them,
            ``"auto"`` does what the encoder was trained with.
        layer: ``"last"``, or a number counted from 1, or several, whose vectors are put side by side; the layers above
            the highest never run.
        max_length: the most tokens of a text, special ones included. What is longer loses its end and is told.
        precision: ``"fp32"``, or ``"int8"``: two to three times as fast, vectors a little off (their cosine to fp32's,
            about the mean, is 0.99 on MiniLM and 0.98 on MPNet); or ``"bf16"``, for torch.
        threads: batches encoded side by side; None: one per usable core.
        batch_tokens: the most tokens of a batch, padding included; None: 256, by torch 512, on a GPU 16,384.
        backend: ``"onnx"``, ``"torch"`` (the extra ``firstbert[torch]``), or ``"auto"``: torch for families that
            firstbert's graph doesn't know and where `device` asks for a GPU, ONNX Runtime for all else.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: where torch runs the encoder anyway, a GPU if there is one.

    Examples:
        >>> from firstbert import SentenceEncoder
        >>> SentenceEncoder("minilm").transform(["A warm, funny film.", "Two hours I will never get back."]).shape
        (2, 384)
    """

    def __init__(
        self,
        encoder: str = "minilm",
        *,
        pooling: str = "auto",
        layer: str | int | tuple[int, ...] = "last",
        max_length: int = 256,
        precision: Precision = "fp32",
        threads: int | None = None,
        batch_tokens: int | None = None,
        backend: Backend = "auto",
        device: Device = "auto",
    ) -> None:
        self.encoder = encoder
        self.pooling = pooling
        self.layer = layer
        self.max_length = max_length
        self.precision = precision
        self.threads = threads
        self.batch_tokens = batch_tokens
        self.backend = backend
        self.device = device

    @property
    def engine(self) -> Engine:
        """The opened encoder.

        Raises:
            UsageError: an option makes no sense for this encoder.
            EncoderError, SourceError: its files can't be used or had.
        """
        return open_engine(EngineOptions(**self.get_params()))

    def fit(self, X: Iterable[str], y: Any = None) -> Self:
        """Check the options and open the encoder; nothing is learned from `X`."""
        _ = self.engine
        return self

    def transform(self, X: Iterable[str]) -> FloatArray:
        """Return the vectors of `X`, ndarray of shape (n_texts, width), float32.

        Warns:
            TruncationWarning: how many texts were longer than `max_length`.

        Raises:
            DataError: an item of `X` is no text.
        """
        encoded = self.encode(X)
        warn_of_truncation(encoded.truncated, self.max_length)
        return encoded.joined

    def encode(self, X: Iterable[str]) -> Encoded:
        """Return the vectors, of shape (n_texts, n_layers, width), with a flag for each text that was cut."""
        return self.engine.encode(as_texts(X))

    def stream(self, texts: Iterable[str]) -> Iterator[Encoded]:
        """Yield what `encode` gives, some thousand texts at a time; memory doesn't grow with their number."""
        return self.engine.stream(texts)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names of the columns: sentenceencoder0, sentenceencoder1, …"""
        width = len(self.engine.reads) * self.engine.prepared.architecture.width
        return np.array([f"sentenceencoder{i}" for i in range(width)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def as_texts(X: Iterable[str]) -> list[str]:
    """Return the texts as a list.

    Raises:
        DataError: it is a lone string, whose characters would be taken as texts, or no single column of them.
    """
    if isinstance(X, str | bytes) or not isinstance(X, Iterable):
        raise DataError(f"A list of texts is needed. Got {type(X).__name__} instead: write [text] for a single one.")
    return listed(X, "X", "texts")


def warn_of_truncation(truncated: npt.NDArray[np.bool_], max_length: int) -> None:
    """Warn once, with the count, where texts lost their ends."""
    if n := int(truncated.sum()):
        warnings.warn(
            f"{n} of {len(truncated)} texts were longer than {max_length} tokens and lost their ends; "
            "raise max_length to keep more of them.",
            TruncationWarning,
            stacklevel=3,
        )
