"""One text's trace → the same story in a terminal.

Before terminal.py on the way of a sentence; guide.py tells it as a page.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from firstbert.data import Label
from firstbert.explain import Trace
from firstbert.predictor import Answer, answer_text, label_text
from firstbert.screen import Screen, id_matrix, plain_table, printable
from firstbert.targets import ClassIndex, DoubleArray

_FOR, _AGAINST = "blue", "dark_orange"  # told apart by those who don't see red and green, too
_STRONGEST, _LABELS, _TERMS, _TOKENS = 8, 8, 5, 40  # shown
_BAR = 24  # characters


def draw(trace: Trace, console: Console) -> None:
    """Print a trace."""
    screen = Screen(console)
    _answer(trace, screen)
    _tokens(trace, screen)
    _layers(trace, screen)
    _head(trace, screen)
    _probabilities(trace, screen)
    _words(trace, screen)
    _neighbours(trace, screen)


def _answer(trace: Trace, screen: Screen) -> None:
    predictions = trace.predictions
    sure = " [bold]unsure[/]" if predictions.unsure[0] else ""
    screen.tell(f"“{escape(_short(trace.text, 300))}”")
    screen.tell(f"[bold]{escape(_said(predictions.best()[0]))}[/], {predictions.confidence[0]:.1%}{sure}")
    if predictions.truncated[0]:
        read = max(piece.end for piece in trace.pieces)
        screen.tell(f"[yellow]Cut after {read:,} of its {len(trace.text):,} characters; the rest was not read.[/]")


def _tokens(trace: Trace, screen: Screen) -> None:
    T = len(trace.pieces)
    screen.step("Words become tokens", f"{T} of them, each with its number in the vocabulary.")
    shown = [f"{escape(printable(piece.token))} [dim]{piece.id}[/]" for piece in trace.pieces[:_TOKENS]]
    more = [f"… {T - _TOKENS} more"] if T > _TOKENS else []
    screen.tell("  ".join(shown + more))
    screen.step("A matrix, and a mask", "Beside other sentences of its batch; filled up to the longest.")
    screen.table(id_matrix(trace.batch))


def _layers(trace: Trace, screen: Screen) -> None:
    read, pooling = trace.model["layer"], trace.model["pooling"]
    what = "the mean over its tokens" if pooling == "mean" else "its first position, [CLS]"
    screen.step("Layer by layer", escape(f"What becomes of {what}; the head learned on layer {_said(read)} alone."))
    said = trace.stages[0].probabilities is not None
    table = plain_table("after", ">length", ">moved", *(["the head would say"] if said else []))
    for stage in trace.stages:
        row = [f"layer {stage.layer}" if stage.layer else "words alone", f"{stage.norm:.1f}", f"{stage.change:.0%}"]
        if stage.probabilities is not None:
            best = int(stage.probabilities.argmax())
            name = label_text(trace.predictions.labels[best])
            row.append(f"{_bar(stage.probabilities[best])} {stage.probabilities[best]:5.1%} {escape(_short(name, 20))}")
        table.add_row(*row)
    screen.table(table)
    if (never := trace.model["layers"] - trace.stages[-1].layer) > 0:
        screen.tell(f"The {never} layers above are never run.")


def _head(trace: Trace, screen: Screen) -> None:
    products = trace.vector.astype(np.float64) * trace.weight
    strongest = np.argsort(-np.abs(products), kind="stable")[:_TERMS]
    bias = trace.model["bias"][trace.shown]
    name = escape(_short(label_text(trace.predictions.labels[trace.shown]), 20))
    screen.step("The head", f"Each of the {len(products)} numbers times its weight, for [bold]{name}[/]:")
    table = plain_table("number", ">value", ">weight", ">product")
    for i in strongest:
        table.add_row(str(i + 1), f"{trace.vector[i]:+.3f}", f"{trace.weight[i]:+.2f}", f"{products[i]:+.3f}")
    rest = products.sum() - products[strongest].sum()
    table.add_row(f"the other {len(products) - len(strongest)}", "", "", f"{rest:+.3f}")
    table.add_row("bias", "", "", f"{bias:+.3f}")
    table.add_row("[bold]score[/]", "", "", f"[bold]{trace.scores[trace.shown]:+.3f}[/]")
    screen.table(table)


def _probabilities(trace: Trace, screen: Screen) -> None:
    temperature, accept = trace.model["temperature"], trace.model["accept"]
    screen.step("Probabilities", f"Scores are divided by a temperature of {temperature:.3g} first.")
    table = plain_table("label", ">score", ">uncalibrated", "probability")
    p = trace.predictions.probabilities[0]
    for c in np.argsort(-p, kind="stable")[:_LABELS]:
        name = escape(_short(label_text(trace.predictions.labels[c]), 24))
        table.add_row(name, f"{trace.scores[c]:+.2f}", f"{trace.raw[c]:.1%}", f"{_bar(p[c])} {p[c]:.1%}")
    if len(p) > _LABELS:
        table.add_row(f"… {len(p) - _LABELS} more", "", "", "")
    screen.table(table)
    if accept is not None:
        every = "Every answer is unsure" if accept > 1 else f"Answers below {accept:.1%} are unsure"
        screen.tell(f"{every}: what the model promises about its errors holds for the others.")


def _words(trace: Trace, screen: Screen) -> None:
    values = trace.contributions.tokens[:, trace.shown]
    exact = trace.contributions.method == "exact"
    how = "its share of the score" if exact else "how far the score falls without it"
    screen.step("Which words made the difference", f"Of each token, {how}.")
    screen.show(_painted(trace, values))
    table = plain_table("token", ">share", "")
    strongest = np.argsort(-np.abs(values), kind="stable")[:_STRONGEST]
    largest = float(np.abs(values).max()) or 1.0
    for t in strongest:
        colour = _FOR if values[t] > 0 else _AGAINST
        bar = f"[{colour}]{_bar(abs(values[t]) / largest)}[/]"
        table.add_row(escape(printable(trace.pieces[t].token)), f"{values[t]:+.3f}", bar)
    if exact:
        _add_sum(table, values, strongest)
    screen.table(table)


def _add_sum(table: Table, values: DoubleArray, strongest: ClassIndex) -> None:
    rest = float(values.sum() - values[strongest].sum())
    table.add_row(f"the other {len(values) - len(strongest)}", f"{rest:+.3f}", "")
    table.add_row("[bold]together: the score[/]", f"[bold]{values.sum():+.3f}[/]", "")


def _painted(trace: Trace, values: DoubleArray) -> Text:
    """The text, each of its tokens in the colour of what it adds; strong ones in bold."""
    painted, done = Text(), 0
    largest = float(np.abs(values).max()) or 1.0
    for piece, value in zip(trace.pieces, values, strict=True):
        if piece.special or piece.end <= done:
            continue
        painted.append(_plain(trace.text[done : piece.start]))
        colour = _FOR if value > 0 else _AGAINST
        size = abs(float(value)) / largest
        style = f"bold {colour}" if size > 0.5 else colour if size > 0.15 else ""
        painted.append(_plain(trace.text[piece.start : piece.end]), style=style)
        done = piece.end
    if trace.predictions.truncated[0]:
        painted.append(" … cut here", style="yellow")
    return painted


def _neighbours(trace: Trace, screen: Screen) -> None:
    if trace.neighbours is None:
        screen.tell("[dim]firstbert train … --neighbours keeps training sentences, so that the nearest are shown.[/]")
        return
    screen.step("Sentences like it", "Training sentences whose vectors point the same way.")
    table = plain_table(">similarity", "label", "sentence")
    for each in trace.neighbours:
        table.add_row(f"{each.similarity:.2f}", escape(_short(_said(each.label), 20)), escape(_short(each.text, 48)))
    screen.table(table)


def _bar(share: float) -> str:
    n = round(_BAR * min(1.0, float(share)))
    return "█" * n + "[dim]" + "·" * (_BAR - n) + "[/]"


def _said(answer: Answer | list[Label]) -> str:
    return printable(answer_text(answer)) or "no label"


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _plain(text: str) -> str:
    """As it is, but for characters that would steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
