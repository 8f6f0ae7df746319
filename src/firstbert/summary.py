"""What a training or an evaluation found → the facts that its report shows.

After check.py on the way of a sentence; page.py makes one HTML file of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from firstbert.artifact import Artifact
from firstbert.cache import encode
from firstbert.check import doubtful
from firstbert.data import Examples
from firstbert.engine import open_engine
from firstbert.errors import DataError
from firstbert.evaluate import Evaluation, truth
from firstbert.facts import Fact, ReportFacts
from firstbert.growth import learning_curve
from firstbert.outcome import Outcome
from firstbert.predictor import Predictions, answer_text, is_finetuned, label_text
from firstbert.projection import map_points
from firstbert.targets import encode_labels

MAP_POINTS = 1000
MISTAKES = 50
DISPUTED = 50


def report_facts(  # noqa: PLR0917 - what is not there yet is left out from the right
    model: Artifact,
    name: str,
    test: Examples | None = None,
    predictions: Predictions | None = None,
    evaluation: Evaluation | None = None,
    commands: Sequence[str] = (),
) -> ReportFacts:
    """Gather what is known of a model, and what rows with known labels say about it.

    Args:
        model: as saved or loaded.
        name: of its folder.
        test: N labelled rows, if there are any.
        predictions: the answers to them.
        evaluation: of these.
        commands: what to type to get the same.
    """
    facts = ReportFacts(
        title=Path(str(model.training.get("data", name))).name, model=_about(model, name),
        layers=_layers(model.training), growth=model.training.get("growth"),
        thresholds=_thresholds(model), commands=tuple(commands),
    )  # fmt: skip
    if test is None or predictions is None or evaluation is None:
        return facts
    right = (truth(test, predictions) == predictions.chosen).all(axis=1)
    return replace(
        facts,
        evaluation=with_promise(evaluation.as_dict(), model.training),
        thresholds=_thresholds(model, test, predictions),
        points=_points(model, test, predictions),
        mistakes=_mistakes(test, predictions, right),
        findings=tuple(finding.message for finding in test.findings),
    )


def with_promise(evaluation: dict[str, Any], training: Fact) -> dict[str, Any]:
    """Return the evaluation with what the model promises, as its training facts have it, beside what was found."""
    promise, found = training.get("promise"), evaluation["abstention"]
    if promise and found:
        evaluation["abstention"] = found | {name: promise[name] for name in ("max_error", "confidence")}
    return evaluation


def with_training_rows(facts: ReportFacts, model: Artifact, train: Examples, *, cache: bool = True) -> ReportFacts:
    """Add what only the training rows tell: labels in doubt, and how accuracy grows with rows.

    An encoder that was fine-tuned on them doubts none of their labels: it has learned them.
    """
    if is_finetuned(model.training):
        return replace(facts, findings=(*facts.findings, *(finding.message for finding in train.findings)))
    encoder = model.predictor.encoder
    findings = (*facts.findings, *(finding.message for finding in train.findings))
    try:
        disputed = doubtful(train, encoder, model.training.get("seed", 0), cache=cache)[0].as_dict()["rows"][:DISPUTED]
    except DataError as error:  # too few rows to judge any by the others
        disputed, findings = [], (*findings, str(error))
    return replace(facts, disputed=disputed, findings=tuple(dict.fromkeys(findings)))


def growth(model: Artifact, train: Examples, *, cache: bool = True) -> dict[str, Any]:
    """Measure how accuracy grows with rows; vectors come from the cache where they are kept."""
    vectors = encode(open_engine(model.predictor.encoder), train.texts, cache).joined
    return learning_curve(vectors, encode_labels(train.labels)[1]).as_dict()


def _about(model: Artifact, name: str) -> dict[str, Any]:
    predictor, training = model.predictor, model.training
    engine = predictor.engine
    counts = training.get("rows_per_label", [None] * len(predictor.labels))
    layer = engine.layer
    return {
        "name": name,
        "data": training.get("data"),
        "labels": {label_text(label): n for label, n in zip(predictor.labels, counts, strict=True)},
        "encoder": predictor.encoder_title,
        "family": engine.prepared.architecture.family,
        "layer": layer if isinstance(layer, int) else " + ".join(map(str, layer)),
        "pooling": engine.pooling,
        "precision": predictor.encoder.precision,
        "max_length": predictor.encoder.max_length,
        "C": training.get("C"),
        "temperature": predictor.calibration.temperature,
        "promise": training.get("promise"),
        "n_train": training.get("rows"),
        "seed": training.get("seed"),
        "weights_sha256": predictor.weights_sha256,
        "data_sha256": training.get("data_sha256"),
        "versions": training.get("versions", {}),
    }


def _layers(training: dict[str, Any]) -> list[dict[str, Any]] | None:
    tried = training.get("layers")
    if not tried:
        return None
    found: dict[str, dict[str, Any]] = {}
    alone = None
    for place in tried:
        reads = " + ".join(f"{layer} {place['pooling']}" for layer in place["layers"])
        if reads in found:  # the best layer once more, on the rows that joining it with others was tried on
            alone = place["log_loss"]
            found[reads]["chosen"] |= place["chosen"]
            continue
        found[reads] = {
            "reads": reads,
            "layer": max(place["layers"]),
            "pooling": place["pooling"],
            "accuracy": place["accuracy"],
            "se": place["accuracy_se"],
            "log_loss": place["log_loss"],
            "level": place["level"],
            "chosen": place["chosen"],
        } | ({"alone": alone} if len(place["layers"]) > 1 else {})
    return list(found.values())


def _thresholds(
    model: Artifact, test: Examples | None = None, predictions: Predictions | None = None
) -> dict[str, Any] | None:
    """Each label's threshold, and what the answers would be worth if all were alike."""
    predictor = model.predictor
    if predictor.decision.thresholds is None:
        return None
    names = map(label_text, predictor.labels)
    found: dict[str, Any] = {"labels": dict(zip(names, predictor.decision.thresholds, strict=True))}
    if test is not None and predictions is not None:
        alike = replace(predictions, decision=replace(predictions.decision, thresholds=None))
        outcome = Outcome(truth(test, alike), alike)
        macro_f1 = float(outcome.sums(np.ones((1, outcome.n), np.int32)).whole()["macro_f1"][0])
        if not np.isnan(macro_f1):
            found["alike"] = {"macro_f1": macro_f1, "accuracy": float(outcome.right.mean())}
    return found


def _true(test: Examples) -> list[str]:
    return [answer_text(label) for label in test.labels or []]


def _points(model: Artifact, test: Examples, predictions: Predictions) -> list[dict[str, Any]]:
    rows = np.sort(np.random.default_rng(0).permutation(len(test.texts))[:MAP_POINTS])
    texts = [test.texts[i] for i in rows]
    places = map_points(encode(model.predictor.engine, texts).joined)
    true, answers = _true(test), predictions.best()
    return [
        {"x": float(x), "y": float(y), "text": test.texts[i], "true": true[i], "predicted": answer_text(answers[i]),
         "score": float(predictions.confidence[i])}
        for i, (x, y) in zip(rows, places, strict=True)
    ]  # fmt: skip


def _mistakes(test: Examples, predictions: Predictions, right: Any) -> list[dict[str, Any]]:
    order = np.argsort(-predictions.confidence, kind="stable")
    true, answers = _true(test), predictions.best()
    return [
        {"text": test.texts[i], "true": true[i], "predicted": answer_text(answers[i]),
         "score": float(predictions.confidence[i])}
        for i in order[~right[order]][:MISTAKES]
    ]  # fmt: skip
