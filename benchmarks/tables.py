"""What all pages of figures share: tables, goals, numbers as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks.marks import Parts

Cell = str | float | int | None
Goal = tuple[str, str, float, float, Callable[[float], str]]


def named(parts: Parts, section: str) -> Iterable[tuple[str, Parts]]:
    """Return what stands after the section's name, and the part."""
    start = section + ", "
    return [(name.removeprefix(start), part) for name, part in parts.items() if name.startswith(start)]


# ---------------------------------------------------------------- tables


def table(head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    """Return a Markdown table; the first column to the left, the others to the right."""
    head = list(head)
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value


def block(title: str, text: str, head: list[str], rows: list[list[Cell]]) -> list[str]:
    """Return a titled table, nothing for no rows."""
    return [f"### {title}\n\n{text}\n\n{table(head, rows)}"] if rows else []


def goals_table(goals: Sequence[Goal]) -> str:
    """Return what was aimed at and what was measured, nothing for no goals."""
    if not goals:
        return ""
    rows = [[what, f"{sign} {shown(goal)}", shown(value), "yes" if met(sign, goal, value) else "**no**"]
            for what, sign, goal, value, shown in goals]  # fmt: skip
    return "### Goals\n\n" + table(["", "goal", "measured", "reached"], rows)


def met(sign: str, goal: float, value: float) -> bool:
    """Return whether a value is on the right side of its goal."""
    return {"≥": value >= goal, "≤": value <= goal, ">": value > goal}[sign]


# ---------------------------------------------------------------- numbers as text


def percent(value: float | None) -> str:
    """Return 0.8235 as 82.35."""
    return "–" if value is None else f"{100 * value:.2f}"


def mb(n: float) -> str:
    """Return bytes in millions."""
    return f"{n / 1e6:,.0f}"


def ratio(value: float) -> str:
    """Return a number near one."""
    return f"{value:.2f}"
