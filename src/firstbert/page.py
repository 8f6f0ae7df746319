"""Facts about a model → one HTML file that needs nothing else: no network, no fonts, no libraries.

After making.py on the way of a sentence. The same facts give the same bytes. Its one script, page.js, only shows the
words of marks in charts; all is readable without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from firstbert import answers, charts, making, sections
from firstbert.errors import plural
from firstbert.facts import Fact, ReportFacts
from firstbert.markup import count, document, escape, interval, items, own, percent, pointer

__all__ = ["ReportFacts", "render", "write"]

_GOOD_ECE, _FAIR_ECE = 0.05, 0.1  # calibration errors to call small, and middling


@dataclass(frozen=True)
class _Part:
    place: str
    title: str
    lead: str
    content: Callable[[ReportFacts], str]


_PARTS = [
    _Part(
        "numbers",
        "The numbers",
        "Measured on the test rows. Intervals say how far they might differ on another test set as large.",
        sections.numbers,
    ),
    _Part(
        "labels",
        "Label by label",
        "<b>Precision</b>: of the rows answered with this label, how many carry it. <b>Recall</b>: of the rows that "
        "carry it, how many are answered with it. <b>F1</b>: both in one number, low if either is.",
        sections.per_label,
    ),
    _Part("thresholds", "A threshold for each label", "", sections.thresholds),
    _Part("confusion", "What is taken for what", "", sections.confusion),
    _Part(
        "reliability",
        "Can its probabilities be taken at their word?",
        "Of the answers given with 80\u00a0%, about 80\u00a0% should be right.",
        sections.reliability,
    ),
    _Part("coverage", "What if it answers only when sure?", "", sections.coverage),
    _Part(
        "layers",
        "Which layer is read",
        "An encoder works in layers, and the last one isn’t always the most useful. Each was tried by "
        "cross-validation, on training rows alone; what decides is log-loss, the cost of being sure and wrong.",
        making.layers,
    ),
    _Part("growth", "Would more rows help?", "", making.growth),
    _Part("map", "The sentences as the encoder sees them", "", making.sentences),
    _Part(
        "slices",
        "Where it does better, where worse",
        "The test rows in parts. A part is flagged only where chance is an unlikely reason.",
        sections.slices,
    ),
    _Part(
        "mistakes",
        "The mistakes it was surest of",
        "Worth reading one by one: some are the model’s limits, and some are wrong labels.",
        sections.mistakes,
    ),
    _Part(
        "disputed",
        "Labels in doubt",
        "Training rows whose label doesn’t go with what all others taught. Nothing was changed: look at them.",
        making.disputed,
    ),
    _Part("findings", "About the data", "What came up when the rows were read.", making.findings),
    _Part("reproduce", "How to get the same again", "", making.reproduce),
]


def render(facts: ReportFacts) -> str:
    """Return the report as one HTML document."""
    parts = [(part, content) for part in _PARTS if (content := part.content(facts))]
    links = "".join(f'<li><a href="#{part.place}">{part.title}</a></li>\n' for part, _ in parts)
    told = escape(facts.title)
    body = f"""<a class="skip" href="#report">Skip to the report</a>
