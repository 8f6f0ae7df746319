"""Encoders' folders: `encoder_files`, `read_config` and `Tokenizer` take or refuse them; what is taken reads texts."""

from __future__ import annotations

import json
from typing import Any

from firstbert.catalog import encoder_files
from firstbert.errors import FirstbertError
from firstbert.families import read_config
from firstbert.tokens import Tokenizer
from fuzz.place import filled, joined, split

NAMES = ("config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json", "model.safetensors.index.json",
         "1_Pooling/config.json", "model.safetensors")  # fmt: skip
TEXTS = [
    "",
    "a warm film",
    "naïve café 日本 😀 ﬁ",
    "A" * 300,
    "it's so so so so so so so so",
    "\u0130\u200d\u0301\0 \ufffd",
]


def one(content: bytes) -> bool:
    """Open the encoder of a folder as far as texts need it. A file without a byte is left out."""
    parts = {name: data for name, data in split(content, NAMES).items() if data}
    (folder := filled("encoder", {}, ())).mkdir(exist_ok=True)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    filled("encoder", parts, NAMES)
    try:
        files = encoder_files(str(folder))
        architecture = read_config(files.config)
        tokenizer = Tokenizer(files.tokenizer, min(16, architecture.positions), architecture.vocabulary)
        tokens = tokenizer(TEXTS)
        pieces = [tokenizer.pieces(text) for text in TEXTS]
    except FirstbertError:
        return False
    assert len(tokens.ids) == len(tokens.truncated) == len(TEXTS), "a text is lost"
    assert all(0 < len(ids) <= 16 and max(ids) < architecture.vocabulary for ids in tokens.ids), "an id is out of range"
    assert [[piece.id for piece in row] for row in pieces] == tokens.ids, "explaining reads other tokens"
    return True


def config(**others: Any) -> dict[str, Any]:
    """Return a small BERT's config.json."""
    return {"model_type": "bert", "hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 40,
            "intermediate_size": 4, "max_position_embeddings": 16, "type_vocab_size": 2} | others  # fmt: skip


_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "warm", "film", "it", "'", "s", "so", "##s", "na", "##i", "##ve"]


def _around(first: str, last: str) -> dict[str, Any]:
    """What puts a token before and behind a text."""
    parts = [{"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
             {"SpecialToken": {"id": last, "type_id": 0}}]  # fmt: skip
    tokens = {token: {"id": token, "ids": [i], "tokens": [token]} for i, token in ((2, first), (3, last))}
    return {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": tokens}


def _added(*tokens: str) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": i, "content": token} | flags for i, token in enumerate(tokens)]


def wordpiece() -> dict[str, Any]:
    """Return a tokenizer.json like BERT's, with the fixed padding and truncation that some have."""
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                  "lowercase": True}  # fmt: skip
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(_WORDS)}}  # fmt: skip
    padding = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
               "pad_type_id": 0, "pad_token": "[PAD]"}  # fmt: skip
    cut = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    return {"version": "1.0", "truncation": cut, "padding": padding, "added_tokens": _added(*_WORDS[:4]),
            "normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": _around("[CLS]", "[SEP]"), "decoder": None, "model": model}  # fmt: skip


def bytewise() -> dict[str, Any]:
    """Return one like RoBERTa's."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *"abflmrsw", "Ġ", "so", "Ġso"]
    vocabulary = {word: i for i, word in enumerate([*words, "o", "i"])}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
             "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
             "vocab": vocabulary, "merges": [["s", "o"], ["Ġ", "so"]]}  # fmt: skip
    spaced = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    around = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
              "add_prefix_space": False}  # fmt: skip
    return wordpiece() | {"normalizer": None, "pre_tokenizer": spaced, "post_processor": around, "model": model,
                          "added_tokens": _added(*words[:4]), "padding": None, "truncation": None}  # fmt: skip


def unigram() -> dict[str, Any]:
    """Return one like XLM-RoBERTa's."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "▁so", "s", "o", "film"]
    vocabulary = [[word, -float(i)] for i, word in enumerate(words)]
    spaced = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    steps = [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]
    return wordpiece() | {"normalizer": {"type": "Sequence", "normalizers": steps}, "pre_tokenizer": spaced,
                          "post_processor": _around("<s>", "</s>"), "added_tokens": _added(*words[:4]),
                          "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": False, "vocab": vocabulary},
                          "padding": None, "truncation": None}  # fmt: skip


def seeds() -> dict[str, bytes]:
    """Return folders with each kind of tokenizer, an index of shards, and notes on pooling."""
    weights, none = b"{}", b""
    shards = json.dumps({"weight_map": {"a": "model.safetensors"}}).encode()
    pooling = json.dumps({"pooling_mode_mean_tokens": True, "word_embedding_dimension": 4}).encode()
    made = {kind.__name__: (config(), json.dumps(kind()).encode()) for kind in (wordpiece, bytewise, unigram)}
    made["bytewise"] = (config(model_type="roberta", max_position_embeddings=18, pad_token_id=1), made["bytewise"][1])
    distilled = {"model_type": "distilbert", "dim": 4, "n_heads": 2, "n_layers": 1, "hidden_dim": 4, "vocab_size": 40,
                 "max_position_embeddings": 16, "activation": "gelu"}  # fmt: skip
    found = {
        name: [json.dumps(one).encode(), tokens, none, none, none, pooling, weights]
        for name, (one, tokens) in made.items()
    }
    words = "\n".join(_WORDS).encode()
    found["vocabulary"] = [
        json.dumps(distilled).encode(),
        none,
        words,
        b'{"do_lower_case": false}',
        shards,
        none,
        weights,
    ]
    return {name: joined(dict(zip(NAMES, parts, strict=True))) for name, parts in found.items()}
