"""A file of labelled sentences → a model folder, measured on rows it didn't see.

After report.py on the way of a sentence: puts reading, fitting, measuring and saving together for the command
line and for anyone who wants the same from Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from firstbert import artifact
from firstbert.classifier import SentenceClassifier
from firstbert.data import DataOptions, Examples, read, without_overlap
from firstbert.errors import DataError, UsageError
from firstbert.evaluate import Evaluation, evaluate, true_classes
from firstbert.targets import encode_labels, hold_out

INT8_ROWS = 1000  # enough to see a loss of a point


@dataclass(frozen=True)
class TrainOptions:
    """What to train and how.

    Attributes:
        data: a file, ``"-"`` for stdin, or a frame.
        output: the model folder.
        test: a file to measure on; None: a part of `data` is held out.
        test_size: that part, in [0, 1); with 0 nothing is measured.
        seed: of the hold-out and of the cross-validation.
        portable: put the encoder into the model folder.
        max_int8_loss: with int8, the most points of cross-validated accuracy it may cost against fp32.
        reading: columns, bad rows, repeats.
        classifier: arguments of `SentenceClassifier`.
    """

    data: object
    output: Path
    test: object | None = None
    test_size: float = 0.25
    seed: int = 0
    portable: bool = False
    max_int8_loss: float = 1.0
    reading: DataOptions = field(default_factory=DataOptions)
    classifier: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """What came of it.

    Attributes:
        model: the folder.
        classifier: fitted.
        n_train: rows fitted on.
        seconds: wall time, encoder's download included where there was one.
        test: None where nothing was held out.
    """

    model: Path
    classifier: SentenceClassifier
    n_train: int
    seconds: float
    test: Evaluation | None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts ready for JSON."""
        predictor = self.classifier.predictor_
        return {
            "model": str(self.model),
            "encoder": predictor.encoder.encoder,
            "layer": predictor.engine.layer,
            "pooling": predictor.engine.pooling,
            "n_train": self.n_train,
            "seconds": round(self.seconds, 2),
            "C": self.classifier.C_,
            "cv_accuracy": self.classifier.cv_accuracy_,
            "test": None if self.test is None else self.test.as_dict(),
        }


def train(options: TrainOptions, say: Callable[[str], None] = lambda message: None) -> Training:
    """Read, fit, measure, save.

    Args:
        options: see there.
        say: takes a line about what is found and done.

    Raises:
        FirstbertError: data, options, encoder or output can't be used; nothing has been written then.
    """
    start = time.perf_counter()
    artifact.check_target(options.output)
    train_rows, test_rows = _rows(options, say)
    say(f"Training on {len(train_rows.texts)} rows of {train_rows.source}.")
    classifier = SentenceClassifier(random_state=options.seed, **options.classifier)
    if classifier.precision == "int8":
        _check_int8(train_rows, classifier, options, say)
    classifier.fit_examples(train_rows)
    test = None
    if test_rows is not None:
        test = evaluate(test_rows, classifier.predictor_.predict(test_rows.texts, cache=classifier.cache))
        names = ("n", "accuracy", "macro_f1", "log_loss", "ece", "baseline_accuracy")
        classifier.facts_["test"] = {name: getattr(test, name) for name in names}
    folder = classifier.save(options.output, portable=options.portable)
    return Training(folder, classifier, len(train_rows.texts), time.perf_counter() - start, test)


def _check_int8(
    rows: Examples, classifier: SentenceClassifier, options: TrainOptions, say: Callable[[str], None]
) -> None:
    """Tell what int8 costs in accuracy, by cross-validation on some of the rows; refuse where that is too much."""
    chosen = np.random.default_rng(options.seed).permutation(len(rows.texts))[:INT8_ROWS]
    sample = rows.take(sorted(chosen.tolist()))
    fp32, int8 = (clone(classifier).set_params(precision=p).fit_examples(sample).cv_accuracy_ for p in ("fp32", "int8"))
    if fp32 is None or int8 is None:
        say("There are too few rows to measure what int8 costs in accuracy.")
        return
    cost = f"int8 brings the cross-validated accuracy on {len(sample.texts)} rows from {fp32:.1%} to {int8:.1%}"
    if 100 * (fp32 - int8) > options.max_int8_loss:
        raise UsageError(
            f"{cost}; at most {options.max_int8_loss:g} points may be lost. Take fp32, or raise --max-int8-loss "
            "(in Python: max_int8_loss)."
        )
    say(f"{cost}.")


def _rows(options: TrainOptions, say: Callable[[str], None]) -> tuple[Examples, Examples | None]:
    """The rows to fit on and those to measure on; told is what is odd about them."""
    examples = read(options.data, options.reading)
    _tell(examples, say)
    if options.test is None:
        return _hold_out(examples, options)
    # `rows` bounds what is trained on; the test file is always taken whole
    test = read(options.test, replace(options.reading, rows=None), training=False)
    test = without_overlap(test, examples, options.reading)
    _tell(test, say)
    true_classes(test, encode_labels(examples.labels)[0])  # an unknown label is told before the training, not after
    return examples, test


def _tell(examples: Examples, say: Callable[[str], None]) -> None:
    for finding in examples.findings:
        say(finding.message)


def _hold_out(examples: Examples, options: TrainOptions) -> tuple[Examples, Examples | None]:
    """A stratified part for measuring; equal texts stay on one side, so that none is measured after training on it."""
    if not 0 <= options.test_size < 1:
        raise UsageError(f"The 'test_size' option must be in [0, 1). Got {options.test_size!r} instead.")
    if options.test_size == 0:
        return examples, None
    labels, y = encode_labels(examples.labels)
    try:
        inside, outside = hold_out(examples.texts, y, options.test_size, options.seed)
    except ValueError as error:
        raise DataError(
            f"{examples.source}: {len(examples.texts)} rows of {len(labels)} labels are too few to hold out "
            f"{options.test_size:.0%} of them. Give --test FILE, or --test-size 0 to measure nothing."
        ) from error
    return examples.take(inside), examples.take(outside)
