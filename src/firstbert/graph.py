"""An architecture and the places to read it at → one ONNX graph of fused operators, without torch.

After families.py on the way of a sentence. The graph takes ids and lengths and gives vectors:

    ids (B, T) int32, lengths (B,) int32  →  one output per `Read`: (B, D), or (B, T, D) for "tokens"

Rows are padded on the right only, so a length says as much as a mask. The graph holds no weights: they lie in
one file that graphs cut at different layers share (prepared.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from firstbert.families import Architecture, Checkpoint, FloatArray

if TYPE_CHECKING:
    import onnx

FORMAT = 1  # goes into every cache key: raise it with any change of the arithmetic below
Pooling = Literal["cls", "mean", "tokens"]

_FUSED = "com.microsoft"  # ONNX Runtime's domain of fused operators
_OPSET = 20
_IR_VERSION = 10


@dataclass(frozen=True, order=True)
class Read:
    """A place where the network is read.

    Attributes:
        layer: counted from 1; 0 is the sum of embeddings before the first layer.
        pooling: ``"cls"`` the first position, ``"mean"`` the mean over real positions, ``"tokens"`` all.
    """

    layer: int
    pooling: Pooling

    @property
    def name(self) -> str:
        """The name of the graph's output."""
        return f"layer_{self.layer}_{self.pooling}"


# ---------------------------------------------------------------- weights


def weights(checkpoint: Checkpoint) -> Iterator[tuple[str, FloatArray]]:
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


