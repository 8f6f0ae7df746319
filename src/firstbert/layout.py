"""An encoder's checkpoint → the tensors its graphs refer to, in the layout ONNX Runtime multiplies fastest.

After families.py on the way of a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firstbert.families import Architecture, Checkpoint, FloatArray


def tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, FloatArray]]:
    """Yield (name, array) for every tensor that graphs of this encoder refer to.

    Products are laid out as (d_in, d_out); query, key and value stand side by side in one (D, 3 D) product.
    """
    arch = checkpoint.architecture
    yield from _embedding_weights(checkpoint, arch)
    for i in range(arch.layers):
        yield from _layer_weights(checkpoint, arch, i)


def _embedding_weights(checkpoint: Checkpoint, arch: Architecture) -> Iterator[tuple[str, FloatArray]]:
    E, D = arch.embedding_width, arch.width
    rows = arch.first_position + arch.positions
    positions = checkpoint.tensor("embeddings.position_embeddings.weight", (rows, E))
    if arch.token_types:  # a lone sentence is all of type 0: its row is added once, here
        types = checkpoint.tensor("embeddings.token_type_embeddings.weight", (arch.token_types, E))
        positions = positions + types[0]
    yield "words", checkpoint.tensor("embeddings.word_embeddings.weight", (arch.vocabulary, E))
    yield "positions", positions
    yield "embed_norm.weight", checkpoint.tensor("embeddings.LayerNorm.weight", (E,))
    yield "embed_norm.bias", checkpoint.tensor("embeddings.LayerNorm.bias", (E,))
    if E != D:
        yield "project.weight", checkpoint.tensor("embeddings_project.weight", (D, E)).T
        yield "project.bias", checkpoint.tensor("embeddings_project.bias", (D,))
    if arch.buckets:
        table = checkpoint.tensor("encoder.relative_attention_bias.weight", (arch.buckets, arch.heads))
        yield "distance_bias", _distance_bias(table, arch.positions)


def _layer_weights(checkpoint: Checkpoint, arch: Architecture, i: int) -> Iterator[tuple[str, FloatArray]]:
    D, F = arch.width, arch.inner
    parts = [checkpoint.linear(name, i, D, D) for name in ("query", "key", "value")]
    yield f"{i}.qkv.weight", np.concatenate([weight for weight, _ in parts], axis=1)
    yield f"{i}.qkv.bias", np.concatenate([bias for _, bias in parts])
    for name, d_in, d_out in (("mix", D, D), ("up", D, F), ("down", F, D)):
        weight, bias = checkpoint.linear(name, i, d_in, d_out)
        yield f"{i}.{name}.weight", weight
        yield f"{i}.{name}.bias", bias
    for name in ("mix_norm", "down_norm"):
        weight, bias = checkpoint.norm(name, i)
        yield f"{i}.{name}.weight", weight
        yield f"{i}.{name}.bias", bias


def _distance_bias(table: FloatArray, positions: int) -> FloatArray:
    """Return MPNet's attention bias, (1, heads, P, P): one learned number per head and bucket of distance.

    Half of the buckets are for keys after the query; of each half, the first half stands for one distance
    each, the rest for ranges growing by a constant factor up to 128 (Raffel et al. 2020, section 2.1).
    """
    half = table.shape[0] // 2
    exact = half // 2
    offsets = np.arange(positions)[None, :] - np.arange(positions)[:, None]  # key minus query
    distance = np.abs(offsets)
    # float32 as the reference computes it, so that no distance falls into the next bucket
    log = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact)) / np.float32(np.log(128 / exact))
    far = exact + (log * (half - exact)).astype(np.int64)
    bucket = np.where(distance < exact, distance, np.minimum(far, half - 1)) + half * (offsets > 0)
    return np.ascontiguousarray(table[bucket].transpose(2, 0, 1)[None])
