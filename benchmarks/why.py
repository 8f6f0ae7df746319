"""What makes it fast, and where it ends: `python -m benchmarks.why [SECTION …]`. `make why` makes what it needs first.

Padding, the size of batches, kept vectors, the first start, and texts of another kind than those learned from. Figures
go to results/why.json and from there to docs/how-fast-and-why.md and docs/limits.md (pages.py). Some minutes.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import commands, encoders, pages, texts
from benchmarks.commands import Commands, Options
from benchmarks.kept import BenchError, Results
from firstbert import SentenceClassifier
from firstbert.batches import batch_of, plan
from firstbert.bootstrap import BootstrapOptions
from firstbert.data import from_lists
from firstbert.engine import Engine, EngineOptions
from firstbert.evaluate import evaluate
from firstbert.sources import PackageFile, PinnedFile, fetch

PADDED = (128, 400, 2000)  # texts put together at a time
FIXED = 32  # rows of a batch, where batches are counted by rows
BUDGETS = (64, 128, 256, 512, 2048, 8192)  # tokens of a batch
BUDGET_ROWS, CACHED_ROWS, ROUNDS = 600, 2000, 3
MAX_ERROR = 0.05
_EDITORIALS = "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e"
OTHERS = {  # of the same archive as the catalogue's rt, rated in the same way
    "product reviews": ("amazonReviewSnippets", "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2"),
    "newspaper editorials": (
        "nytEditorialSnippets",
        "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    ),
    "tweets": ("tweets", "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f"),
}
_ARCHIVE = "vaderSentiment==0.5 --hash=sha256:5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
_ONCE = BootstrapOptions(resamples=1)  # intervals are not looked at


class Why(Commands):
    """What all sections need: MiniLM as a folder, and a cache folder of its own, which may be emptied."""

    @property
    def folder(self) -> Path:
        return encoders.minilm(self.options.work / "encoders" / "minilm")

    @property
    def cache(self) -> Path:
        return self.options.work / "cache"

    @property
    def variables(self) -> dict[str, str]:
        return super().variables | {"FIRSTBERT_CACHE": str(self.cache)}

    def sentences(self, n: int) -> list[str]:
        """Return SST-2's first training sentences, each once."""
        return texts.short(self.rows("train"), self.size(n))

    def engine(self, **options: Any) -> Engine:
        return Engine(EngineOptions(str(self.folder), threads=1, **options))


# ---------------------------------------------------------------- batches


def padding(why: Why, results: Results) -> None:
    for n in PADDED:
        results.part(f"padding, {n}", partial(padded, why, n))


def padded(why: Why, n: int) -> dict[str, Any]:
    """Count what is multiplied for nothing: by our rule, and in batches of so many rows, sorted or as they come."""
    engine = why.engine()
    ids = engine.tokenizer(why.sentences(n)).ids
    lengths = np.array([len(row) for row in ids])
    real = int(lengths.sum())
    ways = {
        "planned": list(plan(ids, engine.batch_tokens)),
        "sorted": _by_rows(np.argsort(-lengths, kind="stable")),
        "as they come": _by_rows(np.arange(len(ids))),
    }
    cells = {name: sum(len(rows) * int(lengths[rows].max()) for rows in batches) for name, batches in ways.items()}
    return {
        "texts": len(ids), "tokens": real, "rows": FIXED, "budget": engine.batch_tokens, "cells": cells,
        "padding": {name: count / real - 1 for name, count in cells.items()},
    }  # fmt: skip


def _by_rows(order: Any) -> list[Any]:
    return [order[i : i + FIXED] for i in range(0, len(order), FIXED)]


def budget(why: Why, results: Results) -> None:
    results.part("budget", partial(budgets, why))


def budgets(why: Why) -> dict[str, Any]:
    """Time one core on the same texts with batches of several sizes, and with rows as they come, in turns."""
    engine = why.engine()
    ids = engine.tokenizer(why.sentences(BUDGET_ROWS)).ids
    ways = {str(n): list(plan(ids, n)) for n in BUDGETS} | {"as they come": _by_rows(np.arange(len(ids)))}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in why.seeds(ROUNDS):
        names = list(ways)[turn:] + list(ways)[:turn]
        for name in names:
            start = time.perf_counter()
            for rows in ways[name]:
                engine.session(batch_of(ids, rows))
            seconds[name].append(time.perf_counter() - start)
    best = seconds[str(engine.batch_tokens)]
    return {
        "texts": len(ids), "rows": FIXED, "budget": engine.batch_tokens, "seconds": seconds,
        "rate": {name: len(ids) / statistics.median(found) for name, found in seconds.items()},
        "times": {name: statistics.median(a / b for a, b in zip(found, best, strict=True))
                  for name, found in seconds.items()},
    }  # fmt: skip


