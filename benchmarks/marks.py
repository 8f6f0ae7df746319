"""What all pages of figures share: the marks around what is made, the file it is made from, versions in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Parts = dict[str, Any]

END = "<!-- figures: end -->"


def begin(maker: str) -> str:
    """Return the mark before what a module of this folder makes."""
    return f"<!-- figures: begin (made by benchmarks/{maker}.py) -->"


def read(path: Path) -> Parts:
    """Return the parts measured so far; none where there is no file."""
    found: Parts = json.loads(path.read_text()) if path.exists() else {}
    return found


def fill(page: Path, mark: str, figures: str) -> None:
    """Put figures between the marks of a page."""
    before, rest = page.read_text(encoding="utf-8").split(mark)
    page.write_text(f"{before}{mark}\n\n{figures}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def between(page: Path, mark: str) -> str:
    """Return what stands between the marks of a page."""
    return page.read_text(encoding="utf-8").split(mark)[1].split(END)[0].strip()


def warning(header: Parts) -> str:
    """Return what is to be said before the figures of a quick run; nothing for a whole one."""
    return "**A quick run: these figures mean nothing.**\n\n" if header["quick"] else ""


def listed(libraries: Mapping[str, str]) -> str:
    """Return libraries with their versions, by name."""
    return ", ".join(f"{name} {number}" for name, number in sorted(libraries.items()))


def merged(versions: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the libraries of all environments; where several have one, the first environment's version."""
    return {name: number for libraries in reversed(list(versions.values())) for name, number in libraries.items()}
