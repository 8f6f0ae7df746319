"""A file of labelled sentences → the rows whose label is in doubt.

After review.py on the way of a sentence: puts reading, encoding, cross-validation and the search for suspects together.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from firstbert.cache import encode
from firstbert.crossval import out_of_fold, spectrum
from firstbert.data import DataOptions, Examples, read
from firstbert.engine import EngineOptions, open_engine
from firstbert.errors import DataError
from firstbert.graph import Read
from firstbert.head import HeadOptions, cross_validate
from firstbert.review import check_review, write_review
from firstbert.suspects import Suspects, find_suspects, pooled
from firstbert.table import excerpt
from firstbert.targets import DoubleArray, assign_folds, encode_labels
from firstbert.words import words_out_of_fold

_SHOWN = 10


@dataclass(frozen=True)
class CheckOptions:
    """What to check.

    Attributes:
        data: a file, ``"-"`` for stdin, or a frame.
        output: the file to write for review, .tsv, .csv or .jsonl.
        reading: columns, bad rows, repeats.
        encoder: what reads the sentences; four of its layers vote beside the words, whatever its layer says.
        seed: of the folds.
        cache: keep vectors in the cache folder and take them from there.
    """

    data: object
    output: Path
    reading: DataOptions = field(default_factory=DataOptions)
    encoder: EngineOptions = field(default_factory=EngineOptions)
    seed: int = 0
    cache: bool = True


@dataclass(frozen=True)
class Checked:
    """What came of it.

    Attributes:
        suspects: rows whose label is in doubt.
        output: where they were written.
        retrain: the commands that go on from here.
    """

    suspects: Suspects
    output: Path
    retrain: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the facts ready for JSON."""
        facts = {"output": str(self.output), "retrain": list(self.retrain)}
        return self.suspects.as_dict() | facts

    def as_text(self) -> str:
        """Return the most doubted ones for a terminal, and what to do next."""
        lines = [self.suspects.sentence]
        if not self.suspects.rows:
            return lines[0]
        for s in self.suspects.rows[:_SHOWN]:
            why = "" if s.reason == "model" else f", {s.reason}"
            lines.append(f"  {s.line}: {s.given} → {s.suggested}? ({s.doubt:.0%}{why})  {excerpt(s.text)}")
        if (more := len(self.suspects.rows) - _SHOWN) > 0:
            lines.append(f"  … and {more:,} more")
        return "\n".join([*lines, f"All are in {self.output}. Go through it, then train without what is left in it:",
                          *(f"  {command}" for command in self.retrain)])  # fmt: skip


def check_labels(options: CheckOptions, say: Callable[[str], None] = lambda message: None) -> Checked:
    """Find the rows whose label is in doubt and write them down for review.

    Args:
        options: see there.
        say: takes a line about what is found.

    Raises:
        FirstbertError: data, encoder or output can't be used; nothing has been written then.
    """
    check_review(options.output)
    examples = read(options.data, options.reading)
    for finding in examples.findings:
        say(finding.message)
    suspects, _ = doubtful(examples, options.encoder, options.seed, cache=options.cache)
    write_review(options.output, suspects)
    for line in suspects.notes:
        say(line)
    return Checked(suspects, options.output, (_retrain(options),))


def _retrain(options: CheckOptions) -> str:
    """The command that reads the same rows in the same way; what is as it would be anyway isn't typed."""
    rows, encoder = options.reading, options.encoder
    data = options.data if isinstance(options.data, str | Path) else "DATA"
    words: list[object] = ["firstbert", "train", data, "-o", "model", "--drop", options.output]
    flags = {
        "text": (rows.text, None), "label": (rows.label, None), "labels": (rows.labels, "auto"),
        "on-bad-row": (rows.on_bad_row, "fail"), "on-duplicate": (rows.on_duplicate, "keep"),
        "encoder": (encoder.encoder, "minilm"), "max-length": (encoder.max_length, 256),
        "precision": (encoder.precision, "fp32"), "backend": (encoder.backend, "auto"),
        "device": (encoder.device, "auto"), "seed": (options.seed, 0),
    }  # fmt: skip
    for name, (value, usual) in flags.items():
        words += [f"--{name}", value] if value != usual else []
    return shlex.join(map(str, words))


def doubtful(
    examples: Examples, encoder: EngineOptions, seed: int = 0, *, cache: bool = True
) -> tuple[Suspects, DoubleArray]:
    """Find the rows whose label is in doubt, by what four layers of an encoder and the words make of them together.

    Args:
        examples: with labels.
        encoder: what reads them.
        seed: of the folds.
        cache: keep vectors in the cache folder and take them from there.

    Returns:
        The suspects, and the (N, C) probabilities that they were found by.

    Raises:
        DataError: there are too few rows.
    """
    classes, y = encode_labels(examples.labels)
    options = HeadOptions(seed=seed)
    targets = options.targets(y)
    fold = assign_folds(targets, options.folds, seed)
    if fold is None:
        raise DataError(f"{examples.source}: too few rows of two labels to check any by the others.")
    engine = open_engine(replace(encoder, layer="last"))
    layers = engine.prepared.architecture.layers
    reads = tuple(Read(layer, "mean") for layer in sorted({max(1, round(layers * k / 6)) for k in (3, 4, 5, 6)}))
    vectors = encode(open_engine(engine.options, reads), examples.texts, cache).vectors
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(1) as beside:  # words take Python, layers take numpy
        words = beside.submit(words_out_of_fold, examples.texts, targets, fold)
        last = spectrum(vectors[:, -1])
        tried = cross_validate(last, targets, options)
        assert tried is not None
        C = tried.C
        others = [out_of_fold(spectrum(vectors[:, k]), targets, fold, (C,))[:, 0] for k in range(len(reads) - 1)]
        scores = [*others, tried.at(C)[0]]
    probabilities = pooled(scores, words.result(), targets)
    found = find_suspects(examples, classes, y, probabilities, vectors=np.ascontiguousarray(vectors[:, -1]))
    return found, probabilities
