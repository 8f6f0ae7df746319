"""One sentence: warm in a process, and from a cold one."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, texts
from benchmarks.bench import Bench
from benchmarks.kept import ROOT, BenchError, Results, note
from benchmarks.systems import Setting

WARM = ("firstbert", "sentence-transformers", "transformers pipeline", "ctranslate2", "sentence-transformers onnx")
SENTENCES = 200
SETTINGS: dict[str, Setting] = {"firstbert": {}, "ctranslate2": {"workers": 1, "threads": 2, "batch_tokens": 512}}
BLOCKS = 5  # systems take turns, so many sentences at a time
COLD_RUNS = 11
TEXT = "What a joy, from start to finish, for time {}."  # another one each time: no cache knows it


def run(bench: Bench, results: Results) -> None:
    results.part("warm", lambda: warm(bench))
    results.part("cold", lambda: cold(bench))


def warm(bench: Bench) -> dict[str, Any]:
    """MiniLM, fp32, one sentence after the other."""
    rows = texts.short(bench.rows("train"), bench.options.size(SENTENCES, 20))
    blocks = [bench.file(block) for block in np.array_split(np.array(rows, dtype=object), BLOCKS)]
    found: dict[str, Any] = {}
    workers = {}
    case = bench.case("minilm")
    try:
        for name in WARM:
            try:
                workers[name] = bench.worker(name, case, SETTINGS.get(name, {"batch_size": 1}))
                workers[name].ask("one_by_one", texts=blocks[0])
                found[name] = {"seconds": []}
            except BenchError as error:
                found[name] = {"error": str(error)}
        for block in blocks:
            for name, worker in workers.items():
                time.sleep(0.2)
                found[name]["seconds"] += worker.ask("one_by_one", texts=block)["seconds"]
    finally:
        for worker in workers.values():
            worker.close()
    for facts in found.values():
        if "seconds" in facts:
            facts |= {f"p{q}": float(np.percentile(facts["seconds"], q)) for q in (50, 99)}
    return {"n": len(rows), "systems": found}


def cold(bench: Bench) -> dict[str, Any]:
    """`firstbert predict MODEL --text …` from the shell against importing ONNX Runtime, taking turns."""
    python = bench.options.pythons["firstbert"]
    commands: dict[str, list[str | Path]] = {
        "firstbert predict": [python, "-m", "firstbert", "predict", _model(bench), "--text", TEXT],
        "import onnxruntime": [python, "-c", "import onnxruntime"],
        "import numpy": [python, "-c", "import numpy"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        _time(command, 0)
    begun = time.time_ns()
    for i in range(3 if bench.options.quick else COLD_RUNS):
        for name, command in commands.items():
            seconds[name].append(_time(command, begun + i))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    turns = zip(seconds["firstbert predict"], seconds["import onnxruntime"], strict=True)
    return {"seconds": seconds, "medians": medians, "times_import": statistics.median(a / b for a, b in turns)}


def _model(bench: Bench) -> Path:
    """A MiniLM classifier, trained on some rows."""
    from firstbert import SentenceClassifier

    folder = bench.options.work / "model"
    if not (folder / "model.json").exists():
        note("  training a model")
        rows = bench.rows("train")[:200]
        SentenceClassifier("minilm").fit([text for text, _ in rows], [label for _, label in rows]).save(folder)
    return folder


def _time(command: list[str | Path], i: int) -> float:
    filled = [TEXT.format(i) if part == TEXT else part for part in command]
    start = time.perf_counter()
    subprocess.run(filled, cwd=ROOT, env=machine.variables(), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
