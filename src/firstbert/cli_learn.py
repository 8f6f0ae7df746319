"""The commands that learn: each parses, calls a library function and prints what it returns.

After cli_app.py on the way of a sentence. Libraries are imported inside the commands, so that help is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from firstbert.cli_app import (
    BadRow,
    Device,
    Duplicate,
    Flag,
    Input,
    Labels,
    Layer,
    Output,
    Pooling,
    Precision,
    app,
    finetuning,
    reading,
    seconds,
    typed,
)
from firstbert.terminal import note, print_json


@app.command(
    help_epilogue="""Examples:

  firstbert tutorial
  firstbert tutorial --encoder mpnet --seeds 5
  firstbert tutorial --data reviews.tsv --rows 500
"""
)
def tutorial(
    *,
    data: str = "sst2",
    encoder: str = "minilm",
    rows: int = 2000,
    seeds: int = 20,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Walk from sentences to a classifier, step by step, with the real values of each step.

    Args:
        data: sst2, rt, or a file of labelled sentences. Where sst2 can't be reached, rt is taken.
        encoder: a name from `firstbert models`, a hub id or a folder.
        rows: how many sentences.
        seeds: how many random splits the accuracy is averaged over.
        json: print one JSON object with the results; the walk goes to stderr.
    """
    from rich.console import Console

    from firstbert.tutorial import TutorialOptions, run

    result = run(TutorialOptions(data, encoder, rows, seeds), Console(stderr=json))
    if json:
        print_json(result.as_dict())


