"""The cache of vectors: what it saves, when it must miss, and that nothing makes it lie or fail."""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import families
from conftest import CACHE, TEXTS, Outcome
from firstbert import SentenceClassifier, SentenceEncoder, artifact, cache
from firstbert.cache import clear_vectors, encode, vector_cache, vectors_info
from firstbert.engine import Encoded, Engine, EngineOptions, open_engine
from firstbert.errors import DataError, UsageError
from firstbert.graph import Read
from firstbert.session import Session
from firstbert.store import _stores
from test_store import child_environment

# ---------------------------------------------------------------- what the tests share


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder for this test alone, with the encoders of the other tests' in it."""
    _ = SentenceEncoder("minilm").engine
    for part in ("files", "hashes", "prepared"):
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / part).symlink_to(CACHE / part)
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FIRSTBERT_VECTOR_CACHE")
    yield tmp_path / "cache" / "vectors"
    for store in _stores.values():
        store.close()


@pytest.fixture
def rows_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each batch that the network runs on, from now on."""
    counts: list[int] = []
    run = Session.__call__

    def counted(self: Session, batch: Any) -> Any:
        counts.append(len(batch.rows))
        return run(self, batch)

    monkeypatch.setattr(Session, "__call__", counted)
    return counts


def write_tokenizer(path: Path, first: int = 0) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(first, first + 90))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path))


def write_encoder(folder: Path, more: float = 0.0) -> Path:
    row = families.small("bert")
    tensors = families.tensors(row)
    tensors["bert.encoder.layer.0.output.dense.weight"][0, 0] += more
    families.write(row, folder, tensors)
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An encoder of two layers and random weights."""
    return write_encoder(tmp_path / "small")


def sentences(n: int, start: int = 0) -> list[str]:
    return [f"w{i % 90} w{i // 90 % 90} w{i // 8100} number {i}" for i in range(start, start + n)]


def write_rows(path: Path, n: int) -> Path:
    path.write_text(
        "text\tlabel\n" + "".join(f"{text}\t{'good' if i % 3 else 'bad'}\n" for i, text in enumerate(sentences(n)))
    )
    return path


def files(model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(model.iterdir())}


def same(a: Encoded, b: Encoded) -> bool:
    return (
        a.vectors.dtype == b.vectors.dtype == np.float32
        and a.vectors.shape == b.vectors.shape
        and a.vectors.tobytes() == b.vectors.tobytes()
        and np.array_equal(a.truncated, b.truncated)
        and a.truncated.dtype == b.truncated.dtype
    )


# ---------------------------------------------------------------- what it saves


def test_training_twice_runs_the_encoder_once(tmp_path: Path, cli: Callable[..., Outcome], rows_run: list[int]) -> None:
    data = write_rows(tmp_path / "rows.tsv", 80)
    assert cli("train", data, "-o", tmp_path / "one").code == 0
    assert sum(rows_run) == 80 + len(artifact.GOLDEN_TEXTS)
    rows_run.clear()
    assert cli("train", data, "-o", tmp_path / "two").code == 0
    assert rows_run == []
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert cli("evaluate", tmp_path / "two", data).code == 0
    assert rows_run == []
    assert cli("train", data, "-o", tmp_path / "three", "--no-cache").code == 0
    assert sum(rows_run) == 80 + len(artifact.GOLDEN_TEXTS)
    assert files(tmp_path / "three") == files(tmp_path / "one")


def test_ten_rows_more_encode_ten(small: Path, rows_run: list[int]) -> None:
    texts = sentences(510)
    labels = ["good" if i % 3 else "bad" for i in range(510)]
    SentenceClassifier(str(small), layer=2, C=1.0).fit(texts[:500], labels[:500])
    rows_run.clear()
    grown = SentenceClassifier(str(small), layer=2, C=1.0).fit(texts, labels)
    assert sum(rows_run) == 10
    whole = SentenceClassifier(str(small), layer=2, C=1.0, cache=False).fit(texts, labels)
    assert np.array_equal(grown.predictor_.head.weight, whole.predictor_.head.weight)


