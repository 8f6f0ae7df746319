from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from firstbert.targets import Targets
from firstbert.words import words_out_of_fold

FOLD = np.arange(60) % 3


def said(n: int = 60, seed: int = 0) -> list[str]:
    words = ["Good", "good", "bad", "film", "a", "!", "it's"]
    return [" ".join(np.random.default_rng((seed, i)).choice(words, 5)) for i in range(n)]


def test_scores_are_those_of_scikit_learns_naive_bayes_on_the_other_folds() -> None:
    texts = [f"{text} once{i}" for i, text in enumerate(said())]  # a word that no other text has
    y = np.random.default_rng(1).integers(0, 3, 60)
    scores = words_out_of_fold(texts, Targets(y), FOLD)
    counts = CountVectorizer(binary=True, token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), min_df=2)
    X = counts.fit_transform(texts)
    for f in range(3):
        out = f == FOLD
        prior = (np.bincount(y[~out], minlength=3) + 1) / (np.count_nonzero(~out) + 3)
        expected = MultinomialNB(class_prior=prior).fit(X[~out], y[~out]).predict_joint_log_proba(X[out])
        difference = scores[out] - expected
        assert np.ptp(difference) < 1e-4  # the same for all labels and rows


def test_a_rows_own_label_says_nothing_of_it() -> None:
    texts, y = said(), np.arange(60) % 2
    other = np.where(np.arange(60) == 7, 1 - y, y)
    one, two = (words_out_of_fold(texts, Targets(labels), FOLD) for labels in (y, other))
    same = (one == two).all(axis=1)
    beside = FOLD[7] == FOLD
    assert same[beside].all() and not same[~beside].any()


def test_with_many_labels_each_is_judged_alone() -> None:
    texts = said()
    y = np.random.default_rng(2).random((60, 2)) < 0.4
    scores = words_out_of_fold(texts, Targets(y), FOLD)
    for label in (0, 1):
        alone = words_out_of_fold(texts, Targets(y[:, label].astype(np.intp)), FOLD)
        assert scores[:, label] == pytest.approx(alone[:, 1] - alone[:, 0], abs=1e-4)


def test_texts_that_share_no_word_get_the_shares_of_the_labels() -> None:
    scores = words_out_of_fold([f"w{i}" for i in range(60)], Targets(np.arange(60) % 2), FOLD)
    assert np.abs(scores[:, 1] - scores[:, 0]).max() < 0.1
