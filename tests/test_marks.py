"""Pages of figures: each shows what is kept in its file, and is written between its marks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
REPORTS = ["trust_report", "tuned_report", "bulk_report", "serve_report", "mutation", "coverage"]


@pytest.fixture(params=REPORTS)
def modules(request: pytest.FixtureRequest) -> Iterator[tuple[ModuleType, ModuleType]]:
    """A report, and what all of them share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module(f"benchmarks.{request.param}"), importlib.import_module("benchmarks.marks")


def test_the_page_shows_the_figures_that_are_kept(modules: tuple[ModuleType, ModuleType]) -> None:
    report, marks = modules
    assert marks.between(report.PAGE, report.BEGIN) == report.render(report.read()).strip()


def test_the_page_is_written_between_its_marks(modules: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    report, marks = modules
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nwas here\n{marks.END}\nafter\n")
    report.write(report.read(), page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "was here" not in text
    assert marks.between(page, report.BEGIN) == report.render(report.read()).strip()
