"""What a head's choices are worth: `python -m benchmarks.trust [SECTION …]`. `make trust` makes what it needs first.

Layers, speed after the cut, kinds of labels, calibration, the bound on errors, labels in doubt. Figures go to
results/trust.json and from there to docs/results.md (trust_report.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import commands, trust_disputed, trust_kinds, trust_layers, trust_probabilities, trust_report
from benchmarks.bench import ROOT, Results, note
from benchmarks.commands import Commands
from firstbert import SentenceClassifier
from firstbert.search import by_rule
from firstbert.session import usable_cores

Section = Callable[["Trust", Results], None]
SECTIONS: dict[str, Section] = {
    "layers": trust_layers.run,
    "cut": trust_layers.run_cut,
    "kinds": trust_kinds.run,
    "calibration": trust_probabilities.run_calibration,
    "promise": trust_probabilities.run_promise,
    "disputed": trust_disputed.run,
}


@dataclass(frozen=True, kw_only=True)
class Options(commands.Options):
    """Of a run.

    Attributes:
        cleanlab: the interpreter of an environment with cleanlab.
    """

    cleanlab: Path


class Trust(Commands):
    """What all sections need: encoders, SST-2, files, the command line."""

    options: Options

    def classifier(self, name: str, **options: Any) -> SentenceClassifier:
        """Return what is fitted again and again: as it comes, but MPNet reads a layer that no row had a say in.

        To search its 24 places anew for every split takes hours.
        """
        layer = by_rule(12) if name == "mpnet" else "auto"
        return SentenceClassifier(self.encoders[name], layer=layer, **options)


def measure(options: Options, sections: Sequence[str]) -> Results:
    """Measure sections, part by part; what is there is kept, unless it is to be measured anew."""
    return commands.measure(Trust(options), "trust", SECTIONS, sections)


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
