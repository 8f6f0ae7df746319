"""What a head's choices are worth: `python -m benchmarks.trust [SECTION …]`. `make trust` makes what it needs first.

Layers, speed after the cut, kinds of labels, calibration, the bound on errors, labels in doubt. Figures go to
results/trust.json and from there to docs/results.md (trust_report.py).
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, texts, trust_disputed, trust_kinds, trust_layers, trust_probabilities, trust_report
from benchmarks.bench import ROOT, BenchError, Results, note
from firstbert import SentenceClassifier
from firstbert.catalog import dataset
from firstbert.search import by_rule
from firstbert.session import usable_cores
from firstbert.sources import fetch

FEW = 300  # rows of each part of SST-2 in a quick run

Section = Callable[["Trust", Results], None]
SECTIONS: dict[str, Section] = {
    "layers": trust_layers.run,
    "cut": trust_layers.run_cut,
    "kinds": trust_kinds.run,
    "calibration": trust_probabilities.run_calibration,
    "promise": trust_probabilities.run_promise,
    "disputed": trust_disputed.run,
}


@dataclass(frozen=True)
class Options:
    """Of a run.

    Attributes:
        data: folder with SST-2's train.tsv, dev.tsv, test.tsv; None: they are fetched.
        mpnet: MPNet's folder or name; None leaves it out.
        results: folder of trust.json.
        work: folder for passing files and models.
        python: firstbert's interpreter.
        cleanlab: the interpreter of an environment with cleanlab.
        threads: of the machine that encoders use.
        quick: sizes at which nothing is worth measuring, to see that all works.
        force: measure anew what is there.
    """

    data: Path | None
    mpnet: str | None
    results: Path
    work: Path
    python: Path
    cleanlab: Path
    threads: int
    quick: bool = False
    force: bool = False


class Trust:
    """What all sections need: encoders, SST-2, files, the command line."""

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

    def classifier(self, name: str, **options: Any) -> SentenceClassifier:
        """Return what is fitted again and again: as it comes, but MPNet reads a layer that no row had a say in.

        To search its 24 places anew for every split takes hours.
        """
        layer = by_rule(12) if name == "mpnet" else "auto"
        return SentenceClassifier(self.encoders[name], layer=layer, **options)

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
        variables = machine.variables() | ({"FIRSTBERT_VECTOR_CACHE": "0"} if cold else {})
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


def measure(options: Options, sections: Sequence[str]) -> Results:
    """Measure sections, part by part; what is there is kept, unless it is to be measured anew."""
    trust = Trust(options)
    results = Results.open(_Keeping(options.results), "trust", trust.header)
    results.parts["header"] = trust.header | {"encoders": _encoders(results, trust)}
    if options.force:
        results.parts = {name: part for name, part in results.parts.items() if name.split(",")[0] not in sections}
    for name in sections:
        SECTIONS[name](trust, results)
    return results


@dataclass(frozen=True)
class _Keeping:
    """What `Results.open` looks at: parts of other sections stay, also where some are measured anew."""

    results: Path
    force: bool = False


def _encoders(results: Results, trust: Trust) -> list[str]:
    return sorted({*results.parts.get("header", {}).get("encoders", []), *trust.encoders})


def parse(arguments: Sequence[str]) -> tuple[list[str], Options]:
    """Return the sections asked for, and the options."""
    parser = argparse.ArgumentParser(prog="trust", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all, unless given")
    parser.add_argument("--sst2", type=Path, default=None, help="SST-2's folder; fetched, unless given")
    parser.add_argument("--mpnet", default=None, help="MPNet's folder, or mpnet to fetch it; left out, unless given")
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "trust")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of firstbert")
    parser.add_argument("--cleanlab", type=Path, default=ROOT / ".venv-cleanlab" / "bin" / "python")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--quick", action="store_true", help="only see that all works")
    parser.add_argument("--force", action="store_true", help="measure the sections anew")
    given = parser.parse_args(arguments)
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no section {unknown.pop()!r}; these are: {', '.join(SECTIONS)}")
    results = given.results or (given.work / "quick" if given.quick else ROOT / "benchmarks" / "results")
    options = Options(
        data=given.sst2.resolve() if given.sst2 else None,
        mpnet=str(Path(given.mpnet).resolve()) if given.mpnet and Path(given.mpnet).exists() else given.mpnet,
        results=results.resolve(),
        work=given.work.resolve(),
        python=given.python.absolute(),
        cleanlab=given.cleanlab.absolute(),
        threads=given.threads,
        quick=given.quick,
        force=given.force or given.quick,
    )
    return given.sections or list(SECTIONS), options


def main() -> None:
    sections, options = parse(sys.argv[1:])
    if not options.mpnet:
        note("MPNet is left out: name its folder with --mpnet (make trust MPNET=FOLDER).")
    results = measure(options, sections)
    if not options.quick:
        trust_report.write(results.parts)
    print(trust_report.render(results.parts))
    note(f"results: {results.path}")
    if results.failed:
        sys.exit(f"Not measured: {', '.join(results.failed)}. Run it again: what is there is kept.")


if __name__ == "__main__":
    main()
