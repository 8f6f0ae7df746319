"""Mapped weights come into memory at once, and a model is ready only after that."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import pytest

from firstbert.artifact import load
from firstbert.serve import models
from firstbert.serve.mapped import bring_in
from firstbert.serve.models import Served
from firstbert.serve.watch import Metrics

SIZE = 4_000_000 // mmap.PAGESIZE * mmap.PAGESIZE


def resident(path: Path) -> int:
    """Bytes of a file's mapping that are in memory."""
    found = re.search(rf"{re.escape(str(path))}\n(?:\w+: .*\n)*?Rss: +(\d+) kB", Path("/proc/self/smaps").read_text())
    assert found
    return int(found.group(1)) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is done")
def test_what_is_mapped_of_a_folder_comes_into_memory(tmp_path: Path) -> None:
    for name in ("a folder", "another"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(bytes(SIZE))
    ours, others = (tmp_path / name / "weights" for name in ("a folder", "another"))
    with ours.open("rb") as one, others.open("rb") as two:
        mapped = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in (one, two)]
        assert (resident(ours), resident(others)) == (0, 0)
        assert bring_in(tmp_path / "a folder") == SIZE
        assert (resident(ours), resident(others)) == (SIZE, 0)
        for each in mapped:
            each.close()


def test_a_model_is_ready_when_its_memory_is_there(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served("m", load(quick), 1.0, Metrics().of("m"))
    ready: list[bool] = []
    monkeypatch.setattr(models, "bring_in", lambda folder: ready.append(served.ready))
    served.check()
    assert ready == [False] and served.ready
    served._explain("a good day", "auto")
    served._explain("another", "auto")
    assert len(ready) == 2  # once more, for the session that explains
