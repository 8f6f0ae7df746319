"""Labels → what regressions are fitted to, and the folds of a cross-validation.

After cache.py on the way of a sentence. A row carries one of C labels, or any number of them; what differs between
the two is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

DoubleArray = npt.NDArray[np.float64]
ClassIndex = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
ClassWeight = Literal["balanced"] | Mapping[int, float] | None
Link = Literal["sigmoid", "softmax"]


def encode_labels(labels: Any) -> tuple[list[Any], ClassIndex | BoolArray]:
    """Return the distinct labels in order, as Python values, and what each row carries.

    Args:
        labels: N labels, or N tuples of them where a row may carry many.

    Returns:
        C labels; (N,) indices among them, or (N, C) bool for tuples.
    """
    if labels and isinstance(labels[0], tuple):
        classes = sorted({label for row in labels for label in row})
        return classes, np.array([[label in row for label in classes] for row in labels], np.bool_)
    classes = sorted(set(labels))
    place = {label: i for i, label in enumerate(classes)}
    return classes, np.fromiter((place[label] for label in labels), np.intp, len(labels))


@dataclass(frozen=True)
class Targets:
    """Labels as regressions take them.

    Attributes:
        y: (N,) class indices, or (N, C) bool where a row may carry many labels.
        sample_weight: (N,), of the rows; None: 1.
        class_weight: None, ``"balanced"``, or class index → weight; with many labels it weighs the rows that carry
            a label against those that don't.
        among: C, where not every class need occur; None: the last one does.
    """

    y: ClassIndex | BoolArray
    sample_weight: DoubleArray | None = None
    class_weight: ClassWeight = None
    among: int | None = None

    @property
    def many(self) -> bool:
        """Whether a row may carry any number of labels."""
        return self.y.ndim == 2

    @property
    def classes(self) -> int:
        """C."""
        return self.y.shape[1] if self.many else self.among or int(self.y.max()) + 1

    @cached_property
    def carried(self) -> BoolArray:
        """(N, C), which labels each row carries."""
        return self.y.astype(np.bool_) if self.many else self.y[:, None] == np.arange(self.classes)

    @property
    def columns(self) -> BoolArray:
        """(N, K), one for each regression: a single one tells two classes apart."""
        return self.carried[:, 1:] if not self.many and self.classes == 2 else self.carried

    @property
    def link(self) -> Link:
        """How scores become probabilities."""
        return "sigmoid" if self.many or self.classes == 2 else "softmax"

    @cached_property
    def row_weight(self) -> DoubleArray:
        """(N,), as given."""
        return np.ones(len(self.y)) if self.sample_weight is None else self.sample_weight

    @cached_property
    def weight(self) -> DoubleArray:
        """(N, 1), or (N, K) with many labels: rows' weights times those of their classes."""
        if self.class_weight is None:
            return self.row_weight[:, None]
        per_class = self._class_weights()
        if self.many:
            present, absent = per_class
            result: DoubleArray = np.where(self.carried, present, absent) * self.row_weight[:, None]
        else:
            result = (per_class[0][self.y] * self.row_weight)[:, None]
        return result

    def _class_weights(self) -> tuple[DoubleArray, DoubleArray]:
        """(C,) for rows that carry the class, and for those that don't; the latter matters with many labels."""
        if isinstance(self.class_weight, Mapping):
            return np.array([self.class_weight.get(c, 1.0) for c in range(self.classes)]), np.ones(self.classes)
        with_it = self.row_weight @ self.carried  # a row of weight 2 counts as two rows
        without = self.row_weight @ ~self.carried
        share = self.row_weight.sum() / (2 if self.many else self.classes)
        present, absent = (share / np.where(count > 0, count, 1) for count in (with_it, without))
        return present, absent

    def take(self, rows: ClassIndex | BoolArray) -> Targets:
        """Return the same for some of the rows; the index of a class stays as it is."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return Targets(self.y[rows], weight, self.class_weight, self.classes)

    def losses(self, scores: npt.NDArray[Any]) -> DoubleArray:
        """Return −ln of the truth's probability, (N, …), from scores (N, …, C); with many labels, their mean."""
        s = scores.astype(np.float64)
        carried = self.carried.reshape(len(s), *[1] * (s.ndim - 2), -1)
        if self.many:
            result: DoubleArray = np.logaddexp(0, np.where(carried, -s, s)).mean(axis=-1)
        else:
            top = s.max(axis=-1, keepdims=True)
            result = np.log(np.exp(s - top).sum(axis=-1)) + top[..., 0] - (s * carried).sum(axis=-1)
        return result

    def margins(self, scores: DoubleArray) -> DoubleArray:
        """Return by how much the truth's score exceeds the mean of the others', (N,); with many labels, their mean."""
        if self.many:
            result: DoubleArray = np.where(self.carried, scores, -scores).mean(axis=1)
        else:
            others = self.carried.shape[1] - 1
            result = (np.where(self.carried, scores, -scores / others)).sum(axis=1)
        return result

    def right(self, scores: npt.NDArray[Any]) -> BoolArray:
        """Return whether the most probable answer is right, (N, …); with many labels, all of them."""
        carried = self.carried.reshape(len(scores), *[1] * (scores.ndim - 2), -1)
        if self.many:
            result: BoolArray = ((scores > 0) == carried).all(axis=-1)
        else:
            result = np.take_along_axis(carried, scores.argmax(axis=-1)[..., None], axis=-1)[..., 0]
        return result


