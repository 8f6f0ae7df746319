"""The estimators keep scikit-learn's contracts."""

from __future__ import annotations

import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from conftest import TEXTS
from firstbert import SentenceClassifier, SentenceEncoder
from firstbert.errors import FirstbertError

LABELS = ["good", "bad"] * 6


def test_clone_and_parameters() -> None:
    classifier = SentenceClassifier("minilm", pooling="cls", layer=3, C=0.5)
    copy = clone(classifier)
    assert copy is not classifier and copy.get_params() == classifier.get_params()
    assert copy.set_params(layer=2).layer == 2 and classifier.layer == 3


def test_constructors_open_nothing() -> None:
    SentenceClassifier("no such encoder", layer=99)
    SentenceEncoder("no such encoder", max_length=-5)


def test_pipeline_of_encoder_and_any_classifier() -> None:
    pipeline = make_pipeline(SentenceEncoder("minilm"), LogisticRegression())
    assert pipeline.fit(TEXTS, LABELS).score(TEXTS, LABELS) == 1
    assert pipeline[:-1].get_feature_names_out()[0] == "sentenceencoder0"


def test_classifier_as_a_step() -> None:
    assert make_pipeline(SentenceClassifier("minilm")).fit(TEXTS, LABELS).score(TEXTS, LABELS) == 1


def test_cross_val_score() -> None:
    scores = cross_val_score(SentenceClassifier("minilm", C=0.1), TEXTS, LABELS, cv=3)
    assert scores.shape == (3,) and scores.mean() > 0.5
    assert is_classifier(SentenceClassifier())


def test_grid_search_over_pooling() -> None:
    search = GridSearchCV(SentenceClassifier("minilm", C=0.1), param_grid={"pooling": ["cls", "mean"]}, cv=2)
    search.fit(TEXTS, LABELS)
    assert search.best_params_["pooling"] in ("cls", "mean")
    assert search.best_estimator_.predictor_.engine.pooling == search.best_params_["pooling"]


def test_grid_search_in_worker_processes() -> None:
    search = GridSearchCV(SentenceClassifier("minilm"), param_grid={"C": [0.01, 1.0]}, cv=2, n_jobs=2)
    assert search.fit(TEXTS, LABELS).best_score_ > 0.4


@pytest.mark.parametrize("fitted", [False, True])
def test_pickle(fitted: bool, classifier: SentenceClassifier) -> None:
    before = classifier if fitted else SentenceClassifier("minilm", layer=2)
    data = pickle.dumps(before)
    assert len(data) < 20_000  # no weights of the encoder in it
    after = pickle.loads(data)
    assert after.get_params() == before.get_params()
    if fitted:
        assert np.array_equal(after.predict_proba(TEXTS), before.predict_proba(TEXTS))


def test_unfitted_says_so() -> None:
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(SentenceClassifier(), method)(TEXTS)
    with pytest.raises(NotFittedError):
        SentenceClassifier().save("nowhere")


def test_predict_is_the_most_probable_by_name(classifier: SentenceClassifier) -> None:
    p = classifier.predict_proba(TEXTS)
    assert p.shape == (12, 2) and np.allclose(p.sum(axis=1), 1)
    assert classifier.predict(TEXTS).tolist() == [classifier.classes_[row.argmax()] for row in p]
    assert classifier.score(TEXTS, LABELS) == 1


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "10", "2"] * 3, [3, -1, 10] * 4, [True, False] * 6, [0.5, 1.5] * 6],
    ids=["str", "int", "bool", "float"],
)
def test_labels_come_back_in_their_own_type(labels: list[Any], tmp_path: Any) -> None:
    from firstbert import load

    fitted = SentenceClassifier("minilm", C=100.0).fit(TEXTS, labels)
    loaded = load(fitted.save(tmp_path / "m"))
    for classifier in (fitted, loaded):
        assert classifier.classes_.tolist() == sorted(set(labels))
        predicted = classifier.predict(TEXTS).tolist()
        assert predicted == labels and {type(x) for x in predicted} == {type(labels[0])}
    assert np.array_equal(fitted.predict_proba(TEXTS), loaded.predict_proba(TEXTS))


def test_arrays_and_series_of_texts() -> None:
    pandas = pytest.importorskip("pandas")
    plain = SentenceClassifier("minilm", C=0.1).fit(TEXTS, LABELS).predict_proba(TEXTS)
    for X, y in (
        (np.array(TEXTS), np.array(LABELS)),
        (np.array(TEXTS, dtype=object), pandas.Series(LABELS)),
        (pandas.Series(TEXTS, index=range(100, 112)), pandas.Categorical(LABELS)),
        (tuple(TEXTS), tuple(LABELS)),
    ):
        assert np.array_equal(SentenceClassifier("minilm", C=0.1).fit(X, y).predict_proba(X), plain)


