"""Templates with named values → docs/how-fast-and-why.md and docs/limits.md: `python -m benchmarks.pages`.

A template (benchmarks/templates/) is prose in which no figure stands, but names of them in braces:

    {throughput > minilm > systems > firstbert > rate | 0}    a value of results/throughput.json, and how it is shown
    {why > cache > train > empty / why > cache > train > kept | 1}    the ratio of two
    {if: why > shift} … {end}    a passage that is left out until that has been measured
    {at: trust > layers, minilm > runs}    what names that begin with `>` go on from: {> auto > accuracy | %1}

Shown as: 0, 1, 2 … decimals; %N of a hundred; ms; MB; e, a power of ten; nothing, as it stands. What is put together of
several values is in derived.py, under `file > derived`; `code` holds the program's own settings. Each section ends with
the commands that measure its figures, each page with the machines and versions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import marks
from benchmarks.derived import DERIVED
from benchmarks.marks import Parts
from benchmarks.tables import mb, table
from firstbert.bulk import ROWS
from firstbert.catalog import encoders
from firstbert.engine import WINDOW, EngineOptions

ROOT = Path(__file__).parent.parent
RESULTS, TEMPLATES, DOCS = ROOT / "benchmarks" / "results", ROOT / "benchmarks" / "templates", ROOT / "docs"
COMMANDS = {
    "throughput": "make bench SECTION=throughput",
    "int8": "make bench SECTION=int8 MPNET=FOLDER",
    "tutorial": "make bench SECTION=tutorial",
    "latency": "make bench SECTION=latency",
    "memory": "make bench SECTION=memory",
    "trust": "make trust SST2=FOLDER MPNET=FOLDER",
    "finetune": "make finetune SST2=FOLDER MPNET=FOLDER",
    "finetune-epyc": "make finetune SST2=FOLDER MPNET=FOLDER NAME=finetune-epyc",
    "bulk": "make bulk SST2=FOLDER MPNET=FOLDER",
    "serve": "make serve-bench SST2=FOLDER",
    "exported": "python -m benchmarks.exported --sst2 FOLDER",
    "why": "make why SST2=FOLDER",
    "code": "make pages",
}
# Not measurements: names of data, libraries, formats, statistics, and the statuses with which a request is refused.
NAMES = ("SST-2", "CTranslate2", "int8", "fp32", "p50", "p99", "429", "503")
_NAMED = re.compile(r"\{([^{}]+)\}")
_PASSAGE = re.compile(r"^\{if: ([^{}]+)\}\n(.*?)^\{end\}\n", re.MULTILINE | re.DOTALL)
_SIDES = re.compile(r"\s+/\s+")


class UnknownValueError(Exception):
    """A template names what is in no file; the message says which."""


def read(folder: Path = RESULTS) -> dict[str, Parts]:
    """Return file → its parts, with what is derived from them, and the program's own settings."""
    files = {name: marks.read(folder / f"{name}.json") for name in COMMANDS if name != "code"}
    found = {name: parts for name, parts in files.items() if set(parts) - {"header"}}
    for name, derive in DERIVED.items():
        if name in found:
            found[name] = found[name] | {"derived": derive(found[name])}
    return found | {"code": settings()}


def settings() -> Parts:
    """What the program does unless told otherwise."""
    sizes = {entry.name: {"layers": entry.layers, "width": entry.width, "parameters": entry.parameters / 1e6}
             for entry in encoders()}  # fmt: skip
    return {"max_length": EngineOptions().max_length, "window": WINDOW, "shard": ROWS, "encoders": sizes}


# ---------------------------------------------------------------- a template, filled


def page(template: str, files: Mapping[str, Parts]) -> str:
    """Return a page: values for their names, each section's commands below it, machines and versions at the end.

    Raises:
        UnknownValueError: a name stands for nothing.
    """
    head, *sections = re.split(r"^(?=## )", measured(template, files), flags=re.MULTILINE)
    blocks: list[str] = []
    used: set[str] = set()
    for section in [head, *sections]:
        text, sources = filled(section, files)
        used |= sources
        commands = ", ".join(f"`{COMMANDS[name]}` ({_place(name)})" for name in COMMANDS if name in sources)
        blocks.append(text.rstrip() + (f"\n\n*Figures: {commands}*" if commands else ""))
    return "\n\n".join([*blocks, _origins(used, files)]) + "\n"


