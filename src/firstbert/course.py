"""What a training learns from, what it is examined on, and how it went.

After plan.py on the way of a sentence. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from firstbert.calibration import best_temperature
from firstbert.families import FloatArray
from firstbert.targets import DoubleArray, Targets

Ending = Literal["", "done", "patience", "not finite", "time"]


@dataclass(frozen=True)
class Lessons:
    """Rows to learn from.

    Attributes:
        ids: N lists of token ids.
        goals: (N, C) the probability that each label should get.
        weights: (N, 1), or (N, C) with many labels: how much each counts.
        many: whether each label stands for itself.
        hints: (N, E) of length 1: where a projection of each vector should point (FitNets: Romero et al. 2015); None:
            nowhere.
    """

    ids: Sequence[Sequence[int]]
    goals: FloatArray
    weights: FloatArray
    many: bool
    hints: FloatArray | None = None


@dataclass(frozen=True)
class Exam:
    """Rows that tell how good it is.

    Attributes:
        ids: N lists of token ids.
        targets: their labels.
    """

    ids: Sequence[Sequence[int]]
    targets: Targets


@dataclass(frozen=True)
class Mark:
    """What an evaluation found.

    Attributes:
        step: after how many steps.
        accuracy: on the validation rows.
        log_loss: likewise, at the temperature that suits them best: how sure the model is, is set right later.
        loss: of the training rows, mean over the steps since the evaluation before.
        seconds: of training up to then.
    """

    step: int
    accuracy: float
    log_loss: float
    loss: float
    seconds: float


@dataclass
class Course:
    """How a training went.

    Attributes:
        marks: the evaluations, in order.
        best: the one whose weights are kept; None where there was none.
        step, seconds, rows: done so far: steps, seconds of training without evaluations, rows.
        losses: sum of the steps' losses since the last evaluation.
        ended: why it ended: ``"done"``, ``"patience"``, ``"not finite"`` or ``"time"``.
    """

    marks: list[Mark] = field(default_factory=list)
    best: Mark | None = None
    step: int = 0
    seconds: float = 0.0
    rows: int = 0
    losses: float = 0.0
    ended: Ending = ""

    def as_facts(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return vars(self) | {"marks": [vars(m) for m in self.marks], "best": self.best and vars(self.best)}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Course:
        """Return what `as_facts` was made of."""
        best = facts["best"] and Mark(**facts["best"])
        return cls(**facts | {"marks": [Mark(**mark) for mark in facts["marks"]], "best": best})


def measure(scores: DoubleArray, targets: Targets) -> tuple[float, float]:
    """Return accuracy and log-loss at the best temperature, of scores (N, C)."""
    accuracy = float(np.average(targets.right(scores), weights=targets.row_weight))
    losses = targets.losses(scores / best_temperature(scores, targets))
    return accuracy, float(np.average(losses, weights=targets.row_weight))
