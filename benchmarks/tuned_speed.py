"""Examples a second against transformers' Trainer: same rows, batch size, precision and number of steps, in turns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import tuned_ours
from benchmarks.kept import Results
from benchmarks.tuned_full import trainer_job
from benchmarks.tuned_ours import Job

if TYPE_CHECKING:
    from benchmarks.tuned import Tuning

ROUNDS = 5
BATCH_SIZE = 32
WARM_UP = 10  # steps
SYSTEMS = ("firstbert", "trainer")


def run(tuning: Tuning, results: Results) -> None:
    """Measure round after round; each is kept at once."""
    precision = tuning.options.precision
    for encoder in tuning.here:
        for turn in tuning.seeds(ROUNDS):
            results.part(f"speed, {encoder}, {precision}, {turn}", partial(race, tuning, encoder, turn))


def race(tuning: Tuning, encoder: str, turn: int) -> dict[str, Any]:
    """One epoch by each; rounds are begun in turns. Accuracy is that on SST-2's dev rows."""
    systems = {"firstbert": ours, "trainer": trainer}
    return {"runs": {name: systems[name](tuning, encoder, turn) for name in SYSTEMS[:: 1 if turn % 2 == 0 else -1]}}


def ours(tuning: Tuning, encoder: str, seed: int) -> dict[str, Any]:
    """One epoch by the command line; the rate is the one that it states itself."""
    job = Job(
        tuning.split("train"), tuning.options.work / "model-speed", tuning.encoders[encoder], seed,
        validation=tuning.split("dev"), epochs=1, batch_size=BATCH_SIZE, name=encoder,
        precision=tuning.options.precision,
    )  # fmt: skip
    found = tuned_ours.train(tuning, job)
    return {"rate": found["rate"], "steps": found["steps"], "accuracy": found["validation"],
            "seconds": found["seconds"], "finetune": found["finetune"], "command": found["command"]}  # fmt: skip


def trainer(tuning: Tuning, encoder: str, seed: int) -> dict[str, Any]:
    """One epoch by Trainer, all else by its defaults."""
    job = trainer_job(tuning, encoder, seed, "dev") | {
        "epochs": 1, "batch_size": BATCH_SIZE, "precision": tuning.options.precision,
        "warm_up": 2 if tuning.options.quick else WARM_UP,
    }  # fmt: skip
    return tuning.peer("tuned_trainer", job)
