"""All measurements, or some: `python -m benchmarks.run [SECTION …]`. `make bench` makes what it needs first."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import int8, latency, memory, report, throughput, walk
from benchmarks.bench import ROOT, Bench, Options, Results, note
from firstbert.session import usable_cores

SECTIONS = {
    "throughput": throughput.run,
    "int8": int8.run,
    "tutorial": walk.run,
    "latency": latency.run,
    "memory": memory.run,
}


def parse(arguments: list[str]) -> tuple[list[str], Options]:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all, unless given")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "sst2", help="SST-2's folder")
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of firstbert")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench" / "bin" / "python")
    parser.add_argument("--optimum", type=Path, default=ROOT / ".venv-bench-optimum" / "bin" / "python")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=None, help="5, unless given")
    parser.add_argument("--mpnet", type=Path, default=None, help="MPNet's folder: adds its accuracy, some minutes")
    parser.add_argument("--quick", action="store_true", help="only see that all works")
    parser.add_argument("--force", action="store_true", help="measure anew what is there")
    given = parser.parse_args(arguments)
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no section {unknown.pop()!r}; these are: {', '.join(SECTIONS)}")
    results = given.results or (given.work / "quick" if given.quick else ROOT / "benchmarks" / "results")
    options = Options(
        data=given.data.resolve(),
        results=results.resolve(),
        work=given.work.resolve(),
        pythons={"firstbert": given.python, "peers": given.peers.absolute(), "optimum": given.optimum.absolute()},
        threads=given.threads,
        rounds=given.rounds or (2 if given.quick else 5),
        quick=given.quick,
        force=given.force or given.quick,
        mpnet=given.mpnet.resolve() if given.mpnet else None,
    )
    return given.sections or list(SECTIONS), options


def main() -> None:
    sections, options = parse(sys.argv[1:])
    bench, failed = Bench(options), []
    try:
        for name in sections:
            results = Results.open(options, name, bench.header)
            SECTIONS[name](bench, results)
            failed += results.failed
    finally:
        bench.close()
    if not options.quick:
        report.write(options.results)
    print(report.render(report.read(options.results)))
    note(f"results: {options.results}")
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}. Run it again: what is there is kept.")


if __name__ == "__main__":
    main()
