"""A file of labelled sentences → a model folder, measured on rows it didn't see, and a report.

After summary.py on the way of a sentence: puts reading, fitting, measuring and saving together for the command
line and for anyone who wants the same from Python.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import clone

from firstbert import __version__, answers, artifact
from firstbert.answers import LOCK, held
from firstbert.artifact import Artifact
from firstbert.classifier import SentenceClassifier
from firstbert.data import DataOptions, Examples, read, without_overlap
from firstbert.errors import DataError, UsageError
from firstbert.evaluate import Evaluation, carried_by, evaluate
from firstbert.facts import ReportFacts
from firstbert.finetune import Finetuning, finetune
from firstbert.fitting import check_fit
from firstbert.labels import rare
from firstbert.page import write
from firstbert.plan import FinetuneOptions
from firstbert.predictor import Predictions, is_finetuned
from firstbert.review import reviewed
from firstbert.summary import growth, report_facts, with_promise, with_training_rows
from firstbert.targets import encode_labels, hold_out

INT8_ROWS = 1000  # enough to see a loss of a point

_IMBALANCE = 10  # times as many rows of one label as of another
_KEPT = (
    "n", "accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "pr_auc", "log_loss", "brier", "ece",
    "baseline_accuracy", "intervals", "bootstrap", "abstention",
)  # fmt: skip
_KEPT_PER_LABEL = ("precision", "recall", "f1", "support")


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
        neighbours: put the training sentences and their vectors in as well, for `firstbert.explain`.
        max_int8_loss: with int8, the most points of accuracy that it may cost against fp32, in cross-validation on
            training rows; of what is fine-tuned, on the validation rows, and fp32 is kept where it costs more.
        finetune: how the encoder is to learn as well; None: it stays as it is.
        validation: with it, a file of rows to stop by; None: a part of `data`.
        teacher: with it, a model folder whose probabilities are learned from.
        unlabelled: with a teacher, a file of texts without labels.
        drop: a file that `check_labels` wrote; the head isn't fitted on the rows it drops, and labels it corrects are.
        report: an HTML file to write.
        command: what was typed, for the report.
        reading: columns, bad rows, repeats.
        classifier: arguments of `SentenceClassifier`.
    """

    data: object
    output: Path
    test: object | None = None
    test_size: float = 0.25
    seed: int = 0
    portable: bool = False
    neighbours: bool = False
    max_int8_loss: float = 1.0
    finetune: FinetuneOptions | None = None
    validation: object | None = None
    teacher: Path | None = None
    unlabelled: object | None = None
    drop: Path | None = None
    report: Path | None = None
    command: str | None = None
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
        report: the HTML file, if one was asked for.
    """

    model: Path
    classifier: SentenceClassifier
    n_train: int
    seconds: float
    test: Evaluation | None
    report: Path | None = None

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
            "temperature": predictor.calibration.temperature,
            "promise": self.classifier.facts_["promise"],
            "layers": self.classifier.facts_["layers"],
            "finetune": self.classifier.facts_.get("finetune"),
            "report": self.report and str(self.report),
            "test": None if self.test is None else with_promise(self.test.as_dict(), self.classifier.facts_),
        }


def train(options: TrainOptions, say: Callable[[str], None] = lambda message: None) -> Training:
    """Read, fit, measure, save.

    Args:
        options: see there.
        say: takes a line about what is found and done.

    Raises:
        FirstbertError: data, options, encoder or output can't be used; nothing has been written then.
    """
    artifact.check_target(options.output)
    _check_report(options)
    classifier = SentenceClassifier(random_state=options.seed, **options.classifier)
    check_fit(classifier.fit_options())
    if not math.isfinite(options.max_int8_loss):  # nothing is over NaN
        raise UsageError(f"The 'max_int8_loss' option must be a finite number. Got {options.max_int8_loss!r} instead.")
    with _working(options):
        return _train(options, classifier, say)


def _train(options: TrainOptions, classifier: SentenceClassifier, say: Callable[[str], None]) -> Training:
    start = time.perf_counter()
    train_rows, test_rows, left_out = _rows(options, say)
    say(f"Training on {len(train_rows.texts) - len(left_out)} rows of {train_rows.source}.")
    if options.finetune is not None:
        classifier = _finetuned(options, classifier, (train_rows, test_rows), left_out, say)
    else:
        if classifier.precision == "int8":
            _check_int8(train_rows, classifier, options, say)
        classifier.fit_examples(train_rows, left_out=left_out)
    classifier.facts_["data"] = Path(train_rows.source).name  # where it lay says more than a model should tell
    classifier.facts_["versions"] = {"firstbert": __version__} | classifier.facts_["versions"]
    _say_what_was_found(classifier, train_rows, say)
    test = predictions = None
    if test_rows is not None:
        predictions = classifier.predictor_.predict(test_rows.texts, cache=classifier.cache)
        test = evaluate(test_rows, predictions)
        classifier.facts_["test"] = _kept(test)
    facts = _report(options, classifier, (train_rows, test_rows), predictions, test) if options.report else None
    if options.neighbours:
        classifier.keep_neighbours(train_rows.texts, train_rows.labels)
    folder = classifier.save(options.output, portable=options.portable)
    if options.finetune is not None:  # what it was made in goes; from here on the model's own folder answers
        shutil.rmtree(_work(options.output), ignore_errors=True)
        classifier.take_over(artifact.load(folder).predictor, classifier.facts_, classifier.neighbours_)
    if options.report and facts:
        write(options.report, facts)  # last: it may stand in the model folder
    return Training(folder, classifier, classifier.facts_["rows"], time.perf_counter() - start, test, options.report)


def _work(output: Path) -> Path:
    """Where a training keeps its state: beside the model, so that the same command finds it again."""
    place = output.absolute()  # "." has no name of its own
    return place.with_name(f".{place.name}.finetuning")


@contextmanager
def _working(options: TrainOptions) -> Iterator[None]:
    """Keep the place of a fine-tuning's state for this process; where nothing is kept there, nothing stays."""
    if options.finetune is None:
        yield
        return
    work = _work(options.output)
    work.parent.mkdir(parents=True, exist_ok=True)
    with held(work):
        try:
            yield
        finally:
            if work.is_dir() and all(path.name == LOCK for path in work.iterdir()):
                shutil.rmtree(work, ignore_errors=True)


