"""A trace: every number in it is the one that the model used, and what it says of words is true."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import TEXTS, Outcome
from firstbert import ArtifactError, DataError, SentenceClassifier, UsageError, load
from firstbert.artifact import load as load_artifact
from firstbert.classifier import SentenceClassifier as Classifier
from firstbert.drawing import draw
from firstbert.explain import Explainer, Trace, explain
from firstbert.graph import Read
from firstbert.neighbours import MOST

Cli = Callable[..., Outcome]
SAID = "What a joy, though not without a dull minute."
LONG = "It goes on " + "and on " * 400
LABELS = ["good", "bad"] * 6


@pytest.fixture(scope="module")
def by_cls() -> Classifier:
    return SentenceClassifier("minilm", pooling="cls", layer=3).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def wide() -> Classifier:
    """Several layers side by side, several labels a text."""
    return SentenceClassifier("minilm", layer=(2, 4)).fit(TEXTS, [("film", each) for each in LABELS[:-1]] + [("film",)])


def test_it_tells_the_way_of_a_text(classifier: Classifier) -> None:
    trace = explain(classifier, SAID)
    engine = classifier.predictor_.engine
    assert [piece.id for piece in trace.pieces] == engine.tokenizer([SAID]).ids[0]
    assert [SAID[piece.start : piece.end].lower() for piece in trace.pieces if not piece.special] == [
        piece.token.removeprefix("##") for piece in trace.pieces if not piece.special
    ]
    assert [piece.token for piece in trace.pieces if piece.special] == ["[CLS]", "[SEP]"]
    assert trace.predictions.records() == classifier.predictions([SAID]).records()
    assert (trace.vector == engine.encode([SAID]).joined[0]).all()
    np.testing.assert_allclose(trace.weight @ trace.vector + trace.model["bias"][trace.shown],
                               trace.scores[trace.shown], atol=1e-4)  # fmt: skip
    assert len(trace.stages) == engine.layer + 1
    np.testing.assert_allclose(trace.stages[-1].vector, trace.vector, atol=1e-6)
    np.testing.assert_allclose(trace.stages[-1].probabilities, trace.predictions.probabilities[0], atol=1e-6)
    for stage in trace.stages[1:]:
        alone = SentenceClassifier("minilm", layer=stage.layer, pooling=engine.pooling)
        alone.fit(TEXTS, LABELS)
        np.testing.assert_allclose(stage.vector, alone.predictor_.engine.encode([SAID]).joined[0], atol=1e-5)
    assert trace.batch.ids[0, : len(trace.pieces)].tolist() == [piece.id for piece in trace.pieces]
    assert trace.batch.lengths.tolist()[1:] == [len(tokens) for tokens in trace.companions]


@pytest.mark.parametrize("text", [SAID, "NO.", "Ünïcödé 电影 🎬 done", LONG])
def test_shares_add_up_to_the_score(classifier: Classifier, wide: Classifier, text: str) -> None:
    for model in (classifier, wide):
        trace = explain(model, text)
        assert trace.contributions.method == "exact"
        assert np.abs(trace.contributions.tokens.sum(axis=0) - trace.scores).max() < 1e-4
        assert not trace.contributions.base.any()


def test_a_share_is_what_the_head_says_of_one_token(classifier: Classifier) -> None:
    trace = explain(classifier, SAID)
    predictor = classifier.predictor_
    engine = type(predictor.engine)(predictor.encoder, (Read(int(predictor.engine.layer), "tokens"),))
    states = engine.session(trace_batch(trace))[0][0]
    np.testing.assert_allclose(trace.contributions.tokens, predictor.head.scores(states) / len(states), atol=1e-6)


def trace_batch(trace: Trace) -> Any:
    from firstbert.batches import batch_of

    return batch_of([[piece.id for piece in trace.pieces]], np.zeros(1, np.intp))


def test_occlusion_is_the_fall_without_the_token(classifier: Classifier, by_cls: Classifier) -> None:
    for model, method in ((by_cls, "auto"), (classifier, "occlusion")):
        trace = explain(model, SAID, method)
        assert trace.contributions.method == "occlusion"
        head = model.predictor_.head
        ids = [piece.id for piece in trace.pieces]
        for t in (1, 4, len(ids) - 2):
            without = model.predictor_.engine.encode_ids([ids[:t] + ids[t + 1 :]])[:, 0]
            np.testing.assert_allclose(trace.contributions.tokens[t], trace.scores - head.scores(without)[0], atol=1e-5)
        assert not trace.contributions.tokens[[0, -1]].any()
        total = trace.contributions.tokens.sum(axis=0) + trace.contributions.base
        np.testing.assert_allclose(total, trace.scores)


@pytest.mark.parametrize("method", ["exact", "occlusion"])
def test_without_its_strongest_words_a_text_loses_more_than_without_others(classifier: Classifier, method: Any) -> None:
    rng = np.random.default_rng(0)
    predictor = classifier.predictor_
    falls: list[tuple[float, float]] = []
    for text in [f"{a} {b}" for a in TEXTS for b in ("That is what I think of it.", "So it goes in this town.")]:
        trace = explain(classifier, text, method)
        ids = [piece.id for piece in trace.pieces]
        inner = np.arange(1, len(ids) - 1)
        strongest = inner[np.argsort(-trace.contributions.tokens[inner, trace.shown])[:3]]
        dropped = [strongest, *(rng.choice(inner, 3, replace=False) for _ in range(10))]
        rest = [[id_ for t, id_ in enumerate(ids) if t not in drop] for drop in dropped]
        scores = predictor.head.scores(predictor.engine.encode_ids(rest)[:, 0])
        lost = (
            trace.predictions.probabilities[0, trace.shown]
            - predictor.calibration.probabilities(scores)[:, trace.shown]
        )
        falls.append((lost[0], lost[1:].mean()))
    top, random = np.mean(falls, axis=0)
    assert top > 2 * random
    assert top > 0


def test_several_layers_and_labels(wide: Classifier) -> None:
    trace = explain(wide, SAID)
    assert trace.model["layer"] == (2, 4)
    assert len(trace.stages) == 5
    assert all(stage.probabilities is None for stage in trace.stages)
    assert len(trace.vector) == 2 * 384
    found = json.loads(json.dumps(trace.as_dict()))
    assert found["answer"]["label"] == list(trace.predictions.best()[0])


def test_cut_texts_say_how_far_they_were_read(classifier: Classifier) -> None:
    found = explain(classifier, LONG).as_dict()
    assert found["answer"]["truncated"]
    assert len(found["tokens"]) == 256
    assert 0 < found["read_to"] < len(LONG)


def test_what_cannot_be_explained(classifier: Classifier, by_cls: Classifier) -> None:
    with pytest.raises(UsageError, match="Take 'occlusion'"):
        explain(by_cls, SAID, "exact")
    with pytest.raises(UsageError, match="'auto', 'exact' or 'occlusion'"):
        explain(classifier, SAID, "magic")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="without a text"):
        explain(classifier, "  ")
    with pytest.raises(DataError):
        explain(classifier, "half \ud800")


# ---------------------------------------------------------------- training sentences nearby


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remembering") / "model"
    kept = SentenceClassifier("minilm").fit(TEXTS, LABELS).keep_neighbours(TEXTS + TEXTS[:2], LABELS + LABELS[:2])
    return kept.save(folder)


def test_neighbours_are_the_sentences_with_the_most_alike_vectors(remembering: Path) -> None:
    model = load(remembering)
    assert model.neighbours_ is not None
    assert len(model.neighbours_.texts) == len(TEXTS)  # each text once
    for text, label in zip(TEXTS[:3], LABELS, strict=False):
        first = explain(model, text).neighbours[0]
        assert (first.text, first.label) == (text, label)
        assert first.similarity == pytest.approx(1, abs=2e-3)
    found = explain(model, SAID).neighbours
    vectors = model.predictor_.engine.encode([SAID, *TEXTS]).joined
    cosines = vectors[1:] @ vectors[0] / np.linalg.norm(vectors[1:], axis=1) / np.linalg.norm(vectors[0])
    assert [each.text for each in found] == [TEXTS[i] for i in np.argsort(-cosines)[:5]]
    np.testing.assert_allclose([each.similarity for each in found], np.sort(cosines)[::-1][:5], atol=2e-3)
    again = load(model.save(remembering.parent / "again"))
    assert again.neighbours_.texts == model.neighbours_.texts


def test_a_model_that_keeps_none_says_so(classifier: Classifier) -> None:
    assert explain(classifier, SAID).neighbours is None
    assert MOST == 20_000


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("neighbours.jsonl", lambda data: data + b"\n", "sha256"),
        ("neighbours.safetensors", lambda data: data[:-1], "sha256"),
        ("neighbours.jsonl", None, "missing"),
    ],
)
def test_damaged_neighbours_are_refused(remembering: Path, tmp_path: Path, name: str, change: Any, told: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(remembering, folder)
    path = folder / name
    path.write_bytes(change(path.read_bytes())) if change else path.unlink()
    with pytest.raises(ArtifactError, match=f"{name}.*{told}"):
        load_artifact(folder)


@pytest.mark.parametrize("row", [b'{"text": 1, "label": "good"}', b'{"text": "a", "label": "other"}', b"[" * 9000])
def test_sentences_that_are_none_are_refused(remembering: Path, tmp_path: Path, row: bytes) -> None:
    import hashlib

    folder = tmp_path / "model"
    shutil.copytree(remembering, folder)
    (folder / "neighbours.jsonl").write_bytes(row + b"\n")
    facts = json.loads((folder / "model.json").read_text())
    facts["neighbours"]["texts_sha256"] = hashlib.sha256(row + b"\n").hexdigest()
    (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(ArtifactError, match=r"neighbours\.jsonl"):
        load_artifact(folder)


# ---------------------------------------------------------------- on the command line


def test_explain_on_the_command_line(tmp_path: Path, cli: Cli) -> None:
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))
    (tmp_path / "rows.tsv").write_text(rows)
    trained = cli("train", tmp_path / "rows.tsv", "-o", tmp_path / "model", "--test-size", 0, "--neighbours")
    assert trained.code == 0, trained.err
    assert "12 of its training sentences" in (tmp_path / "model" / "README.md").read_text()
    found = cli("explain", tmp_path / "model", SAID, "--json").json
    assert found["neighbours"] and found["answer"]["label"] in LABELS
    drawn = cli("explain", tmp_path / "model", SAID).out
    for words in ("Words become tokens", "Layer by layer", "together: the score", "Sentences like it", SAID):
        assert words in drawn
    assert f"{found['labels'][0]['score']:+.2f}" in drawn
    page = cli("explain", tmp_path / "model", SAID, "--html", tmp_path / "page.html")
    assert "The page is" in page.err
    assert "<title>What a joy, though not" in (tmp_path / "page.html").read_text()


def test_a_drawing_of_every_kind(classifier: Classifier, by_cls: Classifier, wide: Classifier) -> None:
    from io import StringIO

    from rich.console import Console

    for model in (classifier, by_cls, wide):
        for text in (SAID, LONG, "[bold]x[/] \x1b[31mred\x1b[0m \u202eback"):
            out = StringIO()
            draw(Explainer(model.predictor_)(text), Console(file=out, width=90, force_terminal=False))
            assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
            assert max(map(len, out.getvalue().splitlines())) <= 96
            assert ("Cut after" in out.getvalue()) == (text == LONG)
