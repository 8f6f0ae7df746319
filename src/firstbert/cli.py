"""The command line: each command parses, calls a library function and prints what it returns.

Last on the way of a sentence; __main__.py calls it. Results go to stdout, notes and progress to stderr. Libraries are
imported inside the commands, so that help is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from firstbert import __version__
from firstbert.errors import UsageError
from firstbert.terminal import (
    note,
    note_findings,
    print_cache,
    print_json,
    print_machine,
    print_models,
)

_Output = Parameter(name=("--output", "-o"))
_Flag = Parameter(negative="")  # no --no-… form
_Input = Parameter(allow_leading_hyphen=True)  # "-" is stdin
BadRow = Literal["fail", "skip"]
Duplicate = Literal["keep", "skip", "fail"]
Layer = int | Literal["last"]
Device = Literal["auto", "cpu", "cuda"]

app = App(
    name="firstbert",
    version=__version__,
    help_format="plaintext",
    help="Sentence classification with a pretrained encoder that anyone can run.",
    help_epilogue="""Start here:

  firstbert tutorial                                  see how it works, on real sentences
  firstbert train reviews.tsv -o model                train and measure a classifier
  firstbert predict model --text "What a joy."        use it
""",
)
cache_app = App(name="cache", help="What the cache folder holds, and emptying it.", help_format="plaintext")
app.command(cache_app)


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
    json: Annotated[bool, _Flag] = False,
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
  firstbert train tickets.jsonl -o model --text body --label topic --class-weight balanced
"""
)
def train(
    data: Annotated[str, _Input],
    /,
    *,
    output: Annotated[Path, _Output],
    text: str | None = None,
    label: str | None = None,
    encoder: str = "minilm",
    pooling: Literal["auto", "cls", "mean"] = "auto",
    layer: Layer = "last",
    max_length: int = 256,
    precision: Literal["fp32", "int8", "bf16"] = "fp32",
    max_int8_loss: float = 1.0,
    test: str | None = None,
    test_size: float = 0.25,
    class_weight: Literal["balanced"] | None = None,
    seed: int = 0,
    on_bad_row: BadRow = "fail",
    on_duplicate: Duplicate = "keep",
    portable: Annotated[bool, _Flag] = False,
    cache: bool = True,
    threads: int | None = None,
    backend: Literal["auto", "onnx", "torch"] = "auto",
    device: Device = "auto",
    json: Annotated[bool, _Flag] = False,
) -> None:
    """Train a classifier on labelled sentences, measure it on rows it didn't see, and save it.

    Args:
        data: TSV, CSV, JSONL or Parquet file, or - for stdin.
        output: the model folder to write.
        text: the text column, by name or by position from 1; guessed where there is no doubt.
        label: the label column, likewise.
        encoder: a name from `firstbert models`, a hub id or a folder.
        pooling: how the token vectors become one; auto: as the encoder was trained.
        layer: the layer to read: last, or a number from 1; layers above it never run.
        max_length: the most tokens of a text; the ends of longer ones are cut, and that is told.
        precision: of the encoder's arithmetic; int8 is two to three times as fast. What it costs in accuracy is
            measured on the training rows first. bf16 is for torch.
        max_int8_loss: the most points of accuracy that int8 may cost; if it costs more, nothing is trained.
        test: a file to measure on, instead of a part of DATA.
        test_size: the part of DATA that is held out for measuring; 0 trains on all rows and measures nothing.
        class_weight: balanced: every label counts as much as any other, however rare.
        seed: of the hold-out and of the cross-validation.
        on_bad_row: what to do about rows that can't be used.
        on_duplicate: what to do about texts that occur more than once, or in both DATA and --test.
        portable: put the encoder into the model folder too.
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

    classifier = {
        "encoder": encoder,
        "pooling": pooling,
        "layer": layer,
        "max_length": max_length,
        "precision": precision,
        "class_weight": class_weight,
        "threads": threads,
        "backend": backend,
        "device": device,
        "cache": cache,
    }
    reading = _reading(text, label, on_bad_row, on_duplicate)
    result = run(TrainOptions(data, output, test, test_size, seed, portable, max_int8_loss, reading, classifier), note)
    if json:
        print_json(result.as_dict())
        return
    if result.test is not None:
        print(as_text(result.test), end="\n\n")
    print(f'Saved to {result.model} after {result.seconds:.1f} s. Try: firstbert predict {result.model} --text "…"')


@app.command(
    help_epilogue="""Examples:

  firstbert evaluate model test.tsv
  firstbert evaluate model test.csv --text review --label stars --json
"""
)
def evaluate(
    model: Path,
    data: Annotated[str, _Input],
    /,
    *,
    text: str | None = None,
    label: str | None = None,
    on_bad_row: BadRow = "fail",
    on_duplicate: Duplicate = "keep",
    threads: int | None = None,
    device: Device = "auto",
    json: Annotated[bool, _Flag] = False,
) -> None:
    """Measure a model on labelled sentences.

    Args:
        model: a model folder.
        data: TSV, CSV, JSONL or Parquet file, or - for stdin.
        text: the text column, by name or by position from 1; guessed where there is no doubt.
        label: the label column, likewise.
        on_bad_row: what to do about rows that can't be used.
        on_duplicate: what to do about texts that occur more than once.
        threads: batches encoded side by side; one per core unless given.
        device: cuda: run the encoder by torch on the GPU; auto: there only if it needs torch anyway.
        json: print one JSON object instead of the report.
    """
    from firstbert.artifact import load
    from firstbert.data import read
    from firstbert.evaluate import evaluate as measure
    from firstbert.report import as_text

    predictor = load(model).predictor.with_threads(threads).with_device(device)
    examples = read(data, _reading(text, label, on_bad_row, on_duplicate), training=False)
    note_findings(examples)
    result = measure(examples, predictor.predict(examples.texts, cache=True))
    if json:
        print_json(result.as_dict())
    else:
        print(as_text(result))


@app.command(
    help_epilogue="""Examples:

  firstbert predict model --text "What a joy." --text "Never again."
  firstbert predict model new.csv -o labelled.csv
  cat sentences.txt | firstbert predict model - > labelled.tsv
