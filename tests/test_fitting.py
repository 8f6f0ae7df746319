"""From texts and labels to what answers, with a real encoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import TEXTS
from firstbert import SentenceClassifier, fitting, load
from firstbert.data import from_lists
from firstbert.decision import NEVER
from firstbert.engine import EngineOptions, open_engine
from firstbert.errors import ArtifactError, DataError, UsageError
from firstbert.fitting import FitOptions, Fitted, fit
from firstbert.head import HeadOptions, fit_head
from firstbert.targets import encode_labels
from sentences import sentences

OPTIONS = FitOptions(EngineOptions("minilm", layer="auto"), cache=False)
ONE = FitOptions(EngineOptions("minilm", layer=3), cache=False)


def fitted(n: int = 90, labels: Any = None, options: FitOptions = OPTIONS, weight: Any = None) -> Fitted:
    texts, topics, _ = sentences(n)
    return fit(from_lists(texts, topics if labels is None else labels), options, weight)


# ---------------------------------------------------------------- the layer


@pytest.fixture(scope="module")
def searched() -> Fitted:
    return fitted()


def test_every_layer_and_pooling_is_tried(searched: Fitted) -> None:
    assert searched.search is not None
    places = searched.search.places
    assert [(p.layers[0], p.pooling) for p in places] == [(i, how) for i in range(1, 7) for how in ("cls", "mean")]
    options = searched.predictor.encoder
    assert options.layer == searched.search.chosen.layers[0] and options.pooling == searched.search.chosen.pooling
    assert json.loads(json.dumps(searched.facts))["layers"] == searched.search.as_dicts()


def test_one_pooling_where_it_is_given() -> None:
    found = fitted(options=replace(OPTIONS, engine=EngineOptions("minilm", layer="auto", pooling="cls")))
    assert found.search is not None and {place.pooling for place in found.search.places} == {"cls"}
    assert found.predictor.encoder.pooling == "cls"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_answers_of_the_cut_graph_are_those_learned_from(pooling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    inner = fitting.fit_head

    def kept(vectors: Any, *more: Any) -> Any:
        seen.append(vectors)
        return inner(vectors, *more)

    monkeypatch.setattr(fitting, "fit_head", kept)
    found = fitted(options=replace(OPTIONS, engine=EngineOptions("minilm", layer="auto", pooling=pooling)))
    texts = sentences(90)[0]
    predictor = found.predictor
    learned = predictor.calibration.probabilities(predictor.head.scores(seen[0]))
    assert np.abs(predictor.predict(texts).probabilities - learned).max() < 2e-5
    assert predictor.engine.layer == found.predictor.encoder.layer


def test_fewer_rows_than_a_search_takes_are_read_by_rule() -> None:
    texts, topics, _ = sentences(fitting.LEAST_ROWS)
    few = fit(from_lists(texts[:-1], topics[:-1]), OPTIONS)
    assert few.search is None and few.predictor.encoder.layer == 4 and few.facts["layers"] is None
    assert fit(from_lists(texts, topics), OPTIONS).search is not None


def test_more_rows_than_fit_are_left_out_of_the_search_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firstbert.search.BYTES", 70 * 4 * 12 * 384)
    weight = np.linspace(0.5, 1.5, 120)
    found = fitted(120, weight=weight)
    assert found.search is not None and {place.rows for place in found.search.places} == {70}
    assert found.facts["rows"] == 120 == len(found.truncated)
    assert found.fit.scores is not None and found.fit.scores.shape == (120, 3)


def test_the_more_labels_the_fewer_rows_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firstbert.search.SCORES", 3 * 70)
    monkeypatch.setattr("firstbert.search.ENOUGH_ROWS", 10)
    found = fitted(120)
    assert found.search is not None and {place.rows for place in found.search.places} == {70}


def test_several_layers_where_that_is_asked_for() -> None:
    found = fitted(120, options=replace(OPTIONS, engine=EngineOptions("minilm", layer="best", pooling="mean")))
    assert found.search is not None and len(found.search.places) > 6
    layer = found.predictor.encoder.layer
    width = 384 * (len(layer) if isinstance(layer, tuple) else 1)
    assert found.predictor.head.weight.shape == (3, width)
    assert found.predictor.predict(sentences(5)[0]).probabilities.shape == (5, 3)


def test_same_seed_same_model_with_and_without_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = fitted()
    monkeypatch.setenv("FIRSTBERT_VECTOR_CACHE", "1")
    monkeypatch.setattr("firstbert.cache.cache_folder", lambda: tmp_path)
    first, second = (fitted(options=replace(OPTIONS, cache=True)) for _ in range(2))
    assert list((tmp_path / "vectors").iterdir())
    for other in (first, second):
        assert np.array_equal(other.predictor.head.weight, plain.predictor.head.weight)
        assert np.array_equal(other.predictor.head.bias, plain.predictor.head.bias)
        assert other.facts == plain.facts and other.predictor.calibration == plain.predictor.calibration


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        ([1.0] * 11, r"shape \(12,\)"),
        (np.ones((12, 1)), r"shape \(12,\)"),
        ([1.0] * 11 + [-1.0], "none below 0"),
        ([1.0] * 11 + [float("nan")], "finite"),
        ([1.0] * 11 + [float("inf")], "finite"),
        ([0.0] * 12, "not all of them zero"),
        (["much"] * 12, "12 numbers"),
    ],
)
def test_sample_weights_that_make_no_sense(weight: Any, told: str) -> None:
    with pytest.raises(UsageError, match=f"sample_weight.*{told}"):
        fit(from_lists(TEXTS, ["good", "bad"] * 6), ONE, weight)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"class_weight": {"god": 2.0}}, "names 'god', which is no label"),
        ({"class_weight": {"good": -1}}, "weight of 'good'.*above 0. Got -1"),
        ({"class_weight": {"good": float("nan")}}, "weight of 'good'"),
        ({"class_weight": {"good": "2"}}, "weight of 'good'"),
        ({"class_weight": "even"}, "'class_weight'"),
        ({"thresholds": "best"}, "'thresholds'"),
        ({"max_error": 0.0}, "'max_error'"),
        ({"max_error": 5}, "'max_error'"),
        ({"max_error": 0.1, "confidence": 1.0}, "'confidence'"),
        ({"seed": -1}, "random_state"),
        ({"seed": None}, "random_state"),
        ({"C": 0}, "'C'"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fit(from_lists(TEXTS, ["good", "bad"] * 6), replace(ONE, **options))


def test_labels_are_needed() -> None:
    with pytest.raises(UsageError, match="labels"):
        fit(from_lists(TEXTS), ONE)


def test_weights_reach_the_folds_and_the_search() -> None:
    _, topics, kind = sentences(120)
    mixed = [topic if i < 90 else str(is_kind) for i, (topic, is_kind) in enumerate(zip(topics, kind, strict=True))]
    on_topics = fitted(120, mixed, weight=np.repeat([1.0, 1e-9], [90, 30]))
    plain = fitted(120, mixed)
    assert on_topics.fit.accuracy is not None and plain.fit.accuracy is not None
    assert on_topics.fit.accuracy > plain.fit.accuracy


# ---------------------------------------------------------------- thresholds and the promise


def rare() -> tuple[list[str], list[str]]:
    texts, topics, _ = sentences(300)
    keep = [i for i, topic in enumerate(topics) if topic != "food"]
    keep += [i for i, topic in enumerate(topics) if topic == "food"][:8]
    return [texts[i] for i in keep], [topics[i] for i in keep]


def test_thresholds_of_each_label_are_kept(tmp_path: Path) -> None:
    texts, topics = rare()
    classifier = SentenceClassifier("minilm", layer=1, C=3e-3, thresholds="macro_f1", cache=False).fit(texts, topics)
    equal = SentenceClassifier("minilm", layer=1, C=3e-3, cache=False).fit(texts, topics)
    thresholds = classifier.predictor_.decision.thresholds
    assert thresholds is not None and len(thresholds) == 3 and max(thresholds) == 1
    assert thresholds[1] == min(thresholds)  # film, food, sport
    assert np.array_equal(classifier.predict_proba(texts), equal.predict_proba(texts))
    assert (classifier.predict(texts) == "food").sum() > (equal.predict(texts) == "food").sum()
    loaded = load(classifier.save(tmp_path / "model"))
    assert loaded.predictor_.decision == classifier.predictor_.decision
    assert (loaded.predict(texts) == classifier.predict(texts)).all()


def test_a_bound_on_errors_end_to_end(tmp_path: Path) -> None:
    texts, topics, _ = sentences(300)
    options = {"layer": 2, "max_error": 0.1, "cache": False, "random_state": 1}
    classifier = SentenceClassifier("minilm", **options).fit(texts, topics)
    told = classifier.facts_["promise"]
    assert told["rows"] == 75 and told["max_error"] == 0.1 and told["confidence"] == 0.9
    assert told["threshold"] == classifier.predictor_.decision.accept and 0 < told["coverage"] <= 1
    new_texts, new_topics, _ = sentences(450, seed=0)
    predictions = classifier.predictions(new_texts[300:])
    sure = ~predictions.unsure
    wrong = np.array(predictions.best()) != np.array(new_topics[300:])
    assert sure.mean() > 0.3 and wrong[sure].mean() <= 0.1
    loaded = load(classifier.save(tmp_path / "model"))
    assert loaded.predictor_.decision == classifier.predictor_.decision
    assert (loaded.predictions(new_texts[300:]).unsure == predictions.unsure).all()


def test_what_is_held_out_is_never_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that stand twice stay on one side, and labels of held-out rows change nothing but the bound."""
    texts, topics, _ = sentences(100)
    texts, topics = texts * 2, topics * 2
    parts: list[Any] = []
    inner = fitting.hold_out

    def kept(*arguments: Any) -> Any:
        parts.append(inner(*arguments))
        return parts[-1]

    monkeypatch.setattr(fitting, "hold_out", kept)
    options = replace(OPTIONS, max_error=0.2)
    first = fit(from_lists(texts, topics), options)
    inside, outside = parts[0]
    assert not {texts[i] for i in inside} & {texts[i] for i in outside} and len(outside) >= 40
    monkeypatch.setattr(fitting, "hold_out", lambda *arguments: parts[0])
    others = {"film": "food", "food": "sport", "sport": "film"}
    changed = [others[topic] if i in set(outside) else topic for i, topic in enumerate(topics)]
    second = fit(from_lists(texts, changed), options)
    assert np.array_equal(first.predictor.head.weight, second.predictor.head.weight)
    assert first.search == second.search and first.predictor.calibration == second.predictor.calibration
    assert first.promise is not None and second.promise is not None
    assert first.promise.threshold < NEVER == second.promise.threshold  # all of those are wrong now