def _finetuned(
    options: TrainOptions, classifier: SentenceClassifier, rows: tuple[Examples, Examples | None],
    left_out: Collection[int], say: Callable[[str], None],
) -> SentenceClassifier:  # fmt: skip
    assert options.finetune is not None
    train_rows, test_rows = rows
    validation = unlabelled = None
    if options.validation is not None:
        validation = _read_apart(options.validation, [each for each in rows if each is not None], options, say)
    if options.unlabelled is not None:
        unlabelled = read(options.unlabelled, replace(options.reading, rows=None, label=None), labelled=False)
        _tell(unlabelled, say)
    job = Finetuning(
        train_rows, _work(options.output), validation, left_out,
        artifact.load(options.teacher).predictor if options.teacher else None,
        unlabelled.texts if unlabelled else (), test_rows.texts if test_rows else (), options.max_int8_loss,
        options.finetune,
    )  # fmt: skip
    return finetune(classifier, job, say)


def _check_report(options: TrainOptions) -> None:
    """Refuse a place for the report before the training; the model folder itself is made by then."""
    if options.report is None or options.report.absolute().parent == options.output.absolute():
        return
    if options.report.absolute() == options.output.absolute():
        raise UsageError(f"{options.report}: is to be the model's folder; name another place for the report.")
    answers.check_place(options.report)


def _kept(test: Evaluation) -> dict[str, Any]:
    """What of the measuring goes into the model folder."""
    found = test.as_dict()
    scores = {label: {name: scores[name] for name in _KEPT_PER_LABEL} for label, scores in found["per_class"].items()}
    return {name: found[name] for name in _KEPT} | {"per_class": scores}


