"""A trained classifier ↔ a folder that holds data and nothing that can run.

After predictor.py on the way of a sentence. The folder: `model.json` (labels, encoder, facts of training, golden
texts), `head.safetensors` (`weight` (C, D), `bias` (C,)), `README.md`, the model card, and where that was asked for
`encoder/`, and training sentences (`neighbours.jsonl`) with their vectors (`neighbours.safetensors`). It is written
beside its place and moved there whole; loading checks all of it before using any.

To change the format: raise `FORMAT`, keep a reader for the old number in `_READERS` with a test that loads a folder
of that format kept in tests/, and say in CHANGELOG what changed.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from firstbert import __version__
from firstbert.backend import Backend
from firstbert.card import card
from firstbert.catalog import EncoderFiles
from firstbert.checks import (
    Facts,
    is_sha256,
    read_calibration,
    read_decision,
    read_encoder,
    read_facts,
    read_golden,
    read_head,
    read_labels,
    read_layer,
    read_neighbours,
    read_training,
)
from firstbert.engine import EngineOptions
from firstbert.errors import ArtifactError
from firstbert.families import FloatArray
from firstbert.neighbours import LIMIT, Neighbours
from firstbert.predictor import Predictor, is_finetuned
from firstbert.prepared import Precision

FORMAT = 2

_FLEETING = ("seconds", "examples_per_second")

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


@dataclass(frozen=True)
class Artifact:
    """What a model folder holds.

    Attributes:
        predictor: the classifier.
        training: facts: rows, hash of the data, seed, C, cross-validated accuracy, versions, metrics.
        golden: (text, probabilities of shape (C,)) as computed where the model was saved.
        neighbours: training sentences with their vectors, where they were to be kept.
    """

    predictor: Predictor
    training: dict[str, Any]
    golden: tuple[tuple[str, FloatArray], ...]
    neighbours: Neighbours | None = None


# ---------------------------------------------------------------- writing


def make(
    predictor: Predictor, training: dict[str, Any], neighbours: Neighbours | None = None, *, cache: bool = False
) -> Artifact:
    """Return the artefact of a classifier, its golden probabilities as this machine computes them."""
    probabilities = predictor.predict(GOLDEN_TEXTS, cache=cache).probabilities.astype(np.float32)
    return Artifact(predictor, training, tuple(zip(GOLDEN_TEXTS, probabilities, strict=True)), neighbours)


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
    if not target.is_symlink() and _exchange(work, target):
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


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, so that a kill finds a whole one in place; False where the system can't."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: Linux since 3.15
    with suppress(OSError, AttributeError, TypeError):
        done: int = ctypes.CDLL(None).renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
        return done == 0
    return False


def _write(artifact: Artifact, work: Path, portable: bool) -> None:
    from safetensors.numpy import save as save_tensors

    head = artifact.predictor.head
    tensors = save_tensors({"weight": head.weight, "bias": head.bias})
    (work / "head.safetensors").write_bytes(tensors)
    if portable:
        _copy_encoder(artifact.predictor, work / "encoder")
    facts = _facts(artifact, portable) | {"head_sha256": hashlib.sha256(tensors).hexdigest()}
    if artifact.neighbours is not None:
        facts["neighbours"] = _write_neighbours(artifact.neighbours, work)
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
    (work / "model.json").write_text(text + "\n", encoding="utf-8")
    (work / "README.md").write_text(card(facts), encoding="utf-8")


def _write_neighbours(kept: Neighbours, work: Path) -> dict[str, Any]:
    """Write both files and return what model.json says of them."""
    from safetensors.numpy import save as save_tensors

    rows = [{"text": text, "label": label} for text, label in zip(kept.texts, kept.labels, strict=True)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if len(lines) > LIMIT:
        raise ArtifactError(f"The training sentences to be kept have {len(lines):,} bytes, over {LIMIT:,}: keep none.")
    vectors = save_tensors({"vectors": np.ascontiguousarray(kept.vectors)})
    (work / "neighbours.jsonl").write_bytes(lines)
    (work / "neighbours.safetensors").write_bytes(vectors)
    return {
        "rows": len(rows),
        "texts_sha256": hashlib.sha256(lines).hexdigest(),
        "vectors_sha256": hashlib.sha256(vectors).hexdigest(),
    }


def _facts(artifact: Artifact, portable: bool) -> dict[str, Any]:
    predictor = artifact.predictor
    options, engine = predictor.encoder, predictor.engine
    return {
        "format": FORMAT,
        "firstbert": __version__,
        "labels": list(predictor.labels),
        "label_type": type(predictor.labels[0]).__name__,
        "encoder": {
            "name": "encoder/" if portable else _lasting_name(options.encoder, engine.files),
            "made_with": _made_with(predictor, artifact.training),
            "family": engine.prepared.architecture.family,
            "weights_sha256": predictor.weights_sha256,
        },
        "layer": engine.layer,
        "pooling": engine.pooling,
        "max_length": options.max_length,
        "precision": options.precision,
        "backend": engine.prepared.backend,
        "many_labels": predictor.decision.many,
        "calibration": {"temperature": predictor.calibration.temperature},
        "thresholds": {"labels": predictor.decision.thresholds, "accept": predictor.decision.accept},
        "training": _lasting(artifact.training),
        "golden": [{"text": text, "probabilities": [float(p) for p in row]} for text, row in artifact.golden],
    }


def _made_with(predictor: Predictor, training: dict[str, Any]) -> str:
    """The encoder it began with; where a fine-tuned one was put together, says nothing, nor where a folder lay."""
    if not is_finetuned(training):
        return predictor.encoder_title
    name = str(training["finetune"]["encoder"])
    return Path(name).resolve().name if Path(name).is_dir() else name


def _lasting(facts: Any) -> Any:
    """The facts without how long anything took: the same training gives the same bytes."""
    if isinstance(facts, dict):
        return {key: _lasting(value) for key, value in facts.items() if key not in _FLEETING}
    return [_lasting(value) for value in facts] if isinstance(facts, list) else facts


def _lasting_name(encoder: str, files: EncoderFiles) -> str:
    """A folder's name must hold wherever the model is loaded from."""
    folder = files.config.parent
    return str(folder.resolve()) if Path(files.name) == folder else encoder.strip()


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


