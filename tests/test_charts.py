from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from firstbert import charts, svg
from report_facts import GROWTH, curve, every_kind

RELIABILITY = every_kind()["topics"].evaluation["reliability"]  # type: ignore[index]
COVERAGE = every_kind()["topics"].evaluation["coverage"]  # type: ignore[index]
CURVE = curve(np.random.default_rng(0))
DRAWN = {
    "headline": charts.headline(0.815, [0.797, 0.832], 0.501),
    "headline near the baseline": charts.headline(0.99, None, 0.98),
    "headline below the baseline": charts.headline(0.01, [0, 0.04], 0.5),
    "reliability": charts.reliability(RELIABILITY),
    "coverage": charts.coverage(COVERAGE, {"threshold": 0.8, "coverage": 0.6, "error": 0.02, "max_error": 0.05}),
    "coverage without a mistake": charts.coverage([{"coverage": 1.0, "error": 0.0, "threshold": 0.9}]),
    "layers": charts.layer_curve(CURVE),
    "one layer": charts.layer_curve([c for c in CURVE if c["chosen"]]),
    "growth": charts.growth(GROWTH["points"], GROWTH["forecast"]),
    "growth from one point": charts.growth(GROWTH["points"][:1], []),
    "map": charts.scatter([charts.Dot(k % 7, k % 5, k, k % 3 == 0, f"</svg> & {k}") for k in range(35)], '"a" <map>'),
    "map of one": charts.scatter([charts.Dot(3, 3, 0, True, "alone")], "one"),
    "map of the same": charts.scatter([charts.Dot(3, 3, 0, True, "alike")] * 3, "three"),
}


def marks(drawn: str) -> list[tuple[float, float]]:
    found = [each.get("data-at", "").split() for each in ET.fromstring(drawn).iter("g")]
    return [(float(x), float(y)) for x, y in found]


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_whole_and_inside_its_frame(name: str) -> None:
    root = ET.fromstring(DRAWN[name])
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert root.get("role") == "img" and root.get("aria-label")
    assert all(0 <= x <= width and 0 <= y <= height for x, y in marks(DRAWN[name]))
    for each in root.iter():
        places = [each.get(k) for k in ("x", "x1", "x2", "cx", "y", "y1", "y2", "cy")]
        assert all(math.isfinite(float(place)) and -1 <= float(place) <= 520 for place in places if place is not None)


@pytest.mark.parametrize("name", DRAWN)
def test_every_mark_says_what_it_is(name: str) -> None:
    titles = [each.findtext("title") for each in ET.fromstring(DRAWN[name]).iter("g")]
    assert titles and all(titles)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.61, 0.87), (0.8123, 0.8125), (0, 0.011), (3, 3), (-7, 120), (1, 5e6)]
)
@pytest.mark.parametrize("most", [3, 6, 13])
def test_round_values(low: float, high: float, most: int) -> None:
    found = svg.round_values(low, high, most)
    assert 1 <= len(found) <= most
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    steps = np.diff(found)
    if len(steps):
        assert np.allclose(steps, steps[0])
        assert round(steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9), 6) in (1, 2, 2.5, 5)


