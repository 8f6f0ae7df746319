"""Bulk prediction on Ray: real clusters of one and of two nodes, the same bytes as in this process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_rows import finish, read, sentences, start, write
from conftest import clean
from firstbert import load
from firstbert.bulk import Shard
from firstbert.bulk_ray import _LETTERS, _TOKENS, _parts
from firstbert.streams import Block

ray = pytest.importorskip("ray")

BIN = Path(sys.executable).parent / "ray"


BOTH_THERE = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""


def environment() -> dict[str, str]:
    """Clean, with this package and without Ray's own marks; a cluster by itself asks for no token."""
    kept = {k: v for k, v in clean(dict(os.environ)).items() if not k.startswith("RAY_")}
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent / "src"), os.environ.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two nodes of one core each, as processes of their own; its address."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    # Unix sockets' paths are short: not pytest's folder.
    temporary = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    common = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={temporary}"]
    nodes = []
    try:
        for words in (head, [f"--address={address}"]):
            nodes.append(
                subprocess.Popen(
                    [BIN, "start", *words, *common], env=environment(), start_new_session=True,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
            _until_listening(port)
        subprocess.run([sys.executable, "-c", BOTH_THERE, address], check=True, env=environment(), timeout=60)
        yield address
    finally:
        for node in nodes:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        while daemons := _with(f"{temporary}".encode()) + _with(address.encode()):  # they have groups of their own
            for pid in daemons:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        shutil.rmtree(temporary, ignore_errors=True)


def _with(words: bytes) -> list[int]:
    """Other processes whose command line has these words in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def _until_listening(port: int) -> None:
    for _ in range(300):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError


def rows(n: int) -> list[dict[str, Any]]:
    return [{"id": i, "text": text} for i, text in enumerate(sentences(n))]


def on(address: str, notes: Path, *arguments: object) -> subprocess.Popen[str]:
    more = ["--engine", "ray", "--address", address, "--json"]
    return start(notes, "predict", *arguments, *more, env=environment())


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return dict(json.loads(out))


@pytest.fixture(scope="module")
def local(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files, and what this process makes of them."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "in").mkdir()
    all_rows = rows(6000)
    write(folder / "in" / "a.csv", all_rows[:5000])
    write(folder / "in" / "b.jsonl", all_rows[5000:])
    code, err = finish(start(folder / "notes", "predict", quick, folder / "in", "-o", folder / "out.jsonl"))
    assert code == 0, err
    return folder / "in", folder / "out.jsonl"


def test_two_nodes_give_the_same_bytes(quick: Path, cluster: str, local: tuple[Path, Path], tmp_path: Path) -> None:
    source, expected = local
    facts = told(on(cluster, tmp_path / "notes", quick, source, "-o", tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_bytes() == expected.read_bytes()
    assert len(facts["nodes"]) == 2 and sum(facts["nodes"].values()) == facts["rows"] == 6000
    answers = load(quick).predictions([row["text"] for row in read(expected)])
    assert [row["label"] for row in read(tmp_path / "out.jsonl")] == answers.best()


def test_a_worker_that_is_killed_changes_nothing(
    quick: Path, cluster: str, local: tuple[Path, Path], tmp_path: Path
) -> None:
    source, expected = local
    notes = tmp_path / "notes"
    process = on(cluster, notes, quick, source, "-o", tmp_path / "out.jsonl")
    while not notes.exists() and process.poll() is None:
        time.sleep(0.02)
    killed = _kill_workers()
    facts = told(process)
    assert killed and facts["rows"] == 6000
    assert (tmp_path / "out.jsonl").read_bytes() == expected.read_bytes()


def _kill_workers() -> int:
    """Kill one process that holds a model; Ray names it after the class."""
    found = _with(b"ray::_Worker")
    for pid in found[:1]:
        os.kill(pid, signal.SIGKILL)
    return len(found)


def test_begun_here_and_ended_on_ray(quick: Path, cluster: str, local: tuple[Path, Path], tmp_path: Path) -> None:
    source, expected = local
    notes, out = tmp_path / "notes", tmp_path / "out.jsonl"
    process = start(notes, "predict", quick, source, "-o", out)
    while not (notes.exists() and len(notes.read_text().split()) > 3) and process.poll() is None:
        time.sleep(0.005)
    finish(process, after=0)
    facts = told(on(cluster, notes, quick, source, "-o", out))
    assert 0 < facts["resumed"] < 6000
    assert out.read_bytes() == expected.read_bytes()
    assert sum(facts["nodes"].values()) == 6000 - facts["resumed"]


def test_bad_rows_and_refusals_arrive_as_from_this_process(quick: Path, cluster: str, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"id,text\n0,A small soup.\n1,caf\xe9\n2,The end.\n")
    process = on(cluster, tmp_path / "notes", quick, source, "-o", tmp_path / "out.csv")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "1 row was set aside" in err
    assert [row["id"] for row in read(tmp_path / "out.csv")] == ["0", "2"]
    process = on(cluster, tmp_path / "notes", quick, source, "-o", tmp_path / "out.csv", "--workers", "9")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "9 workers of 1 threads don't fit this Ray cluster" in err


def test_a_cluster_that_is_not_there(quick: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", rows(5))
    process = on(f"127.0.0.1:{free_port()}", tmp_path / "notes", quick, source, "-o", tmp_path / "out.csv")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "no Ray cluster answers there" in err


def test_a_cluster_of_our_own_comes_and_goes(quick: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", rows(700))
    out = tmp_path / "out.parquet"
    process = start(tmp_path / "n", "predict", quick, source, "-o", out, "--engine", "ray", env=environment())
    code, err = finish(process)
    assert code == 0, err
    assert [row["id"] for row in read(out)] == list(range(700))


def test_without_ray_its_extra_is_named(quick: Path, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    source = write(tmp_path / "in.csv", rows(5))
    outcome = cli("predict", quick, source, "-o", tmp_path / "out.csv", "--engine", "ray")
    assert outcome.code == 2 and 'pip install "firstbert[ray]"' in outcome.err


def test_parts_hold_every_row_once_and_are_of_a_size() -> None:
    texts = ["word " * (1 + i % 60) for i in range(4000)]
    blocks = tuple(Block([{"i": j} for j in range(i, i + 500)], texts[i : i + 500]) for i in range(0, 4000, 500))
    parts = list(_parts(Shard(0, 0, blocks, (), last=True)))
    assert [row["i"] for part in parts for block in part.blocks for row in block.rows] == list(range(4000))
    sizes = [sum(3 + len(text) / _LETTERS for block in part.blocks for text in block.texts) for part in parts]
    assert all(_TOKENS <= size < _TOKENS + 100 for size in sizes[:-1])
    assert [part.ends for part in parts] == [False] * (len(parts) - 1) + [True]
    (empty,) = _parts(Shard(0, 1, (), (), last=True))
    assert empty.ends and not empty.blocks
