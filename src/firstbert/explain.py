"""One text → a `Trace`: every stage on its way to a label, with its real values.

After classifier.py on the way of a sentence. What a trace says of the answer (scores, probabilities, the label) comes
from the engine that answers everywhere else; a second one, with outputs after every layer, gives what lies between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from firstbert.artifact import Artifact
from firstbert.batches import Batch, batch_of
from firstbert.data import from_lists
from firstbert.engine import Engine, open_engine
from firstbert.errors import UsageError
from firstbert.families import FloatArray
from firstbert.graph import Read
from firstbert.neighbours import Neighbour, Neighbours
from firstbert.predictor import Predictions, Predictor, label_text
from firstbert.targets import DoubleArray
from firstbert.tokens import Piece

Method: TypeAlias = Literal["auto", "exact", "occlusion"]

COMPANIONS = ("What a day!", "Nobody answered my letter, not even after three weeks.", "It rains.")  # in its batch


@dataclass(frozen=True)
class Stage:
    """What a text has become after a layer, at the place where the encoder is read.

    Attributes:
        layer: counted from 1; 0 is the sum of embeddings, before the first.
        vector: (D,), the first position or the mean over all, as the model's pooling has it.
        norm: its length.
        change: length of the step from the layer before, as a share of that layer's norm; 0 at layer 0.
        similarity: cosine with the layer before; 1 at layer 0.
        probabilities: (C,) what the model's head says of this vector. It learned on its own layer alone, so on others
            this is a reading with the wrong glasses on, better the nearer they are. None where it reads several layers.
    """

    layer: int
    vector: FloatArray
    norm: float
    change: float
    similarity: float
    probabilities: DoubleArray | None


@dataclass(frozen=True)
class Contributions:
    """What each token adds to each label's score.

    Attributes:
        method: ``"exact"``: pooling is a mean and the head is linear, so a score is the mean of what the head says of
            each token's vector, and these are its terms. The tokens have met each other already, in the layers below.
            ``"occlusion"``: how far the score falls if the token is left out of the text; these don't add up (erasure:
            Li, Monroe & Jurafsky 2016, section 3; in pictures, Zeiler & Fergus 2014, section 4.2).
        tokens: (T, C); of special tokens 0 by occlusion.
        base: (C,) what stands beside them: base + the sum over tokens is the score. By ``"exact"`` it is 0.
    """

    method: Literal["exact", "occlusion"]
    tokens: DoubleArray
    base: DoubleArray


@dataclass(frozen=True)
class Trace:
    """One text's way through a model; T tokens, D width, C labels, K layers read.

    Attributes:
        text: as given.
        pieces: T tokens with their ids and places; the rest of the text was cut if `predictions.truncated`.
        batch: its ids and mask beside those of `companions`, padded to the longest; it is the first row.
        companions: the tokens of the batch's other rows.
        stages: layer after layer, up to the last that runs.
        vector: (K D,) what the head is given.
        scores: (C,) what it makes of that: weight · vector + bias.
        raw: (C,) probabilities as they would be without calibration.
        predictions: the answer, as every other door gives it: one row.
        contributions: of each token.
        neighbours: training sentences nearby; None where the model keeps none.
        weight: (K D,) the head's weights of the answer: of its most probable label, or of all where it names none.
        shown: which label that is.
        model: facts about the model, ready for JSON.
    """

    text: str
    pieces: tuple[Piece, ...]
    batch: Batch
    companions: tuple[tuple[str, ...], ...]
    stages: tuple[Stage, ...]
    vector: FloatArray
    scores: DoubleArray
    raw: DoubleArray
    predictions: Predictions
    contributions: Contributions
    neighbours: tuple[Neighbour, ...] | None
    weight: FloatArray
    shown: int
    model: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the trace ready for JSON; numbers of vectors have six digits, all others all."""
        answer = self.predictions.records()[0]
        labels = [label_text(label) for label in self.predictions.labels]
        probabilities = self.predictions.probabilities[0]
        given = self.contributions
        return {
            "text": self.text,
            "model": self.model,
            "answer": {
                "label": answer["label"],
                "score": answer["score"],
                "truncated": answer["truncated"],
                "unsure": answer["unsure"],
            },
            "tokens": [asdict(piece) | {"special": piece.special} for piece in self.pieces],
            "read_to": max(piece.end for piece in self.pieces),
            "batch": {
                "tokens": [[piece.token for piece in self.pieces], *map(list, self.companions)],
                "ids": self.batch.ids.tolist(),
                "lengths": self.batch.lengths.tolist(),
            },
            "layers": [_stage(stage, labels) for stage in self.stages],
            "vector": _rounded(self.vector),
            "weight": _rounded(self.weight),
            "shown": labels[self.shown],
            "labels": [
                {"label": name, "score": s, "bias": b, "raw_probability": r, "probability": p}
                for name, s, b, r, p in zip(
                    labels, self.scores.tolist(), self.model["bias"], self.raw.tolist(), probabilities.tolist(),
                    strict=True,
                )
            ],
            "contributions": {
                "method": given.method,
                "base": dict(zip(labels, given.base.tolist(), strict=True)),
                "tokens": dict(zip(labels, given.tokens.T.tolist(), strict=True)),
            },
            "neighbours": None if self.neighbours is None else [asdict(each) for each in self.neighbours],
        }  # fmt: skip


