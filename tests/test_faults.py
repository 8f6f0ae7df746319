"""Every command that writes, on a machine at fault: what it says, what it leaves behind, and that it can be run again.

docs/faults.md is the same as a table.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

import everyday
from conftest import clean
from faults import ROOT, Ended, Machine, contents

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each command gets a fork of one process")

TEXT = "The old soup was fine – 汤."
COMMANDS = {
    "train": "train {rows} -o out/model --encoder {encoder} --report out/report.html --neighbours",
    "portable": "train {rows} -o out/model --encoder {encoder} --layer last --test-size 0 --portable",
    "predict": "predict {model} {rows} -o out/labelled.tsv --cache",
    "check-labels": "check-labels {disputed} -o out/suspects.tsv --encoder {encoder}",
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
        other = dict(zip(everyday.TOPICS[:2], everyday.TOPICS[1::-1], strict=True))
        for name, half in (("rows", rows[:48]), ("others", rows[48:])):
            everyday.write(root / f"{name}.tsv", half)
            everyday.write(root / f"disputed-{name}.tsv", half + [(text, other[topic]) for text, topic in half])
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
        return self.start(rows, **job).end()

    def start(self, rows: str = "rows.tsv", **job: Any) -> Machine:
        root = self.world.root
        given = {
            "rows": root / rows,
            "disputed": root / f"disputed-{rows}",
            "encoder": self.world.encoder,
            "model": self.world.model,
        }
        words = [TEXT if word == "TEXT" else word.format(**given) for word in COMMANDS[self.name].split()]
        environment = {"FIRSTBERT_CACHE": self.cache, "OMP_NUM_THREADS": "1"} | job.pop("environment", {})
        self.world.machine.start(*words, **{"cwd": self.folder, "environment": environment} | job)
        return self.world.machine

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
    assert list((desk.world.root / "tmp").iterdir()) == []


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


def test_what_a_kill_left_in_the_cache_goes_after_a_day(desks: Desks) -> None:
    desk = desks("predict", warm=False)
    old, new = desk.cache / "prepared" / "making-old", desk.cache / "prepared" / "making-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "weights.bin").write_bytes(b"half of it")
    os.utime(old, (time.time() - 90_000,) * 2)
    right(desk, desk.run())
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("least", [False, True])
def test_clearing_a_cache_that_may_only_be_read(desks: Desks, world: World, least: bool) -> None:
    desk = desks("predict")
    before = contents(desk.cache)
    job = {"environment": {"FIRSTBERT_CACHE": desk.cache}, "cwd": desk.folder}
    for path in (desk.cache, *desk.cache.rglob("*")):
        path.chmod(0o555)
    clear(world.machine.run("cache", "clear", *["--vectors"] * least, fault={"bound": True}, **job), "still there")
    assert contents(desk.cache) == before
    for path in (desk.cache, *desk.cache.rglob("*")):
        path.chmod(0o755)
    assert world.machine.run("cache", "clear", *["--vectors"] * least, **job).code == 0
    assert not (desk.cache / "vectors").exists() and (desk.cache / "prepared").exists() == least


# ---------------------------------------------------------------- the clock


YEARS = 86_400 * 3653.0


@pytest.mark.parametrize(
    "clock", [YEARS, -YEARS, -3e9, [YEARS, -YEARS, 0.0]], ids=["ahead", "behind", "1930", "leaping"]
)
@pytest.mark.parametrize("name", some(CACHING, ("train",)))
def test_a_clock_that_is_wrong(desks: Desks, name: str, clock: float | list[float]) -> None:
    """While the cache is filled, and while it is used; whatever it says, the result is the same."""
    desk = desks(name, warm=False)
    for fault in ({"clock": clock}, {}, {"clock": clock}):
        ended = desk.run(fault=fault)
        right(desk, ended)
        assert "can't be" not in ended.err
    for i, path in enumerate(desk.cache.rglob("*")):  # as if written in 1980 or in 2100
        os.utime(path, (3.2e8 if i % 2 else 4.1e9,) * 2)
    right(desk, desk.run())


# ---------------------------------------------------------------- versions


NEWER = {"firstbert.graph.FORMAT": 99, "firstbert.cache.FORMAT": 99}


@pytest.mark.parametrize("name", some(CACHING, ("train", "predict")))
def test_two_versions_share_a_cache(desks: Desks, name: str) -> None:
    """Each leaves the other's files as they are, and takes none of them for its own."""
    desk = desks(name)
    ours = prepared(desk.cache)
    right(desk, desk.run(fault={"set": NEWER}))
    both = prepared(desk.cache)
    assert {path: both[path] for path in ours} == ours
    theirs = {path.split("/")[0] for path in both} - {path.split("/")[0] for path in ours}
    assert len(theirs) == 1
    for path in (desk.cache / "prepared" / theirs.pop()).iterdir():
        path.write_bytes(b"of a form that this version doesn't know")
    changed = prepared(desk.cache)
    right(desk, desk.run())
    assert prepared(desk.cache) == changed


def prepared(cache: Path) -> dict[str, bytes]:
    return contents(cache / "prepared")


