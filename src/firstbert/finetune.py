"""Texts and labels → a classifier whose encoder has learned from them too, or the frozen one where that is better.

After summary.py on the way of a sentence. The frozen encoder is fitted first; then encoder and head learn together; the
better of the two on the validation rows is what comes out. What learned is written as an encoder's folder, and from
there on everything is as with any other encoder: the graph, its vectors, calibration, thresholds, the artefact.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from firstbert import plan as planning
from firstbert.cache import encode
from firstbert.catalog import encoder_files
from firstbert.checkpoints import Checkpoints
from firstbert.classifier import SentenceClassifier
from firstbert.data import Examples
from firstbert.engine import EngineOptions, open_engine
from firstbert.errors import DataError, UsageError
from firstbert.evaluate import carried_by
from firstbert.fitting import PROMISE_SHARE, answering, bound_errors, versions
from firstbert.head import Head
from firstbert.overlap import apart
from firstbert.plan import FinetuneOptions, Plan, fit_in
from firstbert.predictor import Predictor
from firstbert.targets import BoolArray, ClassIndex, DoubleArray, Targets, encode_labels, hold_out
from firstbert.tokens import Tokenizer, Tokens
from firstbert.torch_model import shape_of
from firstbert.trainable import Trainable, require
from firstbert.tuning import Course, Exam, Lessons, Tuning

PARITY = 1e-4  # of probabilities, between torch and what runs the saved encoder
_PARITY_ROWS = 64
_TRIAL_STEPS = 4
_MEASURED = ("accuracy", "log_loss")


@dataclass(frozen=True)
class Finetuning:
    """What to fine-tune on.

    Attributes:
        rows: N labelled texts.
        work: a folder for the state of the training and what comes of it; gone on from where it holds the same one's.
        validation: rows to stop by and to choose by; None: a part of `rows`.
        left_out: positions of rows that nothing is fitted on, since their labels are in doubt.
        teacher: a trained model, whose probabilities are learned from as well; None: none.
        unlabelled: texts without labels, for which only the teacher's probabilities are learned. Those that are equal
            or nearly equal to a validation row, or to one of `unseen`, are left out.
        unseen: texts that the model will be measured on.
        max_int8_loss: the most points of accuracy that int8 may cost on the validation rows.
        options: how.
    """

    rows: Examples
    work: Path
    validation: Examples | None = None
    left_out: Collection[int] = ()
    teacher: Predictor | None = None
    unlabelled: Sequence[str] = ()
    unseen: Sequence[str] = ()
    max_int8_loss: float = 1.0
    options: FinetuneOptions = field(default_factory=FinetuneOptions)


def finetune(
    classifier: SentenceClassifier, job: Finetuning, say: Callable[[str], None] = lambda line: None
) -> SentenceClassifier:
    """Fine-tune an encoder, and return a fitted classifier: that one, or the frozen one where it is as good.

    Args:
        classifier: says which encoder and head; it isn't changed.
        job: see there.
        say: takes a line about what is done and found.

    Raises:
        DataError: fewer than two labels, or too few rows to hold some out.
        UsageError: an option makes no sense, or the extra "finetune" isn't installed.
        EncoderError, SourceError: the encoder can't be used or had, or memory doesn't hold a single text.
        ArtifactError: the work folder can't be written.
    """
    require()
    planning.check(job.options)
    return _Run(classifier, job, say).run()


class _Run:
    """One call of `finetune`."""

    def __init__(self, classifier: SentenceClassifier, job: Finetuning, say: Callable[[str], None]) -> None:
        self.classifier, self.job, self.say, self.options = classifier, job, say, job.options
        self.started = time.monotonic()
        if job.rows.labels is None:
            raise UsageError("fine-tuning needs labels.")
        self.labels, self.y = encode_labels(job.rows.labels)
        if len(self.labels) < 2:
            raise DataError(f"{job.rows.source}: at least two labels are needed to train; these rows have one.")
        self.files = encoder_files(classifier.encoder)
        self.shape = shape_of(self.files)
        self.learn, self.exam, self.held = self._parts()

    # -- the rows

    def _parts(self) -> tuple[ClassIndex, ClassIndex, ClassIndex]:
        """The rows to learn from, those of them to stop by, and those to bound the errors with."""
        rows, held, exam = np.arange(len(self.y)), np.arange(0), np.arange(0)
        if self.classifier.max_error is not None:
            rows, held = self._held(rows, PROMISE_SHARE)
        if self.job.validation is None:
            rows, exam = self._held(rows, self.options.validation_size)
        left_out = np.isin(rows, sorted(self.job.left_out))
        return rows[~left_out], exam, held

    def _held(self, rows: ClassIndex, share: float) -> tuple[ClassIndex, ClassIndex]:
        texts = [self.job.rows.texts[i] for i in rows]
        try:
            inside, outside = hold_out(texts, self.y[rows], share, self.options.seed)
        except ValueError as error:
            raise DataError(
                f"{self.job.rows.source}: {len(rows)} rows are too few to hold out {share:.0%} of them to tell when to "
                "stop. Give rows for that (--validation FILE; in Python: validation), or more rows."
            ) from error
        return rows[inside], rows[outside]

    @cached_property
    def validation(self) -> Examples:
        """The rows to stop by."""
        return self.job.rows.take(self.exam.tolist()) if self.job.validation is None else self.job.validation

    @cached_property
    def exam_targets(self) -> Targets:
        carried = carried_by(self.validation, self.labels, self.y.ndim == 2)
        return self._targets(carried if self.y.ndim == 2 else carried.argmax(axis=1))

    def _targets(self, y: ClassIndex | BoolArray) -> Targets:
        weight = self.classifier.class_weight
        if isinstance(weight, Mapping):
            weight = {self.labels.index(label): each for label, each in weight.items()}
        return Targets(y, class_weight=weight, among=len(self.labels))

    # -- all of it

    def run(self) -> SentenceClassifier:
        _ = self.exam_targets  # unknown labels are told before anything is trained
        if self.job.teacher is not None:
            self._columns(self.job.teacher)
        elif self.job.unlabelled:
            raise UsageError("Texts without labels can only be learned from with a teacher (--teacher MODEL).")
        frozen = self._frozen(self.learn)
        before = self._measured(frozen.predictor_)
        self.say(
            f"Frozen, the encoder gets {before[0]:.1%} of {len(self.validation.texts):,} validation rows right "
            f"(log-loss {before[1]:.3f}). Fine-tuning has to do better."
        )
        facts: dict[str, Any] = {"encoder": self.files.name, "validation_rows": len(self.validation.texts)}
        facts["frozen"] = dict(zip(_MEASURED, before, strict=True))
        tuned = self._tuned()
        if tuned is None:
            self.say("There is too little time to fine-tune anything: the frozen encoder is taken.")
            return self._with_facts(self._whole_frozen(frozen), facts | {"saved": "frozen"})
        predictor, how = tuned
        predictor = self._in_int8(predictor)
        after = self._measured(predictor)
        facts |= {"finetuned": dict(zip(_MEASURED, after, strict=True))} | how
        if (after[0], -after[1]) <= (before[0], -before[1]):
            self.say(f"Fine-tuned, it gets {after[0]:.1%} right, which is no better: the frozen encoder is taken.")
            return self._with_facts(self._whole_frozen(frozen), facts | {"saved": "frozen"})
        self.say(f"Fine-tuned, it gets {after[0]:.1%} right (log-loss {after[1]:.3f}): that is what is taken.")
        return self._with_facts(self._fitted(predictor), facts | {"saved": "finetuned"})

    def _with_facts(self, classifier: SentenceClassifier, facts: dict[str, Any]) -> SentenceClassifier:
        classifier.facts_["finetune"] = facts | {"seconds": round(time.monotonic() - self.started, 1)}
        return classifier

    def _measured(self, predictor: Predictor) -> tuple[float, float]:
        """Accuracy and log-loss on the validation rows, as it would answer."""
        predictions = predictor.predict(self.validation.texts, cache=self.classifier.cache)
        right = (predictions.chosen == self.exam_targets.carried).all(axis=1).mean()
        scores = np.log(np.maximum(predictions.probabilities, 1e-12))
        if predictor.decision.many:
            scores -= np.log1p(-np.minimum(predictions.probabilities, 1 - 1e-12))
        return float(right), float(self.exam_targets.losses(scores).mean())

    def _in_int8(self, predictor: Predictor) -> Predictor:
        """The same with int8 arithmetic, where that is asked for and costs no more than it may."""
        if self.classifier.precision != "int8":
            return predictor
        other = replace(predictor, encoder=replace(predictor.encoder, precision="int8"))
        fp32, int8 = (self._measured(each)[0] for each in (predictor, other))
        cost = f"int8 brings the accuracy on the validation rows from {fp32:.1%} to {int8:.1%}"
        if 100 * (fp32 - int8) > self.job.max_int8_loss:
            self.say(f"{cost}, over the {self.job.max_int8_loss:g} points it may cost: the model is kept in fp32.")
            return predictor
        self.say(f"{cost}.")
        return other

    # -- frozen

    def _frozen(self, rows: ClassIndex) -> SentenceClassifier:
        """The same classifier without fine-tuning, on some of the rows."""
        plain = clone(self.classifier).set_params(max_error=None, precision="fp32")
        return plain.fit_examples(self.job.rows.take(rows.tolist()))

    def _whole_frozen(self, frozen: SentenceClassifier) -> SentenceClassifier:
        """What was held out of the rows for stopping is learned from too, now that there is nothing to stop."""
        plain = self.classifier.max_error is None and self.classifier.precision == "fp32"
        if not len(self.exam) and not self.job.left_out and plain:
            return frozen
        return clone(self.classifier).fit_examples(self.job.rows, left_out=self.job.left_out)

    # -- fine-tuned

    def _tuned(self) -> tuple[Predictor, dict[str, Any]] | None:
        """The fine-tuned encoder and its head, and how that went; None where there is no time for it."""
        lessons, exam = self._lessons(), Exam(self._ids(self.validation.texts), self.exam_targets)
        whole = planning.plan(self.options, len(lessons.ids), self.shape.width)
        plan, seconds = self._planned(whole, lessons, exam)
        if plan is None:
            return None
        self.say(self._told(plan, seconds))
        checkpoints = Checkpoints(self.job.work / "state", self._fingerprint(lessons, exam))
        tuning = Tuning(self._model(plan), lessons, exam, plan, checkpoints, self.say, self._deadline())
        course = tuning.run()
        if course.ended == "not finite":
            self.say(
                f"The loss was no finite number after step {course.step:,}. What was best before is kept; a smaller "
                "learning rate may help (--learning-rate)."
            )
        if course.best is None:
            return None
        folder = self._save(tuning.model)
        predictor = self._predictor(folder, tuning)
        return predictor, self._how(plan, course, tuning, predictor)

    def _lessons(self) -> Lessons:
        """The rows to learn from, with their labels or what a teacher makes of them, and texts without labels."""
        rows = self.job.rows.take(self.learn.tolist())
        targets = self._targets(self.y[self.learn])
        goals, weights = targets.carried.astype(np.float32), np.asarray(targets.weight, np.float32)
        texts = [*rows.texts, *self.unlabelled]
        if self.job.teacher is not None:
            told = self._taught(texts).astype(np.float32)
            own = len(rows.texts)
            goals = np.concatenate([(goals + told[:own]) / 2, told[own:]])
            weights = np.concatenate([weights, np.ones((len(told) - own, weights.shape[1]), np.float32)])
        return Lessons(self._ids(texts), goals, weights, targets.many)

    @cached_property
    def unlabelled(self) -> list[str]:
        """The texts without labels that are like none that the model is measured on, and like no other of them."""
        texts = self.job.unlabelled
        if not texts:
            return []
        rows = self.job.rows.texts
        measured = [*self.validation.texts, *(rows[i] for i in self.held), *self.job.unseen]
        found = apart(texts, measured)
        learned = {rows[i] for i in self.learn}
        kept = [texts[i] for i in found.kept if texts[i] not in learned]
        self.say(
            f"Of {len(texts):,} texts without labels, {len(found.equal) + len(found.near):,} are left out, since they "
            f"stand (or nearly) among the rows to measure on, and {len(found.kept) - len(kept) + len(found.repeated):,} "
            f"since they stand twice: {len(kept):,} to learn from."
        )
        return kept

    def _taught(self, texts: Sequence[str]) -> DoubleArray:
        """The teacher's probabilities of N texts, (N, C), in the order of our labels."""
        teacher = self.job.teacher
        assert teacher is not None
        return teacher.predict(texts, cache=self.classifier.cache).probabilities[:, self._columns(teacher)]

    def _columns(self, teacher: Predictor) -> list[int]:
        if set(teacher.labels) != set(self.labels) or teacher.decision.many != (self.y.ndim == 2):
            theirs, ours = (", ".join(map(repr, labels[:5])) for labels in (teacher.labels, self.labels))
            raise UsageError(f"The teacher's labels ({theirs}) are not those of the rows ({ours}).")
        return [teacher.labels.index(label) for label in self.labels]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self._tokens(texts).ids

    def _tokens(self, texts: Sequence[str]) -> Tokens:
        return Tokenizer(self.files.tokenizer, self.classifier.max_length, self.shape.vocabulary)(texts)

    @property
    def layer(self) -> int:
        """The layer that is read: the one asked for, else the last. What searching finds is for frozen encoders."""
        layer = self.classifier.layer
        return layer if isinstance(layer, int) else self.shape.layers

    def _model(self, plan: Plan) -> Trainable:
        import torch

        torch.manual_seed(self.options.seed)
        engine = self._engine_options(self.classifier.encoder)
        pooling = open_engine(engine).pooling
        return Trainable(
            self.files, self.layer, pooling, len(self.labels), plan.tune, self.options.dropout, self._device()
        )

    def _device(self) -> str:
        import torch

        if self.classifier.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("device='cuda' was asked for, but torch sees no CUDA device here. Take device='cpu'.")
        return "cuda" if torch.cuda.is_available() and self.classifier.device != "cpu" else "cpu"

    # -- time

    def _planned(self, whole: Plan, lessons: Lessons, exam: Exam) -> tuple[Plan | None, float | None]:
        """The plan that fits into the time there is, and the seconds of a step where it had to be measured.

        It is kept in the work folder: a run that goes on keeps to it.
        """
        if self.options.time_budget is None:
            return whole, None
        place = self.job.work / "plan.json"
        key = self._fingerprint(lessons, exam)
        try:
            kept = json.loads(place.read_bytes())
            if kept["key"] == key:
                return replace(whole, **kept["plan"]), kept["seconds"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        seconds = self._seconds_per_step(whole, lessons, exam)
        plan = fit_in(whole, seconds, time.monotonic() - self.started, self.layer)
        if plan is not None:
            chosen = {name: getattr(plan, name) for name in ("steps", "every", "tune")}
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps({"key": key, "plan": chosen, "seconds": seconds}), encoding="utf-8")
        return plan, seconds

    def _seconds_per_step(self, whole: Plan, lessons: Lessons, exam: Exam) -> float:
        """Of a few steps of the whole plan, measured, and its share of the evaluations, at a third of a step a row."""
        trial = Tuning(self._model(whole), lessons, None, whole)
        seconds = []
        for step in range(_TRIAL_STEPS):
            started = time.monotonic()
            trial.step(np.arange(step, len(lessons.ids), max(1, len(lessons.ids) // self.options.batch_size)), step)
            seconds.append(time.monotonic() - started)
        per_step = float(np.median(seconds[1:]))
        return per_step * (1 + len(exam.ids) / (3 * whole.every * self.options.batch_size))

    def _deadline(self) -> float | None:
        budget = self.options.time_budget
        return None if budget is None else max(1.0, budget - (time.monotonic() - self.started))

    def _told(self, plan: Plan, seconds: float | None) -> str:
        which = {"all": "all layers learn", "lora": "LoRA matrices learn"}.get(
            str(plan.tune), f"the top {plan.tune} layers learn"
        )
        line = f"Fine-tuning {self.files.name}: {plan.epochs:.1f} epochs of {plan.per_epoch:,} steps, {which}"
        return f"{line}, which fits into the time there is ({seconds:.2f} s a step)." if seconds else f"{line}."

    # -- what came of it

    def _save(self, model: Trainable) -> Path:
        folder = self.job.work / "encoder"
        shutil.rmtree(folder, ignore_errors=True)
        model.save(folder)
        return folder

    def _engine_options(self, encoder: str) -> EngineOptions:
        asked = self.classifier
        backend = "onnx" if asked.backend == "onnx" else "auto"
        return EngineOptions(encoder, asked.pooling, "last", asked.max_length, "fp32", asked.threads,
                             asked.batch_tokens, backend, "cpu" if self._device() == "cpu" else asked.device)  # fmt: skip

    def _predictor(self, folder: Path, tuning: Tuning) -> Predictor:
        options = replace(self._engine_options(str(folder)), pooling=tuning.model.pooling, layer=self.layer)
        weight, bias = tuning.model.head()
        head = Head(weight, bias)
        encoded = encode(open_engine(options), self.validation.texts, self.classifier.cache)
        scores = head.scores(encoded.joined)
        return answering(self.labels, head, options, scores, self.exam_targets, self.classifier.thresholds)

    def _how(self, plan: Plan, course: Course, tuning: Tuning, predictor: Predictor) -> dict[str, Any]:
        """How it went, and how far torch and what runs the saved encoder are apart."""
        some = self.validation.texts[:_PARITY_ROWS]
        tuning.autocast = contextlib.nullcontext
        by_torch = predictor.calibration.probabilities(tuning.scores(self._ids(some)))
        apart = float(np.abs(by_torch - predictor.predict(some).probabilities).max())
        return {
            "epochs": course.step / plan.per_epoch, "tune": plan.tune, "learning_rate": plan.learning_rate,
            "batch_size": self.options.batch_size, "best_epoch": course.best and course.best.step / plan.per_epoch,
            "ended": course.ended, "marks": course.as_facts()["marks"], "largest_difference_from_torch": apart,
            "examples_per_second": course.rows / course.seconds if course.seconds else None,
            "device": tuning.model.device, "teacher": self.job.teacher is not None,
            "unlabelled": len(self.unlabelled),
        }  # fmt: skip

    def _fitted(self, predictor: Predictor) -> SentenceClassifier:
        """The classifier of a fine-tuned encoder, with its bound on errors and the facts of its training."""
        rows, asked = self.job.rows, self.classifier
        encoded = encode(predictor.engine, rows.take(self.held.tolist()).texts, asked.cache) if len(self.held) else None
        bound = None
        if encoded is not None:
            seen = encode(predictor.engine, self.validation.texts, asked.cache)
            carried = self._targets(self.y).carried
            bound = bound_errors(
                predictor, (predictor.head.scores(encoded.joined), carried[self.held]),
                (predictor.head.scores(seen.joined), self.exam_targets.carried), asked.max_error, asked.confidence,
            )  # fmt: skip
            predictor = replace(predictor, decision=replace(predictor.decision, accept=bound.threshold))
        facts = {
            "rows": len(self.learn),
            "rows_per_label": self._targets(self.y).carried[self.learn].sum(axis=0).tolist(),
            "left_out": len(self.job.left_out),
            "truncated_rows": sum(self._tokens(rows.take(self.learn.tolist()).texts).truncated),
            "data_sha256": rows.sha256,
            "seed": self.options.seed,
            "C": None,
            "cv_accuracy": None,
            "layers": None,
            "thresholds": asked.thresholds,
            "promise": None if bound is None else asdict(bound),
            "versions": versions((*predictor.engine.prepared.libraries, "torch", "transformers")),
        }
        return clone(asked).set_params(layer=self.layer).take_over(predictor, facts)

    def _fingerprint(self, lessons: Lessons, exam: Exam) -> str:
        """Of all that decides the training."""
        digest = hashlib.sha256()
        device = self._device()
        what = [asdict(self.options), self.layer, self.classifier.pooling, self.classifier.max_length, device]
        digest.update(json.dumps([what, versions(("torch", "transformers"))], default=str).encode())
        digest.update(open_engine(self._engine_options(self.classifier.encoder)).prepared.weights_sha256.encode())
        for part in (lessons.ids, exam.ids):
            digest.update(json.dumps(part).encode())
        for array in (lessons.goals, lessons.weights, self.exam_targets.y):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
