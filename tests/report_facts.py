"""Facts to report on, of sentences of our own; the numbers are computed from made-up probabilities."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from firstbert.charts import wilson
from firstbert.facts import ReportFacts
from firstbert.projection import map_points

SUBJECTS = {
    "sports": "The home side {} after a long {} at the stadium.",
    "science": "Researchers {} a {} in the laboratory last spring.",
    "business": "The company {} its {} before the shareholders met.",
    "politics": "The minister {} the {} in front of parliament.",
    "culture": "The orchestra {} a {} to a full concert hall.",
    "travel": "We {} the {} on the way down to the coast.",
    "health": "Doctors {} the {} at the clinic in our town.",
}
VERBS = ["praised", "lost", "found", "delayed", "finished", "doubted", "celebrated", "explained", "dropped", "won"]
THINGS = ["plan", "quarter", "sample", "match", "budget", "melody", "ferry", "vaccine", "reform", "record", "journey"]
NASTY = [
    "<script>alert('boo')</script><img src=x onerror=alert(1)>",
    "</style></script></title> & \"quotes\" 'both' &amp; <b>tags</b>",
    "هذا فيلم رائع حقًا وأنصح به الجميع.",
    "זה היה ערב ארוך ומשעמם \u202e!gnol oot",
    "Loved it 🎬🍿👍🏽 — 100 % 💯",
    "A half \ud83d and a bell \x07 walk into a file.",
    "Once more with feeling. " * 210,
    "x" * 500,
]


def written(subject: int, i: int) -> str:
    shape = list(SUBJECTS.values())[subject % len(SUBJECTS)]
    return shape.format(VERBS[i % len(VERBS)], THINGS[(i // len(VERBS) + i) % len(THINGS)])


def bounds(value: float, n: int) -> list[float]:
    spread = 1.96 * (max(value * (1 - value), 1e-4) / n) ** 0.5
    return [max(0.0, value - spread), min(1.0, value + spread)]


def measured(labels: list[str], truth: np.ndarray, p: np.ndarray, **more: Any) -> dict[str, Any]:
    """What an evaluation says of (N,) true labels and (N, C) probabilities."""
    n, best, confidence = len(truth), p.argmax(axis=1), p.max(axis=1)
    right = best == truth
    every = np.arange(len(labels))
    scores = precision_recall_fscore_support(truth, best, labels=every, zero_division=0)
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order])
    places = np.unique(np.ceil(np.linspace(n / 50, n, 50)).astype(int)) - 1
    numbers = {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(scores[1][np.unique(truth)].mean()),
        "macro_f1": float(f1_score(truth, best, average="macro", zero_division=0)),
        "log_loss": float(-np.log(np.maximum(p[np.arange(n), truth], 1e-15)).mean()),
        "brier": float(((p - np.eye(len(labels))[truth]) ** 2).sum(axis=1).mean()),
        "ece": float(sum(abs(b["n"] / n * (b["accuracy"] - b["confidence"])) for b in bins(confidence, right))),
        "roc_auc": 0.90625,
        "pr_auc": None,
    }
    return {
        "n": n,
        **numbers,
        "baseline_accuracy": float(np.bincount(truth).max() / n),
        "intervals": {k: None if v is None else bounds(v, n) for k, v in numbers.items()},
        "bootstrap": {"resamples": 2000, "confidence": 0.95, "seed": 0},
        "per_class": {
            label: {
                "precision": float(scores[0][c]),
                "recall": float(scores[1][c]),
                "f1": float(scores[2][c]),
                "support": int(scores[3][c]),
                "roc_auc": float(roc_auc_score(truth == c, p[:, c])),
                "pr_auc": float(average_precision_score(truth == c, p[:, c])),
                "intervals": {
                    k: bounds(float(scores[i][c]), max(1, int(scores[3][c])))
                    for i, k in enumerate(("precision", "recall", "f1"))
                }
                | {"roc_auc": [0.5, 0.99], "pr_auc": None},
            }
            for c, label in enumerate(labels)
        },
        "confusion": confusion_matrix(truth, best, labels=every).tolist(),
        "labels": labels,
        "truncated": 1,
        "many": False,
        "reliability": bins(confidence, right),
        "coverage": [
            {"threshold": float(confidence[order[k]]), "coverage": (k + 1) / n, "error": float(wrong[k] / (k + 1))}
            for k in places.tolist()
        ],
        "abstention": None,
        "slices": [],
        **more,
    }


def bins(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    which = np.minimum((confidence * 15).astype(int), 14)
    return [
        {
            "low": k / 15,
            "high": (k + 1) / 15,
            "n": int((which == k).sum()),
            "confidence": float(confidence[which == k].mean()),
            "accuracy": float(right[which == k].mean()),
        }
        for k in np.unique(which).tolist()
    ]


def facts(labels: list[str], n: int, *, skill: float = 1.6, seed: int = 0, nasty: bool = False) -> ReportFacts:
    """A full report on `n` sentences with one label each; a higher `skill` makes fewer mistakes."""
    rng = np.random.default_rng(seed)
    c = len(labels)
    truth = np.concatenate([np.arange(c), rng.choice(c, n - c, p=np.arange(c, 0, -1) / (c * (c + 1) / 2))])
    logits = rng.normal(size=(n, c)) + skill * np.eye(c)[truth]
    p = np.exp(skill * logits)  # what is true of such logits: calibrated
    p /= p.sum(axis=1, keepdims=True)
    texts = [written(t, i) for i, t in enumerate(truth)]
    if nasty:
        texts[: len(NASTY)] = NASTY
    vectors = (rng.normal(size=(n, 24)) + 1.6 * rng.normal(size=(c, 24))[truth]).astype(np.float32)
    rows = [
        {"text": text, "true": labels[t], "predicted": labels[b], "score": float(s)}
        for text, t, b, s in zip(texts, truth, p.argmax(axis=1), p.max(axis=1), strict=True)
    ]
    wrong = sorted((r for r in rows if r["true"] != r["predicted"]), key=lambda r: -r["score"])
    accepted = p.max(axis=1) >= 0.9
    wrong_share = float((p.argmax(axis=1) != truth)[accepted].mean())
    abstention = {
        "threshold": 0.9,
        "coverage": float(accepted.mean()),
        "n_accepted": int(accepted.sum()),
        "error": wrong_share,
        "error_interval": list(wilson(wrong_share, int(accepted.sum()))),
        "max_error": 0.05,
        "confidence": 0.9,
    }
    parts = [
        {
            "name": name,
            "value": value,
            "n": k,
            "accuracy": r,
            "interval": list(wilson(r, k)),
            "macro_f1": f1,
            "worse": w,
            "p": 0.004 if w else 1.0,
        }
        for name, value, k, r, f1, w in [
            ("length", "1–8 words", 210, 0.8381, 0.8211, False),
            ("length", "9–30 words", 90, 0.6889, 0.6652, True),
            ("truncated", "yes", 1, 1.0, None, False),
            ("source", "<letters>", 120, 0.825, 0.8, False),
        ]
    ]
    return ReportFacts(
        title="Reviews of <films> & “plays”" if nasty else "Newsroom sentences",
        model={
            "name": "model",
            "data": "newsroom.tsv",
            "labels": {label: int(k) for label, k in zip(labels, 4 * np.bincount(truth, minlength=c), strict=True)},
            "encoder": "sentence-transformers/all-mpnet-base-v2",
            "family": "mpnet",
            "layer": 9,
            "pooling": "mean",
            "precision": "fp32",
            "max_length": 256,
            "C": 0.3,
            "n_train": 4 * n,
            "seed": 0,
            "weights_sha256": "5e3f1108" * 8,
            "data_sha256": "0a9b8c7d" * 8,
            "versions": {"firstbert": "0.1.0", "numpy": "2.4.6", "scikit-learn": "1.9.1", "onnxruntime": "1.31.0"},
        },
        evaluation=measured(labels, truth, p, abstention=abstention, slices=parts),
        layers=curve(rng),
        growth=GROWTH,
        points=[{"x": float(x), "y": float(y), **row} for row, (x, y) in zip(rows, map_points(vectors), strict=True)],
        mistakes=(rows[: len(NASTY)] if nasty else []) + wrong[:10],
        disputed=[
            {
                "line": 17 + k,
                "text": r["text"],
                "given": r["true"],
                "suggested": r["predicted"],
                "doubt": r["score"],
                "reason": "like 9 of its 10 nearest neighbours, which carry another label",
            }
            for k, r in enumerate(wrong[:6])
        ],
        findings=[
            "newsroom.tsv: 12 texts occur more than once with the same label; each was kept once.",
            "newsroom.tsv: the label 'health' has 14 rows only: what is learned of it is uncertain.",
        ],
        commands=[
            "pip install firstbert==0.1.0",
            "firstbert train newsroom.tsv -o model --layer auto --max-error 0.05 --seed 0 --report report.html",
        ],
    )


def curve(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Thirteen layers read in two ways, and one pair of layers."""
    reads = []
    for layer in range(13):
        for k, pooling in enumerate(("cls", "mean")):
            accuracy = 0.6 + 0.24 * np.exp(-(((layer - 9.4) / 6.5) ** 2)) - 0.035 * (1 - k) + rng.normal() * 0.004
            read = f"{layer} {pooling}"
            reads.append({"reads": read, "layer": layer, "pooling": pooling, "accuracy": float(accuracy), "se": 0.0071})
    reads = [r | {"log_loss": 0.34 + 1.2 * (0.85 - r["accuracy"]) - 0.006 * (r["layer"] == 10)} for r in reads]
    least = min(r["log_loss"] for r in reads)
    reads = [r | {"level": r["log_loss"] < least + 0.008} for r in reads]
    joined = {"accuracy": 0.8442, "se": 0.0069, "log_loss": least + 0.0005, "level": False, "alone": least - 0.0005}
    reads.append({"reads": "9 mean + 11 mean", "layer": 11, "pooling": "mean", **joined})
    return [r | {"chosen": r["reads"] == "9 mean"} for r in reads]