"""
)
def predict(
    model: Path,
    input: Annotated[str | None, _Input] = None,  # noqa: A002 - its name in the help
    /,
    *,
    text: Annotated[list[str] | None, _Flag] = None,
    output: Annotated[Path | None, _Output] = None,
    column: str | None = None,
    on_bad_row: BadRow = "fail",
    threads: int | None = None,
    device: Device = "auto",
    json: Annotated[bool, _Flag] = False,
) -> None:
    """Label sentences.

    Args:
        model: a model folder.
        input: a file of sentences (TSV, CSV, JSONL, Parquet, or one a line), or - for stdin.
        text: a sentence; may be given several times, instead of INPUT.
        output: a .tsv, .csv or .jsonl file to write; stdout, as TSV, unless given.
        column: the text column, by name or by position from 1; guessed where there is no doubt.
        on_bad_row: what to do about rows that can't be used.
        threads: batches encoded side by side; one per core unless given.
        device: cuda: run the encoder by torch on the GPU; auto: there only if it needs torch anyway.
        json: print one JSON array.
    """
    from firstbert.predict import PredictOptions
    from firstbert.predict import predict as run

    run(PredictOptions(model, input, text or [], output, column, on_bad_row, threads, device, json))


@app.command(
    help_epilogue="""Example:

  firstbert models
"""
)
def models(*, json: Annotated[bool, _Flag] = False) -> None:
    """List the encoders that are known by name; any hub id or folder of a supported family works too.

    Args:
        json: print one JSON array.
    """
    from firstbert.catalog import encoders
    from firstbert.families import FAMILIES

    rows = [
        {
            "name": entry.name,
            "hub_id": entry.hub_id,
            "size_mb": entry.size_mb,
            "layers": entry.layers,
            "width": entry.width,
            "pooling": entry.pooling,
            "languages": list(entry.languages),
            "licence": entry.licence,
        }
        for entry in encoders()
    ]
    if json:
        print_json(rows)
        return
    print_models(rows, list(FAMILIES))


@app.command(
    help_epilogue="""Examples:

  firstbert doctor
  firstbert doctor model
"""
)
def doctor(model: Path | None = None, /, *, json: Annotated[bool, _Flag] = False) -> None:
    """Say what this machine has, and whether a model answers here as it did where it was saved.

    Args:
        model: a model folder; its golden texts are computed here and compared.
        json: print one JSON object.
    """
    from dataclasses import asdict

    from firstbert.doctor import check_model, machine
    from firstbert.errors import ArtifactError

    facts: dict[str, Any] = {"machine": asdict(machine())}
    check = check_model(model) if model else None
    if check:
        facts["model"] = asdict(check) | {"passed": check.passed}
    if json:
        print_json(facts)
    else:
        print_machine(facts["machine"])
    if check and not check.passed:
        raise ArtifactError(
            f"{model}: this machine's probabilities differ by up to {max(check.differences):.2g} from those saved with "
            f"the model (allowed: {check.tolerance:.0e}). Reinstall firstbert, or train the model anew here."
        )
    if check and not json:
        print(f"\n{model}: all {len(check.differences)} golden texts give the saved probabilities "
              f"(largest difference {max(check.differences):.1e}).")  # fmt: skip


@cache_app.command(
    help_epilogue="""Example:

  firstbert cache info
"""
)
def info(*, json: Annotated[bool, _Flag] = False) -> None:
    """Say where the cache is and how much it holds.

    FIRSTBERT_CACHE names the folder. FIRSTBERT_VECTOR_CACHE_GB is the most the vectors may take there, 2 unless given;
    FIRSTBERT_VECTOR_CACHE=0 switches their cache off.

    Args:
        json: print one JSON object.
    """
    from firstbert.doctor import cache_info

    show = print_json if json else print_cache
    show(cache_info())


@cache_app.command(
    help_epilogue="""Examples:

  firstbert cache clear
  firstbert cache clear --vectors
"""
)
def clear(*, vectors: Annotated[bool, _Flag] = False, json: Annotated[bool, _Flag] = False) -> None:
    """Delete all that the cache holds, downloaded encoders included; it fills again as needed.

    Args:
        vectors: delete only the vectors of sentences.
        json: print one JSON object with what was there.
    """
    from firstbert.doctor import clear_cache

    show = print_json if json else print_cache
    show(clear_cache(vectors))
    note("Cleared.")


# ---------------------------------------------------------------- what the commands share


def _reading(text: str | None, label: str | None, on_bad_row: BadRow, on_duplicate: Duplicate) -> Any:
    from firstbert.data import DataOptions

    return DataOptions(text, label, on_bad_row, on_duplicate)


def run(arguments: list[str]) -> None:
    """Run a command.

    Raises:
        UsageError: the arguments make no sense.
    """
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise UsageError(str(error)) from error