# ---------------------------------------------------------------- reading


def load(folder: str | Path) -> Artifact:
    """Read a model folder, checking all of it first. The encoder is opened at the first prediction.

    Raises:
        ArtifactError: a file is missing, damaged, foreign or of a newer format; the message names it.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            what = "is a file, not a model folder" if folder.exists() else "no such model folder"
            raise ArtifactError(f"{folder}: {what}.")
    except OSError as error:
        raise ArtifactError(f"{folder}: can't be read ({error.strerror}).") from error
    facts = read_facts(folder / "model.json", _READERS)
    return _READERS[facts["format"]](folder, Facts(folder / "model.json", facts))


def _read_2(folder: Path, facts: Facts) -> Artifact:
    predictor = _predictor(folder, facts, read_layer(facts))
    decision = read_decision(facts, len(predictor.labels))
    predictor = replace(predictor, calibration=read_calibration(facts), decision=decision)
    golden = read_golden(facts, len(predictor.labels))
    kept = read_neighbours(folder, facts, predictor.labels, predictor.head.weight.shape[1])
    return Artifact(predictor, read_training(facts, len(predictor.labels)), golden, kept)


def _read_1(folder: Path, facts: Facts) -> Artifact:
    """Before there were calibration, thresholds, several layers and several labels a text."""
    predictor = _predictor(folder, facts, facts.get("layer", kind=int, check=lambda value: 1 <= value <= 1000))
    for key in ("calibration", "thresholds"):
        if facts.facts.get(key) is not None:
            raise facts.error(key, "is not known to this format")
    C = len(predictor.labels)
    return Artifact(predictor, read_training(facts, C), read_golden(facts, C))


def _predictor(folder: Path, facts: Facts, layer: int | tuple[int, ...]) -> Predictor:
    labels = read_labels(facts)
    head = read_head(folder / "head.safetensors", len(labels), facts)
    name, made_with = read_encoder(facts)
    if name == "encoder/" and (folder / "encoder").is_symlink():
        raise ArtifactError(f"{folder / 'encoder'}: is a link, where the encoder's folder should be.")
    precision = facts.get("precision", kind=str, check=lambda value: value in get_args(Precision))
    options = EngineOptions(
        encoder=str(folder / "encoder") if name == "encoder/" else name,
        pooling=facts.get("pooling", kind=str, check=lambda value: value in ("cls", "mean")),
        layer=layer,
        max_length=facts.get("max_length", kind=int, check=lambda value: 2 <= value <= 1_000_000),
        precision=precision,
        backend=_backend(facts, precision),
    )
    sha256 = facts.get("encoder", "weights_sha256", kind=str, check=is_sha256)
    return Predictor(labels, head, options, sha256, folder=folder, made_with=made_with)


def _backend(facts: Facts, precision: Precision) -> Backend:
    """What is to run the model: whatever fits where it is loaded, since all give the same vectors; bf16 is torch's."""
    if "backend" in facts.facts:  # models saved before there was torch don't have it
        facts.get("backend", kind=str, check=lambda value: value in ("onnx", "torch"))
    return "torch" if precision == "bf16" else "auto"


_READERS: dict[int, Callable[[Path, Facts], Artifact]] = {1: _read_1, 2: _read_2}


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
