"""The same inputs, options, seed and versions give the same bytes, whatever else differs.

What may differ: the seed of Python's hashes, locale and time zone, the clock, how many cores there are, the working
folder, where output goes, and what the cache holds.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import everyday
import families
from conftest import clean
from faults import Machine, contents
from firstbert.catalog import encoder_files
from test_torch import needs_torch

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each command gets a fork of one process")

TRAININGS = {
    "layer auto": "--report out/report.html --test-size 0.3",
    "int8": "--precision int8 --max-int8-loss 100 --layer last",
    "best layers, neighbours": "--layer best --neighbours --class-weight balanced",
    "a promise": "--max-error 0.4 --confidence 0.6",
    "many labels": "--thresholds macro-f1",
    "portable": "--portable --test-size 0 --pooling cls",
}
OUTPUTS = (
    "predict {model} {rows} -o out/labelled.jsonl.gz --per-class",
    "predict {model} {rows} -o out/labelled.parquet --cache",
    "check-labels {rows} -o out/suspects.tsv --encoder {encoder}",
    "evaluate {model} {rows} --report out/report.html",
    "explain {model} {text} --html out/way.html",
    "export {model} out/model.onnx",
)
ELSEWHERE = {
    "PYTHONHASHSEED": "4711", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2",
}  # fmt: skip
HERE = {"PYTHONHASHSEED": "0", "TZ": "UTC", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
YEARS = 86_400 * 3653.0


@dataclass(frozen=True)
class World:
    """Two places that differ in all that may, and what both are given."""

    root: Path
    here: Machine
    elsewhere: Machine

    def given(self, words: str) -> list[str]:
        root = self.root
        names = {"model": root / "model", "rows": root / "rows.tsv", "encoder": root / "encoder"}
        return [word.format(text="The grüne garden – 园.", **names) for word in words.split()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("same")
    row = families.small("bert", vocab_size=30522, hidden_size=32, num_hidden_layers=3, intermediate_size=64)
    families.write(row, root / "encoder")
    shutil.copy(encoder_files("minilm").tokenizer, root / "encoder" / "tokenizer.json")
    everyday.write(root / "rows.tsv", everyday.topics(120, seed=5))
    everyday.write(root / "many.tsv", everyday.several(120, seed=5))
    environment = clean(dict(os.environ))
    del environment["FIRSTBERT_VECTOR_CACHE"]
    machines = []
    for name, its in (("here", HERE), ("elsewhere", ELSEWHERE)):
        (root / name).mkdir()
        machines.append(Machine(root / name, environment | its | {"FIRSTBERT_CACHE": str(root / name / "cache")}))
    world = World(root, *machines)
    ended = world.here.run(*world.given("train {rows} -o model --encoder {encoder}"), cwd=root)
    assert ended.code == 0, ended.err
    yield world
    for machine in machines:
        machine.close()


def run(machine: Machine, folder: Path, words: list[str], **job: Any) -> dict[str, bytes]:
    """What a command writes into `out`, and that as JSON where it prints it."""
    (folder / "out").mkdir(parents=True)
    ended = machine.run(*words, cwd=folder, **job)
    assert ended.code == 0, ended
    return contents(folder / "out")


def same(world: World, folder: Path, words: list[str]) -> dict[str, bytes]:
    """Run it here and elsewhere, there with a cold cache and again with a warm one; all give the same bytes."""
    found = run(world.here, folder / "a", words, fault={"cores": 1})
    cold = {"environment": {"FIRSTBERT_CACHE": folder / "cold"}}
    assert differing(found, run(world.elsewhere, folder / "far" / "away", words, fault={"clock": YEARS}, **cold)) == []
    assert differing(found, run(world.elsewhere, folder / "b", words, fault={"clock": -YEARS}, **cold)) == []
    return found


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return [path for path in {**one, **other} if one.get(path) != other.get(path)]


def training(world: World, name: str, output: str = "out/model") -> list[str]:
    rows = "many.tsv" if name == "many labels" else "rows.tsv"
    return world.given(f"train {world.root / rows} -o {output} --encoder {{encoder}} {TRAININGS[name]}")


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_gives_the_same_bytes(world: World, tmp_path: Path, name: str) -> None:
    found = same(world, tmp_path, training(world, name))
    assert {"model/model.json", "model/head.safetensors", "model/README.md"} <= set(found)
    facts = json.loads(found["model/model.json"])
    for told in ("seconds", "out/model", str(tmp_path)):
        assert told not in found["model/model.json"].decode()
    match name:
        case "int8":
            assert facts["precision"] == "int8"
        case "a promise":
            assert facts["training"]["promise"]["rows"] > 0
        case "many labels":
            assert len(set(facts["thresholds"]["labels"])) > 1


@pytest.mark.parametrize("words", OUTPUTS)
def test_what_a_model_gives_is_the_same_bytes(world: World, tmp_path: Path, words: str) -> None:
    assert same(world, tmp_path, world.given(words))


def test_where_a_model_is_put_and_how_paths_are_typed_changes_nothing(world: World, tmp_path: Path) -> None:
    found = run(world.here, tmp_path / "a", training(world, "portable"))
    typed = ["train", "rows.tsv", "-o", str(tmp_path / "b" / "out" / "model"), "--encoder", "./encoder"]
    (tmp_path / "b" / "out").mkdir(parents=True)
    ended = world.elsewhere.run(*typed, *TRAININGS["portable"].split(), cwd=world.root)
    assert ended.code == 0, ended.err
    assert differing(found, contents(tmp_path / "b" / "out")) == []


def test_order_of_rows_is_an_input(world: World, tmp_path: Path) -> None:
    """So that the comparisons above could tell: another seed, and other rows, do give other bytes."""
    found = run(world.here, tmp_path / "a", training(world, "layer auto"))
    other = run(world.here, tmp_path / "b", [*training(world, "layer auto"), "--seed", "1"])
    assert "model/head.safetensors" in differing(found, other)


def test_threads_change_no_bit_of_an_answer(world: World, tmp_path: Path) -> None:
    words = world.given("predict {model} {rows} -o out/labelled.jsonl --per-class")
    one, two = (run(world.here, tmp_path / n, [*words, "--threads", n]) for n in ("1", "2"))
    assert differing(one, two) == []


@pytest.mark.slow
@needs_torch
def test_a_fine_tuning_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    """On one thread: torch sums in another order on two. How long it took is told, and not kept."""
    words = world.given("train {rows} -o out/model --encoder {encoder} --finetune --epochs 2 --recipe labels --json "
                        "--train-precision fp32 --learning-rate 1e-3")  # fmt: skip
    found = []
    for name, machine in (("a", world.here), ("far/b", world.elsewhere)):
        (tmp_path / name / "out").mkdir(parents=True)
        ended = machine.run(*words, cwd=tmp_path / name, environment={"OMP_NUM_THREADS": "1"}, fault={"cores": 1})
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["finetune"]["seconds"] > 0
        found.append(contents(tmp_path / name / "out"))
    assert differing(*found) == []
    assert b"seconds" not in found[0]["model/model.json"] and b"per_second" not in found[0]["model/model.json"]


def test_an_output_that_cannot_hold_the_text_is_told(world: World) -> None:
    ended = world.here.run(*world.given("predict {model} --text {text}"), environment={"PYTHONIOENCODING": "ascii"})
    assert ended.code == 2 and "its encoding (ascii) has no '\\xfc'" in ended.err and "PYTHONUTF8=1" in ended.err
