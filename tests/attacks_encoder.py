"""What may be done to the encoder in a model folder."""

from __future__ import annotations

import base64
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from ways import (
    CONFIG,
    OUTSIDE,
    PICKLE,
    TOKENIZER,
    WEIGHTS,
    Attack,
    Change,
    both,
    fact,
    linked,
    removed,
    replaced,
    safetensors,
    tensors,
)

# ---------------------------------------------------------------- the encoder


_CONFIG: list[tuple[str, list[Any]]] = [
    ("model_type", [..., None, 5, "gpt2", ["bert"], "auto", "../bert", "\x1b[2J"]),
    ("hidden_size", [..., None, 0, -8, 7, 10**12, 1e3, "8", True]),
    ("num_attention_heads", [..., 0, -1, 3, 10**9, None]),
    ("num_hidden_layers", [..., 0, -1, 10**9, 129, 100, 2.0]),
    ("intermediate_size", [..., 0, -16, 10**12, "16"]),
    ("vocab_size", [..., 0, -1, 10**12, 9_000_000, 50, None]),
    ("max_position_embeddings", [..., 0, -1, 10**12, 900_000]),
    ("type_vocab_size", [0, -1, 10**12, "2"]),
    ("layer_norm_eps", [0, -1, 2, "1e-12", None, True]),
    ("hidden_act", ["__import__('os').system('x')", 5, ["gelu"], "swiglu"]),
    ("position_embedding_type", ["relative_key", 5, ["absolute"]]),
    ("is_decoder", [True, "yes", [1]]),
]  # fmt: skip


def _config() -> Iterator[Attack]:
    for place, values in _CONFIG:
        for value in values:
            shown = "missing" if value is ... else json.dumps(value)[:24]
            yield Attack(f"{CONFIG} {place} {shown}", fact(CONFIG, place, value), "encoder")
    for name, content in {
        "a list": b"[1]",
        "twice the same key": b'{"model_type": "bert", "model_type": "mpnet"}',
    }.items():
        yield Attack(f"{CONFIG} {name}", replaced(CONFIG, content), CONFIG)


def _weights() -> Iterator[Attack]:
    name = "embeddings.word_embeddings.weight"

    def to(make: Callable[[Any], Any]) -> Change:
        def edit(found: dict[str, Any]) -> None:
            key = next(key for key in found if key.endswith(name))
            found[key] = make(found[key])

        return tensors(WEIGHTS, edit)

    first, second = "bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight"
    yield from safetensors(WEIGHTS, first, second)
    for what, make in {
        "NaN": lambda a: a * np.float32("nan"), "infinite": lambda a: a / np.float32(0),
        "beyond float32": lambda a: a.astype(np.float64) * 1e300, "whole numbers": lambda a: a.astype(np.int64),
        "of another width": lambda a: a[:, :-1].copy(), "fewer words": lambda a: a[:-1].copy(),
        "flat": lambda a: a.ravel(),
        "without numbers": lambda a: a[:0].copy(), "of bool": lambda a: a > 0,
    }.items():  # fmt: skip
        yield Attack(f"{WEIGHTS} {what}", to(make), WEIGHTS)
    yield Attack(f"{WEIGHTS} huge", tensors(WEIGHTS, lambda found: _scaled(found, 1e37)), WEIGHTS)
    yield Attack(f"{WEIGHTS} another one", lambda folder: _flipped(folder / WEIGHTS), WEIGHTS, "sha256")
    yield Attack(f"{WEIGHTS} with none of its tensors", replaced(WEIGHTS, save_tensors({"a": np.zeros(3)})), WEIGHTS)
    # A folder with a pickle alone, and lists of shards that lead elsewhere.
    yield Attack(
        "a pickle for weights", lambda f: (f / WEIGHTS).rename(f / "encoder" / "pytorch_model.bin"), "encoder", "pickle"
    )
    shards = [
        "../../../outside/model.safetensors", "/dev/zero", "..", "", "a\0.safetensors", "pytorch_model.bin",
        "con.safetensors",
        "sub/model.safetensors", "\x1b[2J.safetensors",
    ]  # fmt: skip
    for shard in shards:
        yield Attack(f"a shard {shard!r}", _shards({"weight_map": {"a": shard}}), "encoder")
    for what, table in {"a list": {"weight_map": ["a"]}, "none": {}, "numbers": {"weight_map": {"a": 5}}}.items():
        yield Attack(f"shards: {what}", _shards(table), "encoder/model.safetensors.index.json")


