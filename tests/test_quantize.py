from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from conftest import TEXTS, Outcome
from firstbert import SentenceClassifier, SentenceEncoder, load
from firstbert.catalog import encoder_files
from firstbert.graph import Read
from firstbert.prepared import prepare
from firstbert.quantize import NOISE, ROOM, WEIGHT_LIMIT, Range, find_ranges, quantize
from firstbert.session import onnx_runtime, session_options

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


def test_onnx_runtime_adds_no_operators(tmp_path: Path) -> None:
    options, run = session_options(1), tmp_path / "run.onnx"
    options.optimized_model_filepath = str(run)
    graph = prepare(encoder_files("minilm"), "int8").graph([Read(6, "mean")])
    onnx_runtime().InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    asked, is_run = (
        Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node) for path in (graph, run)
    )
    assert not is_run - asked


def test_the_file_shrinks() -> None:
    sizes = [
        (prepare(encoder_files("minilm"), precision).folder / "weights.bin").stat().st_size
        for precision in ("fp32", "int8")
    ]
    assert sizes[1] < 0.3 * sizes[0]


Floats = dict[str, npt.NDArray[np.float32]]
D, F = 48, 96
SHAPES = {"query": (D, D), "key": (D, D), "value": (D, D), "mix": (D, D), "up": (D, F), "down": (F, D)}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def weights(rng: np.random.Generator) -> Floats:
    return {part: rng.normal(size=shape).astype(np.float32) for part, shape in SHAPES.items()}


@pytest.fixture
def ranges(rng: np.random.Generator) -> Floats:
    widths = {"qkv": D, "mix": D, "up": D, "down": F}
    return {f"0.{point}": rng.exponential(size=width).astype(np.float32) for point, width in widths.items()}


def made(weights: Floats, ranges: Floats, faintness: float = 1e9) -> dict[str, npt.NDArray[Any]]:
    """With results so faint that one step for all inputs would drown them, unless told otherwise."""
    tensors = [(f"0.{part}.weight", weight) for part, weight in weights.items()]
    seen = {name: Range(largest, faintness) for name, largest in ranges.items()}
    return {name.removeprefix("0."): array for name, array in quantize(tensors, seen)}


@pytest.mark.parametrize("faintness", [0, 1e9])
@pytest.mark.parametrize("part", ["query", "key", "up"])
def test_products_equal_those_in_floats_up_to_rounding(
    part: str, faintness: float, weights: Floats, ranges: Floats, rng: np.random.Generator
) -> None:
    point = "up" if part == "up" else "qkv"
    small_weights = made(weights, ranges, faintness)
    x = (rng.uniform(-1, 1, size=(50, D)) * ranges[f"0.{point}"]).astype(np.float32)
    inverse, step = (small_weights.get(f"{point}.{name}") for name in ("inverse", "step"))
    assert (inverse is None) == (faintness == 0) != (step is None)
    small = np.round(x / step if inverse is None else x * inverse)
    stored = small + small_weights[f"{point}.middle"]
    assert stored.min() >= 0 and stored.max() <= 255
    assert np.abs(small_weights[f"{part}.weight"]).max() <= WEIGHT_LIMIT
    product = (small @ small_weights[f"{part}.weight"].astype(np.float32)) * small_weights[f"{part}.scale"]
    exact = x @ weights[part]
    assert np.abs(product - exact).mean() < 0.03 * np.abs(exact).mean()


def test_values_come_in_the_next_products_steps(weights: Floats, ranges: Floats, rng: np.random.Generator) -> None:
    x = (rng.uniform(-1, 1, size=(50, D)) * ranges["0.qkv"]).astype(np.float32)
    ranges["0.mix"] = np.abs(x @ weights["value"]).max(axis=0)
    small_weights = made(weights, ranges)
    assert "mix.inverse" not in small_weights
    small = np.round(x * small_weights["qkv.inverse"])
    value = (small @ small_weights["value.weight"].astype(np.float32)) * small_weights["value.scale"]
    mixed = (value @ small_weights["mix.weight"].astype(np.float32)) * small_weights["mix.scale"]
    exact = x @ weights["value"] @ weights["mix"]
    assert np.abs(mixed - exact).mean() < 0.05 * np.abs(exact).mean()


def test_what_follows_an_activation_needs_little_room_below_zero(weights: Floats, ranges: Floats) -> None:
    ranges["0.down"] = np.linspace(0.17, 9, F, dtype=np.float32)
    small_weights = made(weights, ranges)
    inverse, middle = small_weights["down.inverse"], float(small_weights["down.middle"])
    assert middle < 100
    assert (-0.17 * inverse).min() >= -middle and (ranges["0.down"] * inverse).max() <= 255 - middle


def test_sums_of_two_products_fit_in_16_bits() -> None:
    """The pair sum of unsigned inputs and weights that processors without VNNI form."""
    assert 2 * 255 * WEIGHT_LIMIT <= 2**15 - 1


def test_query_key_and_value_share_their_input(weights: Floats, ranges: Floats) -> None:
    small_weights = made(weights, ranges)
    assert small_weights["qkv.inverse"].shape == (D,)
    assert {"query.inverse", "key.inverse", "value.inverse"}.isdisjoint(small_weights)


@pytest.mark.parametrize("faintness", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
def test_a_single_step_is_taken_where_its_rounding_is_lost_in_the_result(
    faintness: float, weights: Floats, ranges: Floats, rng: np.random.Generator
) -> None:
    """The noise that decides is what rounding really adds: here, to results of size 1 / √faintness."""
    largest = ranges["0.up"]
    step = largest.max() * 2 * ROOM / 255
    x = (rng.uniform(-1, 1, size=(500, D)) * largest).astype(np.float32)
    added = (np.round(x / step) * step - x) @ weights["up"]
    noise = np.sqrt(np.square(added).sum(axis=1).mean() * faintness)
    taken = "up.step" in made(weights, ranges, faintness)
    assert taken == (noise <= NOISE["up"])


def test_ranges_are_the_largest_seen_and_the_mean_faintness() -> None:
    def run(ids: list[int]) -> Floats:
        largest = np.array([ids[0], 5 - ids[0]], np.float32)
        return {"largest_0.up": largest, "faintness_0.up": np.array([ids[0]], np.float32)}

    found = find_ranges([[1], [2]], run)
    assert found["0.up"].largest.tolist() == [2, 4] and found["0.up"].faintness == 1.5


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
    unclear = cli(*command, "--max-int8-loss", "nan")
    assert unclear.code == 2 and "'max_int8_loss' option must be a finite number" in unclear.err
