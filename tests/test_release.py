"""What a release promises: dependencies reviewed, one version, packages of the right contents, honest audits."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import firstbert

ROOT = Path(__file__).parent.parent
HOME = ROOT / "src" / "firstbert"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
OURS = {"test", "lint"}  # extras for whoever works on firstbert: not part of what users install
FREE = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "PSF-2.0",
        "OLDAP-2.8", "0BSD", "Zlib", "CC0-1.0"}  # fmt: skip
CLASSIFIERS = {"MIT": "MIT License", "Apache-2.0": "Apache Software License", "BSD-3-Clause": "BSD License",
               "PSF-2.0": "Python Software Foundation License"}  # fmt: skip
IMPORTED_AS = {"scikit-learn": "sklearn"}
FOR_OTHERS = {  # packages that no module imports, and what takes them
    "fastapi-swagger": "serve/app.py", "uvloop": "uvicorn", "accelerate": "peft",
    "matplotlib": "notebooks/first_bert.ipynb", "ipykernel": "nbclient", "nbclient": "tests/test_notebook.py",
    "nbformat": "tests/test_notebook.py",
}  # fmt: skip


def package(requirement: str) -> tuple[str, str]:
    """A requirement's name and bounds."""
    found = re.fullmatch(r"([\w.-]+)((?:[<>=]=?[\w.]+,?)+)(?:;.*)?", requirement.replace(" ", "").partition(";")[0])
    assert found, f"{requirement}: not of the form name>=a,<b"
    return found[1], found[2]


def declared() -> dict[str, dict[str, str]]:
    """Extra (or firstbert) → package → bounds, as pyproject.toml has it."""
    extras = {name: needs for name, needs in PROJECT["optional-dependencies"].items() if name not in OURS}
    groups = {"firstbert": PROJECT["dependencies"]} | extras
    return {
        name: dict(package(need) for need in needs if not need.startswith("firstbert["))
        for name, needs in groups.items()
    }


def reviewed() -> dict[str, dict[str, list[str]]]:
    """The same from docs/dependencies.md, with licence and reason."""
    parts = re.split(r"^## (\S+)\n", (ROOT / "docs" / "dependencies.md").read_text(), flags=re.M)
    rows = [re.findall(r"^\| ([\w-]+) \| (.+?) \| (.+?) \| (.+?) \|$", part, flags=re.M) for part in parts[2::2]]
    return {
        name: {row[0]: list(row[1:]) for row in table if row[0] != "package"}
        for name, table in zip(parts[1::2], rows, strict=True)
    }


LICENCES = {name: row[1] for table in reviewed().values() for name, row in table.items()}


def installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} isn't installed here")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The packages that a module imports from elsewhere, anywhere in it, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "firstbert":
                yield top, node.lineno


def module_of(name: str) -> str:
    return IMPORTED_AS.get(name, name.replace("-", "_"))


# ---------------------------------------------------------------- dependencies


def test_every_dependency_is_reviewed_with_its_bounds() -> None:
    page = {extra: {name: row[0] for name, row in table.items()} for extra, table in reviewed().items()}
    assert page == {extra: needs for extra, needs in declared().items() if needs}


def test_every_dependency_is_bounded_on_both_sides() -> None:
    everything = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    needs = [need for group in everything for need in group if not need.startswith("firstbert[")]
    assert [need for need in needs if not (">=" in need and "<" in need.partition(";")[0])] == []


@pytest.mark.parametrize("name", sorted(LICENCES))
def test_a_licence_binds_nobody_and_is_the_packages_own(name: str) -> None:
    stated = LICENCES[name]
    assert set(re.split(r" AND | OR ", stated)) <= FREE
    said = installed(name).metadata
    classifiers = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License")]
    expression = said["License-Expression"] or said["License"] or ""
    # numpy, torch and their like join the licences of what they bring along with their own.
    plain = re.sub(r"^Apache( 2\.0)?( License)?$", "Apache-2.0", expression)  # as some wrote it
    own = [
        stated in classifiers,
        plain.startswith(stated),
        stated in plain.split(" AND "),
        CLASSIFIERS.get(stated) in classifiers,
    ]
    assert any(own), f"{name} says {expression[:60]!r}, {classifiers}; docs/dependencies.md says {stated!r}"
    assert set(re.split(r" AND | OR ", said["License-Expression"] or stated)) <= FREE


def test_what_is_imported_is_declared() -> None:
    known = {module_of(name) for needs in declared().values() for name in needs}
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in HOME.rglob("*.py")
        for name, line in imports(path)
        if name not in known
    ]
    assert found == [], "declare it in pyproject.toml and docs/dependencies.md"