# ---------------------------------------------------------------- the graph


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies in the weights file: its shape and its place in bytes."""

    shape: tuple[int, ...]
    offset: int
    length: int


def build(arch: Architecture, reads: Sequence[Read], stored: Mapping[str, Stored], file: str) -> onnx.ModelProto:
    """Return the graph that ends at the highest layer read.

    Args:
        reads: the outputs, in order; layers in [0, L].
        stored: name → place in the weights file, for every name `weights` yields.
        file: name of the weights file, which must lie beside the graph.
    """
    return _Builder(arch, stored, file).model(reads)


class _Builder:
    """Collects nodes and tensors; every method returns the name of the value it adds."""

    def __init__(self, arch: Architecture, stored: Mapping[str, Stored], file: str) -> None:
        self.arch, self.stored, self.file = arch, stored, file
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def model(self, reads: Sequence[Read]) -> onnx.ModelProto:
        import onnx
        from onnx import TensorProto, helper

        self._walk(reads)
        B, T, D = "batch", "tokens", self.arch.width
        inputs = [
            helper.make_tensor_value_info("ids", TensorProto.INT32, [B, T]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, [B]),
        ]
        outputs = [
            helper.make_tensor_value_info(
                read.name, TensorProto.FLOAT, [B, T, D] if read.pooling == "tokens" else [B, D]
            )
            for read in reads
        ]
        graph = helper.make_graph(self.nodes, "firstbert", inputs, outputs, list(self.tensors.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="firstbert")
        model.ir_version = _IR_VERSION
        assert isinstance(model, onnx.ModelProto)
        return model

    def _walk(self, reads: Sequence[Read]) -> None:
        hidden = self._embeddings()
        bias = self._attention_bias()
        for layer in range(max(read.layer for read in reads) + 1):
            if layer:
                hidden = self._layer(layer - 1, hidden, bias)
            for read in reads:
                if read.layer == layer:
                    self._read(read, hidden)

    # -- pieces

    def node(self, op: str, inputs: Sequence[str], out: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def has(self, value: str) -> bool:
        """Whether a node gives this value already."""
        return any(value in node.output for node in self.nodes)

    def weight(self, name: str) -> str:
        """A tensor of the weights file."""
        from onnx import StringStringEntryProto, TensorProto

        if name not in self.tensors:
            place = self.stored[name]
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=place.shape)
            tensor.data_location = TensorProto.EXTERNAL
            facts = {"location": self.file, "offset": str(place.offset), "length": str(place.length)}
            tensor.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in facts.items())
            self.tensors[name] = tensor
        return name

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A small tensor kept in the graph itself."""
        from onnx import numpy_helper

        self.tensors.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def _embeddings(self) -> str:
        words = self.node("Gather", [self.weight("words"), "ids"], "word_rows")  # (B, T, E)
        rows = self.node("Add", [words, self._position_rows()], "rows")
        hidden = self._norm(rows, "embed_norm", "embeddings")
        if self.arch.embedding_width != self.arch.width:
            hidden = self.node("MatMul", [hidden, self.weight("project.weight")], "projected")
            hidden = self.node("Add", [hidden, self.weight("project.bias")], "embeddings_wide")  # (B, T, D)
        return hidden

    def _position_rows(self) -> str:
        """(T, E), or (B, T, E) where positions depend on the tokens."""
        table = self.weight("positions")
        if self.arch.padding_id is not None:
            return self.node("Gather", [table, self._positions(self.arch.padding_id)], "position_rows")
        start, axis = self.constant("start", np.zeros(1, np.int64)), self.constant("axis_0", np.zeros(1, np.int64))
        return self.node("Slice", [table, start, self._tokens(), axis], "position_rows")

    def _tokens(self) -> str:
        """T, as a tensor of one int64."""
        if not self.has("T"):
            self.node("Shape", ["ids"], "T", start=1, end=2)
        return "T"

    def _norm(self, x: str, name: str, out: str) -> str:
        norm = [self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.node("LayerNormalization", [x, *norm], out, epsilon=self.arch.eps)

    def _positions(self, padding_id: int) -> str:
        """Positions as fairseq counts them: padding id + 1, + 2, …; the padding token itself takes none."""
        pad = self.constant("padding_id", np.array(padding_id, np.int32))
        real = self.node("Not", [self.node("Equal", ["ids", pad], "is_padding")], "is_real")
        real = self.node("Cast", [real], "is_real_int", to=6)  # int32
        count = self.node("CumSum", [real, self.constant("axis_1", np.array(1, np.int32))], "count")
        return self.node("Add", [self.node("Mul", [count, real], "count_real"), pad], "position_ids")

    def _attention_bias(self) -> str:
        """The distance table cut to T × T, or no input at all."""
        if not self.arch.buckets:
            return ""
        ends = self.node("Concat", [self._tokens(), self._tokens()], "ends", axis=0)
        starts = self.constant("starts", np.zeros(2, np.int64))
        axes = self.constant("axes_2_3", np.array([2, 3], np.int64))
        return self.node("Slice", [self.weight("distance_bias"), starts, ends, axes], "bias")

    def _layer(self, i: int, x: str, bias: str) -> str:
        """(B, T, D) → (B, T, D): attention, then feed-forward, each added to its input and normalised."""
        qkv = [self.weight(f"{i}.qkv.weight"), self.weight(f"{i}.qkv.bias")]
        inputs = [x, *qkv, "lengths"] + (["", bias] if bias else [])
        x_att = self.node("Attention", inputs, f"{i}.attention", domain=_FUSED, num_heads=self.arch.heads)
        x = self._add_and_norm(self._product(x_att, f"{i}.mix"), x, f"{i}.mix")
        inner = self._activation(self._product(x, f"{i}.up"), f"{i}.up")  # (B, T, F)
        return self._add_and_norm(self._product(inner, f"{i}.down"), x, f"{i}.down")

    def _product(self, x: str, name: str) -> str:
        return self.node("MatMul", [x, self.weight(f"{name}.weight")], f"{name}.product")

    def _add_and_norm(self, product: str, skip: str, name: str) -> str:
        # Plain operators: SkipLayerNormalization does the same in one, and takes six times as long.
        total = self.node("Add", [self._bias(product, name), skip], f"{name}.total")
        return self._norm(total, f"{name}_norm", f"{name}.normed")

    def _bias(self, product: str, name: str) -> str:
        return self.node("Add", [product, self.weight(f"{name}.bias")], f"{name}.sum")

    def _activation(self, product: str, name: str) -> str:
        x, out = self._bias(product, name), f"{name}.active"
        match self.arch.activation:
            case "gelu":
                return self.node("Gelu", [x], out)
            case "gelu_tanh":
                return self.node("Gelu", [x], out, approximate="tanh")
            case "relu":
                return self.node("Relu", [x], out)

    # -- reading

    def _read(self, read: Read, hidden: str) -> None:
        match read.pooling:
            case "tokens":
                self.node("Identity", [hidden], read.name)
            case "cls":
                first = self.constant("first", np.array(0, np.int64))
                self.node("Gather", [hidden, first], read.name, axis=1)  # (B, T, D) → (B, D)
            case "mean":
                self._mean(hidden, read.name)

    def _mean(self, hidden: str, out: str) -> None:
        """(B, T, D) → (B, D): a product with 1/length at real positions and 0 at padding.

        The row of shares stands there twice: for a single row ONNX Runtime takes a kernel whose sums depend, in the
        last bit, on how far a text is padded; and a cached vector must be the one that is computed anew.
        """
        pooled = self.node("MatMul", [self._shares(), hidden], f"{out}_rows")  # (B, 2, D)
        self.node("Gather", [pooled, self.constant("first", np.array(0, np.int64))], out, axis=1)

    def _shares(self) -> str:
        """(B, 2, T)."""
        if not self.has("shares"):
            T = self.node("Cast", [self.node("Squeeze", [self._tokens()], "T_scalar")], "T_int", to=6)  # int32
            zero, one = self.constant("zero", np.array(0, np.int32)), self.constant("one", np.array(1, np.int32))
            places = self.node("Range", [zero, T, one], "places")
            axes = self.constant("axes_1_2", np.array([1, 2], np.int64))
            lengths = self.node("Unsqueeze", ["lengths", axes], "lengths_column")  # (B, 1, 1)
            real = self.node("Cast", [self.node("Less", [places, lengths], "is_real_place")], "real", to=1)  # float32
            share = self.node("Div", [real, self.node("Cast", [lengths], "count_float", to=1)], "share")
            self.node("Concat", [share, share], "shares", axis=1)
        return "shares"
