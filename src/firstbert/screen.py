"""How the tutorial looks: headings, prose, tables, matrices, vectors.

Before narration.py, which says what is written with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from rich import box
from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from firstbert.batches import Batch
from firstbert.families import FloatArray

WIDTH = 96  # longer lines are hard to read
TOKENS = 9  # of a matrix, as many as fit on a narrow screen


class Screen:
    """A console on which headings, prose and tables keep a line's length and their distance.

    Args:
        say: where to.
    """

    def __init__(self, say: Console) -> None:
        self.say = say
        self._steps = 0
        self._below_table = False

    def step(self, title: str, *words: str) -> None:
        """Begin a step: its number, its title, a first paragraph."""
        self._steps += 1
        self._below_table = False
        self.gap()
        self.show(Rule(f"[bold cyan]{self._steps} · {title}[/]", align="left", style="cyan"))
        if words:
            self.tell(*words)

    def tell(self, *words: str) -> None:
        """Show a paragraph, written in rich's markup."""
        if self._below_table:
            self.gap()
        self._below_table = False
        self.show(Text.from_markup(" ".join(words)))

    def table(self, table: Table) -> None:
        """Show a table, set in."""
        self.show(Padding(table, (1, 0, 0, 2)))
        self._below_table = True

    def show(self, what: RenderableType) -> None:
        """Show anything."""
        self.say.print(Constrain(what, WIDTH), highlight=False)

    def gap(self) -> None:
        """Leave a line free."""
        self.say.print()


def plain_table(*titles: str) -> Table:
    """A plain table; a title that begins with ">" stands over a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    for title in titles:
        table.add_column(title.removeprefix(">"), justify="right" if title.startswith(">") else "left")
    return table


def id_matrix(batch: Batch) -> Table:
    """Ids and mask, padding dimmed; the tutorial's sentence first, each row at most `TOKENS` wide."""
    T = min(batch.ids.shape[1], TOKENS)
    more = ["…"] if batch.ids.shape[1] > T else []
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for title in ["ids", *[""] * (T - 1 + len(more)), "   mask"]:
        table.add_column(title, justify="right" if not title.strip() else "left")
    for i in np.argsort(batch.rows):
        n = int(batch.lengths[i])
        ids = [f"{value}" if t < n else f"[dim]{value}[/]" for t, value in enumerate(batch.ids[i, :T])]
        mask = ["1" if t < n else "[dim]0[/]" for t in range(T)]
        table.add_row(*ids, *more, "   " + " ".join(mask + more))
    return table


def some_numbers(values: FloatArray, shown: int) -> list[str]:
    """The first few numbers and the last."""
    return [*map(_number, values[:shown]), "…", _number(values[-1])]


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no −0.00


def about_pieces(words: Sequence[str]) -> str:
    """Say what the marks on pieces of words mean, where there are such pieces."""
    if any(word.startswith("##") for word in words):
        pieces = _first_pieces(words)
        whole = "".join(piece.removeprefix("##") for piece in pieces)
        return (
            f"[bold]##[/] goes on with the word before: '{escape(whole)}' is too rare for an id of its own, so it "
            f"is put together from [bold]{escape(' '.join(pieces))}[/]."
        )
    for mark in ("Ġ", "▁"):
        if any(word.startswith(mark) for word in words):
            return f"[bold]{mark}[/] stands for the space before a word; a token without it goes on with one."
    return ""


def _first_pieces(words: Sequence[str]) -> list[str]:
    """The first word that is spelled in pieces: rum ##ination."""
    start = next(i for i, word in enumerate(words) if word.startswith("##")) - 1
    stop = start + 1
    while stop < len(words) and words[stop].startswith("##"):
        stop += 1
    return list(words[start:stop])


def shortish(texts: Iterable[str], wanted: int = 33) -> Text:
    """The text whose length is nearest to what fits on a line."""
    text = printable(min(texts, key=lambda text: abs(len(text) - wanted)))
    return Text(text if len(text) <= wanted + 3 else text[: wanted + 2] + "…")


def printable(text: str) -> str:
    """The text on one line, without characters that would steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
