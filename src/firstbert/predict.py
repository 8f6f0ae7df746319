"""Sentences → their labels, printed or in a file: what `firstbert predict` does.

After terminal.py, before cli.py. `predict MODEL --text SENTENCE` is what others call once for each sentence, so it has
a short way: `plain` reads such a call without the command line's library, whose import takes longer than encoding.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from firstbert.errors import UsageError
from firstbert.terminal import note, note_findings, note_truncated, note_unsure, print_json

if TYPE_CHECKING:
    from firstbert.data import Examples


@dataclass(frozen=True)
class PredictOptions:
    """What to label, and where to.

    Attributes:
        model: a model folder.
        input: a file of sentences, or "-" for stdin; None: `texts` are given.
        texts: sentences; empty: `input` is given.
        output: a file to write; None: stdout.
        column: the text column of `input`.
        on_bad_row: refuse an `input` with rows that can't be used, or skip those rows.
        threads: batches encoded side by side; None: one per usable core.
        device: where torch runs the encoder, if it does.
        json: whether stdout gets one JSON array.
    """

    model: Path
    input: str | None = None
    texts: list[str] = field(default_factory=list)
    output: Path | None = None
    column: str | None = None
    on_bad_row: Literal["fail", "skip"] = "fail"
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
    return PredictOptions(Path(model), texts=texts, json=json)


def predict(options: PredictOptions) -> None:
    """Label sentences.

    Raises:
        UsageError: options that contradict each other, or an output that can't be written.
        FirstbertError: the model or the sentences can't be used.
    """
    from firstbert import answers
    from firstbert.artifact import load

    _check(options)
    write = answers.format_of(options.output) if options.output else answers.as_tsv
    predictor = load(options.model).predictor.with_threads(options.threads).with_device(options.device)
    examples = _examples(options)
    predictions = predictor.predict(examples.texts)
    note_truncated(int(predictions.truncated.sum()), predictor.encoder.max_length)
    note_unsure(int(predictions.unsure.sum()), len(predictions.unsure))
    rows = answers.rows(examples, predictions)
    if options.output:
        answers.write(options.output, write(rows))
        note(f"{len(rows)} rows written to {options.output}.")
    elif options.json:
        print_json(predictions.records())
    else:
        sys.stdout.write(write(rows))


def _check(options: PredictOptions) -> None:
    if (options.input is None) == (not options.texts):
        raise UsageError("Give either INPUT or --text, one of the two.")
    if options.texts and options.column:
        raise UsageError("--column names a column of INPUT; --text has none.")


def _examples(options: PredictOptions) -> Examples:
    from firstbert.data import DataOptions, from_lists, read

    if options.texts:
        return from_lists(options.texts, source="--text")
    examples = read(options.input, DataOptions(options.column, on_bad_row=options.on_bad_row), labelled=False)
    note_findings(examples, "duplicate")
    return examples
