"""Model folders from strangers: each is refused with the file named, or answers soundly; nothing else ever happens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hostile
from attacks import ATTACKS
from conftest import clean
from firstbert import checks, folders, labels, neighbours, strict, vetting
from hostile import MEMORY, SECONDS, SECRET, Opener, Outcome
from mutant import mutant
from ways import Attack, Change

MUTANTS, PER_TEST = 500, 25
PEAK = 400_000_000  # bytes by which the process may grow for a folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile.sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def opener(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    """The process, and what lies outside: files as good as those inside, and a secret."""
    place = tmp_path_factory.mktemp("hostile")
    (outside := place / "outside").mkdir()
    for path in [*sound.iterdir(), *(sound / "encoder").iterdir()]:
        if path.is_file():
            shutil.copy(path, outside)
    (outside / "secret.txt").write_text(SECRET)
    opened = Opener(sound, outside, clean(dict(os.environ)) | {"FIRSTBERT_CACHE": str(place / "cache")})
    yield opened
    opened.close()


def opened(opener: Opener, sound: Path, change: Change) -> tuple[Outcome, Path]:
    """Change a copy of the sound folder and have it opened."""
    inside = opener.around.parent / "inside"
    inside.mkdir()
    try:
        folder = hostile.copied(sound, inside / "model", change)
        return opener(folder), folder
    finally:
        shutil.rmtree(inside)


def harmless(found: Outcome) -> None:
    """Whatever came of it, none of this did."""
    assert not found.broken and not found.trespasses
    assert found.seconds < SECONDS and found.memory < PEAK < MEMORY
    assert SECRET not in found.refused and found.refused.isprintable() and len(found.refused) < 1500


def test_a_sound_folder_answers(opener: Opener, sound: Path) -> None:
    found, _ = opened(opener, sound, lambda folder: None)
    harmless(found)
    assert not found.refused


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_comes_to_nothing(opener: Opener, sound: Path, attack: Attack) -> None:
    found, folder = opened(opener, sound, attack.change)
    harmless(found)
    if attack.file is None:
        assert not found.refused
    else:
        assert str(folder / attack.file) in found.refused and re.search(attack.told, found.refused)


@pytest.mark.parametrize("start", range(0, MUTANTS, PER_TEST))
def test_folders_changed_at_random_come_to_nothing(opener: Opener, sound: Path, start: int) -> None:
    refusals = 0
    for seed in range(start, start + PER_TEST):
        found, folder = opened(opener, sound, mutant(seed))
        harmless(found)
        if found.refused:
            refusals += 1
            assert str(folder) in found.refused, seed
    assert refusals > PER_TEST // 2


def test_the_page_tells_the_limits() -> None:
    page = (hostile.ROOT / "docs" / "threat-model.md").read_text()
    told = [*checks.SIZES.values(), neighbours.MOST, folders.JSON_CAP, vetting.SIZE, strict.WEIGHTS, strict.HEADER]
    for limit in (*told, strict.DEEP, labels.MOST_LABELS):
        assert re.search(rf"\| [^|]*\b{limit:,}\b[^|]* \|", page), limit


# ---------------------------------------------------------------- the watch itself


TRIED = """
import ctypes, os, pathlib, pickle, socket, subprocess, sys
import hostile
from ways import PICKLE

inside, outside = map(pathlib.Path, sys.argv[1:])
kernel, guard = hostile.Kernel(), hostile.Guard()
kernel.watch(outside, hostile.Kernel.ALL)
tries = [
    lambda: os.system("true"), lambda: subprocess.run(["true"]), lambda: pickle.loads(PICKLE), os.fork,
    lambda: socket.create_connection(("127.0.0.1", 9)), lambda: (outside / "secret.txt").read_text(),
    lambda: (outside / "new").write_text(""), lambda: (inside / "new").write_text(""),
    lambda: (outside / "new").mkdir(),
    lambda: (outside / "secret.txt").unlink(), lambda: (outside / "secret.txt").rename(outside / "x"),
    lambda: (outside / "secret.txt").chmod(0o777), lambda: ctypes.CDLL("libm.so.6"),
]
for one in tries:
    with guard.watching(inside) as noted:
        try:
            one()
        except PermissionError:
            pass
    assert len(noted) == 1, (one, noted)
assert kernel.told() == []
(inside / "file").write_text("")
with guard.watching(inside) as noted:
    (inside / "file").read_text()
assert noted == []
ctypes.CDLL(None).open(os.fsencode(outside / "secret.txt"), os.O_RDONLY)
assert kernel.told() == ["secret.txt opened"]
"""


def test_what_no_folder_has_business_with_is_seen(tmp_path: Path) -> None:
    for name in ("inside", "outside", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    path = os.pathsep.join(map(str, (hostile.ROOT, hostile.ROOT / "src", hostile.ROOT / "tests")))
    environment = clean(dict(os.environ)) | {"FIRSTBERT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": path}
    command = [sys.executable, "-c", TRIED, str(tmp_path / "inside"), str(tmp_path / "outside")]
    subprocess.run(command, env=environment, check=True)


def test_a_process_that_dies_or_hangs_is_told(opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(opener, opener.warm, lambda folder: None)
    assert opener.process
    opener.process.kill()
    assert opener(tmp_path).broken == "the process died (-9)"
    monkeypatch.setattr(hostile, "SECONDS", 0.2)
    monkeypatch.setattr(Opener, "_start", lambda _: subprocess.Popen(
        ["sleep", "60"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE))  # fmt: skip
    assert opener(tmp_path).broken == "no answer"