class Explainer:
    """A model opened for explaining.

    Args:
        predictor: what answers.
        name: what the model is called.
        neighbours: training sentences it keeps, if any.
    """

    def __init__(self, predictor: Predictor, name: str = "model", neighbours: Neighbours | None = None) -> None:
        self.predictor, self.name, self.neighbours = predictor, name, neighbours
        self.engine: Engine = predictor.engine

    @classmethod
    def of(cls, artifact: Artifact, name: str = "model") -> Explainer:
        """Return the explainer of a model folder's content."""
        return cls(artifact.predictor, name, artifact.neighbours)

    @property
    def layers(self) -> tuple[int, ...]:
        """The K layers read."""
        return tuple(read.layer for read in self.engine.reads)

    @cached_property
    def inside(self) -> Engine:
        """The encoder with outputs after every layer that runs: pooled, then token by token where the head reads."""
        pooled = [Read(layer, self.engine.pooling) for layer in range(max(self.layers) + 1)]
        return open_engine(self.predictor.encoder, (*pooled, *(Read(layer, "tokens") for layer in self.layers)))

    def __call__(self, text: str, method: Method = "auto", k: int = 5) -> Trace:
        """Return the trace of one text.

        Args:
            text: what to explain.
            method: of the contributions; ``"auto"``: ``"exact"`` where pooling is a mean, else ``"occlusion"``.
            k: how many neighbours.

        Raises:
            DataError: there is no text to explain.
            UsageError: the method is unknown, or can't be had with this pooling.
        """
        method = self._method(method)
        (text,) = from_lists([text], source="text").texts
        pieces = self.engine.tokenizer.pieces(text)
        ids = [piece.id for piece in pieces]
        encoded = self.engine.encode([text])
        predictions = self.predictor.answer(encoded)
        vector, scores = encoded.joined[0], self.predictor.head.scores(encoded.joined)[0]
        outputs = self.inside.session(batch_of([ids], np.zeros(1, np.intp)))
        states = outputs[len(outputs) - len(self.layers) :]
        given = self._exact(states) if method == "exact" else self._occlusion(ids, pieces, scores)
        candidates = predictions.chosen[0] if predictions.chosen.any() else np.ones(len(scores), np.bool_)
        shown = int(np.where(candidates, predictions.probabilities[0], -1).argmax())
        others = [self.engine.tokenizer.pieces(each) for each in COMPANIONS]
        raw = replace(self.predictor.calibration, temperature=1.0)
        rows = [ids, *([piece.id for piece in each] for each in others)]
        return Trace(
            text, tuple(pieces), batch_of(rows, np.arange(len(rows))),
            tuple(tuple(piece.token for piece in each) for each in others),
            tuple(self._stages([output[0] for output in outputs[: max(self.layers) + 1]])),
            vector, scores, raw.probabilities(scores[None])[0], predictions, given,
            None if self.neighbours is None else tuple(self.neighbours.nearest(vector, k)),
            self.predictor.head.weight[shown], shown, self._model(),
        )  # fmt: skip

    def _method(self, method: str) -> Literal["exact", "occlusion"]:
        if method not in get_args(Method):
            raise UsageError(f"The method must be 'auto', 'exact' or 'occlusion'. Got {method!r} instead.")
        mean = self.engine.pooling == "mean"
        if method == "exact" and not mean:
            raise UsageError(
                "This model reads [CLS] alone, whose score is no sum over tokens: method 'exact' is for models that "
                "read a mean. Take 'occlusion'."
            )
        return "exact" if mean and method != "occlusion" else "occlusion"

    def _stages(self, vectors: Sequence[FloatArray]) -> list[Stage]:
        stages = []
        before = vectors[0]
        one = len(self.layers) == 1
        for layer, vector in enumerate(vectors):
            size, was = float(np.linalg.norm(vector)), float(np.linalg.norm(before))
            said = self._says(vector) if one else None
            change = float(np.linalg.norm(vector - before)) / (was or 1)
            similarity = float(vector @ before) / (size * was or 1)  # a stranger's weights may make zeros of a text
            stages.append(Stage(layer, vector, size, change, similarity, said))
            before = vector
        return stages

    def _says(self, vector: FloatArray) -> DoubleArray:
        scores = self.predictor.head.scores(vector[None])
        probabilities: DoubleArray = self.predictor.calibration.probabilities(scores)[0]
        return probabilities

    def _exact(self, states: Sequence[FloatArray]) -> Contributions:
        """weight · mean(h) + bias is the mean of weight · h + bias; `states` are (1, T, D) at each of the K layers."""
        said = self.predictor.head.scores(np.concatenate([rows[0] for rows in states], axis=1))  # (T, C)
        return Contributions("exact", said / len(said), np.zeros(said.shape[1]))

    def _occlusion(self, ids: list[int], pieces: Sequence[Piece], scores: DoubleArray) -> Contributions:
        """How far each score falls without each token; all of these texts are encoded together."""
        tokens = np.zeros((len(ids), len(scores)))
        places = [t for t, piece in enumerate(pieces) if not piece.special]
        if places:
            without = self.engine.encode_ids([ids[:t] + ids[t + 1 :] for t in places])
            D = without.shape[1] * without.shape[2]
            tokens[places] = scores - self.predictor.head.scores(without.reshape(len(places), D))
        return Contributions("occlusion", tokens, scores - tokens.sum(axis=0))

    def _model(self) -> dict[str, Any]:
        predictor, arch = self.predictor, self.engine.prepared.architecture
        decision = predictor.decision
        return {
            "name": self.name,
            "encoder": predictor.encoder_title,
            "family": arch.family,
            "layers": arch.layers,
            "layer": self.engine.layer,
            "width": arch.width,
            "vocabulary": arch.vocabulary,
            "pooling": self.engine.pooling,
            "max_length": predictor.encoder.max_length,
            "precision": predictor.encoder.precision,
            "labels": [label_text(label) for label in predictor.labels],
            "many_labels": decision.many,
            "temperature": predictor.calibration.temperature,
            "thresholds": decision.thresholds,
            "accept": decision.accept,
            "bias": predictor.head.bias.astype(np.float64).tolist(),
        }


def explain(model: Any, text: str, method: Method = "auto") -> Trace:
    """Return the trace of one text.

    Args:
        model: a fitted `SentenceClassifier`.
        text: what to explain.
        method: see `Explainer`.

    Raises:
        DataError: there is no text to explain.
        UsageError: the method can't be had with this model.
    """
    return Explainer(model.predictor_, neighbours=model.neighbours_)(text, method)


def _stage(stage: Stage, labels: Sequence[str]) -> dict[str, Any]:
    said = stage.probabilities
    return {
        "layer": stage.layer,
        "vector": _rounded(stage.vector),
        "norm": stage.norm,
        "change": stage.change,
        "similarity": stage.similarity,
        "probabilities": None if said is None else dict(zip(labels, said.tolist(), strict=True)),
    }


def _rounded(values: npt.NDArray[np.float32]) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]  # some numbers are tiny, and their weights huge
