"""What sections that run firstbert's own command line share: options, SST-2, encoders, files, results kept by part."""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import machine, texts
from benchmarks.kept import ROOT, BenchError, Results, note
from firstbert.session import usable_cores

FEW = 300  # rows of each part of SST-2 in a quick run
QUIET = {  # for peers, which else look things up and tell of themselves
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    "PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error",
}  # fmt: skip
Parts = dict[str, Any]
Parser, Given = argparse.ArgumentParser, argparse.Namespace
_MPNET = "MPNet's folder; left out, unless given"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of a run.

    Attributes:
        data: folder with SST-2's train.tsv, dev.tsv, test.tsv; None: they are fetched.
        mpnet: MPNet's folder or name; None leaves it out.
        results: folder of the JSON file.
        work: folder for passing files and models.
        python: firstbert's interpreter.
        threads: of the machine that encoders use.
        quick: sizes at which nothing is worth measuring, to see that all works.
        force: measure anew what is there.
    """

    data: Path | None
    mpnet: str | None
    results: Path
    work: Path
    python: Path
    threads: int
    quick: bool = False
    force: bool = False


# ---------------------------------------------------------------- what can be asked for


def parser(prog: str, about: str | None, sections: Collection[str], mpnet: str | None = _MPNET) -> Parser:
    """Return a parser of the options that all such measurements have; `mpnet` is that option's help, None for none."""
    found = argparse.ArgumentParser(prog=prog, description=about)
    found.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(sections)}; all, unless given")
    found.add_argument("--sst2", type=Path, default=None, help="SST-2's folder; fetched, unless given")
    if mpnet:
        found.add_argument("--mpnet", default=None, help=mpnet)
    found.add_argument("--results", type=Path, default=None)
    found.add_argument("--work", type=Path, default=ROOT / "build" / prog)
    found.add_argument("--python", type=Path, default=Path(sys.executable), help="of firstbert")
    found.add_argument("--threads", type=int, default=usable_cores())
    found.add_argument("--quick", action="store_true", help="only see that all works")
    found.add_argument("--force", action="store_true", help="measure the sections anew")
    return found


def asked(
    parser: Parser, sections: Collection[str], arguments: Sequence[str]
) -> tuple[list[str], Given, dict[str, Any]]:
    """Return the sections asked for, all that was given, and the fields of `Options`."""
    given = parser.parse_args(arguments)
    if unknown := set(given.sections) - set(sections):
        parser.error(f"no section {unknown.pop()!r}; these are: {', '.join(sections)}")
    results = given.results or (given.work / "quick" if given.quick else ROOT / "benchmarks" / "results")
    mpnet = getattr(given, "mpnet", None)
    fields = {
        "data": resolved(given.sst2),
        "mpnet": str(Path(mpnet).resolve()) if mpnet and Path(mpnet).exists() else mpnet,
        "results": results.resolve(),
        "work": (given.work / "files" if given.quick else given.work).resolve(),
        "python": given.python.absolute(),
        "threads": given.threads,
        "quick": given.quick,
        "force": given.force or given.quick,
    }
    return given.sections or list(sections), given, fields


def resolved(path: Path | None) -> Path | None:
    """Return a whole path, None for none."""
    return path.resolve() if path else None


def say_left_out(options: Options) -> None:
    """Say how to have MPNet measured too, where it isn't."""
    if not options.mpnet:
        note("MPNet is left out: name its folder with --mpnet (of make: MPNET=FOLDER).")


# ---------------------------------------------------------------- what is run


