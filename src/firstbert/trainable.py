"""An encoder's folder → an encoder and a head that learn together; and back into a folder, as encoders lie on disk.

After torch_session.py on the way of a sentence; tuning.py trains it. Any family that transformers builds will do.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from firstbert.batches import Batch
from firstbert.catalog import EncoderFiles
from firstbert.errors import UsageError, missing_extra
from firstbert.graph import Pooling
from firstbert.torch_model import load_model, quiet
from firstbert.torch_session import layer_list, pooled, real_tokens

Tune = int | Literal["all", "lora"]

LORA_RANK = 16
_FILES_OF_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


class Trainable:
    """An encoder cut after a layer, the pooling of its last states, and a linear head.

    Args:
        files: the encoder's.
        layer: the layer that is read, from 1; those above are cut off, also in what is saved.
        pooling: of its states.
        classes: C, rows of the head.
        tune: ``"all"``: every layer learns; a number: that many of the uppermost; ``"lora"``: matrices of rank 16
            beside those of every layer (Hu et al. 2021), added to them when the encoder is saved. Word tables never
            learn: docs/decisions.md has what that is worth.
        dropout: share of numbers left out in training; None: as the encoder's config.json says.
        device: ``"cpu"`` or ``"cuda"``.
        hints: E of the hints to learn from, to which vectors are projected; None: there are none.

    Raises:
        UsageError: the encoder has fewer layers, or an extra is missing.
        EncoderError: its weights can't be read.
    """

    def __init__(
        self, files: EncoderFiles, layer: int, pooling: Pooling, classes: int, *, tune: Tune, dropout: float | None,
        device: str, hints: int | None = None,
    ) -> None:  # fmt: skip
        import torch

        self.files, self.pooling, self.device = files, pooling, device
        encoder = load_model(files, "fp32", device)
        self.layers = _cut(encoder, layer, files)
        if dropout is not None:
            _set_dropout(encoder, dropout)
        _unfreeze(encoder, self.layers, tune)
        if tune == "lora":
            encoder = _with_lora(encoder)
        width = int(encoder.config.hidden_size)
        head = torch.nn.Linear(width, classes, device=device)
        torch.nn.init.normal_(head.weight, std=0.02)
        torch.nn.init.zeros_(head.bias)
        self.module = torch.nn.ModuleDict({"encoder": encoder, "head": head})
        if hints is not None:
            self.module["projection"] = torch.nn.Linear(width, hints, device=device)
        self.learning: dict[str, Any] = {n: p for n, p in self.module.named_parameters() if p.requires_grad}

    def scores(self, batch: Batch) -> Any:
        """Return the scores of B rows, a tensor (B, C) on the device."""
        return self.scored(self.vectors(batch))

    def scored(self, vectors: Any) -> Any:
        """Return the scores of B vectors, a tensor (B, C)."""
        return self.module["head"](vectors)

    def pointed(self, vectors: Any) -> Any:
        """Return where B vectors point among the hints, a tensor (B, E)."""
        return self.module["projection"](vectors)

    def vectors(self, batch: Batch) -> Any:
        """Return the vectors of B rows, a tensor (B, D) on the device."""
        import torch

        ids = torch.from_numpy(batch.ids).long().to(self.device)
        lengths = torch.from_numpy(batch.lengths).long().to(self.device)
        padded = bool((batch.lengths < batch.ids.shape[1]).any())
        mask = real_tokens(lengths, ids.shape[1]).long() if padded else None
        states = self.module["encoder"](input_ids=ids, attention_mask=mask, return_dict=True).last_hidden_state
        return pooled(states, lengths, self.pooling, ids.shape[1])

    def depth_of(self, name: str) -> int:
        """Return how far up a parameter stands: 0 below the first layer, L in the last one, L + 1 above it."""
        if name.startswith(("head.", "projection.")):
            return len(self.layers) + 1
        return next((k for k, prefix in enumerate(self.layers, 1) if f"{prefix}." in name), 0)

    def head(self) -> tuple[Any, Any]:
        """Return the head's weight (C, D) and bias (C,) as float32 arrays."""
        parts = (self.module["head"].weight, self.module["head"].bias)
        weight, bias = (part.detach().float().cpu().numpy().astype(np.float32) for part in parts)
        return weight, bias

    def save(self, folder: Path) -> None:
        """Write the encoder as transformers does, its tokenizer beside it; plain `AutoModel` loads it."""
        import transformers

        encoder = self.module["encoder"]
        if hasattr(encoder, "merge_and_unload"):
            encoder = encoder.merge_and_unload()
        folder.mkdir(parents=True)
        with quiet(transformers.utils.logging):
            encoder.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_bytes())
        config.pop("_name_or_path", None)  # where it lay is nobody's business
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for name in _FILES_OF_TOKENIZERS:
            if (path := self.files.tokenizer.with_name(name)).is_file():
                shutil.copyfile(path, folder / name)


