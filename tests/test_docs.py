"""What the documents say is what the program does."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

from scripts import script

ROOT = Path(__file__).parent.parent


def test_the_command_lines_page_is_the_programs_own_help() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == script(ROOT / "docs" / "make_cli.py").page()


@pytest.mark.parametrize("name", ["encoder", "classifier"])
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"firstbert.{name}"))
    assert result.attempted > 0 and result.failed == 0


def test_python_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_no_document_names_a_machine_or_a_host() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]:
        assert not re.search(r"pypi\.org|pythonhosted|/root/|/work/|/home/\w+/", path.read_text()), path
