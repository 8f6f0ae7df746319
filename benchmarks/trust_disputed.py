"""Labels flipped at random: how many of them are found, what that costs in time, and what it is worth."""

from __future__ import annotations

import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine
from benchmarks.kept import BenchError, Results, note
from firstbert import SentenceClassifier, check
from firstbert.bootstrap import BootstrapOptions
from firstbert.data import Examples, from_lists
from firstbert.engine import EngineOptions
from firstbert.evaluate import evaluate
from firstbert.suspects import Suspects
from firstbert.targets import BoolArray, ClassIndex, DoubleArray

if TYPE_CHECKING:
    from benchmarks.trust import Trust

SEEDS = 10
SHARE = 0.05  # of the labels
OURS = "firstbert"
_ONCE = BootstrapOptions(resamples=1)  # intervals are not looked at


def run(trust: Trust, results: Results) -> None:
    for name, encoder in trust.encoders.items():
        results.part(f"disputed, {name}", lambda name=name: flips(trust, name))
        results.part(f"disputed, seconds, {name}", lambda encoder=encoder: seconds(trust, encoder))


@dataclass(frozen=True)
class Case:
    """Flipped labels and what was found.

    Attributes:
        texts: N texts.
        flipped: (N,) which labels are wrong.
        y: (N,) labels as given, 0 or 1.
        probabilities: (N, 2), out of fold.
        found: by firstbert.
    """

    texts: list[str]
    flipped: BoolArray
    y: ClassIndex
    probabilities: DoubleArray
    found: Suspects


def flips(trust: Trust, name: str) -> dict[str, Any]:
    """Flip labels of SST-2's training rows, seed after seed; accuracy is that on its dev and test rows together."""
    texts, labels = _columns(trust, "train")
    unseen = from_lists(
        *(dev + test for dev, test in zip(_columns(trust, "dev"), _columns(trust, "test"), strict=True))
    )
    trials = []
    for seed in trust.seeds(SEEDS):
        case = _case(trust.encoders[name], texts, np.array(labels), seed)
        ranks, issues, version = _cleanlab(trust, case)
        flagged = np.array([row.row for row in case.found.rows], np.intp)
        trials.append({
            "seed": seed, "flipped": int(case.flipped.sum()), "noise": case.found.noise,
            "precision": {name: _precision(case.flipped, order) for name, order in ranks.items()},
            "flagged": {OURS: _flagged(case.flipped, flagged)}
                       | ({} if issues is None else {"cleanlab": _flagged(case.flipped, issues)}),
            "fits": {
                kind: _fit(trust.classifier(name, random_state=seed), rows, unseen)
                for kind, rows in _trained_on(case, flagged, labels).items()
            },
        })  # fmt: skip
    return {"n": len(texts), "cleanlab": version, "trials": trials} | _summary(trials)


def _columns(trust: Trust, name: str) -> tuple[list[str], list[int]]:
    rows = trust.rows(name)
    return [text for text, _ in rows], [label for _, label in rows]


def _case(encoder: str, texts: list[str], y: ClassIndex, seed: int) -> Case:
    flipped = np.zeros(len(y), np.bool_)
    flipped[np.random.default_rng(seed).permutation(len(y))[: round(SHARE * len(y))]] = True
    given = np.where(flipped, 1 - y, y)
    examples = from_lists(texts, given.tolist())
    found, probabilities = check.doubtful(examples, EngineOptions(encoder), seed)
    return Case(texts, flipped, given, probabilities, found)


# ---------------------------------------------------------------- precision


def _cleanlab(trust: Trust, case: Case) -> tuple[dict[str, ClassIndex], ClassIndex | None, str | None]:
    """Return how each ranks the rows, what cleanlab flags, and its version; ours alone where it can't be had."""
    ranks = {OURS: np.argsort(-case.found.doubt, kind="stable")}
    if not trust.options.cleanlab.exists():
        note(f"  no {trust.options.cleanlab}: not compared with cleanlab")
        return ranks, None, None
    given, found = trust.options.work / "given.npz", trust.options.work / "found.npz"
    np.savez(given, labels=case.y, probabilities=case.probabilities)
    script = Path(__file__).parent / "rank_cleanlab.py"
    done = subprocess.run(
        [trust.options.cleanlab, script, given, found],
        env=machine.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"cleanlab: {done.stderr.strip()[-500:]}")
    answer = np.load(found)
    ranks |= {f"cleanlab, {name[5:].replace('_', ' ')}": answer[name] for name in answer.files if name[:5] == "rank_"}
    return ranks, answer["issues"], str(answer["version"])


