"""model.json and head.safetensors → facts that hold: each is there, of its type, in its range; or the error names it.

After card.py on the way of a sentence; artifact.py makes a classifier of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert.calibration import Calibration
from firstbert.catalog import is_place
from firstbert.data import Label
from firstbert.decision import NEVER, Decision
from firstbert.errors import ArtifactError
from firstbert.families import FloatArray
from firstbert.head import Head
from firstbert.history import misfit
from firstbert.labels import MOST_LABELS, unusable
from firstbert.neighbours import LIMIT, MOST, Neighbours
from firstbert.predictor import Answer
from firstbert.strict import json_object, plain_bytes, reason, safetensors_header, shown

_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
SIZES = {  # bytes; what is read of a file takes some times as many in memory
    "model.json": 16_000_000,
    "head.safetensors": 500_000_000,
    "neighbours.jsonl": LIMIT,
    "neighbours.safetensors": 500_000_000,
}
_WIDTH = 100_000  # numbers that a head is given: 24 layers of 1,024 side by side are 24,576
_GOLDEN = 10_000  # characters of a golden text; ours have up to 1,000


class Facts:
    """model.json with checks: a fact is there and of its type, or the error names it."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts

    def get(self, *keys: str, kind: type, check: Callable[[Any], bool] = lambda value: True) -> Any:
        """Return the fact that these keys lead to, if it is of just this kind and passes the check."""
        value: Any = self.facts
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if type(value) is not kind or not check(value):
            raise self.error(".".join(keys), f"must be a proper {kind.__name__}. Got {shown(value)} instead")
        return value

    def error(self, key: str, message: str) -> ArtifactError:
        """Return what to raise about a fact."""
        return ArtifactError(f"{self.path}: '{key}' {message}.")


def read_facts(path: Path, formats: Collection[int]) -> dict[str, Any]:
    """Return model.json's content, of one of the formats known.

    Raises:
        ArtifactError: it is no such file.
    """
    data = _bytes(path)
    try:
        facts = json_object(data)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}.") from error
    version = facts.get("format")
    if isinstance(version, bool) or not isinstance(version, int):
        raise ArtifactError(f"{path}: holds no 'format' number, so it isn't a firstbert model.")
    if version not in formats:
        newer = "made by a newer firstbert: upgrade it" if version > max(formats) else "no known format"
        raise ArtifactError(
            f"{path}: format {shown(version)}, {newer}; this version reads {', '.join(map(str, formats))}."
        )
    return facts


def _bytes(path: Path, most: int | None = None) -> bytes:
    """A file's content, if it is a plain file of a sane size."""
    try:
        return plain_bytes(path, min(most or SIZES[path.name], SIZES[path.name]))
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}.") from error


def is_sha256(value: str) -> bool:
    """Whether this is such a hash, in lower case."""
    return len(value) == 64 and set(value) <= set("0123456789abcdef")


def read_labels(facts: Facts) -> tuple[Label, ...]:
    """Return the labels, all of one type.

    Raises:
        ArtifactError: they can't be used.
    """
    kind = _TYPES.get(facts.get("label_type", kind=str))
    labels = facts.get("labels", kind=list)
    if kind is None or any(type(label) is not kind for label in labels):
        raise facts.error("labels", f"must all be of label_type {shown(facts.facts['label_type'])}")
    if not 2 <= len(labels) <= MOST_LABELS or len(set(labels)) < len(labels):
        raise facts.error("labels", f"must be two or more, up to {MOST_LABELS:,}, each once")
    if why := next(filter(None, map(unusable, labels)), None):
        raise facts.error("labels", why)
    return tuple(labels)


def read_encoder(facts: Facts) -> tuple[str, str]:
    """Return the name of the encoder and what it is called.

    Raises:
        ArtifactError: it is no name, hub id or folder by its whole path: a path that depends on where the reader
            stands, or on another machine, is nothing that a model folder has.
    """
    name = facts.get("encoder", "name", kind=str, check=_is_line)
    if not (name == "encoder/" or is_place(name)) or name.startswith(("//", "\\")):  # those lie on other machines
        raise facts.error(
            "encoder.name", f"must be a name, a hub id or a folder by its whole path. Got {shown(name)} instead"
        )
    facts.get("encoder", "family", kind=str, check=_is_line)
    return name, facts.get("encoder", "made_with", kind=str, check=_is_line)


def _is_line(text: str) -> bool:
    """Whether this is a short line that says on a page and a terminal what it says in the file."""
    return 0 < len(text) <= 1000 and unusable(text) is None


def read_head(path: Path, n_classes: int, facts: Facts) -> Head:
    """Return the head, its file checked against the hash in model.json.

    Raises:
        ArtifactError: it can't be used.
    """
    most = 4 * n_classes * (_WIDTH + 1) + 100_000
    tensors = _tensors(path, facts.get("head_sha256", kind=str, check=is_sha256), most)
    if set(tensors) != {"weight", "bias"}:
        raise ArtifactError(f"{path}: holds {shown(', '.join(sorted(tensors)))}, expected 'weight' and 'bias'.")
    weight, bias = tensors["weight"], tensors["bias"]
    if weight.ndim != 2 or len(weight) != n_classes or bias.shape != (n_classes,):
        raise ArtifactError(
            f"{path}: shapes {str(weight.shape)[:80]} and {str(bias.shape)[:80]} don't fit the {n_classes} labels of "
            "model.json."
        )
    if weight.dtype != np.float32 or bias.dtype != np.float32:
        raise ArtifactError(f"{path}: weight and bias must be float32.")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ArtifactError(f"{path}: holds NaN or infinite numbers.")
    return Head(weight, bias)


