"""What asks whether the tests would notice: every change is one and compiles, and what is noticed is told rightly."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = '''
"""Docstring."""
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import os

KINDS = Literal["a", "b"]
LIMIT = 3


def best(values: list[int], least: int = 1, loud: bool = False) -> int:
    """Not this."""
    if not values:
        raise ValueError(f"no {values + 1} here")
    top = max(values)
    for i in values:
        if i < least or i == LIMIT:
            continue
        top += i * 2
    values[0] = top
    return top if loud else -top
'''


@pytest.fixture
def modules() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import coverage, mutants, mutation

        yield SimpleNamespace(coverage=coverage, mutants=mutants.mutants, mutation=mutation)


def test_each_mutant_is_one_change(modules: SimpleNamespace) -> None:
    found = modules.mutants(SOURCE)
    plain = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in found:
        compile(mutant.source, "mutant", "exec")
        lines = mutant.source.splitlines()
        assert (len(lines) == len(plain) and sum(a != b for a, b in zip(lines, plain, strict=True)) == 1) or (
            "→ pass" in mutant.change
        )
    assert len({mutant.source for mutant in found}) == len(found)


def test_what_is_changed_and_what_is_left_alone(modules: SimpleNamespace) -> None:
    changes = {(mutant.line, mutant.change) for mutant in modules.mutants(SOURCE)}
    assert {
        (9, "3 → 4"), (9, "3 → 2"), (12, "1 → 2"), (12, "False → True"), (14, "not values → values"),
        (15, "raise ValueError(f'no {values + 1} here') → pass"), (16, "max(values) → min(values)"),
        (18, "i < least or i == LIMIT → i < least and i == LIMIT"), (18, "i < least → i <= least"),
        (18, "i == LIMIT → i != LIMIT"), (19, "continue → break"), (20, "top += i * 2 → top -= i * 2"),
        (20, "i * 2 → i / 2"), (20, "top += i * 2 → pass"), (21, "values[0] = top → pass"), (22, "-top → top"),
        (22, "top if loud else -top → top if not loud else -top"),
        (22, "return top if loud else -top → return None"),
    } <= changes  # fmt: skip
    assert not {line for line, _ in changes} & {2, 3, 6, 8, 13}  # docstrings, imports, types


def test_what_the_tests_notice(modules: SimpleNamespace, tmp_path: Path) -> None:
    """A module of its own with tests of its own: one change is seen, one isn't, one never ends."""
    root = tmp_path / "project"
    (root / "src" / "tiny").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['slow: long']\n")
    (root / "src" / "tiny" / "__init__.py").write_text("")
    (root / "src" / "tiny" / "steps.py").write_text(
        "def steps(n):\n    done = 0\n    while n:\n        n -= 1\n        done = done + 1\n    return done\n\n\n"
        "def unseen():\n    return 7\n"
    )
    (root / "tests" / "test_steps.py").write_text(
        "import pytest\nfrom tiny.steps import steps, unseen\n\n\ndef test_steps():\n    assert steps(3) == 3\n\n\n"
        "@pytest.mark.slow\ndef test_slow():\n    assert unseen() == 7\n"
    )
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom benchmarks import mutation\nmutation._LEAST_S = 1.0\n"
        "bench = mutation.Bench(Path(sys.argv[1]), Path(sys.argv[2]), 'tiny')\n"
        "print(json.dumps(mutation.measure(bench, 'steps.py', ['tests/test_steps.py'])))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), str(tmp_path / "work")],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    part = json.loads(done.stdout.splitlines()[-1])
    assert [one["change"] for one in part["survivors"]] == ["return 7 → return None", "7 → 8", "7 → 6"]
    assert part["tests"] == 1 and part["timed_out"] >= 2 and part["killed"] == part["mutants"] - 3
    assert "timed out: steps.py:4: n -= 1 → pass" in done.stdout
    original = (root / "src" / "tiny" / "steps.py").read_text()
    assert (tmp_path / "work" / "root" / "src" / "tiny" / "steps.py").read_text() == original


def test_the_goals_are_met(modules: SimpleNamespace) -> None:
    parts = modules.mutation.read()
    for name in modules.mutation.USUAL:
        files = list(parts[name]["files"].values())
        assert modules.mutation.share(files) >= modules.mutation.GOAL, name
        assert sum(len(part["survivors"]) for part in files) == sum(p["mutants"] - p["killed"] for p in files)
    covered = modules.coverage.read()
    assert modules.coverage.share(covered["all"]) >= 0.92
    of_files = [sum(part[key] for part in covered["files"].values()) for key in covered["all"]]
    assert of_files == list(covered["all"].values())
