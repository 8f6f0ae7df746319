"""An encoder's checkpoint → the tensors its graphs refer to, in the layout ONNX Runtime multiplies fastest.

After families.py on the way of a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firstbert.errors import EncoderError
from firstbert.families import Architecture, Checkpoint, FloatArray


def tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, FloatArray]]:
    """Yield (name, array) for every tensor that graphs of this encoder refer to.

    Products are laid out as (d_in, d_out).

    Raises:
        EncoderError: a tensor is missing or of another shape, or holds numbers that can't be reckoned with.
    """
    found = _all(checkpoint, checkpoint.architecture)
    while (one := _next(found)) is not None:
        name, array = one
        if not np.isfinite(array).all():
            raise EncoderError(f"{checkpoint.paths[0]}: its numbers are so large that '{name}' becomes infinite.")
        yield one


@np.errstate(over="ignore", invalid="ignore")  # what is infinite is refused
def _next(found: Iterator[tuple[str, FloatArray]]) -> tuple[str, FloatArray] | None:
    return next(found, None)


def _all(checkpoint: Checkpoint, arch: Architecture) -> Iterator[tuple[str, FloatArray]]:
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
    """One layer, with three of its six biases where they cost nothing.

    A bias of the keys adds the same to every score of a query, which softmax takes out again. The values' bias goes
    through attention unchanged, since its weights add up to 1: it is added with the next product's. And the last
    bias of the layer stands in what that product is added to; the product between undoes it.
    """
    D, F = arch.width, arch.inner
    query, query_bias = checkpoint.linear("query", i, D, D)
    key, _ = checkpoint.linear("key", i, D, D)
    value, value_bias = checkpoint.linear("value", i, D, D)
    mix, mix_bias = checkpoint.linear("mix", i, D, D)
    up, up_bias = checkpoint.linear("up", i, D, F)
    down, down_bias = checkpoint.linear("down", i, F, D)
    norm, norm_bias = checkpoint.norm("mix_norm", i)
    wide = F + _spare(F)
    layer = {
        "query.weight": query,
        "query.bias": query_bias,
        "key.weight": key,
        "value.weight": value,
        "mix.weight": mix,
        "mix.bias": mix_bias + _exact(value_bias, mix),
        "mix_norm.weight": norm,
        "mix_norm.bias": norm_bias + down_bias,
        "up.weight": _padded(up, (D, wide)),
        "up.bias": _padded(up_bias - _exact(down_bias, up), (wide,)),
        "down.weight": _padded(down, (wide, D)),
    }
    layer["down_norm.weight"], layer["down_norm.bias"] = checkpoint.norm("down_norm", i)
    yield from ((f"{i}.{name}", array) for name, array in layer.items())


def _exact(bias: FloatArray, weight: FloatArray) -> FloatArray:
    """bias · weight, summed in float64."""
    return (bias.astype(np.float64) @ weight.astype(np.float64)).astype(np.float32)


def _spare(width: int) -> int:
    """How many columns of zeros to put beside a matrix of float32 rows.

    Rows that start a multiple of 4,096 bytes apart share their places in a core's first cache and drive each other
    out: with 3,072 columns a product takes a tenth longer than with 3,088.
    """
    return 16 if width * 4 % 4096 == 0 else 0


def _padded(array: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """With zeros behind, up to the shape given."""
    return np.pad(array, [(0, wanted - had) for wanted, had in zip(shape, array.shape, strict=True)])


def _distance_bias(table: FloatArray, positions: int) -> FloatArray:
    """Return MPNet's attention bias, (1, heads, P, P): one learned number per head and bucket of distance.

    Half of the buckets are for keys after the query; of each half, the first half stands for one distance
    each, the rest for ranges growing by a constant factor up to 128 (Raffel et al. 2020, section 2.1).
    """
    half = table.shape[0] // 2
    exact = half // 2
    offsets = np.arange(1 - positions, positions)  # key minus query, from the least to the largest
    distance = np.abs(offsets)
    # float32 as the reference computes it, so that no distance falls into the next bucket
    log = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact)) / np.float32(np.log(128 / exact))
    far = exact + (log * (half - exact)).astype(np.int64)
    bucket = np.where(distance < exact, distance, np.minimum(far, half - 1)) + half * (offsets > 0)
    # Query q sees the offsets from -q on: each row of the table is the one before, moved by one.
    rows = np.lib.stride_tricks.sliding_window_view(table[bucket].T, positions, axis=1)
    return np.ascontiguousarray(rows[:, ::-1][None])