def require() -> None:
    """Refuse at once where what fine-tuning takes isn't installed.

    Raises:
        UsageError: with the line that installs it.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("Fine-tuning", "finetune") from None


def _cut(encoder: Any, layer: int, files: EncoderFiles) -> tuple[str, ...]:
    """Cut off the layers above, and return the names of those that stay."""
    layers = layer_list(encoder, encoder.config.num_hidden_layers)
    if not len(layers):
        raise UsageError(f"{files.config}: layers of this family share their weights; it can't be fine-tuned here.")
    if not 1 <= layer <= len(layers):
        raise UsageError(f"layer {layer} was asked for, but {files.name} has {len(layers)}.")
    for name, value in vars(encoder.config).items():
        if name.startswith("layer_") and isinstance(value, list) and len(value) == len(layers):  # what each layer is
            setattr(encoder.config, name, value[:layer])
    del layers[layer:]
    encoder.config.num_hidden_layers = layer
    places = {id(module): name for name, module in encoder.named_modules()}
    return tuple(places[id(module)] for module in layers)


def _set_dropout(encoder: Any, share: float) -> None:
    """Attention reads its share from attributes in some families, from modules in others; both are set."""
    import torch

    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = share


def _unfreeze(encoder: Any, layers: tuple[str, ...], tune: Tune) -> None:
    """Let learn what is to learn: whole layers, with all but the word tables below them where every layer does."""
    if tune == "lora":
        return
    if isinstance(tune, int) and tune > len(layers):
        raise UsageError(f"{tune} layers are to learn (tune), but the encoder has {len(layers)}.")
    kept = layers[-tune:] if isinstance(tune, int) else layers
    prefixes = tuple(f"{layer}." for layer in kept)
    word = encoder.get_input_embeddings().weight
    for name, parameter in encoder.named_parameters():
        below = tune == "all" and not name.startswith("pooler.") and not name.startswith(layers)
        parameter.requires_grad_((name.startswith(prefixes) or below) and parameter is not word)


def _with_lora(encoder: Any) -> Any:
    try:
        import peft
    except ModuleNotFoundError:
        raise missing_extra("--tune lora", "finetune") from None
    with warnings.catch_warnings():  # of what peft asks transformers, and of what it thinks of transposed weights
        warnings.simplefilter("ignore")
        config = peft.LoraConfig(
            r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules="all-linear", exclude_modules=["pooler.dense"]
        )
        return peft.get_peft_model(encoder, config)


def micro_batches(batch: Batch, most: int) -> Iterator[Batch]:
    """Part a batch so that no part has over `most` tokens, padding included; a single row may be longer."""
    rows = max(1, most // batch.ids.shape[1])
    for start in range(0, len(batch.rows), rows):
        part = slice(start, start + rows)
        longest = int(batch.lengths[part].max())
        yield Batch(batch.ids[part, :longest], batch.lengths[part], batch.rows[part])
