"""Texts and labels → a Predictor, with the facts of its making.

After predictor.py on the way of a sentence: chooses the layer, encodes, fits the head, calibrates it and sets its
thresholds. classifier.py gives it scikit-learn's face.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, Literal, cast, get_args

import numpy as np

from firstbert.cache import encode
from firstbert.calibration import calibrate
from firstbert.data import Examples, Label
from firstbert.decision import Decision, Promise, macro_f1_thresholds, promise
from firstbert.engine import Encoded, EngineOptions, open_engine
from firstbert.errors import DataError, UsageError
from firstbert.graph import Pooling, first_only
from firstbert.head import Fit, Head, HeadOptions, check, fit_head
from firstbert.predictor import Predictor
from firstbert.search import LEAST_ROWS, Search, by_rule, places_to_try, rows_to_search, search
from firstbert.targets import BoolArray, ClassIndex, DoubleArray, Targets, encode_labels, hold_out

Thresholds = Literal["equal", "macro_f1"]

PROMISE_SHARE = 0.25  # of the rows, held out to bound the errors
_SEARCHED = ("auto", "best")


@dataclass(frozen=True)
class FitOptions:
    """What to fit.

    Attributes:
        engine: the encoder; its layer may also be ``"auto"`` (one layer, searched) or ``"best"`` (several may be put
            side by side); both poolings are searched where pooling is ``"auto"``.
        C: inverse strength of the L2 penalty, or ``"auto"``.
        class_weight: None, ``"balanced"``, or label → weight.
        folds: of the cross-validation.
        seed: of the folds and of what is held out.
        thresholds: ``"equal"``, or ``"macro_f1"``: one for each label, so that the mean of the labels' F1 is largest.
        max_error: bound the share of wrong answers among those that are not unsure; None: no answer is unsure.
        confidence: with which that bound holds.
        cache: keep vectors in the cache folder and take them from there.
    """

    engine: EngineOptions
    C: float | Literal["auto"] = "auto"
    class_weight: Mapping[Label, float] | Literal["balanced"] | None = None
    folds: int = 5
    seed: int = 0
    thresholds: Thresholds = "equal"
    max_error: float | None = None
    confidence: float = 0.9
    cache: bool = True


@dataclass(frozen=True)
class Fitted:
    """What came of it.

    Attributes:
        predictor: what answers.
        fit: the head and its search over C.
        search: of the layer; None where it was given, or there were too few rows for a search.
        promise: what bounds the errors, if that was asked for.
        truncated: (N,) which texts were cut.
        facts: of the training, ready for JSON.
    """

    predictor: Predictor
    fit: Fit
    search: Search | None
    promise: Promise | None
    truncated: BoolArray
    facts: dict[str, Any]


def fit(examples: Examples, options: FitOptions, sample_weight: Any = None, left_out: Collection[int] = ()) -> Fitted:
    """Fit a classifier on a frozen encoder's vectors.

    Args:
        examples: with labels.
        options: see there.
        sample_weight: (N,), None for equal weights.
        left_out: positions of rows whose labels the head isn't fitted on, since they are in doubt. All else, from the
            choice of the layer to the bound on errors, is done with them: those that stay are the easy ones.

    Raises:
        DataError: fewer than two labels, or all rows of one are left out.
        UsageError: an option makes no sense.
        EncoderError, SourceError: the encoder can't be used or had.
    """
    check_fit(options)
    if examples.labels is None:
        raise UsageError("fit needs labels.")
    labels, y = encode_labels(examples.labels)
    return _Fitting(examples, options, labels, y, _weights(sample_weight, len(y)), left_out).run()


def check_fit(options: FitOptions) -> None:
    """Refuse options that are out of range; worth asking before anything takes time.

    Raises:
        UsageError: the option is named.
    """
    check(_head_options(options))
    if options.thresholds not in get_args(Thresholds):
        raise UsageError(f"The 'thresholds' option must be 'equal' or 'macro_f1'. Got {options.thresholds!r} instead.")
    for name, value in (("max_error", options.max_error), ("confidence", options.confidence)):
        if value is not None and not (isinstance(value, float) and 0 < value < 1):
            raise UsageError(f"The {name!r} option must be a number between 0 and 1. Got {value!r} instead.")
    if not isinstance(options.seed, int | np.integer) or not 0 <= options.seed < 2**32:
        raise UsageError(f"The seed (random_state) must be an int in [0, {2**32 - 1}]. Got {options.seed!r} instead.")


def _head_options(options: FitOptions) -> HeadOptions:
    """Of a head, for labels whose weights aren't known by their numbers yet."""
    named = options.class_weight if isinstance(options.class_weight, str) else None
    return HeadOptions(options.C, cast("Any", named), options.folds, options.seed)


