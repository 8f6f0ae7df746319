"""All measurements, or some: `python -m benchmarks.run [SECTION …]`. `make bench` makes what it needs first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import commands, int8, latency, memory, report, throughput, walk
from benchmarks.bench import Bench, Options
from benchmarks.kept import ROOT, Results

SECTIONS = {
    "throughput": throughput.run,
    "int8": int8.run,
    "tutorial": walk.run,
    "latency": latency.run,
    "memory": memory.run,
}


def parse(arguments: Sequence[str]) -> tuple[list[str], Options]:
    """Return the sections asked for, and the options."""
    parser = commands.parser("bench", __doc__, SECTIONS, "MPNet's folder: adds its accuracy, some minutes")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench" / "bin" / "python")
    parser.add_argument("--optimum", type=Path, default=ROOT / ".venv-bench-optimum" / "bin" / "python")
    parser.add_argument("--rounds", type=int, default=None, help="5, unless given")
    names, given, shared = commands.asked(parser, SECTIONS, arguments)
    mpnet, python = shared.pop("mpnet"), shared.pop("python")
    pythons = {"firstbert": python, "peers": given.peers.absolute(), "optimum": given.optimum.absolute()}
    rounds = given.rounds or (2 if given.quick else 5)
    return names, Options(**shared, pythons=pythons, rounds=rounds, mpnet=Path(mpnet) if mpnet else None)


def main() -> None:
    sections, options = parse(sys.argv[1:])
    bench, failed = Bench(options), []
    try:
        for name in sections:
            results = Results.open(options.results, name, bench.header, options.force)
            SECTIONS[name](bench, results)
            failed += results.failed
    finally:
        bench.close()
    if not options.quick:
        report.write(options.results)
    print(report.render(report.read(options.results)))
    commands.end(options.results, failed)


if __name__ == "__main__":
    main()