def measured(template: str, files: Mapping[str, Parts]) -> str:
    """Return a template without the passages that wait for what hasn't been measured."""

    def passage(match: re.Match[str]) -> str:
        found: Any = files
        for name in match[1].split(" > "):
            found = found.get(name, {})
        return match[2] if found else ""

    return _PASSAGE.sub(passage, template)


def filled(text: str, files: Mapping[str, Parts]) -> tuple[str, set[str]]:
    """Return a text with values for their names, and the files that they come from."""
    sources: set[str] = set()
    base = ""

    def value(match: re.Match[str]) -> str:
        nonlocal base
        if match[1].startswith("at: "):
            base = match[1].removeprefix("at: ")
            return ""
        names, _, view = match[1].partition(" | ")
        found = []
        for name in _SIDES.split(names):
            path = f"{base} {name}" if name.startswith(">") else name
            sources.add(path.split(" > ")[0])
            found.append(look_up(path, files))
        return shown(found[0] if len(found) == 1 else found[0] / found[1], view.strip())

    return _NAMED.sub(value, text), sources


def look_up(path: str, files: Mapping[str, Parts]) -> Any:
    """Return the value at a path of names.

    Raises:
        UnknownValueError: there is none.
    """
    found: Any = files
    for name in path.strip().split(" > "):
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UnknownValueError(f"'{path}' is in none of the files: there is no '{name}'.") from error
    if isinstance(found, dict | list):
        raise UnknownValueError(f"'{path}' is no single value.")
    return found


def shown(value: Any, view: str) -> str:
    """Return a value as a page shows it."""
    if value is None:  # a share of nothing
        return "–"
    if not view:
        return f"{value:,}" if isinstance(value, int) else str(value)
    if view.isdigit():
        return f"{value:,.{view}f}"
    if view.startswith("%"):
        return f"{100 * value:.{view[1:]}f}"
    return {"ms": f"{1000 * value:.1f}", "MB": mb(value), "e": f"{value:.1e}"}[view]


# ---------------------------------------------------------------- where figures come from


def _place(name: str) -> str:
    return "the program's own settings" if name == "code" else f"`benchmarks/results/{name}.json`"


def _origins(used: set[str], files: Mapping[str, Parts]) -> str:
    """Return the table of files: when, on what, with which versions."""
    rows: list[list[Any]] = []
    for name in COMMANDS:
        if name in used and name != "code":
            header = files[name]["header"]
            machine = header["machine"]
            place = f"{machine['cpu']} {machine['family']}, {machine['cores']} cores, {machine['threads']} threads"
            rows.append([f"`{name}.json`", _when(files[name]), f"{place}, Python {machine['python']}",
                         _versions(header["versions"])])  # fmt: skip
    text = "## Where the figures come from\n\nThis page is made by `make pages` from a template without figures, and"
    return f"{text} a test compares the two.\n\n{table(['', 'measured', 'on', 'with'], rows)}"


def _versions(found: dict[str, Any]) -> str:
    """Of one environment or of several."""
    several = all(isinstance(one, dict) for one in found.values())
    return marks.listed(marks.merged(found) if several else found)


def _when(parts: Parts) -> str:
    days = sorted(part["taken"]["at"].split()[0] for part in parts.values() if "taken" in part)
    return " to ".join(sorted({days[0], days[-1]})) if days else "–"


def render(_: Parts | None = None) -> str:
    """Return all pages, one after the other."""
    files = read()
    return "\n".join(page(path.read_text(encoding="utf-8"), files) for path in sorted(TEMPLATES.glob("*.md")))


def write(_: Parts | None = None, docs: Path = DOCS) -> None:
    """Write all pages."""
    files = read()
    for path in sorted(TEMPLATES.glob("*.md")):
        (docs / path.name).write_text(page(path.read_text(encoding="utf-8"), files), encoding="utf-8")


if __name__ == "__main__":
    write()
