from __future__ import annotations

import itertools
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import families
from conftest import TEXTS
from firstbert import SentenceEncoder, session
from firstbert.batches import batch_of
from firstbert.engine import WINDOW, Engine, EngineOptions, open_engine
from firstbert.errors import DataError, EncoderError, OptionError, TruncationWarning, UsageError
from firstbert.graph import Pooling, Read
from firstbert.prepared import prepare
from firstbert.session import usable_cores
from test_cache import write_encoder

LONG = "word " * 1000


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("minilm")


def test_vectors_of_the_fixed_shape_and_type(encoder: SentenceEncoder) -> None:
    vectors = encoder.transform(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((12, 384), np.float32)


def test_order_is_restored_and_the_batch_does_not_matter(encoder: SentenceEncoder) -> None:
    mixed = [*TEXTS, "word " * 100, "A", *TEXTS[::-1]]
    alone = np.concatenate([encoder.transform([text]) for text in mixed])
    assert np.array_equal(alone, encoder.transform(mixed))
    budgets = SentenceEncoder("minilm", batch_tokens=4096, threads=1).transform(mixed)
    assert np.array_equal(alone, budgets)


@pytest.mark.parametrize("pooling", ["cls", "mean", "tokens"])
@pytest.mark.parametrize("family", ["bert", "mpnet", "roberta"])
def test_padding_changes_no_bit_at_any_length(family: str, pooling: Pooling, tmp_path: Path) -> None:
    session = prepare(families.write(families.small(family), tmp_path)).session([Read(2, pooling)])
    for length in range(1, 40):
        ids = families.token_ids(families.small(family), length)
        [alone] = session(batch_of([ids], np.zeros(1, np.intp)))
        for more in (1, 2, 3, 5):
            [pair] = session(batch_of([ids, families.token_ids(families.small(family), length + more)], np.arange(2)))
            found = pair[:1, :length] if pooling == "tokens" else pair[:1]
            assert np.array_equal(found, alone), (length, more)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_text_that_all_cores_share_gets_the_same_bits(precision: str, pooling: str) -> None:
    shared, single = (
        Engine(EngineOptions("minilm", pooling, precision=precision, threads=threads))  # type: ignore[arg-type]
        for threads in (2, 1)
    )
    for text in [*TEXTS, LONG]:
        assert np.array_equal(shared.encode([text]).vectors, single.encode([text]).vectors)
    assert shared.session_alone is not shared.session and single.session_alone is single.session


def test_equal_texts_get_equal_vectors(encoder: SentenceEncoder) -> None:
    vectors = encoder.transform([TEXTS[0], TEXTS[1], TEXTS[0]])
    assert np.array_equal(vectors[0], vectors[2]) and not np.array_equal(vectors[0], vectors[1])


def test_streams_give_the_same_window_by_window(encoder: SentenceEncoder) -> None:
    n = WINDOW + 10
    texts = (f"word {i % 7}" for i in range(n))
    windows = list(encoder.stream(texts))
    assert [len(window.vectors) for window in windows] == [WINDOW, 10]
    again = np.concatenate([window.vectors[:, 0] for window in windows])
    assert np.abs(again - encoder.transform([f"word {i % 7}" for i in range(n)])).max() <= 1e-6


def test_a_stream_is_read_one_window_ahead_and_no_further(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firstbert.engine.WINDOW", 64)
    taken = itertools.count()
    stream = encoder.stream(f"text {next(taken)}" for _ in range(64 * 5))
    assert len(next(stream).vectors) == 64
    assert next(taken) <= 2 * 64


def test_a_stream_left_early_leaves_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firstbert.engine.WINDOW", 400)
    engine = Engine(EngineOptions("minilm", threads=2, batch_tokens=8))
    run, ran = engine.session, []
    monkeypatch.setattr(engine, "session", lambda batch: (ran.extend(batch.rows), run(batch))[1])
    stream = engine.stream(f"text {i}" for i in range(800))
    next(stream)
    stream.close()
    assert len(ran) < 800


def test_cut_texts_are_flagged_and_told(encoder: SentenceEncoder) -> None:
    assert encoder.encode(["short", LONG, "word " * 254, "word " * 255]).truncated.tolist() == [0, 1, 0, 1]
    with pytest.warns(TruncationWarning, match="1 of 2 texts were longer than 256 tokens"):
        encoder.transform(["short", LONG])


def test_an_empty_list_and_an_empty_text(encoder: SentenceEncoder) -> None:
    assert encoder.transform([]).shape == (0, 384)
    assert encoder.transform([""]).shape == (1, 384)


def test_layers_are_those_of_one_pass_through_all(encoder: SentenceEncoder) -> None:
    reads = tuple(Read(layer, pooling) for layer in (1, 3, 6) for pooling in ("cls", "mean"))
    together = open_engine(EngineOptions("minilm"), reads).encode(TEXTS).vectors
    for k, read in enumerate(reads):
        alone = SentenceEncoder("minilm", layer=read.layer, pooling=read.pooling).transform(TEXTS)
        assert np.abs(alone - together[:, k]).max() <= 2e-5


def test_auto_pooling_is_the_encoders_own() -> None:
    assert Engine(EngineOptions("minilm")).pooling == "mean"


def test_estimators_with_equal_options_share_one_engine() -> None:
    assert SentenceEncoder("minilm", layer=2).engine is SentenceEncoder("minilm", layer=2).engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, r"'max_length' option of SentenceEncoder must be an int in \[2, 512\]. Got 0 instead"),
        ({"max_length": 513}, r"\[2, 512\]. Got 513"),
        ({"max_length": "9"}, "Got '9'"),
        ({"max_length": True}, "Got True"),
        ({"layer": 7}, r"'last' or an int in \[1, 6\]. Got 7"),
        ({"layer": 0}, "Got 0"),
        ({"layer": "first"}, "Got 'first'"),
        ({"layer": -1}, "Got -1"),
        ({"layer": True}, "Got True"),
        ({"layer": 1.0}, "Got 1.0"),
        ({"layer": [1]}, r"Got \[1\]"),
        ({"layer": ()}, "names no layer"),
        ({"layer": (6, 6)}, r"names a layer twice: \(6, 6\)"),
        ({"layer": (1, np.int64(1))}, "names a layer twice"),
        ({"layer": ([1], [1])}, r"Got \[1\]"),
        ({"layer": np.array([1, 2])}, r"Got array\(\[1, 2\]\)"),
        ({"layer": np.float32(1)}, "Got .*1.0"),
        ({"pooling": ["mean"]}, r"Got \['mean'\]"),
        ({"pooling": "max"}, "must be one of 'auto', 'cls', 'mean'. Got 'max'"),
        ({"precision": "fp64"}, "'precision'.*Got 'fp64'"),
        ({"threads": 0}, "'threads'.*Got 0"),
        ({"batch_tokens": 0}, "'batch_tokens'.*Got 0"),
    ],
)
def test_options_out_of_range_are_named_at_first_use(options: dict[str, object], message: str) -> None:
    SentenceEncoder("minilm", layer=1).fit([])  # open already: what equals it in Python's eyes is not it
    encoder = SentenceEncoder("minilm", **options)
    with pytest.raises(UsageError, match=message):
        encoder.fit([])


