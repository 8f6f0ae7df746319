"""Kinds of labels, from file to file by the command line: many topics, a rare label, several labels a text."""

from __future__ import annotations

import csv
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks import made_labels
from benchmarks.kept import BenchError, Results

if TYPE_CHECKING:
    from benchmarks.trust import Trust

SEEDS = 10
THRESHOLDS = ("equal", "macro-f1")
# Rows to learn from and to measure on. A rare label needs many rows, or its F1 is chance.
SIZES = {"topics": (1200, 1200), "rare": (2550, 5100), "many": (1200, 1200)}
SST2 = "sst2, 1:50"

Row = tuple[str, object]


def run(trust: Trust, results: Results) -> None:
    for kind in ("many", SST2) if trust.options.quick else (*SIZES, SST2):
        results.part(f"kinds, {kind}", lambda kind=kind: measure(trust, kind))


def measure(trust: Trust, kind: str) -> dict[str, Any]:
    """Train, evaluate and predict with each way of setting thresholds, seed after seed."""
    trials: list[dict[str, Any]] = []
    for seed in trust.seeds(SEEDS):
        train, test = rows(trust, kind, seed)
        trials.append({"seed": seed, "rows": [len(train), len(test)], "labels": _counts(train)}
                      | {name: _trial(trust, name, train, test, seed) for name in THRESHOLDS})  # fmt: skip
    gains = [trial["macro-f1"]["macro_f1"] - trial["equal"]["macro_f1"] for trial in trials]
    return {
        "trials": trials,
        "runs": {name: _means([trial[name] for trial in trials]) for name in THRESHOLDS},
        "gain": statistics.mean(gains),
        "gain_se": statistics.stdev(gains) / len(gains) ** 0.5,
    }


def rows(trust: Trust, kind: str, seed: int) -> tuple[list[Row], list[Row]]:
    """Return rows to learn from and rows to measure on; no text is in both."""
    if kind == SST2:
        return _rare_in_sst2(trust, seed)
    train, test = (trust.size(n, 160 if kind != "rare" else 640) for n in SIZES[kind])
    made = made_labels.MADE[kind](train + test, seed)
    return list(made[:train]), list(made[train:])


def _rare_in_sst2(trust: Trust, seed: int) -> tuple[list[Row], list[Row]]:
    """Half of the training rows' negative sentences, with one positive for 50; measured on the other half, likewise."""
    rng = random.Random(seed)
    by_label: dict[int, list[Row]] = {0: [], 1: []}
    for text, label in dict(trust.rows("train")).items():
        by_label[label].append((text, label))
    negative, positive = (rng.sample(by_label[label], len(by_label[label])) for label in (0, 1))
    half = trust.size(len(negative) // 2, min(len(negative) // 2, 150))
    rare = max(half // made_labels.COMMON, 2)
    parts = []
    for i in (0, 1):
        part = negative[i * half : (i + 1) * half] + positive[i * rare : (i + 1) * rare]
        parts.append(rng.sample(part, len(part)))
    return parts[0], parts[1]


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    return dict(sorted(Counter(part for _, label in rows for part in str(label).split("|") if part).items()))


def _trial(trust: Trust, thresholds: str, train: Sequence[Row], test: Sequence[Row], seed: int) -> dict[str, Any]:
    work = trust.options.work
    files = trust.file("train.tsv", train), trust.file("test.tsv", test)
    model, answers = work / "model", work / "answers.tsv"
    columns = ("--text", "text", "--label", "label")
    facts, seconds = trust.command(
        "train", files[0], "-o", model, *columns, "--test-size", 0, "--thresholds", thresholds, "--seed", seed
    )
    measured, _ = trust.command("evaluate", model, files[1], *columns)
    trust.command("predict", model, files[1], "--column", "text", "-o", answers)
    right = _right(answers, test)
    if abs(right - measured["accuracy"]) > 1e-9:
        raise BenchError(f"predict has {right:.4f} of the answers right, evaluate {measured['accuracy']:.4f}")
    names = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "baseline_accuracy")
    f1 = {label: scores["f1"] for label, scores in measured["per_class"].items()}
    return {name: measured[name] for name in names} | {"f1": f1, "layer": facts["layer"], "seconds": seconds}


def _right(answers: Any, test: Sequence[Row]) -> float:
    with answers.open(encoding="utf-8", newline="") as file:
        labels = [row["predicted_label"] for row in csv.DictReader(file, delimiter="\t")]
    return statistics.mean(answer == str(label) for answer, (_, label) in zip(labels, test, strict=True))


def _means(trials: list[dict[str, Any]]) -> dict[str, float]:
    names = ("accuracy", "balanced_accuracy", "macro_f1", "baseline_accuracy", "seconds")
    return {name: statistics.mean(trial[name] for trial in trials) for name in names}
