"""scikit-learn's own checks of estimators, on texts made of the numbers that they come with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from families import small, write
from firstbert import SentenceClassifier, SentenceEncoder

COLUMNS, LEVELS = 20, 31
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def words(X: Any) -> Any:
    """A text for each row: a word for each number, rounded to fifths. What is no matrix of numbers stays as it is."""
    values = X.__array__() if hasattr(X, "__array__") else np.asarray(X) if isinstance(X, list) else X
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "biuf":
        return X
    levels = np.clip(np.round(np.nan_to_num(values.astype(float)) * 5), -15, 15).astype(int)
    return [" ".join(f"{j % COLUMNS}:{level}" for j, level in enumerate(row)) for row in levels]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two layers of random numbers, and a word for each level of each column."""
    names = [f"{j}:{level}" for j in range(COLUMNS) for level in range(-15, 16)]
    row = small("bert", vocab_size=len(SPECIAL) + len(names))
    folder = tmp_path_factory.mktemp("small") / "encoder"
    write(row, folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


class NumbersEncoder(SentenceEncoder):
    def encode(self, X: Any) -> Any:
        return super().encode(words(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string, tags.no_validation = True, False, True
        return tags


class NumbersClassifier(SentenceClassifier):
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        return super().fit(words(X), y, sample_weight)

    def predictions(self, X: Any) -> Any:
        return super().predictions(words(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        return super().score(words(X), y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string, tags.no_validation = True, False, True
        return tags


ENCODER_EXCEPTIONS = {
    "check_estimator_sparse_tag": "fit looks at no text: nothing is learned from them",
}
CLASSIFIER_EXCEPTIONS = {
    "check_estimator_sparse_tag": "texts are never sparse",
    "check_estimator_sparse_array": "texts are never sparse",
    "check_estimator_sparse_matrix": "texts are never sparse",
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 can't stand in two folds",
    "check_classifiers_one_label": "our messages say label, not class",
    "check_fit2d_1sample": "our messages say label, not class",
    "check_classifiers_multilabel_representation_invariance": "lists of lists hold labels, not 0 and 1",
}
SKIPPED = {"check_array_api_input", "check_classifiers_multilabel_output_format_decision_function"}


def check(estimator: Any, exceptions: dict[str, str]) -> set[str]:
    """Run all checks; what is excepted must fail, or it is no exception. Return those passed."""
    with pytest.warns(SkipTestWarning):
        results = check_estimator(estimator, expected_failed_checks=exceptions, on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(exceptions)
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= SKIPPED
    return {r["check_name"] for r in results if r["status"] == "passed"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.EstimatorCheckFailedWarning")
def test_the_encoder_passes_scikit_learns_checks(encoder: str) -> None:
    passed = check(NumbersEncoder(encoder, threads=1), ENCODER_EXCEPTIONS)
    assert {"check_transformer_general", "check_methods_subset_invariance", "check_fit_idempotent"} <= passed
    assert len(passed) >= 30


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.EstimatorCheckFailedWarning")
def test_the_classifier_passes_scikit_learns_checks(encoder: str) -> None:
    classifier = NumbersClassifier(encoder, layer=2, pooling="mean", threads=1, C=1.0, folds=2)
    passed = check(classifier, CLASSIFIER_EXCEPTIONS)
    assert {"check_classifiers_train", "check_classifiers_classes", "check_class_weight_classifiers"} <= passed
    assert len(passed) >= 40


@pytest.mark.parametrize("estimator", [SentenceEncoder(), SentenceClassifier()])
def test_without_such_texts_scikit_learn_has_nothing_to_check(estimator: Any) -> None:
    with pytest.warns(SkipTestWarning, match="requires input"):
        assert len(check_estimator(estimator)) == 1