# ---------------------------------------------------------------- what is kept


def cache(why: Why, results: Results) -> None:
    results.part("cache", partial(kept, why))


def kept(why: Why) -> dict[str, Any]:
    """Train twice on the same rows, from an empty cache folder on; then answer without it, and with it again.

    Raises:
        BenchError: the second training found something else.
    """
    shutil.rmtree(why.cache, ignore_errors=True)
    train = why.file("train.tsv", why.rows("train")[: why.size(CACHED_ROWS, 200)])
    words = ("train", train, "-o", why.options.work / "model", "--encoder", why.folder)
    runs = [why.command(*words) for _ in range(2)]
    if runs[0][0]["test"] != runs[1][0]["test"]:
        raise BenchError("the second training found something else")
    question = ("predict", why.options.work / "model", "--text", "What a joy.")
    vectors = sum(path.stat().st_size for path in (why.cache / "vectors").rglob("*") if path.is_file())
    shutil.rmtree(why.cache)
    starts = [why.command(*question)[1] for _ in range(2)]
    return {
        "rows": runs[0][0]["n_train"] + runs[0][0]["test"]["n"], "layer": runs[0][0]["layer"],
        "vector_bytes": vectors,
        "train": {"empty": runs[0][1], "kept": runs[1][1]}, "start": {"first": starts[0], "again": starts[1]},
    }  # fmt: skip


# ---------------------------------------------------------------- texts of another kind


def shift(why: Why, results: Results) -> None:
    results.part("shift", partial(shifted, why))


def shifted(why: Why) -> dict[str, Any]:
    """Learn from sentences of film reviews, with a bound on errors; measure on others, and on other kinds of text."""
    classifier = SentenceClassifier(str(why.folder), max_error=MAX_ERROR, random_state=0)
    classifier.fit(*zip(*dict(why.rows("train")).items(), strict=True))
    sets = {"film reviews": why.rows("test")} | {name: rated(name)[: why.size(10**6)] for name in OTHERS}
    return {"max_error": MAX_ERROR, "sets": {name: measured(classifier, rows) for name, rows in sets.items()}}


def rated(name: str) -> list[texts.Row]:
    """Return texts that twenty people rated, 1 where the mean is above 0; a text that stands twice is taken once."""
    stem, sha256 = OTHERS[name]
    file = f"{stem}_GroundTruth.txt"
    members = ("*/additional_resources/hutto_ICWSM_2014.tar.gz", f"hutto_ICWSM_2014/{file}")
    path = fetch(PinnedFile(file, sha256, (PackageFile((_ARCHIVE,), members, "sdist", download_mb=2.4),)))
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    return list({text: int(float(rating) > 0) for _, rating, text in lines}.items())


def measured(classifier: SentenceClassifier, rows: Sequence[texts.Row]) -> dict[str, Any]:
    """Return how good the answers are, how sure they say they are, and how many of those given are wrong."""
    columns = [text for text, _ in rows], [label for _, label in rows]
    answers = classifier.predictions(columns[0])
    found = evaluate(from_lists(*columns), answers, bootstrap=_ONCE)
    given = ~answers.unsure
    right = answers.chosen.argmax(axis=1) == np.array(columns[1])
    return {
        "n": len(rows), "accuracy": found.accuracy, "baseline": found.baseline_accuracy, "ece": found.ece,
        "log_loss": found.log_loss, "said": float(answers.probabilities.max(axis=1).mean()),
        "answered": float(given.mean()), "wrong": float((~right[given]).mean()) if given.any() else None,
    }  # fmt: skip


SECTIONS: dict[str, Callable[[Why, Results], None]] = {
    "padding": padding, "budget": budget, "cache": cache, "shift": shift,
}  # fmt: skip


def _as_json(parts: dict[str, Any]) -> str:
    return json.dumps(parts, indent=1)


def main() -> None:
    parser = commands.parser("why", __doc__, SECTIONS, mpnet=None)
    sections, _, shared = commands.asked(parser, SECTIONS, sys.argv[1:])
    options = Options(**shared)
    commands.tell(commands.measure(Why(options), "why", SECTIONS, sections), options, pages.write, _as_json)


if __name__ == "__main__":
    main()
