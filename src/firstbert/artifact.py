"""A trained classifier ↔ a folder that holds data and nothing that can run.

After predictor.py on the way of a sentence. The folder: `model.json` (labels, encoder, facts of training, golden
texts), `head.safetensors` (`weight` (C, D), `bias` (C,)), `encoder/` where it was asked for, and `README.md`, the
model card. It is written beside its place and moved there whole; loading checks all of it before using any.

To change the format: raise `FORMAT`, keep a reader for the old number in `_READERS` with a test that loads a folder
of that format kept in tests/, and say in CHANGELOG what changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from firstbert import __version__
from firstbert.backend import Backend
from firstbert.data import Label
from firstbert.engine import EngineOptions
from firstbert.errors import ArtifactError
from firstbert.families import FloatArray
from firstbert.head import Head
from firstbert.predictor import Predictor, label_text
from firstbert.prepared import Precision

FORMAT = 1

# Our own sentences, so that no training text leaves with a model: short, long, other scripts, odd characters.
GOLDEN_TEXTS = (
    "A small, warm film that knows exactly what it wants to say.",
    "I waited forty minutes on the phone and nobody could tell me where my parcel is!",
    "Bitte ändern Sie meine Adresse – danke. 请问营业时间是几点？",
    "NO.",
    "It begins well enough, then wanders off " + "and wanders further " * 40 + "before it stops.",
)
GOLDEN_TOLERANCE = 1e-4  # between machines; another kind of processor sums in another order
GOLDEN_TOLERANCE_BF16 = 0.05  # which rounds to 3 digits after every step

_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_SIZE_LIMIT = {"model.json": 64_000_000, "head.safetensors": 4_000_000_000}


@dataclass(frozen=True)
class Artifact:
    """What a model folder holds.

    Attributes:
        predictor: the classifier.
        training: facts: rows, hash of the data, seed, C, cross-validated accuracy, versions, metrics.
        golden: (text, probabilities of shape (C,)) as computed where the model was saved.
    """

    predictor: Predictor
    training: dict[str, Any]
    golden: tuple[tuple[str, FloatArray], ...]


# ---------------------------------------------------------------- writing


def make(predictor: Predictor, training: dict[str, Any], *, cache: bool = False) -> Artifact:
    """Return the artefact of a classifier, its golden probabilities as this machine computes them."""
    probabilities = predictor.predict(GOLDEN_TEXTS, cache=cache).probabilities.astype(np.float32)
    return Artifact(predictor, training, tuple(zip(GOLDEN_TEXTS, probabilities, strict=True)))


def save(artifact: Artifact, folder: str | Path, *, portable: bool = False) -> Path:
    """Write a model folder; what stood there before is replaced only by a whole new one.

    Args:
        artifact: what to write.
        folder: a new folder, an empty one, or an earlier model's.
        portable: put the encoder's files in as well, so that the folder is all that another machine needs.

    Raises:
        ArtifactError: the place holds something else, or can't be written.
    """
    target = Path(folder)
    check_target(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    except OSError as error:
        raise ArtifactError(f"{target}: can't be written ({error.strerror}).") from error
    try:
        _write(artifact, work, portable)
        work.chmod(0o755)  # temporary folders are private; a model is not
        _swap(work, target)
    except OSError as error:
        raise ArtifactError(f"{target}: can't be written ({error.strerror}); what stood there is unchanged.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def check_target(target: Path) -> None:
    """Refuse a place whose content isn't ours to replace; worth asking before a long training.

    Raises:
        ArtifactError: there is a file, or a folder that is neither empty nor a model.
    """
    if target.is_file():
        raise ArtifactError(f"{target}: is a file; a model is a folder. Name another place.")
    if target.is_dir() and any(target.iterdir()) and not (target / "model.json").is_file():
        raise ArtifactError(f"{target}: holds other files and no model.json; it will not be replaced. Name another.")


def _swap(work: Path, target: Path) -> None:
    """Move the new folder into place; the old one is removed after that."""
    if not target.exists():
        work.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-old-"))
    target.rename(old / "model")
    try:
        work.rename(target)
    except OSError:
        (old / "model").rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write(artifact: Artifact, work: Path, portable: bool) -> None:
    from safetensors.numpy import save as save_tensors

    head = artifact.predictor.head
    tensors = save_tensors({"weight": head.weight, "bias": head.bias})
    (work / "head.safetensors").write_bytes(tensors)
    if portable:
        _copy_encoder(artifact.predictor, work / "encoder")
    facts = _facts(artifact, portable) | {"head_sha256": hashlib.sha256(tensors).hexdigest()}
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
    (work / "model.json").write_text(text + "\n", encoding="utf-8")
    (work / "README.md").write_text(_card(facts), encoding="utf-8")


def _facts(artifact: Artifact, portable: bool) -> dict[str, Any]:
    predictor = artifact.predictor
    options, engine = predictor.encoder, predictor.engine
    return {
        "format": FORMAT,
        "firstbert": __version__,
        "labels": list(predictor.labels),
        "label_type": type(predictor.labels[0]).__name__,
        "encoder": {
            "name": "encoder/" if portable else _lasting_name(options.encoder),
            "made_with": engine.files.name,
            "family": engine.prepared.architecture.family,
            "weights_sha256": predictor.weights_sha256,
        },
        "layer": engine.reads[0].layer,
        "pooling": engine.pooling,
        "max_length": options.max_length,
        "precision": options.precision,
        "backend": engine.prepared.backend,
        "calibration": None,
        "thresholds": None,
        "training": artifact.training,
        "golden": [{"text": text, "probabilities": [float(p) for p in row]} for text, row in artifact.golden],
    }


def _lasting_name(encoder: str) -> str:
    """A folder's name must hold wherever the model is loaded from."""
    return str(Path(encoder).resolve()) if Path(encoder).is_dir() else encoder


