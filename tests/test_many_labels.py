"""Texts that carry any number of labels, from lists and files to answers and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

from conftest import TEXTS, Outcome
from firstbert import SentenceClassifier, load
from firstbert.data import DataOptions, Examples, from_lists, read
from firstbert.errors import DataError
from sentences import sentences
from written import given

LISTS = [["good", "long"], ["bad"], [], ["good"]] * 3


def labelled(n: int = 120) -> tuple[list[str], list[tuple[str, ...]]]:
    """Topic and kindness as labels; nothing for unkind words on sport."""
    texts, topics, kind = sentences(n)
    named = [
        tuple(([topic] if topic != "sport" else []) + (["kind"] if k else []))
        for topic, k in zip(topics, kind, strict=True)
    ]
    return texts, named


def labels_of(examples: Examples) -> list[Any]:
    assert examples.labels is not None and examples.many
    return examples.labels


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "labels",
    [
        LISTS,
        [tuple(row) for row in LISTS],
        [set(row) for row in LISTS],
        [frozenset(row) for row in LISTS],
        [np.array(row, str) for row in LISTS],
        [[np.str_(label) for label in row] for row in LISTS],
        ["|".join(row) for row in LISTS],
        ["long | good |good", "bad", " ", "good"] * 3,
        [["long", "good", "good"], ["bad"], [], ["good"]] * 3,
    ],
    ids=["lists", "tuples", "sets", "frozensets", "arrays", "numpy", "text", "spaced", "twice"],
)
def test_in_every_form_the_same(labels: Any) -> None:
    examples = from_lists(TEXTS, labels, options=DataOptions(labels="auto"))
    assert labels_of(examples) == [("good", "long"), ("bad",), (), ("good",)] * 3
    assert {type(part) for row in labels_of(examples) for part in row} == {str}
    assert examples.sha256 == from_lists(TEXTS, LISTS).sha256


@pytest.mark.parametrize(
    ("parts", "kind"), [([1, -2], int), ([True, False], bool), ([0.5, 2.0], float), ([np.int64(3), np.int64(4)], int)]
)
def test_parts_keep_their_type(parts: list[Any], kind: type, tmp_path: Path) -> None:
    labels = [parts, parts[:1], [], parts[1:]] * 3
    classifier = SentenceClassifier("minilm", layer=1, C=100.0).fit(TEXTS, labels)
    for one in (classifier, load(classifier.save(tmp_path / "model"))):
        assert one.classes_.tolist() == sorted(parts) and {type(x) for x in one.predictor_.labels} == {kind}
        assert one.predict(TEXTS).tolist() == [tuple(sorted(row)) for row in labels]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([None], "without a label"),
        (["good", ""], "without a label"),
        ([float("nan")], "without a label"),
        ([["good"]], "whose label is no string"),
        ([{"good": 1}], "whose label is no string"),
        ([1j, 2j], "whose label is no string"),
        ([b"good"], "whose label is no string"),
        ([1, "good"], "mixed types"),
        ([True, "good"], "mixed types"),
        (7, "mixed types"),
        (None, "without a label"),
    ],
)
def test_rows_that_carry_no_labels_one_can_use(row: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        from_lists(TEXTS, [row, *LISTS[1:]])


def test_one_or_many_as_asked(tmp_path: Path) -> None:
    lines = "".join(f"sentence number {i}\t{label}\n" for i, label in enumerate(["1|2", "2", "1", "3"] * 3))
    path = given(tmp_path, "text\tlabel\n" + lines)
    auto, one, many = (read(path, DataOptions(labels=how)) for how in ("auto", "one", "many"))
    assert labels_of(auto) == labels_of(many) == [(1, 2), (2,), (1,), (3,)] * 3
    assert one.labels == ["1|2", "2", "1", "3"] * 3
    assert [f.kind for f in auto.findings] == ["many_labels"] and not one.findings and not many.findings
    assert "lines 2, 6, 10" in auto.findings[0].message and "--labels one" in auto.findings[0].message
    single = from_lists(TEXTS, ["a", "b"] * 6, options=DataOptions(labels="many"))
    assert labels_of(single) == [("a",), ("b",)] * 6
    with pytest.raises(DataError, match="whose label is no string"):
        from_lists(TEXTS, LISTS, options=DataOptions(labels="one"))


def test_labels_as_frames_bring_them() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "label": [np.array(row, object) for row in LISTS]})
    assert labels_of(read(frame)) == labels_of(from_lists(TEXTS, LISTS))


@pytest.mark.parametrize("labels", [[[]] * 12, [["a"]] * 12, [["a"], []] * 6])
def test_two_labels_at_least(labels: Any) -> None:
    with pytest.raises(DataError, match="at least two"):
        from_lists(TEXTS, labels)


# ---------------------------------------------------------------- fitting


@pytest.fixture(scope="module")
def many() -> SentenceClassifier:
    return SentenceClassifier("minilm", cache=False).fit(*labelled())


def test_from_texts_to_answers_and_back(many: SentenceClassifier, tmp_path: Path) -> None:
    assert many.classes_.tolist() == ["film", "food", "kind"]
    assert many.facts_["layers"] is not None and sum(many.facts_["rows_per_label"]) > 120
    texts, named = (part[120:] for part in labelled(200))
    p, answers = many.predict_proba(texts), many.predict(texts)
    assert p.shape == (80, 3) and (p >= 0).all() and (p <= 1).all() and np.ptp(p.sum(axis=1)) > 0.5
    assert [tuple(many.classes_[row >= 0.5]) for row in p] == answers.tolist()
    right = np.mean([answer == row for answer, row in zip(answers, named, strict=True)])
    assert right > 0.8 and many.score(texts, named) == right and () in answers.tolist()
    loaded = load(many.save(tmp_path / "model"))
    assert np.array_equal(loaded.predict_proba(texts), p) and loaded.predict(texts).tolist() == answers.tolist()
    facts = json.loads((tmp_path / "model" / "model.json").read_text())
    assert facts["many_labels"] is True and facts["labels"] == ["film", "food", "kind"]


def test_records_hold_lists(many: SentenceClassifier) -> None:
    texts, _ = labelled(10)
    for record in json.loads(json.dumps(many.predictions(texts).records())):
        chosen = [name for name, p in record["scores"].items() if p >= 0.5]
        assert record["label"] == chosen and 0 < record["score"] <= 1 and record["unsure"] is False


def test_score_takes_truth_in_every_form(many: SentenceClassifier) -> None:
    texts, named = (part[:40] for part in labelled())
    plain = many.score(texts, named)
    assert many.score(texts, ["|".join(row) for row in named]) == plain
    alone = [i for i, row in enumerate(named) if len(row) == 1]
    some, ones = [texts[i] for i in alone], [named[i][0] for i in alone]
    assert many.score(some, ones) == many.score(some, [[label] for label in ones]) > 0
    assert many.score(texts, [["film", "unheard of"]] * 40) == 0
    weight = np.arange(40) % 2
    assert many.score(texts, named, weight) == many.score(texts[1::2], named[1::2])


def test_a_label_with_a_bar_in_it_taken_whole() -> None:
    labels = ["a|b", "c"] * 6
    examples = from_lists(TEXTS, labels, options=DataOptions(labels="one"))
    classifier = SentenceClassifier("minilm", layer=1, C=100.0).fit_examples(examples)
    assert classifier.predict(TEXTS).tolist() == labels and classifier.score(TEXTS, labels) == 1


def test_a_label_that_every_row_carries_and_one_that_one_row_does() -> None:
    labels = [["all", "good" if i % 2 else "bad"] + (["once"] if i == 3 else []) for i in range(12)]
    classifier = SentenceClassifier("minilm", layer=1, C=1.0).fit(TEXTS, labels)
    p = dict(zip(classifier.classes_, classifier.predict_proba(["Something else."])[0], strict=True))
    assert p["all"] > 0.5 and p["once"] < 0.5


def test_weights_of_labels_and_rows() -> None:
    texts, named = labelled(60)
    plain = SentenceClassifier("minilm", layer=2, C=0.001, cache=False).fit(texts, named)
    heavy = SentenceClassifier("minilm", layer=2, C=0.001, class_weight={"kind": 8.0}, cache=False).fit(texts, named)
    heads = [classifier.predictor_.head for classifier in (plain, heavy)]
    assert np.array_equal(heads[0].weight[:2], heads[1].weight[:2])  # film and food are fitted as before
    assert heads[1].bias[2] > heads[0].bias[2]
    rows = [10.0 if "film" in row else 1.0 for row in named]
    weighted = SentenceClassifier("minilm", layer=2, C=0.001, cache=False).fit(texts, named, sample_weight=rows)
    assert (weighted.predict_proba(texts) - plain.predict_proba(texts)).mean(axis=0)[0] > 0.05


def test_thresholds_and_a_bound_on_errors(tmp_path: Path) -> None:
    texts, named = labelled(300)
    options = {"layer": 4, "thresholds": "macro_f1", "max_error": 0.2, "cache": False}
    classifier = SentenceClassifier("minilm", **options).fit(texts, named)
    decision = classifier.predictor_.decision
    assert decision.many and decision.thresholds is not None and len(decision.thresholds) == 3
    assert decision.accept is not None and decision.accept <= 1
    loaded = load(classifier.save(tmp_path / "model"))
    assert loaded.predictor_.decision == decision


def test_the_command_line(cli: Any, tmp_path: Path) -> None:
    texts, named = labelled(150)
    for name, rows in (("train", slice(0, 110)), ("test", slice(110, 150))):
        lines = [f"{text}\t{'|'.join(row)}" for text, row in zip(texts[rows], named[rows], strict=True)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *lines, ""]))
    trained: Outcome = cli("train", tmp_path / "train.tsv", "-o", tmp_path / "model")
    assert trained.code == 0, trained.err
    told: Outcome = cli("evaluate", tmp_path / "model", tmp_path / "test.tsv", "--json")
    assert told.code == 0, told.err
    assert load(tmp_path / "model").score(texts[110:], named[110:]) > 0.7


# ---------------------------------------------------------------- a matrix of 0 and 1


def matrix(n: int = 90, kind: Any = int) -> tuple[list[str], Any]:
    texts, named = labelled(n)
    return texts, np.array([[label in row for label in ("kind", "food", "film")] for row in named], kind)


@pytest.mark.parametrize("kind", [int, bool, np.float32])
def test_a_matrix_comes_back_as_one(kind: Any) -> None:
    texts, Y = matrix(kind=kind)
    classifier = SentenceClassifier("minilm", layer=4, C=1.0, cache=False).fit(texts, Y)
    assert classifier.classes_.tolist() == [0, 1, 2]
    found = classifier.predict(texts)
    assert found.dtype == Y.dtype and found.shape == Y.shape and (found == Y).mean() > 0.99
    p = classifier.predict_proba(texts)
    assert p.shape == (90, 3) and ((p >= 0.5) == found).all()
    assert classifier.score(texts, Y) == (found == Y).all(axis=1).mean()


def test_columns_keep_their_names_and_order() -> None:
    pandas = pytest.importorskip("pandas")
    texts, Y = matrix()
    frame = pandas.DataFrame(Y, columns=["kind", "food", "film"])
    classifier = SentenceClassifier("minilm", layer=4, C=1.0, cache=False).fit(texts, frame)
    assert classifier.classes_.tolist() == ["kind", "food", "film"]  # not in the order of the alphabet
    assert classifier.predictor_.labels == ("film", "food", "kind")
    plain = SentenceClassifier("minilm", layer=4, C=1.0, cache=False).fit(texts, Y)
    assert np.allclose(classifier.predict_proba(texts), plain.predict_proba(texts), atol=1e-6)
    assert (classifier.predict(texts) == plain.predict(texts)).all()
    assert classifier.score(texts, frame) == plain.score(texts, Y)


def test_a_column_without_a_1_stays_0() -> None:
    texts, Y = matrix()
    Y = np.insert(Y, 1, 0, axis=1)
    classifier = SentenceClassifier("minilm", layer=4, C=1.0, cache=False).fit(texts, Y)
    assert classifier.classes_.tolist() == [0, 1, 2, 3] and classifier.predictor_.labels == (0, 2, 3)
    assert (classifier.predict(texts)[:, 1] == 0).all() and (classifier.predict_proba(texts)[:, 1] == 0).all()
    assert classifier.predict(texts).shape == Y.shape and classifier.score(texts, Y) > 0.9


def test_fitted_again_without_one() -> None:
    texts, Y = matrix(30)
    classifier = SentenceClassifier("minilm", layer=1, C=1.0).fit(texts, Y)
    classifier.fit(texts, ["a", "b"] * 15)
    assert classifier.classes_.tolist() == ["a", "b"] and classifier.predict(texts).shape == (30,)


@pytest.mark.parametrize("bad", [[[0, 2]] * 12, [[0.5, 1]] * 12, [["0", "1"]] * 12, [[np.nan, 1]] * 12])
def test_other_matrices(bad: Any) -> None:
    with pytest.raises(DataError, match="0 and 1"):
        SentenceClassifier("minilm").fit(TEXTS, np.array(bad))


def test_a_sparse_matrix_is_refused() -> None:
    from scipy.sparse import csr_array

    with pytest.raises(DataError, match="dense"):
        SentenceClassifier("minilm").fit(TEXTS, csr_array(np.eye(12)))


def test_scikit_learn_measures_and_searches_with_matrices() -> None:
    texts, Y = matrix()
    classifier = SentenceClassifier("minilm", layer=4, C=1.0)
    scores = cross_val_score(classifier, texts, Y, cv=3, scoring="f1_macro")
    assert scores.shape == (3,) and scores.mean() > 0.8
    ranked = cross_val_score(classifier, texts, Y, cv=3, scoring="average_precision")
    assert ranked.mean() > 0.9
    p = cross_val_predict(classifier, texts, Y, cv=3, method="predict_proba")
    assert p.shape == Y.shape and f1_score(Y, p >= 0.5, average="macro") > 0.8
    search = GridSearchCV(classifier, {"C": [1e-6, 1.0]}, cv=3, scoring="f1_micro").fit(texts, Y)
    assert search.best_params_ == {"C": 1.0}
