"""An Outcome → the same for parts of the rows: long and short texts, cut ones, each value of a column.

After bootstrap.py on the way of a sentence. What is right on the whole can be wrong where it matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from firstbert.data import Examples
from firstbert.decision import BoolArray
from firstbert.errors import DataError
from firstbert.outcome import Outcome
from firstbert.predictor import label_text

MOST_VALUES = 20  # of a column
LEVEL = 0.05  # the chance that a slice is called worse though none is


@dataclass(frozen=True)
class Slice:
    """The rows that share something.

    Attributes:
        name: what they share: ``"length"``, ``"truncated"`` or a column's name.
        value: which they are, e.g. ``"1–8 words"``, ``"yes"``, or the column's value.
        n: rows.
        accuracy: share of them answered rightly.
        interval: of the accuracy, 95 % (Wilson 1927).
        macro_f1: over labels that occur among them or were answered; None where there is none.
        p: of Fisher's exact test (1935), one-sided, that the rest isn't answered better, times the number of slices
            tested (Bonferroni); 1 at most.
        worse: whether that is below 0.05.
    """

    name: str
    value: str
    n: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float | None
    p: float
    worse: bool


def slices(examples: Examples, outcome: Outcome, columns: Mapping[str, Sequence[object]]) -> list[Slice]:
    """Measure every slice.

    Texts are grouped into quarters by their number of words (between white space); a quarter that would share its
    count of words with another is one with it. A column has at most 20 values, the most frequent; the rows of all
    others are one slice. What holds for all rows is no slice.

    Args:
        examples: N rows.
        outcome: their answers.
        columns: name → N values; None, ``""`` and NaN are one value, nothing.

    Raises:
        DataError: a column hasn't one value a row.
    """
    groups = [("length", *group) for group in by_words(examples.texts)]
    truncated = outcome.predictions.truncated
    groups += [("truncated", "yes", truncated), ("truncated", "no", ~truncated)]
    for name, values in columns.items():
        if len(values) != outcome.n:
            raise DataError(
                f"{examples.source}: the column {name!r} holds {len(values)} values for {outcome.n} rows: "
                "give one value a row"
            )
        groups += [(name, *group) for group in by_value(values)]
    parts = [group for group in groups if 0 < group[2].sum() < outcome.n]
    return [_slice(name, value, rows, outcome, len(parts)) for name, value, rows in parts]


def by_words(texts: Sequence[str]) -> list[tuple[str, BoolArray]]:
    """Return groups of texts of like length: their name, and which of the N texts they hold."""
    words = np.array([len(text.split()) for text in texts])
    edges = np.unique(np.quantile(words, [0.25, 0.5, 0.75]))
    group = np.searchsorted(edges, words)
    found = []
    for g in np.unique(group):
        rows = group == g
        low, high = words[rows].min(), words[rows].max()
        count = f"{low}–{high}" if low < high else f"{low}"
        found.append((f"{count} word{'' if high == 1 else 's'}", rows))
    return found


def by_value(values: Sequence[object]) -> list[tuple[str, BoolArray]]:
    """Return groups of rows of like value, the largest first: their name, and which of the N rows they hold."""
    shown = np.array([_shown(value) for value in values], dtype=object)
    ranked = [value for value, _ in Counter(shown.tolist()).most_common()]
    groups = [(value, _where(shown == value)) for value in ranked[:MOST_VALUES]]
    if len(ranked) > MOST_VALUES:
        rest = ~np.logical_or.reduce([rows for _, rows in groups])
        groups.append((f"other ({len(ranked) - MOST_VALUES:,} values)", rest))
    return groups


def _where(equal: object) -> BoolArray:
    return np.asarray(equal, np.bool_)


def _shown(value: object) -> str:
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN, of whatever library
        return "(nothing)"
    return label_text(value) if isinstance(value, str | int | float | bool) else str(value)


def _slice(name: str, value: str, rows: BoolArray, outcome: Outcome, tested: int) -> Slice:
    from scipy.stats import binomtest, fisher_exact

    n, right = int(rows.sum()), int(outcome.right[rows].sum())
    others, others_right = outcome.n - n, int(outcome.right.sum()) - right
    table = [[right, n - right], [others_right, others - others_right]]
    p = min(1.0, tested * float(fisher_exact(table, alternative="less").pvalue))
    around = binomtest(right, n).proportion_ci(method="wilson")
    f1 = float(outcome.sums(rows[None].astype(np.int32)).whole()["macro_f1"][0])
    return Slice(
        name=name,
        value=value,
        n=n,
        accuracy=right / n,
        interval=(float(around.low), float(around.high)),
        macro_f1=None if np.isnan(f1) else f1,
        p=p,
        worse=p < LEVEL,
    )
