from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import TEXTS, Outcome
from firstbert import SentenceClassifier, SentenceEncoder, load
from firstbert.prepared import prepare
from firstbert.quantize import WEIGHT_LIMIT, find_ranges, quantize

ODD = ["?", "word " * 400, "请问营业时间是几点？", "a b c d e f g " * 10]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("layer", [1, 4, "last"])
def test_vectors_are_near_those_of_fp32(pooling: str, layer: int | str) -> None:
    exact, small = (
        SentenceEncoder("minilm", pooling=pooling, layer=layer, precision=p).encode(TEXTS).vectors[:, 0]
        for p in ("fp32", "int8")
    )
    off = np.linalg.norm(exact - small, axis=1) / np.linalg.norm(exact, axis=1)
    assert 0 < off.max() < 0.25


def test_a_vector_does_not_depend_on_its_batch_in_int8_either() -> None:
    texts = [*TEXTS, *ODD]
    encoder = SentenceEncoder("minilm", precision="int8")
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    assert np.array_equal(alone, encoder.encode(texts).vectors)
    assert np.array_equal(alone, SentenceEncoder("minilm", precision="int8", batch_tokens=64).encode(texts).vectors)


def test_the_file_shrinks() -> None:
    from firstbert.catalog import encoder_files

    sizes = [
        (prepare(encoder_files("minilm"), precision).folder / "weights.bin").stat().st_size
        for precision in ("fp32", "int8")
    ]
    assert sizes[1] < 0.3 * sizes[0]


def test_products_equal_those_in_floats_up_to_rounding() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(50, 64)) * rng.exponential(size=64)).astype(np.float32)
    weight = rng.normal(size=(64, 48)).astype(np.float32)
    made = dict(quantize([("0.mix.weight", weight)], {"0.mix": np.abs(x).max(axis=0)}))
    small = np.round(x * made["0.mix.inverse"])
    assert made["0.mix.middle"] == 128 and np.abs(small).max() <= 127
    assert np.abs(made["0.mix.weight"]).max() <= WEIGHT_LIMIT
    product = (small @ made["0.mix.weight"].astype(np.float32)) * made["0.mix.scale"]
    assert np.abs(product - x @ weight).mean() < 0.03 * np.abs(x @ weight).mean()


def test_what_follows_an_activation_needs_little_room_below_zero() -> None:
    weight = np.ones((4, 3), np.float32)
    made = dict(quantize([("0.down.weight", weight)], {"0.down": np.array([9, 2, 0.1, 0.17], np.float32)}))
    assert made["0.down.middle"] < 100
    lowest, highest = -0.17 * made["0.down.inverse"][[0, 1, 3]], 9 * made["0.down.inverse"][0]
    assert lowest.min() >= -float(made["0.down.middle"]) and highest <= 255 - float(made["0.down.middle"])


def test_sums_of_two_products_fit_in_16_bits() -> None:
    """The pair sum of unsigned inputs and weights that processors without VNNI form."""
    assert 2 * 255 * WEIGHT_LIMIT <= 2**15 - 1


def test_query_key_and_value_share_their_input() -> None:
    weight = np.arange(12, dtype=np.float32).reshape(2, 6) + 1
    tensors = [("0.qkv.weight", weight), ("0.qkv.bias", np.arange(6, dtype=np.float32))]
    made = dict(quantize(tensors, {"0.qkv": np.ones(2, np.float32)}))
    assert made["0.value.bias"].tolist() == [4, 5] and made["0.qkv.inverse"].shape == (2,)
    assert {"0.query.weight", "0.key.weight", "0.value.weight"} <= set(made)


def test_ranges_are_the_largest_seen() -> None:
    found = find_ranges([[1], [2]], lambda ids: {"ranges_0.up": np.array([ids[0], 5 - ids[0]], np.float32)})
    assert found["0.up"].tolist() == [2, 4]


def test_trained_saved_and_loaded_in_int8(tmp_path: Path) -> None:
    classifier = SentenceClassifier("minilm", precision="int8").fit(TEXTS, ["good", "bad"] * 6)
    loaded = load(classifier.save(tmp_path / "m"))
    assert loaded.precision == "int8"
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_training_tells_what_int8_costs_and_refuses_too_much(tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    rows = tmp_path / "rows.tsv"
    rows.write_text("".join(f"{text}\t{label}\n" for text, label in zip(TEXTS, ["good", "bad"] * 6, strict=True)))
    command = ("train", rows, "-o", tmp_path / "m", "--test-size", "0", "--precision", "int8")
    done = cli(*command)
    assert done.code == 0 and "int8 brings the cross-validated accuracy on 12 rows from" in done.err
    refused = cli("train", rows, "-o", tmp_path / "n", *command[4:], "--max-int8-loss=-101")
    assert refused.code == 2 and "at most -101 points may be lost" in refused.err
    assert not (tmp_path / "n").exists()
