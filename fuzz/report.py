"""benchmarks/results/fuzz.json → the table of docs/fuzzing.md, made by each run; alone: `python -m fuzz.report`."""

from __future__ import annotations

from pathlib import Path

from benchmarks import marks
from benchmarks.marks import Parts

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"
PAGE = ROOT / "docs" / "fuzzing.md"
BEGIN = "<!-- figures: begin (made by fuzz/report.py) -->"
NOTHING = "Nothing has been run yet: `make fuzz`.\n"
_HEAD = (
    "| Target | Inputs tried | Branches reached | Features | Inputs worth keeping | Seconds | Findings |",
    "|---|---:|---:|---:|---:|---:|---:|",
)


def read(path: Path = RESULTS) -> Parts:
    """Return what the last run counted; nothing where there was none."""
    return marks.read(path)


def render(parts: Parts) -> str:
    """Return the run as Markdown."""
    if not parts:
        return NOTHING
    header, targets = parts["header"], parts["targets"]
    machine = header["machine"]
    rows = [f"| `{name}` | " + " | ".join(f"{number:,}" for number in _numbers(one)) + " |"
            for name, one in targets.items()]  # fmt: skip
    found = [finding for one in targets.values() for finding in one["findings"]]
    tried = sum(one["executions"] for one in targets.values())
    where = f"{machine['cpu']}, one core, Python {machine['python']}, {marks.listed(header['versions'])}."
    end = f"{header['minutes']:g} minutes together, {tried:,} inputs, {len(found)} findings."
    lines = [f"{marks.warning(header)}{where}", "", *_HEAD, *rows, "", end, *(f"- {one}" for one in found)]
    return "\n".join(lines) + "\n"


def _numbers(one: Parts) -> list[int]:
    return [*(one[key] for key in ("executions", "coverage", "features", "inputs", "seconds")), len(one["findings"])]


def write(parts: Parts, page: Path = PAGE) -> None:
    """Put the table into the page."""
    marks.fill(page, BEGIN, render(parts))


if __name__ == "__main__":
    write(read())