def test_no_threshold_will_do_and_all_is_unsure(tmp_path: Path) -> None:
    texts, topics, _ = sentences(80)
    classifier = SentenceClassifier("minilm", layer=2, max_error=0.001, cache=False).fit(texts, topics)
    assert classifier.predictor_.decision.accept == NEVER and classifier.facts_["promise"]["error"] is None
    loaded = load(classifier.save(tmp_path / "model"))
    assert loaded.predictor_.decision.accept == NEVER and loaded.predictions(texts).unsure.all()
    assert json.loads((tmp_path / "model" / "model.json").read_text())["thresholds"]["accept"] == NEVER


@pytest.mark.parametrize("n", [2, 5])
def test_too_few_rows_for_a_bound(n: int) -> None:
    with pytest.raises(DataError, match="too few to bound the errors"):
        fit(from_lists(TEXTS[:n], ["good", "bad", "good", "bad", "bad"][:n]), replace(ONE, max_error=0.1))


def test_a_repeated_text_with_the_only_row_of_a_class() -> None:
    texts, topics, _ = sentences(60)
    texts, topics = [*texts, *texts[:10]], [*topics, *["odd"], *topics[1:10]]
    for seed in range(3):
        found = fit(from_lists(texts, topics), replace(ONE, max_error=0.3, seed=seed))
        assert found.predictor.head.weight.shape == (4, 384)


