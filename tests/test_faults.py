"""Every command that writes, on a machine at fault: what it says, what it leaves behind, and that it can be run again.

docs/faults.md is the same as a table.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

import everyday
from conftest import clean
from faults import Ended, Machine, contents

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each command gets a fork of one process")

TEXT = "The old soup was fine – 汤."
COMMANDS = {
    "train": "train {rows} -o out/model --encoder {encoder} --report out/report.html --neighbours",
    "portable": "train {rows} -o out/model --encoder {encoder} --layer last --test-size 0 --portable",
    "predict": "predict {model} {rows} -o out/labelled.tsv --cache",
    "check-labels": "check-labels {rows} -o out/suspects.tsv --encoder {encoder}",
    "evaluate": "evaluate {model} {rows} --report out/report.html",
    "explain": "explain {model} TEXT --html out/way.html",
    "export": "export {model} out/model.onnx",
    "compare": "compare {model} {model} {rows}",
    "tutorial": "tutorial --data {rows} --encoder {encoder} --rows 40 --seeds 1 --json",
}
WRITING = [name for name, words in COMMANDS.items() if "out/" in words]
CACHING = [name for name in COMMANDS if name != "portable"]
KEPT = re.compile(r"\.labelled\.tsv\.predicting(/.*)?")  # an unfinished job, to go on from
LEFT = re.compile(r"\.(model|report\.html|labelled\.tsv|suspects\.tsv|way\.html|model\.onnx)[-.].*")  # by a kill


Desks = Callable[..., "Desk"]


@dataclass(frozen=True)
class Done:
    """What a command writes of other rows, what it writes of the rows, and what it prints then; nothing at fault."""

    others: dict[str, bytes]
    files: dict[str, bytes]
    out: str


class World:
    """One machine and what commands are given on it.

    Attributes:
        root: of all folders.
        encoder, model: small ones.
        cache: a cache folder that all commands `done` have used.
        machine: runs them.
    """

    def __init__(self, root: Path, quick: Path) -> None:
        self.root, self.encoder, self.model, self.cache = root, quick.parent / "encoder", quick, root / "cache"
        rows = everyday.topics(96, seed=4, names=everyday.TOPICS[:2])
        everyday.write(root / "rows.tsv", rows[:48])
        everyday.write(root / "others.tsv", rows[48:])
        for name in ("machine", "tmp", "cache"):
            (root / name).mkdir()
        environment = clean(dict(os.environ)) | {"TMPDIR": str(root / "tmp")}
        del environment["FIRSTBERT_VECTOR_CACHE"]
        self.machine = Machine(root / "machine", environment)
        self._done: dict[str, Done] = {}

    def done(self, name: str) -> Done:
        """Return what a command gives; it fills the cache as well."""
        if name not in self._done:
            desk = Desk(self, self.root / "done" / name, name, self.cache)
            told = []
            for rows in ("others.tsv", "rows.tsv"):
                ended = desk.run(rows)
                assert ended.code == 0, ended.err
                told.append(contents(desk.out))
            self._done[name] = Done(told[0], told[1], ended.out)
        return self._done[name]


class Desk:
    """A working folder with `out` for output, for one command and one cache folder."""

    def __init__(self, world: World, folder: Path, name: str, cache: Path | None = None) -> None:
        self.world, self.folder, self.name = world, folder, name
        self.out, self.cache = folder / "out", cache or folder / "cache"
        self.out.mkdir(parents=True)

    def run(self, rows: str = "rows.tsv", **job: Any) -> Ended:
        """Run the command; `fault` and the like as for `Machine.run`."""
        given = {"rows": self.world.root / rows, "encoder": self.world.encoder, "model": self.world.model}
        words = [TEXT if word == "TEXT" else word.format(**given) for word in COMMANDS[self.name].split()]
        environment = {"FIRSTBERT_CACHE": self.cache, "OMP_NUM_THREADS": "1"} | job.pop("environment", {})
        return self.world.machine.run(*words, **{"cwd": self.folder, "environment": environment} | job)

    @property
    def done(self) -> Done:
        return self.world.done(self.name)

    def calls(self, under: Path) -> int:
        """How often the command changes the file system there."""
        ended = self.run(fault={"under": [under]})
        assert ended.code == 0 and ended.calls > 0, ended
        return ended.calls


@pytest.fixture(scope="module")
def world(quick: Path) -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    world = World(root, quick)
    yield world
    world.machine.close()
    shutil.rmtree(root)


@pytest.fixture
def desks(world: World) -> Iterator[Desks]:
    """Make a desk for a command. `warm`: its cache holds all already; `earlier`: output of other rows lies there."""
    made: list[Path] = []

    def make(name: str, *, warm: bool = True, earlier: bool = False) -> Desk:
        done = world.done(name)
        made.append(world.root / f"desk-{len(made)}")
        desk = Desk(world, made[-1], name)
        if warm:
            shutil.copytree(world.cache, desk.cache)
        else:
            desk.cache.mkdir()
        for path, content in done.others.items() if earlier else ():
            if path.endswith("/"):
                (desk.out / path).mkdir()
            else:
                (desk.out / path).write_bytes(content)
        return desk

    yield make
    for folder in made:
        shutil.rmtree(folder)


def parts(files: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Files by the output that they belong to: a file of its own, or a folder."""
    found: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        found.setdefault(path.split("/")[0], {})[path] = content
    return found


