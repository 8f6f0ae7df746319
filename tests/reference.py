"""What transformers says: the reference that the graph is held against. Needs torch and transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

torch.set_num_threads(2)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The encoder in `folder`, with attention written out step by step."""
    model = transformers.AutoModel.from_pretrained(
        folder, attn_implementation="eager", dtype=dtype, local_files_only=True
    )
    return model.eval()


def hidden_states(model: Any, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Run rows as one padded batch; for each the states (L + 1, T, D) of its own T tokens, layer 0 first."""
    lengths = [len(row) for row in rows]
    padding = model.config.pad_token_id
    ids = torch.full((len(rows), max(lengths)), padding)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    with torch.inference_mode():
        out = model(ids, attention_mask=mask, output_hidden_states=True)
    states = torch.stack(out.hidden_states, dim=1)  # (B, L + 1, T, D)
    return [states[i, :, :length].numpy() for i, length in enumerate(lengths)]


def versions() -> dict[str, str]:
    return {"transformers": transformers.__version__, "torch": torch.__version__, "numpy": np.__version__}