def _scaled(found: dict[str, Any], by: float) -> None:
    for key, array in found.items():
        if array.dtype == np.float32:
            found[key] = array * np.float32(by)


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def _shards(table: dict[str, Any]) -> Change:
    def change(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        (folder / "encoder" / "model.safetensors.index.json").write_text(json.dumps(table))

    return change


_SLOW = r"(a+)+$"
_TEMPLATE = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
_TOKENIZER: list[tuple[str, list[Any]]] = [
    ("model", [..., None, 5, {}, {"type": "Lua"}]),
    ("model/type", ["Python", None]),
    ("model/vocab", [..., [], {"a": -1}, {"a": "x"}, {"a": 2**40}, {}, {"[UNK]": 10**6}]),
    ("model/max_input_chars_per_word", [0, -1, 10**9, "100"]),
    ("model/unk_token", ["x" * 500, "nowhere", 5]),
    ("model/continuing_subword_prefix", ["x" * 500, 5]),
    ("normalizer", [
        5, {"type": "Lua"}, {"type": "Replace", "pattern": {"Regex": _SLOW}, "content": ""},
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100_000},
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 30},
        {"type": "Sequence", "normalizers": [{"type": "Lowercase"}] * 1000}, {"type": "Prepend",
        "prepend": "a" * 10_000},
        {"type": "Precompiled", "precompiled_charsmap": "!"}, {"type": "Replace", "pattern": {"Regex": "("},
        "content": ""},
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(struct.pack("<I",
        4) + b"\1\0\0\0" + b"a" * 10_000).decode()},
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(struct.pack("<I", 2**31) + b"abc").decode()},
        {"type": "Replace", "pattern": {"String": ""}, "content": "a"}, {"type": "Sequence", "normalizers": 5},
    ]),
    ("pre_tokenizer", [
        5, "Sequence", {"type": "Split", "pattern": {"Regex": _SLOW}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"Regex": "(?:" * 2000}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Removed", "invert": False},
        {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": True,
        "trim_offsets": True}] * 20},
        {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(.*)*b"},
        "behavior": "Isolated", "invert": False}]},
    ]),
    ("post_processor", [
        None, 5, {"type": "Lua"}, {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [_TEMPLATE[0]] * 5000 + [_TEMPLATE[1]], "pair": _TEMPLATE,
        "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [*_TEMPLATE, _TEMPLATE[1]], "pair": _TEMPLATE, "special_tokens": {}},
        {"type": "TemplateProcessing", "single": _TEMPLATE, "pair": _TEMPLATE, "special_tokens": {}},
        {"type": "BertProcessing", "sep": ["[SEP]", 10**6], "cls": ["[CLS]", 2]}, {"type": "BertProcessing", "sep": 5,
        "cls": 5},
        {"type": "TemplateProcessing", "single": _TEMPLATE, "pair": _TEMPLATE, "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [4_000_000_000], "tokens": ["[CLS]"]}}},
    ]),
    ("post_processor/single", [5, "x", None, [5, 6], [_TEMPLATE[1], {"SpecialToken": {"id": ["[CLS]"],
    "type_id": 0}}]]),
    ("post_processor/special_tokens", [{name: {"id": name, "ids": ids, "tokens": tokens} for name in ("[CLS]", "[SEP]")}
        for ids, tokens in (([2], []), ([2, 3], ["[CLS]"]), ([], ["[CLS]"]), ([-1], ["[CLS]"]), ([True], ["[CLS]"]),
        (2, "[CLS]"), ([2] * 100_000, ["[CLS]"] * 100_000))]),
    ("added_tokens", [5, "x", [5], [{}], [{"id": -1, "content": "a"}], [{"id": 5, "content": "a" * 2_000_000}]]),
    ("decoder", [5, {"type": "Replace", "pattern": {"Regex": _SLOW}, "content": ""}]),
    ("truncation", [5, {"direction": "Up", "max_length": -1, "strategy": "x", "stride": 0}]),
    ("padding", [5, {"strategy": {"Fixed": -1}}]),
    ("version", ["99", 5]),
]  # fmt: skip


def _tokenizer() -> Iterator[Attack]:
    for place, values in _TOKENIZER:
        for i, value in enumerate(values):
            yield Attack(f"{TOKENIZER} {place} {i}", fact(TOKENIZER, place, value), TOKENIZER)
    dropout = {"type": "BPE", "dropout": 0.5, "unk_token": None, "vocab": {"a": 0}, "merges": [], "fuse_unk": False}
    yield Attack(f"{TOKENIZER} that answers by chance", fact(TOKENIZER, "model", dropout), TOKENIZER, "dropout")
    yield Attack(f"{TOKENIZER} of 60 MB", replaced(TOKENIZER, b" " * 60_000_000), TOKENIZER)

    def vocabulary(content: bytes) -> Change:
        return both(removed(TOKENIZER), replaced("encoder/vocab.txt", content))

    for name, content in {
        "without [CLS]": b"a\nb\n", "empty": b"", "not UTF-8": b"[CLS]\n[SEP]\n[UNK]\n\xff\n",
        "of a line": b"a" * 1_000_000,
        "too large": b"[UNK]\n[CLS]\n[SEP]\n" + b"".join(b"%d\n" % i for i in range(200)),
    }.items():  # fmt: skip
        yield Attack(f"vocab.txt {name}", vocabulary(content), "encoder/vocab.txt")
    options = "encoder/tokenizer_config.json"
    for content in (b'{"do_lower_case": "false"}', b'{"tokenizer_class": "\\u001b[2J"}', b'{"a":' + b"[" * 100_000):
        change = both(vocabulary(b"[UNK]\n[CLS]\n[SEP]\n"), replaced(options, content))
        yield Attack(f"{options} {content[:30]!r}", change, options)
    pooling = "encoder/1_Pooling/config.json"
    note = both(lambda folder: (folder / pooling).parent.mkdir(), replaced(pooling, b"{}"))
    deep = replaced(pooling, b'{"a":' + b"[" * 100_000)
    yield Attack("a note on pooling that is deep", both(note, deep), pooling)
    modules = both(note, replaced("encoder/modules.json", b'[{"type": ["os.system"]}]'))
    yield Attack("modules that are none", modules, "encoder/modules.json")
    yield Attack(
        "a note on pooling that leads out", both(note, linked(pooling, f"../../{OUTSIDE}/config.json")), pooling
    )


def _encoder_folder() -> Iterator[Attack]:
    def moved(to: str) -> Change:
        def change(folder: Path) -> None:
            shutil.rmtree(folder / "encoder")
            (folder / "encoder").symlink_to(to)

        return change

    def file(folder: Path) -> None:
        shutil.rmtree(folder / "encoder")
        (folder / "encoder").write_bytes(PICKLE)

    yield Attack("encoder a link out", moved(OUTSIDE), "encoder")
    yield Attack("encoder a link to itself", moved("encoder"), "encoder")
    yield Attack("encoder a link to /", moved("/"), "encoder")
    yield Attack("encoder a file", file, "encoder")
    yield Attack("encoder missing", lambda folder: shutil.rmtree(folder / "encoder"), "encoder")


def attacks() -> Iterator[Attack]:
    """All of them."""
    yield from (*_config(), *_weights(), *_tokenizer(), *_encoder_folder())
