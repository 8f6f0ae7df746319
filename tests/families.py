"""One row per encoder family: a checkpoint of its real shape and key names, filled with random numbers.

A row holds config.json as the family's best known checkpoint writes it, and the names and shapes of all its
tensors, with the heads and the odd names that pretraining left in the file. `write` makes the folder. The
numbers depend on nothing but the names of row and tensor, so the golden vectors (make_golden.py) hold on any
machine.

To add a family: a row here, an entry in `firstbert.families.FAMILIES`, then run make_golden.py.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from firstbert.catalog import EncoderFiles

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A family's checkpoint.

    Attributes:
        name: of the test case.
        config: config.json.
        prefix: what stands before the encoder's own tensors.
        heads: tensors of pretraining heads and poolers, which an encoder ignores; D, E and V stand for sizes.
        old_norms: LayerNorm's tensors are called gamma and beta.
        position_ids: the file holds int64 position numbers, as older versions of transformers saved them.
    """

    name: str
    config: dict[str, Any]
    prefix: str = ""
    heads: tuple[tuple[str, str], ...] = ()
    old_norms: bool = False
    position_ids: bool = False

    def size(self, *names: str) -> int:
        return next(self.config[name] for name in names if name in self.config)

    @property
    def layers(self) -> int:
        return self.size("num_hidden_layers", "n_layers")

    @property
    def width(self) -> int:
        return self.size("hidden_size", "dim")

    @property
    def vocabulary(self) -> int:
        return self.size("vocab_size")

    @property
    def padding_id(self) -> int:
        return self.size("pad_token_id")

    @property
    def counts_from_padding(self) -> bool:
        return self.config["model_type"] in ("mpnet", "roberta", "xlm-roberta", "camembert")


# ---------------------------------------------------------------- config.json as the checkpoints write it