def test_predictions_go_through_it_unless_switched_off(small: Path, rows_run: list[int]) -> None:
    classifier = SentenceClassifier(str(small), C=1.0).fit(sentences(60), [0, 1, 2] * 20)
    rows_run.clear()
    warm = classifier.predict_proba(sentences(60))
    assert rows_run == []
    cold = classifier.set_params(cache=False).predict_proba(sentences(60))
    assert sum(rows_run) == 60
    assert warm.tobytes() == cold.tobytes()
    assert clone(classifier).cache is False


def test_predicting_on_the_command_line_leaves_it_alone(model: Path, folder: Path, cli: Callable[..., Outcome]) -> None:
    assert cli("predict", model, "--text", "What a joy.").code == 0
    assert not folder.exists()


def test_the_answer_is_the_engines(small: Path) -> None:
    engine = Engine(EngineOptions(str(small), max_length=6))
    texts = [*sentences(30), *sentences(40), "w1 " * 20, "", "w1 " * 20]
    expected = engine.encode(texts)
    assert expected.truncated.sum() == 72
    for _ in range(2):
        assert same(encode(engine, texts), expected)
    assert same(encode(engine, texts[::-3]), engine.encode(texts[::-3]))
    assert same(encode(engine, []), engine.encode([]))
    assert vectors_info()["entries"] == len(set(texts))


def test_real_vectors_are_those_of_any_batch_and_any_pass(rows_run: list[int]) -> None:
    """What one run keeps serves another only if the same bits come out alone, among others, and read with others."""
    reads = tuple(Read(layer, pooling) for layer in (1, 3, 6) for pooling in ("cls", "mean"))
    together = encode(open_engine(EngineOptions("minilm"), reads), TEXTS)
    rows_run.clear()
    for k, read in enumerate(reads):
        one = Engine(EngineOptions("minilm", layer=read.layer, pooling=read.pooling))
        found = encode(one, TEXTS).vectors
        # [CLS] of the last layer may be computed without the other positions, and is kept apart then
        assert sum(rows_run) == (12 if read.pooling == "cls" else 0)
        assert np.abs(found - together.vectors[:, [k]]).max() <= 2e-5
        assert one.encode(TEXTS[:3]).vectors.tobytes() == found[:3].tobytes()
        assert one.encode(TEXTS[5:6]).vectors.tobytes() == found[5:6].tobytes()
        rows_run.clear()


def test_a_text_with_one_read_missing_is_encoded(small: Path, rows_run: list[int]) -> None:
    first, both = (Read(1, "mean"),), (Read(1, "mean"), Read(2, "mean"))
    encode(Engine(EngineOptions(str(small)), first), sentences(8))
    rows_run.clear()
    engine = Engine(EngineOptions(str(small)), both)
    assert same(encode(engine, sentences(9)), engine.encode(sentences(9)))
    assert vectors_info()["entries"] == 18
    assert sum(rows_run) == 18  # nine by the cache, nine by the engine