@pytest.mark.parametrize("encoder", [None, 5, ["a"], b"minilm"])
def test_an_encoder_is_a_name_or_a_folder(encoder: Any) -> None:
    with pytest.raises(OptionError, match=rf"must be a name or a folder. Got {re.escape(repr(encoder))} instead"):
        SentenceEncoder(encoder).fit([])


def test_whole_numbers_of_numpy_are_taken_as_pythons() -> None:
    asked = {"layer": (np.int64(2), np.int8(3)), "max_length": np.int64(30), "threads": np.uint8(1)}
    options = EngineOptions("minilm", batch_tokens=np.int32(64), **asked)  # type: ignore[arg-type]
    assert repr(options) == repr(EngineOptions("minilm", layer=(2, 3), max_length=30, threads=1, batch_tokens=64))
    assert SentenceEncoder("minilm", layer=np.int64(2)).engine is SentenceEncoder("minilm", layer=2).engine


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "list of texts is needed. Got str"),
        (b"bytes", "Got bytes"),
        (3, "Got int"),
        (None, "Got NoneType"),
        (["fine", None], r"Text 1 \(counted from 0\) must be a str. Got NoneType"),
        (["fine", "fine", 3.5], "Text 2 .*Got float"),
        ([["nested"]], "Text 0 .*Got list"),
        ([("one", "another")], "Text 0 .*Got tuple"),
        (pd.DataFrame({"text": ["fine"], "more": ["fine"]}), "the texts are of 2 dimensions"),
        ({"text": "fine"}, "the texts are a dict"),
        (["half \ud83d"], "Text 0 .*surrogate pair at character 5"),
    ],
)
def test_what_is_no_text_is_named(encoder: SentenceEncoder, texts: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encoder.transform(texts)


def test_a_column_is_a_list_of_texts(encoder: SentenceEncoder) -> None:
    texts = ["fine", "no good"]
    wanted = encoder.transform(texts)
    for column in (tuple(texts), np.array(texts), pd.Series(texts), iter(texts)):
        assert np.array_equal(encoder.transform(column), wanted)


def test_a_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    from firstbert.catalog import encoder_files
    from firstbert.tokens import Tokenizer

    with pytest.raises(EncoderError, match="ids go up to 30521, but the encoder's word table has 100 rows"):
        Tokenizer(encoder_files("minilm").tokenizer, 256, 100)


def test_a_text_with_a_foreign_id_is_refused(tmp_path: Path) -> None:
    """Two more tokens than fit, at the place of two that are missing: their count tells nothing."""
    from tokenizers import Tokenizer as Written
    from tokenizers import models, pre_tokenizers, processors

    from firstbert.tokens import Tokenizer

    written = Written(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "known": 3, "far": 99}, "[UNK]"))
    written.pre_tokenizer = pre_tokenizers.Whitespace()
    written.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    written.save(f"{tmp_path}/tokenizer.json")
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", 8, 5)
    assert tokenizer(["known unknown"]).ids == [[1, 3, 0, 2]] and tokenizer([]).ids == []
    with pytest.raises(EncoderError, match="ids go up to 99, but the encoder's word table has 5 rows"):
        tokenizer(["known", "far known"])


