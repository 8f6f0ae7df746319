"""Encoders' safetensors files: `Checkpoint` takes or refuses them, and lays out what it takes."""

from __future__ import annotations

from functools import cache

import numpy as np
from safetensors.numpy import save

from firstbert import layout
from firstbert.errors import FirstbertError
from firstbert.families import Architecture, Checkpoint
from fuzz.place import written

ARCHITECTURE = Architecture(
    family="bert", layers=1, width=2, vocabulary=4, positions=3, heads=1, inner=2, embedding_width=2, first_position=0,
    padding_id=None, buckets=0, token_types=2, activation="gelu", eps=1e-12,
)  # fmt: skip


def one(content: bytes) -> bool:
    """Lay out all tensors of a file."""
    path = written("model.safetensors", content)
    try:
        found = dict(layout.tensors(Checkpoint((path,), ARCHITECTURE)))
    except FirstbertError:
        return False
    assert all(np.isfinite(array).all() for array in found.values()), "a weight is no number"
    return True


@cache
def _shapes() -> dict[str, tuple[int, ...]]:
    """All tensors of the architecture, under BERT's names."""
    found = {
        f"embeddings.{name}_embeddings.weight": (n, 2) for name, n in (("word", 4), ("position", 3), ("token_type", 2))
    }
    products = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                "intermediate.dense", "output.dense")  # fmt: skip
    found |= {f"encoder.layer.0.{name}.weight": (2, 2) for name in products}
    found |= {f"encoder.layer.0.{name}.bias": (2,) for name in products}
    norms = ("embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm")
    return found | {f"{name}.{part}": (2,) for name in norms for part in ("weight", "bias")}


def seeds() -> dict[str, bytes]:
    """Return a checkpoint in each type of number, with and without the prefix that task heads put before names."""
    import ml_dtypes

    types = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float64": np.float64}
    made = {name: {key: np.ones(shape, kind) for key, shape in _shapes().items()} for name, kind in types.items()}
    made["prefixed"] = {f"bert.{key}": array for key, array in made["float16"].items()}
    made["few"] = {key: made["float16"][key] for key in list(_shapes())[:2]}
    return {name: save(tensors) for name, tensors in made.items()}
