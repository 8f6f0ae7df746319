"""Golden vectors: what transformers gives for families.py's random checkpoints and minilm, in tests/golden/.

They let the graph be held against transformers where neither it nor torch is installed. To make them anew,
after a change of families.py, of TEXTS or of SENTENCES, with firstbert, torch and transformers installed:

    python tests/make_golden.py            # all families, about two minutes
    python tests/make_golden.py mpnet      # one

The reference runs in float64 and each text by itself, so that the file holds the true numbers and not one
machine's rounding. Each file says under "versions" what it was made with.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import families
from families import ROWS, Row
from firstbert.catalog import encoder_files
from firstbert.folders import EncoderFiles
from firstbert.tokens import Tokenizer

FOLDER = Path(__file__).parent / "golden"
TEXTS = ((512, 1, 3), (129, 31, 2), (65, 64, 7))  # lengths; the test pads each group as one batch
LENGTHS = [length for group in TEXTS for length in group]
DIRECTIONS = 8  # unit vectors that stand for the whole width
PLACES = 20  # positions kept of each text, the first and the last among them

SENTENCES = [
    "The kettle had been whistling for a minute before anyone noticed.",
    "Not a bad film at all!",
    "",
    "I waited two hours, and then the waiter brought somebody else's soup. " * 12,
    "Ça marche très bien, même à −20 °C; 東京 too.",
    "ok",
]


@dataclass(frozen=True)
class Golden:
    """What is kept of a family, N texts, P positions kept of all of them together.

    Attributes:
        tokens: (L + 1, P, 8) hidden states along the directions, layer 0 the embeddings.
        cls: (L + 1, N, 8) states of the first position, likewise.
        mean: (L + 1, N, 8) means over the positions, likewise.
        whole: (L + 1, D) the first position of the longest text, as it is.
    """

    tokens: np.ndarray
    cls: np.ndarray
    mean: np.ndarray
    whole: np.ndarray


def golden(states: list[np.ndarray], cls: list[np.ndarray], mean: list[np.ndarray]) -> Golden:
    """Reduce each text's states (L + 1, T, D) and vectors (L + 1, D), in the order of LENGTHS."""
    D = states[0].shape[-1]
    unit = families.uniform("directions", (DIRECTIONS, D), 1.0).astype(np.float64)
    unit /= np.sqrt((unit**2).sum(axis=1, keepdims=True))
    kept = [text[:, _places(text.shape[1])] for text in states]
    return Golden(
        tokens=np.concatenate(kept, axis=1) @ unit.T,
        cls=np.stack(cls, axis=1) @ unit.T,
        mean=np.stack(mean, axis=1) @ unit.T,
        whole=states[0][:, 0],
    )


def _places(length: int) -> np.ndarray:
    return np.unique(np.linspace(0, length - 1, PLACES).astype(int))


def read(name: str) -> Golden:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return Golden(**{field: file[field] for field in Golden.__annotations__})


def make(row: Row) -> None:
    """Write a family's file."""
    import torch

    import reference

    with tempfile.TemporaryDirectory() as folder:
        families.write(row, Path(folder))
        model = reference.load(Path(folder)).to(torch.float64)  # the float32 weights, reckoned with exactly
        states = [reference.hidden_states(model, [families.token_ids(row, n)])[0] for n in LENGTHS]
    kept = golden(states, [text[:, 0] for text in states], [text.mean(axis=1) for text in states])
    arrays = {field: value.astype(np.float32) for field, value in vars(kept).items()}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f"{row.name}.npz", versions=json.dumps(reference.versions()), **arrays)


def minilm_vectors(files: EncoderFiles, sentences: list[str], dtype: str) -> np.ndarray:
    """The real minilm's vectors, (N, 2 (L + 1), D): [CLS] of each layer, then the mean of each."""
    import torch

    import reference

    with tempfile.TemporaryDirectory() as folder:
        for path in (files.config, *files.weights):  # the cache keeps each in a folder of its own
            (Path(folder) / path.name).symlink_to(path)
        model = reference.load(Path(folder)).to(getattr(torch, dtype))
    tokens = Tokenizer(files.tokenizer, max_length=256, vocabulary=30522)(sentences)
    states = [reference.hidden_states(model, [ids])[0] for ids in tokens.ids]
    return np.stack([np.concatenate([text[:, 0], text.mean(axis=1)]) for text in states])


def make_minilm() -> None:
    """Write the real minilm's file."""
    import reference

    vectors = minilm_vectors(encoder_files("minilm"), SENTENCES, "float64").astype(np.float32)
    np.savez_compressed(FOLDER / "minilm.npz", versions=json.dumps(reference.versions()), vectors=vectors)


if __name__ == "__main__":
    for name in sys.argv[1:] or [*ROWS, "minilm"]:
        print(name, flush=True)
        if name == "minilm":
            make_minilm()
        else:
            make(ROWS[name])
