"""Room for prepared encoders: the least recently used leave, and none that may be about to be opened."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import families
from conftest import Outcome
from firstbert.errors import UsageError
from firstbert.folders import EncoderFiles
from firstbert.prepared import prepare
from firstbert.shelf import cap, make_room, used
from test_prepared import BATCH, CLS, vector

HOUR = 3600


def fill(folder: Path, name: str, size: int, hours_ago: float) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "weights.bin").write_bytes(bytes(size))
    return at(place, hours_ago)


def at(place: Path, hours_ago: float) -> Path:
    os.utime(place, (time.time() - HOUR * hours_ago,) * 2)
    return place


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("most", "left"),
    [
        (600, ["a", "b", "c"]),
        (599, ["a", "c"]),
        (400, ["a", "c"]),
        (399, ["c"]),
        (300, ["c"]),
        (299, []),
        (0, []),
    ],
)
def test_the_least_recently_used_leave_first(tmp_path: Path, most: int, left: list[str]) -> None:
    for name, size, hours in (("a", 100, 2), ("b", 200, 3), ("c", 300, 1)):
        fill(tmp_path, name, size, hours)
    make_room(tmp_path, most)
    assert names(tmp_path) == left


def test_use_counts_not_age(tmp_path: Path) -> None:
    old, new = fill(tmp_path, "old", 100, 9), fill(tmp_path, "new", 100, 1)
    used(old)
    make_room(tmp_path, 100)
    assert old.exists() and not new.exists()


def test_what_was_taken_in_the_last_minutes_stays(tmp_path: Path) -> None:
    fill(tmp_path, "now", 500, 0.1)
    fill(tmp_path, "then", 100, 0.2)
    make_room(tmp_path, 0)
    assert names(tmp_path) == ["now"]


def test_what_is_not_an_encoder_stays(tmp_path: Path) -> None:
    fill(tmp_path, "making-another", 500, 2)  # another process is at it
    (tmp_path / "note.txt").write_text("mine")
    at(tmp_path / "note.txt", 2)
    fill(tmp_path, "encoder", 100, 1)
    make_room(tmp_path, 0)
    assert names(tmp_path) == ["making-another", "note.txt"]


def encoders(folder: Path, count: int) -> list[EncoderFiles]:
    row = families.small("bert")
    tensors = families.tensors(row)
    return [
        families.write(row, folder / str(k), {name: value + k for name, value in tensors.items()}) for k in range(count)
    ]


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[EncoderFiles]:
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "cache"))
    return encoders(tmp_path / "encoders", 3)


def test_a_third_encoder_where_two_have_room(three: list[EncoderFiles], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (prepare(files) for files in three[:2])
    graphs = [vector(ready) for ready in (first, second)]
    room = 2.5 * sum(path.stat().st_size for path in first.folder.iterdir())
    monkeypatch.setenv("FIRSTBERT_PREPARED_GB", str(room / 1e9))
    at(first.folder, 3)
    at(second.folder, 2)
    assert prepare(three[0]) == first  # used once more
    third = prepare(three[2])
    assert [ready.complete for ready in (first, second, third)] == [True, False, True]
    assert np.array_equal(vector(prepare(three[1])), graphs[1])  # laid out anew, the same


def test_what_is_open_goes_on_answering(three: list[EncoderFiles], monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepare(three[0])
    before, session = vector(ready), ready.session(CLS)
    monkeypatch.setenv("FIRSTBERT_PREPARED_GB", "0")
    at(ready.folder, 1)
    prepare(three[1])
    assert not ready.complete
    assert np.array_equal(session(BATCH)[0], before)


@pytest.mark.parametrize("setting", ["ten", "-1", "nan", "inf"])
def test_a_cap_that_is_no_number(three: list[EncoderFiles], setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTBERT_PREPARED_GB", setting)
    with pytest.raises(UsageError, match=f"FIRSTBERT_PREPARED_GB must be a number of gigabytes.*Got '{setting}'"):
        prepare(three[0])


def test_ten_gigabytes_unless_given(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cap() == 10**10
    monkeypatch.setenv("FIRSTBERT_PREPARED_GB", "0.5")
    assert "Prepared encoders may take 500 MB." in cli("cache", "info").out
    assert cli("cache", "info", "--json").json["prepared"] == {"cap": 5 * 10**8}
