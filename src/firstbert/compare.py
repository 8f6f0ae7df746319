"""Two models' answers to the same texts → a Comparison: is one of them better?

After evaluate.py on the way of a sentence. Rows are paired: what both find hard says nothing of which is better.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from firstbert.bootstrap import DEFAULT, BootstrapOptions, Interval, interval, joined, resamples
from firstbert.data import Examples
from firstbert.errors import UsageError
from firstbert.evaluate import plain, truth
from firstbert.outcome import Measures, Outcome
from firstbert.predictor import Predictions, answer_text, label_text

COMPARED = ("accuracy", "macro_f1", "log_loss")
LEVEL = 0.05  # the chance of calling one better though none is
SHOWN = 10  # disagreements
_Z_LEVEL, _Z_POWER = 1.959964, 0.841621  # normal quantiles of 97.5 % and 80 %


@dataclass(frozen=True)
class Difference:
    """One measure of both models.

    Attributes:
        a, b: its values; None where undefined.
        difference: b − a.
        interval: of the difference, from resamples of the rows, both models on the same ones.
    """

    a: float | None
    b: float | None
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Disagreement:
    """A text that the models answer differently, `line` as in the examples; answers are as text."""

    line: int
    text: str
    truth: str
    a: str
    b: str
    a_confidence: float
    b_confidence: float


@dataclass(frozen=True)
class Comparison:
    """What tells two models, A and B, apart.

    Attributes:
        n: rows.
        names: what A and B are called.
        differences: accuracy, macro_f1 and log_loss, of both.
        both_right, only_a, only_b, both_wrong: rows, by who answers them wholly right.
        p: of McNemar's exact test (1947): the chance of rows as lopsided as those that only one gets right, if either
            were as likely to be the one.
        better: ``"a"``, ``"b"``, or None where p isn't below 0.05.
        rows_needed: where none is better, how many rows like these would show the difference found in four tries of
            five; None if one is better or none differs.
        verdict: all this in a sentence.
        n_different: rows answered differently.
        disagreements: the first ten of those, by how far the models' confidences are apart.
        bootstrap: how intervals were found: resamples, confidence, seed.
    """

    n: int
    names: tuple[str, str]
    differences: dict[str, Difference]
    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    p: float
    better: str | None
    rows_needed: int | None
    verdict: str
    n_different: int
    disagreements: list[Disagreement]
    bootstrap: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers ready for JSON; what is undefined is None."""
        result: dict[str, Any] = plain(asdict(self))
        return result


def compare(
    examples: Examples,
    a: Predictions,
    b: Predictions,
    names: tuple[str, str] = ("A", "B"),
    bootstrap: BootstrapOptions = DEFAULT,
) -> Comparison:
    """Compare two models' predictions for the same labelled rows.

    Args:
        examples: N rows.
        a, b: each model's answers to their texts; the labels are the same, in any order.
        names: what to call the models.
        bootstrap: how intervals are found.

    Raises:
        UsageError: the models' labels differ, only one gives a text many labels, or predictions are of other rows.
        DataError: the rows carry no labels, or one that the models don't know.
    """
    _check_labels(a, b, names)
    first, second = Outcome(truth(examples, a), a), Outcome(truth(examples, b), b)
    cells = [int((first.right == x)[second.right == y].sum()) for x in (True, False) for y in (True, False)]
    both_right, only_a, only_b, both_wrong = cells
    p = mcnemar(only_a, only_b)
    better = None if p >= LEVEL else "b" if only_b > only_a else "a"
    needed = None if better else rows_needed(first.n, only_a, only_b)
    differences = _differences(first, second, bootstrap)
    columns = [[label_text(label) for label in b.labels].index(label_text(label)) for label in a.labels]
    different = (a.chosen != b.chosen[:, columns]).any(axis=1)
    return Comparison(
        n=first.n,
        names=names,
        differences=differences,
        both_right=both_right,
        only_a=only_a,
        only_b=only_b,
        both_wrong=both_wrong,
        p=p,
        better=better,
        rows_needed=needed,
        verdict=_verdict(differences["accuracy"], names, p, needed, bootstrap.confidence),
        n_different=int(different.sum()),
        disagreements=_disagreements(examples, first, second, np.flatnonzero(different)),
        bootstrap=bootstrap.facts(*first.truth.shape),
    )


