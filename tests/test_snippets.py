"""Every command and every piece of Python in the documents runs, or is listed here with the reason why not."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclopts import CycloptsError

import snippets
from firstbert.cli import app
from snippets import PAGES, ROOT, SHELL, Command, Page, Snippet, arguments, commands, name_of
from test_docs import script

_STORE = "asks for an object store, and Ray"
_TORCH = "takes torch and minutes; docs/how-to/fine-tune.md runs the like of it where torch is installed"
_GPU = "asks for a GPU"
_HUB = "asks for an encoder on the hub"
_PEER = "runs where its library is installed: make migrating"
_TAG = "asks for a released version"
_BROWSER = "test_export.py does the same, with a browser"

# Page → the first line of a command or a piece of Python → why it isn't run. Options of our own commands are held
# against the program all the same.
NOT_RUN = {
    "README.md": {
        "firstbert predict model s3://bucket/reviews/ -o labelled.jsonl.zst --engine ray": _STORE,
        "firstbert train reviews.tsv -o model --encoder answerdotai/ModernBERT-base": _HUB,
        "firstbert train reviews.tsv -o model --encoder mpnet --device cuda --precision bf16": _GPU,
        "firstbert predict model new.csv -o labelled.csv --device cuda": _GPU,
        "firstbert train reviews.tsv -o model --finetune": _TORCH,
        "firstbert train reviews.tsv -o model --finetune --validation dev.tsv --test test.tsv --encoder mpnet": _TORCH,
        "firstbert train reviews.tsv -o model --finetune --time-budget 10m": _TORCH,
        "firstbert train reviews.tsv -o small --finetune --teacher model --unlabelled more.txt": _TORCH,
    },
    "docs/release.md": {"git checkout v0.1.0": _TAG, "sha256sum -c SHA256SUMS": _TAG},
    "docs/export.md": {"npm ci": _BROWSER, "python -m http.server": _BROWSER},
    "docs/migrating.md": {
        "from sentence_transformers import SentenceTransformer": _PEER,
        "from datasets import Dataset": _PEER,
        "import random": _PEER,
        "import transformers": _PEER,
    },
    "docs/how-to/ten-million-rows.md": {
        "firstbert predict model s3://bucket/reviews/ -o labelled.parquet --engine ray": _STORE
    },
}
MOST_NOT_RUN = 20  # above that, the list says that the documents aren't run

# What these do takes hours, or a network: it is only seen to that target, extra, module and options are there.
CHECKED = re.compile(r"make |pip install |python -m (benchmarks|fuzz|release)\b")
SLOW = {"docs/how-to/fine-tune.md": ("torch", "transformers", "peft")}  # and what it needs


def found(path: Path) -> list[Snippet]:
    return snippets.snippets(path)


def shell(path: Path) -> list[Command]:
    return [command for each in found(path) if each.language in SHELL for command in commands(each)]


RUN = [path for path in PAGES if found(path)]


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snippets.files(tmp_path_factory.mktemp("material"))


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] if name_of(path) in SLOW else [], id=name_of(path)) for path in RUN],
)
def test_a_page_runs(path: Path, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in SLOW.get(name_of(path), ()):
        pytest.importorskip(library)
    folder = shutil.copytree(material, tmp_path / "work")
    monkeypatch.chdir(folder)
    page, left_out = Page(folder, tmp_path), NOT_RUN.get(name_of(path), {})
    try:
        for snippet in found(path):
            if snippet.language == "python" and snippet.first not in left_out:
                page.python(snippet)
            for command in commands(snippet) if snippet.language in SHELL else ():
                if command.first not in left_out and not CHECKED.match(command.text):
                    page.command(command)
    finally:
        page.end()


def test_what_isnt_run_is_there_and_little() -> None:
    for page, lines in NOT_RUN.items():
        there = {command.first for command in shell(ROOT / page)}
        there |= {snippet.first for snippet in found(ROOT / page) if snippet.language == "python"}
        assert set(lines) <= there, f"{page}: {set(lines) - there} isn't there any more"
    assert sum(map(len, NOT_RUN.values())) <= MOST_NOT_RUN


def refuse(command: Command) -> str | None:
    """What the program says against a command's options, if anything."""
    for given in arguments(command, "firstbert"):
        try:
            app.parse_args(given, print_error=False, exit_on_error=False)
        except CycloptsError as error:
            return f"{command.page}:{command.line}: {command.text}: {error}"
    return None


@pytest.mark.parametrize("path", RUN, ids=name_of)
def test_options_are_the_programs(path: Path) -> None:
    assert [refused for command in shell(path) if (refused := refuse(command))] == []