def _copy_encoder(predictor: Predictor, folder: Path) -> None:
    files = predictor.engine.files
    folder.mkdir()
    beside = {files.config, files.tokenizer, files.tokenizer.with_name("tokenizer_config.json")}
    for path in sorted(beside) + list(files.weights):
        if path.exists():
            shutil.copyfile(path, folder / path.name)
    index = files.weights[0].with_name("model.safetensors.index.json")
    if len(files.weights) > 1 and index.exists():
        shutil.copyfile(index, folder / index.name)


def _card(facts: dict[str, Any]) -> str:
    """The model card: what the model is, from the facts in model.json and nothing else."""
    training, encoder = facts["training"], facts["encoder"]
    labels = ", ".join(f"`{label_text(label)}`" for label in facts["labels"][:50])
    lines = [
        "# A sentence classifier",
        "",
        f"Tells apart {len(facts['labels'])} labels: {labels}. Made with firstbert {facts['firstbert']}.",
        "",
        f"- Encoder: {encoder['made_with']} ({encoder['family']}), layer {facts['layer']}, {facts['pooling']} pooling, "
        f"at most {facts['max_length']} tokens a text, {facts['precision']} by {facts['backend']}.",
        f"- Head: logistic regression, C = {training.get('C')}.",
        f"- Trained on {training.get('rows')} rows (sha256 of the data {str(training.get('data_sha256'))[:16]}…), "
        f"seed {training.get('seed')}.",
    ]
    if training.get("cv_accuracy") is not None:
        lines.append(f"- Accuracy in cross-validation on the training rows: {100 * training['cv_accuracy']:.1f} %.")
    if test := training.get("test"):
        lines.append(
            f"- Accuracy on {test['n']} test rows: {100 * test['accuracy']:.1f} % "
            f"(always the most frequent label: {100 * test['baseline_accuracy']:.1f} %)."
        )
    lines += [
        "",
        "It knows what its training rows showed it. Texts of another kind can get confident wrong answers.",
        "",
    ]
    lines += ["```python", "from firstbert import load", "", 'load("this folder").predict(["…"])', "```", ""]
    return "\n".join(lines)


# ---------------------------------------------------------------- reading


def load(folder: str | Path) -> Artifact:
    """Read a model folder, checking all of it first. The encoder is opened at the first prediction.

    Raises:
        ArtifactError: a file is missing, damaged, foreign or of a newer format; the message names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a model folder" if folder.exists() else "no such model folder"
        raise ArtifactError(f"{folder}: {what}.")
    facts = _read_facts(folder / "model.json")
    return _READERS[facts["format"]](folder, facts)


def _read_facts(path: Path) -> dict[str, Any]:
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
    if version not in _READERS:
        newer = "made by a newer firstbert: upgrade it" if version > FORMAT else "no known format"
        raise ArtifactError(f"{path}: format {version}, {newer}; this version reads {', '.join(map(str, _READERS))}.")
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


class _Facts:
    """model.json with checks: a fact is there and of its type, or the error names it."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts

    def get(self, *keys: str, kind: type, check: Callable[[Any], bool] = lambda value: True) -> Any:
        value: Any = self.facts
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if type(value) is not kind or not check(value):
            raise self.error(".".join(keys), f"must be a proper {kind.__name__}. Got {str(value)[:80]!r} instead")
        return value

    def error(self, key: str, message: str) -> ArtifactError:
        return ArtifactError(f"{self.path}: '{key}' {message}.")


