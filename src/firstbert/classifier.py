"""SentenceClassifier: texts and labels → a classifier, as a scikit-learn estimator; and `load`, its way back.

After artifact.py on the way of a sentence. What it learns is a `Predictor`; the rest is scikit-learn's face.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from firstbert import artifact
from firstbert.backend import Backend
from firstbert.data import DataOptions, Examples, Label, from_lists
from firstbert.encoder import warn_of_truncation
from firstbert.engine import EngineOptions
from firstbert.errors import DataError
from firstbert.fitting import FitOptions, Thresholds, fit
from firstbert.neighbours import Neighbours, neighbours
from firstbert.predictor import Predictions, Predictor, is_finetuned
from firstbert.prepared import Precision
from firstbert.targets import BoolArray, DoubleArray
from firstbert.torch_session import Device


class SentenceClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A frozen pretrained encoder and a logistic regression: texts → labels with probabilities.

    Args:
        encoder, pooling, max_length, precision, threads, batch_tokens, backend, device: see `SentenceEncoder`.
        layer: ``"auto"`` reads the layer that cross-validation on the training rows finds best, the lower one on a tie,
            with either pooling where that is ``"auto"``; ``"best"`` may put several layers side by side; ``"last"``,
            a number from 1, or several numbers are taken as given.
        C: inverse strength of the L2 penalty; ``"auto"`` takes the one with the least log-loss in cross-validation
            on the training rows.
        class_weight: None, ``"balanced"``, or label → weight.
        folds: of that cross-validation.
        thresholds: ``"equal"``: the most probable label is answered; ``"macro_f1"``: each label gets a threshold, so
            that the mean of the labels' F1 is largest, which finds more of rare labels and costs some accuracy.
        max_error: bound the share of wrong answers among those that are not unsure, 0.05 say, by holding out a quarter
            of the rows; see `firstbert.decision.promise`. None: no answer is unsure.
        confidence: the probability with which that bound holds.
        random_state: seed of the folds and of what is held out.
        cache: keep vectors in the cache folder and take them from there, in `fit` and in predictions; what comes
            out is the same, bit for bit. torch's vectors are never kept, since they differ in their last bits.

    Attributes:
        classes_: ndarray of shape (n_classes,), the labels in order, in the type they were given in; where they were
            given as a matrix, its columns' names or numbers.
        predictor_: what answers; see `Predictor`.
        C_: the penalty used; None where encoder and head learned together.
        cv_accuracy_: accuracy in cross-validation on the training rows; None where there was none.
        facts_: what is known of the training, as kept in model.json.
        neighbours_: training sentences with their vectors, where `keep_neighbours` kept some; else None.

    Examples:
        >>> from firstbert import SentenceClassifier
        >>> texts = ["Great fun!", "A joy.", "I loved it.", "Dreadful.", "A bore.", "I hated it."]
        >>> classifier = SentenceClassifier("minilm").fit(texts, ["good"] * 3 + ["bad"] * 3)
        >>> classifier.predict(["What a pleasure."]).tolist()
        ['good']
    """

    def __init__(
        self,
        encoder: str = "minilm",
        *,
        pooling: str = "auto",
        layer: str | int | tuple[int, ...] = "auto",
        max_length: int = 256,
        precision: Precision = "fp32",
        threads: int | None = None,
        batch_tokens: int | None = None,
        backend: Backend = "auto",
        device: Device = "auto",
        C: float | Literal["auto"] = "auto",
        class_weight: Mapping[Label, float] | Literal["balanced"] | None = None,
        folds: int = 5,
        thresholds: Thresholds = "equal",
        max_error: float | None = None,
        confidence: float = 0.9,
        random_state: int = 0,
        cache: bool = True,
    ) -> None:
        self.encoder = encoder
        self.pooling = pooling
        self.layer = layer
        self.max_length = max_length
        self.precision = precision
        self.threads = threads
        self.batch_tokens = batch_tokens
        self.backend = backend
        self.device = device
        self.C = C
        self.class_weight = class_weight
        self.folds = folds
        self.thresholds = thresholds
        self.max_error = max_error
        self.confidence = confidence
        self.random_state = random_state
        self.cache = cache

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Encode the texts and fit the head.

        Args:
            X: N texts.
            y: N labels: all str, all int, all float or all bool; or N lists of them, or strings with `|` between
                them, where a text may carry many; or a matrix of shape (n_texts, n_classes) of 0 and 1, array or frame.
            sample_weight: N weights, None for equal ones.

        Raises:
            DataError: a row that can't be used, or fewer than two labels.
            UsageError: an option makes no sense.
        """
        if not _is_matrix(y):
            return self.fit_examples(from_lists(X, y), sample_weight)
        names, rows, kind = _from_matrix(y)
        self.fit_examples(from_lists(X, rows), sample_weight)
        self.classes_ = _as_array(names)
        self.matrix_type_: np.dtype[Any] | None = kind
        return self

    def fit_examples(self, examples: Examples, sample_weight: Any = None, left_out: Collection[int] = ()) -> Self:
        """Fit on rows that `firstbert.data` has read and checked already; see `firstbert.fitting.fit`."""
        fitted = fit(examples, self.fit_options(), sample_weight, left_out)
        warn_of_truncation(fitted.truncated, self.max_length)
        return self.take_over(fitted.predictor, fitted.facts)

    def keep_neighbours(self, X: Any, y: Any) -> Self:
        """Keep these rows with their vectors, so that `firstbert.explain` can show those nearest to a text.

        They go into the model folder too, readable by anyone who has it. Of more than 20,000 a sample is kept.
        """
        check_is_fitted(self, "predictor_")
        rows = from_lists(X, _from_matrix(y)[1] if _is_matrix(y) else y, training=False)
        self.neighbours_: Neighbours | None = neighbours(
            self.predictor_, rows.texts, rows.labels or [], seed=self.random_state, cache=self.cache
        )
        return self

    def take_over(self, predictor: Predictor, facts: dict[str, Any], kept: Neighbours | None = None) -> Self:
        """Answer by a predictor that was made elsewhere, as if it had been fitted here."""
        self.C_, self.cv_accuracy_, self.facts_ = facts.get("C"), facts.get("cv_accuracy"), facts
        self.predictor_ = predictor
        self.neighbours_ = kept
        self.classes_ = _as_array(list(predictor.labels))
        self.matrix_type_ = None
        return self

    def fit_options(self) -> FitOptions:
        """Return the arguments as `firstbert.fitting.fit` takes them."""
        layer = tuple(self.layer) if isinstance(self.layer, list) else self.layer
        engine = {field.name: getattr(self, field.name) for field in fields(EngineOptions)} | {"layer": layer}
        return FitOptions(
            EngineOptions(**engine), self.C, self.class_weight, self.folds, self.random_state, self.thresholds,
            self.max_error, self.confidence, self.cache,
        )  # fmt: skip

    def predictions(self, X: Any) -> Predictions:
        """Return labels' probabilities together with which texts were cut.

        Raises:
            DataError: an item of `X` is no text, or an empty one.
        """
        check_is_fitted(self, "predictor_")
        predictor = self.predictor_.with_threads(self.threads).with_device(self.device)
        return predictor.predict(from_lists(X).texts, cache=self.cache)

    def predict_proba(self, X: Any) -> DoubleArray:
        """Return probabilities, ndarray of shape (n_texts, n_classes), columns in the order of `classes_`.

        Rows sum to 1, but not where a text may carry many labels.
        """
        predictions = self.predictions(X)
        warn_of_truncation(predictions.truncated, self.max_length)
        p = predictions.probabilities
        return p if self.matrix_type_ is None else self._columns(p, p.dtype)

    def _columns(self, values: DoubleArray | BoolArray, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """The columns of the matrix that was given; those without a single 1 are unknown to the predictor."""
        names = self.classes_.tolist()
        matrix = np.zeros((len(values), len(names)), kind)
        matrix[:, [names.index(label) for label in self.predictor_.labels]] = values
        return matrix

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the answer for each text, ndarray of shape (n_texts,): a label, or a tuple where there may be many.

        Where labels were given as a matrix, it is an ndarray of 0 and 1 of shape (n_texts, n_classes).
        """
        predictions = self.predictions(X)
        warn_of_truncation(predictions.truncated, self.max_length)
        answers = predictions.best()
        if self.matrix_type_ is not None:
            return self._columns(predictions.chosen, self.matrix_type_)
        if not predictions.decision.many:
            labels: npt.NDArray[Any] = self.classes_[predictions.chosen.argmax(axis=1)]
            return labels
        many = np.empty(len(answers), object)
        many[:] = answers
        return many

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; where a text may carry many labels, the share of texts with all of them right."""
        predictions = self.predictions(X)
        warn_of_truncation(predictions.truncated, self.max_length)
        reading = DataOptions(labels="many" if predictions.decision.many else "one")
        labels = _from_matrix(y)[1] if _is_matrix(y) else y
        truth = from_lists(X, labels, options=reading, training=False).labels or []
        right = [answer == label for answer, label in zip(predictions.best(), truth, strict=True)]
        return float(np.average(right, weights=sample_weight))

    def save(self, folder: str | Path, *, portable: bool = False) -> Path:
        """Write the model folder; `portable` puts the encoder in as well, where a fine-tuned one always is.

        See `firstbert.artifact`.

        Raises:
            ArtifactError: the place holds something else, or can't be written.
        """
        check_is_fitted(self, "predictor_")
        made = artifact.make(self.predictor_, self.facts_, self.neighbours_, cache=self.cache)
        # Nobody else has the encoder of a fine-tuned one.
        return artifact.save(made, folder, portable=portable or is_finetuned(self.facts_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def load(folder: str | Path) -> SentenceClassifier:
    """Return the classifier of a model folder.

    Raises:
        ArtifactError: the folder is damaged, foreign or of a newer format.
    """
    loaded = artifact.load(folder)
    options = loaded.predictor.encoder
    classifier = SentenceClassifier(
        options.encoder,
        pooling=options.pooling,
        layer=options.layer,
        max_length=options.max_length,
        precision=options.precision,
        backend=options.backend,
        random_state=loaded.training.get("seed", 0),
    )
    return classifier.take_over(loaded.predictor, loaded.training, loaded.neighbours)


def _is_matrix(y: Any) -> bool:
    return len(getattr(y, "shape", ())) == 2


def _from_matrix(y: Any) -> tuple[list[Label], list[tuple[Label, ...]], np.dtype[Any]]:
    """The columns' names or numbers, each row's labels, and the type of the 0s and 1s."""
    names, values = list(getattr(y, "columns", range(y.shape[1]))), np.asarray(y)
    if values.ndim != 2 or not np.isin(values, (0, 1)).all():
        raise DataError("texts: labels as a matrix must be a dense one of 0 and 1, with one column a label.")
    rows = [tuple(names[i] for i in np.flatnonzero(row)) for row in values]
    return names, rows, np.dtype(int) if values.dtype == object else values.dtype


def _as_array(labels: list[Label]) -> npt.NDArray[Any]:
    """Strings as Python objects, so that what comes back is the str that was given."""
    return np.array(labels, dtype=object if isinstance(labels[0], str) else None)
