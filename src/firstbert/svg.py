"""Places → the strokes that charts are drawn with: axes, lines, marks, lettering, as SVG text.

After markup.py on the way of a sentence. No colour is named here: each stroke carries a class, and page.css says what
that looks like, by light, in the dark and on paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from firstbert.markup import escape

COLOURS = 8  # told apart by those who don't see all colours, with a shape each; the last is grey
WIDTH = 480  # all charts alike, so that their lettering is of one size
LEFT, RIGHT, TOP = 58, 14, 40  # what ticks and titles take of a chart

Place: TypeAlias = tuple[float, float]
Anchor: TypeAlias = Literal["start", "middle", "end"]
# Shapes around a mark's place, in its radii: square, triangle, diamond, triangle upside down, bar lying, bar standing.
_OUTLINES: dict[int, list[Place]] = {
    1: [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    2: [(0, -1.2), (1.2, 1), (-1.2, 1)],
    3: [(0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)],
    4: [(0, 1.2), (1.2, -1), (-1.2, -1)],
    5: [(-1.5, -0.5), (1.5, -0.5), (1.5, 0.5), (-1.5, 0.5)],
    6: [(-0.5, -1.5), (0.5, -1.5), (0.5, 1.5), (-0.5, 1.5)],
}


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` → places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / ((high - low) or 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values to write at the axis, at most about `most`."""
        if not self.log:
            return round_values(self.low, self.high, most)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [float(d * 10**k) for k in decades for d in digits if self.low <= d * 10**k <= self.high]
            if len(found) <= most:
                break
        return found


def round_values(low: float, high: float, most: int = 6) -> list[float]:
    """Return the multiples of 1, 2, 2.5 or 5 times a power of ten that lie in a range, at most `most` of them."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    wider = (step * factor for factor in (1, 2, 2.5, 5, 10, 20))
    step = next(s for s in wider if math.floor(high / s + 1e-9) - math.ceil(low / s - 1e-9) < most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def marker(k: int, x: float, y: float, r: float = 4, kind: str = "") -> str:
    """Return the mark of the k-th label: a colour and a shape of its own, until they run out; `kind` adds a class."""
    k = min(k, COLOURS - 1)
    outline = _OUTLINES.get(k)
    if outline is None:
        return dot(x, y, r if k == 0 else 0.7 * r, f"s{k} {kind}".strip())
    return shape([(x + r * dx, y + r * dy) for dx, dy in outline], f"s{k} {kind}".strip())


def swatch(k: int) -> str:
    """Return a label's mark for a legend."""
    return f'<svg class="swatch" viewBox="0 0 14 14" aria-hidden="true">{marker(k, 7, 7, 4.5)}</svg>'


def svg(height: float, parts: Sequence[str], told: str, kind: str = "") -> str:
    """Return a chart of its strokes; `told` is read out to those who don't see it."""
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {WIDTH} {near(height)}" role="img" aria-label="{escape(told)}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def grid(
    x: Axis, y: Axis, at_x: Callable[[float], str], at_y: Callable[[float], str], ticks: Sequence[float] | None = None
) -> list[str]:
    """Return light lines across at round values, with the values written at both axes."""
    parts = []
    for tick in y.ticks():
        up = y.at(tick)
        parts += [line(LEFT, up, WIDTH - RIGHT, up, "grid"), text(LEFT - 8, up + 4, at_y(tick), "end")]
    parts.append(line(LEFT, y.start, WIDTH - RIGHT, y.start, "floor"))
    for tick in x.ticks() if ticks is None else ticks:
        at = x.at(tick)
        parts += [line(at, y.start, at, y.start + 5, "floor"), text(at, y.start + 21, at_x(tick), "middle")]
    return parts


def titles(up: str, along: str, foot: float) -> list[str]:
    """Return what both axes are of: the upright one's above it, the other's below, at `foot`."""
    return [text(0, 16, up, "start", "axis"), text(WIDTH - RIGHT, foot, along, "end", "axis")]


def percent_tick(value: float) -> str:
    """Return a share as an axis shows it."""
    return f"{round(100 * value, 1):g}\u00a0%"


def mark(x: float, y: float, drawn: str, told: str) -> str:
    """Return a stroke that tells its words when pointed at, tapped or reached by keyboard."""
    return f'<g class="mark" data-at="{near(x)} {near(y)}"><title>{escape(told)}</title>{drawn}</g>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line."""
    return f'<line x1="{near(x1)}" y1="{near(y1)}" x2="{near(x2)}" y2="{near(y2)}" class="{kind}"/>'


def path(places: Sequence[Place], kind: str) -> str:
    """Return a line through places."""
    return f'<polyline points="{_places(places)}" class="{kind}"/>'


def shape(places: Sequence[Place], kind: str) -> str:
    """Return a filled outline."""
    return f'<polygon points="{_places(places)}" class="{kind}"/>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Return a filled rectangle."""
    return f'<rect x="{near(x)}" y="{near(y)}" width="{near(width)}" height="{near(height)}" class="{kind}"/>'


def dot(x: float, y: float, r: float, kind: str) -> str:
    """Return a disc, or a ring."""
    return f'<circle cx="{near(x)}" cy="{near(y)}" r="{near(r)}" class="{kind}"/>'


def text(x: float, y: float, words: str, anchor: Anchor, kind: str = "tick") -> str:
    """Return lettering that starts, ends or is centred at a place."""
    return f'<text x="{near(x)}" y="{near(y)}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def near(value: float) -> str:
    """Return a place to a tenth of a unit: less isn't seen, and files stay small."""
    return f"{value + 0.0:.1f}".removesuffix(".0")


def _places(places: Sequence[Place]) -> str:
    return " ".join(f"{near(x)},{near(y)}" for x, y in places)
