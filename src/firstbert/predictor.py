"""An encoder and a head → labels with probabilities: all that a trained classifier needs to answer.

After head.py on the way of a sentence. Needs no scikit-learn: artefacts load into this, and every door
(library, command line, files, service) answers through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert.cache import encode
from firstbert.data import Label
from firstbert.engine import Engine, EngineOptions, open_engine
from firstbert.errors import EncoderError
from firstbert.head import DoubleArray, Head
from firstbert.torch_session import Device


@dataclass(frozen=True)
class Predictions:
    """Answers for N texts.

    Attributes:
        labels: the C labels, in the order of the columns of `probabilities`.
        probabilities: (N, C), rows sum to 1.
        truncated: (N,) bool, whether the text was longer than the classifier reads and lost its end.
    """

    labels: tuple[Label, ...]
    probabilities: DoubleArray
    truncated: npt.NDArray[np.bool_]

    def best(self) -> list[Label]:
        """Return the most probable label of each text; the first in order on a tie."""
        return [self.labels[i] for i in self.probabilities.argmax(axis=1)]

    def records(self) -> list[dict[str, Any]]:
        """Return one JSON-ready dict per text: label, score, scores, truncated, unsure."""
        return [
            {
                "label": label,
                "score": float(row.max()),
                "scores": {label_text(name): float(p) for name, p in zip(self.labels, row, strict=True)},
                "truncated": bool(cut),
                "unsure": False,  # no classifier abstains yet
            }
            for label, row, cut in zip(self.best(), self.probabilities, self.truncated, strict=True)
        ]


def label_text(label: Label) -> str:
    """Return a label as text files write it: JSON's ``true`` for True, anything else as Python prints it."""
    return str(label).lower() if isinstance(label, bool) else str(label)


@dataclass(frozen=True)
class Predictor:
    """A trained classifier.

    Attributes:
        labels: C distinct labels of one type.
        head: logistic regression on the encoder's vectors.
        encoder: which encoder, and how it is read.
        weights_sha256: hash of the weights the head was fitted on; another encoder's are refused.
    """

    labels: tuple[Label, ...]
    head: Head
    encoder: EngineOptions
    weights_sha256: str

    @property
    def engine(self) -> Engine:
        """The opened encoder.

        Raises:
            EncoderError: it isn't the one that the head was fitted on.
        """
        engine = open_engine(self.encoder)
        found = engine.prepared.weights_sha256
        if found != self.weights_sha256:
            raise EncoderError(
                f"{engine.files.weights[0]}: these weights (sha256 {found[:12]}…) are not the ones this model was "
                f"trained on (sha256 {self.weights_sha256[:12]}…); its probabilities would mean nothing."
            )
        return engine

    def predict(self, texts: Sequence[str], *, cache: bool = False) -> Predictions:
        """Return the answers for `texts`; with `cache`, vectors are taken from and kept in the cache folder."""
        encoded = encode(self.engine, texts, cache)
        return Predictions(self.labels, self.head.probabilities(encoded.vectors[:, 0]), encoded.truncated)

    def with_threads(self, threads: int | None) -> Predictor:
        """Return the same classifier encoding with another number of threads."""
        return replace(self, encoder=replace(self.encoder, threads=threads))

    def with_device(self, device: Device) -> Predictor:
        """Return the same classifier encoding on another device; ``"cuda"`` needs torch."""
        return replace(self, encoder=replace(self.encoder, device=device))