def _tensors(path: Path, sha256: str, most: int) -> dict[str, npt.NDArray[Any]]:
    """What a safetensors file of at most so many bytes holds, if it is the one that model.json means."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    data = _known(path, sha256, most)
    try:
        safetensors_header(path)
        return load_tensors(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({reason(error)}).") from error


def _known(path: Path, sha256: str, most: int | None = None) -> bytes:
    data = _bytes(path, most)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArtifactError(f"{path}: its sha256 is not the one in model.json; the file was changed or cut.")
    return data


def read_neighbours(folder: Path, facts: Facts, labels: tuple[Label, ...], width: int) -> Neighbours | None:
    """Return the training sentences that the model keeps; None where it keeps none.

    Raises:
        ArtifactError: they can't be used.
    """
    if facts.facts.get("neighbours") is None:
        return None
    n = facts.get("neighbours", "rows", kind=int, check=lambda n: 1 <= n <= MOST)
    path = folder / "neighbours.jsonl"
    lines = _known(path, facts.get("neighbours", "texts_sha256", kind=str, check=is_sha256)).split(b"\n")[:-1]
    many = facts.get("many_labels", kind=bool)
    if len(lines) != n:
        raise ArtifactError(f"{path}: holds {len(lines):,} lines, where model.json says {n:,}.")
    try:
        known = {(type(label), label) for label in labels}
        rows = [_sentence(json_object(line, len(labels) + 2), known, many) for line in lines]
    except (ValueError, TypeError, LookupError) as error:
        raise ArtifactError(f"{path}: holds a line that is no sentence with its label ({reason(error)}).") from error
    vectors_path = folder / "neighbours.safetensors"
    tensors = _tensors(
        vectors_path, facts.get("neighbours", "vectors_sha256", kind=str, check=is_sha256), 2 * n * _WIDTH
    )
    vectors = tensors.get("vectors")
    if vectors is None or len(tensors) != 1 or vectors.dtype != np.float16 or vectors.shape != (n, width):
        raise ArtifactError(f"{vectors_path}: must hold 'vectors' alone, ({n}, {width}) in float16.")
    if not np.isfinite(vectors).all():
        raise ArtifactError(f"{vectors_path}: holds NaN or infinite numbers.")
    return Neighbours(tuple(text for text, _ in rows), tuple(label for _, label in rows), vectors)


def _sentence(row: dict[str, Any], labels: set[tuple[type, Label]], many: bool) -> tuple[str, Answer]:
    text, label = row["text"], row["label"]
    carried = label if many else [label]
    if type(text) is not str or not isinstance(carried, list):
        raise ValueError(shown(text))
    if not labels.issuperset((type(one), one) for one in carried):
        raise ValueError(f"{shown(label)} is no label of the model")
    return text, tuple(label) if many else label


def read_golden(facts: Facts, n_classes: int) -> tuple[tuple[str, FloatArray], ...]:
    """Return the golden texts with their probabilities.

    Raises:
        ArtifactError: they can't be used.
    """
    rows = facts.get("golden", kind=list, check=lambda rows: 1 <= len(rows) <= 100)
    golden = []
    for row in rows:
        one = Facts(facts.path, {"golden": row})
        text = one.get("golden", "text", kind=str, check=lambda text: 0 < len(text) <= _GOLDEN)
        values = one.get("golden", "probabilities", kind=list, check=lambda ps: len(ps) == n_classes)
        if any(type(p) is not float or not 0 <= p <= 1 for p in values):
            raise facts.error("golden", "holds a probability outside [0, 1]")
        golden.append((text, np.array(values, np.float32)))
    return tuple(golden)


def read_training(facts: Facts, n_classes: int) -> dict[str, Any]:
    """Return what is told of the training.

    Raises:
        ArtifactError: it can't be told again.
    """
    training: dict[str, Any] = facts.get("training", kind=dict)
    if name := misfit(training, n_classes):
        raise facts.error(f"training.{name}", f"must be as firstbert writes it. Got {shown(training[name])} instead")
    return training


def read_layer(facts: Facts) -> int | tuple[int, ...]:
    """Return the layer read, or several.

    Raises:
        ArtifactError: it is neither.
    """
    layers = facts.facts.get("layer")
    several: list[Any] = layers if isinstance(layers, list) else [layers]
    if not 1 <= len(several) <= 1000 or any(type(layer) is not int or not 1 <= layer <= 1000 for layer in several):
        raise facts.error("layer", f"must be a proper layer, or a list of them. Got {shown(layers)} instead")
    return tuple(several) if isinstance(layers, list) else int(several[0])


def read_calibration(facts: Facts) -> Calibration:
    """Return how scores become probabilities.

    Raises:
        ArtifactError: it isn't there, or out of range.
    """
    temperature = facts.get("calibration", "temperature", kind=float, check=lambda t: 1e-6 < t < 1e6)
    return Calibration(facts.get("many_labels", kind=bool), temperature)


def read_decision(facts: Facts, n_classes: int) -> Decision:
    """Return how probabilities become answers.

    Raises:
        ArtifactError: a threshold isn't there, or out of range.
    """
    found = facts.get("thresholds", kind=dict)
    labels, accept = found.get("labels"), found.get("accept")
    if labels is not None:
        labels = facts.get("thresholds", "labels", kind=list, check=lambda ts: len(ts) == n_classes)
        if any(type(t) is not float or not 1e-300 < t <= 1 for t in labels):
            raise facts.error("thresholds.labels", "must be numbers above 0 and up to 1")
    if accept is not None:
        facts.get("thresholds", "accept", kind=float, check=lambda t: 0 <= t <= NEVER)
    return Decision(facts.get("many_labels", kind=bool), labels and tuple(labels), accept)
