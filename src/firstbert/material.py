"""What there is to fine-tune on → rows to learn from, rows to stop by, and rows that nothing of it may see.

After summary.py on the way of a sentence. Texts without labels come in here too, with what a teacher makes of them, and
only those that tell nothing of the rows to measure on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from firstbert.cache import encode
from firstbert.catalog import encoder_files
from firstbert.classifier import SentenceClassifier
from firstbert.course import Exam, Lessons
from firstbert.data import Examples
from firstbert.engine import open_engine
from firstbert.errors import DataError, UsageError
from firstbert.evaluate import carried_by
from firstbert.families import FloatArray
from firstbert.fitting import PROMISE_SHARE, versions, weights_by_index
from firstbert.graph import Read
from firstbert.overlap import apart
from firstbert.plan import FEW_ROWS, FinetuneOptions, recipe_for
from firstbert.predictor import Predictor
from firstbert.prepared import hash_of_weights
from firstbert.targets import BoolArray, ClassIndex, Targets, encode_labels, hold_out
from firstbert.tokens import Tokenizer, Tokens
from firstbert.torch_model import shape_of

_MOST_SPARED = 0.25  # of the rows, where a row of each label is more than was asked for
_HINTED = 2 / 3  # of a teacher's layers, where hints are taken
_TO_BOUND = "to bound the errors (max_error). Give more rows."
_TO_STOP = "to tell when to stop. Give rows for that (--validation FILE; in Python: validation), or more rows."


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


class Material:
    """The rows of a fine-tuning, parted.

    Args:
        classifier: says which encoder, how labels weigh, and whether errors are to be bounded.
        job: what there is.
        say: takes a line about what is left out.

    Attributes:
        labels: C, in order.
        learn, spared, held: positions of the rows to learn from, of those spared to stop by, and of those that bound
            the errors.
        exam: the rows to stop by; None where there are too few to spare any.

    Raises:
        DataError: fewer than two labels, too few rows, none left of a label, or a validation row with another label.
        UsageError: a teacher with other labels, or texts without labels and no teacher.
    """

    def __init__(self, classifier: SentenceClassifier, job: Finetuning, say: Callable[[str], None]) -> None:
        self.classifier, self.job, self.say = classifier, job, say
        if job.rows.labels is None:
            raise UsageError("fine-tuning needs labels.")
        self.labels, self.y = encode_labels(job.rows.labels)
        if len(self.labels) < 2:
            raise DataError(f"{job.rows.source}: at least two labels are needed to train; these rows have one.")
        self._check_teacher()
        self.files = encoder_files(classifier.encoder)
        self.shape = shape_of(self.files)
        self.recipe = recipe_for(job.options, len(self.y), self._new_texts())
        self.learn, self.spared, self.held = self._parts()
        for c in np.flatnonzero(~self.learn_targets.carried.any(axis=0)):
            raise DataError(f"{job.rows.source}: no row labelled {self.labels[c]!r} is left to learn from.")
        self.exam = self._exam()
        self.exam_targets = self._exam_targets()

    def _check_teacher(self) -> None:
        if self.job.teacher is not None:
            self._columns(self.job.teacher)
        elif self.job.unlabelled:
            raise UsageError("Texts without labels can only be learned from with a teacher (--teacher MODEL).")

    def _parts(self) -> tuple[ClassIndex, ClassIndex, ClassIndex]:
        """The rows to learn from, those of them to stop by, and those to bound the errors with."""
        rows, held, spared = np.arange(len(self.y)), np.arange(0), np.arange(0)
        bounded = self.classifier.max_error is not None
        if bounded:
            rows, held = self._held(rows, PROMISE_SHARE, _TO_BOUND)
        if self.job.validation is None and (bounded or self._enough_to_spare_some()):
            rows, spared = self._held(rows, self._share_to_spare(len(rows)), _TO_STOP)
        return rows[~np.isin(rows, sorted(self.job.left_out))], spared, held

    def _new_texts(self) -> int:
        """How many of the texts without labels are new, before nearly equal ones are looked for."""
        job = self.job
        known = {*job.rows.texts, *job.unseen, *(job.validation.texts if job.validation else ())}
        return len(set(job.unlabelled) - known)

    def _enough_to_spare_some(self) -> bool:
        few = self.job.options.recipe == "auto" and len(self.y) <= FEW_ROWS
        return self.recipe == "labels" and not few

    def _share_to_spare(self, n: int) -> float:
        """What is asked for, or a row of each label, if that isn't too much."""
        asked, each_once = self.job.options.validation_size, len(self.labels) / n
        return each_once if asked < each_once <= _MOST_SPARED and self.y.ndim == 1 else asked

    def _held(self, rows: ClassIndex, share: float, why: str) -> tuple[ClassIndex, ClassIndex]:
        try:
            inside, outside = hold_out(self.texts(rows), self.y[rows], share, self.job.options.seed)
        except ValueError as error:
            raise DataError(
                f"{self.job.rows.source}: {len(rows)} rows are too few to hold out {share:.0%} of them {why}"
            ) from error
        return rows[inside], rows[outside]

    def _exam(self) -> Examples | None:
        """The rows to stop by; None where there are too few to spare any."""
        if self.job.validation is not None:
            return self.job.validation
        return self.job.rows.take(self.spared.tolist()) if len(self.spared) else None

    def _exam_targets(self) -> Targets | None:
        if self.exam is None:
            return None
        carried = carried_by(self.exam, self.labels, self.y.ndim == 2)
        return self.targets(carried if self.y.ndim == 2 else carried.argmax(axis=1))

    def targets(self, y: ClassIndex | BoolArray) -> Targets:
        """Return labels as regressions take them."""
        return Targets(
            y, class_weight=weights_by_index(self.classifier.class_weight, self.labels), among=len(self.labels)
        )

    @property
    def learn_targets(self) -> Targets:
        """The labels of the rows to learn from."""
        return self.targets(self.y[self.learn])

    def texts(self, rows: ClassIndex) -> list[str]:
        """Return the texts at these positions."""
        return [self.job.rows.texts[i] for i in rows]

    # -- as a training takes it

    @cached_property
    def lessons(self) -> Lessons:
        """The rows to learn from, with their labels or what a teacher makes of them, and texts without labels."""
        own, targets = self.texts(self.learn), self.learn_targets
        goals, weights = targets.carried.astype(np.float32), np.asarray(targets.weight, np.float32)
        texts = [*own, *self.unlabelled]
        hints = None
        if self.job.teacher is not None:
            told, hints = self._taught(texts)
            goals = np.concatenate([(goals + told[: len(own)]) / 2, told[len(own) :]])
            weights = np.concatenate([weights, np.ones((len(told) - len(own), weights.shape[1]), np.float32)])
        return Lessons(self.ids(texts), goals, weights, targets.many, hints if self.recipe == "labels" else None)

    @cached_property
    def as_exam(self) -> Exam | None:
        """The rows to stop by, as a training takes them."""
        if self.exam is None or self.exam_targets is None:
            return None
        return Exam(self.ids(self.exam.texts), self.exam_targets)

    @cached_property
    def unlabelled(self) -> list[str]:
        """The texts without labels that are like none that the model is measured on, and like no other of them."""
        texts = self.job.unlabelled
        if not texts:
            return []
        measured = [*(self.exam.texts if self.exam else ()), *self.texts(self.held), *self.job.unseen]
        found = apart(texts, measured)
        others = [texts[i] for i in found.kept]
        again = dict(apart(others, self.texts(self.learn)).equal)
        kept = [text for i, text in enumerate(others) if i not in again]
        twice = len(again) + len(found.repeated)
        measured_on = len(found.equal) + len(found.near)
        self.say(
            f"Of {len(texts):,} texts without labels, {measured_on:,} are left out, since these (or nearly these) are "
            f"measured on, and {twice:,} since they stand twice or with a label: {len(kept):,} to learn from."
        )
        return kept

    def _taught(self, texts: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """What the teacher makes of N texts: probabilities, (N, C), in the order of our labels; and hints, (N, E).

        These are its vectors at two thirds of its layers, the mean over tokens, less their mean: there, a text is
        understood, and not yet reduced to its label.
        """
        teacher = self.job.teacher
        assert teacher is not None
        own = teacher.engine
        inside = Read(max(1, round(_HINTED * own.prepared.architecture.layers)), "mean")
        reads = tuple(dict.fromkeys((*own.reads, inside)))
        encoded = encode(open_engine(teacher.encoder, reads, teacher.weights_sha256), texts, self.classifier.cache)
        told = teacher.answer(replace(encoded, vectors=encoded.vectors[:, : len(own.reads)])).probabilities
        hints = encoded.vectors[:, reads.index(inside)]
        hints = hints - hints.mean(0)
        hints /= np.linalg.norm(hints, axis=1, keepdims=True).clip(1e-9)
        return told[:, self._columns(teacher)].astype(np.float32), hints

    def _columns(self, teacher: Predictor) -> list[int]:
        if set(teacher.labels) != set(self.labels) or teacher.decision.many != (self.y.ndim == 2):
            theirs, ours = (", ".join(map(repr, labels[:5])) for labels in (teacher.labels, self.labels))
            raise UsageError(f"The teacher's labels ({theirs}) are not those of the rows ({ours}).")
        return [teacher.labels.index(label) for label in self.labels]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of texts."""
        return self.tokens(texts).ids

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of texts."""
        return self._tokenizer(texts)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self.files.tokenizer, self.classifier.max_length, self.shape.vocabulary)

    def fingerprint(self, device: str) -> str:
        """Return a digest of all that decides the training."""
        asked, digest = self.classifier, hashlib.sha256()
        what = [asdict(self.job.options), asked.layer, asked.pooling, asked.max_length, device]
        what += [versions(("torch", "transformers")), hash_of_weights(self.files.weights)]
        digest.update(json.dumps(what, default=str).encode())
        lessons, exam = self.lessons, self.as_exam
        digest.update(json.dumps([lessons.ids, exam and exam.ids]).encode())
        for array in (lessons.goals, lessons.weights, lessons.hints, exam and exam.targets.y):
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