def test_windows_are_put_together_in_order(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(EngineOptions(str(small), max_length=6))
    texts = [*sentences(30), "w1 " * 20]
    expected = engine.encode(texts)
    monkeypatch.setattr("firstbert.engine.WINDOW", 7)
    encode(engine, texts[3:5])
    found = encode(engine, [*texts, texts[0], texts[20]])
    assert found.tokens > 0
    assert np.array_equal(found.vectors, expected.vectors[[*range(31), 0, 20]])
    assert np.array_equal(found.truncated, expected.truncated[[*range(31), 0, 20]])
    assert encode(engine, texts).tokens == 0


def test_an_interrupted_run_keeps_what_it_did(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(EngineOptions(str(small)))

    first = engine.encode(sentences(20))

    def stream(texts: list[str], total: int) -> Iterator[Encoded]:
        yield first
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "stream", stream)
        with pytest.raises(KeyboardInterrupt):
            encode(engine, sentences(50))
    assert vectors_info()["entries"] == 20


@pytest.mark.parametrize("bad", [7, None, b"bytes", "half \ud83d"])
def test_what_is_no_text_is_refused_as_ever(small: Path, bad: object) -> None:
    engine = Engine(EngineOptions(str(small)))
    encode(engine, sentences(20))
    texts: list[Any] = [*sentences(30), bad]
    with pytest.raises(DataError, match=r"^Text 30 \(counted from 0\)"):
        encode(engine, texts)


def test_texts_are_not_stored(small: Path, folder: Path) -> None:
    encode(Engine(EngineOptions(str(small))), ["w1 a very private sentence"])
    assert vectors_info()["entries"] == 1
    assert b"private" not in (folder / "data.mdb").read_bytes()


# ---------------------------------------------------------------- when it must miss

KEYS = [
    "c16fdf50db90c7c811ce302e47410925", "c7de0329face0f1a6ef7c713a07dfca2",
    "053502f937eb86bc96363d1c878a44a1", "a515ff2950f90272c859ed19e4c96b1f",
]  # fmt: skip


def other_engine(small: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The small encoder with one part of the key changed."""
    options = EngineOptions(str(small))
    match part:
        case "layer":
            options = replace(options, layer=1)
        case "pooling":
            options = replace(options, pooling="mean")
        case "max_length":
            options = replace(options, max_length=255)
        case "tokenizer":
            write_tokenizer(small / "tokenizer.json", first=1)
        case "weights":
            write_encoder(small, more=1.0)
        case "format":
            monkeypatch.setattr(cache, "FORMAT", 0)
        case "graph's format":
            monkeypatch.setattr("firstbert.graph.FORMAT", 0)
        case "library":
            monkeypatch.setattr("importlib.metadata.version", lambda name: "0")
        case "processor":
            monkeypatch.setattr(cache, "_processor", lambda: ["another"])
    engine = Engine(options)
    if part == "precision":
        engine.options = replace(options, precision="int8")
    return engine


@pytest.mark.parametrize(
    "part",
    [
        "layer", "pooling", "max_length", "tokenizer", "weights", "format", "graph's format", "precision", "library",
        "processor",
    ],
)  # fmt: skip
def test_each_part_of_the_key_tells(
    small: Path, part: str, rows_run: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = sentences(40)
    encode(Engine(EngineOptions(str(small))), texts)
    rows_run.clear()
    engine = other_engine(small, part, monkeypatch)
    encoded = encode(engine, texts)
    assert sum(rows_run) == 40
    assert same(encoded, engine.encode(texts))
    rows_run.clear()
    assert same(encode(engine, texts), encoded)
    assert rows_run == []


def test_the_key_of_a_text_stays_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key for the same facts, and all that users have kept would be encoded again."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 1")
    monkeypatch.setattr(cache, "_processor", lambda: ["a", "b"])
    engine: Any = SimpleNamespace(
        reads=(Read(1, "mean"), Read(2, "cls")), options=EngineOptions("any", max_length=100),
        prepared=SimpleNamespace(fingerprint="e"), tokenizer=SimpleNamespace(fingerprint="t"),
    )  # fmt: skip
    keys = cache._keys(engine, ["a text", "ä"])
    assert keys is not None and [key.hex() for key in keys] == KEYS


def test_what_a_processor_can_do_is_read_from_its_first_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr(cache, "Path", {"/proc/cpuinfo": told}.__getitem__)
    read = cache._processor.__wrapped__
    assert read()[2:] == ["", "", "", ""]
    first = b"processor\t: 0\nmodel name\t: A: fast \xff\nCPU part\t: 0xd0c\nflags\t\t: avx\n"
    told.write_bytes(first + b"  \nflags : none\nFeatures : x\n")
    assert read() == [platform.machine(), platform.processor(), "A: fast \ufffd", "0xd0c", "avx", ""]
    told.write_text("Features\t: fp asimd\n")
    assert read()[2:] == ["", "", "", "fp asimd"]


@pytest.mark.parametrize("part", [{"threads": 1}, {"batch_tokens": 40}, {"layer": 2}, {"pooling": "cls"}])
def test_what_changes_no_vector_is_no_part_of_the_key(small: Path, part: dict[str, Any], rows_run: list[int]) -> None:
    encode(Engine(EngineOptions(str(small))), sentences(40))
    rows_run.clear()
    encode(Engine(EngineOptions(str(small), **part)), sentences(40))
    assert rows_run == []


def test_the_tokenizer_is_the_one_that_was_opened(small: Path, rows_run: list[int]) -> None:
    """Its file changes under an open engine: the vectors belong to the old one."""
    old = Engine(EngineOptions(str(small)))
    write_tokenizer(small / "tokenizer.json", first=1)
    encode(old, sentences(10))
    rows_run.clear()
    encode(Engine(EngineOptions(str(small))), sentences(10))
    assert sum(rows_run) == 10


# ---------------------------------------------------------------- switches


@pytest.mark.parametrize("name", ["FIRSTBERT_VECTOR_CACHE", "FIRSTBERT_VECTOR_CACHE_GB"])
def test_switched_off_it_writes_nothing(
    small: Path, folder: Path, name: str, rows_run: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "0")
    engine = Engine(EngineOptions(str(small)))
    assert same(encode(engine, sentences(5)), encode(engine, sentences(5)))
    assert sum(rows_run) == 10
    assert not folder.exists()
    assert vectors_info() == {"entries": 0, "bytes": 0, "cap": 0, "on": False}


@pytest.mark.parametrize(
    ("name", "setting", "cap"),
    [
        *(("FIRSTBERT_VECTOR_CACHE", setting, 0) for setting in ("0", "false", "no", "off", " OFF ")),
        *(("FIRSTBERT_VECTOR_CACHE", setting, 2 * 10**9) for setting in ("", "1", "yes")),
        ("FIRSTBERT_VECTOR_CACHE_GB", "0.5", 5 * 10**8),
        ("FIRSTBERT_VECTOR_CACHE_GB", " 1e-9 ", 1),
        ("FIRSTBERT_VECTOR_CACHE_GB", " ", 2 * 10**9),
    ],
)
def test_how_much_may_be_kept(name: str, setting: str, cap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, setting)
    assert (vectors_info()["cap"], vectors_info()["on"]) == (cap, cap > 0)
    assert (vector_cache() is None) == (cap == 0)


@pytest.mark.parametrize("setting", ["two", "-1", "nan", "inf"])
def test_a_cap_that_is_no_number(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTBERT_VECTOR_CACHE_GB", setting)
    with pytest.raises(UsageError, match=f"FIRSTBERT_VECTOR_CACHE_GB must be a number.*Got '{setting}'"):
        vector_cache()


def test_the_command_line_tells_and_clears(
    small: Path, folder: Path, cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "0 vectors of sentences are kept (up to 2000 MB)." in cli("cache", "info").out
    encode(Engine(EngineOptions(str(small))), sentences(5))
    facts = cli("cache", "info", "--json").json
    assert facts["vectors"] == {"entries": 5, "bytes": facts["vectors"]["bytes"], "cap": 2_000_000_000, "on": True}
    assert facts["vectors"]["bytes"] == (folder / "data.mdb").stat().st_size > 0
    assert cli("cache", "clear", "--vectors").code == 0
    assert not folder.exists() and list((folder.parent / "partial").iterdir()) == []
    assert (folder.parent / "prepared").exists()
    monkeypatch.setenv("FIRSTBERT_VECTOR_CACHE", "0")
    assert "0 vectors of sentences are kept (switched off)." in cli("cache", "info").out


# ---------------------------------------------------------------- several processes


_KILLED = """
import sys
from firstbert.cache import encode
from firstbert.engine import Engine, EngineOptions
from test_cache import sentences
engine = Engine(EngineOptions({small!r}))
texts = sentences(2000, start={start})
for start in range(0, 2000, 25):
    encode(engine, texts[start : start + 25])
    print(start, flush=True)
"""


def test_a_killed_encoding_leaves_the_vectors_that_the_encoder_gives(small: Path) -> None:
    rng = random.Random(0)
    for turn in range(3):
        code = _KILLED.format(small=str(small), start=2000 * turn)
        with subprocess.Popen([sys.executable, "-c", code], env=child_environment(), stdout=subprocess.PIPE) as child:
            assert child.stdout
            for _ in range(rng.randint(3, 30)):
                assert child.stdout.readline()
            time.sleep(rng.uniform(0, 0.01))  # anywhere within the next one
            child.kill()
    assert vectors_info()["entries"] > 100
    engine = Engine(EngineOptions(str(small)))
    assert same(encode(engine, sentences(6000)), engine.encode(sentences(6000)))


def test_two_trainings_at_once_share_it(small: Path, tmp_path: Path, rows_run: list[int], cli: Any) -> None:
    data = write_rows(tmp_path / "rows.tsv", 3000)
    arguments = ["train", str(data), "--encoder", str(small), "--layer", "last", "--test-size", "0", "-o"]
    commands = [[sys.executable, "-m", "firstbert", *arguments, str(tmp_path / f"model{i}")] for i in range(2)]
    running = [subprocess.Popen(c, env=child_environment(), stderr=subprocess.PIPE, text=True) for c in commands]
    told = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    assert not any("can't be used" in text for text in told)
    assert vectors_info()["entries"] == 3000 + len(artifact.GOLDEN_TEXTS)
    assert cli(*arguments, tmp_path / "model2").code == 0
    assert rows_run == []
    assert files(tmp_path / "model0") == files(tmp_path / "model1") == files(tmp_path / "model2")


def test_deleting_it_changes_no_bit(small: Path, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_rows(tmp_path / "rows.tsv", 300)

    def trained(name: str) -> dict[str, bytes]:
        assert cli("train", data, "--encoder", small, "-o", tmp_path / name).code == 0
        return files(tmp_path / name)

    cold, warm = trained("cold"), trained("warm")
    clear_vectors()
    cleared = trained("cleared")
    monkeypatch.setenv("FIRSTBERT_VECTOR_CACHE", "0")
    off = trained("off")
    assert cold == warm == cleared == off
    assert set(cold) == {"README.md", "head.safetensors", "model.json"}


# ---------------------------------------------------------------- a store that fails


def damaged(folder: Path, how: str) -> None:
    data = folder / "data.mdb"
    length = data.stat().st_size
    match how:
        case "cut":
            os.truncate(data, length // 2 // 4096 * 4096)
        case "cut within a page":
            os.truncate(data, length // 2 + 100)
        case "foreign":
            data.write_bytes(b"another program's file\n" * 5000)
        case "short":
            data.write_bytes(b"?")
        case "zeros":
            data.write_bytes(data.read_bytes()[:8192] + bytes(length - 8192))
        case "noise":
            data.write_bytes(data.read_bytes()[:8192] + random.Random(0).randbytes(length - 8192))
        case "a file in its place":
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
            folder.write_text("not a folder")


@pytest.mark.parametrize(
    "how", ["cut", "cut within a page", "foreign", "short", "zeros", "noise", "a file in its place"]
)
def test_a_damaged_store_is_told_once_and_bypassed(small: Path, folder: Path, how: str, rows_run: list[int]) -> None:
    engine = Engine(EngineOptions(str(small)))
    texts = sentences(400)
    expected = encode(engine, texts)
    for store in _stores.values():
        store.close()
    damaged(folder, how)
    _stores.clear()
    rows_run.clear()
    with pytest.warns(
        UserWarning, match=r"vectors: the vectors kept there can't be used \(.*cache clear --vectors"
    ) as told:
        assert same(encode(engine, texts), expected)
        assert same(encode(engine, texts), expected)
    assert len(told) == 1
    assert sum(rows_run) > 400
    clear_vectors()
    rows_run.clear()
    for _ in range(2):
        assert same(encode(engine, texts), expected)
    assert sum(rows_run) == 400


def test_a_changed_bit_of_a_vector_is_a_miss(small: Path, folder: Path, rows_run: list[int]) -> None:
    engine = Engine(EngineOptions(str(small)))
    expected = encode(engine, sentences(20))
    store = vector_cache()
    assert store
    store.close()
    content = bytearray((folder / "data.mdb").read_bytes())
    place = content.index(expected.vectors[7].tobytes())
    content[place + 100] ^= 1
    (folder / "data.mdb").write_bytes(content)
    rows_run.clear()
    for _ in range(2):
        assert same(encode(engine, sentences(20)), expected)
    assert sum(rows_run) == 1
    assert vectors_info()["entries"] == 20


def test_a_folder_that_cannot_be_written(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(EngineOptions(str(small)))
    monkeypatch.setattr(cache, "cache_folder", lambda: Path("/dev/null/cache"))
    with pytest.warns(UserWarning, match="/dev/null/cache/vectors: .*can't be used"):
        assert same(encode(engine, sentences(5)), engine.encode(sentences(5)))
    assert vectors_info()["entries"] == 0
    clear_vectors()