def _say_what_was_found(classifier: SentenceClassifier, rows: Examples, say: Callable[[str], None]) -> None:
    layer, pooling = classifier.predictor_.engine.layer, classifier.predictor_.engine.pooling
    if classifier.facts_["layers"]:
        which = f"layer {layer}" if isinstance(layer, int) else f"layers {' + '.join(map(str, layer))}"
        say(f"Reads {which} ({pooling}), by cross-validation on the training rows.")
    if bound := classifier.facts_["promise"]:
        say(_promised(bound))
    counts = classifier.facts_["rows_per_label"]
    if classifier.thresholds == "equal" and max(counts) >= _IMBALANCE * min(counts):
        say(f"Labels are uneven ({min(counts):,} to {max(counts):,} rows): --thresholds macro-f1 finds more of the "
            'rare ones (in Python: thresholds="macro_f1").')  # fmt: skip


def _promised(bound: dict[str, Any]) -> str:
    if bound["error"] is None:
        return (
            f"On {bound['rows']:,} rows held out, no threshold could be shown to keep errors within "
            f"{bound['max_error']:.1%}: every answer will be unsure. Allow more errors, or give more rows."
        )
    return (
        f"With confidence {bound['confidence']:.0%}, at most {bound['max_error']:.1%} of the answers that aren't "
        f"unsure are wrong; {bound['coverage']:.1%} of {bound['rows']:,} rows held out got such an answer."
    )


def _report(
    options: TrainOptions, classifier: SentenceClassifier, rows: tuple[Examples, Examples | None],
    predictions: Predictions | None, test: Evaluation | None,
) -> ReportFacts:  # fmt: skip
    train_rows, test_rows = rows
    model = Artifact(classifier.predictor_, classifier.facts_, ())
    if not is_finetuned(classifier.facts_):  # whose vectors have all the rows in them already
        classifier.facts_["growth"] = growth(model, train_rows, cache=classifier.cache)
    commands = (options.command,) if options.command else ()
    facts = report_facts(model, str(options.output), test_rows, predictions, test, commands)
    return with_training_rows(facts, model, train_rows, cache=classifier.cache)


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


def _rows(options: TrainOptions, say: Callable[[str], None]) -> tuple[Examples, Examples | None, set[int]]:
    """The rows to learn from, those to measure on, and which of the first to leave out of the fit; told is what is odd.

    Rows held out to measure on stay even where their labels are in doubt: without them all would look too easy.
    """
    examples, dropped = read(options.data, options.reading), frozenset[int]()
    if options.drop:
        after = reviewed(examples, options.drop)
        examples, dropped = after.examples, after.dropped
    _tell(examples, say, training=True)
    if options.test is None:
        inside, outside = _hold_out(examples, options)
        left_out = {k for k, i in enumerate(inside) if i in dropped}
        return examples.take(inside), examples.take(outside) if outside else None, left_out
    test = _read_apart(options.test, [examples], options, say)
    carried_by(test, encode_labels(examples.labels)[0], examples.many)  # unknown labels are told before the training
    return examples, test, set(dropped)


def _read_apart(
    source: object, others: Sequence[Examples], options: TrainOptions, say: Callable[[str], None]
) -> Examples:
    """Rows to measure on, whole: `rows` bounds what is trained on. What others hold too is told."""
    kind: Literal["one", "many"] = "many" if others[0].many else "one"
    found = read(source, replace(options.reading, rows=None, labels=kind), training=False)
    for other in others:
        found = without_overlap(found, other, options.reading)
    _tell(found, say)
    return found


def _tell(examples: Examples, say: Callable[[str], None], *, training: bool = False) -> None:
    for finding in examples.findings:
        say(finding.message)
    for finding in rare(examples.labels or [], examples.lines, examples.place) if training else ():
        say(finding.message)


def _hold_out(examples: Examples, options: TrainOptions) -> tuple[list[int], list[int]]:
    """A stratified part for measuring; equal texts stay on one side, so that none is measured after training on it."""
    if not 0 <= options.test_size < 1:
        raise UsageError(f"The 'test_size' option must be in [0, 1). Got {options.test_size!r} instead.")
    if options.test_size == 0:
        return list(range(len(examples.texts))), []
    labels, y = encode_labels(examples.labels)
    try:
        return hold_out(examples.texts, y, options.test_size, options.seed)
    except ValueError as error:
        raise DataError(
            f"{examples.source}: {len(examples.texts)} rows of {len(labels)} labels are too few to hold out "
            f"{options.test_size:.0%} of them. Give --test FILE, or --test-size 0 to measure nothing."
        ) from error
