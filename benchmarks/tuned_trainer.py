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

from benchmarks import machine


def clock(times: dict[int, float], steps: tuple[int, ...]) -> Any:
    """Return a callback that notes the time when so many steps are done, with all work on a GPU done too.

    It waits for a GPU nowhere else, which would slow Trainer down.
    """
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            self.on_step_end(arguments, state, control)

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in (*steps, state.max_steps):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                times[state.global_step] = time.perf_counter()

    return Clock()


def examples(n: int, batch_size: int, first: int, last: int) -> int:
    """Return how many of `n` texts an epoch are in steps `first` to `last` - 1, counted from 0 over all epochs."""
    per_epoch = -(-n // batch_size)
    smallest = n - (per_epoch - 1) * batch_size
    return sum(smallest if step % per_epoch == per_epoch - 1 else batch_size for step in range(first, last))


def arguments(job: dict[str, Any], folder: str) -> Any:
    """Return Trainer's own arguments and what the job sets; checkpoints and progress bars, which cost time, are off."""
    import torch
    from transformers import TrainingArguments

    gpu = torch.cuda.is_available()
    names = {"batch_size": "per_device_train_batch_size", "epochs": "num_train_epochs", "max_steps": "max_steps",
             "learning_rate": "learning_rate"}  # fmt: skip
    given = {names[key]: job[key] for key in names if job.get(key) is not None}
    return TrainingArguments(
        output_dir=folder, seed=job["seed"], bf16=job["precision"] == "bf16", report_to="none", save_strategy="no",
        logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=gpu, use_cpu=not gpu, **given,
    )  # fmt: skip


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train, then measure on unseen texts."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer

    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])  # of the new head
    tokenizer = AutoTokenizer.from_pretrained(job["encoder"])
    model = AutoModelForSequenceClassification.from_pretrained(job["encoder"], num_labels=len(set(job["labels"])))
    times: dict[int, float] = {}
    warm_up = job["warm_up"]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=arguments(job, folder),
            train_dataset=_tokens(tokenizer, job["texts"], job["labels"]),
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[clock(times, (warm_up,))],
        )
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        scores = trainer.predict(_tokens(tokenizer, job["unseen"], job["truth"])).predictions
    steps = max(times)
    timed = examples(len(job["texts"]), trainer.args.train_batch_size, warm_up, steps)
    return {
        "rate": timed / (times[steps] - times[warm_up]), "steps": steps, "seconds": seconds,
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