def _weights(sample_weight: Any, n: int) -> DoubleArray | None:
    if sample_weight is None:
        return None
    try:
        weight = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"sample_weight must hold {n} numbers ({error}).") from error
    if weight.shape != (n,):
        raise UsageError(f"sample_weight must have shape ({n},). Got {weight.shape} instead.")
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise UsageError("sample_weight must hold finite numbers, none below 0 and not all of them zero.")
    return weight


class _Fitting:
    """One call of `fit`."""

    def __init__(  # noqa: PLR0917 - made by `fit` alone
        self, examples: Examples, options: FitOptions, labels: list[Label], y: ClassIndex | BoolArray,
        weight: DoubleArray | None, left_out: Collection[int],
    ) -> None:  # fmt: skip
        self.examples, self.options, self.labels, self.y, self.weight = examples, options, labels, y, weight
        self.many = y.ndim == 2
        self.left_out = np.isin(np.arange(len(y)), sorted(left_out))
        self.head_options = replace(_head_options(options), class_weight=weights_by_index(options.class_weight, labels))
        self.carried = self.head_options.targets(y).carried

    def run(self) -> Fitted:
        rows, held = self._parts()
        self._check_left(rows)
        y, weight = self.y[rows], None if self.weight is None else self.weight[rows]
        engine_options, found, encoded = self._place(rows, y, weight)
        engine = open_engine(engine_options)
        encoded = encoded or encode(engine, self.examples.texts, self.options.cache)
        fit = fit_head(encoded.joined[rows], y, self.head_options, weight, self.left_out[rows])
        targets = self.head_options.targets(y, weight)
        predictor = answering(self.labels, fit.head, engine_options, fit.scores, targets, self.options.thresholds)
        bound = self._promise(predictor, fit, encoded, rows, held)
        if bound is not None:
            predictor = replace(predictor, decision=replace(predictor.decision, accept=bound.threshold))
        facts = self._facts(fit, found, bound, encoded) | {"versions": versions(engine.prepared.libraries)}
        return Fitted(predictor, fit, found, bound, encoded.truncated, facts)

    def _check_left(self, rows: ClassIndex) -> None:
        for c in np.flatnonzero(~self.carried[rows][~self.left_out[rows]].any(axis=0)):
            raise DataError(f"{self.examples.source}: no row labelled {self.labels[c]!r} is left to learn from.")

    def _parts(self) -> tuple[ClassIndex, ClassIndex]:
        """The rows to learn from, and those held out to bound the errors: none unless that was asked for."""
        every = np.arange(len(self.y))
        if self.options.max_error is None:
            return every, every[:0]
        try:
            inside, outside = hold_out(self.examples.texts, self.y, PROMISE_SHARE, self.options.seed)
        except ValueError as error:
            raise DataError(
                f"{self.examples.source}: {len(self.y)} rows are too few to bound the errors (max_error): "
                f"{PROMISE_SHARE:.0%} of them would have to be held out for it."
            ) from error
        return np.array(inside), np.array(outside)

    # -- the layer

    def _place(
        self, rows: ClassIndex, y: ClassIndex | BoolArray, weight: DoubleArray | None
    ) -> tuple[EngineOptions, Search | None, Encoded | None]:
        """The encoder with the layer decided on, and the vectors of all texts where the search has them already."""
        options = self.options.engine
        if options.layer not in _SEARCHED:
            return options, None, None
        whole = open_engine(replace(options, layer="last"))
        layers = whole.prepared.architecture.layers
        if len(rows) < LEAST_ROWS:
            return replace(options, layer=by_rule(layers)), None, None
        poolings = ("cls", "mean") if options.pooling == "auto" else (options.pooling,)
        reads = places_to_try(layers, cast("tuple[Pooling, ...]", poolings))
        most = rows_to_search(len(reads), whole.prepared.architecture.width, len(self.labels))
        sample = np.sort(np.random.default_rng(self.options.seed).permutation(len(rows))[:most])
        texts = [self.examples.texts[i] for i in rows[sample]]
        engine = open_engine(whole.options, reads)
        encoded = encode(engine, texts, self.options.cache)
        found = search(
            encoded.vectors, reads, y[sample], self.head_options, None if weight is None else weight[sample],
            join=options.layer == "best",
        )  # fmt: skip
        if found is None:
            return replace(options, layer=by_rule(layers)), None, None
        place = found.chosen
        layer = place.layers if len(place.layers) > 1 else place.layers[0]
        chosen = replace(options, layer=layer, pooling=place.pooling)
        if len(texts) < len(self.y) or first_only(place.reads, max(place.layers)):
            return chosen, found, None  # [CLS] alone is read from a graph cut there, whose last bits are others
        columns = [reads.index(read) for read in place.reads]
        return chosen, found, Encoded(np.ascontiguousarray(encoded.vectors[:, columns]), encoded.truncated)

    # -- the bound on errors

    def _promise(
        self, predictor: Predictor, fit: Fit, encoded: Encoded, rows: ClassIndex, held: ClassIndex
    ) -> Promise | None:
        if self.options.max_error is None:
            return None
        if fit.scores is None:
            raise DataError(f"{self.examples.source}: {len(rows)} rows are too few to bound the errors (max_error).")
        unseen = predictor.head.scores(encoded.joined[held]), self.carried[held]
        seen = fit.scores, self.carried[rows]
        return bound_errors(predictor, unseen, seen, self.options.max_error, self.options.confidence)

    # -- the facts

    def _facts(self, fit: Fit, found: Search | None, bound: Promise | None, encoded: Encoded) -> dict[str, Any]:
        return {
            "rows": int((~self.left_out).sum()),
            "rows_per_label": self.carried[~self.left_out].sum(axis=0).tolist(),
            "left_out": int(self.left_out.sum()),
            "truncated_rows": int(encoded.truncated.sum()),
            "data_sha256": self.examples.sha256,
            "seed": int(self.options.seed),
            "C": fit.C,
            "cv_accuracy": fit.accuracy,
            "layers": None if found is None else found.as_dicts(),
            "thresholds": self.options.thresholds,
            "promise": None if bound is None else asdict(bound),
        }


