"""Material and a plan → a fine-tuned encoder in a folder, and a predictor that reads it.

After material.py on the way of a sentence. From here on a fine-tuned encoder is an encoder like any other.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from firstbert import plan as planning
from firstbert.backend import torch_for
from firstbert.cache import encode
from firstbert.checkpoints import Checkpoints, writing
from firstbert.course import Course
from firstbert.engine import EngineOptions, open_engine
from firstbert.errors import EncoderError
from firstbert.fitting import answering
from firstbert.head import DEFAULT_C, Head, HeadOptions, fit_head
from firstbert.material import Material
from firstbert.plan import Plan, fit_in
from firstbert.predictor import Predictor
from firstbert.session import usable_cores
from firstbert.torch_session import chosen_device
from firstbert.trainable import Trainable
from firstbert.tuning import Tuning

PARITY = 1e-4  # of probabilities, between torch and what runs the saved encoder
_PARITY_ROWS = 64
_TRIAL_STEPS = 4


class EncoderTraining:
    """One training of an encoder.

    Args:
        material: the rows.
        started: since when the time allowed runs, by `time.monotonic`.

    Raises:
        UsageError: a GPU is asked for and there is none, or the precision asked for can't be had afterwards.
    """

    def __init__(self, material: Material, started: float) -> None:
        self.material, self.started = material, started
        self.asked, self.job, self.options = material.classifier, material.job, material.job.options
        self.device = chosen_device(self.asked.device)
        torch_for(material.files, self.asked.backend, self.asked.device, self.asked.precision)
        self.engine = self._engine_options()

    @property
    def layer(self) -> int:
        """The layer that is read: the one asked for, else the last. What searching finds is for frozen encoders."""
        return self.asked.layer if isinstance(self.asked.layer, int) else self.material.shape.layers

    def _engine_options(self) -> EngineOptions:
        """How the encoder is run once it is trained, as far as that doesn't hang on where it lies."""
        asked = self.asked
        options = EngineOptions(
            asked.encoder, asked.pooling, self.layer, asked.max_length, "fp32", asked.threads, asked.batch_tokens,
            asked.backend, asked.device,
        )  # fmt: skip
        return replace(options, pooling=open_engine(options).pooling)

    # -- all of it

    def run(self) -> tuple[Predictor, dict[str, Any]] | None:
        """Train, and return what answers and how it went; None where nothing came of it."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.asked.threads or usable_cores())
        try:
            return self._run()
        finally:
            torch.set_num_threads(before)

    def _run(self) -> tuple[Predictor, dict[str, Any]] | None:
        material = self.material
        key = material.fingerprint(self.device)
        options = replace(self.options, recipe=material.recipe)
        unlabelled = len(material.unlabelled)
        whole = planning.plan(options, len(material.lessons.ids), material.shape.width, unlabelled)
        plan, seconds = self._planned(whole, key)
        if plan is None:
            material.say("There is too little time to fine-tune anything.")
            return None
        material.say(self._told(plan, seconds))
        exam = material.as_exam if plan.recipe == "labels" else None  # after pairs, a head comes in the end
        checkpoints = Checkpoints(self.job.work / "state", key)
        tuning = Tuning(
            self._model(plan), material.lessons, exam, plan, checkpoints=checkpoints, say=material.say,
            deadline=self._deadline(),
        )  # fmt: skip
        course = tuning.run()
        if course.ended == "not finite":
            kept = "" if course.best is None else " What was best before that is kept."
            material.say(
                f"The loss was no finite number after step {course.step:,}.{kept} A smaller learning rate may help "
                "(--learning-rate)."
            )
        if course.best is None and (exam or course.ended == "not finite"):
            return None
        predictor = self._predictor(self._save(tuning.model), tuning)
        return predictor, self._how(plan, course, tuning, predictor)

    def _model(self, plan: Plan) -> Trainable:
        import torch

        torch.manual_seed(self.options.seed)  # of the head
        hints = self.material.lessons.hints
        return Trainable(
            self.material.files, self.layer, cast("Any", self.engine.pooling), len(self.material.labels),
            tune=plan.tune, dropout=plan.options.dropout, device=self.device,
            hints=None if hints is None else hints.shape[1],
        )  # fmt: skip

    # -- time

    def _planned(self, whole: Plan, key: str) -> tuple[Plan | None, float | None]:
        """The plan that fits into the time there is, and the seconds of a step where it had to be measured.

        It is kept in the work folder: a run that goes on keeps to it.
        """
        if self.options.time_budget is None:
            return whole, None
        place = self.job.work / "plan.json"
        try:
            kept = json.loads(place.read_bytes())
            if kept["key"] == key:
                return replace(whole, **kept["plan"]), kept["seconds"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        seconds = self._seconds_per_step(whole)
        plan = fit_in(whole, seconds, time.monotonic() - self.started, self.layer)
        if plan is not None:
            chosen = {name: getattr(plan, name) for name in ("steps", "every", "tune")}
            with writing(place.parent):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps({"key": key, "plan": chosen, "seconds": seconds}), encoding="utf-8")
        return plan, seconds

    def _seconds_per_step(self, whole: Plan) -> float:
        """Of a few steps of the whole plan, measured, and its share of the evaluations, at a third of a step a row."""
        lessons, exam = self.material.lessons, self.material.as_exam
        trial = Tuning(self._model(whole), lessons, None, whole)
        seconds = []
        for step in range(_TRIAL_STEPS):
            started = time.monotonic()
            every = max(1, len(lessons.ids) // self.options.batch_size)
            trial.step(np.arange(step % every, len(lessons.ids), every), step)
            seconds.append(time.monotonic() - started)
        per_step = float(np.median(seconds[1:]))
        examined = len(exam.ids) if exam else 0
        return per_step * (1 + examined / (3 * whole.every * self.options.batch_size))

    def _deadline(self) -> float | None:
        budget = self.options.time_budget
        return None if budget is None else max(1.0, budget - (time.monotonic() - self.started))

    def _told(self, plan: Plan, seconds: float | None) -> str:
        which = {"all": "all layers learn", "lora": "LoRA matrices learn"}.get(
            str(plan.tune), f"the top {plan.tune} layers learn"
        )
        line = f"Fine-tuning {self.material.files.name}: {plan.epochs:.1f} epochs of {plan.per_epoch:,} steps, {which}"
        return f"{line}, which fits into the time there is ({seconds:.2f} s a step)." if seconds else f"{line}."

    # -- what came of it

    def _save(self, model: Trainable) -> Path:
        folder = self.job.work / "encoder"
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            model.save(folder)
        return folder

    def _predictor(self, folder: Path, tuning: Tuning) -> Predictor:
        options = replace(self.engine, encoder=str(folder))
        material, head = self.material, self._head(options, tuning)
        scores = None
        if material.exam is not None:
            scores = head.scores(encode(open_engine(options), material.exam.texts, self.asked.cache).joined)
        targets = material.exam_targets or material.learn_targets
        return answering(material.labels, head, options, scores, targets, self.asked.thresholds)

    def _head(self, options: EngineOptions, tuning: Tuning) -> Head:
        """The head that learned with the encoder; after pairs, one that is fitted to what the encoder has become."""
        if self.material.recipe == "labels":
            return Head(*tuning.model.head())
        texts, targets = self.material.texts(self.material.learn), self.material.learn_targets
        vectors = encode(open_engine(options), texts, self.asked.cache).joined
        C = DEFAULT_C if self.asked.C == "auto" else self.asked.C  # no fold is unseen by the encoder
        return fit_head(vectors, targets.y, HeadOptions(C, targets.class_weight)).head

    def _how(self, plan: Plan, course: Course, tuning: Tuning, predictor: Predictor) -> dict[str, Any]:
        """How it went, ready for JSON."""
        return {
            "epochs": course.step / plan.per_epoch, "steps": course.step, "tune": plan.tune,
            "learning_rate": plan.learning_rate, "batch_size": self.options.batch_size,
            "best_epoch": course.best and course.best.step / plan.per_epoch, "ended": course.ended,
            "marks": course.as_facts()["marks"], "device": self.device,
            "precision": "fp32" if tuning.autocast is contextlib.nullcontext else "bf16",
            "examples_per_second": course.rows / course.seconds if course.seconds else None,
            "largest_difference_from_torch": self._parity(tuning, predictor),
            "teacher": self.job.teacher is not None, "unlabelled": len(self.material.unlabelled),
        }  # fmt: skip

    def _parity(self, tuning: Tuning, predictor: Predictor) -> float:
        """How far torch and what runs the saved encoder are apart in probability.

        Raises:
            EncoderError: over `PARITY`.
        """
        texts = self.job.rows.texts[:_PARITY_ROWS]
        by_torch = tuning.vectors(self.material.ids(texts), exactly=True)
        both = (predictor.head.scores(vectors) for vectors in (by_torch, predictor.engine.encode(texts).joined))
        one, other = (predictor.calibration.probabilities(scores) for scores in both)
        apart = float(np.abs(one - other).max())
        if not apart <= PARITY:
            raise EncoderError(
                f"{predictor.encoder.encoder}: what was trained and what runs it differ by {apart:.1e} in probability, "
                f"over {PARITY:.0e}; nothing was saved."
            )
        return apart
