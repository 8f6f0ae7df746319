"""Scores → probabilities that can be taken at their word.

After head.py on the way of a sentence. A head's scores are divided by a temperature before they become
probabilities; it is learned from scores of rows that their head was not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from firstbert.targets import DoubleArray, Targets, standard_error

_RANGE = (0.05, 20.0)  # temperatures beyond would mean that the scores say next to nothing


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities.

    Attributes:
        many: whether each label stands for itself, so that rows don't sum to 1.
        temperature: scores are divided by it; 1 leaves them.
    """

    many: bool = False
    temperature: float = 1.0

    def probabilities(self, scores: DoubleArray) -> DoubleArray:
        """Return the probabilities of N rows of scores, (N, C): softmax, or with many labels the sigmoid of each."""
        s = scores / self.temperature
        if self.many:
            result: DoubleArray = np.exp(-np.logaddexp(0, -s))
        else:
            exp = np.exp(s - s.max(axis=1, keepdims=True))
            result = exp / exp.sum(axis=1, keepdims=True)
        return result


RAW = Calibration()  # one label a text, scores as they are


def calibrate(scores: DoubleArray | None, targets: Targets) -> Calibration:
    """Find the temperature with the least log-loss (Guo, Pleiss, Sun & Weinberger 2017, section 4.2).

    It is used where its gain in log-loss is more than one standard error of that gain over rows: a head whose
    penalty was chosen by log-loss seldom needs one, and a change that is only chance would do harm as often as good.

    Args:
        scores: (N, C), of rows that their head was not fitted on; None: there are none, and nothing is changed.
        targets: their labels.
    """
    if scores is None:
        return Calibration(targets.many)
    temperature = best_temperature(scores, targets)
    gain = targets.losses(scores) - targets.losses(scores / temperature)
    if np.average(gain, weights=targets.row_weight) <= standard_error(gain, targets.row_weight):
        temperature = 1.0
    return Calibration(targets.many, temperature)


def best_temperature(scores: DoubleArray, targets: Targets) -> float:
    """Return the temperature with the least log-loss.

    While it is sought, one row in N + 2 counts as wrong (Platt 1999, section 2.2): where all N are right, the least
    log-loss would be that of a head that is always sure.

    Args:
        scores: (N, C), of rows that their head was not fitted on.
        targets: their labels.
    """
    from scipy.optimize import minimize_scalar

    doubted = targets.margins(scores) / (np.count_nonzero(targets.row_weight) + 2)

    def loss(log_t: float) -> float:
        t = np.exp(log_t)
        return float(np.average(targets.losses(scores / t) + doubted / t, weights=targets.row_weight))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded").x))
