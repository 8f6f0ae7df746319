"""Labels and out-of-fold probabilities → the rows whose label the data itself disputes, worst first.

After words.py on the way of a sentence; review.py writes the rows down and takes them back. A row is suspected
by the model that didn't see it, or by a row that says the same under another label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from firstbert.calibration import Calibration
from firstbert.conflicts import NearOptions, near_duplicates, same_texts
from firstbert.data import Examples, Label
from firstbert.errors import DataError, UsageError
from firstbert.families import FloatArray
from firstbert.labels import SEPARATOR
from firstbert.predictor import label_text
from firstbert.targets import BoolArray, ClassIndex, DoubleArray, Targets

_FLAGGED = 1.5  # times as many as are estimated wrong: a head can do without the right ones among them, see head.py
_LEAST_ANCHORS = 50  # fewer say little about a share of a few per cent
_AMBIGUOUS = 0.3  # where the surest answers differ from so many labels, who is taken for whom isn't noise alone
_MOST_WRONG = 0.4  # of a label's texts: T is well away from one that can't be inverted
_STEPS, _GAIN = 50, 1e-8  # Newton's, at most; nats that are worth one more


@dataclass(frozen=True)
class SuspectOptions:
    """When a label is suspected.

    Attributes:
        share: the share of labels that the model's doubt flags, in [0, 1]; None: half as many again as are estimated
            wrong, at most three tenths.
        anchors: the share of answers, the surest ones of each label, in which wrong labels are counted.
        near: what counts as nearly the same text.
    """

    share: float | None = None
    anchors: float = 0.05
    near: NearOptions = field(default_factory=NearOptions)


_DEFAULT = SuspectOptions()


@dataclass(frozen=True)
class Suspect:
    """A row whose label is disputed.

    Attributes:
        row: its position among the examples, from 0.
        line: where it stands in its source.
        text: as written.
        given: its label, as text; several joined by ``|``.
        suggested: the label that the evidence speaks for.
        doubt: the estimated probability that the given label is wrong.
        reason: ``"model"``, ``"same text as line 7 labelled x"`` or ``"near duplicate of line 12 labelled x"``.
    """

    row: int
    line: int
    text: str
    given: str
    suggested: str
    doubt: float
    reason: str


@dataclass(frozen=True)
class Suspects:
    """What was found among N rows.

    Attributes:
        source: what messages call the rows.
        noise: the estimated share of labels that are wrong; with many labels a text, of (row, label) pairs.
        doubt: (N,) the estimated probability that each row's label is wrong, by the model alone.
        rows: the suspects, the most doubted first.
        notes: what was not looked into.
    """

    source: str
    noise: float
    doubt: DoubleArray
    rows: tuple[Suspect, ...]
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Say how many there are."""
        n = len(self.doubt)
        if not self.rows:
            return f"{self.source}: no label among {n:,} rows is in doubt."
        twins = sum(row.reason != "model" for row in self.rows)
        also = f", {twins:,} of them because a text says the same under another label" if twins else ""
        return (
            f"{self.source}: {len(self.rows):,} of {n:,} rows have a label in doubt ({len(self.rows) / n:.1%}){also}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the facts ready for JSON."""
        rows = [asdict(row) for row in self.rows]
        facts = {"n": len(self.doubt), "noise": self.noise, "sentence": self.sentence}
        return {**facts, "notes": list(self.notes), "rows": rows}


def pooled(layers: Sequence[DoubleArray | FloatArray], words: DoubleArray, targets: Targets) -> DoubleArray:
    """Return the probabilities of the layers' mean logits and the words' scores, added up by weight, (N, C).

    A sentence that is hard for one layer is often easy for another, and words know what no layer does; a wrong label is
    wrong for all. The two weights are those with the least log-loss.

    Args:
        layers: one (N, C) array of out-of-fold logits for each layer.
        words: (N, C), out of fold.
        targets: the labels.
    """
    voices = np.stack([np.mean([np.asarray(s, np.float64) for s in layers], axis=0), words])
    found = [np.zeros(2)]
    for voting in ([0, 1], [0], [1]):  # where both together would have one count against itself, it has no voice
        weight = np.zeros(2)
        weight[voting] = _least_loss(voices[voting], targets)
        if (weight >= 0).all():
            found.append(weight)
            if len(voting) > 1:
                break
    best = min(found, key=lambda weight: _loss(weight, voices, targets))
    return Calibration(targets.many).probabilities(np.tensordot(best, voices, 1))


def _loss(weight: DoubleArray, voices: DoubleArray, targets: Targets) -> float:
    return float(targets.losses(np.tensordot(weight, voices, 1)).mean())


def _least_loss(voices: DoubleArray, targets: Targets) -> DoubleArray:
    """The weights of V voices, (V, N, C), with the least log-loss, by Newton's steps, halved until one gains.

    Our own, for scipy.optimize takes longer to import than all else here takes.
    """
    weight = np.zeros(len(voices))
    loss = _loss(weight, voices, targets)
    for _ in range(_STEPS):
        step = _newton(weight, voices, targets)
        tried = (weight - step * share for share in 0.5 ** np.arange(10))
        better = next(((new, found) for new in tried if (found := _loss(new, voices, targets)) < loss - _GAIN), None)
        if better is None:
            break
        weight, loss = better
    return weight


def _newton(weight: DoubleArray, voices: DoubleArray, targets: Targets) -> DoubleArray:
    """Slope over curvature of the log-loss, (V,)."""
    p = Calibration(targets.many).probabilities(np.tensordot(weight, voices, 1))
    slope = (voices * (p - targets.carried)).sum(axis=(1, 2))
    if targets.many:
        bend = np.einsum("inc,jnc,nc->ij", voices, voices, p * (1 - p))
    else:
        apart = voices - (voices * p).sum(axis=2, keepdims=True)
        bend = np.einsum("inc,jnc,nc->ij", apart, apart, p)
    step: DoubleArray = np.linalg.pinv(bend, hermitian=True) @ slope
    return step


def find_suspects(
    examples: Examples,
    classes: Sequence[Label],
    y: ClassIndex | BoolArray,
    probabilities: DoubleArray,
    *,
    vectors: FloatArray | None = None,
    options: SuspectOptions = _DEFAULT,
) -> Suspects:
    """Find the rows whose label the model, or a row that says the same, disputes.

    Args:
        examples: N texts and where they stand.
        classes: the C labels.
        y: (N,) each row's index among them, or (N, C) which labels each row carries.
        probabilities: (N, C), of models that were not fitted on the row.
        vectors: (N, D), for near duplicates; None: those aren't looked for.
        options: see there.

    Raises:
        DataError: the arrays are not of N rows and C labels.
        UsageError: an option is out of range.
    """
    _check(len(examples.texts), len(classes), y, probabilities, options)
    view = _View(examples, classes, y, probabilities)
    doubt, noise, flagged = _doubt(view, options)
    found = {int(i): view.by_model(int(i), doubt[i], flagged[i]) for i in np.flatnonzero(flagged.any(axis=1))}
    notes = []
    near: list[tuple[int, int]] = []
    if vectors is not None and len(vectors) > options.near.rows:
        notes.append(f"Near duplicates were not looked for: there are more than {options.near.rows:,} rows.")
    elif vectors is not None:
        near = near_duplicates(examples.texts, vectors, view.kinds, options.near)
    for i, j in near:
        view.add_near(found, i, j)
    for rows in same_texts(examples.texts, view.kinds):
        view.add_same(found, rows)
    ranked = tuple(sorted(found.values(), key=lambda suspect: (-suspect.doubt, suspect.row)))
    return Suspects(examples.source, noise, doubt.max(axis=1), ranked, tuple(notes))


def _check(n: int, C: int, y: ClassIndex | BoolArray, p: DoubleArray, options: SuspectOptions) -> None:
    if p.shape != (n, C) or y.shape not in ((n,), (n, C)):
        raise DataError(
            f"{n} texts and {C} labels need probabilities of shape {(n, C)} and labels of shape {(n,)} or {(n, C)}. "
            f"Got {p.shape} and {y.shape} instead."
        )
    if options.share is not None and not 0 <= options.share <= 1:
        raise UsageError(f"The 'share' option must be in [0, 1]. Got {options.share!r} instead.")


# Doubt


def _doubt(view: _View, options: SuspectOptions) -> tuple[DoubleArray, float, BoolArray]:
    """Return doubt and what is flagged, both (N, 1), or (N, C) with many labels a text, and the noise."""
    if not view.many:
        parts = [(view.p, view.y.astype(np.intp))]
    else:
        parts = [(np.column_stack([1 - p, p]), y.astype(np.intp)) for p, y in zip(view.p.T, view.y.T, strict=True)]
    doubts, noises, flags = [], [], []
    for p, y in parts:
        doubt, noise = label_doubt(p, y, options.anchors)
        doubts.append(doubt)
        noises.append(noise)
        share = min(_FLAGGED * noise, _AMBIGUOUS) if options.share is None else options.share
        flags.append(_most(doubt, p.argmax(axis=1) != y, share))
    return np.column_stack(doubts), float(np.mean(noises)), np.column_stack(flags)


def _most(doubt: DoubleArray, contradicted: BoolArray, share: float) -> BoolArray:
    """Return this share of the rows, the most doubted of those for which the model prefers another label."""
    rows = np.flatnonzero(contradicted)
    chosen = rows[np.argsort(-doubt[rows], kind="stable")[: round(share * len(doubt))]]
    flagged: BoolArray = np.zeros(len(doubt), np.bool_)
    flagged[chosen] = True
    return flagged


def label_doubt(p: DoubleArray, y: ClassIndex, anchors: float = _DEFAULT.anchors) -> tuple[DoubleArray, float]:
    """Return the probability that each label is wrong, (N,), and the share of wrong labels.

    Among the answers of which the model is surest, a label that differs is one that was mixed up: this gives
    T (C, C), how often a text of one label bears another (anchor points: Patrini et al. 2017, section 4.1; Liu and
    Tao 2016). By Bayes, the given label j is right with probability π_j T_jj / Σ_k π_k T_kj, where π are the
    probabilities of the true labels. The model was fitted on labels as given, so p lies between π (a model that isn't
    misled) and πT (one that learned the mistakes, Patrini's equation 1); the mean of both readings is taken.

    With two labels the order is that of 1 − p of the given label (self-confidence: Northcutt, Jiang and Chuang 2021).

    Args:
        p: (N, C), out of fold.
        y: (N,) class indices.
        anchors: the share of answers that are surest.
    """
    T, noise = _transitions(p, y, anchors)
    misled = np.maximum(p @ np.linalg.inv(T), 0)
    misled /= misled.sum(axis=1, keepdims=True)
    wrong = (_wrong(p, y, T) + _wrong(misled, y, T)) / 2
    return wrong, noise


def _wrong(prior: DoubleArray, y: ClassIndex, T: DoubleArray) -> DoubleArray:
    rows = np.arange(len(y))
    result: DoubleArray = 1 - prior[rows, y] * T[y, y] / np.maximum((prior @ T)[rows, y], 1e-300)
    return np.clip(result, 0, 1)


def _transitions(p: DoubleArray, y: ClassIndex, share: float) -> tuple[DoubleArray, float]:
    """Return T and the share of wrong labels that it stands for."""
    C = p.shape[1]
    best = p.argmax(axis=1)
    counts = np.zeros((C, C))
    for k in range(C):
        rows = np.flatnonzero(best == k)
        n = max(int(np.ceil(share * len(rows))), min(_LEAST_ANCHORS, (len(rows) + 1) // 2))
        counts[k] = np.bincount(y[rows[np.argsort(-p[rows, k], kind="stable")[:n]]], minlength=C)
    return _smoothed(counts, C)


def _smoothed(counts: DoubleArray, C: int) -> tuple[DoubleArray, float]:
    """Mistakes are few: those from k to j and from j to k are counted together.

    Pairs are drawn towards each other as far as their differences may be chance (James and Stein 1961): mistakes that
    fall on all labels alike are taken so. With two labels there is one share of mistakes for both.
    """
    n = counts.sum(axis=1)
    of, pairs = n[:, None] + n, counts + counts.T
    np.fill_diagonal(of, 0)
    np.fill_diagonal(pairs, 0)
    even = (pairs.sum() + 1) / (of.sum() + C)
    by_chance, all_told = even * of.sum(), ((pairs - even * of) ** 2).sum()
    weight = max(0.0, 1 - by_chance / max(all_told, 1e-12))
    T = weight * pairs / np.maximum(of, 1) + (1 - weight) * np.full((C, C), even)
    np.fill_diagonal(T, 0)
    noise = min(float(T.sum(axis=1).mean()), 0.5)
    if noise > _AMBIGUOUS:
        T = np.full((C, C), noise / (C - 1)) * ~np.eye(C, dtype=np.bool_)
    T *= np.minimum(1, _MOST_WRONG / np.maximum(T.sum(axis=1, keepdims=True), 1e-12))
    np.fill_diagonal(T, 1 - T.sum(axis=1))
    return T, noise


# Evidence → suspects


class _View:
    """The rows as a reviewer sees them."""

    def __init__(self, examples: Examples, classes: Sequence[Label], y: ClassIndex | BoolArray, p: DoubleArray) -> None:
        self.examples, self.y, self.p, self.many = examples, y, p, y.ndim == 2
        self.names = [label_text(label) for label in classes]
        self.kinds = np.unique(y, axis=0, return_inverse=True)[1].ravel()

    def by_model(self, i: int, doubt: DoubleArray, flagged: BoolArray) -> Suspect:
        """Return a row that the model disputes; `doubt` is that of its labels, `flagged` says which are suspected."""
        suggested = self.shown(self.y[i] ^ flagged) if self.many else self.names[int(self.p[i].argmax())]
        return self.suspect(i, suggested, float(doubt[flagged].max()), "model")

    def shown(self, label: Any) -> str:
        """Return a label, or a set of labels, as text."""
        return SEPARATOR.join(np.array(self.names)[label]) if self.many else self.names[int(label)]

    def suspect(self, i: int, suggested: str, doubt: float, reason: str) -> Suspect:
        e = self.examples
        return Suspect(i, e.lines[i], e.texts[i], self.shown(self.y[i]), suggested, doubt, reason)

    def likelihood(self, rows: Sequence[int], label: Any) -> float:
        """Return the probability of a label, or of a set of labels, on the mean of these rows."""
        p = self.p[list(rows)].mean(axis=0)
        return float(np.where(label, p, 1 - p).prod()) if self.many else float(p[label])

    def add_near(self, found: dict[int, Suspect], i: int, j: int) -> None:
        """Of two nearly equal texts one may be wrong: the one whose label the model takes for the less likely."""
        both = [i, j]
        own, other = self.likelihood(both, self.y[i]), self.likelihood(both, self.y[j])
        if own > other:
            i, j, own, other = j, i, other, own
        if self.likelihood([i], self.y[i]) < self.likelihood([i], self.y[j]):
            self._add(found, i, j, other / max(own + other, 1e-300), "near duplicate of")

    def add_same(self, found: dict[int, Suspect], rows: list[int]) -> None:
        """Of equal texts, the commonest label stays, of two as common the likelier one."""
        count = Counter(int(self.kinds[i]) for i in rows)
        chance = {i: self.likelihood(rows, self.y[i]) for i in rows}
        best = max(rows, key=lambda i: (count[int(self.kinds[i])], chance[i], -i))
        for i in rows:
            if self.kinds[i] != self.kinds[best]:
                doubt = chance[best] / max(chance[i] + chance[best], 1e-300)
                self._add(found, i, best, max(0.5, doubt), "same text as")

    def _add(self, found: dict[int, Suspect], i: int, j: int, doubt: float, reason: str) -> None:
        e, label = self.examples, self.shown(self.y[j])
        doubt = max(doubt, found[i].doubt) if i in found else doubt
        told = f"{reason} {e.place} {e.lines[j]} labelled {label}"
        found[i] = self.suspect(i, label, doubt, told)