def weights_by_index(
    asked: Mapping[Label, float] | Literal["balanced"] | None, labels: Sequence[Label]
) -> Mapping[int, float] | Literal["balanced"] | None:
    """Return the weights of classes by their index, as regressions take them.

    Raises:
        UsageError: a weight is no number above 0, or of no label of the rows.
    """
    if not isinstance(asked, Mapping):
        return asked
    unknown = [label for label in asked if label not in labels]
    if unknown:
        raise UsageError(f"class_weight names {unknown[0]!r}, which is no label of these rows.")
    for label, weight in asked.items():
        if not (isinstance(weight, int | float | np.number) and 0 < weight < np.inf):
            raise UsageError(
                f"The weight of {label!r} in class_weight must be a number above 0. Got {weight!r} instead."
            )
    return {labels.index(label): weight for label, weight in asked.items()}


def answering(  # noqa: PLR0917 - in the order in which a text meets them
    labels: Sequence[Label], head: Head, encoder: EngineOptions, scores: DoubleArray | None, targets: Targets,
    thresholds: Thresholds,
) -> Predictor:  # fmt: skip
    """Return what answers: the head calibrated, and its thresholds set.

    Args:
        labels: C, in order.
        head: of their scores.
        encoder: of its vectors.
        scores: (N, C) of rows that the head was not fitted on; None: there are none.
        targets: their labels.
        thresholds: see `FitOptions`.
    """
    calibration, limits = calibrate(scores, targets), None
    if thresholds != "equal" and scores is not None:
        limits = macro_f1_thresholds(calibration.probabilities(scores), targets.carried, targets.many)
    weights_sha256 = open_engine(encoder).prepared.weights_sha256
    return Predictor(tuple(labels), head, encoder, weights_sha256, calibration, Decision(targets.many, limits))


def bound_errors(
    predictor: Predictor, unseen: tuple[DoubleArray, BoolArray], seen: tuple[DoubleArray, BoolArray],
    max_error: float, confidence: float,
) -> Promise:  # fmt: skip
    """Find from which confidence on answers are wrong at most so often; see `firstbert.decision.promise`.

    Args:
        predictor: whose answers.
        unseen: scores (N, C) and labels (N, C) of rows that nothing of it has seen.
        seen: of others, to choose what to prove.
        max_error, confidence: see `FitOptions`.
    """

    def answered(scores: DoubleArray, carried: BoolArray) -> tuple[DoubleArray, BoolArray]:
        p = predictor.calibration.probabilities(scores)
        return predictor.decision.confidence(p), (predictor.decision.chosen(p) == carried).all(axis=1)

    return promise(answered(*unseen), answered(*seen), max_error, confidence)


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of what a model was made with."""
    return {name: version(name) for name in ("numpy", *libraries, "scikit-learn", "tokenizers")}
