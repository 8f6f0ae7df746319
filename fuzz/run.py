"""All targets under atheris, one after the other: `make fuzz MINUTES=30`. See docs/fuzzing.md.

Each begins with its seeds and with what is kept in corpus/. After a finding it goes on, for the time that is left. What
an input found is told, the input kept in findings/, and all is counted in benchmarks/results/fuzz.json.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import machine

from fuzz import report

HERE = Path(__file__).parent
TARGETS = ("readers", "streams", "model", "weights", "encoder")
LIBRARIES = ("firstbert", "atheris", "numpy", "pyarrow", "safetensors", "tokenizers")
LONGEST = 8192  # bytes of an input
_LIMITS = ("-timeout=10", "-rss_limit_mb=2048", f"-max_len={LONGEST}", "-print_final_stats=1")
_MOST_FINDINGS = 20  # after so many, a target waits to be mended
_STATE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_UNITS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def main() -> None:
    """Fuzz, and write down what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all unless given: {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=30, help="for all targets together")
    parser.add_argument("--keep", action="store_true", help="put the inputs that reach the most into corpus/")
    options = parser.parse_args()
    targets = options.targets or TARGETS
    found = {name: fuzzed(name, 60 * options.minutes / len(targets), keep=options.keep) for name in targets}
    header = {"minutes": options.minutes, "machine": machine.facts(threads=1), "quick": options.minutes < 30,
              "versions": {name: version(name) for name in LIBRARIES}}  # fmt: skip
    report.RESULTS.write_text(json.dumps({"header": header, "targets": found}, indent=1) + "\n")
    report.write(report.read())
    findings = sum(len(one["findings"]) for one in found.values())
    print(f"{findings} findings")
    sys.exit(bool(findings))


def fuzzed(name: str, seconds: float, *, keep: bool) -> dict[str, Any]:
    """Fuzz one target for so long, and return what came of it."""
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    try:
        inputs = _beginning(name, work / "inputs")
        facts: dict[str, Any] = {"runs": 0, "executions": 0, "coverage": 0, "features": 0, "inputs": 0, "findings": []}
        while (left := seconds - (time.monotonic() - began)) > 1 and len(facts["findings"]) < _MOST_FINDINGS:
            told = _run(name, work, f"-max_total_time={int(left)}", *_LIMITS, str(inputs))
            facts["runs"] += 1
            facts["executions"] += int((_UNITS.findall(told) or ["0"])[-1])
            states = _STATE.findall(told) or [("0", "0", "0")]
            for key, value in zip(("coverage", "features", "inputs"), states[-1], strict=True):
                facts[key] = max(facts[key], int(value))
            facts["findings"] += _findings(name, work, told, str(facts["findings"]))
        facts["seconds"] = round(time.monotonic() - began)
        if keep:
            _keep(name, work, inputs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{name}: {facts}", flush=True)
    return facts


def _beginning(name: str, folder: Path) -> Path:
    """Put a target's seeds and its part of the corpus into a folder."""
    folder.mkdir(parents=True)
    kept = [path.read_bytes() for path in sorted((HERE / "corpus" / name).glob("*"))]
    for content in [*importlib.import_module(f"fuzz.{name}").seeds().values(), *kept]:
        (folder / _name(content)).write_bytes(content)
    words = {word for path in folder.iterdir() for word in re.findall(rb'"[A-Za-z0-9_./ -]{2,40}"', path.read_bytes())}
    (folder.parent / "words").write_bytes(b"\n".join(sorted(words)) + b"\n")
    return folder


def _name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _run(name: str, work: Path, *options: str) -> str:
    """Run a target until it ends by itself, and return what it printed."""
    (found := work / "found").mkdir(exist_ok=True)
    own = {
        "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE.parent / "src"))), "TMPDIR": str(work),
        "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "FIRSTBERT_CACHE": str(work / "cache"),
        "FIRSTBERT_OFFLINE": "1",
    }  # fmt: skip
    dictionary = [f"-dict={work / 'words'}"] if (work / "words").stat().st_size > 1 else []
    (worker := work / "worker").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fuzz.worker {name} "$0" "$@"\n')
    worker.chmod(0o755)
    command = [str(worker), f"-artifact_prefix={found}/", *dictionary, *options]
    with (work / "told").open("w+b") as told:
        subprocess.run(command, env=os.environ | own, cwd=HERE.parent, stdout=told, stderr=told, check=False)
        told.seek(0)
        return told.read().decode(errors="replace")


def _findings(name: str, work: Path, told: str, before: str) -> list[str]:
    """Keep the inputs that found something new, and say what they found."""
    found = []
    for path in sorted((work / "found").iterdir()):
        content = path.read_bytes()
        kind = path.name.partition("-")[0]
        path.unlink()
        lines = [line.strip() for line in told.splitlines()]
        said = next((line for line in lines if re.match(r"[\w.]*(Error|Exception|Warning|Interrupt)\b", line)), kind)
        target = HERE / "findings" / name / f"{kind}-{_name(content)}"
        found.append(f"{target.name}: {said[:200]}")
        if said not in before:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            print(f"{name}: {found[-1]}\n{_trace(lines)}", flush=True)
    if not found and "stat::number_of_executed_units" not in told:
        raise SystemExit(f"{name}: the fuzzer did not run:\n{told[-4000:]}")
    return found


def _trace(lines: list[str]) -> str:
    begin = next(
        (i for i, line in enumerate(lines) if "Uncaught Python exception" in line or "ERROR: libFuzzer" in line), 0
    )
    return "\n".join(lines[begin : begin + 60])


def _keep(name: str, work: Path, inputs: Path) -> None:
    """Put the smallest set of inputs that reaches all that was reached into the corpus."""
    (smallest := work / "smallest").mkdir()
    _run(name, work, "-set_cover_merge=1", "-use_counters=0", f"-max_len={LONGEST}", str(smallest), str(inputs))
    shutil.rmtree(target := HERE / "corpus" / name, ignore_errors=True)
    target.mkdir(parents=True)
    for path in smallest.iterdir():
        content = path.read_bytes()
        (target / _name(content)).write_bytes(content)


if __name__ == "__main__":
    main()
