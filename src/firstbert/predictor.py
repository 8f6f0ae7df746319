"""An encoder and a head → labels with probabilities: all that a trained classifier needs to answer.

After head.py on the way of a sentence. Needs no scikit-learn: artefacts load into this, and every door
(library, command line, files, service) answers through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from firstbert.cache import encode
from firstbert.calibration import RAW, Calibration
from firstbert.data import SEPARATOR, Label
from firstbert.decision import MOST_PROBABLE, Decision
from firstbert.engine import Encoded, Engine, EngineOptions, Told, open_engine
from firstbert.errors import ArtifactError, EncoderError, OptionError, SourceError
from firstbert.head import Head
from firstbert.targets import BoolArray, DoubleArray
from firstbert.torch_session import Device

Answer: TypeAlias = Label | tuple[Label, ...]  # a label, or all labels of a text that may carry many


@dataclass(frozen=True)
class Predictions:
    """Answers for N texts.

    Attributes:
        labels: the C labels, in the order of the columns of `probabilities`.
        probabilities: (N, C); rows sum to 1 where a text carries one label.
        truncated: (N,) bool, whether the text was longer than the classifier reads and lost its end.
        decision: how probabilities become answers.
    """

    labels: tuple[Label, ...]
    probabilities: DoubleArray
    truncated: npt.NDArray[np.bool_]
    decision: Decision = MOST_PROBABLE

    @cached_property
    def chosen(self) -> BoolArray:
        """Which labels are answered, (N, C); the first in order on a tie."""
        return self.decision.chosen(self.probabilities)

    @cached_property
    def confidence(self) -> DoubleArray:
        """The probability of each answer, (N,)."""
        return self.decision.confidence(self.probabilities)

    @cached_property
    def unsure(self) -> BoolArray:
        """Which answers are not to be relied on, (N,)."""
        return self.decision.unsure(self.probabilities)

    def best(self) -> list[Answer]:
        """Return the answer for each text: a label, or a tuple of labels where a text may carry many."""
        if self.decision.many:
            return [tuple(self.labels[i] for i in np.flatnonzero(row)) for row in self.chosen]
        return [self.labels[i] for i in self.chosen.argmax(axis=1)]

    def records(self) -> list[dict[str, Any]]:
        """Return one JSON-ready dict per text: label (a list of many), score, scores, truncated, unsure."""
        return [
            {
                "label": list(answer) if isinstance(answer, tuple) else answer,
                "score": float(confidence),
                "scores": {label_text(name): float(p) for name, p in zip(self.labels, row, strict=True)},
                "truncated": bool(cut),
                "unsure": bool(unsure),
            }
            for answer, confidence, row, cut, unsure in zip(
                self.best(), self.confidence, self.probabilities, self.truncated, self.unsure, strict=True
            )
        ]


def answer_text(answer: Answer | list[Label]) -> str:
    """Return an answer as text files write it: several labels with `|` between them."""
    if isinstance(answer, tuple | list):
        return SEPARATOR.join(map(label_text, answer))
    return label_text(answer)


def label_text(label: Label) -> str:
    """Return a label as text files write it: JSON's ``true`` for True, anything else as Python prints it."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def is_finetuned(training: Mapping[str, Any]) -> bool:
    """Say whether a model's encoder has learned from its rows, by its facts."""
    return (training.get("finetune") or {}).get("saved") == "finetuned"


@dataclass(frozen=True)
class Predictor:
    """A trained classifier.

    Attributes:
        labels: C distinct labels of one type.
        head: logistic regression on the encoder's vectors.
        encoder: which encoder, and how it is read.
        weights_sha256: hash of the weights the head was fitted on; another encoder's are refused.
        calibration: how the head's scores become probabilities.
        decision: how these become answers.
        folder: of the model that it was loaded from, for messages.
        made_with: what its encoder is called, where the model says so.
    """

    labels: tuple[Label, ...]
    head: Head
    encoder: EngineOptions
    weights_sha256: str
    calibration: Calibration = RAW
    decision: Decision = MOST_PROBABLE
    folder: Path | None = field(default=None, compare=False)
    made_with: str | None = field(default=None, compare=False)

    @property
    def engine(self) -> Engine:
        """The opened encoder.

        Raises:
            EncoderError: it isn't the one that the head was fitted on.
            ArtifactError: it can't be read as the model's folder asks for.
        """
        try:
            engine = open_engine(self.encoder, weights_sha256=self.weights_sha256)
        except OptionError as error:
            if self.folder is None or error.option in ("threads", "device"):  # which the caller may have set
                raise
            raise ArtifactError(f"{self.folder / 'model.json'}: doesn't fit its encoder. {error}") from error
        except (EncoderError, SourceError) as error:
            if self.folder is None or str(self.folder) in str(error):
                raise
            raise type(error)(f"{self.folder / 'model.json'}: its encoder can't be used. {error}") from error
        width, read = len(engine.reads) * engine.prepared.architecture.width, self.head.weight.shape[1]
        if width != read:
            raise ArtifactError(
                f"{(self.folder or Path()) / 'head.safetensors'}: is for vectors of {read:,} numbers, and the "
                f"encoder's have {width:,}."
            )
        return engine

    @property
    def encoder_title(self) -> str:
        """What its encoder is called."""
        return self.made_with or self.engine.files.title

    def predict(self, texts: Sequence[str], *, cache: bool = False) -> Predictions:
        """Return the answers for `texts`; with `cache`, vectors are taken from and kept in the cache folder."""
        encoded = encode(self.engine, texts, cache)
        return self.answer(encoded)

    def stream(
        self, windows: Iterable[Sequence[str]], *, cache: bool = False, told: Told | None = None
    ) -> Iterator[tuple[Predictions, int]]:
        """Yield the answers for windows of texts, one after the other, and how many tokens each took to encode.

        The next window is tokenised while one is encoded; with `cache`, each is looked up first, and nothing overlaps.
        `told` hears of texts as they are encoded.
        """
        engine = self.engine
        encoded = (encode(engine, window) for window in windows) if cache else engine.stream_windows(windows, told=told)
        for window in encoded:
            if cache and told:
                told(len(window.truncated))
            yield self.answer(window), window.tokens

    def answer(self, encoded: Encoded) -> Predictions:
        """Return the answers for texts encoded already, as this predictor's encoder does it."""
        probabilities = self.calibration.probabilities(self.head.scores(encoded.joined))
        return Predictions(self.labels, probabilities, encoded.truncated, self.decision)

    def with_threads(self, threads: int | None) -> Predictor:
        """Return the same classifier encoding with another number of threads."""
        return replace(self, encoder=replace(self.encoder, threads=threads))

    def with_device(self, device: Device) -> Predictor:
        """Return the same classifier encoding on another device; ``"cuda"`` needs torch."""
        return replace(self, encoder=replace(self.encoder, device=device))
