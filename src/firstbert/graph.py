"""An architecture and the places to read it at → one ONNX graph of fused operators, without torch.

After families.py and layout.py on the way of a sentence. The graph takes ids and lengths and gives vectors:

    ids (B, T) int32, lengths (B,) int32  →  one output per `Read`: (B, D), or (B, T, D) for "tokens"

Rows are padded on the right only, so a length says as much as a mask. The graph holds no weights: they lie in
one file that graphs cut at different layers share (prepared.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from firstbert.families import Architecture

if TYPE_CHECKING:
    import onnx

FORMAT = 4  # goes into every cache key: raise it with any change of the arithmetic below
Pooling = Literal["cls", "mean", "tokens"]
# Where the products of a layer stand, and the matrices that one input meets there.
POINTS = {"qkv": ("query", "key", "value"), "mix": ("mix",), "up": ("up",), "down": ("down",)}

_FUSED = "com.microsoft"  # ONNX Runtime's domain of fused operators
_OPSET = 24  # the first whose Attention is told the real length of each row
_IR_VERSION = 11
FLOAT, INT32, INT64 = 1, 6, 7  # ONNX's numbers of the types


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


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies in the weights file: its shape, its place in bytes, and its type."""

    shape: tuple[int, ...]
    offset: int
    length: int
    dtype: str = "float32"


def build(arch: Architecture, reads: Sequence[Read], stored: Mapping[str, Stored], file: str) -> onnx.ModelProto:
    """Return the graph that ends at the highest layer read.

    Where only [CLS] is read there, the last layer runs for that position alone. Where the weights file holds int8
    products (quantize.py), the graph multiplies in int8.

    Args:
        reads: the outputs, in order; layers in [0, L].
        stored: name → place in the weights file, for every name that layout.py yields.
        file: name of the weights file, which must lie beside the graph.
    """
    builder = Builder(arch, stored, file)
    builder.walk(reads)
    return builder.model([(read.name, _shape(read, arch)) for read in reads])


def build_ranges(arch: Architecture, stored: Mapping[str, Stored], file: str) -> onnx.ModelProto:
    """Return the graph that tells how large the numbers are at each product.

    Two outputs per layer and point: ``largest_{i}.{point}``, (d_in,), the largest size of each number that enters,
    and ``faintness_{i}.{point}``, (1,), the mean over tokens of 1 / ‖y‖², with y the first product's result.
    """
    builder = Builder(arch, stored, file, ranges=True)
    builder.walk([Read(arch.layers, "mean")])
    names = [f"{i}.{point}" for i in range(arch.layers) for point in POINTS]
    return builder.model([(f"{fact}_{name}", ["width"]) for name in names for fact in ("largest", "faintness")])


def first_only(reads: Sequence[Read], layer: int) -> bool:
    """Whether a layer runs for the first position alone: it is the highest one read, and only [CLS] is read there.

    Other kernels do that, so its last bits are others than the whole layer's.
    """
    top = max(read.layer for read in reads)
    return layer == top and all(read.pooling == "cls" for read in reads if read.layer == top)


def _shape(read: Read, arch: Architecture) -> list[str | int]:
    return ["batch", "tokens", arch.width] if read.pooling == "tokens" else ["batch", arch.width]


