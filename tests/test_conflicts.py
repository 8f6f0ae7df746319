from __future__ import annotations

import numpy as np
import pytest

from firstbert.conflicts import NearOptions, near_duplicates, same_texts

FILM = "A warm and funny film with a clever story."


def vectors(*angles: float) -> np.ndarray:
    """Unit vectors at these angles (degrees), and their opposites, so that the mean is zero."""
    points = np.array([(np.cos(np.radians(a)), np.sin(np.radians(a))) for a in angles], np.float32)
    return np.concatenate([points, -points])


def test_same_texts_are_found_whatever_their_case_and_spaces() -> None:
    texts = ["Fine film", "fine  film ", "dull", "fine film", "dull"]
    assert same_texts(texts, np.array([0, 1, 0, 0, 0])) == [[0, 1, 3]]


def test_a_small_change_under_another_label_is_found() -> None:
    texts = [FILM, FILM.replace("clever", "silly"), "I hated it.", *"xyz"]
    found = near_duplicates(texts, vectors(0, 10, 90), np.array([0, 1, 1, 0, 0, 0]), NearOptions())
    assert found == [(0, 1)]


@pytest.mark.parametrize(
    ("second", "angle", "kind"),
    [
        (FILM.replace("clever", "silly"), 10, 0),  # the same label: no conflict
        (FILM.replace("clever", "silly"), 60, 1),  # other vectors
        ("The best documentary about eels so far.", 10, 1),  # other words
        (FILM.upper(), 0, 1),  # the same text: not *nearly* the same
    ],
)
def test_what_is_no_near_duplicate(second: str, angle: float, kind: int) -> None:
    texts = [FILM, second, "p", "q"]
    assert near_duplicates(texts, vectors(0, angle), np.array([0, kind, 0, 0]), NearOptions()) == []


def test_short_texts_are_compared_by_letters() -> None:
    rows = vectors(0, 5, 10)
    texts = ["horrible", "horible", "terrible", "p", "q", "r"]
    found = near_duplicates(texts, rows, np.array([0, 1, 1, 0, 0, 0]), NearOptions())
    assert found == [(0, 1)]


def test_blocks_and_their_edges_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6)).astype(np.float32)
    kinds = rng.integers(0, 3, 120)
    Z = X - X.mean(axis=0)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    expected = {(i, j) for i in range(120) for j in range(120) if kinds[i] < kinds[j] and Z[i] @ Z[j] >= 0.8}
    texts = [f"{i}: {FILM}" for i in range(120)]
    monkeypatch.setattr("firstbert.conflicts._BLOCK", 500)
    found = near_duplicates(texts, X, kinds, NearOptions())
    assert set(found) == expected
    assert len(expected) > 20
    cosines = [float(Z[i] @ Z[j]) for i, j in found]
    assert cosines == sorted(cosines, reverse=True)
    assert near_duplicates(texts, X, kinds, NearOptions(pairs=5)) == found[:5]
