"""The files of src/firstbert stand in the order in which a sentence meets them; CONTRIBUTING.md holds the list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOME = ROOT / "src" / "firstbert"
FRONT = "__init__.py"  # the names of the library; whoever asks for one gets it, so it stands before and after all
# The way as it was first drawn; later files came in between. A classifier saves itself, so what it knows (predictor.py)
# stands before artifact.py and its face after it; explain.py and export.py need no more than these and moved up; the
# command line starts the service and stands after it. docs/decisions.md has the reasons.
WAY = (
    "errors", "sources", "catalog", "data", "tokens", "batches", "graph", "session", "encoder", "cache", "head",
    "calibration", "predictor", "artifact", "classifier", "evaluate", "report", "suspects", "finetune", "tutorial",
    "bulk", "serve/app", "cli", "__main__",
)  # fmt: skip
PLACE = re.compile(r"\b(after|before|between) (`?[\w/]+\.py`?(?:(?:,| and|, and) `?[\w/]+\.py`?)*)", re.IGNORECASE)
END = re.compile(r"^(First|Last) (?:on the way of a sentence|of serve/)", re.MULTILINE)


def listed(text: str) -> list[str]:
    """Return the files that the table names, in its order."""
    table = text.split("## Reading order")[1].split("\n## ", maxsplit=1)[0]
    rows = [line.split("|")[2] for line in table.splitlines() if re.match(r"\| \d+ \|", line)]
    return re.findall(r"`([\w/]+\.py)`", " ".join(rows))


ORDER = listed((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
RANK = {name: place for place, name in enumerate(ORDER)}


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give the line and the file of all that is imported from here: at the top, in functions, for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: name the module in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "firstbert":
                yield node.lineno, home(name.split(".")[1:])


def home(parts: list[str]) -> str:
    """Return the file that `firstbert.` and these parts name: a module, or what stands in one."""
    for end in range(len(parts), 0, -1):
        for name in ("/".join(parts[:end]) + ".py", "/".join([*parts[:end], FRONT])):
            if (HOME / name).exists():
                return name
    return FRONT


def misplaced(name: str, source: str, rank: dict[str, int]) -> list[str]:
    """Return what a file imports that doesn't stand before it."""
    return [f"{name}:{line} imports {other}" for line, other in imported(ast.parse(source))
            if other != FRONT and rank[other] >= rank[name]]  # fmt: skip


def wrong_places(name: str, source: str, order: list[str]) -> list[str]:
    """Return what a file's docstring says wrongly of its place; `["no place"]` if it says nothing of it."""
    words = ast.get_docstring(ast.parse(source)) or ""
    wrong, said = [], 0
    if end := END.search(words):
        peers = [other for other in order if Path(other).parent == Path(name).parent and "__" not in other]
        said += 1
        wrong += [end[0]] if peers[0 if end[1] == "First" else -1] != name else []
    for side, files in PLACE.findall(" ".join(words.split())):
        said += 1
        others = re.findall(r"[\w/]+\.py", files)
        befores = {"after": others, "before": [], "between": others[:1]}[side.lower()]
        afters = {"after": [], "before": others, "between": others[1:]}[side.lower()]
        here = order.index(name)
        wrong += [f"{side} {other}" for other in befores if _place(name, other, order) >= here]
        wrong += [f"{side} {other}" for other in afters if _place(name, other, order) <= here]
    return wrong if said else ["no place"]


def _place(name: str, other: str, order: list[str]) -> int:
    """Where a file stands that another one names, as its neighbour in a folder or from the top."""
    near = str(Path(name).parent / other)
    assert near in order or other in order, f"{name} names {other}, which isn't there"
    return order.index(near if near in order else other)


def test_the_list_names_every_file_once() -> None:
    files = {str(path.relative_to(HOME)) for path in HOME.rglob("*.py")}
    assert sorted([FRONT, *ORDER]) == sorted(files)


def test_the_list_keeps_to_the_way_first_drawn() -> None:
    places = [RANK[f"{name}.py"] for name in WAY]
    assert places == sorted(places)


def test_what_people_type_comes_last() -> None:
    kinds = ["serve" if name.startswith("serve/") else "cli" for name in ORDER[RANK["serve/__init__.py"] :]]
    assert kinds == sorted(kinds, reverse=True) and ORDER[-2:] == ["cli.py", "__main__.py"]


@pytest.mark.parametrize("name", ORDER)
def test_a_file_imports_only_what_stands_before_it(name: str) -> None:
    assert not misplaced(name, (HOME / name).read_text(encoding="utf-8"), RANK)


@pytest.mark.parametrize("name", ORDER)
def test_a_files_first_lines_say_its_place(name: str) -> None:
    assert not wrong_places(name, (HOME / name).read_text(encoding="utf-8"), ORDER)


def test_the_front_alone_is_imported_by_all_and_for_the_version_alone() -> None:
    for name in ORDER:
        for node in ast.walk(ast.parse((HOME / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "firstbert":
                plain = {alias.name for alias in node.names if not (HOME / f"{alias.name}.py").exists()}
                assert plain <= {"__version__", "serve"}, f"{name}:{node.lineno}"


@pytest.mark.parametrize("source", [
    "from firstbert.head import Head",
    "def f():\n    from firstbert.head import Head",
    "def f():\n    import firstbert.head as h",
    "from firstbert import head",
    "if TYPE_CHECKING:\n    from firstbert.classifier import load",
    "from firstbert.serve.app import create",
    "from firstbert import serve",
])  # fmt: skip
def test_an_import_against_the_order_is_found(source: str) -> None:
    assert misplaced("tokens.py", source, RANK)
    assert not misplaced("cli.py", source, RANK)


@pytest.mark.parametrize(("words", "wrong"), [
    ("Texts → token ids.", ["no place"]),
    ("Texts → ids.\n\nAfter head.py on the way of a sentence.", ["After head.py"]),
    ("Texts → ids.\n\nBefore data.py.", ["Before data.py"]),
    ("Texts → ids.\n\nBetween head.py and cli.py.", ["Between head.py"]),
    ("Texts → ids.\n\nFirst on the way of a sentence.", ["First on the way of a sentence"]),
    ("Texts → ids.\n\nAfter data.py, before batches.py and\nhead.py.", []),
])  # fmt: skip
def test_a_wrong_place_is_found(words: str, wrong: list[str]) -> None:
    assert wrong_places("tokens.py", f'"""{words}"""', ORDER) == wrong
