"""Sentences → their labels, printed or in a file: what `firstbert predict` does.

After terminal.py, before cli.py. `predict MODEL --text SENTENCE` is what others call once for each sentence, so it has
a short way: `plain` reads such a call without the command line's library, whose import takes longer than encoding.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from firstbert.errors import DataError, counted
from firstbert.terminal import note, note_truncated, note_unsure, print_json

if TYPE_CHECKING:
    from firstbert.bulk import Answered, BulkOptions
    from firstbert.job import Reading
    from firstbert.tally import Outcome


@dataclass(frozen=True)
class PredictOptions:
    """What to label, and where to.

    Attributes:
        model: a model folder.
        texts: sentences; empty: `bulk` is given.
        bulk: files, and where to; its output may be empty: stdout. None: `texts` are given.
        threads: batches encoded side by side; None: one per usable core.
        device: where torch runs the encoder, if it does.
        json: whether stdout gets JSON: an array of answers, or what came of it where a file is written.
    """

    model: Path
    texts: list[str] = field(default_factory=list)
    bulk: BulkOptions | None = None
    threads: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    json: bool = False


def plain(arguments: list[str]) -> PredictOptions | None:
    """Return what `predict MODEL --text SENTENCE …` asks for; None for any call that isn't of just this form."""
    match arguments:
        case ["predict", model, *rest]:
            json = rest[-1:] == ["--json"]
        case _:
            return None
    pairs = rest[:-1] if json else rest
    flags, texts = pairs[::2], pairs[1::2]
    if set(flags) != {"--text"} or len(flags) != len(texts) or any(value[:1] == "-" for value in (model, *texts)):
        return None
    return PredictOptions(Path(model), texts, json=json)


def predict(options: PredictOptions) -> None:
    """Label sentences.

    Raises:
        UsageError: options that contradict each other, or an output that can't be written.
        DataError: rows were bad: all others are labelled.
        FirstbertError: the model or the sentences can't be used.
    """
    if options.bulk is None:
        _print_texts(options)
    elif options.bulk.output:
        _write(options.model, options.bulk, options.json)
    else:
        _print_files(options.model, options.bulk, options.json)


def _print_texts(options: PredictOptions) -> None:
    from firstbert import tables
    from firstbert.artifact import load
    from firstbert.data import from_lists
    from firstbert.streams import Block

    predictor = load(options.model).predictor.with_threads(options.threads).with_device(options.device)
    texts = from_lists(options.texts, source="--text").texts
    predictions = predictor.predict(texts)
    _note(int(predictions.truncated.sum()), predictor.encoder.max_length, int(predictions.unsure.sum()), len(texts))
    if options.json:
        print_json(predictions.records())
        return
    columns = tables.Columns(("text",), tables.ANSWERS, (), predictor.decision.many)
    block = Block([{"text": text} for text in texts], texts)
    form = tables.Format("tsv")
    sys.stdout.write(tables.head(form, columns) + tables.piece(form, columns, [block], predictions).decode())


def _write(model: Path, options: BulkOptions, json: bool) -> None:
    from firstbert.artifact import load
    from firstbert.job import label_files

    outcome = label_files(model, options, note)
    _note(outcome.truncated, load(model).predictor.encoder.max_length, outcome.unsure, outcome.rows)
    facts = outcome.facts()
    rate = f" in {outcome.seconds:,.1f} s, {facts['rows_per_s']:,.0f} rows/s" if outcome.seconds > 2 else ""
    note(f"{counted(outcome.rows, 'row')} written to {outcome.output}{rate}.")
    if json:
        print_json(facts)
    _end(outcome, options)


def _print_files(model: Path, options: BulkOptions, json: bool) -> None:
    from firstbert import tables
    from firstbert.job import label_stream

    form = tables.Format("tsv")
    records: list[dict[str, object]] = []
    headed = False
    max_length = 0

    def take(reading: Reading, answered: Answered) -> None:
        nonlocal headed, max_length
        max_length = reading.predictor.encoder.max_length
        for aside in answered.shard.asides:
            note(f"{aside.source}, {aside.place} {aside.line}: set aside ({aside.kind}): {aside.shown}")
        if json:
            records.extend(answered.predictions.records())
            return
        if not headed:
            sys.stdout.write(tables.head(form, reading.columns))
            headed = True
        piece = tables.piece(form, reading.columns, answered.shard.blocks, answered.predictions)
        sys.stdout.write(piece.decode())
        sys.stdout.flush()

    outcome = label_stream(model, options, take, form)
    _note(outcome.truncated, max_length, outcome.unsure, outcome.rows)
    if json:
        print_json(records)
    _end(outcome, options)


def _note(truncated: int, max_length: int, unsure: int, of: int) -> None:
    note_truncated(truncated, max_length)
    note_unsure(unsure, of)


def _end(outcome: Outcome, options: BulkOptions) -> None:
    """Where rows were set aside, say so, and let the exit code tell."""
    from firstbert.tally import told_asides

    if not outcome.bad and not outcome.unread:
        return
    if options.on_bad_row == "skip":
        note(told_asides(outcome))
        return
    raise DataError(told_asides(outcome) + ". All other rows are labelled; --on-bad-row skip takes that for a success.")
