"""An encoder's config.json and safetensors → one architecture, one set of tensor names, whatever its family.

Before graph.py on the way of a sentence. To add a family: one entry in `FAMILIES` (its key names, where its
positions begin), one row in tests/families.py, and the parity tests hold it against transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from firstbert.errors import EncoderError
from firstbert.folders import read_json
from firstbert.strict import reason, shown

FloatArray = npt.NDArray[np.float32]
Activation = Literal["gelu", "gelu_tanh", "relu"]

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_DTYPES = ("F32", "F16", "BF16", "F64")
_LAYERS = 128  # the largest encoders have 48
_BIASES = 64_000_000  # numbers of MPNet's table of distances, heads x positions x positions; MPNet has 3 million


@dataclass(frozen=True)
class Family:
    """How one family of encoders names its tensors; `{i}` stands for the layer, counted from 0.

    Attributes:
        prefix: what checkpoints with a task head put before every name.
        names: our name of a layer's tensor → the family's.
        counts_from_padding: positions count from the padding id + 1, as fairseq's models do.
    """

    prefix: str
    names: Mapping[str, str]
    counts_from_padding: bool = False


_BERT_NAMES = {
    "query": "encoder.layer.{i}.attention.self.query",
    "key": "encoder.layer.{i}.attention.self.key",
    "value": "encoder.layer.{i}.attention.self.value",
    "mix": "encoder.layer.{i}.attention.output.dense",
    "mix_norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "up": "encoder.layer.{i}.intermediate.dense",
    "down": "encoder.layer.{i}.output.dense",
    "down_norm": "encoder.layer.{i}.output.LayerNorm",
}
_DISTILBERT_NAMES = {
    "query": "transformer.layer.{i}.attention.q_lin",
    "key": "transformer.layer.{i}.attention.k_lin",
    "value": "transformer.layer.{i}.attention.v_lin",
    "mix": "transformer.layer.{i}.attention.out_lin",
    "mix_norm": "transformer.layer.{i}.sa_layer_norm",
    "up": "transformer.layer.{i}.ffn.lin1",
    "down": "transformer.layer.{i}.ffn.lin2",
    "down_norm": "transformer.layer.{i}.output_layer_norm",
}
_MPNET_NAMES = _BERT_NAMES | {
    "query": "encoder.layer.{i}.attention.attn.q",
    "key": "encoder.layer.{i}.attention.attn.k",
    "value": "encoder.layer.{i}.attention.attn.v",
    "mix": "encoder.layer.{i}.attention.attn.o",
    "mix_norm": "encoder.layer.{i}.attention.LayerNorm",
}
_DISTILBERT_SIZES = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "hidden_dim",
}
_BUCKETS = 32  # of MPNet's distances; the reference reckons with 32 whatever the config says
_ROBERTA = Family("roberta.", _BERT_NAMES, counts_from_padding=True)

FAMILIES: dict[str, Family] = {
    "bert": Family("bert.", _BERT_NAMES),
    "distilbert": Family("distilbert.", _DISTILBERT_NAMES),
    "mpnet": Family("mpnet.", _MPNET_NAMES, counts_from_padding=True),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Family("electra.", _BERT_NAMES),
}


@dataclass(frozen=True)
class Shape:
    """What is known of any encoder, whichever library runs it.

    Attributes:
        family: model_type, as config.json has it.
        layers, width: L, D.
        vocabulary: rows of the word table.
        positions: the longest text in tokens.
    """

    family: str
    layers: int
    width: int
    vocabulary: int
    positions: int


@dataclass(frozen=True)
class Architecture(Shape):
    """All that decides an encoder's graph, and nothing of its weights.

    Attributes:
        heads, inner: attention heads, width between the two feed-forward products.
        embedding_width: width of the embedding tables; differs from D in small ELECTRAs, which project.
        first_position: the row of the position table that the first token reads.
        padding_id: the token id that takes no position; None where positions are plain 0, 1, 2, …
        buckets: rows of the relative position table (MPNet), 0 without one.
        token_types: rows of the token type table, 0 without one.
        eps: what LayerNorm adds to the variance.
    """

    heads: int
    inner: int
    embedding_width: int
    first_position: int
    padding_id: int | None
    buckets: int
    token_types: int
    activation: Activation
    eps: float


def read_config(path: Path) -> Architecture:
    """Read the architecture from an encoder's config.json.

    Raises:
        EncoderError: unreadable file, unsupported family or option, or a number out of range.
    """
    config = read_json(path)
    family_name = config.get("model_type")
    if not isinstance(family_name, str) or family_name not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise EncoderError(f"{path}: model_type {shown(family_name)} is no supported family; these are: {known}.")
    family = FAMILIES[family_name]
    return _architecture(_Config(path, config), family_name, family)


class _Config:
    """config.json with checks: what is asked for is there and of a sane size, or the error names it."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path, self.values = path, values
        self.distilbert = values["model_type"] == "distilbert"  # which has names of its own

    def count(self, name: str, *, low: int = 1, high: int = 1_000_000, default: int | None = None) -> int:
        if self.distilbert:
            name = _DISTILBERT_SIZES.get(name, name)
        value = self.values.get(name)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise EncoderError(f"{self.path}: {name!r} must be an int in [{low}, {high}]. Got {shown(value)} instead.")
        return value

    def eps(self) -> float:
        if self.distilbert:
            return 1e-12  # fixed by the reference, whatever the config says
        value = self.values.get("layer_norm_eps", 1e-12)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise EncoderError(f"{self.path}: 'layer_norm_eps' must be in (0, 1). Got {shown(value)} instead.")
        return float(value)

    def activation(self) -> Activation:
        name = self.values.get("activation" if self.distilbert else "hidden_act", "gelu")
        if not isinstance(name, str) or name not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise EncoderError(f"{self.path}: activation {shown(name)} is not supported; these are: {known}.")
        return _ACTIVATIONS[name]

    def refuse_variants(self) -> None:
        """Options that change the arithmetic and that the graph does not know."""
        if self.values.get("position_embedding_type", "absolute") != "absolute":
            kind = self.values["position_embedding_type"]
            raise EncoderError(f"{self.path}: position_embedding_type {shown(kind)} is not supported, only 'absolute'.")
        if self.values.get("is_decoder"):
            raise EncoderError(f"{self.path}: this is a decoder (is_decoder is true); an encoder is needed.")
        if self.values.get("relative_attention_num_buckets", _BUCKETS) != _BUCKETS:
            rows = self.values["relative_attention_num_buckets"]
            raise EncoderError(
                f"{self.path}: relative_attention_num_buckets {shown(rows)} is not supported, only {_BUCKETS}."
            )


