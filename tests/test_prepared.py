"""Prepared weights in the cache folder: used again, rebuilt when damaged, safe with several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import families
from firstbert import prepared
from firstbert.batches import Batch
from firstbert.errors import EncoderError
from firstbert.folders import EncoderFiles, from_folder
from firstbert.graph import Read
from firstbert.prepared import Prepared, prepare
from firstbert.session import Session
from test_cache import write_encoder, write_tokenizer

CLS = [Read(2, "cls")]
BATCH = Batch(np.array([[2, 5, 7, 3]], np.int32), np.array([4], np.int32), np.arange(1))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> EncoderFiles:
    return families.write(families.small("bert"), tmp_path / "model")


def vector(ready: Prepared) -> np.ndarray:
    return Session(ready.graph(CLS))(BATCH)[0]


def test_done_once(cache: Path, files: EncoderFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(files)
    monkeypatch.setattr(prepared, "_lay_out", lambda *_: pytest.fail("laid out again"))
    assert prepare(files) == first
    assert first.folder.is_relative_to(cache)
    assert first.graph(CLS) == first.graph(CLS)


def test_other_weights_and_other_configs_lie_apart(cache: Path, files: EncoderFiles, tmp_path: Path) -> None:
    row = families.small("bert")
    more = {key: value + 1 for key, value in families.tensors(row).items()}
    others = [
        files,
        families.write(row, tmp_path / "more", more),
        families.write(families.small("bert", layer_norm_eps=1e-5), tmp_path / "eps"),
        families.write(families.small("bert", num_attention_heads=2), tmp_path / "heads"),
    ]
    found = [prepare(other) for other in others]
    assert len({one.folder for one in found}) == len({one.fingerprint for one in found}) == 4


def test_the_same_model_elsewhere_is_the_same(cache: Path, files: EncoderFiles, tmp_path: Path) -> None:
    copy = families.write(families.small("bert"), tmp_path / "copy")
    assert replace(prepare(copy), source=files.weights[0]) == prepare(files)


def test_another_tokenizer_lies_apart_in_int8(cache: Path, tmp_path: Path) -> None:
    """int8 has its factors from our sentences, as the folder's tokenizer cuts them."""
    folders = [write_encoder(tmp_path / name) for name in ("one", "other", "vocabulary", "cased")]
    write_tokenizer(folders[1] / "tokenizer.json", first=1)
    for folder in folders[2:]:
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmN"]))
    (folders[3] / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    for precision, apart in (("fp32", 1), ("int8", 4)):
        found = [prepare(from_folder(folder), precision) for folder in folders]
        assert len({one.folder for one in found}) == len({one.fingerprint for one in found}) == apart


def test_another_onnx_runtime_finds_its_own_factors(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = from_folder(write_encoder(tmp_path / "encoder"))
    before = [prepare(encoder, precision).fingerprint for precision in ("fp32", "int8")]
    monkeypatch.setattr("onnxruntime.__version__", "9.9")
    after = [prepare(encoder, precision).fingerprint for precision in ("fp32", "int8")]
    assert after[0] == before[0] and after[1] != before[1]


@pytest.mark.parametrize(
    "damage", ["half", "empty", "no weights", "no index", "bad index", "list", "other index", "one less"]
)
def test_damaged_weights_are_made_again(cache: Path, files: EncoderFiles, damage: str) -> None:
    expected = vector(prepare(files))
    folder = prepare(files).folder
    weights, index = folder / "weights.bin", folder / "index.json"
    match damage:
        case "half":
            os.truncate(weights, weights.stat().st_size // 2)
        case "empty":
            weights.write_bytes(b"")
        case "no weights":
            weights.unlink()
        case "no index":
            index.unlink()
        case "bad index":
            index.write_bytes(index.read_bytes()[:100])
        case "list":
            index.write_text("[1]")
        case "other index":
            index.write_text('{"words": {"shape": [1]}}')
        case "one less":
            places = json.loads(index.read_text())
            del places["1.mix.bias"]
            index.write_text(json.dumps(places))
            next(folder.glob("*.onnx")).unlink()  # or it would be taken as it is
    again = prepare(files)
    assert again.folder == folder
    assert np.array_equal(vector(again), expected)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


@pytest.mark.parametrize("size", [0, 1, 700])
def test_a_graph_that_was_cut_short_is_written_anew(cache: Path, files: EncoderFiles, size: int) -> None:
    ready = prepare(files)
    graph = ready.graph(CLS)
    whole = graph.read_bytes()
    assert size < len(whole)
    os.truncate(graph, size)
    ready.session(CLS)
    assert graph.read_bytes() == whole


def test_what_cannot_be_opened_with_a_new_graph_either_is_told(cache: Path, files: EncoderFiles) -> None:
    ready = prepare(files)
    os.truncate(ready.weights, 4096)
    with pytest.raises(EncoderError, match="ONNX Runtime can't open it"):
        ready.session(CLS)


def test_a_cache_that_cannot_be_made(files: EncoderFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache's place is a file: a temporary folder serves this process."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="prepared weights can't be kept there"):
        ready = prepare(files)
    assert not ready.folder.is_relative_to(tmp_path / "file")
    assert np.isfinite(vector(ready)).all()


def test_a_cache_that_may_only_be_read(cache: Path, files: EncoderFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone else laid the weights out; the graph for these reads is made beside a copy."""
    ready = prepare(files)
    write = prepared._write_whole

    def refuse(path: Path, data: bytes) -> None:
        if path.is_relative_to(cache):
            raise PermissionError(13, "Permission denied")
        write(path, data)

    monkeypatch.setattr(prepared, "_write_whole", refuse)
    graph = ready.graph(CLS)
    assert not graph.is_relative_to(cache)
    assert np.isfinite(vector(ready)).all()
    assert ready.graph([Read(1, "mean")]).parent == graph.parent


def test_a_full_disk_is_told_and_leaves_nothing(
    cache: Path, files: EncoderFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepared, "_append", full)
    with pytest.raises(EncoderError, match=r"No space left on device.*FIRSTBERT_CACHE"):
        prepare(files)
    assert list((cache / "prepared").iterdir()) == []


def test_a_bad_checkpoint_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    row = families.small("bert")
    values = families.tensors(row)
    values["bert.encoder.layer.1.output.dense.weight"][0, 0] = np.nan
    with pytest.raises(EncoderError, match="NaN"):
        prepare(families.write(row, tmp_path / "model", values))
    assert list((cache / "prepared").iterdir()) == []


def _prepare(files: EncoderFiles, cache: str) -> tuple[str, np.ndarray]:
    os.environ["FIRSTBERT_CACHE"] = cache
    ready = prepare(files)
    return str(ready.folder), vector(ready)


def test_several_processes_at_once(cache: Path, files: EncoderFiles) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_prepare, [(files, str(cache))] * 6, chunksize=1)
    assert {folder for folder, _ in found} == {str(prepare(files).folder)}
    assert all(np.array_equal(numbers, found[0][1]) for _, numbers in found)
    assert len(list((cache / "prepared").iterdir())) == 1


def test_a_graph_that_onnx_runtime_cannot_open(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(EncoderError, match=r"graph\.onnx"):
        Session(path)