def test_what_is_declared_is_used() -> None:
    used = {name for path in HOME.rglob("*.py") for name, _ in imports(path)}
    idle = {name for needs in declared().values() for name in needs if module_of(name) not in used}
    assert idle == set(FOR_OTHERS)


def test_what_is_imported_at_once_comes_with_firstbert_itself() -> None:
    """At the top of a module outside serve/, where the extra is asked for before anything is imported."""
    core = {module_of(name) for name in declared()["firstbert"]}
    for path in set(HOME.glob("*.py")):
        top = {node.lineno for node in ast.parse(path.read_text()).body}
        assert {name for name, line in imports(path) if line in top} <= core, path


# ---------------------------------------------------------------- the package


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT and PROJECT["dynamic"] == ["version"]
    assert SETTINGS["tool"]["hatch"]["version"]["path"] == "src/firstbert/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|a\d+|b\d+|rc\d+)?", firstbert.__version__)
    assert f"\n## {firstbert.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_types_are_marked_and_said() -> None:
    assert (HOME / "py.typed").read_bytes() == b""
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_backend_is_pinned_and_the_same_for_all() -> None:
    (backend,) = SETTINGS["build-system"]["requires"]
    assert re.fullmatch(r"hatchling==[\d.]+", backend)
    assert backend in (ROOT / "release" / "requirements.txt").read_text().splitlines()


# ---------------------------------------------------------------- what checks a release


@pytest.fixture(scope="module")
def release() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from release import audit, check, dist

        yield SimpleNamespace(audit=audit, check=check, dist=dist)