def _check_labels(a: Predictions, b: Predictions, names: tuple[str, str]) -> None:
    if a.decision.many != b.decision.many:
        one, other = names if a.decision.many else names[::-1]
        raise UsageError(
            f"{one} gives a text any number of labels, {other} exactly one: they can't be compared. "
            "Train both on the same kind of labels."
        )
    known = [[label_text(label) for label in model.labels] for model in (a, b)]
    only = []
    for name, mine, others in zip(names, known, reversed(known), strict=True):
        alone = [label for label in mine if label not in others]
        if alone:
            only.append(f"{name} alone knows {', '.join(alone[:10])}{', …' if len(alone) > 10 else ''}")
    if only:
        raise UsageError(
            f"{names[0]} and {names[1]} don't know the same labels: {'; '.join(only)}. "
            "Compare models trained on the same labels."
        )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p of McNemar's test, exact: rows that only one gets right are tosses of a fair coin.

    McNemar 1947, Psychometrika 12; for classifiers, Dietterich 1998, Neural Computation 10. 1 where there are none.
    """
    from scipy.stats import binomtest

    return float(binomtest(only_b, only_a + only_b).pvalue) if only_a + only_b else 1.0


def rows_needed(n: int, only_a: int, only_b: int) -> int | None:
    """Return how many rows would show the difference found, at 5 %, in four tries of five.

    Connor 1987, Biometrics 43: (z₀.₉₇₅ √ψ + z₀.₈ √(ψ − δ²))² / δ², where ψ is the share of rows that only one gets
    right and δ the difference in accuracy. None where δ is 0.
    """
    if only_a == only_b:
        return None
    apart, delta = (only_a + only_b) / n, (only_b - only_a) / n
    exact = (_Z_LEVEL * math.sqrt(apart) + _Z_POWER * math.sqrt(apart - delta**2)) ** 2 / delta**2
    return max(n + 1, math.ceil(exact))  # on few rows the exact test asks for more than its normal likeness


def _differences(a: Outcome, b: Outcome, options: BootstrapOptions) -> dict[str, Difference]:
    found = [outcome.sums(np.ones((1, a.n), np.int32)).whole() for outcome in (a, b)]
    chunks: list[Measures] = []
    for weights in resamples(a.n, options.count(*a.truth.shape), options.seed):
        one, other = a.sums(weights).whole(), b.sums(weights).whole()
        chunks.append({name: other[name] - one[name] for name in COMPARED})
    spread = joined(chunks)
    result = {}
    for name in COMPARED:
        values = [float(measures[name][0]) for measures in found]
        left, right, difference = (None if np.isnan(x) else x for x in (*values, values[1] - values[0]))
        result[name] = Difference(left, right, difference, interval(spread[name], options.confidence))
    return result


def _verdict(accuracy: Difference, names: tuple[str, str], p: float, needed: int | None, confidence: float) -> str:
    assert accuracy.a is not None and accuracy.b is not None and accuracy.interval is not None
    sides, bounds = list(zip(names, (accuracy.a, accuracy.b), strict=True)), accuracy.interval
    if p >= LEVEL and needed is None:
        return (
            f"No difference can be shown: {' and '.join(names)} are both right on {_percent(accuracy.a)} of the rows."
        )
    if p >= LEVEL:
        (one, left), (other, right) = sides
        return (
            f"No difference can be shown: {one} is right on {_percent(left)} of the rows, {other} on {_percent(right)} "
            f"(p = {p:.2g}); to show one as small as this, about {needed:,} rows would be needed."
        )
    if accuracy.a > accuracy.b:
        sides, bounds = sides[::-1], (-bounds[1], -bounds[0])
    (loser, less), (winner, more) = sides
    low, high = (100 * bound for bound in bounds)
    return (
        f"{winner} is better: it is right on {_percent(more)} of the rows, {loser} on {_percent(less)}: "
        f"{100 * (more - less):.1f} points more ({100 * confidence:g} % interval {low:.1f} to {high:.1f}; p = {p:.2g})."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _disagreements(examples: Examples, a: Outcome, b: Outcome, rows: Any) -> list[Disagreement]:
    one, other = a.predictions, b.predictions
    apart = np.abs(one.confidence - other.confidence)[rows]
    labels = examples.labels or []
    answers, others = one.best(), other.best()
    return [
        Disagreement(
            line=examples.lines[i],
            text=examples.texts[i],
            truth=answer_text(labels[i]),
            a=answer_text(answers[i]),
            b=answer_text(others[i]),
            a_confidence=float(one.confidence[i]),
            b_confidence=float(other.confidence[i]),
        )
        for i in rows[np.argsort(-apart, kind="stable")[:SHOWN]].tolist()
    ]
