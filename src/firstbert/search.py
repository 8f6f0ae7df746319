"""Every layer's vectors and labels → the layer to read.

After head.py on the way of a sentence. Cross-validation on the rows given, and nothing else, decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from firstbert.crossval import from_gram, spectrum, standardised
from firstbert.families import FloatArray
from firstbert.graph import Pooling, Read
from firstbert.head import HeadOptions, Tried, cross_validate
from firstbert.progress import progress
from firstbert.targets import BoolArray, ClassIndex, DoubleArray, standard_error

LEAST_ROWS = 64  # with fewer, the search found worse layers than the rule below it (SST-2, two encoders)
# What the search reads; more rows than fit are left out of it, not of what is fitted then.
BYTES = 600_000_000  # of vectors
SCORES = 150_000  # rows times labels: the work of a regression grows with both …
ENOUGH_ROWS = 3000  # … but with fewer rows, chance would choose
_JOINED_ROWS = 3000  # what concatenations are tried on: their products with each other are a matrix of N × N
_JOINED_MOST = 6  # layers side by side


@dataclass(frozen=True)
class Place:
    """A way of reading the encoder, and what cross-validation says about it.

    Attributes:
        layers: counted from 1; several are put side by side.
        pooling: as for each of them.
        C: the penalty with the least log-loss there.
        accuracy: on rows not fitted on.
        accuracy_se: its standard error over rows.
        log_loss: mean over rows, in nats.
        rows: it was tried on.
    """

    layers: tuple[int, ...]
    pooling: Pooling
    C: float
    accuracy: float
    accuracy_se: float
    log_loss: float
    rows: int

    @property
    def reads(self) -> tuple[Read, ...]:
        """What the encoder must give."""
        return tuple(Read(layer, self.pooling) for layer in self.layers)


@dataclass(frozen=True)
class Search:
    """What was tried, and what was chosen.

    Attributes:
        chosen: the winner.
        places: all that were tried, single layers first.
        level: those single layers whose log-loss is within one standard error of the least.
    """

    chosen: Place
    places: tuple[Place, ...]
    level: tuple[Place, ...] = ()

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return one JSON-ready dict per place."""
        return [
            {
                "layers": list(p.layers), "pooling": p.pooling, "C": p.C, "accuracy": p.accuracy,
                "accuracy_se": p.accuracy_se, "log_loss": p.log_loss, "rows": p.rows, "level": p in self.level,
                "chosen": p == self.chosen,
            }
            for p in self.places
        ]  # fmt: skip


def places_to_try(layers: int, poolings: Sequence[Pooling]) -> tuple[Read, ...]:
    """Return every layer of an encoder with each of the poolings."""
    return tuple(Read(layer, pooling) for layer in range(1, layers + 1) for pooling in poolings)


