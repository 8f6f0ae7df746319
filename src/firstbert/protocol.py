"""The tutorial's protocol: rows → vectors → accuracy over many splits. Numbers only.

After evaluate.py on the way of a sentence; tutorial.py puts into words what is reckoned here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from firstbert.batches import batches
from firstbert.catalog import dataset, rt_rows
from firstbert.data import DataOptions, Examples, Label, from_lists, read
from firstbert.engine import EngineOptions, open_engine
from firstbert.errors import DataError, SourceError
from firstbert.families import FloatArray
from firstbert.graph import Read
from firstbert.head import Fit, HeadOptions, fit_head
from firstbert.search import Search, places_to_try, search
from firstbert.sources import fetch, sha256_of
from firstbert.targets import ClassIndex, encode_labels

TEST_SHARE = 0.25
LEAST_ROWS = 40
LEAST_OF_SECOND = 8  # rows of the second largest class: fewer may all fall into one part of a split
RT_SEED = 0

Known = Literal["sst2", "rt"]


@dataclass(frozen=True)
class Sample:
    """The rows of a run.

    Attributes:
        data: what was taken: a data set's name or a file's path.
        known: which data set it is, where the published figures may stand beside it.
        examples: the texts and labels.
        classes: the C labels in order.
        y: (N,) each row's index among them.
        shuffled: whether the rows were put in a random order before the first ones were taken.
        missed: why the data set asked for was not to be had; None where it was.
    """

    data: str
    known: Known | None
    examples: Examples
    classes: tuple[Label, ...]
    y: ClassIndex
    shuffled: bool = False
    missed: str | None = None

    @property
    def texts(self) -> list[str]:
        """The N texts."""
        return self.examples.texts


def take_sample(data: str, rows: int) -> Sample:
    """Return the first `rows` rows of a data set or a file; of ``rt`` where ``sst2`` can't be reached.

    Raises:
        DataError: the file can't be used, or is too small.
        SourceError: neither data set can be had.
    """
    if data == "sst2":
        try:
            path = fetch(dataset("sst2").files["train"])
        except SourceError as error:
            return _rt(rows, missed=_reason(error))
        return _sample("sst2", "sst2", read(path, DataOptions(rows=rows)))
    if data == "rt":
        return _rt(rows)
    examples = read(data, DataOptions(rows=rows))
    return _sample(data, _recognise(data), examples)


def _rt(rows: int, missed: str | None = None) -> Sample:
    """The file holds nearly all its positive sentences first, so its first rows alone would be of one label."""
    everything = rt_rows()
    order = np.random.default_rng(RT_SEED).permutation(len(everything))[:rows]
    texts, labels = zip(*(everything[i] for i in order), strict=True)
    return _sample("rt", "rt", from_lists(list(texts), list(labels), source="rt"), True, missed)


def _reason(error: SourceError) -> str:
    """What the first mirror asked had to say, or the first line where none was asked."""
    lines = [line.strip() for line in str(error).splitlines()]
    tried = next((line for line in lines if line.startswith("1. ")), lines[0])
    return tried.partition(": ")[2] if tried.startswith("1. ") else tried


def _recognise(data: str) -> Known | None:
    """Tell the data set's own file by its hash, wherever it lies."""
    path, pin = Path(data), dataset("sst2").files["train"].sha256
    return "sst2" if path.is_file() and sha256_of(path) == pin else None


def _sample(
    data: str, known: Known | None, examples: Examples, shuffled: bool = False, missed: str | None = None
) -> Sample:
    if examples.many:
        raise DataError(f"{examples.source}: rows carry several labels; the tutorial is about one a sentence.")
    classes, y = encode_labels(examples.labels)
    if len(y) < LEAST_ROWS:
        raise DataError(f"{examples.source}: {len(y)} rows; the tutorial needs at least {LEAST_ROWS}.")
    if (second := int(np.sort(np.bincount(y))[-2])) < LEAST_OF_SECOND:
        raise DataError(
            f"{examples.source}: of the {len(y):,} rows taken, all but {second} carry one label; the tutorial needs "
            f"at least {LEAST_OF_SECOND} of another. Take more with --rows, or shuffle a file sorted by label."
        )
    return Sample(data, known, examples, tuple(classes), y.astype(np.intp), shuffled, missed)


@dataclass(frozen=True)
class Padding:
    """What filling rows up to equal length costs.

    Attributes:
        real: tokens that are words, or a sentence's own marks.
        longest: tokens of the longest row.
        together: places of one matrix with all rows.
        sorted_batches: how many matrices there are with rows of like length together.
        sorted_places: places of all these.
    """

    real: int
    longest: int
    together: int
    sorted_batches: int
    sorted_places: int