<header>
<p class="kicker">Report on a text classifier</p>
<h1 dir="auto">{told}</h1>
{_opening(facts)}{making.training(facts)}
</header>
<nav aria-label="Parts of this report"><ul>
{links}</ul></nav>
<main id="report">
{"".join(_section(part, content) for part, content in parts)}</main>
<footer><p>Written by firstbert. This file holds sentences of its data: pass it on as you would the data.</p></footer>
"""
    return document(f"{told}: report on a classifier", body, style=_file("page.css"), script=_file("page.js"))


def write(path: Path, facts: ReportFacts) -> None:
    """Put the report in place, whole or not at all.

    Raises:
        UsageError: it can't be written; what stood there is unchanged.
    """
    answers.write(path, render(facts))


def _file(name: str) -> str:
    return files("firstbert").joinpath(name).read_text(encoding="utf-8")


def _section(part: _Part, content: str) -> str:
    lead = f'<p class="lead">{part.lead}</p>\n' if part.lead else ""
    return (
        f'<section id="{part.place}" aria-labelledby="{part.place}-title">\n'
        f'<h2 id="{part.place}-title">{part.title}</h2>\n{lead}{content}\n</section>\n'
    )


def _opening(facts: ReportFacts) -> str:
    """The answer to "is it any good?", before anything else."""
    e = facts.evaluation
    if e is None or e.get("accuracy") is None:
        return '<p class="answer">No rows were held out, so nothing is known yet about how well it does.</p>\n'
    bounds = e.get("intervals", {}).get("accuracy")
    right, rows = percent("accuracy", e["accuracy"]), f"{count('n', e['n'])} test {plural(e['n'], 'row')}"
    told = (
        f"It gets every label right for {right} of {rows}" if e.get("many") else f"It answers {right} of {rows} rightly"
    )
    if bounds is not None:
        told += f" ({sections.confidence(e)}: {interval('intervals/accuracy', bounds)})"
    baseline = e.get("baseline_accuracy")
    if baseline is not None:
        usual = "set of labels" if e.get("many") else "label"
        told += f"; always giving the most frequent {usual} would be right for {percent('baseline_accuracy', baseline)}"
    picture = charts.headline(e["accuracy"], bounds, baseline)
    return f'<p class="answer">{told}.</p>\n{picture}\n{items(_in_short(facts, e), "short")}\n'


def _in_short(facts: ReportFacts, e: Fact) -> list[str]:
    told = [_against_baseline(e), _probabilities(e), _weakest(e), _unsure(e)]
    worse = [(i, s) for i, s in enumerate(e.get("slices") or []) if s["worse"]]
    if worse:
        parts = [
            f"{own(s['name'])}: {own(s['value'])} ({percent(pointer('slices', i, 'accuracy'), s['accuracy'])})"
            for i, s in worse[:4]
        ]
        told.append(f"It does worse on some rows than on the rest: {', '.join(parts)}.")
    if e.get("truncated"):
        n = e["truncated"]
        cut = plural(n, "text was too long for it and lost its end", "texts were too long for it and lost their ends")
        told.append(f"{count('truncated', n)} test {cut}.")
    if facts.disputed:
        n = len(facts.disputed)
        told.append(f'{n:,} training {plural(n, "label is", "labels are")} <a href="#disputed">in doubt</a>.')
    return [each for each in told if each]


def _against_baseline(e: Fact) -> str:
    bounds, baseline = e.get("intervals", {}).get("accuracy"), e.get("baseline_accuracy")
    if bounds is None or baseline is None:
        return ""
    if bounds[0] > baseline:
        return "It has learned something: even the low end of its interval is above always giving the same answer."
    return "<strong>It isn’t clearly better than always giving the same answer.</strong> Don’t rely on it yet."


def _probabilities(e: Fact) -> str:
    ece = e.get("ece")
    if ece is None:
        return ""
    verdict = (
        "can be taken at their word"
        if ece <= _GOOD_ECE
        else "are roughly right"
        if ece <= _FAIR_ECE
        else "shouldn’t be taken at their word"
    )
    return f"Its probabilities {verdict}: on average they are {percent('ece', ece)} off."


def _weakest(e: Fact) -> str:
    found = {name: s for name, s in e.get("per_class", {}).items() if s["support"]}
    if len(found) < 2:
        return ""
    name = min(found, key=lambda each: found[each]["f1"])
    f1 = percent(pointer("per_class", name, "f1"), found[name]["f1"])
    n = found[name]["support"]
    rows = count(pointer("per_class", name, "support"), n)
    return f"Its weakest label is {own(name)}, with an F1 of {f1} on {rows} {plural(n, 'row')}."


def _unsure(e: Fact) -> str:
    chosen = e.get("abstention")
    if not chosen:
        return ""
    if chosen["threshold"] > 1:
        return (
            '<strong>It marks every answer unsure</strong>: <a href="#coverage">the bound on its errors can’t be '
            "shown to hold</a>."
        )
    if chosen.get("error") is None:
        return ""
    threshold, part = (
        percent("abstention/threshold", chosen["threshold"]),
        percent("abstention/coverage", chosen["coverage"]),
    )
    return (
        f"Answers less sure than {threshold} are marked unsure: it answers {part} of the rows, "
        f"{percent('abstention/error', chosen['error'])} of those wrongly."
    )
