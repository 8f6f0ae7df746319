"""The tutorial in words: each step takes what was reckoned and shows it on a screen.

Between screen.py and tutorial.py. Nothing is reckoned here but what a sentence or a table says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from firstbert.batches import Batch
from firstbert.calibration import RAW
from firstbert.engine import Engine
from firstbert.families import FloatArray
from firstbert.head import GRID
from firstbert.predictor import label_text
from firstbert.protocol import Padding, Result, Row, Sample, Split, Trial, Vectors
from firstbert.screen import Screen, about_pieces, id_matrix, plain_table, printable, shortish, some_numbers
from firstbert.search import Place, Search

SENTENCE = "a visually stunning rumination on love"  # the tutorial's own
MEANING = ("negative", "positive")  # of 0 and 1 in the data sets known
PUBLISHED = (  # in %, on SST-2, by the tutorial
    ("best known at the time", "", "96.8"),
    ("fine-tuned", "BERT", "94.9"),
    ("fine-tuned", "DistilBERT", "90.7"),
    ("cls-last, its notebook", "DistilBERT", "82.4"),
    ("cls-last, its text", "DistilBERT", "81"),
)
LABELS = 10
FINDINGS = 3


class Narration:
    """The steps, each shown by one method; all speak of one encoder and one sample.

    Args:
        say: the screen.
        engine: the encoder, opened.
        sample: the rows.

    Attributes:
        own: the row of the table that reads the encoder as its authors do.
    """

    def __init__(self, say: Console, engine: Engine, sample: Sample) -> None:
        self.screen, self.engine, self.sample = Screen(say), engine, sample
        self.name = escape(engine.files.name.rstrip("/\\").replace("\\", "/").rpartition("/")[2])
        self.words = [piece.token for piece in engine.tokenizer.pieces(SENTENCE)]
        self.own = "mean-last" if engine.pooling == "mean" else "cls-last"

    def _label(self, c: int) -> str:
        """A label as the data writes it, with what it means where that is known."""
        written = escape(printable(label_text(self.sample.classes[c])))
        return f"{written} ({MEANING[c]})" if self.sample.known else written

    def _pooled(self, name: str) -> str:
        return escape(self.words[0]) if name == "cls-last" else "mean"

    # ---- the steps

    def welcome(self) -> None:
        """Say what is to come."""
        self.screen.show(Rule("[bold]Your first BERT[/]", style="bold"))
        self.screen.tell(
            'The steps of Jay Alammar\'s tutorial "A Visual Guide to Using BERT for the First Time", with the',
            "real values of this run. Two models, one after the other, turn a sentence into a label:",
        )
        width = self.engine.prepared.architecture.width
        for line in (
            "",
            f'    "{SENTENCE}"',
            f"       ↓  model 1, [cyan]{self.name}[/]: a pretrained encoder, used as it is",
            f"    {width} numbers that stand for the sentence",
            "       ↓  model 2, [cyan]logistic regression[/]: the only part that we train",
            f"    a label: {self._label(-1)}, with a probability",
        ):
            self.screen.show(line)

    def data(self) -> None:
        """Show where the rows are from, and the labels' counts."""
        sample, n = self.sample, len(self.sample.y)
        self.screen.step("The data: sentences with their labels")
        if sample.missed is not None:
            self.screen.tell(
                "[yellow]The tutorial's own data, sst2, can't be reached from here; rt is taken instead,[/]",
                f"much the same sentences with labels of their own. [dim]({escape(sample.missed)})[/]",
            )
        self.screen.tell(_source(sample))
        table = plain_table("label", ">sentences", ">share", "for example")
        for c, count in enumerate(np.bincount(sample.y)[:LABELS]):
            some = (sample.texts[i] for i in np.flatnonzero(sample.y == c)[:50])
            table.add_row(self._label(c), f"{count:,}", f"{count / n:.1%}", shortish(some))
        self.screen.table(table)
        if (more := len(sample.classes) - LABELS) > 0:
            self.screen.tell(f"… and {more} more labels.")
        for finding in sample.examples.findings[:FINDINGS]:
            self.screen.tell(f"[dim]Noted: {escape(finding.message)}.[/]")

    def tokens(self, ids: Sequence[int]) -> None:
        """Show the tutorial's sentence as tokens and as ids."""
        known = self.engine.prepared.architecture.vocabulary
        self.screen.step(
            "A sentence becomes tokens, tokens become ids",
            f"[cyan]{self.name}[/] doesn't read letters. It knows [bold]{known:,}[/] tokens, which are words and",
            "pieces of words, and calls each by a number, its id:",
        )
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_row("[dim]token[/]", *(f"[bold]{escape(word)}[/]" for word in self.words))
        table.add_row("[dim]id[/]", *map(str, ids))
        self.screen.table(table)
        first, last = escape(self.words[0]), escape(self.words[-1])
        self.screen.tell(
            f"[bold]{first}[/] opens every sentence; what comes out at its place can stand for the whole.",
            f"[bold]{last}[/] closes it. {about_pieces(self.words)}",
        )

    def matrix(self, batch: Batch, cost: Padding) -> None:
        """Show a few rows, padded, with their mask; and what padding all rows costs."""
        B, T = batch.ids.shape
        self.screen.step(
            "Many sentences become one matrix, with a mask",
            f"The encoder takes many sentences at once. Here are that one and {B - 1} short ones of the data: {B}",
            f"rows of {T} ids. Shorter rows are [bold]padded[/] to the longest, and a mask tells tokens (1) from",
            "padding (0).",
        )
        self.screen.table(id_matrix(batch))
        self.screen.tell(
            f"Padding costs time like any token. The tutorial pads all its sentences to the longest (here"
            f" {cost.longest} tokens). We put sentences of like length together:"
        )
        table = plain_table("", ">matrices", ">places", ">real tokens", ">wasted")
        for how, many, places in (
            ("all in one matrix", 1, cost.together),
            ("batches of like length", cost.sorted_batches, cost.sorted_places),
        ):
            wasted = f"[bold]{1 - cost.real / places:.1%}[/]"
            table.add_row(how, f"{many:,}", f"{places:,}", f"{cost.real:,}", wasted)
        self.screen.table(table)

    def hidden_states(self, hidden: FloatArray) -> None:
        """Show what the last layer gives for each token of the tutorial's sentence."""
        B, T, D = hidden.shape
        self.screen.step(
            "Model 1 turns every token into numbers",
            f"The matrix goes through {self.engine.prepared.architecture.layers} layers. In each, every token looks",
            "at all the others of its sentence and takes over what matters to it. What comes out at the end are the",
            f"[bold]last hidden states[/]: {B} sentences × {T} tokens × {D} numbers, shape [bold]({B}, {T}, {D})[/].",
            "The first sentence's:",
        )
        table = plain_table("token", *(f">{i}" for i in range(1, 6)), ">…", f">{D}")
        for i, (word, state) in enumerate(zip(self.words, hidden[0], strict=False)):
            style = "cyan" if i == 0 else ""
            table.add_row(f"[bold]{escape(word)}[/]", *some_numbers(state, 5), style=style)
        self.screen.table(table)

    def one_vector(self, hidden: FloatArray, vectors: Vectors) -> None:
        """Show the [CLS] slice and the mean, and say what encoding all texts took."""
        cls = escape(self.words[0])
        ours = "the mean" if self.own == "mean-last" else cls
        self.screen.step(
            "One vector a sentence",
            "Model 2 wants one row of numbers a sentence. The tutorial keeps the numbers of the first token,",
            f"[bold]{cls}[/], and drops the rest: 'cls-last' below. The other common way, 'mean-last', is the",
            f"[bold]mean[/] over all tokens. [cyan]{self.name}[/] was made to be read by {ours}; we try both.",
        )
        D, real = hidden.shape[2], hidden[0, : len(self.words)]
        table = plain_table("", "of the hidden states", *(f">{i}" for i in (1, 2, 3)), ">…", f">{D}")
        table.add_row(f"[bold]{cls}[/]", "\\[:, 0, :]", *some_numbers(real[0], 3))
        table.add_row("[bold]mean[/]", "mean over tokens", *some_numbers(real.mean(axis=0), 3))
        self.screen.table(table)
        n, seconds = len(self.sample.y), vectors.seconds
        self.screen.tell(
            f"All {n:,} sentences: shape [bold]({n}, {D})[/] each way, in {seconds:.1f} s",
            f"({n / seconds:,.0f} sentences a second). No sentence has to be read again from here on.",
        )
        if vectors.truncated:
            limit = self.engine.options.max_length
            self.screen.tell(f"[yellow]{vectors.truncated:,} were longer than {limit} tokens and lost their ends.[/]")

    def split(self, parts: Split) -> None:
        """Show what is learned from and what is kept."""
        y = self.sample.y
        self.screen.step(
            "Set a quarter aside",
            "A model must not be examined on what it has learned from, so the rows are parted at random:",
        )
        labels = range(min(3, len(self.sample.classes)))
        table = plain_table("", ">sentences", *(f">{self._label(c)}" for c in labels))
        for name, part in (("to learn from", parts.train), ("for the examination", parts.test)):
            table.add_row(name, f"{len(part):,}", *(f"{np.mean(y[part] == c):.1%}" for c in labels))
        self.screen.table(table)

    def grid(self, trials: dict[str, Trial]) -> None:
        """Show cross-validated accuracy and log-loss for each C."""
        self.screen.step(
            "Train model 2",
            "Logistic regression gives each number a weight, adds up, and makes a probability of the sum. How",
            "large may the weights grow? With a small [bold]C[/] it stays careful, with a large one it learns its",
            "rows by heart.",
        )
        self.screen.tell(
            "Cross-validation finds out, on the training rows alone: cut them in five, learn from four parts,",
            "look at the fifth, each in turn. The least [bold]log-loss[/] wins (▶): it asks not only whether the",
            "model was right but also how sure it was.",
        )
        titles = (f">{self._pooled(name)} {what}" for name in trials for what in ("accuracy", "log-loss"))
        table = plain_table(">C", *titles)
        for C in GRID:
            table.add_row(f"{C:g}", *(cell for trial in trials.values() for cell in _grid_cells(trial, C)))
        self.screen.table(table)

    def score(self, trials: dict[str, Trial], hidden: FloatArray) -> None:
        """Show how many rows of the test part are right, and the answer for the tutorial's sentence."""
        self.screen.step("The examination", "Now the rows set aside. How many does model 2 get right?")
        table = plain_table("read by", ">right", ">of", ">accuracy")
        for name, trial in trials.items():
            right, n = int(trial.right.sum()), len(trial.right)
            table.add_row(self._pooled(name), f"{right:,}", f"{n:,}", f"[bold]{trial.accuracy:.1%}[/]")
        self.screen.table(table)
        trial, real = trials[self.own], hidden[0, : len(self.words)]
        vector = real.mean(axis=0) if self.own == "mean-last" else real[0]
        p = RAW.probabilities(trial.fit.head.scores(vector[None]))[0]
        best = self._label(int(trial.classes[p.argmax()]))
        self.screen.tell(f'And "{SENTENCE}"? Model 2 says [bold]{best}[/], with probability {p.max():.2f}.')

    def dummy(self, accuracy: float) -> None:
        """Show what is had for nothing."""
        self.screen.step(
            "Is that good?",
            "The [bold]dummy[/] classifier reads no sentence: it always answers the label that was most frequent",
            f"among the training rows. It gets [bold]{accuracy:.1%}[/] right: that is what any model has to beat.",
        )

    def layers(self, found: Search, trials: dict[str, Trial]) -> None:
        """Show what cross-validation says about each layer, and what the chosen one comes to."""
        places = {(place.layers[0], place.pooling): place for place in found.places}
        L, chosen = self.engine.prepared.architecture.layers, found.chosen
        self.screen.step(
            "Is the last layer the one to read?",
            f"The last of the {L} layers was trained for another task than yours; one below may suit it better. Each",
            "has passed by already, so cross-validation can try them all, again on the rows to learn from alone. The",
            "least log-loss wins, and of those that are level with it the lowest layer (▶): what stands above it",
            "never has to run again.",
        )
        table = plain_table(">layer", f">{escape(self.words[0])} accuracy", ">log-loss", ">mean accuracy", ">log-loss")
        for layer in range(1, L + 1):
            cells = [cell for pooling in ("cls", "mean") for cell in _layer_cells(places[layer, pooling], chosen)]
            table.add_row(str(layer), *cells)
        self.screen.table(table)
        before, after = trials[self.own].accuracy, trials["auto"].accuracy
        self.screen.tell(
            f"Layer {chosen.layers[0]} gets [bold]{after:.1%}[/] of the examination right; the last one, read the same",
            f"way as above, got {before:.1%}.",
        )

    def luck(self, accuracies: Sequence[float]) -> None:
        """Show how far accuracy moves with the split."""
        self.screen.step("How much of it was luck?")
        if len(accuracies) == 1:
            self.screen.tell("Another split gives another figure. With --seeds 20, twenty are tried.")
            return
        self.screen.tell(
            f"Another split gives another figure: over {len(accuracies)} random splits, accuracy",
            f"({self._pooled(self.own)}) went from [bold]{min(accuracies):.1%}[/] to [bold]{max(accuracies):.1%}[/].",
            "So the table gives their mean, and after ± their standard deviation: how far a split strays.",
        )

    def table(self, result: Result) -> None:
        """Show what was published beside what was measured."""
        known = self.sample.known is not None
        table = Table(box=box.ROUNDED, title="[bold]What it comes to[/]", border_style="cyan")
        table.add_column("accuracy in %" if known else "")
        table.add_column("encoder")
        if known:
            table.add_column("published, sst2", justify="right")
        table.add_column(f"measured, {self.sample.known}" if known else "accuracy in %", justify="right")
        for row in PUBLISHED if known else ():
            table.add_row(*row)
        table.add_section()
        for measured in sorted(result.rows, key=lambda row: -row.accuracy_mean):
            encoder = "" if measured.name == "dummy" else self.name
            table.add_row(self._about(measured), encoder, *[""] * known, f"[bold]{_figure(measured)}[/]")
        self.screen.gap()
        self.screen.show(table)
        self.screen.tell(f"[dim]{_caption(result, known)}[/]")

    def _about(self, row: Row) -> str:
        if row.name == "dummy":
            return "[bold]dummy[/] (most frequent label)"
        if row.name == "auto":
            return "[bold]auto[/] (the layer that suits)"
        marks = ["tutorial's"] * (row.name == "cls-last") + ["encoder's own"] * (row.name == self.own)
        return f"[bold]{row.name}[/]" + (f" ({', '.join(marks)})" if marks else "")

    def onward(self, result: Result) -> None:
        """Say what to do next."""
        encoder = "" if result.encoder == "minilm" else f" --encoder {escape(result.encoder)}"
        data = "DATA" if result.data in ("sst2", "rt") else escape(result.data)
        self.screen.gap()
        self.screen.tell("Next: a classifier from data of your own, saved and used.")
        self.screen.show(f"    [green]firstbert train {data} -o model/{encoder}[/]")
        self.screen.show(f'    [green]firstbert predict model/ --text "{SENTENCE}"[/]')


