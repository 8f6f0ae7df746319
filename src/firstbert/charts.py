"""Numbers → charts, as SVG text.

After svg.py on the way of a sentence. Pure: the same numbers give the same characters. Each mark carries its words in a
`<title>`, which browsers show on hover; page.js shows them on tap and by keyboard too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from firstbert.facts import Fact
from firstbert.markup import share
from firstbert.svg import (
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Anchor,
    Axis,
    Place,
    box,
    dot,
    grid,
    line,
    mark,
    marker,
    path,
    percent_tick,
    shape,
    svg,
    text,
    titles,
)

SEVERAL = "several layers"
_FLOOR, _FOOT, _TALL = 268, 312, 320  # of a chart's plot, of the words under it, and its height
_MOST_DRAWN = 240  # points of a line; more lie closer than a pixel
_EDGE = 14  # around the map
_Z = 1.959964  # normal deviate of a 95 % interval


def headline(value: float, bounds: Sequence[float] | None, baseline: float | None) -> str:
    """Return accuracy with its interval on a line from 0 to 100 %, and the baseline it has to beat.

    Args:
        value: accuracy, in [0, 1].
        bounds: the ends of its interval, if known.
        baseline: accuracy of always giving the same answer, if known.
    """
    axis, y = Axis(0, 1, 30, 424), 34
    at = axis.at(value)
    parts = [line(30, y, 424, y, "track"), text(22, y + 5, "0", "end"), text(432, y + 5, "100\u00a0%", "start")]
    told = f"{share(value)} right"
    if baseline is not None:
        foot = axis.at(baseline)
        parts += [line(foot, y, at, y, "gain")] if value > baseline else []
        drawn = line(foot, y - 8, foot, y + 8, "rule")
        drawn += text(foot, y + 28, f"always the same answer, {share(baseline)}", _anchor(foot))
        parts.append(mark(foot, y, drawn, f"Always the most frequent label: {share(baseline)}"))
        told += f"; always the same answer: {share(baseline)}"
    if bounds is not None:
        parts.append(line(axis.at(bounds[0]), y, axis.at(bounds[1]), y, "span"))
    drawn = dot(at, y, 7, "s0") + text(at, y - 15, f"this model, {share(value)}", _anchor(at), "strong")
    parts.append(mark(at, y, drawn, f"This model: {share(value)} right"))
    return svg(70, parts, f"Accuracy on a line from 0 to 100 %: {told}.", "headline")


def _anchor(at: float) -> Anchor:
    return "start" if at < 150 else "end" if at > WIDTH - 150 else "middle"


def reliability(bins: Sequence[Fact]) -> str:
    """Return how often answers are right against how sure they were, and how many rows that rests on.

    Args:
        bins: low, high, n, confidence, accuracy; those without rows aren't drawn.

    Whiskers are 95 % intervals of Wilson (1927).
    """
    used = [b for b in bins if b["n"]]
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, 400, TOP)
    most = max((b["n"] for b in used), default=1)
    parts = [
        *grid(x, y, percent_tick, percent_tick),
        line(x.at(0), y.at(0), x.at(1), y.at(1), "ideal"),
        text(LEFT - 8, 506, "rows", "end"),
    ]
    for b in used:
        at, up, heap = x.at(b["confidence"]), y.at(b["accuracy"]), max(1, 40 * b["n"] / most)
        low, high = wilson(b["accuracy"], b["n"])
        width = max(2.0, x.at(b["high"]) - x.at(b["low"]) - 2)
        told = f"{share(b['confidence'])} sure on average: {share(b['accuracy'])} of {b['n']:,} right"
        parts.append(box(x.at(b["low"]) + 1, 508 - heap, width, heap, "heap"))
        drawn = line(at, y.at(low), at, y.at(high), "whisker s0") + dot(at, up, 3 + 4 * math.sqrt(b["n"] / most), "s0")
        parts.append(mark(at, up, drawn, told))
    parts += [
        text(x.at(0.03), y.at(0.93), "right more often than it says", "start"),
        text(x.at(0.98), y.at(0.05), "right less often than it says", "end"),
    ]
    parts += [*titles("answers that are right", "how sure it was", 444), line(LEFT, 508, WIDTH - RIGHT, 508, "floor")]
    return svg(514, parts, f"How often answers are right against how sure they were, in {len(used)} groups of rows.")


def coverage(points: Sequence[Fact], chosen: Fact | None = None) -> str:
    """Return the share of wrong answers among the rows answered, against how many are answered.

    Args:
        points: coverage, error; the most confident rows first.
        chosen: the threshold in force: threshold, coverage, error, and max_error where one was asked for.
    """
    asked = chosen.get("max_error") if chosen else None
    # The first few rows are right or wrong as a whole: they would stretch the axis to 100 %.
    steady = [p["error"] for p in points if p["coverage"] >= 0.02]
    top = 1.1 * max([0.01, *steady, *([1.3 * asked] if asked else [])])
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, top, _FLOOR, TOP)
    drawn = thinned(points)
    run = [(x.at(p["coverage"]), y.at(min(p["error"], top))) for p in drawn]
    parts = [*grid(x, y, percent_tick, percent_tick)]
    if run:
        parts += [shape([(run[0][0], y.at(0)), *run, (run[-1][0], y.at(0))], "wash"), path(run, "stroke s0")]
    if asked:
        parts += [line(x.at(0), y.at(asked), x.at(1), y.at(asked), "limit")]
        parts += [text(x.at(0) + 6, y.at(asked) - 7, f"asked for: at most {share(asked)}", "start")]
    parts += [
        mark(at, up, "", f"Answering {share(p['coverage'])} of the rows: {share(p['error'])} of those wrong")
        for (at, up), p in list(zip(run, drawn, strict=True))[:: max(1, len(run) // 40)]
    ]
    if chosen:
        parts += _threshold(chosen, x.at(chosen["coverage"]), y.at(min(chosen["error"], top)), y.at(0))
    parts += titles("wrong among those answered", "rows answered", _FOOT)
    return svg(_TALL, parts, "Share of wrong answers among those given, against the share of rows answered.")


def _threshold(chosen: Fact, at: float, up: float, floor: float) -> list[str]:
    told = f"Answers {share(chosen['threshold'])} sure or more: {share(chosen['coverage'])} of the rows, "
    told += f"{share(chosen['error'])} of those wrong"
    side: Anchor = "end" if at > WIDTH / 2 else "start"
    words = text(at - 11 if side == "end" else at + 11, up - 9, "its threshold", side, "strong")
    return [line(at, floor, at, up, "drop"), mark(at, up, dot(at, up, 6, "s1") + words, told)]


def layer_curve(reads: Sequence[Fact]) -> str:
    """Return cross-validated log-loss for each layer and pooling: the level ones solid, the chosen one ringed.

    Args:
        reads: reads, layer, pooling, log_loss, accuracy, level, chosen. Several layers side by side (``+`` in reads)
            stand apart.
    """
    layers = range(min(r["layer"] for r in reads), max(r["layer"] for r in reads) + 1)
    losses = [r["log_loss"] for r in reads]
    least, most = min(losses), highest(losses)
    x = Axis(layers[0] - 0.5, layers[-1] + 0.5, LEFT, WIDTH - RIGHT)
    y = Axis(least - 0.15 * (most - least), most, _FLOOR, TOP + 8)  # below the least there is room for a word
    written = [float(k) for k in layers[:: math.ceil(len(layers) / 13)]]
    parts = grid(x, y, lambda v: f"{v:.0f}", lambda v: f"{v:g}", written)
    for k, curve in enumerate(poolings(reads)):
        run = sorted((r for r in reads if kind_of(r) == curve), key=lambda r: (r["layer"], r["reads"]))
        if curve != SEVERAL:
            parts.append(path([(x.at(r["layer"]), y.at(min(r["log_loss"], y.high))) for r in run], f"stroke s{k}"))
        parts += [_read(r, x.at(r["layer"]), y.at(min(r["log_loss"], y.high)), k) for r in run]
    parts += titles("log-loss in cross-validation: lower is better", "layer read", _FOOT)
    return svg(_TALL, parts, "Cross-validated log-loss for each layer of the encoder; lower is better.")


def highest(losses: Sequence[float]) -> float:
    """Return where the axis ends: what is far worse than most would flatten all that is worth comparing."""
    least, middle, most = min(losses), sorted(losses)[len(losses) // 2], max(losses)
    return min(most, least + 4 * (middle - least)) if middle > least else most


def kind_of(read: Fact) -> str:
    """Return which curve a way of reading belongs to."""
    return SEVERAL if "+" in read["reads"] else str(read["pooling"])


def poolings(reads: Iterable[Fact]) -> list[str]:
    """Return the curves there are, in a fixed order."""
    return sorted({kind_of(r) for r in reads}, key=lambda kind: (kind == SEVERAL, kind))


def _read(read: Fact, at: float, up: float, k: int) -> str:
    drawn = marker(k, at, up, 4, "" if read["level"] or read["chosen"] else "hollow")
    if read["chosen"]:
        drawn += dot(at, up, 9, "ring") + text(at, up + 24, "chosen", "end" if at > WIDTH - 60 else "middle", "strong")
    told = f"Layer {read['reads']}: log-loss {read['log_loss']:.3f}, {share(read['accuracy'])} right"
    return mark(at, up, drawn, told)


def growth(points: Sequence[Fact], forecast: Sequence[Fact]) -> str:
    """Return accuracy against rows trained on, and where the curve is likely to go.

    Args:
        points: rows, accuracy, se.
        forecast: rows, accuracy, low, high.
    """
    rows = [p["rows"] for p in (*points, *forecast)]
    ends = [p["accuracy"] + sign * p["se"] for p in points for sign in (-1, 1)]
    ends += [p[name] for p in forecast for name in ("low", "high")]
    x = Axis(min(rows), max(rows), LEFT + 10, WIDTH - RIGHT - 16, log=max(rows) > 5 * min(rows) > 0)
    y = Axis(min(ends), max(ends), _FLOOR - 8, TOP + 6)

    def places(of: Sequence[Fact], name: str) -> list[Place]:
        return [(x.at(p["rows"]), y.at(p[name])) for p in of]

    parts = [*grid(x, y, _rows_tick, percent_tick)]
    if forecast:
        parts += [shape([*places(forecast, "high"), *reversed(places(forecast, "low"))], "band")]
        parts += [path(places([*points[-1:], *forecast], "accuracy"), "stroke s1 dashed")]
    parts.append(path(places(points, "accuracy"), "stroke s0"))
    for p in points:
        at, up, low, high = x.at(p["rows"]), *(y.at(p["accuracy"] + sign * p["se"]) for sign in (0, -1, 1))
        told = f"{p['rows']:,} rows: {share(p['accuracy'])} ± {100 * p['se']:.1f}"
        parts.append(mark(at, up, line(at, low, at, high, "whisker s0") + marker(0, at, up), told))
    for p, (at, up) in zip(forecast, places(forecast, "accuracy"), strict=True):
        told = f"Forecast for {p['rows']:,} rows: {share(p['accuracy'])}, {share(p['low'])} to {share(p['high'])}"
        parts.append(mark(at, up, "", told))
    parts += titles("answered rightly", "rows trained on", _FOOT)
    return svg(_TALL, parts, "Accuracy against the number of rows trained on, with a forecast.")


def _rows_tick(value: float) -> str:
    return f"{value:,.0f}"


@dataclass(frozen=True)
class Dot:
    """A sentence on the map: where, the number of its label's colour, whether it is ringed, and its words."""

    x: float
    y: float
    colour: int
    wrong: bool
    told: str