def test_cores_are_those_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("ours", "quotas", "cores"),
    [
        ("0::/", {"cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "max 100000"}, 64),
        ("0::/", {}, 64),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/a/b", {"a/b/cpu.max": "399999 100000"}, 3),
        ("0::/a/b", {"cpu.max": "max 100000", "a/cpu.max": "2000 1000", "a/b/cpu.max": "5000 1000"}, 2),
        ("0::/a/b", {"a/cpu.max": "5000 1000", "a/b/cpu.max": "2000 1000", "c/cpu.max": "1000 1000"}, 2),
        ("0::/seen/from/outside", {"cpu.max": "4000 1000"}, 4),
        ("4:memory:/a\n3:cpu,cpuacct:/b", {"cpu,cpuacct/b/cpu.cfs_quota_us": "2000",
        "cpu,cpuacct/b/cpu.cfs_period_us": "1000", "memory/a/cpu.max": "1 1", "cpu.max": "1 1"}, 2),
        ("3:cpuacct,cpu:/b/c", {"cpu/b/cpu.cfs_quota_us": "6000", "cpu/b/cpu.cfs_period_us": "1000",
        "cpu/b/c/cpu.cfs_quota_us": "-1", "cpu/b/c/cpu.cfs_period_us": "1000"}, 6),
        (None, {"cpu/cpu.cfs_quota_us": "2000", "cpu/cpu.cfs_period_us": "1000"}, 2),
        (None, {"cpu.max": "5000 1000"}, 5),
    ],
)  # fmt: skip
def test_cores_are_those_that_control_groups_allow(
    ours: str | None, quotas: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(session, "_OURS", tmp_path / "ours")
    monkeypatch.setattr(session, "_GROUPS", tmp_path / "groups")
    if ours is not None:
        (tmp_path / "ours").write_text(ours + "\n")
    for name, quota in quotas.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(quota + "\n")
    assert usable_cores() == cores


@pytest.mark.parametrize("name", ["{}/encoder", "~/encoder", " {}/encoder "])
def test_a_folder_whose_weights_have_changed_is_opened_anew(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    options = EngineOptions(name.format(tmp_path))
    write_encoder(tmp_path / "encoder")
    before = open_engine(options)
    assert open_engine(options) is before
    shutil.rmtree(tmp_path / "encoder")
    write_encoder(tmp_path / "encoder", more=1.0)
    after = open_engine(options)
    assert after.prepared.weights_sha256 != before.prepared.weights_sha256
    assert not np.array_equal(after.encode(["w1 w2"]).vectors, before.encode(["w1 w2"]).vectors)


@pytest.mark.parametrize(
    "note", ['{"pooling_mode": "max"}', '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}']
)
def test_the_encoders_own_pooling_is_refused_where_it_is_none_of_ours(tmp_path: Path, note: str) -> None:
    encoder, path = str(write_encoder(tmp_path)), tmp_path / "1_Pooling" / "config.json"
    path.parent.mkdir()
    path.write_text(note)
    with pytest.raises(
        UsageError, match=f"{path} asks for the pooling '(max|cls . mean)'.*take pooling='cls' or 'mean'"
    ):
        open_engine(EngineOptions(encoder))
    for pooling in ("cls", "mean"):
        assert open_engine(EngineOptions(encoder, pooling)).pooling == pooling


def test_a_folder_whose_note_on_pooling_has_changed_is_opened_anew(tmp_path: Path) -> None:
    options, note = EngineOptions(str(write_encoder(tmp_path))), tmp_path / "1_Pooling" / "config.json"
    assert open_engine(options).pooling == "cls"
    note.parent.mkdir()
    for mode in ("mean", "cls"):
        note.write_text(f'{{"pooling_mode": "{mode}"}}')
        assert open_engine(options).pooling == mode
