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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class World:
    """One machine and what commands are given on it.

    Attributes:
        root: of all folders.
        encoder, model: small ones.
        cache: a cache folder that all commands have used.
        machine: runs them.
    """

    root: Path
    encoder: Path
    model: Path
    cache: Path
    machine: Machine


@pytest.fixture(scope="module")
def world(quick: Path) -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="faults-"))  # not below pytest's: the way to it is closed to other users
    try:
        rows = everyday.topics(96, seed=4, names=everyday.TOPICS[:2])
        everyday.write(root / "rows.tsv", rows[:48])
        everyday.write(root / "others.tsv", rows[48:])
        environment = clean(dict(os.environ))
        del environment["FIRSTBERT_VECTOR_CACHE"]
        (root / "machine").mkdir()
        machine = Machine(root / "machine", environment | {"TMPDIR": str(root / "tmp")})
        (root / "tmp").mkdir()
        yield World(root, quick.parent / "encoder", quick, root / "cache", machine)
        machine.close()
    finally:
        shutil.rmtree(root)


class Desk:
    """A working folder with `out` for output and `cache` for the cache."""

    def __init__(self, world: World, folder: Path, name: str, *, warm: bool = True) -> None:
        self.world, self.folder, self.name = world, folder, name
        self.out, self.cache = folder / "out", folder / "cache"
        self.out.mkdir(parents=True)
        if warm:
            shutil.copytree(world.cache, self.cache)
        else:
            self.cache.mkdir()

    def run(self, rows: str = "rows.tsv", *more: object, **job: Any) -> Ended:
        """Run the command; `fault` and the like as for `Machine.run`."""
        self.world.machine.start(*self.words(rows), *more, **self.job(job))
        return self.world.machine.end()

    def words(self, rows: str = "rows.tsv") -> list[str]:
        given = {"rows": self.world.root / rows, "encoder": self.world.encoder, "model": self.world.model}
        return [TEXT if word == "TEXT" else word.format(**given) for word in COMMANDS[self.name].split()]

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        environment = {"FIRSTBERT_CACHE": self.cache, "OMP_NUM_THREADS": "1"} | job.pop("environment", {})
        return {"cwd": self.folder, "environment": environment} | job


@pytest.fixture(scope="module")
def done(world: World) -> dict[str, tuple[dict[str, bytes], dict[str, bytes], str]]:
    """Of each command: what it writes of other rows, what it writes of the rows, what it prints then; nothing at fault.

    They fill the cache as well.
    """
    found = {}
    for name in COMMANDS:
        desk = Desk(world, world.root / "done" / name, name, warm=False)
        desk.cache = world.cache
        told = []
        for rows in ("others.tsv", "rows.tsv"):
            ended = desk.run(rows, **({"fault": {"under": [desk.out]}}))
            assert ended.code == 0, ended.err
            told.append(contents(desk.out))
        found[name] = (told[0], told[1], ended.out)
    return found


@pytest.fixture
def desks(world: World, done: Any) -> Iterator[Any]:
    """Make a desk for a command; `earlier`: its output of other rows lies there."""
    made: list[Path] = []

    def make(name: str, *, warm: bool = True, earlier: bool = False) -> Desk:
        folder = world.root / f"desk-{len(made)}"
        made.append(folder)
        desk = Desk(world, folder, name, warm=warm)
        if earlier:
            for path, content in done[name][0].items():
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


def whole(desk: Desk, done: Any, allowed: re.Pattern[str] | None = None) -> None:
    """Each output is what was there before, or all that is to be there; and there is nothing beside them."""
    there = parts(contents(desk.out))
    before, after = parts(done[desk.name][0]), parts(done[desk.name][1])
    for name, files in there.items():
        if not (allowed and allowed.match(name)) and not KEPT.match(name):
            assert files in (before.get(name), after.get(name)), f"half-written: {name}"


def clear(ended: Ended, *told: str) -> None:
    """An error that says what, where and what to do."""
    assert ended.code == 2, ended
    last = ended.err.strip().splitlines()[-1]
    assert "firstbert: " in ended.err and "fault of this program" not in ended.err, ended.err
    assert "Traceback" not in ended.err and "Exception ignored" not in ended.err, ended.err
    assert not told or any(word in ended.err for word in told), last


def right(desk: Desk, done: Any, ended: Ended, allowed: re.Pattern[str] | None = None) -> None:
    """The result is what it is where nothing is at fault."""
    assert ended.code == 0, ended.err
    there = contents(desk.out)
    if allowed:
        there = {path: content for path, content in there.items() if not allowed.match(path)}
    assert there == done[desk.name][1]
    if desk.name in ("compare", "tutorial"):
        assert ended.out == done[desk.name][2]


def spread(calls: int, most: int | None) -> list[int]:
    """All calls from the first to the last; at most so many of them, the first and the last included."""
    if most is None or calls <= most:
        return list(range(1, calls + 1))
    return sorted({1 + round(i * (calls - 1) / (most - 1)) for i in range(most)})


# ---------------------------------------------------------------- a call to the file system fails


def fails(desks: Any, done: Any, name: str, number: int, most: int | None) -> None:
    """The k-th call that changes the output's folder fails, and all later ones that need room."""
    calls = desks_calls(desks, name)
    for at in spread(calls, most):
        desk = desks(name, earlier=at % 2 == 0)
        fault = {"under": [desk.out], "at": at, "do": number, "on": True}
        ended = desk.run(fault=fault)
        if ended.code:
            clear(ended, os.strerror(number))
        whole(desk, done)
        right(desk, done, desk.run())


def desks_calls(desks: Any, name: str) -> int:
    desk = desks(name)
    ended = desk.run(fault={"under": [desk.out]})
    assert ended.code == 0 and ended.calls > 0, ended
    return int(ended.calls)


@pytest.mark.parametrize("name", WRITING)
def test_a_call_that_fails_for_want_of_room(desks: Any, done: Any, name: str) -> None:
    fails(desks, done, name, errno.ENOSPC, 3)


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", WRITING)
def test_any_call_that_fails(desks: Any, done: Any, name: str, number: int) -> None:
    fails(desks, done, name, number, None)


# ---------------------------------------------------------------- killed


def killed(desks: Any, done: Any, name: str, most: int | None) -> None:
    calls = desks_calls(desks, name)
    for at in spread(calls, most):
        desk = desks(name, earlier=True)
        ended = desk.run(fault={"under": [desk.out], "at": at, "do": "kill"})
        assert ended.code == -signal.SIGKILL
        whole(desk, done, LEFT)
        there = parts(contents(desk.out))
        assert set(parts(done[name][0])) <= set(there), "what was there is gone"
        right(desk, done, desk.run(), LEFT)


@pytest.mark.parametrize("name", WRITING)
def test_killed_at_a_call_to_the_file_system(desks: Any, done: Any, name: str) -> None:
    killed(desks, done, name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_killed_at_any_call_to_the_file_system(desks: Any, done: Any, name: str) -> None:
    killed(desks, done, name, None)