GROWTH = {
    "points": [
        {"rows": rows, "accuracy": 0.86 - 1.6 * rows**-0.42, "se": 0.12 * rows**-0.5}
        for rows in (100, 200, 400, 800, 1600)
    ],
    "forecast": [
        {
            "rows": rows,
            "accuracy": 0.86 - 1.6 * rows**-0.42,
            "low": 0.856 - 1.6 * rows**-0.42 - 0.000002 * rows,
            "high": 0.864 - 1.6 * rows**-0.42 + 0.000002 * rows,
        }
        for rows in (2000, 2400, 3200)
    ],
    "sentence": "Twice the rows, 3,200, would bring about 80.6 ± 1.0 %.",
}


def many_labels() -> ReportFacts:
    """Sentences with any number of labels."""
    rng = np.random.default_rng(3)
    labels, n = ["praise", "price", "delivery", "fault/return"], 240
    truth = rng.random((n, 4)) < [0.5, 0.3, 0.25, 0.1]
    p = 1 / (1 + np.exp(-(rng.normal(size=(n, 4)) + 4.4 * truth - 2.2)))
    answered = p >= 0.5
    confidence = np.where(answered, p, 1 - p).prod(axis=1)
    right = (answered == truth).all(axis=1)
    order = np.argsort(-confidence)
    wrong = np.cumsum(~right[order])
    scores = precision_recall_fscore_support(truth, answered, zero_division=0)

    def named(row: np.ndarray) -> list[str]:
        return [labels[c] for c in np.flatnonzero(row)]

    rows = [
        {"text": written(i, i), "true": named(truth[i]), "predicted": named(answered[i]), "score": float(confidence[i])}
        for i in range(n)
    ]
    evaluation = {
        "n": n,
        "accuracy": float(right.mean()),
        "balanced_accuracy": 0.8437,
        "macro_f1": float(scores[2].mean()),
        "log_loss": 0.4112,
        "brier": 0.1219,
        "ece": 0.0731,
        "roc_auc": 0.9312,
        "pr_auc": 0.8215,
        "baseline_accuracy": 0.2291,
        "intervals": {"accuracy": bounds(float(right.mean()), n), "macro_f1": bounds(float(scores[2].mean()), n)},
        "bootstrap": {"resamples": 1000, "confidence": 0.9, "seed": 7},
        "per_class": {
            label: {
                "precision": float(scores[0][c]),
                "recall": float(scores[1][c]),
                "f1": float(scores[2][c]),
                "support": int(scores[3][c]),
                "roc_auc": None,
                "pr_auc": None,
                "intervals": {},
            }
            for c, label in enumerate(labels)
        },
        "confusion": None,
        "labels": labels,
        "truncated": 0,
        "many": True,
        "reliability": bins(p.ravel(), truth.ravel()),
        "coverage": [
            {"threshold": float(confidence[order[k]]), "coverage": (k + 1) / n, "error": float(wrong[k] / (k + 1))}
            for k in range(4, n, 5)
        ],
        "abstention": {"threshold": 0.999, "coverage": 0.0, "n_accepted": 0, "error": None, "error_interval": None},
        "slices": [],
    }
    places = map_points((rng.normal(size=(n, 16)) + 2 * truth @ rng.normal(size=(4, 16))).astype(np.float32))
    return ReportFacts(
        title="What customers write about",
        model={"data": "letters.tsv", "labels": ["praise", "price", "delivery", "fault/return"], "n_train": 960},
        evaluation=evaluation,
        points=[{"x": float(x), "y": float(y), **row} for row, (x, y) in zip(rows, places, strict=True)],
        mistakes=sorted((r for r in rows if r["true"] != r["predicted"]), key=lambda r: -r["score"])[:8],
    )


def tiny() -> ReportFacts:
    """Three test rows, one of them right; no intervals, nothing else."""
    p = np.array([[0.6, 0.4], [0.55, 0.45], [0.7, 0.3]])
    found = measured(["no", "yes"], np.array([0, 1, 1]), p)
    found["intervals"] = dict.fromkeys(found["intervals"])
    return ReportFacts("three rows", {"n_train": 6, "labels": {"no": 3, "yes": 3}}, found)


@cache
def every_kind() -> dict[str, ReportFacts]:
    topics = list(SUBJECTS)
    return {
        "binary": facts(["negative", "positive"], 400, nasty=True),
        "topics": facts(topics, 700, skill=2.4, seed=1),
        "thirty": facts([f"{topics[k % 7]}, desk {k}" for k in range(30)], 1000, skill=3, seed=2),
        "many": many_labels(),
        "tiny": tiny(),
        "empty": ReportFacts("nothing yet"),
    }
