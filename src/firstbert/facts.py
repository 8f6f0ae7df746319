"""All that the report of a model tells, as plain values.

After report.py on the way of a sentence. Whoever trained or evaluated fills it; page.py puts it into words and
pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Fact: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class ReportFacts:
    """What is known of a model; values as JSON has them, so that each figure shown can be looked up.

    A part that is None or empty is left out of the report, and so is any key that a part lacks.

    Attributes:
        title: what the report is headed with, usually the name of the data.
        model: name or path, data, labels (label → rows trained on), encoder, family, layer, pooling, precision,
            max_length, C, temperature, promise (max_error, confidence, rows, coverage, error), n_train, seed,
            weights_sha256, data_sha256, versions (name → version).
        evaluation: `Evaluation.as_dict()`.
        layers: one for each way of reading the encoder that was tried: reads (as text), layer (the topmost of
            several), pooling, accuracy (cross-validated), se (its standard error), log_loss, level (with the least
            log-loss), chosen; of several side by side also alone, one layer's least log-loss on the same rows.
        growth: points (rows, accuracy, se), forecast (rows, accuracy, low, high), sentence.
        thresholds: labels (label → threshold), alike (macro_f1 and accuracy of the test rows with equal thresholds).
        points: at most 1,000 test rows: x, y (of `projection.map_points`), text, true, predicted, score.
        mistakes: wrongly labelled test rows, the most confident first: text, true, predicted, score.
        disputed: training rows whose label is in doubt, the most doubted first: line, text, given, suggested, doubt
            (in [0, 1]), reason (``"model"``, or in words).
        findings: what reading the data brought up, one sentence each.
        commands: what to type to get the same model and report.
    """

    title: str
    model: Fact = field(default_factory=dict)
    evaluation: Fact | None = None
    layers: Sequence[Fact] | None = None
    growth: Fact | None = None
    thresholds: Fact | None = None
    points: Sequence[Fact] | None = None
    mistakes: Sequence[Fact] = ()
    disputed: Sequence[Fact] = ()
    findings: Sequence[str] = ()
    commands: Sequence[str] = ()
