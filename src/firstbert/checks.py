"""model.json and head.safetensors → facts that hold: each is there, of its type, in its range; or the error names it.

After card.py on the way of a sentence; artifact.py makes a classifier of them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert.calibration import Calibration
from firstbert.data import Label
from firstbert.decision import NEVER, Decision
from firstbert.errors import ArtifactError
from firstbert.families import FloatArray
from firstbert.head import Head
from firstbert.neighbours import Neighbours
from firstbert.predictor import Answer

_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_SIZE_LIMIT = {
    "model.json": 64_000_000,
    "head.safetensors": 4_000_000_000,
    "neighbours.jsonl": 1_000_000_000,
    "neighbours.safetensors": 1_000_000_000,
}


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
            raise self.error(".".join(keys), f"must be a proper {kind.__name__}. Got {str(value)[:80]!r} instead")
        return value

    def error(self, key: str, message: str) -> ArtifactError:
        """Return what to raise about a fact."""
        return ArtifactError(f"{self.path}: '{key}' {message}.")


def read_facts(path: Path, formats: Collection[int]) -> dict[str, Any]:
    """Return model.json's content, of one of the formats known.

    Raises:
        ArtifactError: it is no such file.
    """

    def refuse(text: str) -> None:
        raise ValueError(f"{text} is no number that JSON knows")

    try:
        facts = json.loads(_bytes(path).decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not valid JSON ({error}).") from error
    if not isinstance(facts, dict):
        raise ArtifactError(f"{path}: holds a {type(facts).__name__}, expected a JSON object.")
    version = facts.get("format")
    if isinstance(version, bool) or not isinstance(version, int):
        raise ArtifactError(f"{path}: holds no 'format' number, so it isn't a firstbert model.")
    if version not in formats:
        newer = "made by a newer firstbert: upgrade it" if version > max(formats) else "no known format"
        raise ArtifactError(f"{path}: format {version}, {newer}; this version reads {', '.join(map(str, formats))}.")
    return facts


def _bytes(path: Path) -> bytes:
    """A file's content, if it is a plain file of a sane size."""
    try:
        if path.is_symlink() or not path.is_file():
            raise ArtifactError(f"{path}: missing, or no plain file.")
        if path.stat().st_size > _SIZE_LIMIT[path.name]:
            raise ArtifactError(f"{path}: {path.stat().st_size:,} bytes is more than such a file may have.")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read ({error.strerror}).") from error


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
        raise facts.error("labels", f"must all be of label_type {facts.facts['label_type']!r}")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise facts.error("labels", "must be two or more, each once")
    if kind is float and not all(map(math.isfinite, labels)):
        raise facts.error("labels", "must be finite")
    return tuple(labels)


def read_head(path: Path, n_classes: int, facts: Facts) -> Head:
    """Return the head, its file checked against the hash in model.json.

    Raises:
        ArtifactError: it can't be used.
    """
    tensors = _tensors(path, facts.get("head_sha256", kind=str, check=is_sha256))
    if set(tensors) != {"weight", "bias"}:
        raise ArtifactError(f"{path}: holds {sorted(tensors)[:5]}, expected 'weight' and 'bias'.")
    weight, bias = tensors["weight"], tensors["bias"]
    if weight.ndim != 2 or len(weight) != n_classes or bias.shape != (n_classes,):
        raise ArtifactError(
            f"{path}: shapes {weight.shape} and {bias.shape} don't fit the {n_classes} labels of model.json."
        )
    if weight.dtype != np.float32 or bias.dtype != np.float32:
        raise ArtifactError(f"{path}: weight and bias must be float32.")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ArtifactError(f"{path}: holds NaN or infinite numbers.")
    return Head(weight, bias)


def _tensors(path: Path, sha256: str) -> dict[str, npt.NDArray[Any]]:
    """What a safetensors file holds, if it is the one that model.json means."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    data = _known(path, sha256)
    try:
        return load_tensors(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({error}).") from error


def _known(path: Path, sha256: str) -> bytes:
    data = _bytes(path)
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
    n = facts.get("neighbours", "rows", kind=int)
    path = folder / "neighbours.jsonl"
    lines = _known(path, facts.get("neighbours", "texts_sha256", kind=str, check=is_sha256)).split(b"\n")[:-1]
    many = facts.get("many_labels", kind=bool)
    try:
        rows = [_sentence(json.loads(line), set(labels), many) for line in lines]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ArtifactError(f"{path}: holds a line that is no sentence with its label ({error}).") from error
    vectors_path = folder / "neighbours.safetensors"
    tensors = _tensors(vectors_path, facts.get("neighbours", "vectors_sha256", kind=str, check=is_sha256))
    vectors = tensors.get("vectors")
    if vectors is None or len(tensors) != 1 or vectors.dtype != np.float16 or vectors.shape != (n, width):
        raise ArtifactError(f"{vectors_path}: must hold 'vectors' alone, ({n}, {width}) in float16.")
    if len(rows) != n or not np.isfinite(vectors).all():
        raise ArtifactError(f"{folder}: the {n} sentences of model.json don't fit {path.name} and {vectors_path.name}.")
    return Neighbours(tuple(text for text, _ in rows), tuple(label for _, label in rows), vectors)


def _sentence(row: dict[str, Any], labels: set[Label], many: bool) -> tuple[str, Answer]:
    text, label = row["text"], row["label"]
    carried = label if many else [label]
    if type(text) is not str or not isinstance(carried, list) or not labels.issuperset(carried):
        raise ValueError(f"{str(row)[:80]!r}")
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
        text = one.get("golden", "text", kind=str)
        values = one.get("golden", "probabilities", kind=list, check=lambda ps: len(ps) == n_classes)
        if any(type(p) is not float or not 0 <= p <= 1 for p in values):
            raise facts.error("golden", "holds a probability outside [0, 1]")
        golden.append((text, np.array(values, np.float32)))
    return tuple(golden)


def read_layer(facts: Facts) -> int | tuple[int, ...]:
    """Return the layer read, or several.

    Raises:
        ArtifactError: it is neither.
    """
    layers = facts.facts.get("layer")
    several: list[Any] = layers if isinstance(layers, list) else [layers]
    if not 1 <= len(several) <= 1000 or any(type(layer) is not int or not 1 <= layer <= 1000 for layer in several):
        raise facts.error("layer", f"must be a proper layer, or a list of them. Got {str(layers)[:80]!r} instead")
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
        if any(type(t) is not float or not 0 < t <= 1 for t in labels):
            raise facts.error("thresholds.labels", "must be numbers above 0 and up to 1")
    if accept is not None:
        facts.get("thresholds", "accept", kind=float, check=lambda t: 0 <= t <= NEVER)
    return Decision(facts.get("many_labels", kind=bool), labels and tuple(labels), accept)