def test_examples_in_help_have_options_of_the_program() -> None:
    lines = [line.strip() for line in (ROOT / "docs" / "cli.md").read_text().splitlines()]
    examples = [
        re.split(r"\s{3,}", line)[0] for line in lines if re.match(r"(cat \S+ \| )?firstbert (?!COMMAND)\S", line)
    ]
    assert len(examples) > 20
    assert [refused for line in examples if (refused := refuse(Command("docs/cli.md", 1, line)))] == []


@pytest.mark.parametrize(
    "line", ["firstbert train reviews.tsv -o model --epoch 3", "firstbert label x.tsv", "firstbert train -o model"]
)
def test_a_wrong_option_is_found(line: str) -> None:
    assert refuse(Command("page.md", 1, line))


def targets() -> list[Command]:
    return [command for path in RUN for command in shell(path) if command.text.startswith("make ")]


def test_targets_of_make_and_their_variables_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert targets()
    for command in targets():
        dry = ["make", "-n", *shlex.split(command.first)[1:]]
        asked = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=False)
        assert asked.returncode == 0, f"{command.page}:{command.line}: {command.text}\n{asked.stderr}"
        for variable in re.findall(r"\b([A-Z][A-Z0-9_]*)=", command.text):
            assert f"$({variable})" in makefile or f"$(if $({variable})" in makefile, (command, variable)


def test_our_own_modules_and_their_options_are_there() -> None:
    calls = [(command, call) for path in RUN for command in shell(path) for call in arguments(command, "python")]
    for command, call in calls:
        if CHECKED.match(command.text):
            home = ROOT / call[1].split(".")[0]
            assert (ROOT / f"{call[1].replace('.', '/')}.py").is_file(), (
                f"{command.page}:{command.line}: {command.text}"
            )
            source = "".join(path.read_text() for path in home.glob("*.py"))
            for option in (word for word in call[2:] if word.startswith("--")):
                assert f'"{option}"' in source, f"{command.page}:{command.line}: {option}"


def test_extras_that_are_installed_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installs = [call for path in RUN for command in shell(path) for call in arguments(command, "pip")]
    assert installs
    for _, *packages in installs:
        for package in packages:
            name, _, extra = package.removesuffix("]").partition("[")
            assert name == "firstbert" and set(extra.split(",")) <= {"", *extras}, package


def test_after_migrating_the_answers_are_right() -> None:
    migrating = script(ROOT / "docs" / "run_migrating.py")
    parts = migrating.parts(migrating.PAGE.read_text())
    befores = {part.first for part in parts if part.where != "after"}
    assert {part.where for part in parts} == {"after", "finetune", "spacy"} and len(befores) == 4
    for part in parts:
        namespace: dict[str, Any] = {}
        if part.where == "after":
            exec(compile(part.code, "migrating.md", "exec"), namespace)
            assert [str(answer) for answer in namespace["answers"]] == migrating.RIGHT
        else:
            compile(part.code, "migrating.md", "exec")


def run(text: str, folder: Path) -> None:
    """Run a page of one's own."""
    (folder / "work").mkdir(exist_ok=True)
    page = Page(folder / "work", folder)
    for snippet in snippets.snippets(folder / "page.md", text):
        if snippet.language == "python":
            page.python(snippet)
        for command in commands(snippet) if snippet.language in SHELL else ():
            page.command(command)


@pytest.mark.parametrize("name", ["model", "many"])
def test_a_model_card_runs(name: str, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(material / name, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    card = (tmp_path / "work" / "README.md").read_text()
    assert {"sh", "python"} == {each.language for each in snippets.snippets(tmp_path / "README.md", card)}
    run(card, tmp_path)


def test_commands_and_python_share_a_folder(tmp_path: Path) -> None:
    run(
        """```bash
mkdir deep && cd deep
cat > a.txt <<'END'
first
END
echo "two
lines" >> \\
  a.txt   # a comment
```
```console
$ cat a.txt
first
...
lines
$ pwd | grep -o deep
deep
```
```python
x = 1
```
```python
assert x == 1 and __import__("pathlib").Path("a.txt")
```""",
        tmp_path,
    )


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nfalse\n```",
        "```sh\nfalse | cat\n```",
        "```console\n$ echo one\ntwo\n```",
        "```console\n$ echo one\n```",
        "```console\nwho printed this?\n```",
        "```sh\necho 'open\n```",
        "```sh\nfirstbert train nothing.tsv --no-such-option\n```",
        "```python\nassert False\n```",
        "```pyhton\n1\n```",
    ],
)
def test_what_doesnt_run_fails(text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run(text, tmp_path)
