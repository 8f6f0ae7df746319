"""Tensors in float32 → the same in int8, a quarter of the size, for products in int8.

After session.py on the way of a sentence. Every number that enters a product gets a factor of its own, found once
on sentences of ours, that brings it into 8 bits; the weights it meets undo the factor (SmoothQuant: Xiao et
al. 2023, eq. 4). So nothing depends on what else is in a batch.
Weights keep 7 bits: processors without VNNI add two products of 8 × 8 bits in 16, which overflows with 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert.families import FloatArray
from firstbert.graph import POINTS


@dataclass(frozen=True)
class Range:
    """How large the numbers are at a product, on our sentences.

    Attributes:
        largest: (d_in,) the largest size of each number that enters.
        faintness: the mean over tokens of 1 / ‖y‖², with y the first product's result.
    """

    largest: FloatArray
    faintness: float


Ranges = Mapping[str, Range]

WEIGHT_LIMIT = 63
TABLE_LIMIT = 127
# Of the difficulty, what the weights take over: the best of 0.5 to 1 for each product, on MiniLM and MPNet.
SHARE = {"qkv": 0.8, "mix": 0.8, "up": 0.6, "down": 0.8}
LOWEST = 0.17  # no activation gives less than -0.17, so what enters `down` needs little room below zero
# A single step for all inputs saves a pass over them. It is taken where it adds no more than this to a result,
# relative to its size; what enters `mix` gets its steps from the product before, for nothing.
NOISE = {"qkv": 0.03, "up": 0.03, "down": 0.05}
ROOM = 1.1  # inputs may be so much larger than any seen before they are cut off

# Short and long, plain and odd, in several languages: only their numbers' sizes are looked at.
SENTENCES = (
    "A small, warm film that knows exactly what it wants to say.",
    "I waited forty minutes on the phone and nobody could tell me where my parcel is!",
    "Please cancel my subscription as of 31/12/2025 (customer no. 4711-0815).",
    "The acting is wooden, the plot makes no sense, and I still could not look away.",
    "How do I reset my password if I no longer have access to my e-mail address?",
    "Shares of the company fell 3.2% on Tuesday after it cut its forecast for the year.",
    "no", "Great!!! :-)", "WORST. PURCHASE. EVER.", "ok thx bye", "?", "C++ or Rust?",
    "It is neither as funny as it thinks it is nor half as deep as its ending would have us believe.",
    "The committee, having heard both sides, adjourned without a decision until the second week of May.",
    "She sells home-made jam, honey and candles at the market on Saturdays, whatever the weather.",
    "Der Zug nach Köln hatte wieder einmal eine Stunde Verspätung, und niemand wusste warum.",
    "La comida estaba fría, pero el camarero fue muy amable y nos invitó al postre.",
    "Le service était impeccable, même si l'attente nous a paru un peu longue.",
    "请问营业时间是几点？", "この映画は本当に素晴らしかった。", "Фильм показался мне слишком длинным.",
    "http://example.com/a?b=c&d=%20 returned 404 (Not Found) at 12:34:56.789Z",
    "a visually stunning rumination on love",
    "gas pump jack rod string kelly bushing annulus blowout preventer mud logger derrick",
    "Mitochondria produce most of the cell's supply of adenosine triphosphate by oxidative phosphorylation.",
    "The goalkeeper saved two penalties, yet the visitors won by a header in the last minute of extra time.",
    "x = [f(i) for i in range(10) if i % 2 == 0]  # only even ones",
    "Stir in the flour, fold in the egg whites, and bake at 180 degrees for twenty-five minutes until golden.",
    "Never before had so many people said so little about so much, and charged for it by the hour, as here. " * 6,
)  # fmt: skip
SETTINGS = (WEIGHT_LIMIT, SHARE, LOWEST, NOISE, ROOM, SENTENCES)  # whatever else decides the vectors of int8


def find_ranges(ids: Iterable[list[int]], run: Callable[[list[int]], Mapping[str, FloatArray]]) -> Ranges:
    """Return how large the numbers are at each product.

    Args:
        ids: token ids of some texts.
        run: gives a text's ranges, as `graph.build_ranges` names them.
    """
    found: dict[str, list[FloatArray]] = {}
    for row in ids:
        for name, values in run(row).items():
            found.setdefault(name, []).append(values)
    points = [name.removeprefix("largest_") for name in found if name.startswith("largest_")]
    return {
        point: Range(np.max(found[f"largest_{point}"], axis=0), float(np.mean(found[f"faintness_{point}"])))
        for point in points
    }


def quantize(tensors: Iterable[tuple[str, FloatArray]], ranges: Ranges) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield int8 products and word table, with their factors; everything else as it is.

    Args:
        tensors: what layout.py yields, layer after layer.
        ranges: of `find_ranges`.
    """
    parts = {part for met_there in POINTS.values() for part in met_there}
    weights: dict[str, FloatArray] = {}  # of one layer
    for name, array in tensors:
        layer, _, rest = name.partition(".")
        part, _, kind = rest.partition(".")
        if name == "words":
            yield from _table(array)
        elif part in parts and kind == "weight":
            weights[part] = array
            if len(weights) == len(parts):
                yield from ((f"{layer}.{made}", small) for made, small in _layer(weights, layer, ranges))
                weights = {}
        else:
            yield name, array


