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


def read(path: Path = RESULTS) -> Parts:
    """Return what the last run counted; nothing where there was none."""
    return marks.read(path)


def render(parts: Parts) -> str:
    """Return the run as Markdown."""
    if not parts:
        return NOTHING
    header, targets = parts["header"], parts["targets"]
    machine = header["machine"]
    rows = ["| Target | Inputs tried | Branches reached | Features | Inputs worth keeping | Seconds | Findings |",
            "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for name, one in targets.items():
        numbers = (
            one["executions"],
            one["coverage"],
            one["features"],
            one["inputs"],
            one["seconds"],
            len(one["findings"]),
        )
        rows.append(f"| `{name}` | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    tried, findings = (
        sum(one["executions"] for one in targets.values()),
        [f for one in targets.values() for f in one["findings"]],
    )
    told = [f"- {finding}" for finding in findings]
    where = f"{machine['cpu']}, one core, Python {machine['python']}, {marks.listed(header['versions'])}."
    end = f"{header['minutes']:g} minutes together, {tried:,} inputs, {len(findings)} findings."
    return "\n".join([f"{marks.warning(header)}{where}", "", *rows, "", end, *told]) + "\n"


def write(parts: Parts, page: Path = PAGE) -> None:
    """Put the table into the page."""
    marks.fill(page, BEGIN, render(parts))


if __name__ == "__main__":
    write(read())
