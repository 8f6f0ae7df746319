"""The tutorial's walk on any encoder: each step is reckoned here and shown by narration.py.

After narration.py on the way of a sentence. The walk is that of Jay Alammar's "A Visual Guide to Using BERT for
the First Time".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from firstbert import protocol
from firstbert.batches import Batch, batch_of
from firstbert.engine import Engine, EngineOptions, open_engine
from firstbert.errors import UsageError
from firstbert.families import FloatArray
from firstbert.graph import Read
from firstbert.narration import SENTENCE, Narration
from firstbert.progress import progress
from firstbert.protocol import Result, Row, Sample, Trial, Vectors

__all__ = ["Result", "Row", "TutorialOptions", "run"]


@dataclass(frozen=True)
class TutorialOptions:
    """What to walk through.

    Attributes:
        data: ``"sst2"``, ``"rt"`` or a file of texts and labels.
        encoder: a name of the catalogue, a hub id or a folder.
        rows: how many rows to take, the first ones.
        seeds: over how many random splits accuracy is averaged.
    """

    data: str = "sst2"
    encoder: str = "minilm"
    rows: int = 2000
    seeds: int = 20

    def __post_init__(self) -> None:
        _at_least("rows", self.rows, protocol.LEAST_ROWS)
        _at_least("seeds", self.seeds, 1)


def _at_least(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UsageError(
            f"The {name!r} option of the tutorial must be an int of at least {low}. Got {value!r} instead."
        )


def run(options: TutorialOptions, say: Console) -> Result:
    """Walk through the tutorial.

    Args:
        options: what to walk through.
        say: the screen.

    Raises:
        DataError, EncoderError, SourceError, UsageError: the data or the encoder can't be used or had.
    """
    sample = protocol.take_sample(options.data, options.rows)
    engine = open_engine(EngineOptions(options.encoder))
    narration = Narration(say, engine, sample)
    hidden = _to_hidden_states(narration)

    vectors = protocol.vectors(sample.texts, engine.options)
    narration.one_vector(hidden, vectors)
    narration.split(protocol.split(len(sample.y), 0))
    first = {name: protocol.trial(X, sample.y, 0) for name, X in vectors.by_name.items()}
    narration.grid(first)
    narration.score(first, hidden)
    narration.dummy(protocol.dummy_accuracy(sample.y, 0))
    found, first["auto"] = protocol.search_trial(vectors, sample.y, 0)
    narration.layers(found, first)

    accuracies = _over_seeds(vectors, sample, options.seeds, first)
    rows = tuple(protocol.summarise(name, values) for name, values in accuracies.items())
    result = Result(rows, sample.data, options.encoder, len(sample.y), narration.own)
    narration.luck(accuracies[result.own])
    narration.table(result)
    narration.onward(result)
    return result


def _to_hidden_states(narration: Narration) -> FloatArray:
    """Show the steps up to what model 1 makes of a few sentences, and return it, (B, T, D)."""
    engine, sample = narration.engine, narration.sample
    narration.welcome()
    narration.data()
    narration.tokens(engine.tokenizer([SENTENCE]).ids[0])
    ids = engine.tokenizer(sample.texts).ids
    batch = _few_rows(engine, ids)
    narration.matrix(batch, protocol.padding(ids, engine.batch_tokens))
    hidden = _hidden(engine, batch)
    narration.hidden_states(hidden)
    return hidden


def _few_rows(engine: Engine, ids: Sequence[Sequence[int]]) -> Batch:
    """The tutorial's sentence and up to three shorter ones of the sample, as one batch."""
    own = engine.tokenizer([SENTENCE]).ids[0]
    by_length = {len(row): row for row in reversed(ids)}
    lengths = sorted(n for n in by_length if n < len(own)) or [min(by_length)]
    chosen = dict.fromkeys((lengths[-1], lengths[len(lengths) // 2], lengths[0]))
    rows = [own, *(by_length[n] for n in chosen)]
    return batch_of(rows, np.arange(len(rows)))


def _hidden(engine: Engine, batch: Batch) -> FloatArray:
    """The last layer's numbers for every token of the batch, (B, T, D), the tutorial's sentence first."""
    last = engine.prepared.architecture.layers
    states = open_engine(engine.options, (Read(last, "tokens"),)).session(batch)[0]
    return states[np.argsort(batch.rows)]


def _over_seeds(vectors: Vectors, sample: Sample, seeds: int, first: dict[str, Trial]) -> dict[str, list[float]]:
    """Row → its accuracy with each split; the first split's trials are there already."""
    accuracies: dict[str, list[float]] = {"dummy": [], **{name: [] for name in first}}
    with progress("Trying other splits", seeds, "splits") as advance:
        for seed in range(seeds):
            accuracies["dummy"].append(protocol.dummy_accuracy(sample.y, seed))
            for name, trial in (first if seed == 0 else _trials(vectors, sample, seed)).items():
                accuracies[name].append(trial.accuracy)
            advance(1)
    return accuracies


def _trials(vectors: Vectors, sample: Sample, seed: int) -> dict[str, Trial]:
    trials = {name: protocol.trial(X, sample.y, seed) for name, X in vectors.by_name.items()}
    return trials | {"auto": protocol.search_trial(vectors, sample.y, seed)[1]}
