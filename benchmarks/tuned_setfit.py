"""SetFit with its defaults: `python -m benchmarks.tuned_setfit JOB.json OUT.json`, where it is installed.

JOB holds `encoder` (a folder), `texts` and `labels` (N, to learn from), `unseen` (texts to answer), `seed`, `threads`.
OUT gets `labels` answered, `pairs` and `steps` of the training, `seconds` from the first import to the trained model,
`training_seconds` without imports and loading, `prediction_seconds`, `peak` (bytes of memory) and `versions`. Imports
nothing of firstbert.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine


def defaults(seed: int, folder: str) -> Any:
    """Return SetFit's own arguments; of what costs it time, checkpoints and progress bars are switched off."""
    from setfit import TrainingArguments

    return TrainingArguments(
        output_dir=folder, seed=seed, report_to="none", save_strategy="no", logging_strategy="no",
        show_progress_bar=False,
    )  # fmt: skip


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train and answer."""
    begun = time.perf_counter()
    import torch
    from datasets import Dataset
    from setfit import SetFitModel, Trainer

    torch.set_num_threads(job["threads"])
    model = SetFitModel.from_pretrained(job["encoder"])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        rows = Dataset.from_dict({"text": job["texts"], "label": job["labels"]})
        trainer = Trainer(model=model, args=defaults(job["seed"], folder), train_dataset=rows)
        trainer.train()
        trained = time.perf_counter()
    seconds = {"seconds": trained - begun, "training_seconds": trained - start}
    start = time.perf_counter()
    labels = [int(label) for label in model.predict(job["unseen"], as_numpy=True, show_progress_bar=False)]
    return {
        "labels": labels, **seconds, "prediction_seconds": time.perf_counter() - start,
        "pairs": len(trainer.st_trainer.train_dataset), "steps": trainer.st_trainer.state.global_step,
        "peak": machine.peak_rss(), "device": str(model.device), "versions": machine.versions(),
    }  # fmt: skip


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