def rows_to_search(reads: int, width: int, labels: int) -> int:
    """Return how many rows a search reads at most: of `reads` vectors each, of numbers `width`, with C labels."""
    return max(LEAST_ROWS, min(BYTES // (4 * reads * width), max(ENOUGH_ROWS, SCORES // labels)))


def by_rule(layers: int) -> int:
    """Return the layer to read where there are too few rows to choose one: three quarters up."""
    return max(1, round(0.75 * layers))


def search(
    vectors: FloatArray,
    reads: Sequence[Read],
    y: ClassIndex | BoolArray,
    options: HeadOptions,
    sample_weight: DoubleArray | None = None,
    *,
    join: bool = False,
) -> Search | None:
    """Choose where to read an encoder.

    The place with the least log-loss on rows not fitted on is found; of all places with the lowest layer that is no
    worse by more than one standard error of the difference over rows, the better wins (Breiman et al. 1984's rule:
    what is less costly wins a tie).

    Args:
        vectors: (N, K, D), of K reads.
        reads: these, K.
        y: (N,) class indices, or (N, C) bool.
        options: of the cross-validation.
        sample_weight: (N,), None for equal weights.
        join: also try neighbouring layers side by side, as long as they lower the log-loss.

    Returns:
        None where there are too few rows for folds.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):  # as for a head: several threads stand in each other's way
        return _search(_Trial(vectors, reads, y, options, sample_weight), join)


def _search(trial: _Trial, join: bool) -> Search | None:
    losses: dict[Place, DoubleArray] = {}
    with progress("Choosing a layer", len(trial.reads), "layers") as advance:
        for k in range(len(trial.reads)):
            tried = trial.single(k)
            if tried is None:
                return None
            losses[tried[0]] = tried[1]
            advance(1)
    singles = tuple(losses)
    best = min(singles, key=lambda place: place.log_loss)
    weight = trial.targets.row_weight
    level = tuple(place for place in singles if _is_level(losses[place] - losses[best], weight))
    lowest = min(level, key=lambda place: (place.layers, place.log_loss))
    grown = tuple(trial.grow(best)) if join else ()  # none where the fewer rows it is tried on lack a class
    return Search(min(grown, key=lambda place: place.log_loss, default=lowest), (*singles, *grown), level)


def _is_level(difference: DoubleArray, weight: DoubleArray) -> bool:
    return bool(np.average(difference, weights=weight) <= standard_error(difference, weight))


class _Trial:
    """Cross-validations on the same rows and folds."""

    def __init__(
        self,
        vectors: FloatArray,
        reads: Sequence[Read],
        y: ClassIndex | BoolArray,
        options: HeadOptions,
        sample_weight: DoubleArray | None,
    ) -> None:
        self.vectors, self.reads, self.options = vectors, list(reads), options
        self.targets = options.targets(y, sample_weight)
        few = np.random.default_rng(options.seed).permutation(len(y))[:_JOINED_ROWS]
        self.few = np.sort(few)
        self.grams: dict[Read, FloatArray] = {}

    def single(self, k: int) -> tuple[Place, DoubleArray] | None:
        """The k-th read by itself, and each row's log-loss there."""
        tried = cross_validate(spectrum(self.vectors[:, k], self.targets.sample_weight), self.targets, self.options)
        return None if tried is None else self._place((self.reads[k],), tried)

    def grow(self, start: Place) -> Iterable[Place]:
        """Yield a layer, then it and a neighbour, …: the better neighbour each time, as long as that helps."""
        current = self._joined(start.reads)
        while current is not None:
            yield current
            wider = [self._joined(reads) for reads in self._neighbours(current)]
            better = min((p for p in wider if p), key=lambda p: p.log_loss, default=None)
            current = better if better and better.log_loss < current.log_loss else None

    def _neighbours(self, place: Place) -> Iterable[tuple[Read, ...]]:
        low, high = place.reads[0], place.reads[-1]
        if len(place.layers) < _JOINED_MOST:
            for layer in (low.layer - 1, high.layer + 1):
                if (read := Read(layer, place.pooling)) in self.reads:
                    yield tuple(sorted((*place.reads, read)))

    def _joined(self, reads: tuple[Read, ...]) -> Place | None:
        """Layers side by side: their products with each other are the sums of each layer's own."""
        gram = np.sum([self._gram(read) for read in reads], axis=0)
        tried = cross_validate(from_gram(gram), self.targets.take(self.few), self.options)
        return None if tried is None else self._place(reads, tried)[0]

    def _gram(self, read: Read) -> FloatArray:
        if read not in self.grams:
            X = standardised(self.vectors[self.few, self.reads.index(read)], self.targets.take(self.few).sample_weight)
            self.grams[read] = X @ X.T
        return self.grams[read]

    def _place(self, reads: tuple[Read, ...], tried: Tried) -> tuple[Place, DoubleArray]:
        C = tried.C
        accuracy, log_loss = tried.curve[C]
        losses = tried.at(C)[1]
        weight = self.targets.row_weight if len(losses) == len(self.targets.y) else self.targets.row_weight[self.few]
        se = float(np.sqrt(accuracy * (1 - accuracy) * (weight**2).sum()) / weight.sum())
        layers = tuple(read.layer for read in reads)
        return Place(layers, reads[0].pooling, C, accuracy, se, log_loss, len(losses)), losses
