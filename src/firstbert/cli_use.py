"""The commands that use a model, and those about this machine.

After cli_measure.py on the way of a sentence. Results go to stdout, notes and progress to stderr.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from firstbert.cli_app import Device, Flag, Input, Output, app, cache_app
from firstbert.terminal import note, print_cache, print_json, print_machine, print_models


@app.command(
    help_epilogue="""Examples:

  firstbert predict model --text "What a joy." --text "Never again."
  firstbert predict model new.csv -o labelled.csv
  firstbert predict model archive/ 'more/*.jsonl.gz' -o labelled.parquet --per-class
  firstbert predict model s3://bucket/reviews/ -o labelled.jsonl.zst --engine ray
  cat sentences.txt | firstbert predict model - > labelled.tsv
"""
)
def predict(
    model: Path,
    /,
    *input: Annotated[str, Input],  # noqa: A002 - its name in the help
    text: Annotated[list[str] | None, Flag] = None,
    output: Annotated[str | None, Output] = None,
    column: str | None = None,
    on_bad_row: Literal["aside", "skip", "fail"] = "aside",
    per_class: Annotated[bool, Flag] = False,
    cache: Annotated[bool, Flag] = False,
    restart: Annotated[bool, Flag] = False,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    device: Device = "auto",
    json: Annotated[bool, Flag] = False,
) -> None:
    """Label sentences.

    All columns of the input are kept; label, probability, truncated and unsure follow. A run that was stopped goes on
    where it was when the same command is given again. Rows that can't be used stand in OUTPUT.bad.jsonl, each with its
    place and the reason.

    Args:
        model: a model folder.
        input: files of sentences (TSV, CSV, JSONL, Parquet, or one a line; also .gz and .zst), folders, patterns,
            addresses (s3://, gs://), or - for stdin.
        text: a sentence; may be given several times, instead of INPUT.
        output: a file to write: .tsv, .csv, .jsonl or .parquet, all but the last also with .gz or .zst behind; stdout,
            as TSV, unless given.
        column: the text column, by name or by position from 1; guessed where there is no doubt.
        on_bad_row: aside: set rows that can't be used aside, label all others, and end with exit code 2; skip: the
            same with exit code 0, and files that can't be read are left out; fail: stop at the first.
        per_class: write the probability of every label.
        cache: take vectors of sentences seen before from the cache folder, and keep new ones there.
        restart: begin anew where an earlier run was stopped.
        engine: local: encode in this process; ray: on a Ray cluster.
        address: of a Ray cluster; the one that RAY_ADDRESS names, or one made on this machine, unless given.
        workers: of Ray, each with a model of its own; as many as the cluster's cores allow unless given.
        threads: batches encoded side by side; one per core unless given, with Ray one for each worker.
        device: cuda: run the encoder by torch on the GPU; auto: there only if it needs torch anyway.
        json: print one JSON object on what was done; without OUTPUT, an array of the answers.
    """
    from firstbert.errors import UsageError
    from firstbert.predict import PredictOptions
    from firstbert.predict import predict as run

    if bool(input) == bool(text):
        raise UsageError("Give either INPUT or --text, one of the two.")
    of_files = {"output": output, "column": column, "per-class": per_class, "cache": cache, "restart": restart,
                "address": address, "workers": workers}  # fmt: skip
    if text:
        given = next((name for name, value in of_files.items() if value), None)
        if given or engine != "local":
            raise UsageError(f"--{given or 'engine'} is for files: give INPUT instead of --text.")
        return run(PredictOptions(model, list(text), threads=threads, device=device, json=json))
    if engine == "local" and (address or workers):
        raise UsageError(f"--{'address' if address else 'workers'} is for --engine ray: add that, or leave it out.")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers must be 1 or more, not {workers}.")
    from firstbert.bulk import BulkOptions

    bulk = BulkOptions(
        inputs=input, output=output or "", text=column, on_bad_row=on_bad_row, per_class=per_class, cache=cache,
        restart=restart, threads=threads, device=device, engine=engine, address=address, workers=workers,
    )  # fmt: skip
    return run(PredictOptions(model, bulk=bulk, threads=threads, device=device, json=json))


@app.command(
    help_epilogue="""Examples:

  firstbert explain model "A slow start, but what an ending."
  firstbert explain model "A slow start, but what an ending." --html ending.html
"""
)
def explain(
    model: Path,
    text: Annotated[str, Input],
    /,
    *,
    html: Path | None = None,
    method: Literal["auto", "exact", "occlusion"] = "auto",
    json: Annotated[bool, Flag] = False,
) -> None:
    """Show a sentence's way through a model: tokens, every layer, the score, and what each word adds to it.

    Args:
        model: a model folder; train with --neighbours, and the nearest training sentences are shown too.
        text: the sentence, or - for stdin.
        html: a file to write: the same as a page, in pictures, which needs nothing else.
        method: how what a word adds is found. exact: the terms of the score, where the model reads a mean; occlusion:
            how far the score falls without the word; auto: exact where it can be had.
        json: print one JSON object with every number.
    """
    import sys

    from firstbert.artifact import load
    from firstbert.explain import Explainer

    explainer = Explainer.of(load(model), model.resolve().name)
    trace = explainer(sys.stdin.read().rstrip("\n") if text == "-" else text, method)
    if html:
        from firstbert.guide import write

        write(html, trace)
        note(f"The page is {html}.")
    if json:
        print_json(trace.as_dict())
    elif not html:
        from rich.console import Console

        from firstbert.drawing import draw

        draw(trace, Console())


@app.command(
    help_epilogue="""Example:

  firstbert export model model.onnx
"""
)
def export(model: Path, output: Path, /, *, json: Annotated[bool, Flag] = False) -> None:
    """Write a model as one ONNX file, from token ids to calibrated probabilities, for other programs and browsers.

    The file is written once it has given the model's golden texts the model's probabilities. Labels, thresholds and the
    tokenizer are in its metadata.

    Args:
        model: a model folder.
        output: the file to write.
        json: print one JSON object.
    """
    from dataclasses import asdict

    from firstbert.artifact import load
    from firstbert.export import export as write

    done = write(load(model), output)
    if json:
        print_json(asdict(done) | {"path": str(done.path)})
    else:
        print(f"{done.path}: {done.bytes / 1e6:,.0f} MB; gives the golden texts the model's probabilities to within "
              f"{done.difference:.0e}.")  # fmt: skip


@app.command(
    help_epilogue="""Examples:

  firstbert serve model
  firstbert serve reviews=model-a tickets=model-b --host 0.0.0.0 --port 8080 --api-keys keys.txt
  curl localhost:8000/predict -d '{"inputs": "What a joy."}'
"""
)
def serve(
    *model: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int | None = None,
    api_keys: Path | None = None,
    cors_origin: Annotated[list[str] | None, Flag] = None,
    deadline: float = 10.0,
    read_timeout: float = 20.0,
    max_inputs: int = 1024,
    max_body_mb: float = 4.0,
    max_connections: int = 4096,
    log_texts: Annotated[bool, Flag] = False,
    quiet: Annotated[bool, Flag] = False,
) -> None:
    """Answer over HTTP, as text-embeddings-inference and Hugging Face's inference API do, with a page to look at.

    SIGHUP opens the model folders anew, without a request lost; SIGTERM answers what has come in, and ends.

    Args:
        model: model folders; name=folder gives one another name than its folder's. The first answers where a request
            names none, the others at /models/NAME.
        host: the address to listen at; 0.0.0.0 for all of this machine's.
        port: 0 takes any that is free.
        threads: batches encoded side by side; one per core unless given.
        api_keys: a file of API keys, one a line; FIRSTBERT_API_KEYS may hold some too, with commas between. Each
            request must bring one of them then: Authorization: Bearer KEY.
        cors_origin: an origin whose pages may call the service from a browser; may be given several times.
        deadline: seconds that a request may take to be answered.
        read_timeout: seconds that a request may take to come in.
        max_inputs: texts of one request.
        max_body_mb: megabytes of one request.
        max_connections: served at once; whoever comes then is told to come again.
        log_texts: write texts and labels into the log too.
        quiet: log only what goes wrong.
    """
    from firstbert.errors import UsageError, missing_extra

    try:
        from firstbert.serve import server
        from firstbert.serve.options import ServeOptions
        from firstbert.serve.options import api_keys as read_keys
    except ModuleNotFoundError as error:
        raise missing_extra("The service", "serve") from error
    if not model:
        raise UsageError("Name a model folder to serve.")
    options = ServeOptions(
        model, host, port, threads, read_keys(api_keys), tuple(cors_origin or ()), deadline, read_timeout,
        max_inputs, int(max_body_mb * 1e6), max_connections, log_texts, quiet,
    )  # fmt: skip
    server.run(options)


@app.command(
    help_epilogue="""Example:

  firstbert models
"""
)
def models(*, json: Annotated[bool, Flag] = False) -> None:
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
def doctor(model: Path | None = None, /, *, json: Annotated[bool, Flag] = False) -> None:
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
def info(*, json: Annotated[bool, Flag] = False) -> None:
    """Say where the cache is and how much it holds.

    FIRSTBERT_CACHE names the folder. FIRSTBERT_PREPARED_GB is the most that prepared encoders may take there, 10 unless
    given: what was used least recently leaves. FIRSTBERT_VECTOR_CACHE_GB is the same for vectors, 2 unless given;
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
def clear(*, vectors: Annotated[bool, Flag] = False, json: Annotated[bool, Flag] = False) -> None:
    """Delete all that the cache holds, downloaded encoders included; it fills again as needed.

    Args:
        vectors: delete only the vectors of sentences.
        json: print one JSON object with what was there.
    """
    from firstbert.doctor import clear_cache

    show = print_json if json else print_cache
    show(clear_cache(vectors))
    note("Cleared.")