_BERT = {
    "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 0, "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0", "type_vocab_size": 2, "use_cache": True, "vocab_size": 30522,
}  # fmt: skip
_DISTILBERT = {
    "activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "attention_dropout": 0.1,
    "dim": 768, "dropout": 0.1, "hidden_dim": 3072, "initializer_range": 0.02,
    "max_position_embeddings": 512, "model_type": "distilbert", "n_heads": 12, "n_layers": 6,
    "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False,
    "tie_weights_": True, "transformers_version": "4.10.0.dev0", "vocab_size": 30522,
}  # fmt: skip
_MPNET = {
    "architectures": ["MPNetForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
    "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514, "model_type": "mpnet", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 1, "relative_attention_num_buckets": 32,
    "transformers_version": "4.8.2", "vocab_size": 30527,
}  # fmt: skip
_ROBERTA = {
    "architectures": ["RobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
    "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514, "model_type": "roberta", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 1, "type_vocab_size": 1, "vocab_size": 50265,
}  # fmt: skip
# The real word tables of these two have 250,002 and 32,005 rows; 2,000 show the same and save a gigabyte.
_XLM_ROBERTA = _ROBERTA | {
    "architectures": ["XLMRobertaForMaskedLM"], "model_type": "xlm-roberta", "output_past": True,
    "position_embedding_type": "absolute", "transformers_version": "4.17.0.dev0", "use_cache": True,
    "vocab_size": 2000,
}  # fmt: skip
_CAMEMBERT = _ROBERTA | {
    "architectures": ["CamembertForMaskedLM"], "bos_token_id": 5, "eos_token_id": 6,
    "model_type": "camembert", "output_past": True, "vocab_size": 2000,
}  # fmt: skip
_ELECTRA_BASE = {
    "architectures": ["ElectraForPreTraining"], "attention_probs_dropout_prob": 0.1,
    "embedding_size": 768, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512, "model_type": "electra", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 30522,
}  # fmt: skip
_ELECTRA_SMALL = _ELECTRA_BASE | {
    "embedding_size": 128, "hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4,
    "position_embedding_type": "absolute", "summary_activation": "gelu", "summary_last_dropout": 0.1,
    "summary_type": "first", "summary_use_proj": True, "transformers_version": "4.9.0.dev0",
}  # fmt: skip

_BERT_HEADS = (
    ("bert.pooler.dense.weight", "D D"), ("bert.pooler.dense.bias", "D"),
    ("cls.predictions.bias", "V"), ("cls.predictions.transform.dense.weight", "D D"),
    ("cls.predictions.transform.dense.bias", "D"), ("cls.predictions.transform.LayerNorm.gamma", "D"),
    ("cls.predictions.transform.LayerNorm.beta", "D"), ("cls.seq_relationship.weight", "2 D"),
    ("cls.seq_relationship.bias", "2"),
)  # fmt: skip
_DISTILBERT_HEADS = (
    ("vocab_transform.weight", "D D"), ("vocab_transform.bias", "D"), ("vocab_layer_norm.weight", "D"),
    ("vocab_layer_norm.bias", "D"), ("vocab_projector.bias", "V"),
)  # fmt: skip
_ROBERTA_HEADS = (
    ("lm_head.bias", "V"), ("lm_head.dense.weight", "D D"), ("lm_head.dense.bias", "D"),
    ("lm_head.layer_norm.weight", "D"), ("lm_head.layer_norm.bias", "D"),
)  # fmt: skip
_ELECTRA_HEADS = (
    ("discriminator_predictions.dense.weight", "D D"), ("discriminator_predictions.dense.bias", "D"),
    ("discriminator_predictions.dense_prediction.weight", "1 D"),
    ("discriminator_predictions.dense_prediction.bias", "1"),
)  # fmt: skip
_POOLER = (("pooler.dense.weight", "D D"), ("pooler.dense.bias", "D"))

ROWS = {
    row.name: row
    for row in (
        Row("bert", _BERT, "bert.", _BERT_HEADS, old_norms=True),
        Row("distilbert", _DISTILBERT, "distilbert.", _DISTILBERT_HEADS),
        Row("mpnet", _MPNET, "", _POOLER, position_ids=True),
        Row("roberta", _ROBERTA, "roberta.", _ROBERTA_HEADS, position_ids=True),
        Row("xlm-roberta", _XLM_ROBERTA, "roberta.", _ROBERTA_HEADS, position_ids=True),
        Row("camembert", _CAMEMBERT, "roberta.", _ROBERTA_HEADS),
        Row("electra", _ELECTRA_BASE, "electra.", _ELECTRA_HEADS),
        Row("electra-small", _ELECTRA_SMALL, "electra.", _ELECTRA_HEADS, position_ids=True),
    )
}

_SMALL_BERT = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 128}
_SMALL_DISTILBERT = {"dim": 64, "n_heads": 4, "n_layers": 2, "hidden_dim": 128}


def small(name: str, **config: Any) -> Row:
    """The same family with 2 layers of width 64 and 100 words; `config` replaces further entries."""
    row = ROWS[name]
    sizes = _SMALL_DISTILBERT if name == "distilbert" else _SMALL_BERT
    if "embedding_size" in row.config:
        sizes = sizes | {"embedding_size": 32 if name == "electra-small" else 64}
    return replace(row, name=f"small {name}", config=row.config | sizes | {"vocab_size": 100} | config)


# ---------------------------------------------------------------- names and shapes


def shapes(row: Row) -> dict[str, Shape]:
    """Every float tensor of the checkpoint: its full name and shape."""
    own = {row.prefix + name: shape for name, shape in _encoder_shapes(row)}
    sizes = {"D": row.width, "V": row.vocabulary}
    heads = {name: tuple(sizes.get(s) or int(s) for s in shape.split()) for name, shape in row.heads}
    return own | heads


def _encoder_shapes(row: Row) -> Iterator[tuple[str, Shape]]:
    yield from _embedding_shapes(row)
    kind = row.config["model_type"]
    layer = {"distilbert": _distilbert_layer, "mpnet": _mpnet_layer}.get(kind, _bert_layer)
    for i in range(row.layers):
        yield from layer(row, i)


def _embedding_shapes(row: Row) -> Iterator[tuple[str, Shape]]:
    D, kind = row.width, row.config["model_type"]
    E = row.config.get("embedding_size", D)
    yield "embeddings.word_embeddings.weight", (row.vocabulary, E)
    yield "embeddings.position_embeddings.weight", (row.size("max_position_embeddings"), E)
    if "type_vocab_size" in row.config:
        yield "embeddings.token_type_embeddings.weight", (row.size("type_vocab_size"), E)
    yield from _norm("embeddings.LayerNorm", E, row.old_norms)
    if E != D:
        yield from _linear("embeddings_project", E, D)
    if kind == "mpnet":
        yield "encoder.relative_attention_bias.weight", (32, row.size("num_attention_heads"))


def _bert_layer(row: Row, i: int) -> Iterator[tuple[str, Shape]]:
    D, F, at = row.width, row.size("intermediate_size"), f"encoder.layer.{i}"
    for part in ("query", "key", "value"):
        yield from _linear(f"{at}.attention.self.{part}", D, D)
    yield from _linear(f"{at}.attention.output.dense", D, D)
    yield from _norm(f"{at}.attention.output.LayerNorm", D, row.old_norms)
    yield from _bert_feed_forward(row, at, D, F)


def _mpnet_layer(row: Row, i: int) -> Iterator[tuple[str, Shape]]:
    D, F, at = row.width, row.size("intermediate_size"), f"encoder.layer.{i}"
    for part in ("q", "k", "v", "o"):
        yield from _linear(f"{at}.attention.attn.{part}", D, D)
    yield from _norm(f"{at}.attention.LayerNorm", D, row.old_norms)
    yield from _bert_feed_forward(row, at, D, F)


def _bert_feed_forward(row: Row, at: str, D: int, F: int) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{at}.intermediate.dense", D, F)
    yield from _linear(f"{at}.output.dense", F, D)
    yield from _norm(f"{at}.output.LayerNorm", D, row.old_norms)


def _distilbert_layer(row: Row, i: int) -> Iterator[tuple[str, Shape]]:
    D, F, at = row.width, row.size("hidden_dim"), f"transformer.layer.{i}"
    for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
        yield from _linear(f"{at}.attention.{part}", D, D)
    yield from _norm(f"{at}.sa_layer_norm", D, old=False)
    yield from _linear(f"{at}.ffn.lin1", D, F)
    yield from _linear(f"{at}.ffn.lin2", F, D)
    yield from _norm(f"{at}.output_layer_norm", D, old=False)


def _linear(name: str, d_in: int, d_out: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (d_out, d_in)
    yield f"{name}.bias", (d_out,)


def _norm(name: str, width: int, old: bool) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.{'gamma' if old else 'weight'}", (width,)
    yield f"{name}.{'beta' if old else 'bias'}", (width,)


# ---------------------------------------------------------------- numbers


def _stream(name: str) -> np.random.RandomState:
    """A generator of its own for each name; numpy has promised never to change what RandomState gives."""
    return np.random.RandomState(zlib.crc32(name.encode()))


def uniform(name: str, shape: Shape, std: float) -> np.ndarray:
    """Evenly spread float32 of mean 0, from 16 random bits each: a tenth of the time normal ones take."""
    bits = np.frombuffer(_stream(name).bytes(2 * prod(shape)), "<u2")
    numbers = bits.astype(np.float32)
    numbers -= np.float32(32767.5)
    numbers *= np.float32(std * sqrt(12) / 65536)
    return numbers.reshape(shape)


def _values(row: str, name: str, shape: Shape) -> np.ndarray:
    """Numbers of the size that trained checkpoints have: attention is far from flat, no LayerNorm near 0."""
    seed = f"{row} {name}"
    if "embeddings.weight" in name:
        return uniform(seed, shape, 0.05)
    if "relative_attention_bias" in name:
        return uniform(seed, shape, 1.0)
    if "norm" in name.lower() and name.endswith(("weight", "gamma")):
        return 1 + uniform(seed, shape, 0.2)
    if len(shape) == 1:
        return uniform(seed, shape, 0.1)
    return uniform(seed, shape, 1.1 / sqrt(shape[1]))  # 0.04 at a width of 768, as BERT's


def tensors(row: Row) -> dict[str, np.ndarray]:
    """All tensors of the checkpoint, int64 ones included."""
    values = {name: _values(row.name, name, shape) for name, shape in shapes(row).items()}
    if row.position_ids:
        values[f"{row.prefix}embeddings.position_ids"] = np.arange(row.size("max_position_embeddings"))[None]
    return values


def token_ids(row: Row, length: int, seed: str = "") -> list[int]:
    """Random ids of the whole vocabulary; each ninth is the padding id, which MPNet and RoBERTa skip."""
    words = np.frombuffer(_stream(f"{row.name} {length} {seed}").bytes(4 * length), "<u4") % row.vocabulary
    words[4::9] = row.padding_id
    return [int(word) for word in words]


# ---------------------------------------------------------------- folders


def write(row: Row, folder: Path, values: dict[str, np.ndarray] | None = None) -> EncoderFiles:
    """Write config.json and model.safetensors into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(row.config, indent=2))
    save_file(tensors(row) if values is None else values, folder / "model.safetensors", {"format": "pt"})
    return files(folder)


def files(folder: Path, *weights: str) -> EncoderFiles:
    """The folder as the catalogue would describe it."""
    paths = tuple(folder / name for name in weights or ("model.safetensors",))
    return EncoderFiles(
        name=folder.name,
        config=folder / "config.json",
        tokenizer=folder / "tokenizer.json",
        weights=paths,
        pooling=None,
        pinned=False,
    )