# ---------------------------------------------------------------- model.json


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts, topics, _ = sentences(80)
    options = {"layer": (1, 2), "max_error": 0.3, "thresholds": "macro_f1", "cache": False}
    classifier = SentenceClassifier("minilm", **options).fit(texts, topics)
    return classifier.save(tmp_path_factory.mktemp("fitting") / "model")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["calibration"], None),
        (["calibration"], 1.0),
        (["calibration", "temperature"], 0.0),
        (["calibration", "temperature"], -1.0),
        (["calibration", "temperature"], 1e-300),
        (["calibration", "temperature"], 1e300),
        (["calibration", "temperature"], 1),
        (["calibration", "temperature"], "1.0"),
        (["many_labels"], None),
        (["many_labels"], 1),
        (["many_labels"], "false"),
        (["thresholds"], None),
        (["thresholds"], [1.0, 1.0, 1.0]),
        (["thresholds", "labels"], []),
        (["thresholds", "labels"], [1.0, 1.0]),
        (["thresholds", "labels"], [1.0, 1.0, 0.0]),
        (["thresholds", "labels"], [1.0, 1.0, -0.5]),
        (["thresholds", "labels"], [1.0, 1.0, 1.5]),
        (["thresholds", "labels"], [1.0, 1.0, True]),
        (["thresholds", "labels"], [1.0, 1.0, None]),
        (["thresholds", "labels"], {"film": 1.0}),
        (["thresholds", "labels"], False),
        (["thresholds", "accept"], -0.1),
        (["thresholds", "accept"], 2.5),
        (["thresholds", "accept"], 1),
        (["thresholds", "accept"], "0.9"),
        (["thresholds", "accept"], [0.9]),
        (["layer"], []),
        (["layer"], [0]),
        (["layer"], [1, "2"]),
        (["layer"], [1, True]),
        (["layer"], [1] * 1001),
        (["layer"], 1.0),
    ],
)
def test_hostile_values(folder: Path, tmp_path: Path, keys: list[str], value: Any) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads((folder / "model.json").read_text())
    inner = facts
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (tmp_path / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ArtifactError, match=f"model.json: '{keys[0]}"):
        load(tmp_path)


