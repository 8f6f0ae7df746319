"""Two pages hold figures that a command reproduces, and no others: they are made of templates in which none stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TEMPLATES = sorted((ROOT / "benchmarks" / "templates").glob("*.md"))


@pytest.fixture(scope="module")
def pages() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import pages

        yield pages


@pytest.fixture(scope="module")
def files(pages: ModuleType) -> Any:
    return pages.read()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_page_is_what_its_template_and_the_files_make(pages: ModuleType, files: Any, template: Path) -> None:
    assert (ROOT / "docs" / template.name).read_text() == pages.page(template.read_text(), files)


def test_both_pages_have_a_template() -> None:
    assert [path.stem for path in TEMPLATES] == ["how-fast-and-why", "limits"]


def typed(pages: ModuleType, template: str) -> list[str]:
    """Return the numbers that stand in a template's prose."""
    prose = re.sub(r"\{[^{}]+\}", "", template)
    for name in pages.NAMES:
        prose = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", "", prose)
    return re.findall(r"\S*\d\S*", prose)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_no_figure_is_typed(pages: ModuleType, template: Path) -> None:
    assert not typed(pages, template.read_text())


def test_a_typed_figure_is_found(pages: ModuleType) -> None:
    assert typed(pages, "It is 12 % faster, p50 of int8 on SST-2, {bulk > x | 2}.") == ["12"]
    assert typed(pages, "p500 int8x3") == ["p500", "int8x3"]


def test_no_name_is_let_through_that_no_page_needs(pages: ModuleType) -> None:
    text = "".join(path.read_text() for path in TEMPLATES)
    assert all(name in text for name in pages.NAMES)


@pytest.mark.parametrize("name", ["5", "0.5 | 2", "5 / 2 | 1", "bulk > nothing | 1", "bulk > header", "code > 3"])
def test_a_name_must_lead_to_a_single_value(pages: ModuleType, files: Any, name: str) -> None:
    with pytest.raises(pages.UnknownValueError, match=re.escape(re.split(" [|/]", name)[0])):
        pages.page("{" + name + "}", files)


def runs(command: str, makefile: str) -> bool:
    """Whether a command is there to be run: a target, or a file of this folder."""
    words = command.split()
    if words[0] == "make":
        return bool(re.search(rf"^{words[1]}:", makefile, re.MULTILINE))
    return (ROOT / f"{words[2].replace('.', '/')}.py").exists()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_each_section_with_figures_names_its_commands(pages: ModuleType, files: Any, template: Path) -> None:
    makefile, made = (ROOT / "Makefile").read_text(), pages.page(template.read_text(), files)
    for section in re.split(r"^(?=## )", pages.measured(template.read_text(), files), flags=re.MULTILINE):
        title = section.splitlines()[0]
        for source in set(re.findall(r"\{(?:at: )?(\w+) >", section)) & set(files):
            command = pages.COMMANDS[source]
            _, _, rest = made.partition(title + "\n")
            assert f"`{command}`" in rest.partition("\n## ")[0], title
            assert runs(command, makefile), command
    assert "{" not in made


def test_a_passage_waits_until_it_has_been_measured(pages: ModuleType, files: Any) -> None:
    template = "Before.\n{if: some > part}\nIt is {some > part > x}.\n{end}\nAfter, {code > max_length}.\n"
    assert pages.page(template, files).startswith("Before.\nAfter, 256.")
    known = files | {"some": {"part": {"x": "here"}}}
    assert pages.filled(pages.measured(template, known), known)[0] == "Before.\nIt is here.\nAfter, 256.\n"


def test_another_measurement_makes_another_page(pages: ModuleType, files: Any) -> None:
    other = files | {"why": {"a": {"b": 0.5, "c": [3, 4]}, "header": files["throughput"]["header"],
                             "part": {"taken": {"at": "2026-01-02 03:04"}}}}  # fmt: skip
    page = pages.page("{why > a > b | %1} {at: why > a}{> c > 1} {> b / > c > 0 | 2}", other)
    assert page.startswith("50.0 4 0.17\n") and "2026-01-02" in page and "make why" in page