def whole(desk: Desk, allowed: re.Pattern[str] | None = None) -> None:
    """Each output is what was there before, or all that is to be there; and there is nothing beside them."""
    there = parts(contents(desk.out))
    before, after = parts(desk.done.others), parts(desk.done.files)
    for name, files in there.items():
        if not (allowed and allowed.match(name)) and not KEPT.match(name):
            assert files in (before.get(name), after.get(name)), f"half-written: {name}"


def clear(ended: Ended, *told: str) -> None:
    """An error of ours that says what and why, and nothing beside it."""
    assert ended.code == 2, ended
    assert "firstbert: " in ended.err and "fault of this program" not in ended.err, ended.err
    assert "Traceback" not in ended.err and "Exception ignored" not in ended.err, ended.err
    assert all(words in ended.err for words in told), ended.err


def right(desk: Desk, ended: Ended, allowed: re.Pattern[str] | None = None) -> None:
    """The result is what it is where nothing is at fault."""
    assert ended.code == 0, ended
    there = contents(desk.out)
    if allowed:
        there = {path: content for path, content in there.items() if not allowed.match(path)}
    assert there == desk.done.files
    if desk.name in ("compare", "tutorial"):
        assert ended.out == desk.done.out


def spread(calls: int, most: int | None) -> list[int]:
    """So many of all calls, the last included; None: all of them."""
    most = min(calls, most or calls)
    return [calls * i // most for i in range(1, most + 1)]


def some(names: Iterable[str], often: Iterable[str]) -> list[Any]:
    """All names, those that aren't tried often as slow ones."""
    return [name if name in often else pytest.param(name, marks=pytest.mark.slow) for name in names]


# ---------------------------------------------------------------- a call to the file system fails, or is the last


def failing(desks: Desks, name: str, number: int, most: int | None) -> None:
    """The k-th call that changes the output's folder fails, and all later ones that need room."""
    desk = desks(name)
    for at in spread(desk.calls(desk.out), most):
        desk = desks(name, earlier=at % 2 == 0)
        ended = desk.run(fault={"under": [desk.out], "at": at, "do": number, "on": True})
        if ended.code:
            clear(ended, os.strerror(number))
        whole(desk)
        right(desk, desk.run())


@pytest.mark.parametrize("name", some(WRITING, ("train", "predict", "check-labels", "explain", "export")))
def test_a_call_fails_for_want_of_room(desks: Desks, name: str) -> None:
    failing(desks, name, errno.ENOSPC, 2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", WRITING)
def test_any_call_fails(desks: Desks, name: str, number: int) -> None:
    failing(desks, name, number, None)


def killed(desks: Desks, name: str, most: int | None) -> None:
    desk = desks(name)
    for at in spread(desk.calls(desk.out), most):
        desk = desks(name, earlier=True)
        assert desk.run(fault={"under": [desk.out], "at": at, "do": "kill"}).code == -signal.SIGKILL
        whole(desk, LEFT)
        assert set(parts(desk.done.others)) <= set(parts(contents(desk.out))), "what was there is gone"
        right(desk, desk.run(), LEFT)


@pytest.mark.parametrize("name", some(WRITING, ("train", "predict", "explain")))
def test_killed_at_a_call(desks: Desks, name: str) -> None:
    killed(desks, name, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_killed_at_any_call(desks: Desks, name: str) -> None:
    killed(desks, name, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(desks: Desks, name: str) -> None:
    """Of computing, too; output and cache both begin cold."""
    random = Random(name)
    desk = desks(name, warm=False)
    start = time.monotonic()
    right(desk, desk.run())
    takes = time.monotonic() - start
    for _ in range(8):
        desk = desks(name, warm=False, earlier=True)
        for _ in range(2):
            ended = desk.run(fault={"after": random.uniform(0, takes)})
            assert ended.code in (0, -signal.SIGKILL)
            whole(desk, LEFT)
        right(desk, desk.run(), LEFT)


# ---------------------------------------------------------------- no room, no rights


@pytest.mark.parametrize("name", some(WRITING, ("train", "predict", "export")))
def test_no_file_may_grow(desks: Desks, name: str) -> None:
    """What a full disk does to libraries' own writing as well, here of the output: the cache holds all already."""
    for largest in (0, 700):
        desk = desks(name, earlier=largest > 0)
        clear(desk.run(fault={"largest": largest}, environment={"FIRSTBERT_VECTOR_CACHE": "0"}), "File too large")
        whole(desk)
        right(desk, desk.run())


@pytest.mark.parametrize("name", some(WRITING, ("train", "predict", "explain")))
def test_an_output_folder_that_may_only_be_read(desks: Desks, name: str) -> None:
    desk = desks(name, earlier=True)
    desk.out.chmod(0o555)
    clear(desk.run(fault={"bound": True}), "Permission denied", "out")
    assert contents(desk.out) == desk.done.others
    desk.out.chmod(0o755)
    right(desk, desk.run())


@pytest.mark.parametrize("words", ["predict {model} --text so", "predict {model} {rows}", "models", "cache info",
                                   "train {rows} -o model --encoder {encoder} --layer last --json"])  # fmt: skip
def test_standard_output_is_full(desks: Desks, world: World, words: str) -> None:
    desk = desks("predict")
    given = {"rows": world.root / "rows.tsv", "model": world.model, "encoder": world.encoder}
    ended = world.machine.run(*words.format(**given).split(), cwd=desk.folder, stdout="/dev/full",
                              environment={"FIRSTBERT_CACHE": desk.cache})  # fmt: skip
    clear(ended, "the output: can't be used (No space left on device): make room.")


@pytest.mark.parametrize("what", ["rows.tsv", "model.json", "head.safetensors", "config.json", "tokenizer.json",
                                  "model.safetensors"])  # fmt: skip
def test_what_may_not_be_read(desks: Desks, world: World, what: str) -> None:
    desk = desks("evaluate")
    for name, folder in (("encoder", world.encoder), ("model", world.model)):
        shutil.copytree(folder, desk.folder / name)
    shutil.copy(world.root / "rows.tsv", desk.folder)
    facts = (desk.folder / "model" / "model.json").read_text()
    (desk.folder / "model" / "model.json").write_text(facts.replace(str(world.encoder), str(desk.folder / "encoder")))
    (found,) = (
        desk.folder.glob(f"encoder/{what}")
        if "." in what and what.startswith(("conf", "tok", "model.s"))
        else ([*desk.folder.glob(f"model/{what}"), *desk.folder.glob(what)])
    )
    found.chmod(0)
    ended = world.machine.run("evaluate", "model", "rows.tsv", cwd=desk.folder, fault={"bound": True},
                              environment={"FIRSTBERT_CACHE": desk.cache})  # fmt: skip
    clear(ended, "ermission", found.name)


# ---------------------------------------------------------------- the cache is a convenience


@pytest.mark.parametrize("how", ["read-only", "read-only, filled", "full", "unreadable", "a file"])
@pytest.mark.parametrize("name", some(CACHING, ("train", "predict")))
def test_a_cache_that_cannot_be_used(desks: Desks, name: str, how: str) -> None:
    """A warning, and the right result."""
    desk = desks(name, warm="filled" in how or how == "unreadable")
    fault: dict[str, Any] = {"bound": True}
    match how:
        case "full":
            fault = {"under": [desk.cache], "at": 1, "do": errno.ENOSPC, "on": True}
        case "unreadable":
            for path in (desk.cache / "prepared").iterdir():
                path.chmod(0)
        case "a file":
            desk.cache.rmdir()
            desk.cache.write_text("no folder")
        case _:
            desk.cache.chmod(0o555)
            for path in desk.cache.rglob("*"):
                path.chmod(0o555)
    before = contents(desk.cache) if how != "a file" else {}
    ended = desk.run(fault=fault)
    right(desk, ended)
    assert "can't be" in ended.err or "filled" in how
    if "read-only" in how:
        assert contents(desk.cache) == before
    assert list((desk.world.root / "tmp").glob("firstbert-*")) == []


@pytest.mark.parametrize("name", some(CACHING, ("train",)))
def test_a_call_in_the_cache_fails(desks: Desks, name: str) -> None:
    desk = desks(name, warm=False)
    for at in spread(desk.calls(desk.cache), 2 if name == "train" else None):
        desk = desks(name, warm=False)
        for once in (True, False):
            right(desk, desk.run(fault={"under": [desk.cache], "at": at, "do": errno.ENOSPC, "on": not once}))
        right(desk, desk.run())


@pytest.mark.parametrize("name", some(CACHING, ("train",)))
def test_killed_at_a_call_in_the_cache(desks: Desks, name: str) -> None:
    desk = desks(name, warm=False)
    for at in spread(desk.calls(desk.cache), 2 if name == "train" else None):
        desk = desks(name, warm=False)
        assert desk.run(fault={"under": [desk.cache], "at": at, "do": "kill"}).code == -signal.SIGKILL
        right(desk, desk.run(), LEFT)
        assert not desk.run().err.count("can't be")