def test_untouched_it_loads(folder: Path) -> None:
    loaded = load(folder)
    assert loaded.predictor_.encoder.layer == (1, 2)
    assert open_engine(loaded.predictor_.encoder).layer == (1, 2)
    assert loaded.predictor_.decision.thresholds is not None and loaded.predictor_.decision.accept is not None


def test_rows_left_out_are_left_out_of_the_fit_alone() -> None:
    texts, topics, _ = sentences(90)
    examples = from_lists(texts, topics)
    whole, part = fit(examples, ONE), fit(examples, ONE, left_out={0, 5, 7})
    assert (part.fit.C, part.fit.curve) == (whole.fit.C, whole.fit.curve)
    assert part.predictor.calibration == whole.predictor.calibration
    assert (part.facts["rows"], part.facts["left_out"], whole.facts["left_out"]) == (87, 3, 0)
    vectors = open_engine(part.predictor.encoder).encode(texts).joined
    y, out = encode_labels(topics)[1], np.isin(np.arange(90), (0, 5, 7))
    same = fit_head(vectors, y, HeadOptions(), left_out=out).head
    assert np.abs(part.predictor.head.weight - same.weight).max() < 1e-4
    assert not np.array_equal(part.predictor.head.weight, whole.predictor.head.weight)
    film = [i for i, topic in enumerate(topics) if topic == "film"]
    with pytest.raises(DataError, match="no row labelled 'film' is left"):
        fit(examples, ONE, left_out=film)


@pytest.mark.parametrize("options", [{"C": -1.0}, {"folds": 1}, {"class_weight": "even"}])
def test_options_of_the_head_are_refused_before_anything_is_encoded(options: Any) -> None:
    nowhere = replace(ONE, engine=EngineOptions("no/such folder"), **options)
    with pytest.raises(UsageError, match=next(iter(options))):
        fit(from_lists(TEXTS, ["good", "bad"] * 6), nowhere)