def _precision(flipped: BoolArray, order: ClassIndex) -> dict[str, float]:
    """Among the first rows of a ranking: as many as were flipped, half as many, and 100."""
    k = int(flipped.sum())
    sizes = {"k": k, "k/2": k // 2, "100": min(100, k)}
    return {name: float(flipped[order[:size]].mean()) for name, size in sizes.items()}


def _flagged(flipped: BoolArray, rows: ClassIndex) -> dict[str, float]:
    hits = int(flipped[rows].sum())
    return {"rows": len(rows), "precision": hits / max(len(rows), 1), "recall": hits / int(flipped.sum())}


# ---------------------------------------------------------------- what it is worth


@dataclass(frozen=True)
class Rows:
    """What a classifier is trained on: texts, labels, and which of them its head isn't fitted on."""

    texts: list[str]
    labels: list[int]
    left_out: frozenset[int] = frozenset()


def _trained_on(case: Case, flagged: ClassIndex, labels: list[int]) -> dict[str, Rows]:
    """Rows are left out as `train --drop` does it: of the fit alone."""
    given = case.y.tolist()
    return {
        "clean": Rows(case.texts, labels),
        "flipped": Rows(case.texts, given),
        "without the flagged rows": Rows(case.texts, given, frozenset(flagged.tolist())),
        "without the flipped rows": Rows(case.texts, given, frozenset(np.flatnonzero(case.flipped).tolist())),
    }


def _fit(classifier: SentenceClassifier, rows: Rows, unseen: Examples) -> dict[str, Any]:
    classifier.fit_examples(from_lists(rows.texts, rows.labels), left_out=rows.left_out)
    measured = evaluate(unseen, classifier.predictions(unseen.texts), bootstrap=_ONCE)
    layer = classifier.predictor_.engine.layer
    return {"accuracy": measured.accuracy, "log_loss": measured.log_loss, "layer": layer, "C": classifier.C_}


def _summary(trials: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "precision": _means([trial["precision"] for trial in trials]),
        "flagged": _means([trial["flagged"] for trial in trials]),
        "fits": {name: _against_flipped(trials, name) for name in trials[0]["fits"]},
    }


def _means(trials: list[Any]) -> Any:
    """The mean of numbers; of dicts, that of each key."""
    if isinstance(trials[0], dict):
        return {key: _means([trial[key] for trial in trials]) for key in trials[0]}
    return statistics.mean(trials)


def _against_flipped(trials: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Means of a system, and of its paired differences from the one trained on flipped labels."""
    found = {}
    for measure in ("accuracy", "log_loss"):
        values = [trial["fits"][name][measure] for trial in trials]
        gains = [value - trial["fits"]["flipped"][measure] for value, trial in zip(values, trials, strict=True)]
        se = statistics.stdev(gains) / len(gains) ** 0.5
        found[measure] = {"mean": statistics.mean(values), "gain": statistics.mean(gains), "se": se}
    return found


# ---------------------------------------------------------------- seconds


def seconds(trust: Trust, encoder: str) -> dict[str, Any]:
    """Time `firstbert check-labels` where no vector is kept, and where all are: the difference is the encoding."""
    rows = trust.rows("train")
    data, output = trust.file("check.tsv", rows), trust.options.work / "review.tsv"
    command = ("check-labels", data, "-o", output, "--text", "text", "--label", "label", "--encoder", encoder)
    _, cold = trust.command(*command, cold=True)
    trust.command(*command)
    facts, warm = trust.command(*command)
    return {"n": len(rows), "cold": cold, "warm": warm, "flagged": len(facts["rows"])}