def test_two_versions_at_once(desks: Desks, world: World) -> None:
    other = World(Path(tempfile.mkdtemp(dir=world.root)), world.model)
    try:
        desk = desks("train", warm=False)
        beside = Desk(other, desk.folder / "beside", "train", desk.cache)
        for _ in range(2):
            started = [desk.start(), beside.start(f"{world.root / 'rows.tsv'}", fault={"set": NEWER})]
            for one in started:
                right(desk, one.end())
            assert contents(beside.out) == desk.done.files
    finally:
        other.machine.close()


def test_a_cache_of_an_older_format(desks: Desks) -> None:
    """What format 0 laid out stays where it is until the cache is cleared; nothing of it is read."""
    desk = desks("train", warm=False)
    older = {"firstbert.graph.FORMAT": 0, "firstbert.cache.FORMAT": 0}
    right(desk, desk.run(fault={"set": older}))
    before = prepared(desk.cache)
    right(desk, desk.run())
    after = prepared(desk.cache)
    assert {path: after[path] for path in before} == before
    assert len(after) == 2 * len(before)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("predict model {rows} -o out/labelled.tsv", "a job was begun here that differs from this one: format was"),
        ("predict newer --text so", "newer/model.json: format 99"),
    ],
)
def test_what_a_newer_version_left_is_refused_by_name(desks: Desks, world: World, words: str, told: str) -> None:
    desk = desks("predict")
    desk.run(
        fault={"under": [desk.out], "at": 12, "do": errno.ENOSPC, "on": True, "set": {"firstbert.resume.FORMAT": 99}}
    )
    shutil.copytree(world.model, desk.folder / "model")
    shutil.copytree(world.model, desk.folder / "newer")
    facts = (desk.folder / "newer" / "model.json").read_text()
    (desk.folder / "newer" / "model.json").write_text(facts.replace('"format": 2', '"format": 99'))
    given = words.format(rows=world.root / "rows.tsv").split()
    clear(world.machine.run(*given, cwd=desk.folder, environment={"FIRSTBERT_CACHE": desk.cache}), told)


# ---------------------------------------------------------------- a disk of its own


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk; the tests above stand for it")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("name", some(WRITING, ("train", "predict")))
def test_a_real_disk_that_is_full(desks: Desks, name: str) -> None:
    desk = desks(name)
    with small_disk(desk.out, "4k"):
        clear(desk.run(), "No space left on device")
        assert [path for path in desk.out.iterdir() if not KEPT.match(path.name)] == []


@pytest.mark.parametrize("name", some(CACHING, ("train",)))
def test_a_real_disk_too_small_for_the_cache(desks: Desks, name: str) -> None:
    desk = desks(name, warm=False)
    with small_disk(desk.cache, "100k"):
        ended = desk.run()
        right(desk, ended)
        assert "No space left on device" in ended.err
        assert list((desk.cache / "prepared").iterdir()) == []


# ---------------------------------------------------------------- downloads


FETCH = """
from firstbert.sources import PinnedFile, WebFile, fetch
sha256, url = arguments
print(fetch(PinnedFile("words.txt", sha256, (WebFile(url),))))
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The sha256 of a file of 300 kB, and where a server of our own has it."""
    (tmp_path / "words.txt").write_bytes(content := b"words\n" * 50_000)
    handler = partial(QuietHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield hashlib.sha256(content).hexdigest(), f"http://127.0.0.1:{server.server_port}/words.txt"
    server.shutdown()
    thread.join()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@pytest.mark.parametrize("fault", [{"largest": 100_000}, {"do": errno.ENOSPC}, {"do": errno.EACCES}, {"do": "kill"}])
def test_downloads(world: World, served: tuple[str, str], tmp_path: Path, fault: dict[str, Any]) -> None:
    """Nothing half is ever in its place, and the next try brings the file."""
    job: dict[str, Any] = {"python": FETCH, "cwd": tmp_path}
    calls = world.machine.run(*served, fault={"under": [tmp_path / "0"]},
                              environment={"FIRSTBERT_CACHE": tmp_path / "0"}, **job).calls  # fmt: skip
    assert calls > 3
    for at in spread(calls, 4) if "do" in fault else (1,):
        cache = tmp_path / f"{at}"
        shutil.rmtree(cache, ignore_errors=True)
        job["environment"] = {"FIRSTBERT_CACHE": cache}
        ended = world.machine.run(*served, fault=fault | {"under": [cache], "at": at, "on": True}, **job)
        if ended.code and fault.get("do") != "kill":
            clear(ended, str(cache))
        assert all(hashlib.sha256(path.read_bytes()).hexdigest() == served[0] for path in cache.glob("files/*/*"))
        again = world.machine.run(*served, **job)
        assert again.code == 0, again.err
        assert hashlib.sha256(Path(again.out.strip()).read_bytes()).hexdigest() == served[0]


def test_the_page_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    named = set(re.findall(r"`(test_\w+)", page))
    files = [ROOT / "tests" / name for name in {"test_faults.py", *re.findall(r"tests/(test_\w+\.py)", page)}]
    defined = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)}
    assert len(named) > 20 and named <= defined
    ours = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(), re.M))
    assert ours - named == {"test_the_page_names_tests_that_there_are"}
