"""Whether probabilities mean what they say after calibration, and whether the bound on errors holds."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import texts
from benchmarks.kept import Results
from firstbert.bootstrap import BootstrapOptions
from firstbert.calibration import RAW
from firstbert.data import from_lists
from firstbert.evaluate import evaluate
from firstbert.predictor import Predictions, Predictor

if TYPE_CHECKING:
    from benchmarks.trust import Trust

SPLITS = 20
FITTED_ON = (5190, 1500)  # rows; measured on all others of the training rows
MAX_ERROR, CONFIDENCE = 0.05, 0.9
SURE = 0.95  # of the slack: a bound that fails in one split of ten is blamed for less than one run in twenty
_ONCE = BootstrapOptions(resamples=1)  # intervals are not looked at


def run_calibration(trust: Trust, results: Results) -> None:
    for name in trust.encoders:
        for n in _sizes(trust):
            results.part(
                f"calibration, {name}, {n} rows",
                lambda name=name, n=n: calibration(trust, name, n),
            )


def run_promise(trust: Trust, results: Results) -> None:
    for name in trust.encoders:
        for n in _sizes(trust):
            results.part(f"promise, {name}, {n} rows", lambda name=name, n=n: promise(trust, name, n))


def _sizes(trust: Trust) -> tuple[int, ...]:
    return FITTED_ON[:1] if trust.options.quick else FITTED_ON


def _parts(trust: Trust, n: int, seed: int) -> tuple[list[texts.Row], list[texts.Row]]:
    """Return `n` of SST-2's training rows to fit on, and the others; a text that stands twice is taken once."""
    every = list(dict(trust.rows("train")).items())
    order = np.random.default_rng(seed).permutation(len(every))
    inside = trust.size(n, 150)
    return [every[i] for i in order[:inside]], [every[i] for i in order[inside:]]


def _columns(rows: list[texts.Row]) -> tuple[list[str], list[int]]:
    return [text for text, _ in rows], [label for _, label in rows]


# ---------------------------------------------------------------- calibration


def calibration(trust: Trust, name: str, n: int) -> dict[str, Any]:
    """Fit with everything as it comes, and measure the same head with and without its temperature."""
    trials = []
    for seed in trust.seeds(SPLITS):
        inside, outside = _parts(trust, n, seed)
        predictor = trust.classifier(name, random_state=seed).fit(*_columns(inside)).predictor_
        after = predictor.predict(_columns(outside)[0])
        trials.append({
            "seed": seed, "rows": [len(inside), len(outside)], "layer": predictor.engine.layer,
            "temperature": predictor.calibration.temperature,
            "before": _measured(_uncalibrated(predictor, after), outside), "after": _measured(after, outside),
        })  # fmt: skip
    differences = {
        measure: [trial["after"][measure] - trial["before"][measure] for trial in trials]
        for measure in ("log_loss", "ece")
    }
    return {"trials": trials, "changed": sum(trial["temperature"] != 1 for trial in trials),
            **{measure: _paired(trials, measure, values) for measure, values in differences.items()}}  # fmt: skip


def _uncalibrated(predictor: Predictor, after: Predictions) -> Predictions:
    """The same answers with the scores as they are; log-probabilities are scores, but for a shift of each row."""
    if predictor.calibration.temperature == 1:
        return after
    scores = predictor.calibration.temperature * np.log(np.maximum(after.probabilities, 1e-300))
    return Predictions(after.labels, RAW.probabilities(scores), after.truncated, after.decision)


def _measured(predictions: Predictions, rows: list[texts.Row]) -> dict[str, float]:
    found = evaluate(from_lists(*_columns(rows)), predictions, bootstrap=_ONCE)
    return {"log_loss": found.log_loss, "ece": found.ece, "accuracy": found.accuracy}


def _paired(trials: list[dict[str, Any]], measure: str, differences: list[float]) -> dict[str, float]:
    means = {when: statistics.mean(trial[when][measure] for trial in trials) for when in ("before", "after")}
    se = statistics.stdev(differences) / len(differences) ** 0.5
    return means | {"difference": statistics.mean(differences), "se": se}


# ---------------------------------------------------------------- the bound on errors


def promise(trust: Trust, name: str, n: int) -> dict[str, Any]:
    """Ask for at most 5 % of errors among the answers given; count the splits whose other rows show more."""
    from scipy.stats import binom

    trials = []
    for seed in trust.seeds(SPLITS):
        inside, outside = _parts(trust, n, seed)
        classifier = trust.classifier(name, random_state=seed, max_error=MAX_ERROR, confidence=CONFIDENCE)
        predictions = classifier.fit(*_columns(inside)).predictions(_columns(outside)[0])
        right = predictions.chosen.argmax(axis=1) == np.array([label for _, label in outside])
        given = ~predictions.unsure
        trials.append({
            "seed": seed, "rows": [len(inside), len(outside)], "given": int(given.sum()),
            "coverage": float(given.mean()), "error": float((~right[given]).mean()) if given.any() else None,
            "error_of_all": float((~right).mean()),
        })  # fmt: skip
    over = sum(trial["error"] is not None and trial["error"] > MAX_ERROR for trial in trials)
    return {
        "max_error": MAX_ERROR, "confidence": CONFIDENCE, "trials": trials, "splits": len(trials), "over": over,
        "allowed": int(binom.ppf(SURE, len(trials), 1 - CONFIDENCE)),
        "coverage": statistics.mean(trial["coverage"] for trial in trials),
        "error": _mean([trial["error"] for trial in trials]),
        "error_of_all": statistics.mean(trial["error_of_all"] for trial in trials),
    }  # fmt: skip


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None
