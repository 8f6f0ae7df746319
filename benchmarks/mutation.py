"""Would the tests notice? `python -m benchmarks.mutation [MODULE…]`: one small change at a time, its tests after each.

In a copy of src/ and tests/, every change that mutants.py knows is made to a module by itself, and the module's own
tests run in a forked process until one of them fails. What no test notices is listed in docs/mutation.md, which is
made from results/mutation.json.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine, marks
from benchmarks.mutants import Mutant, mutants

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "mutation.md", ROOT / "benchmarks" / "results" / "mutation.json"
BEGIN = marks.begin("mutation")
NOTHING = "Nothing has been measured yet: `make mutation`.\n"

# module → its files with their tests; the first four are what is measured unless others are named.
MODULES = {
    "batches": {"batches": ["batches"]},
    "head": {"head": ["head"], "search": ["search"]},
    "cache": {"cache": ["cache"], "store": ["store"]},
    "artifact": {"artifact": ["artifact", "model_folder"], "checks": ["artifact", "model_folder"]},
    "queue": {"serve/queue": ["queue"]},
    "gate": {"serve/gate": ["serve"]},
    "neighbours": {"neighbours": ["explain"]},
    "explain": {"explain": ["explain"]},
    "resume": {"resume": ["job"]},
    "job": {"job": ["job"]},
}
USUAL = tuple(MODULES)[:4]
GOAL = 0.8

# Imported once, before the forks; nothing of ours is among them.
_WARM = (
    "numpy", "scipy.optimize", "sklearn.linear_model", "sklearn.pipeline", "sklearn.model_selection", "onnx",
    "onnxruntime", "tokenizers", "safetensors.numpy", "lmdb", "threadpoolctl", "pandas", "rich.console",
)  # fmt: skip
_QUICK_S = 2.0  # tests that take longer are left out
_LEAST_S = 15.0  # what any run may take
_SLOWER = 5.0  # times as long as without a change, it may take


# ---------------------------------------------------------------- one run of the tests


@dataclass
class Watch:
    """The tests, and what is known of them: how long each takes, and how often it was the one to notice."""

    tests: Sequence[str]
    told: Path
    seconds: dict[str, float] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run those first that noticed most, and leave the long ones out."""
        if self.seconds:
            items[:] = [item for item in items if self.seconds.get(item.nodeid, _QUICK_S) < _QUICK_S]
            items.sort(key=lambda item: (-self.kills[item.nodeid], self.seconds[item.nodeid]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down what each test took, and the one that failed."""
        if report.when == "call" or report.failed:
            with self.told.open("a") as file:
                file.write(json.dumps([report.nodeid, report.duration, report.failed]) + "\n")

    def read(self) -> list[tuple[str, float, bool]]:
        """Return (test, seconds, whether it failed) of the last run."""
        lines = self.told.read_text().splitlines() if self.told.exists() else []
        return [tuple(json.loads(line)) for line in lines]


class Bench:
    """A copy of the sources and tests, to change and run.

    Args:
        root: what holds src/, tests/ and pyproject.toml.
        work: where the copy is put.
        package: the folder of src/ whose files are changed.
    """

    def __init__(self, root: Path, work: Path, package: str = "firstbert") -> None:
        self.root, self.source = work / "root", work / "root" / "src" / package
        for name in ("src", "tests"):
            shutil.copytree(root / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "pyproject.toml", self.root)
        self.temporary, self.told = work / "tmp", work / "told"

    def run(self, watch: Watch, limit_s: float) -> int | None:
        """Return pytest's exit code, None where it took too long."""
        watch.told.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            self._test(watch)
        return _waited(child, time.monotonic() + limit_s)

    def _test(self, watch: Watch) -> None:
        """In a process of its own, in a group of its own with what it starts."""
        code = 99
        try:
            os.setsid()
            os.chdir(self.root)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nowhere, stream)
            sys.path.insert(0, str(self.root / "src"))
            code = pytest.main(
                ["-x", "-p", "no:cacheprovider", "-m", "not slow", f"--basetemp={self.temporary}", *watch.tests],
                plugins=[watch],
            )
        finally:
            os._exit(code)

    def put(self, file: str, source: str) -> None:
        """Make this the file's content; what was compiled of another goes."""
        path = self.source / file
        path.write_text(source, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _waited(child: int, until: float) -> int | None:
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)  # what it started and left behind
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


# ---------------------------------------------------------------- all changes to a file


def measure(bench: Bench, file: str, tests: Sequence[str], sample: int | None = None) -> marks.Parts:
    """Make each change to a file, or a sample of them, and return what the tests noticed."""
    original = (bench.source / file).read_text(encoding="utf-8")
    watch, started = Watch(tests, bench.told), time.monotonic()
    if (code := bench.run(watch, 3600)) != 0:
        failed = [test for test, _, wrong in watch.read() if wrong]
        raise SystemExit(f"{file}: its tests fail as it is (pytest ended with {code}; {', '.join(failed)}).")
    watch.seconds = {test: seconds for test, seconds, _ in watch.read()}
    left_out = sum(seconds for seconds in watch.seconds.values() if seconds >= _QUICK_S)
    limit = _LEAST_S + _SLOWER * (time.monotonic() - started - left_out)
    todo = mutants(original)
    if sample is not None:
        todo = random.Random(0).sample(todo, min(sample, len(todo)))
    outcomes = [(mutant, _outcome(bench, file, mutant, watch, limit)) for mutant in todo]
    bench.put(file, original)
    survivors = [mutant for mutant, outcome in outcomes if outcome == "survived"]
    return {
        "mutants": len(todo),
        "killed": sum(outcome != "survived" for _, outcome in outcomes),
        "timed_out": sum(outcome == "timed out" for _, outcome in outcomes),
        "tests": sum(seconds < _QUICK_S for seconds in watch.seconds.values()),
        "seconds": round(time.monotonic() - started, 1),
        "survivors": [{"line": mutant.line, "change": mutant.change} for mutant in survivors],
    }


def _outcome(bench: Bench, file: str, mutant: Mutant, watch: Watch, limit: float) -> str:
    bench.put(file, mutant.source)
    code = bench.run(watch, limit)
    watch.kills.update(test for test, _, wrong in watch.read() if wrong)
    outcome = "timed out" if code is None else "killed" if code else "survived"
    if outcome != "killed":
        print(f"  {outcome}: {file}:{mutant.line}: {mutant.change}", flush=True)
    return outcome


# ---------------------------------------------------------------- the page


def read(path: Path = RESULTS) -> marks.Parts:
    """Return the modules measured so far; none where there is no file."""
    return marks.read(path)


def share(files: Sequence[marks.Parts]) -> float:
    """Return the share of the changes that a test noticed."""
    return sum(part["killed"] for part in files) / sum(part["mutants"] for part in files)


def render(parts: marks.Parts) -> str:
    """Return the table, and every change that no test noticed."""
    names = [name for name in USUAL if name in parts]
    if not names:
        return NOTHING
    head = [
        "| module | file | changes | noticed | of these, by taking too long | |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    rows = [row for name in names for row in _rows(name, parts[name]["files"])]
    machine_ = parts["header"]["machine"]
    facts = f"{machine_['cpu']}, one core, Python {machine_['python']}. {marks.listed(parts['header']['versions'])}."
    lists = [line for name in names for line in _unnoticed(parts[name]["files"])]
    return "\n".join([facts, "", *head, *rows, "", "What no test noticed:", "", *lists]) + "\n"


def _rows(name: str, files: marks.Parts) -> Iterator[str]:
    for file, part in files.items():
        yield f"| {name} | {file} | {part['mutants']} | {part['killed']} | {part['timed_out']} | {share([part]):.0%} |"
    if len(files) > 1:
        total = {key: sum(part[key] for part in files.values()) for key in ("mutants", "killed", "timed_out")}
        yield f"| **{name}** | all | {' | '.join(map(str, total.values()))} | **{share([total]):.0%}** |"


def _unnoticed(files: marks.Parts) -> Iterator[str]:
    for file, part in files.items():
        for one in part["survivors"]:
            change = one["change"].replace("|", "¦")
            yield f"- {file}, line {one['line']}: `{change}`"


def write(parts: marks.Parts, page: Path = PAGE) -> None:
    """Put table and list into the page."""
    marks.fill(page, BEGIN, render(parts))


# ---------------------------------------------------------------- the command


def _header() -> dict[str, Any]:
    libraries = ("firstbert", "numpy", "onnxruntime", "scikit-learn")
    versions = {name: number for name, number in machine.versions().items() if name in libraries}
    return {"machine": machine.facts(1), "versions": versions | {"pytest": pytest.__version__}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)}; unless given, the first four")
    parser.add_argument("--sample", type=int, help="so many changes of each file; only printed")
    given = parser.parse_args()
    if unknown := set(given.modules) - set(MODULES):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name in _WARM:
        importlib.import_module(name)
    for module in given.modules or USUAL:
        with tempfile.TemporaryDirectory(prefix="mutation-", ignore_cleanup_errors=True) as work:
            _keep_encoders_safe(Path(work))
            files = _measure_files(Bench(ROOT, Path(work)), MODULES[module], given.sample)
        if given.sample is None:
            parts = read() | {"header": _header(), module: {"files": files}}
            RESULTS.write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            write(parts)


def _keep_encoders_safe(work: Path) -> None:
    """Let changed code work on a copy of what the tests keep between runs."""
    kept = Path(os.environ.get("FIRSTBERT_TEST_CACHE", Path.home() / ".cache" / "firstbert-tests"))
    if kept.exists():
        shutil.copytree(kept, work / "cache", symlinks=True)
    os.environ["FIRSTBERT_TEST_CACHE"] = str(work / "cache")


def _measure_files(bench: Bench, files: dict[str, list[str]], sample: int | None) -> marks.Parts:
    found = {}
    for stem, tests in files.items():
        part = measure(bench, f"{stem}.py", [f"tests/test_{test}.py" for test in tests], sample)
        found[f"{stem}.py"] = part
        print(f"{stem}.py: {part['killed']} of {part['mutants']} noticed, {part['seconds']:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    main()
