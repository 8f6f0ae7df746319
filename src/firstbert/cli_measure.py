"""The commands that measure models, and the labels of rows: each calls a library function and prints what it returns.

After cli_learn.py on the way of a sentence. Libraries are imported inside the commands, so that help is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from firstbert.cli_app import BadRow, Device, Duplicate, Flag, Input, Labels, Output, Precision, app, reading, typed
from firstbert.terminal import note, note_findings, print_json


@app.command(
    help_epilogue="""Examples:

  firstbert evaluate model test.tsv
  firstbert evaluate model test.csv --text review --label stars --extra source --json
  firstbert evaluate model test.tsv --report test.html
"""
)
def evaluate(
    model: Path,
    data: Annotated[str, Input],
    /,
    *,
    text: str | None = None,
    label: str | None = None,
    extra: Annotated[list[str] | None, Flag] = None,
    on_bad_row: BadRow = "fail",
    on_duplicate: Duplicate = "keep",
    report: Path | None = None,
    threads: int | None = None,
    device: Device = "auto",
    json: Annotated[bool, Flag] = False,
) -> None:
    """Measure a model on labelled sentences: every number with the interval that chance leaves it.

    Args:
        model: a model folder.
        data: TSV, CSV, JSONL or Parquet file, or - for stdin.
        text: the text column, by name or by position from 1; guessed where there is no doubt.
        label: the label column, likewise.
        extra: a further column, whose values are also measured one by one; may be given several times.
        on_bad_row: what to do about rows that can't be used.
        on_duplicate: what to do about texts that occur more than once.
        report: an HTML file to write, which tells all there is to know.
        threads: batches encoded side by side; one per core unless given.
        device: cuda: run the encoder by torch on the GPU; auto: there only if it needs torch anyway.
        json: print one JSON object instead of the text.
    """
    from firstbert.answers import check_place
    from firstbert.artifact import load
    from firstbert.data import read
    from firstbert.evaluate import evaluate as measure
    from firstbert.report import as_text
    from firstbert.summary import with_promise

    if report:
        check_place(report)
    artifact = load(model)
    predictor = artifact.predictor.with_threads(threads).with_device(device)
    kind: Labels = "many" if predictor.decision.many else "one"
    rows = reading(text, label, on_bad_row, on_duplicate, kind, tuple(extra or ()))
    examples = read(data, rows, training=False)
    note_findings(examples)
    predictions = predictor.predict(examples.texts, cache=True)
    result = measure(examples, predictions)
    if report:
        from firstbert.page import write
        from firstbert.summary import report_facts

        write(report, report_facts(artifact, str(model), examples, predictions, result, (typed(),)))
        note(f"The report is {report}.")
    if json:
        print_json(with_promise(result.as_dict(), artifact.training))
    else:
        print(as_text(result))


@app.command(
    help_epilogue="""Examples:

  firstbert compare model-a model-b test.tsv
  firstbert compare old new test.csv --json
"""
)
def compare(
    first: Path,
    second: Path,
    data: Annotated[str, Input],
    /,
    *,
    text: str | None = None,
    label: str | None = None,
    on_bad_row: BadRow = "fail",
    on_duplicate: Duplicate = "keep",
    threads: int | None = None,
    device: Device = "auto",
    json: Annotated[bool, Flag] = False,
) -> None:
    """Say which of two models is better on the same labelled sentences, and whether that could be chance.

    Args:
        first: a model folder.
        second: another one, of the same labels.
        data: TSV, CSV, JSONL or Parquet file, or - for stdin.
        text: the text column, by name or by position from 1; guessed where there is no doubt.
        label: the label column, likewise.
        on_bad_row: what to do about rows that can't be used.
        on_duplicate: what to do about texts that occur more than once.
        threads: batches encoded side by side; one per core unless given.
        device: cuda: run the encoders by torch on the GPU; auto: there only if they need torch anyway.
        json: print one JSON object instead of the text.
    """
    from firstbert.artifact import load
    from firstbert.compare import compare as measure
    from firstbert.data import read
    from firstbert.report import comparison_as_text

    a, b = (load(model).predictor.with_threads(threads).with_device(device) for model in (first, second))
    kind: Labels = "many" if a.decision.many else "one"
    examples = read(data, reading(text, label, on_bad_row, on_duplicate, kind), training=False)
    note_findings(examples)
    answers = [model.predict(examples.texts, cache=True) for model in (a, b)]
    result = measure(examples, answers[0], answers[1], (str(first), str(second)))
    if json:
        print_json(result.as_dict())
    else:
        print(comparison_as_text(result))


@app.command(
    help_epilogue="""Examples:

  firstbert check-labels reviews.tsv -o suspects.tsv
  firstbert train reviews.tsv -o model --drop suspects.tsv
"""
)
def check_labels(
    data: Annotated[str, Input],
    /,
    *,
    output: Annotated[Path, Output],
    text: str | None = None,
    label: str | None = None,
    labels: Labels = "auto",
    encoder: str = "minilm",
    max_length: int = 256,
    precision: Precision = "fp32",
    seed: int = 0,
    on_bad_row: BadRow = "fail",
    on_duplicate: Duplicate = "keep",
    cache: bool = True,
    threads: int | None = None,
    backend: Literal["auto", "onnx", "torch"] = "auto",
    device: Device = "auto",
    json: Annotated[bool, Flag] = False,
) -> None:
    """Find the rows whose label is in doubt, and write them to a file for review.

    A row is in doubt where models that didn't see it disagree with its label, or where the same or nearly the same
    text stands with another one.

    Args:
        data: TSV, CSV, JSONL or Parquet file, or - for stdin.
        output: a .tsv, .csv or .jsonl file to write. In it, `keep` marks labels that are right after all, and
            `correct_label` takes another label; `firstbert train DATA --drop FILE` then leaves out the rest.
        text: the text column, by name or by position from 1; guessed where there is no doubt.
        label: the label column, likewise.
        labels: one or many labels a row; auto: many, parted at |, where any row names several.
        encoder: a name from `firstbert models`, a hub id or a folder.
        max_length: the most tokens of a text.
        precision: of the encoder's arithmetic. What int8 costs is measured by `firstbert train`, not here.
        seed: of the cross-validation.
        on_bad_row: what to do about rows that can't be used.
        on_duplicate: what to do about texts that occur more than once.
        cache: keep the vectors of sentences for later, and use those kept; --no-cache encodes all anew.
        threads: batches encoded side by side; one per core unless given.
        backend: what runs the encoder; auto: torch for families that firstbert's own graph doesn't know.
        device: where torch runs it; auto: the GPU if there is one and torch is needed anyway.
        json: print one JSON object instead of the text.
    """
    from firstbert.check import CheckOptions
    from firstbert.check import check_labels as run
    from firstbert.engine import EngineOptions

    engine = EngineOptions(
        encoder, max_length=max_length, precision=precision, threads=threads, backend=backend, device=device
    )
    rows = reading(text, label, on_bad_row, on_duplicate, labels)
    result = run(CheckOptions(data, output, rows, engine, seed, cache), note)
    if json:
        print_json(result.as_dict())
        return
    print(result.as_text())
