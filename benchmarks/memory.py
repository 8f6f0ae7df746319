"""Peak memory: of each system in a process of its own, and of a stream of a million texts.

`python -m benchmarks.memory ENCODER N` streams N made texts and prints the peak.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks import machine, texts
from benchmarks.bench import Bench
from benchmarks.kept import ROOT, BenchError, Results, note
from benchmarks.peers import SYSTEMS
from benchmarks.systems import Case

ROWS = 500
FEW, MANY = 10_000, 1_000_000


def run(bench: Bench, results: Results) -> None:
    results.part("systems, minilm", lambda: systems(bench))
    results.part("stream", lambda: stream(bench))


def systems(bench: Bench) -> dict[str, Any]:
    """Peak of a process that opens MiniLM and encodes; the setting first on each system's list."""
    rows = texts.short(bench.rows("train"), bench.options.size(ROWS))
    file, found = bench.file(rows), {}
    for precision in ("fp32", "int8"):
        case = bench.case("minilm", precision)
        for name, kind in SYSTEMS.items():
            if precision in kind.precisions:
                label = name if precision == "fp32" else f"{name} {precision}"
                found[label] = _peak(bench, name, case, file)
    return {"n": len(rows), "systems": found}


def _peak(bench: Bench, name: str, case: Case, file: str) -> dict[str, Any]:
    note(f"  {name} {case.precision}")
    setting = SYSTEMS[name].first(case)[0]
    try:
        bench.worker(name, case, setting).close()  # converts where that is still to do
        with bench.worker(name, case, setting) as worker:
            opened = worker.ask("memory")["peak"]
            worker.ask("encode", texts=file)
            return {"opened": opened, "peak": worker.ask("memory")["peak"], "setting": setting}
    except BenchError as error:
        return {"error": str(error)}


def stream(bench: Bench) -> dict[str, Any]:
    """Stream few and many texts through SentenceEncoder with a tiny encoder."""
    encoder = str(bench.encoder("tiny"))
    peaks = {}
    for n in (FEW, MANY // 25 if bench.options.quick else MANY):
        note(f"  {n:,} texts")
        command = [bench.options.pythons["firstbert"], "-m", "benchmarks.memory", encoder, str(n)]
        done = subprocess.run(command, cwd=ROOT, env=machine.variables(), check=True, stdout=subprocess.PIPE, text=True)
        peaks[str(n)] = json.loads(done.stdout)
    few, many = (facts["peak"] for facts in peaks.values())
    return {"peaks": peaks, "ratio": many / few}


def main(encoder: str, n: int) -> None:
    from firstbert import SentenceEncoder

    rows = sum(len(window.vectors) for window in SentenceEncoder(encoder, pooling="mean").stream(texts.made(n)))
    print(json.dumps({"rows": rows, "peak": machine.peak_rss()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
