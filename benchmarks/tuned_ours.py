"""ADAPTER: how firstbert's fine-tuning is called, and where its JSON has what is measured. Nothing else knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.tuned import Tuning


@dataclass(frozen=True)
class Job:
    """A training by the command line.

    Attributes:
        rows: to learn from.
        model: the folder to write.
        encoder: as the command line takes it.
        seed: of the training.
        finetune: the encoder too, not the head alone.
        validation: for early stopping; None: a part of `rows`, as the command line chooses.
        test: read once, at the end; None: nothing is held out.
        epochs: at most.
        batch_size: in texts.
        precision: fp32, bf16, or None for what the command line chooses.
        teacher: a model whose probabilities are learned.
        unlabelled: texts that it labels.
        name: of the encoder on the page, where `encoder` is a folder of this machine.
    """

    rows: Path
    model: Path
    encoder: str
    seed: int = 0
    finetune: bool = True
    validation: Path | None = None
    test: Path | None = None
    epochs: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    teacher: Path | None = None
    unlabelled: Path | None = None
    name: str | None = None

    @property
    def arguments(self) -> list[str]:
        """What is typed after `firstbert`."""
        typed: list[object] = ["train", self.rows, "-o", self.model, "--encoder", self.encoder, "--seed", self.seed]
        typed += ["--test", self.test] if self.test else ["--test-size", 0]
        typed += ["--finetune"] if self.finetune else []
        for name in ("validation", "epochs", "batch_size", "precision", "teacher", "unlabelled"):
            value = getattr(self, name)
            option = {"precision": "train-precision"}.get(name, name.replace("_", "-"))
            typed += [] if value is None else [f"--{option}", value]
        return list(map(str, typed))

    @property
    def shown(self) -> str:
        """The command for the page: folders of this machine left out."""
        arguments = replace(self, encoder=self.name or self.encoder).arguments
        words = [Path(word).name if "/" in word else word for word in arguments]
        return "firstbert " + " ".join(words)


def train(tuning: Tuning, job: Job) -> dict[str, Any]:
    """Train; return what the page needs, and all that the command says of the tuning.

    No vector is kept from before, but those by which a teacher labels: they are the same for every seed.

    Raises:
        BenchError: the command failed.
    """
    threads = tuning.options.threads
    facts, wall = tuning.command(*job.arguments, "--threads", threads, cold=job.teacher is None)
    tuned = facts["finetune"] if job.finetune else {}
    saved = tuned.get("saved", "frozen")
    return {
        "threads": threads, "seconds": facts["seconds"], "wall": wall, "n_train": facts["n_train"],
        "accuracy": facts["test"]["accuracy"] if facts["test"] else None,
        "validation": tuned.get(saved, {}).get("accuracy"),
        "saved": saved,
        "rate": tuned.get("examples_per_second"),
        "steps": tuned.get("steps"),
        "finetune": tuned, "command": job.shown,
    }  # fmt: skip


def accuracy(tuning: Tuning, model: Path, rows: Path) -> tuple[float, float]:
    """Return a model's accuracy, and the seconds of the whole command that measured it.

    Raises:
        BenchError: the command failed.
    """
    facts, seconds = tuning.command("evaluate", model, rows, "--threads", tuning.options.threads, cold=True)
    return float(facts["accuracy"]), seconds
