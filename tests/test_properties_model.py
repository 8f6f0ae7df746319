"""A model that is saved and loaded is the same model, whatever its labels, thresholds, layers and kept sentences."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstbert import artifact
from firstbert.artifact import Artifact
from firstbert.calibration import Calibration
from firstbert.decision import Decision
from firstbert.engine import Encoded
from firstbert.head import Head
from firstbert.labels import unusable
from firstbert.neighbours import Neighbours
from made_rows import ANY

WORDS = ANY.filter(lambda text: unusable(text) is None)
LABELS = st.one_of(
    st.lists(WORDS, min_size=2, max_size=6, unique=True),
    st.lists(st.integers(-(2**53), 2**53), min_size=2, max_size=6, unique=True),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=6, unique=True),
    st.just([False, True]),
)
NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)
SHARES = st.floats(1e-9, 1.0)


@st.composite
def models(draw: st.DrawFn, base: Artifact) -> Artifact:
    """A model like `base`, with a head, labels and rules of its own."""
    labels, many = tuple(draw(LABELS)), draw(st.booleans())
    width = base.predictor.head.weight.shape[1]
    one = draw(st.lists(NUMBERS, min_size=len(labels), max_size=len(labels)))
    weight = np.array(one, np.float32)[:, None] * np.linspace(-1, 1, width, dtype=np.float32)
    thresholds = draw(st.none() | st.lists(SHARES, min_size=len(labels), max_size=len(labels)).map(tuple))
    predictor = replace(
        base.predictor, labels=labels, head=Head(weight.astype(np.float32), np.array(one, np.float32)),
        calibration=Calibration(many, draw(st.floats(1e-3, 1e3))),
        decision=Decision(many, thresholds, draw(st.none() | st.floats(0, 1))),
    )  # fmt: skip
    golden = tuple(
        (text, np.full(len(labels), 0.5, np.float32)) for text in draw(st.lists(ANY.filter(bool), min_size=1))
    )
    texts = tuple(draw(st.lists(ANY, min_size=1, max_size=5)))
    answers = tuple((labels[0],) if many else labels[-1] for _ in texts)
    kept = Neighbours(texts, answers, np.ones((len(texts), width), np.float16))
    rows: dict[str, Any] = {"rows": 12, "rows_per_label": [3] * len(labels)}
    return Artifact(predictor, rows, golden, draw(st.none() | st.just(kept)))


@pytest.fixture(scope="module")
def base(quick: Path) -> Artifact:
    return artifact.load(quick)


@settings(max_examples=40)
@given(data=st.data())
def test_what_is_loaded_is_what_was_saved(base: Artifact, data: st.DataObject) -> None:
    made = data.draw(models(base))
    with tempfile.TemporaryDirectory() as folder:
        place = artifact.save(made, Path(folder) / "model")
        found = artifact.load(place)
        again = artifact.save(found, Path(folder) / "again")
        assert all((again / path.name).read_bytes() == path.read_bytes() for path in place.iterdir())
    assert (found.predictor.labels, found.training) == (made.predictor.labels, made.training)
    assert [type(label) for label in found.predictor.labels] == [type(label) for label in made.predictor.labels]
    assert (found.predictor.calibration, found.predictor.decision) == (
        made.predictor.calibration,
        made.predictor.decision,
    )
    assert [text for text, _ in found.golden] == [text for text, _ in made.golden]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(found.golden, made.golden, strict=True))
    assert (found.neighbours is None) == (made.neighbours is None)
    if found.neighbours and made.neighbours:
        assert (found.neighbours.texts, found.neighbours.labels) == (made.neighbours.texts, made.neighbours.labels)
    vectors = np.linspace(-1, 1, 3 * made.predictor.head.weight.shape[1], dtype=np.float32).reshape(3, 1, -1)
    with np.errstate(all="ignore"):
        one, other = (a.predictor.answer(Encoded(vectors, np.zeros(3, np.bool_))) for a in (made, found))
    assert np.array_equal(one.probabilities, other.probabilities) and one.best() == other.best()
