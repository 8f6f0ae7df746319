"""Values → pieces of HTML: everything a user wrote escaped, every figure marked with its exact value.

After facts.py on the way of a sentence.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

_SHOWN = 320  # characters of a sentence before it is folded
# Lone halves of surrogate pairs can't be written as UTF-8; control characters mean nothing in HTML.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def escape(value: object) -> str:
    """Return a value as text that is safe between tags and in quoted attributes."""
    return html.escape(_UNFIT.sub("\ufffd", str(value)), quote=True)


def own(value: object) -> str:
    """Return what a user wrote, on its own: text from right to left doesn't turn what stands around it."""
    return f"<bdi>{escape(value)}</bdi>"


def answer(value: object) -> str:
    """Return a label, or the labels of a text that carries any number."""
    if isinstance(value, list | tuple):
        return ", ".join(map(own, value)) or '<span class="quiet">no label</span>'
    return own(str(value).lower() if isinstance(value, bool) else value)


def sentence(text: str) -> str:
    """Return a user's sentence; the rest of a long one is folded away."""
    if len(text) <= _SHOWN:
        return f'<p class="said" dir="auto">{escape(text)}</p>'
    head, rest = cut(text, _SHOWN), f"All {len(text):,} characters"
    return (
        f'<p class="said" dir="auto">{escape(head)}</p><details class="rest"><summary>{rest}</summary>'
        f'<p class="said" dir="auto">{escape(text)}</p></details>'
    )


def cut(text: str, length: int) -> str:
    """Return a text's beginning of at most `length` characters, an ellipsis where something follows."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def pointer(*path: object) -> str:
    """Return the place of a value among the facts, as JSON Pointer (RFC 6901) without the leading slash."""
    return "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in path)


def figure(place: str, value: float, shown: str) -> str:
    """Return a number as it is shown, marked with where it comes from and what it is exactly."""
    return f'<span class="n" data-figure="{escape(place)}" data-value="{value!r}">{shown}</span>'


def percent(place: str, value: float) -> str:
    """Return a share in percent with one decimal."""
    return figure(place, value, share(value))


def share(value: float) -> str:
    """Return a share as plain text."""
    return f"{100 * value:.1f}\u00a0%"


def decimal(place: str, value: float) -> str:
    """Return a number with three decimals."""
    return figure(place, value, f"{value:.3f}")


def count(place: str, value: int) -> str:
    """Return a whole number, thousands apart."""
    return figure(place, value, f"{value:,}")


def interval(place: str, bounds: Sequence[float] | None, shown: Callable[[str, float], str] = percent) -> str:
    """Return both ends of an interval; nothing where it is unknown."""
    if bounds is None:
        return ""
    low, high = (shown(f"{place}/{i}", bound) for i, bound in enumerate(bounds))
    return f'<span class="interval">{low} to {high}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "", caption: str = "") -> str:
    """Return a table of ready cells; the first of each row heads it.

    Args:
        head: the columns' names; a name that begins with ``#`` stands over numbers.
        rows: cells, already escaped.
        kind: its class. Rows of ``cases`` and ``labels`` become blocks on a narrow screen, each cell with its
            column's name.
        caption: what it holds, for those who don't see what stands around it.
    """
    columns = [_Column(name.removeprefix("#"), name.startswith("#"), kind in ("cases", "labels")) for name in head]
    top = "".join(f'<th scope="col"{column.kind}>{column.name}</th>' for column in columns)
    body = "".join(_row(columns, row) for row in rows)
    told = f'<caption class="unseen">{caption}</caption>' if caption else ""
    return f'<table class="{kind}">{told}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}</tbody></table>'


@dataclass(frozen=True)
class _Column:
    name: str
    numeric: bool
    named: bool

    @property
    def kind(self) -> str:
        return ' class="num"' if self.numeric else ""

    def cell(self, content: str) -> str:
        name = f' data-name="{escape(self.name)}"' if self.named else ""
        return f"<td{self.kind}{name}>{content}</td>"


def _row(columns: Sequence[_Column], cells: Sequence[str]) -> str:
    first, *others = zip(columns, cells, strict=True)
    rest = "".join(column.cell(cell) for column, cell in others)
    return f'<tr><th scope="row"{first[0].kind}>{first[1]}</th>{rest}</tr>\n'


def folded(summary: str, content: str) -> str:
    """Return what opens on demand: the table behind a chart."""
    return f'<details class="behind"><summary>{summary}</summary>\n{scroller(summary, content)}</details>'


def scroller(label: str, content: str) -> str:
    """Return what moves within its own frame where it is wider than the screen, by keyboard too."""
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{label}">{content}</div>'


def drawing(svg: str, caption: str, *, legend: str = "", behind: str = "") -> str:
    """Return a chart with its legend, what to see in it, and its numbers as a table."""
    return f"<figure>{legend}{svg}<figcaption>{caption}</figcaption></figure>\n{behind}"


def items(lines: Iterable[str], kind: str = "") -> str:
    """Return a list of ready lines."""
    return f'<ul class="{kind}">' + "".join(f"<li>{line}</li>\n" for line in lines) + "</ul>"


def pairs(values: Iterable[tuple[str, str]], kind: str = "") -> str:
    """Return names with their values, all ready."""
    return f'<dl class="{kind}">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>\n" for k, v in values) + "</dl>"


def document(title: str, body: str, *, style: str, script: str, connects: bool = False) -> str:
    """Return a page that runs its one script and asks for nothing.

    Args:
        title: escaped already.
        body: ready HTML.
        style: what it adds to base.css.
        script: it runs after the body; no other does.
        connects: whether the script may ask the server that the page came from.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    connect = "connect-src 'self'; " if connects else ""
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        f"{connect}base-uri 'none'; form-action 'none'"
    )
    base = files("firstbert").joinpath("base.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{base}{style}</style>
</head>
<body>
{body}<script>{script}</script>
</body>
</html>
"""