class Builder:
    """Collects nodes and tensors; every method returns the name of the value it adds.

    Args:
        arch, stored, file: see `build`.
        ranges: also tell how large the numbers are at each product.
    """

    opset = _OPSET
    inputs: tuple[tuple[str, int, list[str | int]], ...] = (
        ("ids", INT32, ["batch", "tokens"]),
        ("lengths", INT32, ["batch"]),
    )

    def __init__(self, arch: Architecture, stored: Mapping[str, Stored], file: str, *, ranges: bool = False) -> None:
        self.arch, self.stored, self.file, self.ranges = arch, stored, file, ranges
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def model(self, outputs: Sequence[tuple[str, list[Any]]]) -> onnx.ModelProto:
        """Return the graph with these outputs, each with its shape."""
        import onnx
        from onnx import TensorProto, helper

        inputs = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in self.inputs]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs]
        graph = helper.make_graph(self.nodes, "firstbert", inputs, results, list(self.tensors.values()))
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(_FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="firstbert")
        model.ir_version = _IR_VERSION
        assert isinstance(model, onnx.ModelProto)
        return model

    def walk(self, reads: Sequence[Read]) -> None:
        """Embeddings, then layer after layer up to the highest one read."""
        hidden = self._embeddings()
        for layer in range(max(read.layer for read in reads) + 1):
            first = layer > 0 and first_only(reads, layer)
            if layer:
                hidden = self._layer(layer - 1, hidden, first_only=first)
            for read in reads:
                if read.layer == layer:
                    self._read(read, hidden, first_only=first)

    # -- pieces

    def node(self, op: str, inputs: Sequence[str], out: str, **attributes: Any) -> str:
        """An operator with one output."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def has(self, value: str) -> bool:
        """Whether a node gives this value already."""
        return any(value in node.output for node in self.nodes)

    def is_int8(self, name: str) -> bool:
        """Whether the weights file holds this tensor in int8."""
        return name in self.stored and self.stored[name].dtype == "int8"

    def weight(self, name: str) -> str:
        """A tensor of the weights file."""
        from onnx import StringStringEntryProto, TensorProto

        if name not in self.tensors:
            place = self.stored[name]
            kind = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8}[place.dtype]
            tensor = TensorProto(name=name, data_type=kind, dims=place.shape)
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
        """(B T, D)."""
        E = self.arch.embedding_width
        rows = self.node("Add", [self._word_rows(), self._position_rows()], "rows")  # (B, T, E)
        hidden = self._flat(self._norm(rows, "embed_norm", "embeddings"), E, "embeddings_flat")
        if self.arch.width != E:
            hidden = self._product(hidden, "project", self.weight("project.bias"))
        return hidden

    def _word_rows(self) -> str:
        """(B, T, E)."""
        rows = self.node("Gather", [self.weight("words"), "ids"], "word_rows")
        if not self.is_int8("words"):
            return rows
        scale = self.node("Gather", [self.weight("words.scale"), "ids"], "word_scales")  # (B, T, 1)
        return self.node("Mul", [self.node("Cast", [rows], "word_numbers", to=FLOAT), scale], "word_values")

    def _position_rows(self) -> str:
        """(T, E), or (B, T, E) where positions depend on the tokens."""
        table = self.weight("positions")
        if self.arch.padding_id is not None:
            return self.node("Gather", [table, self._positions(self.arch.padding_id)], "position_rows")
        start, axis = self.constant("start", np.zeros(1, np.int64)), self.constant("axis_0", np.zeros(1, np.int64))
        return self.node("Slice", [table, start, self._tokens(), axis], "position_rows")

    def _positions(self, padding_id: int) -> str:
        """Positions as fairseq counts them: padding id + 1, + 2, …; the padding token itself takes none."""
        pad = self.constant("padding_id", np.array(padding_id, np.int32))
        real = self.node("Not", [self.node("Equal", ["ids", pad], "is_padding")], "is_real")
        real = self.node("Cast", [real], "is_real_int", to=INT32)
        count = self.node("CumSum", [real, self.constant("along", np.array(1, np.int32))], "count")
        return self.node("Add", [self.node("Mul", [count, real], "count_real"), pad], "position_ids")

    def _layer(self, i: int, x: str, *, first_only: bool) -> str:
        """(B T, D) → (B T, D), or (B, D): attention, then feed-forward, each added to its input, normalised."""
        first = self._first_position(x, f"{i}.first") if first_only else x
        x = self._norm(self._onto(first, self._attention(i, x, first), f"{i}.mix"), f"{i}.mix_norm", f"{i}.mix.normed")
        inner = self._activation(self._linear(x, f"{i}.up"), f"{i}.up")  # (B T, F)
        return self._norm(self._onto(x, inner, f"{i}.down"), f"{i}.down_norm", f"{i}.down.normed")

    def _attention(self, i: int, x: str, first: str) -> str:
        """Every position of `first`, which is `x` or its first position, looks at all real ones of `x`."""
        query, only_first = self._linear(first, f"{i}.query"), first != x
        if only_first:  # twice, as in `_mean`
            query = self.node("Concat", [query, query], f"{i}.query.twice", axis=1)
        query = self._rows(query, f"{i}.query.rows", twice=only_first)
        key, value = (self._rows(self._linear(x, f"{i}.{part}"), f"{i}.{part}.rows") for part in ("key", "value"))
        rows = self.attention(i, query, key, value, self._attention_bias(first_only=only_first))
        if not only_first:
            return self._flat(rows, self.arch.width, f"{i}.attention")
        rows = self._flat(rows, 2 * self.arch.width, f"{i}.attention.twice")
        ends = [self.constant(f"axis_{k}", np.array([k], np.int64)) for k in (0, 1)]
        return self.node("Slice", [rows, ends[0], self._width(), ends[1]], f"{i}.attention")

    def attention(self, i: int, query: str, key: str, value: str, bias: str) -> str:
        """(B, Q, D), (B, T, D), (B, T, D), (1, heads, Q, T) or nothing → (B, Q, D), Q being T or 2."""
        inputs = [query, key, value, bias, "", "", self._long_lengths()]
        heads = {"q_num_heads": self.arch.heads, "kv_num_heads": self.arch.heads}
        return self.node("Attention", inputs, f"{i}.attention.rows", **heads)

    def _attention_bias(self, *, first_only: bool) -> str:
        """The distance table cut to T × T, or to its first row twice, or no input at all."""
        if not self.arch.buckets:
            return ""
        name = "bias_first" if first_only else "bias"
        if not self.has(name):
            rows = self.constant("one_row", np.ones(1, np.int64)) if first_only else self._tokens()
            ends = self.node("Concat", [rows, self._tokens()], f"{name}_ends", axis=0)
            starts = self.constant("starts", np.zeros(2, np.int64))
            axes = self.constant("axes_2_3", np.array([2, 3], np.int64))
            cut = f"{name}_once" if first_only else name
            self.node("Slice", [self.weight("distance_bias"), starts, ends, axes], cut)
            if first_only:
                self.node("Concat", [cut, cut], name, axis=2)
        return name

    def _norm(self, x: str, name: str, out: str) -> str:
        norm = [self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.node("LayerNormalization", [x, *norm], out, epsilon=self.arch.eps)

    def _activation(self, x: str, name: str) -> str:
        out = f"{name}.active"
        match self.arch.activation:
            case "gelu" if not self.is_int8(f"{name}.weight"):
                return self.node("Gelu", [x], out)
            case "gelu" | "gelu_tanh":  # in int8 the tanh formula's 0.0005 is far below a step, and it is quicker
                return self.node("Gelu", [x], out, approximate="tanh")
            case "relu":
                return self.node("Relu", [x], out)

    # -- products

    def _onto(self, skip: str, x: str, name: str) -> str:
        """skip + x · weight + bias: a single operator where there is no bias."""
        if self.is_int8(f"{name}.weight") or f"{name}.bias" in self.stored:
            return self.node("Add", [self._linear(x, name), skip], f"{name}.total")
        return self._product(x, name, skip)

    def _linear(self, x: str, name: str) -> str:
        """x · weight, plus the bias if there is one."""
        bias = self.weight(f"{name}.bias") if f"{name}.bias" in self.stored else ""
        return (self._product_int8 if self.is_int8(f"{name}.weight") else self._product)(x, name, bias)

    def _product(self, x: str, name: str, added: str) -> str:
        """x · weight + added, which is of the product's shape, or (d_out,), or nothing."""
        product = self.node("Gemm", [x, self.weight(f"{name}.weight"), added], f"{name}.product")
        if self.ranges and name != "project":
            self._note_ranges(x, product, _point(name))
        return product

    def _product_int8(self, x: str, name: str, bias: str) -> str:
        """The same in int8: each number is brought into 8 bits by its own factor, which the weights undo."""
        unit, point = self.constant("unit", np.array(1, np.float32)), _point(name)
        small, middle = f"{x}.small", self.weight(f"{point}.middle")
        if not self.has(small):
            step, inverse = f"{point}.step", f"{point}.inverse"  # neither where the product that gave x did it
            scaled = self.node("Mul", [x, self.weight(inverse)], f"{x}.scaled") if inverse in self.stored else x
            self.node("QuantizeLinear", [scaled, self.weight(step) if step in self.stored else unit, middle], small)
        inputs = [small, self.weight(f"{name}.weight"), unit, self.weight(f"{name}.scale"), middle, "", bias]
        return self.node("MatMulIntegerToFloat", inputs, f"{name}.product", domain=_FUSED)

    def _note_ranges(self, x: str, product: str, point: str) -> None:
        if not self.has(f"largest_{point}"):
            over_tokens, over_width = (self.constant(f"axis_{k}", np.array([k], np.int64)) for k in (0, 1))
            size = self.node("Abs", [x], f"{point}.size")
            self.node("ReduceMax", [size, over_tokens], f"largest_{point}", keepdims=0)
            square = self.node("ReduceSumSquare", [product, over_width], f"{point}.square")
            faint = self.node("Reciprocal", [square], f"{point}.faint")
            self.node("ReduceMean", [faint, over_tokens], f"faintness_{point}", keepdims=0)

    # -- shapes

    def _tokens(self) -> str:
        """T, as a tensor of one int64."""
        if not self.has("T"):
            self.node("Shape", ["ids"], "T", start=1, end=2)
        return "T"

    def _long_lengths(self) -> str:
        """(B,) int64."""
        if not self.has("lengths_long"):
            self.node("Cast", ["lengths"], "lengths_long", to=INT64)
        return "lengths_long"

    def _flat(self, x: str, width: int, out: str) -> str:
        """(B, T, d) → (B T, d)."""
        return self.node("Reshape", [x, self.constant(f"flat_{width}", np.array([-1, width], np.int64))], out)

    def _width(self) -> str:
        return self.constant("D", np.array([self.arch.width], np.int64))

    def _rows(self, x: str, out: str, *, twice: bool = False) -> str:
        """(B T, D) → (B, T, D), or (B, 2 D) → (B, 2, D)."""
        all_rows = self.constant("all_rows", np.array([-1], np.int64))
        tokens = self.constant("two_rows", np.array([2], np.int64)) if twice else self._tokens()
        shape = f"{'twice' if twice else 'rows'}_shape"
        if not self.has(shape):
            self.node("Concat", [all_rows, tokens, self._width()], shape, axis=0)
        return self.node("Reshape", [x, shape], out)

    def _first_position(self, x: str, out: str) -> str:
        """(B T, D) → (B, D)."""
        first = self.constant("first", np.array(0, np.int64))
        return self.node("Gather", [self._rows(x, f"{out}.rows"), first], out, axis=1)

    # -- reading

    def _read(self, read: Read, hidden: str, *, first_only: bool) -> None:
        match read.pooling:
            case "tokens":
                self._rows(hidden, read.name)
            case "cls" if first_only:
                self.node("Identity", [hidden], read.name)
            case "cls":
                self._first_position(hidden, read.name)
            case "mean":
                self._mean(self._rows(hidden, f"{read.name}.tokens"), read.name)

    def _mean(self, rows: str, out: str) -> None:
        """(B, T, D) → (B, D): a product with 1/length at real positions and 0 at padding.

        The row of shares stands there twice: for a single row ONNX Runtime takes a kernel whose sums depend, in the
        last bit, on how far a text is padded; and a cached vector must be the one that is computed anew.
        """
        pooled = self.node("MatMul", [self._shares(), rows], f"{out}_rows")  # (B, 2, D)
        self.node("Gather", [pooled, self.constant("first", np.array(0, np.int64))], out, axis=1)

    def _shares(self) -> str:
        """(B, 2, T)."""
        if not self.has("shares"):
            real = self.node("Cast", [self.real_places()], "real", to=FLOAT)
            count = self.node("Cast", ["lengths_column"], "count_float", to=FLOAT)
            share = self.node("Div", [real, count], "share")
            self.node("Concat", [share, share], "shares", axis=1)
        return "shares"

    def real_places(self) -> str:
        """(B, 1, T), which places of each row are no padding; beside it `lengths_column`, (B, 1, 1)."""
        if not self.has("is_real_place"):
            T = self.node("Cast", [self.node("Squeeze", [self._tokens()], "T_scalar")], "T_int", to=INT32)
            zero, one = self.constant("zero", np.array(0, np.int32)), self.constant("one", np.array(1, np.int32))
            places = self.node("Range", [zero, T, one], "places")
            axes = self.constant("axes_1_2", np.array([1, 2], np.int64))
            self.node("Less", [places, self.node("Unsqueeze", ["lengths", axes], "lengths_column")], "is_real_place")
        return "is_real_place"


def _point(name: str) -> str:
    """Where a product stands: ``"3.qkv"`` for ``"3.key"``."""
    layer, _, part = name.partition(".")
    return f"{layer}.{next(point for point, parts in POINTS.items() if part in parts)}"