def test_sample_weight_and_class_weight_reach_the_head() -> None:
    plain = SentenceClassifier("minilm", C=0.01).fit(TEXTS, LABELS).predict_proba(TEXTS)
    weights = [5.0 if label == "good" else 1.0 for label in LABELS]
    weighted = SentenceClassifier("minilm", C=0.01).fit(TEXTS, LABELS, sample_weight=weights).predict_proba(TEXTS)
    named = SentenceClassifier("minilm", C=0.01, class_weight={"good": 5.0, "bad": 1.0}).fit(TEXTS, LABELS)
    assert weighted[:, 1].mean() > plain[:, 1].mean() + 0.05
    assert named.predict_proba(TEXTS)[:, 1].mean() > plain[:, 1].mean() + 0.05


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_vectors_as_frames(library: Any) -> None:
    frames = pytest.importorskip(library)
    encoder = SentenceEncoder("minilm", layer=(1, 2)).set_output(transform=library)
    frame = encoder.fit_transform(TEXTS)
    assert isinstance(frame, frames.DataFrame) and frame.shape == (12, 768)
    assert list(frame.columns) == list(encoder.get_feature_names_out())
    assert np.array_equal(frame.to_numpy(), SentenceEncoder("minilm", layer=(1, 2)).transform(TEXTS))
    pipeline = make_pipeline(encoder, LogisticRegression()).fit(TEXTS, LABELS)
    assert list(pipeline[-1].feature_names_in_) == list(frame.columns)


def test_frames_keep_the_rows_names() -> None:
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(TEXTS, index=range(100, 112))
    frame = SentenceEncoder("minilm", layer=1).set_output(transform="pandas").transform(series)
    assert list(frame.index) == list(range(100, 112))


class Recorder(SentenceClassifier):
    """Notes the weights that reach it."""

    seen: ClassVar[list[Any]] = []

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        self.seen.append(("fit", None if sample_weight is None else list(sample_weight)))
        return super().fit(X, y, sample_weight)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        self.seen.append(("score", None if sample_weight is None else list(sample_weight)))
        return super().score(X, y, sample_weight)


@pytest.fixture
def seen() -> list[Any]:
    Recorder.seen.clear()
    return Recorder.seen


WEIGHTS = np.arange(1.0, 13.0)


def test_weights_are_routed_through_a_pipeline(seen: list[Any]) -> None:
    with config_context(enable_metadata_routing=True):
        asking = Recorder("minilm", layer=1, C=0.01).set_fit_request(sample_weight=True)
        weighted = make_pipeline(asking).fit(TEXTS, LABELS, sample_weight=WEIGHTS)
        silent = make_pipeline(Recorder("minilm", layer=1, C=0.01))
        with pytest.raises(UnsetMetadataPassedError):
            silent.fit(TEXTS, LABELS, sample_weight=WEIGHTS)
        silent[0].set_fit_request(sample_weight=False)
        plain = silent.fit(TEXTS, LABELS)
    assert seen == [("fit", WEIGHTS.tolist()), ("fit", None)]
    direct = SentenceClassifier("minilm", layer=1, C=0.01).fit(TEXTS, LABELS, sample_weight=WEIGHTS)
    assert np.array_equal(weighted.predict_proba(TEXTS), direct.predict_proba(TEXTS))
    assert not np.array_equal(weighted.predict_proba(TEXTS), plain.predict_proba(TEXTS))


def test_weights_are_routed_through_cross_validation(seen: list[Any]) -> None:
    with config_context(enable_metadata_routing=True):
        estimator = Recorder("minilm", layer=1, C=0.1)
        estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        cross_validate(estimator, TEXTS, LABELS, cv=3, params={"sample_weight": WEIGHTS})
    assert [name for name, _ in seen] == ["fit", "score"] * 3
    for (_, fitted), (_, scored) in zip(seen[::2], seen[1::2], strict=True):
        assert sorted(fitted + scored) == WEIGHTS.tolist() and len(scored) == 4


def test_weights_are_routed_through_a_grid_search(seen: list[Any]) -> None:
    with config_context(enable_metadata_routing=True):
        estimator = Recorder("minilm", layer=1)
        estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight="importance")
        search = GridSearchCV(estimator, {"C": [0.01, 1.0]}, cv=2)
        search.fit(TEXTS, LABELS, sample_weight=WEIGHTS, importance=WEIGHTS * 2)
    fits = [weights for name, weights in seen if name == "fit"]
    assert fits[-1] == WEIGHTS.tolist() and len(fits) == 5
    assert all(set(weights) <= set((WEIGHTS * 2).tolist()) for name, weights in seen if name == "score")


def test_scores_weigh_rows(classifier: SentenceClassifier) -> None:
    wrong = ["bad" if i == 0 else label for i, label in enumerate(LABELS)]
    assert classifier.score(TEXTS, wrong) == pytest.approx(11 / 12)
    assert classifier.score(TEXTS, wrong, sample_weight=[0] + [1] * 11) == 1
    assert classifier.score(TEXTS, wrong, sample_weight=[1] + [0] * 11) == 0


def test_refusals_are_value_errors() -> None:
    for X, y, options in ((["a"], ["x", "y"], {}), (TEXTS, LABELS, {"C": -1}), ("text", LABELS, {})):
        with pytest.raises(ValueError) as refused:
            SentenceClassifier("minilm", layer=1, **options).fit(X, y)
        assert isinstance(refused.value, FirstbertError)
