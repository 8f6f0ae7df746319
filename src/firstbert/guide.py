"""One text's trace → one HTML file that shows its way, or the page on which a service shows that of any text.

After explain.py on the way of a sentence. Its parts lie in static/: a skeleton, a style, and scripts in the order in
which they build on each other. Nothing but this file is asked for, save for the service's answers.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from firstbert import answers
from firstbert.explain import Trace
from firstbert.markup import cut, document, escape
from firstbert.predictor import answer_text

_SCRIPTS = ("dom", "words", "pictures", "beginning", "layers", "head", "reasons", "show")
_LIVE = "It asks a running model about any sentence."


def render(trace: Trace | None = None) -> str:
    """Return the guide as one HTML document.

    Args:
        trace: what to show; None: the live page, which asks the service that it came from. It takes ``GET info`` and
            ``POST models/{name}/explain``, both beside its own address.
    """
    body = _fill(
        _file("guide.html"),
        still=_LIVE if trace is None else _still(trace),
        data="" if trace is None else f'<script type="application/json" id="trace">{_data(trace)}</script>\n',
    )
    title = "How a sentence gets its label" if trace is None else f"{escape(cut(trace.text, 60))}: a sentence’s way"
    script = _script((*_SCRIPTS, "live") if trace is None else _SCRIPTS)
    return document(title, body, style=_file("guide.css"), script=script, connects=trace is None)


def write(path: Path, trace: Trace) -> None:
    """Put the guide to one text in place, whole or not at all.

    Raises:
        UsageError: it can't be written; what stood there is unchanged.
    """
    answers.write(path, render(trace))


@dataclass(frozen=True)
class _Picture:
    page: str = field(repr=False)
    height: int

    def _repr_html_(self) -> str:
        # A document of its own: neither its style nor its script meets the notebook's.
        return (
            f'<iframe srcdoc="{html.escape(self.page)}" sandbox="allow-scripts" title="A sentence’s way" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


def notebook(trace: Trace, height: int = 720) -> object:
    """Return the guide to one text as something a notebook displays.

    Args:
        trace: what to show.
        height: in pixels; what is longer scrolls.
    """
    return _Picture(render(trace), height)


def _script(names: tuple[str, ...]) -> str:
    """All parts in one function, so that none of their names meets another script's."""
    return '"use strict";\n(() => {\n' + "\n".join(_file(f"{name}.js") for name in names) + "})();\n"


def _file(name: str) -> str:
    return files("firstbert").joinpath("static", name).read_text(encoding="utf-8")


def _fill(skeleton: str, **parts: str) -> str:
    """Put parts in place in one go: what a part holds is never taken for a place."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], skeleton)


def _data(trace: Trace) -> str:
    """JSON that can't end the element it stands in, in ASCII alone."""
    text = json.dumps(trace.as_dict(), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _still(trace: Trace) -> str:
    """What can be said without a script."""
    answer = trace.predictions.best()[0]
    told = escape(answer_text(answer)) if answer != () else "no label"
    unsure = ", unsure" if trace.predictions.unsure[0] else ""
    probability = float(trace.predictions.confidence[0])
    return f"“{escape(cut(trace.text, 400))}” is answered with <b>{told}</b> ({probability:.1%}{unsure})."
