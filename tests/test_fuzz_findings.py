"""What fuzzing has found is refused as any bad input is, and where fuzzing begins is taken. See docs/fuzzing.md."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
FINDINGS = sorted((ROOT / "fuzz" / "findings").glob("*/*"))
TARGETS = ("readers", "streams", "model", "weights", "encoder")


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[dict[str, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from firstbert import streams, survey

        for module, names in ((survey, ("_HEAD", "CHUNK", "BATCH")), (streams, ("CHUNK", "BATCH"))):
            for name in names:  # a target sets them; they are to be as they were
                patch.setattr(module, name, getattr(module, name))
        place = importlib.import_module("fuzz.place")
        yield {name: importlib.import_module(f"fuzz.{name}") for name in TARGETS}
        place.leave()


def test_there_are_findings() -> None:
    assert len(FINDINGS) >= 9 and {path.parent.name for path in FINDINGS} <= set(TARGETS)


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_is_refused(targets: dict[str, ModuleType], path: Path) -> None:
    content = path.read_bytes()
    assert not targets[path.parent.name].one(content)
    if path.parent.name in ("readers", "streams"):  # each reads what the other does
        assert not targets["readers"].one(content) and not targets["streams"].one(content)


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_begins_with_files_that_are_taken(targets: dict[str, ModuleType], name: str) -> None:
    seeds = targets[name].seeds()
    refused = [seed for seed, content in seeds.items() if not targets[name].one(content)]
    assert refused == (["few"] if name == "weights" else [])


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_read_without_a_finding(targets: dict[str, ModuleType], name: str) -> None:
    corpus = sorted((ROOT / "fuzz" / "corpus" / name).iterdir())
    assert corpus and sum(path.stat().st_size for path in corpus) < 60_000
    for path in corpus:
        targets[name].one(path.read_bytes())


def test_json_is_mutated_into_json_with_a_header_of_the_right_length(targets: dict[str, ModuleType]) -> None:
    import random

    mutate, place = importlib.import_module("fuzz.mutate"), importlib.import_module("fuzz.place")
    seed = targets["weights"].seeds()["float32"]
    length = int.from_bytes(seed[:8], "little")
    for n in range(20):
        changed = mutate.mutated(b"first" + place.MARK + seed, random.Random(n))
        assert changed.startswith(b"first" + place.MARK)
        header = changed[5 + len(place.MARK) :]
        size = int.from_bytes(header[:8], "little")
        assert header[8 : 8 + size].startswith(b"{") and header[8 + size :] == seed[8 + length :]
    assert mutate.mutated(b"no JSON", random.Random(0)) is None