def _read_1(folder: Path, raw: dict[str, Any]) -> Artifact:
    facts = _Facts(folder / "model.json", raw)
    labels = _labels(facts)
    head = _head(folder / "head.safetensors", len(labels), facts)
    name = facts.get("encoder", "name", kind=str)
    precision = facts.get("precision", kind=str, check=lambda value: value in get_args(Precision))
    options = EngineOptions(
        encoder=str(folder / "encoder") if name == "encoder/" else name,
        pooling=facts.get("pooling", kind=str, check=lambda value: value in ("cls", "mean")),
        layer=facts.get("layer", kind=int, check=lambda value: 1 <= value <= 1000),
        max_length=facts.get("max_length", kind=int, check=lambda value: 2 <= value <= 1_000_000),
        precision=precision,
        backend=_backend(facts, precision),
    )
    sha256 = facts.get("encoder", "weights_sha256", kind=str, check=_is_sha256)
    for key in ("calibration", "thresholds"):
        if raw.get(key) is not None:
            raise facts.error(key, "is not known to this version; upgrade firstbert")
    training = facts.get("training", kind=dict)
    return Artifact(Predictor(labels, head, options, sha256), training, _golden(facts, len(labels)))


def _backend(facts: _Facts, precision: Precision) -> Backend:
    """What is to run the model: whatever fits where it is loaded, since all give the same vectors; bf16 is torch's."""
    if "backend" in facts.facts:  # models saved before there was torch don't have it
        facts.get("backend", kind=str, check=lambda value: value in ("onnx", "torch"))
    return "torch" if precision == "bf16" else "auto"


_READERS: dict[int, Callable[[Path, dict[str, Any]], Artifact]] = {1: _read_1}


def _is_sha256(value: str) -> bool:
    return len(value) == 64 and set(value) <= set("0123456789abcdef")


def _labels(facts: _Facts) -> tuple[Label, ...]:
    kind = _TYPES.get(facts.get("label_type", kind=str))
    labels = facts.get("labels", kind=list)
    if kind is None or any(type(label) is not kind for label in labels):
        raise facts.error("labels", f"must all be of label_type {facts.facts['label_type']!r}")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise facts.error("labels", "must be two or more, each once")
    if kind is float and not all(map(math.isfinite, labels)):
        raise facts.error("labels", "must be finite")
    return tuple(labels)


def _head(path: Path, n_classes: int, facts: _Facts) -> Head:
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    data = _bytes(path)
    if hashlib.sha256(data).hexdigest() != facts.get("head_sha256", kind=str, check=_is_sha256):
        raise ArtifactError(f"{path}: its sha256 is not the one in model.json; the file was changed or cut.")
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({error}).") from error
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


def _golden(facts: _Facts, n_classes: int) -> tuple[tuple[str, FloatArray], ...]:
    rows = facts.get("golden", kind=list, check=lambda rows: 1 <= len(rows) <= 100)
    golden = []
    for row in rows:
        one = _Facts(facts.path, {"golden": row})
        text = one.get("golden", "text", kind=str)
        values = one.get("golden", "probabilities", kind=list, check=lambda ps: len(ps) == n_classes)
        if any(type(p) is not float or not 0 <= p <= 1 for p in values):
            raise facts.error("golden", "holds a probability outside [0, 1]")
        golden.append((text, np.array(values, np.float32)))
    return tuple(golden)


# ---------------------------------------------------------------- checking


@dataclass(frozen=True)
class GoldenCheck:
    """Whether this machine answers as the one that saved the model.

    Attributes:
        differences: largest difference of a probability, for each golden text.
        tolerance: what is taken as equal.
    """

    differences: tuple[float, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every text is within the tolerance."""
        return max(self.differences) <= self.tolerance


def check_golden(artifact: Artifact) -> GoldenCheck:
    """Compute the golden texts anew and compare."""
    texts = [text for text, _ in artifact.golden]
    found = artifact.predictor.predict(texts).probabilities
    expected = np.stack([row for _, row in artifact.golden])
    tolerance = GOLDEN_TOLERANCE_BF16 if artifact.predictor.encoder.precision == "bf16" else GOLDEN_TOLERANCE
    return GoldenCheck(tuple(np.abs(found - expected).max(axis=1).tolist()), tolerance)