def _table(words: FloatArray) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """One factor a row."""
    scale = np.maximum(np.abs(words).max(axis=1, keepdims=True), 1e-12) / TABLE_LIMIT
    yield "words", np.round(words / scale).astype(np.int8)
    yield "words.scale", scale.astype(np.float32)


def _layer(weights: Mapping[str, FloatArray], layer: str, ranges: Ranges) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The products of a layer: one factor a column, after each row has taken over the factor of the number it meets."""
    met = {point: np.concatenate([weights[part] for part in parts], axis=1) for point, parts in POINTS.items()}
    steps = {}
    for point, weight in met.items():
        seen, first = ranges[f"{layer}.{point}"], weights[POINTS[point][0]]
        equal, middle = _steps(point, seen.largest, None)
        if _noise(equal, first, seen) <= NOISE.get(point, 0):
            steps[point] = equal
            yield f"{point}.step", equal[0]
        else:
            steps[point], middle = _steps(point, seen.largest, np.abs(weight).max(axis=1))
            if point != "mix":
                yield f"{point}.inverse", 1 / steps[point]
        yield f"{point}.middle", middle
    for point, parts in POINTS.items():
        for part in parts:
            # Attention mixes the values' columns as they are: they give the next product its numbers in 8 bits' steps.
            after = 1 / steps["mix"] if part == "value" else np.float32(1)
            yield from _product(part, weights[part] * steps[point][:, None] * after)


def _product(part: str, weight: FloatArray) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / WEIGHT_LIMIT  # (d_out,)
    yield f"{part}.weight", np.round(weight / scale).astype(np.int8)
    yield f"{part}.scale", scale.astype(np.float32)


def _noise(steps: FloatArray, weight: FloatArray, seen: Range) -> float:
    """How much rounding the inputs adds to a result, relative to its size (rounding to a step errs by step / √12)."""
    return float(np.sqrt(np.square(steps) / 12 @ np.square(weight).sum(axis=1) * seen.faintness))


def _steps(point: str, inputs: FloatArray, weights: FloatArray | None) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """Share the difficulty between inputs and weights.

    Args:
        point: where the product stands in its layer.
        inputs: (d_in,) the largest size of each number.
        weights: (d_in,) the largest size of the weights it meets; None: every number gets the same step.

    Returns:
        What one unit of each quantised number stands for, (d_in,), and which of 0 to 255 stands for zero.
    """
    equal = np.ones_like(inputs)
    if weights is not None:
        share = SHARE[point]
        equal = np.maximum(inputs, 1e-6 * inputs.max()) ** share
        equal /= np.maximum(weights, 1e-6 * weights.max() + 1e-30) ** (1 - share)  # all may be zero
    high = (inputs / equal).max()
    low = (np.minimum(inputs, LOWEST) / equal).max() if point == "down" else high
    steps = equal * ((low + high) * ROOM / 255)
    return steps.astype(np.float32), np.array(round(255 * low / (low + high)), np.uint8)