def test_the_date_comes_from_the_commit_or_the_sdist(
    release: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert release.dist.epoch(tmp_path) == 1580601600
    (tmp_path / "PKG-INFO").write_text("")
    os.utime(tmp_path / "PKG-INFO", (1700000000, 1700000000))
    assert release.dist.epoch(tmp_path) == 1700000000
    git = ["git", "-c", "user.name=a", "-c", "user.email=a", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    commit = [*git, "commit", "-q", "--allow-empty", "-m", "one"]
    subprocess.run(commit, check=True, env=os.environ | {"GIT_COMMITTER_DATE": "1600000000 +0000"})
    assert release.dist.epoch(tmp_path) == 1600000000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert release.dist.epoch(tmp_path) == 7


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree as small as one can be."""
    package = tmp_path / "src" / "firstbert"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "1.0"\n')
    (package / "page.css").write_text("p {}\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    return tmp_path


def wheel_of(release: SimpleNamespace, tree: Path, **more: str) -> dict[str, bytes]:
    """A wheel as hatchling would make it of that tree, as far as it is checked."""
    own = {path.removeprefix("src/"): (tree / path).read_bytes() for path in release.dist.files(tree) if "src" in path}
    said = [f"Requires-Dist: {need}" for need in PROJECT["dependencies"]]
    said += [f"Provides-Extra: {extra}" for extra in PROJECT["optional-dependencies"]]
    said += [f"License-Expression: {PROJECT['license']}", f"Requires-Python: {PROJECT['requires-python']}"]
    info = {
        "METADATA": "\n".join(said), "WHEEL": "Tag: py3-none-any", "licenses/LICENSE": "",
        "entry_points.txt": "[console_scripts]\nfirstbert = firstbert.__main__:main\n",
    }  # fmt: skip
    folder = "firstbert-1.0.dist-info/"
    made = own | {folder + name: text.encode() for name, text in info.items()}
    made |= {name: text.encode() for name, text in more.items()}
    record = [f"{name},sha256={release.check._digest(content)},1" for name, content in made.items()]
    return made | {folder + "RECORD": "\n".join([*record, folder + "RECORD,,"]).encode()}


def test_a_wheel_holds_the_tree_and_nothing_else(
    release: SimpleNamespace, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release.check, "MUST", ("page.css",))
    findings = release.check.wheel_findings
    assert findings(wheel_of(release, tree), tree) == []
    stray = findings(wheel_of(release, tree, **{"tests/test_a.py": ""}), tree)
    assert stray == ["tests/test_a.py is in the wheel and not in the tree"]
    less = wheel_of(release, tree)
    del less["firstbert/page.css"]
    assert "firstbert/page.css is missing" in findings(less, tree)
    assert "firstbert-1.0.dist-info/RECORD doesn't list the files as they are" in findings(less, tree)
    (tree / "src" / "firstbert" / "notes.txt").write_text("mine")
    assert findings(wheel_of(release, tree), tree) == ["firstbert/notes.txt is no kind of file that the package has"]
    other = wheel_of(release, tree, **{"firstbert-1.0.dist-info/METADATA": "Requires-Dist: numpy"})
    assert "the wheel's dependencies is not that of pyproject.toml" in findings(other, tree)


def test_an_sdist_holds_what_pyproject_lists(release: SimpleNamespace, tree: Path) -> None:
    names = ["src/firstbert/__init__.py", "src/firstbert/page.css", "pyproject.toml"]
    whole = {name: (tree / name).read_bytes() for name in names}
    (tree / "scratch.txt").write_text("mine")
    assert release.check.sdist_findings(whole | {"PKG-INFO": b""}, tree) == []
    assert release.check.sdist_findings(whole | {"scratch.txt": b"mine"}, tree) == [
        "scratch.txt is in the sdist and not in the tree"
    ]
    assert release.check.sdist_findings(whole | {names[0]: b""}, tree) == [f"{names[0]} differs from the tree"]


def test_without_git_what_was_made_is_no_part_of_a_tree(release: SimpleNamespace, tree: Path) -> None:
    made = ["dist/a.whl", ".venv-release/bin/x", "src/firstbert/__pycache__/a.pyc", ".mypy_cache/a", "site/index.html"]
    for name in [*made, "docs/site/how.md", "src/firstbert/build/a.py"]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    own = ["docs/site/how.md", "pyproject.toml", "src/firstbert/__init__.py", "src/firstbert/build/a.py"]
    assert release.dist.files(tree) == [*own, "src/firstbert/page.css"]


def test_two_builds_that_differ_are_told_apart(release: SimpleNamespace, tmp_path: Path) -> None:
    import zipfile

    made = []
    for folder, text in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / folder).mkdir()
        made.append(tmp_path / folder / "f.whl")
        with zipfile.ZipFile(made[-1], "w") as archive:
            archive.writestr(zipfile.ZipInfo("m.py", (2020, 1, 1 if folder == "a" else 2, 0, 0, 0)), text)
    one, other, dated = made
    assert release.check.differences([one], [one]) == []
    assert release.check.differences([one], [other]) == ["f.whl: differs in m.py"]
    assert release.check.differences([one], [dated]) == ["f.whl: differs in dates, permissions, order or compression"]


# ---------------------------------------------------------------- the audit


def reply(release: SimpleNamespace, vulnerable: dict[str, list[str]], unknown: list[str]) -> Any:
    """What pip-audit prints, read."""
    listed = [{"name": name, "version": "1", "vulns": [{"id": i} for i in ids]} for name, ids in vulnerable.items()]
    skipped = [{"name": name, "skip_reason": "Dependency not found"} for name in unknown]
    fine = [{"name": "fine", "version": "1", "vulns": []}]
    return release.audit.read(json.loads(json.dumps({"dependencies": [*listed, *skipped, *fine], "fixes": []})))


@pytest.mark.parametrize(
    ("canary", "answer", "verdict"),
    [
        (None, None, (3, "audit not possible: no advisory service reachable")),  # no service
        (({}, ["urllib3"]), None, (3, "audit not possible")),  # a mirror that knows no package's advisories
        (({}, []), None, (3, "audit not possible")),  # one that has all packages, and no advisories
        (({"urllib3": ["A-1"]}, []), ({}, []), (0, "osv: no known vulnerabilities in 2 packages")),
        (({"urllib3": ["A-1"]}, []), ({"onnx": ["A-2", "A-3"]}, []), (1, "onnx: A-2, A-3")),
        (({"urllib3": ["A-1"]}, []), ({}, ["onnx"]), (1, "knows nothing of onnx: these were not audited")),
        (({"urllib3": ["A-1"]}, []), None, (1, "osv answered once, and then no more")),
    ],
)
def test_an_audit_says_only_what_it_knows(
    release: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, canary: Any, answer: Any, verdict: tuple[int, str]
) -> None:
    def ask(service: str, pins: dict[str, str]) -> Any:
        given = canary if "urllib3" in pins else answer
        return None if service == "pypi" or given is None else reply(release, *given)

    monkeypatch.setattr(release.audit, "ask", ask)
    monkeypatch.setattr(release.audit, "resolved", lambda _: {"onnx": "1.0", "fine": "1.0"})
    found, said = release.audit.audit(ROOT)
    assert found == verdict[0] and verdict[1] in said


def test_an_audit_that_was_not_possible_fails_unless_told_otherwise(
    release: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release.audit, "audit", lambda _: (3, "not possible"))
    for words, code in (([], 3), (["--if-possible"], 0)):
        monkeypatch.setattr(sys, "argv", ["audit", *words])
        with pytest.raises(SystemExit) as ended:
            release.audit.main()
        assert ended.value.code == code and capsys.readouterr().out == "not possible\n"
    monkeypatch.setattr(release.audit, "audit", lambda _: (1, "vulnerable"))
    with pytest.raises(SystemExit) as ended:
        release.audit.main()
    assert ended.value.code == 1
