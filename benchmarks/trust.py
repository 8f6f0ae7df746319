"""What a head's choices are worth: `python -m benchmarks.trust [SECTION …]`. `make trust` makes what it needs first.

Layers, speed after the cut, kinds of labels, calibration, the bound on errors, labels in doubt. Figures go to
results/trust.json and from there to docs/results.md (trust_report.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import commands, trust_disputed, trust_kinds, trust_layers, trust_probabilities, trust_report
from benchmarks.commands import Commands
from benchmarks.kept import ROOT, Results
from firstbert import SentenceClassifier
from firstbert.search import by_rule

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
    parser = commands.parser("trust", __doc__, SECTIONS, "MPNet's folder, or mpnet to fetch it; left out, unless given")
    parser.add_argument("--cleanlab", type=Path, default=ROOT / ".venv-cleanlab" / "bin" / "python")
    names, given, shared = commands.asked(parser, SECTIONS, arguments)
    return names, Options(**shared, cleanlab=given.cleanlab.absolute())


def main() -> None:
    sections, options = parse(sys.argv[1:])
    commands.say_left_out(options)
    commands.tell(measure(options, sections), options, trust_report.write, trust_report.render)


if __name__ == "__main__":
    main()
