"""config.json and safetensors: what is read, under which names and types, what is refused in which words."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import families
from families import ROWS, Row
from firstbert import layout
from firstbert.catalog import encoder_files
from firstbert.errors import EncoderError
from firstbert.families import FAMILIES, Checkpoint, read_config
from firstbert.folders import EncoderFiles

Tensors = dict[str, np.ndarray]


def read(files: EncoderFiles) -> Tensors:
    """Everything the graph takes from a checkpoint."""
    return dict(layout.tensors(Checkpoint(files.weights, read_config(files.config))))


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_every_supported_family_has_a_row() -> None:
    assert {row.config["model_type"] for row in ROWS.values()} == set(FAMILIES)


def test_random_numbers_never_change() -> None:
    """The golden vectors rest on them. If this fails, they fail for the same reason."""
    whole = 0
    for _, array in sorted(families.tensors(families.small("mpnet")).items()):
        whole = zlib.crc32(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes(), whole)
    assert whole == 1879953017
    assert families.token_ids(ROWS["bert"], 5) == [27534, 1066, 6776, 2366, 0]


# ---------------------------------------------------------------- the same weights written in other ways


@pytest.mark.parametrize("shards", [2, 3])
@pytest.mark.parametrize("name", ROWS)
def test_shards_equal_the_single_file(name: str, shards: int, tmp_path: Path) -> None:
    row = families.small(name)
    values = families.tensors(row)
    whole = read(families.write(row, tmp_path / "whole"))
    folder = tmp_path / "sharded"
    folder.mkdir()
    index = {}
    for k in range(shards):
        shard = f"model-{k + 1:05}-of-{shards:05}.safetensors"
        part = dict(sorted(values.items())[k::shards])
        save_file(part, folder / shard)
        index |= dict.fromkeys(part, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "config.json").write_text(json.dumps(row.config))
    (folder / "tokenizer.json").write_text("{}")
    files = encoder_files(folder)
    assert len(files.weights) == shards
    assert same(read(files), whole)


def as_bfloat16(values: Tensors) -> Tensors:
    import ml_dtypes

    return {k: v.astype(ml_dtypes.bfloat16) if v.dtype == np.float32 else v for k, v in values.items()}


def as_float(dtype: type) -> Callable[[Tensors], Tensors]:
    return lambda values: {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in values.items()}


@pytest.mark.parametrize("narrow", [as_float(np.float16), as_bfloat16, as_float(np.float64)])
def test_other_float_types_equal_their_float32(narrow: Callable[[Tensors], Tensors], tmp_path: Path) -> None:
    row = families.small("bert")
    values = narrow(families.tensors(row))
    wide = {k: v if v.dtype == np.int64 else v.astype(np.float32) for k, v in values.items()}
    other = read(families.write(row, tmp_path / "other", values))
    assert same(other, read(families.write(row, tmp_path / "float32", wide)))
    assert {array.dtype for array in other.values()} == {np.dtype(np.float32)}


def renamed(row: Row, tmp_path: Path, old: str, new: str) -> EncoderFiles:
    values = families.tensors(row)
    assert any(old in key for key in values)
    return families.write(row, tmp_path, {key.replace(old, new): value for key, value in values.items()})


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra"])
def test_the_prefix_may_be_missing(name: str, tmp_path: Path) -> None:
    row = families.small(name)
    bare = renamed(row, tmp_path / "bare", row.prefix, "")
    assert same(read(bare), read(families.write(row, tmp_path / "prefixed")))


def test_the_prefix_may_be_there(tmp_path: Path) -> None:
    row = families.small("mpnet")
    values = {f"mpnet.{key}": value for key, value in families.tensors(row).items()}
    prefixed = families.write(row, tmp_path / "prefixed", values | {"lm_head.bias": np.zeros(3, np.float32)})
    assert same(read(prefixed), read(families.write(row, tmp_path / "bare")))


def test_gamma_and_beta_are_weight_and_bias(tmp_path: Path) -> None:
    row = families.small("bert")
    values = families.tensors(row)
    new = {k.replace("gamma", "weight").replace("beta", "bias"): v for k, v in values.items()}
    assert values.keys() != new.keys()
    assert same(read(families.write(row, tmp_path / "new", new)), read(families.write(row, tmp_path / "old", values)))


def test_pretraining_heads_change_nothing(tmp_path: Path) -> None:
    row = families.small("electra-small")
    heads = dict(row.heads)
    bare = {key: value for key, value in families.tensors(row).items() if key not in heads}
    assert same(read(families.write(row, tmp_path / "a", bare)), read(families.write(row, tmp_path / "b")))


# ---------------------------------------------------------------- config.json refused

WITHOUT = object()  # the entry is left out

# name of the family, entries replaced, words of the message
BAD_CONFIGS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("bert", {"model_type": "t5"}, ["model_type 't5'", "bert, distilbert, mpnet, roberta"]),
    ("bert", {"model_type": "gpt2"}, ["model_type 'gpt2'"]),
    ("bert", {"model_type": "deberta-v2"}, ["model_type 'deberta-v2'"]),
    ("bert", {"model_type": WITHOUT}, ["model_type None"]),
    ("bert", {"model_type": ["bert"]}, ["model_type a list of 1"]),
    ("bert", {"model_type": 7}, ["model_type 7"]),
    ("bert", {"is_decoder": True}, ["is_decoder", "an encoder is needed"]),
    ("bert", {"position_embedding_type": "relative_key"}, ["position_embedding_type 'relative_key'"]),
    ("electra", {"position_embedding_type": "relative_key_query"}, ["'relative_key_query'"]),
    ("mpnet", {"relative_attention_num_buckets": 64}, ["relative_attention_num_buckets 64", "only 32"]),
    ("bert", {"hidden_act": "silu"}, ["activation 'silu'", "gelu_new"]),
    ("bert", {"hidden_act": ["gelu"]}, ["activation a list of 1"]),
    ("distilbert", {"activation": "tanh"}, ["activation 'tanh'"]),
    ("bert", {"hidden_size": WITHOUT}, ["'hidden_size' must be an int", "None"]),
    ("distilbert", {"dim": WITHOUT}, ["'dim' must be an int"]),
    ("distilbert", {"n_layers": 0}, ["'n_layers'", "Got 0"]),
    ("bert", {"vocab_size": WITHOUT}, ["'vocab_size'"]),
    ("bert", {"max_position_embeddings": None}, ["'max_position_embeddings'"]),
    ("bert", {"num_hidden_layers": 0}, ["'num_hidden_layers'", "Got 0"]),
    ("bert", {"num_hidden_layers": -3}, ["'num_hidden_layers'", "Got -3"]),
    ("bert", {"num_hidden_layers": True}, ["'num_hidden_layers'", "Got True"]),
    ("bert", {"num_hidden_layers": 10**12}, ["'num_hidden_layers'", "[1, 128]"]),
    ("bert", {"hidden_size": "64"}, ["'hidden_size'", "Got '64'"]),
    ("bert", {"hidden_size": 64.0}, ["'hidden_size'", "Got 64.0"]),
    ("bert", {"hidden_size": {"a": 1}}, ["'hidden_size'"]),
    ("bert", {"vocab_size": 10**30}, ["'vocab_size'"]),
    ("bert", {"intermediate_size": 0}, ["'intermediate_size'"]),
    ("bert", {"type_vocab_size": 0}, ["'type_vocab_size'"]),
    ("bert", {"num_attention_heads": 5}, ["width of 64", "5 attention heads"]),
    ("bert", {"num_attention_heads": 0}, ["'num_attention_heads'"]),
    ("electra-small", {"embedding_size": -1}, ["'embedding_size'"]),
    ("roberta", {"pad_token_id": -1}, ["'pad_token_id'"]),
    ("roberta", {"pad_token_id": 600}, ["514 position rows", "601"]),
    ("bert", {"layer_norm_eps": 0}, ["'layer_norm_eps'", "Got 0"]),
    ("bert", {"layer_norm_eps": float("nan")}, ["NaN is no number"]),
    ("bert", {"layer_norm_eps": "1e-12"}, ["'layer_norm_eps'", "'1e-12'"]),
]


@pytest.mark.parametrize(("name", "entries", "words"), BAD_CONFIGS)
def test_bad_config(name: str, entries: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    config = families.small(name).config | entries
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not WITHOUT}))
    with pytest.raises(EncoderError) as caught:
        read_config(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


BAD_JSON = {
    "no JSON": b"hidden_size: 64",
    "empty": b"",
    "cut": b'{"model_type": "bert", "hidden_',
    "a list": b"[1, 2]",
    "a number": b"7",
    "nested": b"[" * 200_000,
    "nested objects": b'{"a":' * 200_000,
    "a number of many digits": b'{"hidden_size": ' + b"9" * 10_000 + b"}",
    "not UTF-8": b'{"model_type": "\xff\xfe"}',
    "zeros": bytes(1000),
    "far too large": b" " * 10_000_001,
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_config_that_is_no_config(case: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(BAD_JSON[case])
    with pytest.raises(EncoderError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_config_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "config.json", tmp_path):
        with pytest.raises(EncoderError, match="read"):
            read_config(path)


# ---------------------------------------------------------------- safetensors refused

QUERY = "bert.encoder.layer.1.attention.self.query.weight"
WORDS = "bert.embeddings.word_embeddings.weight"


def changed(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], Tensors]:
    return lambda values: values | {key: change(values[key])}


def without(*keys: str) -> Callable[[Tensors], Tensors]:
    return lambda values: {key: value for key, value in values.items() if key not in keys}


def with_one(number: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[3, 5] = number
        return array

    return change


BAD_TENSORS: dict[str, tuple[Callable[[Tensors], Tensors], list[str]]] = {
    "missing": (without(QUERY), [QUERY, "missing"]),
    "missing bias": (without(QUERY.replace("weight", "bias")), [QUERY.replace("weight", "bias"), "missing"]),
    "missing norm": (
        without("bert.encoder.layer.0.output.LayerNorm.gamma"),
        ["bert.encoder.layer.0.output.LayerNorm.weight", "missing"],
    ),
    "no words": (without(WORDS), ["embeddings.word_embeddings.weight", "'bert.'"]),
    "nothing": (lambda values: {}, ["embeddings.word_embeddings.weight"]),
    "a layer short": (
        lambda values: {key: value for key, value in values.items() if "layer.1." not in key},
        ["bert.encoder.layer.1.", "missing"],
    ),
    "transposed": (
        changed("bert.encoder.layer.0.intermediate.dense.weight", lambda a: np.ascontiguousarray(a.T)),
        ["bert.encoder.layer.0.intermediate.dense.weight", "(64, 128)", "(128, 64)"],
    ),
    "flat": (changed(QUERY, lambda a: a.reshape(-1)), [QUERY, "(4096,)", "(64, 64)"]),
    "a word short": (changed(WORDS, lambda a: a[:-1]), [WORDS, "(99, 64)", "(100, 64)"]),
    "no dimension": (
        changed("bert.embeddings.token_type_embeddings.weight", lambda a: np.array(a[0, 0])),
        ["token_type_embeddings", "()", "(2, 64)"],
    ),
    "no row": (
        changed("bert.embeddings.token_type_embeddings.weight", lambda a: a[:0]),
        ["token_type_embeddings", "(0, 64)", "(2, 64)"],
    ),
    "whole numbers": (changed(QUERY, lambda a: a.astype(np.int32)), [QUERY, "I32", "F32, F16, BF16, F64"]),
    "bytes": (changed(QUERY, lambda a: a.astype(np.uint8)), [QUERY, "U8"]),
    "NaN": (changed(QUERY, with_one(np.nan)), [QUERY, "NaN"]),
    "infinite": (changed(WORDS, with_one(-np.inf)), [WORDS, "infinite"]),
    "beyond float32": (
        changed(QUERY, lambda a: np.full_like(a, 1e300, dtype=np.float64)),
        [QUERY, "infinite"],
    ),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensor(case: str, tmp_path: Path) -> None:
    change, words = BAD_TENSORS[case]
    row = families.small("bert")
    files = families.write(row, tmp_path / "model", change(families.tensors(row)))
    with pytest.raises(EncoderError) as caught:
        read(files)
    for word in [str(files.weights[0]), *words]:
        assert word in str(caught.value)


BAD_FILES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda good: good[: len(good) // 2],
    "a byte short": lambda good: good[:-1],
    "header alone": lambda good: good[:8],
    "empty": lambda good: b"",
    "text": lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 90868376\n",
    "a pickle": lambda good: b"\x80\x02}q\x00.",
    "a header too long": lambda good: b"\xff" * 8 + good[8:],
    "zeros": lambda good: bytes(1000),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_safetensors(case: str, tmp_path: Path) -> None:
    files = families.write(families.small("bert"), tmp_path / "model")
    weights = files.weights[0]
    weights.write_bytes(BAD_FILES[case](weights.read_bytes()))
    with pytest.raises(EncoderError) as caught:
        read(files)
    assert str(weights) in str(caught.value)
    assert "safetensors" in str(caught.value)


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    files = families.write(families.small("bert"), tmp_path / "model")
    gone = tmp_path / "model" / "model-00002-of-00002.safetensors"
    with pytest.raises(EncoderError, match=r"model-00002-of-00002\.safetensors"):
        read(families.files(files.config.parent, "model.safetensors", gone.name))
