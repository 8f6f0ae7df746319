from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from conftest import TEXTS
from firstbert import SentenceClassifier, artifact, load
from firstbert.errors import ArtifactError, EncoderError


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """A model folder of one's own."""
    return Path(shutil.copytree(model, tmp_path / "m"))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "model.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def test_what_is_in_the_folder(model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == ["README.md", "head.safetensors", "model.json"]
    facts = json.loads((model / "model.json").read_text())
    assert (facts["format"], facts["labels"], facts["label_type"]) == (2, ["bad", "good"], "str")
    assert (facts["layer"], facts["pooling"], facts["max_length"], facts["precision"]) == (4, "mean", 256, "fp32")
    assert len(facts["golden"]) == 5 and facts["training"]["rows"] == 12
    assert not {row["text"] for row in facts["golden"]} & set(TEXTS)
    assert "12 rows" in (model / "README.md").read_text()


def test_load_gives_the_same_answers(classifier: SentenceClassifier, model: Path) -> None:
    assert np.array_equal(load(model).predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_same_training_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    again = SentenceClassifier("minilm").fit(TEXTS, ["good", "bad"] * 6).save(tmp_path / "again")
    for name in ("model.json", "head.safetensors", "README.md"):
        assert (again / name).read_bytes() == (model / name).read_bytes()


def test_options_that_are_numpys_are_saved_too(tmp_path: Path) -> None:
    options: dict[str, Any] = {"layer": np.int64(1), "max_length": np.int64(30), "random_state": np.int64(3)}
    SentenceClassifier("minilm", **options).fit(TEXTS, ["good", "bad"] * 6).save(tmp_path / "m")
    facts = json.loads((tmp_path / "m" / "model.json").read_text())
    assert (facts["layer"], facts["max_length"], facts["training"]["seed"]) == (1, 30, 3)


def test_saving_again_replaces_a_model_whole(classifier: SentenceClassifier, folder: Path) -> None:
    (folder / "head.safetensors").write_bytes(b"broken")
    classifier.save(folder)
    assert load(folder).predict(TEXTS[:1]).tolist() == ["good"]
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_where_folders_cannot_change_places_in_one_step(
    classifier: SentenceClassifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_exchange", lambda one, other: False)
    test_saving_again_replaces_a_model_whole(classifier, folder)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if target == folder and path.name != "model":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    before = (folder / "model.json").read_bytes()
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ArtifactError, match="what stood there is unchanged"):
        classifier.save(folder)
    assert (folder / "model.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_a_link_to_a_model_is_replaced_and_what_it_points_at_stays(
    classifier: SentenceClassifier, folder: Path
) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    before = (folder / "model.json").stat().st_ino
    classifier.save(link)
    assert not link.is_symlink() and (folder / "model.json").stat().st_ino == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["link", "m"]


def test_a_failed_save_leaves_what_was_there(
    classifier: SentenceClassifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "model.json").read_bytes()

    def full(*args: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "card", full)
    with pytest.raises(ArtifactError, match=r"No space left on device.*unchanged"):
        classifier.save(folder)
    assert (folder / "model.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_places_that_are_not_ours_are_left_alone(classifier: SentenceClassifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is a file"):
        classifier.save(tmp_path / "file")
    with pytest.raises(ArtifactError, match="holds other files"):
        classifier.save(tmp_path / "folder")
    assert (tmp_path / "folder" / "notes.txt").read_text() == "mine"


def test_portable_needs_no_other_encoder(
    classifier: SentenceClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = classifier.predict_proba(TEXTS)
    folder = classifier.save(tmp_path / "m", portable=True)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {p.name for p in (folder / "encoder").iterdir()}
    moved = folder.rename(tmp_path / "moved")
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("FIRSTBERT_OFFLINE", "1")
    assert np.abs(load(moved).predict_proba(TEXTS) - expected).max() < 1e-9


def test_another_encoders_weights_are_refused(folder: Path) -> None:
    edit(folder, lambda facts: facts["encoder"].update(weights_sha256="0" * 64))
    with pytest.raises(EncoderError, match="not the ones this model was trained on"):
        load(folder).predict(TEXTS)


def test_golden_texts_tell_a_machine_that_differs(folder: Path) -> None:
    assert artifact.check_golden(artifact.load(folder)).passed
    edit(folder, lambda facts: facts["golden"][2].update(probabilities=[0.25, 0.75]))
    check = artifact.check_golden(artifact.load(folder))
    assert not check.passed and max(check.differences) == check.differences[2] > 1e-4


HEAD = {"weight": np.zeros((2, 384), np.float32), "bias": np.zeros(2, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("format"), "model.json: holds no 'format'"),
        (lambda f: f.update(format=True), "holds no 'format'"),
        (lambda f: f.update(format=3), "format 3, made by a newer firstbert"),
        (lambda f: f.update(format=0), "format 0, no known format"),
        (lambda f: f.pop("labels"), "'labels' must be a proper list"),
        (lambda f: f.update(labels=["bad"]), "'labels' must be two or more"),
        (lambda f: f.update(labels=["bad", "bad"]), "'labels' must be two or more, up to 20,000, each once"),
        (lambda f: f.update(labels=["bad", 1]), "'labels' must all be of label_type 'str'"),
        (lambda f: f.update(label_type="int"), "'labels' must all be of label_type 'int'"),
        (lambda f: f.update(label_type="eval"), "label_type 'eval'"),
        (lambda f: f.update(labels=["a", "b", "c"]), "head.safetensors: shapes .* don't fit the 3 labels"),
        (lambda f: f.update(layer=0), "'layer'"),
        (lambda f: f.update(layer="6"), "'layer' must be a proper layer, or a list of them. Got '6'"),
        (lambda f: f.update(layer=True), "'layer'"),
        (lambda f: f.update(pooling="max"), "'pooling'"),
        (lambda f: f.update(max_length=10**9), "'max_length'"),
        (lambda f: f.update(precision="int3"), "'precision'"),
        (lambda f: f.update(encoder="minilm"), "'encoder.name'"),
        (lambda f: f["encoder"].update(weights_sha256="x"), "'encoder.weights_sha256'"),
        (lambda f: f.update(layer=[4, 0]), "'layer' must be a proper layer"),
        (lambda f: f.update(layer=[]), "'layer' must be a proper layer"),
        (lambda f: f.pop("many_labels"), "'many_labels' must be a proper bool"),
        (lambda f: f.update(calibration={"kind": "?"}), "'calibration.temperature' must be a proper float"),
        (lambda f: f.update(calibration={"temperature": 0.0}), "'calibration.temperature' must be a proper float"),
        (lambda f: f.update(thresholds=None), "'thresholds' must be a proper dict"),
        (lambda f: f.update(thresholds={"labels": [0.5]}), "'thresholds.labels' must be a proper list"),
        (lambda f: f.update(thresholds={"labels": [0.5, -1.0]}), "'thresholds.labels' must be numbers above 0"),
        (lambda f: f.update(thresholds={"accept": "never"}), "'thresholds.accept' must be a proper float"),
        (lambda f: f.update(format=1, calibration={"temperature": 2.0}), "'calibration' is not known to this format"),
        (lambda f: f.update(golden=[]), "'golden'"),
        (lambda f: f["golden"][0].update(probabilities=[2.0, -1.0]), "probability outside"),
        (lambda f: f["golden"][0].update(probabilities=[1.0]), "'golden.probabilities'"),
        (lambda f: f["golden"][0].update(text=None), "'golden.text'"),
        (lambda f: f.update(training=None), "'training'"),
        (lambda f: f.update(head_sha256="0" * 64), "head.safetensors: its sha256 is not the one"),
    ],
)
def test_a_false_fact_is_refused_and_named(folder: Path, change: Any, message: str) -> None:
    edit(folder, change)
    with pytest.raises(ArtifactError, match=message):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "not a readable safetensors"),
        (b"\xff" * 40, "not a readable safetensors"),
        (save(HEAD)[:100], "not a readable safetensors"),
        (save(HEAD | {"more": HEAD["bias"]}), "expected 'weight' and 'bias'"),
        (save({"weight": HEAD["weight"]}), "expected 'weight' and 'bias'"),
        (save(HEAD | {"weight": np.zeros((3, 384), np.float32)}), "don't fit the 2 labels"),
        (save(HEAD | {"weight": np.zeros(2, np.float32)}), "don't fit the 2 labels"),
        (save(HEAD | {"bias": np.zeros(3, np.float32)}), "don't fit the 2 labels"),
        (save(HEAD | {"bias": np.zeros(2, np.float64)}), "must be float32"),
        (save(HEAD | {"bias": np.array([0, np.nan], np.float32)}), "NaN"),
    ],
)
def test_a_foreign_head_is_refused_even_with_its_hash(folder: Path, head: bytes, message: str) -> None:
    import hashlib

    (folder / "head.safetensors").write_bytes(head)
    edit(folder, lambda facts: facts.update(head_sha256=hashlib.sha256(head).hexdigest()))
    with pytest.raises(ArtifactError, match=f"head.safetensors: .*{message}"):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "expected a JSON object"),
        (b"{" * 100_000, "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b'{"format": NaN}', "NaN is no number"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_a_broken_model_json_is_refused(folder: Path, text: bytes, message: str) -> None:
    (folder / "model.json").write_bytes(text)
    with pytest.raises(ArtifactError, match=f"model.json: .*{message}"):
        artifact.load(folder)


@pytest.mark.parametrize("name", ["model.json", "head.safetensors"])
def test_missing_linked_or_odd_files_are_refused(folder: Path, name: str) -> None:
    (folder / name).rename(folder / "elsewhere")
    with pytest.raises(ArtifactError, match=f"{name}: missing"):
        artifact.load(folder)
    (folder / name).symlink_to(folder / "elsewhere")
    with pytest.raises(ArtifactError, match=f"{name}: missing, or no plain file"):
        artifact.load(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ArtifactError, match=f"{name}: missing, or no plain file"):
        artifact.load(folder)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such model folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="is a file, not a model folder"):
        load(tmp_path / "file")


def test_a_folder_of_the_first_format_answers_as_it_did() -> None:
    loaded = load(Path(__file__).parent / "models" / "format-1")
    expected = [[0.4973996401691293, 0.5026003598308707], [0.505730642772184, 0.49426935722781595]]
    assert np.abs(loaded.predict_proba(TEXTS[:2]) - expected).max() < 1e-4
    assert loaded.predictor_.encoder.layer == 1 and not loaded.predictions(TEXTS).unsure.any()
    assert artifact.check_golden(artifact.load(Path(__file__).parent / "models" / "format-1")).passed