def _source(sample: Sample) -> str:
    n = f"{len(sample.y):,}"
    if sample.known == "rt":
        return (
            "[cyan]rt[/] holds 10,605 sentences from film reviews, each rated by 20 people. Its file is nearly "
            f"sorted by label, so it is shuffled first (always in the same way) and the first {n} are taken."
        )
    if sample.known == "sst2":
        return (
            "[cyan]sst2[/], the tutorial's own data, holds sentences from film reviews. As there, the first "
            f"{n} of its training file are taken."
        )
    return f"The first {n} rows of [cyan]{escape(sample.data)}[/] are taken."


def _figure(row: Row) -> str:
    mean = f"{100 * row.accuracy_mean:.1f}"
    return f"{mean} ± {100 * row.accuracy_sd:.1f}" if row.seeds > 1 else mean


def _caption(result: Result, known: bool) -> str:
    splits = f"{result.rows[0].seeds} random splits" if result.rows[0].seeds > 1 else "one random split"
    words = f"Measured on {result.n:,} sentences, {splits}: 75 % to learn from, 25 % to be examined on."
    if known:
        words += " Published: from the tutorial. Fine-tuned: model 1 was trained too, which takes far longer."
    return words


def _layer_cells(place: Place, chosen: Place) -> tuple[str, str]:
    accuracy, loss = f"{place.accuracy:.1%}", f"{place.log_loss:.3f}"
    return (f"[bold green]{accuracy}[/]", f"[bold green]▶ {loss}[/]") if place == chosen else (accuracy, loss)


def _grid_cells(trial: Trial, C: float) -> tuple[str, str]:
    if C not in trial.fit.curve:  # too few rows of a label for five parts
        return "–", "–"
    accuracy, loss = f"{trial.fit.curve[C][0]:.1%}", f"{trial.fit.curve[C][1]:.3f}"
    if C != trial.fit.C:
        return accuracy, loss
    return f"[bold green]{accuracy}[/]", f"[bold green]▶ {loss}[/]"