def _architecture(config: _Config, name: str, family: Family) -> Architecture:
    config.refuse_variants()
    width = config.count("hidden_size")
    heads = config.count("num_attention_heads", high=1024)
    if width % heads:
        raise EncoderError(f"{config.path}: a width of {width} can't be shared by {heads} attention heads.")
    rows = config.count("max_position_embeddings", high=1_000_000)
    padding_id = config.count("pad_token_id", low=0, default=1) if family.counts_from_padding else None
    if name == "mpnet":
        padding_id = 1  # transformers fixes it whatever the config says
    first = 0 if padding_id is None else padding_id + 1
    if name == "mpnet" and heads * rows**2 > _BIASES:
        raise EncoderError(
            f"{config.path}: a table of distances for {heads} heads and {rows:,} positions is too large: "
            f"{_BIASES:,} numbers are the most."
        )
    if rows <= first:
        raise EncoderError(f"{config.path}: {rows} position rows leave none after the first {first}.")
    return Architecture(
        family=name,
        layers=config.count("num_hidden_layers", high=_LAYERS),
        width=width,
        heads=heads,
        inner=config.count("intermediate_size"),
        embedding_width=config.count("embedding_size", default=128) if name == "electra" else width,
        vocabulary=config.count("vocab_size", high=10_000_000),
        positions=rows - first,
        first_position=first,
        padding_id=padding_id,
        buckets=_BUCKETS if name == "mpnet" else 0,
        token_types=0 if name in ("distilbert", "mpnet") else config.count("type_vocab_size", default=2),
        activation=config.activation(),
        eps=config.eps(),
    )


class Checkpoint:
    """The tensors of one or several safetensors files, read one at a time under our names.

    Args:
        paths: the file, or all shards.
        architecture: decides which names and shapes are expected.
    """

    def __init__(self, paths: tuple[Path, ...], architecture: Architecture) -> None:
        self.paths, self.architecture = paths, architecture
        self.family = FAMILIES[architecture.family]
        self._files = {key: file for file in _open_all(paths) for key in file.keys()}  # noqa: SIM118
        self.prefix = self._find_prefix()

    def _find_prefix(self) -> str:
        word = "embeddings.word_embeddings.weight"
        for prefix in ("", self.family.prefix):
            if prefix + word in self._files:
                return prefix
        raise EncoderError(f"{self._where()}: no tensor '{word}', also not behind '{self.family.prefix}'.")

    def _where(self) -> str:
        return str(self.paths[0]) if len(self.paths) == 1 else f"{self.paths[0].parent} ({len(self.paths)} shards)"

    def tensor(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Return a tensor as float32, under the family's own name without its prefix.

        Raises:
            EncoderError: it is missing, of another shape or dtype, or holds NaN or infinity.
        """
        key = self._key(name)
        piece = self._files[key].get_slice(key)
        found, dtype = tuple(piece.get_shape()), piece.get_dtype()
        if found != shape:
            raise EncoderError(
                f"{self._where()}: tensor '{key}' has shape {str(found)[:80]}, config.json asks for {shape}."
            )
        if dtype not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise EncoderError(f"{self._where()}: tensor '{key}' is of type {dtype}, not one of {known}.")
        if dtype == "BF16":
            import ml_dtypes  # noqa: F401 - teaches numpy the type
        with np.errstate(over="ignore"):  # float64 beyond float32 is found as infinite, just below
            array = np.ascontiguousarray(self._files[key].get_tensor(key), dtype=np.float32)
        if not np.isfinite(array).all():
            raise EncoderError(f"{self._where()}: tensor '{key}' holds NaN or infinite numbers.")
        return array

    def _key(self, name: str) -> str:
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        for key in (self.prefix + name, self.prefix + old):
            if key in self._files:
                return key
        raise EncoderError(f"{self._where()}: tensor '{self.prefix}{name}' is missing.")

    def linear(self, name: str, layer: int, d_in: int, d_out: int) -> tuple[FloatArray, FloatArray]:
        """Return (weight of shape (d_in, d_out), bias of shape (d_out,)) of a layer's product."""
        key = self.family.names[name].format(i=layer)
        return self.tensor(f"{key}.weight", (d_out, d_in)).T, self.tensor(f"{key}.bias", (d_out,))

    def norm(self, name: str, layer: int) -> tuple[FloatArray, FloatArray]:
        """Return (weight, bias), both of shape (D,), of a layer's LayerNorm."""
        key, width = self.family.names[name].format(i=layer), self.architecture.width
        return self.tensor(f"{key}.weight", (width,)), self.tensor(f"{key}.bias", (width,))


def _open_all(paths: tuple[Path, ...]) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    for path in paths:
        try:
            yield safe_open(path, framework="numpy")
        except (OSError, SafetensorError) as error:
            raise EncoderError(f"{path}: not a readable safetensors file ({reason(error)}).") from error