@app.command(
    help_epilogue="""Examples:

  firstbert train reviews.tsv -o model
  firstbert train train.csv --test test.csv -o model --encoder mpnet
  firstbert train tickets.jsonl -o model --text body --label topic --thresholds macro-f1
  firstbert train reviews.tsv -o model --max-error 0.05 --report model.html
  firstbert train reviews.tsv -o model --finetune --time-budget 10m
  firstbert train reviews.tsv -o small --finetune --teacher model --unlabelled more.txt
"""
)
def train(
    data: Annotated[str, Input],
    /,
    *,
    output: Annotated[Path, Output],
    text: str | None = None,
    label: str | None = None,
    encoder: str = "minilm",
    pooling: Pooling = "auto",
    layer: Layer = "auto",
    max_length: int = 256,
    precision: Precision = "fp32",
    max_int8_loss: float = 1.0,
    test: str | None = None,
    test_size: float = 0.25,
    labels: Labels = "auto",
    thresholds: Literal["equal", "macro-f1"] = "equal",
    max_error: float | None = None,
    confidence: float = 0.9,
    class_weight: Literal["balanced"] | None = None,
    C: Annotated[float | None, Parameter(name="--C")] = None,
    drop: Path | None = None,
    report: Path | None = None,
    finetune: Annotated[bool, Flag] = False,
    validation: str | None = None,
    teacher: Path | None = None,
    unlabelled: str | None = None,
    time_budget: str | None = None,
    epochs: float | None = None,
    batch_size: int = 32,
    learning_rate: float | None = None,
    tune: str = "all",
    recipe: Literal["auto", "labels", "pairs"] = "auto",
    train_precision: Literal["auto", "fp32", "bf16"] = "auto",
    seed: int = 0,
    on_bad_row: BadRow = "fail",
    on_duplicate: Duplicate = "keep",
    portable: Annotated[bool, Flag] = False,
    neighbours: Annotated[bool, Flag] = False,
    cache: bool = True,
    threads: int | None = None,
    backend: Literal["auto", "onnx", "torch"] = "auto",
    device: Device = "auto",
    json: Annotated[bool, Flag] = False,
) -> None:
    """Train a classifier on labelled sentences, measure it on rows it didn't see, and save it.

    Args:
        data: TSV, CSV, JSONL or Parquet file, or - for stdin.
        output: the model folder to write.
        text: the text column, by name or by position from 1; guessed where there is no doubt.
        label: the label column, likewise.
        encoder: a name from `firstbert models`, a hub id or a folder.
        pooling: how the token vectors become one; auto: as the encoder was trained; where the layer is searched, both
            ways are tried.
        layer: the layer to read: auto, the one that cross-validation on the training rows finds best, the lower one on
            a tie; best, where several may be put side by side; last; or a number from 1. Layers above never run.
            What is fine-tuned is read at the last layer unless this is a number.
        max_length: the most tokens of a text; the ends of longer ones are cut, and that is told.
        precision: of the encoder's arithmetic; int8 is two to three times as fast. What it costs in accuracy is
            measured on the training rows first. bf16 is for torch.
        max_int8_loss: the most points of accuracy that int8 may cost; if it costs more, nothing is trained, or, with
            --finetune, fp32 is kept.
        test: a file to measure on, instead of a part of DATA.
        test_size: the part of DATA that is held out for measuring; 0 trains on all rows and measures nothing.
        labels: one or many labels a row; auto: many, parted at |, where any row names several.
        thresholds: equal: the most probable label is answered; macro-f1: each label gets a threshold, which finds more
            of rare labels and costs some accuracy.
        max_error: let answers be "unsure", so that at most this share of the others is wrong, 0.05 say. A quarter of
            the training rows is held out for it.
        confidence: the probability with which that bound holds.
        class_weight: balanced: every label counts as much as any other, however rare.
        C: inverse strength of the head's penalty; chosen by cross-validation unless given. A head that is fine-tuned
            with its encoder has none.
        drop: a file that `firstbert check-labels` wrote: its rows are dropped, or relabelled where you filled that in.
        report: an HTML file to write, which tells all there is to know about the model.
        finetune: let the encoder learn too. It takes minutes instead of seconds; the better of the two on validation
            rows is saved (where pairs are learned, as by default up to 200 rows, none are held out for that: give some
            by --validation). Killed, the same command goes on where it was. Needs the extra "finetune" (torch).
        validation: with --finetune, a file of rows to stop by, instead of a tenth of the training rows.
        teacher: with --finetune, a model folder whose probabilities are learned from as well.
        unlabelled: with --teacher, a file of texts without labels to learn from.
        time_budget: with --finetune, the time all of it may take: 90s, 10m, 2h. Less is trained then.
        epochs: with --finetune, how often each row is seen at most; unless given, 3, or 2 where a teacher labels plenty
            of text, up to 20 where rows are few; of pairs 16, up to 32 for wider encoders than MiniLM.
        batch_size: with --finetune, rows of a step.
        learning_rate: with --finetune, its peak; it follows the encoder's width unless given.
        tune: with --finetune, what learns: all, a number of the uppermost layers, or lora.
        recipe: with --finetune, labels: the encoder learns to tell them; pairs: to bring texts of one label together;
            auto: pairs up to 200 rows, unless a teacher labels plenty of text besides.
        train_precision: with --finetune, of its arithmetic; auto: bf16 where the processor is made for it.
        seed: of the hold-out and of the cross-validation, and of all that is random in fine-tuning.
        on_bad_row: what to do about rows that can't be used.
        on_duplicate: what to do about texts that occur more than once, or in both DATA and --test.
        portable: put the encoder into the model folder too.
        neighbours: put the training sentences into the model folder too, so that `firstbert explain` shows those
            nearest to a text. Whoever has the folder can read them.
        cache: keep the vectors of sentences for the next training, and use those kept; --no-cache encodes all anew.
        threads: batches encoded side by side; one per core unless given.
        backend: what runs the encoder; auto: torch for families that firstbert's own graph doesn't know, and with
            --device cuda, otherwise ONNX Runtime.
        device: where torch runs it; auto: the GPU if there is one and torch is needed anyway.
        json: print one JSON object instead of the report.
    """
    from firstbert.report import as_text
    from firstbert.train import TrainOptions
    from firstbert.train import train as run

    classifier: dict[str, Any] = {
        "encoder": encoder,
        "pooling": pooling,
        "layer": layer,
        "max_length": max_length,
        "precision": precision,
        "class_weight": class_weight,
        "C": "auto" if C is None else C,
        "thresholds": thresholds.replace("-", "_"),
        "max_error": max_error,
        "confidence": confidence,
        "threads": threads,
        "backend": backend,
        "device": device,
        "cache": cache,
    }
    rows = reading(text, label, on_bad_row, on_duplicate, labels)
    learning = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "recipe": recipe,
        "tune": int(tune) if tune.isdecimal() else tune, "precision": train_precision,
        "time_budget": time_budget and seconds(time_budget), "seed": seed,
    }  # fmt: skip
    how = finetuning(learning, finetune, {"validation": validation, "teacher": teacher, "unlabelled": unlabelled})
    options = TrainOptions(
        data, output, test, test_size, seed, portable, neighbours, max_int8_loss, how, validation, teacher, unlabelled,
        drop, report, typed(), rows, classifier,
    )  # fmt: skip
    result = run(options, note)
    if json:
        print_json(result.as_dict())
        return
    if result.test is not None:
        print(as_text(result.test), end="\n\n")
    if result.report:
        print(f"The report is {result.report}.")
    print(f'Saved to {result.model} after {result.seconds:.1f} s. Try: firstbert predict {result.model} --text "…"')
