"""What sections that run firstbert's own command line share: SST-2, encoders, files, results kept part by part."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import machine, texts
from benchmarks.bench import BenchError, Results
from firstbert.catalog import dataset
from firstbert.sources import fetch

FEW = 300  # rows of each part of SST-2 in a quick run


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
        return self.file(f"few-{name}.tsv", self.rows(name)) if self.options.quick else self._whole(name)

    def rows(self, name: str) -> list[texts.Row]:
        """Return its rows."""
        rows = texts.sst2(self._whole(name).parent, self._whole(name).stem)
        return rows[:FEW] if self.options.quick else rows

    def _whole(self, name: str) -> Path:
        return self.options.data / f"{name}.tsv" if self.options.data else fetch(dataset("sst2").files[name])

    # -- files and commands

    def file(self, name: str, rows: Iterable[tuple[str, object]]) -> Path:
        """Write (text, label) rows where a command can read them."""
        path = self.options.work / name
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerows([("text", "label"), *rows])
        return path

    def command(self, *arguments: object, cold: bool = False) -> tuple[Any, float]:
        """Run `firstbert … --json`; return what it prints, None for nothing, and its seconds from start to end.

        Args:
            arguments: as typed.
            cold: keep no vectors, and take none that are kept.

        Raises:
            BenchError: the command failed.
        """
        variables = machine.variables() | {"FIRSTBERT_PROGRESS": "0"}
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


AnyCommands = TypeVar("AnyCommands", bound=Commands)


def measure(
    commands: AnyCommands, file: str, sections: Mapping[str, Callable[[AnyCommands, Results], None]],
    names: Sequence[str],
) -> Results:  # fmt: skip
    """Measure sections, part by part; what is there is kept, unless it is to be measured anew."""
    options, header = commands.options, commands.header
    results = Results.open(_Keeping(options.results), file, header)
    known = results.parts.get("header", {}).get("encoders", [])
    results.parts["header"] = header | {"encoders": sorted({*known, *commands.encoders})}
    if options.force:
        results.parts = {name: part for name, part in results.parts.items() if name.split(",")[0] not in names}
    for name in names:
        sections[name](commands, results)
    return results


@dataclass(frozen=True)
class _Keeping:
    """What `Results.open` looks at: parts of other sections stay, also where some are measured anew."""

    results: Path
    force: bool = False
