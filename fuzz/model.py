"""Model folders: `artifact.load` takes or refuses them; what it takes answers, and a card can be written of it.

The hashes in model.json are written in where it says SHA256_HEAD and so on: a fuzzer does not find a file that has a
given hash.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from safetensors.numpy import save

from firstbert import artifact
from firstbert.card import card
from firstbert.engine import Encoded
from firstbert.errors import FirstbertError
from fuzz.place import filled, joined, split

NAMES = ("model.json", "head.safetensors", "neighbours.jsonl", "neighbours.safetensors")
HASHED = {b"SHA256_HEAD": NAMES[1], b"SHA256_TEXTS": NAMES[2], b"SHA256_VECTORS": NAMES[3]}


def one(content: bytes) -> bool:
    """Load a folder, answer with it, and describe it."""
    parts = split(content, NAMES)
    for mark, name in HASHED.items():
        parts["model.json"] = parts["model.json"].replace(
            mark, hashlib.sha256(parts.get(name, b"")).hexdigest().encode()
        )
    try:
        found = artifact.load(filled("model", parts, NAMES))
    except FirstbertError:
        return False
    predictor = found.predictor
    width = predictor.head.weight.shape[1]
    vectors = np.linspace(-1, 1, 2 * width, dtype=np.float32).reshape(2, 1, width)
    answers = predictor.answer(Encoded(vectors, np.zeros(2, np.bool_), 2))
    assert np.isfinite(answers.probabilities).all(), "a probability is no number"
    json.dumps(answers.records(), allow_nan=False).encode()
    if found.neighbours is not None and found.neighbours.texts:
        found.neighbours.nearest(vectors[0, 0])
    told = json.loads(parts["model.json"]) | {"firstbert": "0", "backend": "onnx", "training": found.training}
    told["encoder"] = {"made_with": "minilm", "family": "bert", "name": "minilm"} | told["encoder"]
    card(told).encode()
    return True


def facts(**others: Any) -> dict[str, Any]:
    """Return a model.json of two labels and a width of three."""
    training = {"rows": 4, "rows_per_label": [2, 2], "data": "rows.tsv", "data_sha256": "0" * 64, "seed": 0, "C": 1.0,
                "cv_accuracy": 0.75, "versions": {"numpy": "2.4"}}  # fmt: skip
    return {
        "format": 2, "firstbert": "0.1.0", "labels": ["bad", "good"], "label_type": "str",
        "encoder": {"name": "encoder/", "made_with": "minilm", "family": "bert", "weights_sha256": "0" * 64},
        "layer": 4, "pooling": "mean", "max_length": 256, "precision": "fp32", "backend": "onnx", "many_labels": False,
        "calibration": {"temperature": 1.0}, "thresholds": {"labels": None, "accept": None}, "training": training,
        "golden": [{"text": "No.", "probabilities": [0.25, 0.75]}], "head_sha256": "SHA256_HEAD",
    } | others  # fmt: skip


def head(classes: int = 2) -> bytes:
    """Return a head of a width of three."""
    weight = np.arange(classes * 3, dtype=np.float32).reshape(classes, 3)
    return save({"weight": weight, "bias": np.zeros(classes, np.float32)})


def seeds() -> dict[str, bytes]:
    """Return folders of both formats, with labels of all types, thresholds, and neighbours."""
    kept = {"rows": 1, "texts_sha256": "SHA256_TEXTS", "vectors_sha256": "SHA256_VECTORS"}
    neighbours = (b'{"text": "so good", "label": ["good"]}\n', save({"vectors": np.ones((1, 3), np.float16)}))
    first = facts(format=1)
    for name in ("calibration", "thresholds", "many_labels"):
        first.pop(name)
    test = {"n": 4, "baseline_accuracy": 0.5, "accuracy": 0.75, "per_class": {
        "1": {"precision": 1.0, "recall": 0.5, "f1": 0.667, "support": 2}}}  # fmt: skip
    made = {
        "plain": facts(),
        "first format": first,
        "numbers": facts(labels=[0, 1], label_type="int", training=facts()["training"] | {"test": test}),
        "truths": facts(labels=[False, True], label_type="bool", thresholds={"labels": None, "accept": 0.9}),
        "fractions": facts(labels=[0.5, 1.5], label_type="float", thresholds={"labels": [0.3, 0.6], "accept": None}),
        "many": facts(
            many_labels=True, thresholds={"labels": [0.3, 0.6], "accept": 0.5}, layer=[2, 4], neighbours=kept
        ),
    }
    files = {name: (json.dumps(one).encode(), head()) for name, one in made.items()}
    files["many"] += neighbours
    return {name: joined(dict(zip(NAMES, one, strict=False))) for name, one in files.items()}