def test_an_axis_runs_from_end_to_end() -> None:
    axis = svg.Axis(100, 10_000, 50, 450, log=True)
    assert [axis.at(v) for v in (100, 1000, 10_000)] == pytest.approx([50, 250, 450])
    assert axis.ticks(7) == [100, 200, 500, 1000, 2000, 5000, 10_000] and axis.ticks(6) == [
        100,
        300,
        1000,
        3000,
        10_000,
    ]
    assert svg.Axis(2, 2, 0, 9).at(2) == 0


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (17, 20), (300, 301), (50, 100)])
def test_whiskers_are_wilsons(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert charts.wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_what_comes_true_as_told_lies_on_the_diagonal() -> None:
    bins = [
        {"low": k / 5, "high": k / 5 + 0.2, "n": 9, "confidence": c, "accuracy": c} for k, c in [(1, 0.3), (4, 0.9)]
    ]
    bins.append({"low": 0.4, "high": 0.6, "n": 0, "confidence": None, "accuracy": None})
    (x1, y1), (x2, y2) = marks(charts.reliability(bins))
    ideal = next(each for each in ET.fromstring(charts.reliability(bins)).iter("line") if each.get("class") == "ideal")
    ends = [float(ideal.get(k, "")) for k in ("x1", "y1", "x2", "y2")]
    slope = (ends[3] - ends[1]) / (ends[2] - ends[0])
    assert (y1 - ends[1]) / (x1 - ends[0]) == pytest.approx(slope, rel=1e-2)
    assert (y2 - y1) / (x2 - x1) == pytest.approx(slope, rel=1e-2)


def test_a_higher_log_loss_stands_higher() -> None:
    reads = [r for r in CURVE if r["pooling"] == "mean" and "+" not in r["reads"]]
    places = marks(charts.layer_curve(reads))
    order = sorted(range(len(reads)), key=lambda i: reads[i]["log_loss"])
    heights = [places[i][1] for i in order]
    assert heights == sorted(heights, reverse=True)
    assert [x for x, _ in places] == sorted(x for x, _ in places)


def test_a_layer_far_worse_does_not_flatten_the_rest() -> None:
    reads = [r for r in CURVE if r["pooling"] == "mean" and "+" not in r["reads"]]
    reads[0] = reads[0] | {"log_loss": 9.0}
    heights = [y for _, y in marks(charts.layer_curve(reads))]
    assert heights[0] == min(heights) >= svg.TOP
    assert max(heights) - sorted(heights)[6] > 40  # of 220 units, between the best and the middle one


def test_only_the_chosen_layer_is_ringed_and_those_worse_are_hollow() -> None:
    drawn = {g.findtext("title"): [c.get("class") for c in g] for g in ET.fromstring(DRAWN["layers"]).iter("g")}
    ringed = [told for told, classes in drawn.items() if "ring" in classes]
    assert len(ringed) == 1 and (ringed[0] or "").startswith("Layer 9 mean: log-loss 0.34")
    solid = [told for told, classes in drawn.items() if not any("hollow" in str(kind) for kind in classes)]
    assert [str(told).partition(":")[0] for told in solid] == ["Layer 9 mean", "Layer 10 mean"]


def test_a_few_rows_at_the_start_do_not_stretch_the_axis() -> None:
    points: list[dict[str, Any]] = [
        {"coverage": 0.001, "error": 1.0},
        {"coverage": 0.5, "error": 0.02},
        {"coverage": 1.0, "error": 0.04},
    ]
    (_, first), (_, middle), (_, last) = marks(charts.coverage(points))
    assert first < last < middle
    assert middle - last > 60  # of 228 units: two points of error, on an axis that ends near five


def test_the_map_stretches_both_ways_alike() -> None:
    dots = [charts.Dot(x, y, 0, False, "t") for x, y in [(0, 0), (10, 0), (0, 5)]]
    (x0, y0), (x1, y1), (x2, y2) = marks(charts.scatter(dots, "t"))
    assert x1 - x0 == pytest.approx(2 * (y0 - y2), abs=0.2) and y0 == y1 and x0 == x2


def test_labels_differ_in_shape_and_colour() -> None:
    drawn = [svg.marker(k, 5, 5) for k in range(12)]
    assert len(set(drawn[: svg.COLOURS])) == svg.COLOURS
    assert len(set(drawn[svg.COLOURS - 1 :])) == 1


def test_long_lines_are_thinned_with_both_ends() -> None:
    points = [{"coverage": k / 5000, "error": 0.1} for k in range(1, 5001)]
    kept = charts.thinned(points)
    assert len(kept) == 240 and kept[0] is points[0] and kept[-1] is points[-1]