class Commands:
    """The command line, and what it is given."""

    def __init__(self, options: Options) -> None:
        self.options = options
        options.work.mkdir(parents=True, exist_ok=True)

    @property
    def encoders(self) -> dict[str, str]:
        """Name → what the command line takes; MPNet only where its place was given."""
        found = {"minilm": "minilm"}
        if self.options.mpnet:
            found["mpnet"] = self.options.mpnet
        return found

    def seeds(self, n: int) -> range:
        """Return the seeds of something done `n` times."""
        return range(2 if self.options.quick else n)

    def size(self, n: int, least: int = 64) -> int:
        """Return how many rows to take where a full run takes `n`."""
        return max(n // 32, least) if self.options.quick else n

    # -- SST-2, of which a quick run takes the first rows

    def split(self, name: str) -> Path:
        """Return the file of train, dev or test."""
        if self.options.quick:
            return self.file(f"few-{name}.tsv", self.rows(name))
        return texts.sst2_file(self.options.data, name)

    def rows(self, name: str) -> list[texts.Row]:
        """Return its rows."""
        rows = texts.sst2(self.options.data, name)
        return rows[:FEW] if self.options.quick else rows

    # -- files and commands

    def file(self, name: str, rows: Iterable[tuple[str, object]]) -> Path:
        """Write (text, label) rows where a command can read them."""
        path = self.options.work / name
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerows([("text", "label"), *rows])
        return path

    @property
    def variables(self) -> dict[str, str]:
        """The environment of what is run: paths whole, since some begin elsewhere."""
        found = machine.variables() | {"FIRSTBERT_PROGRESS": "0"}
        if path := found.get("PYTHONPATH"):
            found["PYTHONPATH"] = os.pathsep.join(str(Path(one).resolve()) for one in path.split(os.pathsep))
        return found

    def command(self, *arguments: object, cold: bool = False) -> tuple[Any, float]:
        """Run `firstbert … --json`; return what it prints, None for nothing, and its seconds from start to end.

        Args:
            arguments: as typed.
            cold: keep no vectors, and take none that are kept.

        Raises:
            BenchError: the command failed.
        """
        variables = self.variables
        if cold:
            variables["FIRSTBERT_VECTOR_CACHE"] = "0"
        command = [str(self.options.python), "-m", "firstbert", *map(str, arguments), "--json"]
        start = time.perf_counter()
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise BenchError(f"firstbert {' '.join(map(str, arguments))}: {done.stderr.strip()[-1000:]}")
        return json.loads(done.stdout or "null"), seconds

    @property
    def header(self) -> dict[str, Any]:
        """What the file begins with."""
        return {
            "machine": machine.facts(self.options.threads),
            "versions": {"firstbert": machine.versions()},
            "quick": self.options.quick,
            "encoders": list(self.encoders),
        }


def versions(python: Path) -> dict[str, str]:
    """Return the libraries of another environment; none where there is no such interpreter."""
    if not python.exists():
        return {}
    ask = "import json; from benchmarks import machine; print(json.dumps(machine.versions()))"
    done = subprocess.run([python, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


AnyCommands = TypeVar("AnyCommands", bound=Commands)


def measure(
    commands: AnyCommands, file: str, sections: Mapping[str, Callable[[AnyCommands, Results], None]],
    names: Sequence[str],
) -> Results:  # fmt: skip
    """Measure sections, part by part; what is there is kept, unless it is to be measured anew."""
    options, header = commands.options, commands.header
    results = Results.open(options.results, file, header)  # parts of other sections stay, also if some are done anew
    known = results.parts.get("header", {}).get("encoders", [])
    results.parts["header"] = header | {"encoders": sorted({*known, *commands.encoders})}
    if options.force:
        results.parts = {name: part for name, part in results.parts.items() if name.split(",")[0] not in names}
    for name in names:
        sections[name](commands, results)
    return results


def tell(results: Results, options: Options, write: Callable[[Parts], None], render: Callable[[Parts], str]) -> None:
    """Write the page, print its tables, and end the program with what could not be measured."""
    if not options.quick:
        write(results.parts)
    print(render(results.parts))
    end(results.path, results.failed)


def end(path: Path, failed: Sequence[str]) -> None:
    """Say where results are, and end the program with what could not be measured."""
    note(f"results: {path}")
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}. Run it again: what is there is kept.")
