"""Few labels: the frozen encoder, the fine-tuned one and SetFit learn from the same rows of SST-2, seed after seed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import texts, tuned_ours
from benchmarks.kept import Results
from benchmarks.tuned_ours import Job

if TYPE_CHECKING:
    from benchmarks.tuned import Tuning

SIZES = (8, 16, 32, 64)  # rows of each label
SEEDS = 10
SYSTEMS = ("frozen", "finetuned", "setfit")


def run(tuning: Tuning, results: Results) -> None:
    """Measure one training after the other; each is kept at once."""
    for encoder in tuning.here:
        for size in SIZES[:1] if tuning.options.quick else SIZES:
            for seed in tuning.seeds(SEEDS):
                for system in SYSTEMS:
                    results.part(key(encoder, size, seed, system), partial(train, tuning, encoder, size, seed, system))


def key(encoder: str, size: int, seed: int, system: str) -> str:
    """Return a run's name in the results."""
    return f"few, {encoder}, {size}, {seed}, {system}"


def draw(rows: list[texts.Row], unseen: list[texts.Row], size: int, seed: int) -> list[texts.Row]:
    """Return `size` rows of each label, in random order; a smaller draw with the same seed is part of a larger one.

    No text is drawn twice, nor one that is measured on.

    Raises:
        ValueError: a label has too few rows.
    """
    measured = {text for text, _ in unseen}
    known: dict[str, int] = {}
    for text, label in rows:
        if text not in measured:
            known.setdefault(text, label)
    rng = np.random.default_rng(seed)
    drawn: list[texts.Row] = []
    for wanted in sorted(set(known.values())):
        own = [row for row in known.items() if row[1] == wanted]
        if len(own) < size:
            raise ValueError(f"{len(own)} rows of label {wanted} are too few to draw {size}")
        drawn += [own[i] for i in rng.permutation(len(own))[:size]]
    return [drawn[i] for i in np.random.default_rng([seed, size]).permutation(len(drawn))]


def train(tuning: Tuning, encoder: str, size: int, seed: int, system: str) -> dict[str, Any]:
    """Return accuracy on SST-2's test rows, and the seconds of one training with all imports and loading."""
    rows = draw(tuning.rows("train"), tuning.rows("test"), size, seed)
    return _setfit(tuning, encoder, rows, seed) if system == "setfit" else _ours(tuning, encoder, rows, seed, system)


def _ours(tuning: Tuning, encoder: str, rows: list[texts.Row], seed: int, system: str) -> dict[str, Any]:
    place, model = tuning.encoders[encoder], tuning.options.work / "model-few"
    job = Job(tuning.file("rows.tsv", rows), model, place, seed, finetune=system == "finetuned", name=encoder)
    found = tuned_ours.train(tuning, job)
    accuracy, seconds = tuned_ours.accuracy(tuning, model, tuning.split("test"))
    whole = {"seconds": found["wall"], "training_seconds": found["seconds"], "evaluation_seconds": seconds}
    return found | {"rows": len(rows), "accuracy": accuracy} | whole


def _setfit(tuning: Tuning, encoder: str, rows: list[texts.Row], seed: int) -> dict[str, Any]:
    test = tuning.rows("test")
    job = {
        "encoder": str(tuning.folder(encoder)), "seed": seed,
        "texts": [text for text, _ in rows], "labels": [label for _, label in rows],
        "unseen": [text for text, _ in test],
    }  # fmt: skip
    found = tuning.peer("tuned_setfit", job)
    right = np.array(found.pop("labels")) == np.array([label for _, label in test])
    return found | {"rows": len(rows), "accuracy": float(right.mean())}