def scatter(dots: Sequence[Dot], told: str) -> str:
    """Return the map; both directions are stretched alike, so that distances can be compared.

    Args:
        dots: at least one.
        told: what it shows, for those who don't see it.
    """
    xs, ys = [d.x for d in dots], [d.y for d in dots]
    wide, high = max(xs) - min(xs), max(ys) - min(ys)
    scale = (WIDTH - 2 * _EDGE) / (max(wide, high) or 1)
    tall = max(160.0, 2 * _EDGE + scale * high)
    left, foot = (WIDTH - scale * wide) / 2, (tall + scale * high) / 2
    parts = []
    for d in dots:
        at, up = left + scale * (d.x - min(xs)), foot - scale * (d.y - min(ys))
        drawn = marker(d.colour, at, up, 3.2) + (dot(at, up, 6, "ring") if d.wrong else "")
        parts.append(mark(at, up, drawn, d.told))
    return svg(tall, parts, told, "map")


def wilson(rate: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share seen in `n` rows.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    centre, shrink = rate + _Z**2 / (2 * n), 1 + _Z**2 / n
    spread = _Z * math.sqrt(max(0.0, rate * (1 - rate)) / n + _Z**2 / (4 * n * n))
    return (centre - spread) / shrink, (centre + spread) / shrink


def thinned(points: Sequence[Fact], most: int = _MOST_DRAWN) -> list[Fact]:
    """Return at most `most` points, evenly along the way, both ends kept."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