def standard_error(values: DoubleArray, weight: DoubleArray) -> float:
    """Return the standard error over rows of the weighted mean of values (N,), by weights (N,)."""
    share = weight / weight.sum()
    return float(np.sqrt((share**2 * (values - share @ values) ** 2).sum()))


def hold_out(texts: Sequence[str], y: ClassIndex | BoolArray, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Part rows in two, every class in the same shares; equal texts stay on one side, so that none is met twice.

    The first part has rows of every class.

    Args:
        texts: N texts.
        y: (N,) class indices, or (N, C) bool.
        share: of the second part, in (0, 1).
        seed: of the choice.

    Returns:
        The rows of the first and of the second part, in order.

    Raises:
        ValueError: there are too few rows for that.
    """
    from sklearn.model_selection import train_test_split

    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    unique = np.array(sorted(first.values()))
    stratum = (_rarest(y.astype(np.bool_)) if y.ndim == 2 else y)[unique]
    common = np.bincount(stratum)[stratum] > 1  # a text that is alone with its label is needed in the first part
    _, held = train_test_split(unique[common], test_size=share, stratify=stratum[common], random_state=seed)
    out = {texts[i] for i in held}
    carried = Targets(y).carried
    stay = carried[[text not in out for text in texts]].any(axis=0)
    for label in np.flatnonzero(carried.any(axis=0) & ~stay):  # only beside others, or on texts with two labels
        out.discard(texts[int(carried[:, label].argmax())])
    if not out:
        raise ValueError("no row can be spared")
    inside = [i for i, text in enumerate(texts) if text not in out]
    outside = [i for i, text in enumerate(texts) if text in out]
    return inside, outside


def assign_folds(targets: Targets, folds: int, seed: int) -> ClassIndex | None:
    """Return each row's fold, (N,), every class spread over all; None where two classes can't both be in each part.

    There are fewer folds where the second largest class has fewer rows than that. With many labels, a row counts
    for its rarest one.
    """
    stratum = _rarest(targets.carried) if targets.many else targets.y
    counts = np.bincount(stratum)
    k = min(folds, int(np.sort(counts)[-2])) if len(counts) > 1 else 0
    if k < 2:
        return None
    rare = np.flatnonzero(counts < k)
    stratum = np.where(np.isin(stratum, rare), -1, stratum)  # classes with fewer rows than folds are spread together
    if 0 < (stratum == -1).sum() < k:
        stratum = np.where(stratum == -1, np.argmax(counts), stratum)
    order = np.random.default_rng(seed).permutation(len(stratum))
    order = order[np.argsort(stratum[order], kind="stable")]
    fold = np.empty(len(stratum), np.intp)
    fold[order] = np.arange(len(stratum)) % k  # dealt out class by class
    return fold


def _rarest(carried: BoolArray) -> ClassIndex:
    """(N,) the rarest label of each row, C where it has none."""
    rank = np.argsort(np.argsort(carried.sum(axis=0), kind="stable"), kind="stable")
    by_rank = np.argsort(rank)
    first: ClassIndex = np.where(carried, rank, len(rank)).min(axis=1)
    return np.append(by_rank, len(rank))[first]
