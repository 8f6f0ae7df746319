"""transformers' Trainer with its defaults: `python -m benchmarks.tuned_trainer JOB.json OUT.json`.

JOB holds `encoder` (a folder), `texts` and `labels` (N, to learn from), `unseen` and `truth` (texts and labels to
measure on), `seed`, `threads`, `precision` (fp32 or bf16), `warm_up` (steps that aren't timed) and, where they are to
differ from Trainer's defaults, `batch_size`, `epochs`, `max_steps`, `learning_rate`. OUT gets `rate` (examples a
second after the warm-up), `accuracy`, `steps`, `seconds` of the training, `peak` (bytes of memory), `device`,
`versions`. Imports nothing of firstbert.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks import machine


class Clock(TrainerCallback):
    """Takes the time at the end of each step, with all work on a GPU done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._now()

    def _now(self) -> None:
        if torch.cuda.is_available() and len(self.times) > 0:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())


def examples(n: int, batch_size: int, first: int, last: int) -> int:
    """Return how many of `n` texts an epoch are in steps `first` to `last` - 1, counted from 0 over all epochs."""
    per_epoch = -(-n // batch_size)
    smallest = n - (per_epoch - 1) * batch_size
    return sum(smallest if step % per_epoch == per_epoch - 1 else batch_size for step in range(first, last))


def arguments(job: dict[str, Any], folder: str) -> TrainingArguments:
    """Return Trainer's own arguments and what the job sets; checkpoints and progress bars, which cost time, are off."""
    names = {"batch_size": "per_device_train_batch_size", "epochs": "num_train_epochs", "max_steps": "max_steps",
             "learning_rate": "learning_rate"}  # fmt: skip
    given = {names[key]: job[key] for key in names if job.get(key) is not None}
    return TrainingArguments(
        output_dir=folder, seed=job["seed"], bf16=job["precision"] == "bf16", report_to="none", save_strategy="no",
        logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(), **given,
    )  # fmt: skip


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train, then measure on unseen texts."""
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])  # of the new head
    tokenizer = AutoTokenizer.from_pretrained(job["encoder"])
    model = AutoModelForSequenceClassification.from_pretrained(job["encoder"], num_labels=len(set(job["labels"])))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=arguments(job, folder),
            train_dataset=_tokens(tokenizer, job["texts"], job["labels"]),
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[clock],
        )
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        scores = trainer.predict(_tokens(tokenizer, job["unseen"], job["truth"])).predictions
    steps, warm_up = len(clock.times) - 1, job["warm_up"]
    timed = examples(len(job["texts"]), trainer.args.train_batch_size, warm_up, steps)
    return {
        "rate": timed / (clock.times[-1] - clock.times[warm_up]), "steps": steps, "seconds": seconds,
        "accuracy": float((scores.argmax(axis=1) == job["truth"]).mean()), "peak": machine.peak_rss(),
        "device": str(trainer.args.device), "batch_size": trainer.args.train_batch_size,
        "epochs": trainer.args.num_train_epochs, "learning_rate": trainer.args.learning_rate,
        "versions": machine.versions(),
    }  # fmt: skip


def _tokens(tokenizer: Any, texts: list[str], labels: list[int]) -> list[dict[str, Any]]:
    ids = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
    return [{"input_ids": row, "attention_mask": [1] * len(row), "label": label}
            for row, label in zip(ids, labels, strict=True)]  # fmt: skip


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