def padding(ids: Sequence[Sequence[int]], batch_tokens: int) -> Padding:
    """Count real and padded places of N rows, in one matrix and in batches by length."""
    sizes = [batch.ids.size for batch in batches(ids, batch_tokens)]
    lengths = [len(row) for row in ids]
    return Padding(sum(lengths), max(lengths), len(ids) * max(lengths), len(sizes), sum(sizes))


@dataclass(frozen=True)
class Vectors:
    """The texts' vectors.

    Attributes:
        by_name: ``"cls-last"`` and ``"mean-last"`` → (N, D).
        every: (N, K, D), every layer read in both ways.
        reads: what these K are.
        truncated: how many texts lost their ends.
        seconds: how long encoding took.
    """

    by_name: dict[str, FloatArray]
    every: FloatArray
    reads: tuple[Read, ...]
    truncated: int
    seconds: float


def vectors(texts: Sequence[str], options: EngineOptions) -> Vectors:
    """Encode N texts once and read every layer in both ways."""
    last = open_engine(options).prepared.architecture.layers
    reads = places_to_try(last, ("cls", "mean"))
    engine = open_engine(options, reads)
    started = time.perf_counter()
    encoded = engine.encode(texts)
    seconds = time.perf_counter() - started
    at_last = {
        f"{read.pooling}-last": np.ascontiguousarray(encoded.vectors[:, k])
        for k, read in enumerate(reads)
        if read.layer == last
    }
    return Vectors(at_last, encoded.vectors, reads, int(encoded.truncated.sum()), seconds)


@dataclass(frozen=True)
class Split:
    """Which rows are learned from and which are kept for the examination."""

    train: ClassIndex
    test: ClassIndex


def split(n: int, seed: int) -> Split:
    """Part N rows 75 to 25 at random, as the tutorial does: without regard to their labels."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(n), test_size=TEST_SHARE, random_state=seed)
    return Split(train, test)


@dataclass(frozen=True)
class Trial:
    """One split's outcome.

    Attributes:
        fit: the head and its search over C, on the training part alone.
        classes: which class each row of the head stands for; a rare one may be missing from the training part.
        right: (test rows,) whether the head was right.
    """

    fit: Fit
    classes: ClassIndex
    right: ClassIndex

    @property
    def accuracy(self) -> float:
        """Share of the test part that the head got right."""
        return float(self.right.mean())


def trial(X: FloatArray, y: ClassIndex, seed: int) -> Trial:
    """Split, fit on one part, examine on the other."""
    parts = split(len(y), seed)
    classes, y_train = np.unique(y[parts.train], return_inverse=True)
    fit = fit_head(X[parts.train], y_train, HeadOptions(seed=seed))
    answers = classes[fit.head.scores(X[parts.test]).argmax(axis=1)]
    return Trial(fit, classes, (answers == y[parts.test]).astype(np.intp))


def search_trial(vectors: Vectors, y: ClassIndex, seed: int) -> tuple[Search, Trial]:
    """Choose the layer by the rows to learn from alone, fit on them, examine on the others."""
    parts = split(len(y), seed)
    train = np.unique(y[parts.train], return_inverse=True)[1]
    with threadpool_limits(1, user_api="blas"):
        found = search(vectors.every[parts.train], vectors.reads, train, HeadOptions(seed=seed))
    assert found is not None  # so few rows are refused when the sample is taken
    k = vectors.reads.index(found.chosen.reads[0])
    return found, trial(np.ascontiguousarray(vectors.every[:, k]), y, seed)


def dummy_accuracy(y: ClassIndex, seed: int) -> float:
    """Accuracy of always answering the training part's most frequent label."""
    from sklearn.dummy import DummyClassifier

    parts = split(len(y), seed)
    blank = np.zeros((len(y), 1))  # it never looks
    dummy = DummyClassifier(strategy="most_frequent").fit(blank[parts.train], y[parts.train])
    return float(dummy.score(blank[parts.test], y[parts.test]))


@dataclass(frozen=True)
class Row:
    """One line of the tutorial's table; accuracies from 0 to 1, `accuracy_sd` over the splits."""

    name: str
    accuracy_mean: float
    accuracy_sd: float
    seeds: int


def summarise(name: str, accuracies: Sequence[float]) -> Row:
    """Return mean and standard deviation (of a sample; 0 for a single split)."""
    sd = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0
    return Row(name, float(np.mean(accuracies)), sd, len(accuracies))


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes:
        rows: ``dummy``, ``cls-last``, ``mean-last``, and ``auto``: the layer that cross-validation chooses, split by
            split.
        data: the data set that was taken in the end, or the file.
        encoder: as given.
        n: how many sentences.
        own: the row that reads the encoder as its authors do.
    """

    rows: tuple[Row, ...]
    data: str
    encoder: str
    n: int
    own: str

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}
