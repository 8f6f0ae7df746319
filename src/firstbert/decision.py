"""Probabilities → the labels answered, and whether the answer is one to rely on.

After head.py on the way of a sentence. Numpy only: every door decides here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from firstbert.head import DoubleArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Decision:
    """How probabilities become an answer.

    Attributes:
        many: whether a text may carry any number of labels; else it carries one.
        thresholds: (C,) one for each label; None: all alike. With one label a text, the answer is the label whose
            probability is the largest multiple of its threshold; with many, every label that reaches its own
            (one half unless given).
        accept: the least confidence of an answer to rely on; below it the answer is unsure. None: none is.
    """

    many: bool = False
    thresholds: tuple[float, ...] | None = None
    accept: float | None = None

    def chosen(self, probabilities: DoubleArray) -> BoolArray:
        """Return which labels are answered, (N, C); one in each row unless `many`."""
        if self.many:
            reached: BoolArray = probabilities >= (0.5 if self.thresholds is None else np.array(self.thresholds))
            return reached
        rated = probabilities if self.thresholds is None else probabilities / np.array(self.thresholds)
        best: BoolArray = np.arange(probabilities.shape[1]) == rated.argmax(axis=1)[:, None]
        return best

    def confidence(self, probabilities: DoubleArray) -> DoubleArray:
        """Return the probability that each answer is right, (N,); with many labels, as if they were independent."""
        chosen = self.chosen(probabilities)
        if self.many:
            result: DoubleArray = np.where(chosen, probabilities, 1 - probabilities).prod(axis=1)
        else:
            result = (probabilities * chosen).sum(axis=1)
        return result

    def unsure(self, probabilities: DoubleArray) -> BoolArray:
        """Return which answers are not to be relied on, (N,)."""
        if self.accept is None:
            return np.zeros(len(probabilities), np.bool_)
        return self.confidence(probabilities) < self.accept


MOST_PROBABLE = Decision()  # one label a text, all alike, always answered
