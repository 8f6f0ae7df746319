"""What `make coverage` ran → results/coverage.json, by file, and the table of docs/mutation.md.

Lines and branches count alike: a branch is one way on from a line that has several.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from coverage import Coverage

from benchmarks import machine, marks

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "mutation.md", ROOT / "benchmarks" / "results" / "coverage.json"
BEGIN = marks.begin("coverage")
NOTHING = "Nothing has been measured yet: `make coverage`.\n"
LEAST = 15  # files shown: those with the least
_COUNTS = {
    "lines": "num_statements", "lines_run": "covered_lines", "branches": "num_branches",
    "branches_run": "covered_branches",
}  # fmt: skip


def measured(data: Coverage) -> marks.Parts:
    """Return the counts of all files and of each, as JSON takes them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        data.json_report(outfile=str(path))
        found = json.loads(path.read_text(encoding="utf-8"))
    files = {name.partition("firstbert/")[2]: part["summary"] for name, part in sorted(found["files"].items())}
    return {"all": _counts(found["totals"]), "files": {name: _counts(summary) for name, summary in files.items()}}


def _counts(summary: marks.Parts) -> marks.Parts:
    return {name: summary[theirs] for name, theirs in _COUNTS.items()}


def share(counts: marks.Parts) -> float:
    """Return the share of lines and branches that ran."""
    there = counts["lines"] + counts["branches"]
    return float((counts["lines_run"] + counts["branches_run"]) / there) if there else 1.0


def read(path: Path = RESULTS) -> marks.Parts:
    """Return what was measured; nothing where there is no file."""
    return marks.read(path)


def render(parts: marks.Parts) -> str:
    """Return the total, and the files with the least."""
    if not parts:
        return NOTHING
    total, files = parts["all"], parts["files"]
    text = (
        f"**{share(total):.1%}** of lines and branches: {total['lines_run']:,} of {total['lines']:,} lines, "
        f"{total['branches_run']:,} of {total['branches']:,} branches, in {len(files)} files. The least:"
    )
    libraries = f"Python {parts['python']}, {marks.listed(parts['versions'])}."
    return "\n".join([text, "", "| file | lines | branches | both |", "| --- | --: | --: | --: |", *_rows(files), "",
                      libraries]) + "\n"  # fmt: skip


def _rows(files: marks.Parts) -> Iterator[str]:
    for name, part in sorted(files.items(), key=lambda item: share(item[1]))[:LEAST]:
        lines, branches = f"{part['lines_run']}/{part['lines']}", f"{part['branches_run']}/{part['branches']}"
        yield f"| {name} | {lines} | {branches} | {share(part):.1%} |"


def write(parts: marks.Parts, page: Path = PAGE) -> None:
    """Put the table into the page."""
    marks.fill(page, BEGIN, render(parts))


def main() -> None:
    data = Coverage()
    data.load()
    libraries = ("firstbert", "onnxruntime", "scikit-learn", "torch", "transformers", "ray")
    versions = {name: number for name, number in machine.versions().items() if name in libraries}
    parts = {"python": machine.facts(1)["python"], "versions": versions} | measured(data)
    RESULTS.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    write(parts)
    print(f"{share(parts['all']):.1%} of lines and branches")


if __name__ == "__main__":
    main()
