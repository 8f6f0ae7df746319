"""A model's folder, fact by fact: what stands there is loaded; the last value allowed is taken, the next isn't."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from firstbert import artifact, checks
from firstbert.artifact import Artifact, GoldenCheck, check_target, load, save
from firstbert.calibration import Calibration
from firstbert.decision import Decision
from firstbert.errors import ArtifactError
from firstbert.neighbours import Neighbours

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
BIAS = np.array([0.5, -1.0, 2.0], np.float32)
HALF = np.linspace(0, 1, 8).reshape(2, 4).astype(np.float16)
LEARNED = {
    "saved": "finetuned", "encoder": "RoBERTa", "recipe": "all", "epochs": 1.0, "learning_rate": 1e-5, "batch_size": 8,
    "precision": "fp32", "device": "cpu", "tune": "all", "teacher": False, "unlabelled": 0,
}  # fmt: skip


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def facts() -> dict[str, Any]:
    return {
        "format": 2, "firstbert": "0.1.0", "labels": ["a", "b", "c"], "label_type": "str",
        "encoder": {"name": "minilm", "made_with": "MiniLM", "family": "bert", "weights_sha256": "0a" * 32},
        "layer": 4, "pooling": "mean", "max_length": 256, "precision": "fp32", "backend": "onnx", "many_labels": False,
        "calibration": {"temperature": 1.5}, "thresholds": {"labels": None, "accept": None}, "training": {"rows": 12},
        "golden": [{"text": "One.", "probabilities": [0.25, 0.75, 0.0]}],
    }  # fmt: skip


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Make a folder: ``write({"encoder.name": "mpnet"}, head=…, lines=…, vectors=…)``; None takes a fact away."""

    def folder(
        changes: dict[str, Any] | None = None, head: dict[str, Any] | None = None,
        lines: bytes | None = None, vectors: dict[str, Any] | None = None,
    ) -> Path:  # fmt: skip
        tensors = save_tensors(head or {"weight": WEIGHT, "bias": BIAS})
        told = facts() | {"head_sha256": sha256(tensors)}
        (tmp_path / "head.safetensors").write_bytes(tensors)
        if lines is not None:
            kept = save_tensors(vectors or {"vectors": HALF})
            told["neighbours"] = {"rows": 2, "texts_sha256": sha256(lines), "vectors_sha256": sha256(kept)}
            (tmp_path / "neighbours.jsonl").write_bytes(lines)
            (tmp_path / "neighbours.safetensors").write_bytes(kept)
        for place, value in (changes or {}).items():
            *outer, last = place.split(".")
            inside = told
            for key in outer:
                inside = inside[key]
            inside[last] = value
        (tmp_path / "model.json").write_text(json.dumps(told))
        return tmp_path

    return folder


# ---------------------------------------------------------------- what is loaded


def test_what_stands_there_is_what_is_loaded(write: Write) -> None:
    found = load(write())
    predictor, options = found.predictor, found.predictor.encoder
    assert predictor.labels == ("a", "b", "c") and predictor.weights_sha256 == "0a" * 32
    assert np.array_equal(predictor.head.weight, WEIGHT) and np.array_equal(predictor.head.bias, BIAS)
    assert (options.encoder, options.pooling, options.layer, options.max_length) == ("minilm", "mean", 4, 256)
    assert (options.precision, options.backend) == ("fp32", "auto")
    assert predictor.calibration == Calibration(False, 1.5) and predictor.decision == Decision()
    assert found.training == {"rows": 12} and found.neighbours is None
    [(text, probabilities)] = found.golden
    assert (text, probabilities.tolist(), probabilities.dtype) == ("One.", [0.25, 0.75, 0.0], np.float32)


def golden(n: int = 1, *probabilities: float) -> list[dict[str, Any]]:
    return [{"text": f"{i}.", "probabilities": list(probabilities) or [0.1, 0.2, 0.7]} for i in range(n)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": [3, 1, 2], "label_type": "int"}, lambda a: a.predictor.labels == (3, 1, 2)),
        ({"labels": [0.5, 1.0, -2.0], "label_type": "float"}, lambda a: a.predictor.labels == (0.5, 1.0, -2.0)),
        ({"layer": 1}, lambda a: a.predictor.encoder.layer == 1),
        ({"layer": 1000}, lambda a: a.predictor.encoder.layer == 1000),
        ({"layer": [1, 1000]}, lambda a: a.predictor.encoder.layer == (1, 1000)),
        ({"layer": [7]}, lambda a: a.predictor.encoder.layer == (7,)),
        ({"layer": [2] * 1000}, lambda a: len(a.predictor.encoder.layer) == 1000),
        ({"pooling": "cls"}, lambda a: a.predictor.encoder.pooling == "cls"),
        ({"max_length": 2}, lambda a: a.predictor.encoder.max_length == 2),
        ({"max_length": 1_000_000}, lambda a: a.predictor.encoder.max_length == 1_000_000),
        ({"precision": "int8"}, lambda a: a.predictor.encoder.precision == "int8"),
        ({"precision": "bf16"}, lambda a: a.predictor.encoder.backend == "torch"),
        ({"backend": "torch"}, lambda a: a.predictor.encoder.backend == "auto"),
        ({"encoder.name": "encoder/"}, lambda a: Path(a.predictor.encoder.encoder).name == "encoder"),
        ({"encoder.name": "/models/mine"}, lambda a: a.predictor.encoder.encoder == "/models/mine"),
        ({"many_labels": True}, lambda a: a.predictor.calibration.many and a.predictor.decision.many),
        ({"calibration.temperature": 1.01e-6}, lambda a: a.predictor.calibration.temperature == 1.01e-6),
        ({"calibration.temperature": 999_999.0}, lambda a: a.predictor.calibration.temperature == 999_999),
        ({"thresholds": {}}, lambda a: (a.predictor.decision.thresholds, a.predictor.decision.accept) == (None, None)),
        ({"thresholds.labels": [1.0, 0.5, 1e-9]}, lambda a: a.predictor.decision.thresholds == (1.0, 0.5, 1e-9)),
        ({"thresholds.accept": 0.0}, lambda a: a.predictor.decision.accept == 0),
        ({"thresholds.accept": 2.0}, lambda a: a.predictor.decision.accept == 2),
        ({"golden": golden(100)}, lambda a: [text for text, _ in a.golden] == [f"{i}." for i in range(100)]),
        ({"golden": golden(1, 1.0, 0.0, 1.0)}, lambda a: a.golden[0][1].tolist() == [1, 0, 1]),
        ({"neighbours": None}, lambda a: a.neighbours is None),
        ({"training": {}}, lambda a: a.training == {}),
        ({"format": 1, "calibration": None, "thresholds": None, "layer": 1}, lambda a: a.predictor.encoder.layer == 1),
        ({"format": 1, "calibration": None, "thresholds": None, "layer": 1000}, lambda a: a.training == {"rows": 12}),
    ],
)  # fmt: skip
def test_what_is_allowed_is_taken(write: Write, changes: dict[str, Any], told: Callable[[Artifact], bool]) -> None:
    assert told(load(write(changes)))


def test_labels_of_bool(write: Write) -> None:
    two = {"weight": WEIGHT[:2], "bias": BIAS[:2]}
    changes = {"labels": [False, True], "label_type": "bool", "golden": golden(1, 0.5, 0.5)}
    assert load(write(changes, head=two)).predictor.labels == (False, True)


def test_models_of_before_there_were_backends(write: Write) -> None:
    folder = write()
    old = json.loads((folder / "model.json").read_text())
    del old["backend"]
    (folder / "model.json").write_text(json.dumps(old))
    assert load(folder).predictor.encoder.backend == "auto"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format": 1.0}, "'format'"),
        ({"format": 3, "labels": None}, "format 3, made by a newer firstbert.*reads 1, 2"),
        ({"format": -1}, "format -1, no known format"),
        ({"label_type": 5}, "'label_type' must be a proper str"),
        ({"labels": {"a": 1}}, "'labels' must be a proper list"),
        ({"labels": [True, 1, 2], "label_type": "int"}, "'labels' must all be"),
        ({"labels": ["a"]}, "'labels' must be two"),
        ({"labels": ["a", "b", "a"]}, "'labels' must be two or more.*each once"),
        ({"encoder": 5}, "'encoder.name' must be a proper str"),
        ({"encoder.weights_sha256": "0" * 63}, "'encoder.weights_sha256'"),
        ({"encoder.weights_sha256": "0" * 65}, "'encoder.weights_sha256'"),
        ({"encoder.weights_sha256": "A" * 64}, "'encoder.weights_sha256'"),
        ({"encoder.weights_sha256": "g" * 64}, "'encoder.weights_sha256'"),
        ({"encoder.weights_sha256": None}, "'encoder.weights_sha256'"),
        ({"head_sha256": "0" * 63}, "'head_sha256'"),
        ({"layer": 0}, "'layer'"), ({"layer": 1001}, "'layer'"), ({"layer": 4.0}, "'layer'"),
        ({"layer": None}, "'layer'"),
        ({"layer": [1] * 1001}, "'layer'"), ({"layer": [1001]}, "'layer'"), ({"layer": [True]}, "'layer'"),
        ({"pooling": "first"}, "'pooling'"), ({"pooling": None}, "'pooling'"),
        ({"max_length": 1}, "'max_length'"), ({"max_length": 1_000_001}, "'max_length'"),
        ({"precision": "fp16"}, "'precision'"), ({"backend": "tf"}, "'backend'"), ({"backend": 1}, "'backend'"),
        ({"many_labels": 1}, "'many_labels'"),
        ({"calibration.temperature": 1e-6}, "'calibration.temperature'"),
        ({"calibration.temperature": 1e6}, "'calibration.temperature'"),
        ({"calibration.temperature": 1}, "'calibration.temperature'"),
        ({"thresholds.labels": [0.5, 0.5, 1.01]}, "'thresholds.labels' must be numbers above 0 and up to 1"),
        ({"thresholds.labels": [0.5, 0.5, 0.0]}, "'thresholds.labels' must be numbers above 0"),
        ({"thresholds.labels": [0.5, 0.5, 1]}, "'thresholds.labels' must be numbers above 0"),
        ({"thresholds.labels": [0.5] * 4}, "'thresholds.labels' must be a proper list"),
        ({"thresholds.accept": 2.01}, "'thresholds.accept'"), ({"thresholds.accept": -0.01}, "'thresholds.accept'"),
        ({"thresholds.accept": 1}, "'thresholds.accept'"),
        ({"golden": golden(101)}, "'golden'"), ({"golden": [5]}, "'golden.text'"),
        ({"golden": golden(1, 0.5, 0.5)}, "'golden.probabilities'"),
        ({"golden": golden(1, 0.5, 0.5, 1.01)}, "'golden' holds a probability outside"),
        ({"golden": golden(1, 0.5, 0.5, -0.01)}, "'golden' holds a probability outside"),
        ({"golden": golden(1, 0.5, 0.5, 1)}, "'golden' holds a probability outside"),
        ({"training": [1]}, "'training'"),
        ({"format": 1, "thresholds": None}, "'calibration' is not known to this format"),
        ({"format": 1, "calibration": None}, "'thresholds' is not known to this format"),
        ({"format": 1, "layer": 0}, "'layer'"), ({"format": 1, "layer": 1001}, "'layer'"),
        ({"format": 1, "layer": [4]}, "'layer'"), ({"format": 1, "golden": []}, "'golden'|'calibration'"),
    ],
)  # fmt: skip
def test_what_is_not_is_refused_and_named(write: Write, changes: dict[str, Any], named: str) -> None:
    folder = write(changes)
    with pytest.raises(ArtifactError, match=named) as refused:
        load(folder)
    assert str(refused.value).startswith(f"{folder / 'model.json'}: ")


def test_what_was_given_is_shown_cut_short(write: Write) -> None:
    with pytest.raises(ArtifactError, match=r"'pooling' must be a proper str\. Got 'xxx") as refused:
        load(write({"pooling": "x" * 1000}))
    assert "x" * 50 in str(refused.value) and "x" * 81 not in str(refused.value)


def test_a_file_may_be_as_large_as_its_limit(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write()
    for name in ("model.json", "head.safetensors"):
        size = (folder / name).stat().st_size
        monkeypatch.setitem(checks.SIZES, name, size)
        load(folder)
        monkeypatch.setitem(checks.SIZES, name, size - 1)
        with pytest.raises(ArtifactError, match=f"{name}: {size:,} bytes"):
            load(folder)
        monkeypatch.setitem(checks.SIZES, name, size)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({"weight": WEIGHT}, "expected 'weight' and 'bias'"),
        ({"weight": WEIGHT, "bias": BIAS, "x": BIAS}, "expected 'weight' and 'bias'"),
        ({"weight": WEIGHT[0], "bias": BIAS}, "don't fit the 3 labels"),
        ({"weight": WEIGHT[:, :, None], "bias": BIAS}, "don't fit the 3 labels"),
        ({"weight": WEIGHT[:2], "bias": BIAS}, "don't fit the 3 labels"),
        ({"weight": WEIGHT, "bias": BIAS[:2]}, "don't fit the 3 labels"),
        ({"weight": WEIGHT, "bias": BIAS[:, None]}, "don't fit the 3 labels"),
        ({"weight": WEIGHT.astype(np.float64), "bias": BIAS}, "must be float32"),
        ({"weight": WEIGHT, "bias": BIAS.astype(np.float16)}, "must be float32"),
        ({"weight": np.where(WEIGHT == 5, np.float32("nan"), WEIGHT), "bias": BIAS}, "NaN or infinite"),
        ({"weight": WEIGHT, "bias": np.where(BIAS == 2, np.float32("inf"), BIAS)}, "NaN or infinite"),
    ],
)
def test_a_head_that_does_not_fit(write: Write, head: dict[str, Any], told: str) -> None:
    with pytest.raises(ArtifactError, match=f"head.safetensors: .*{told}"):
        load(write(head=head))


# ---------------------------------------------------------------- neighbours


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


ONE, TWO = {"text": "One.", "label": "a"}, {"text": "Two.", "label": "c"}


def test_sentences_kept_are_loaded_with_their_vectors(write: Write) -> None:
    kept = load(write(lines=lines(ONE, TWO))).neighbours
    assert kept is not None and (kept.texts, kept.labels) == (("One.", "Two."), ("a", "c"))
    assert np.array_equal(kept.vectors, HALF) and kept.vectors.dtype == np.float16
    several = lines({"text": "One.", "label": ["a", "b"]}, {"text": "Two.", "label": []})
    kept = load(write({"many_labels": True}, lines=several)).neighbours
    assert kept is not None and kept.labels == (("a", "b"), ())


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (lines(ONE), {}),
        (lines(ONE, TWO, TWO), {}),
        (lines(ONE, TWO), {"neighbours.rows": 3}),
        (lines(ONE, TWO), {"neighbours.rows": "2"}),
        (lines(ONE, TWO), {"neighbours.texts_sha256": "0" * 64}),
        (lines(ONE, TWO), {"neighbours.texts_sha256": "0"}),
        (lines(ONE, {"text": 2, "label": "c"}), {}),
        (lines(ONE, {"text": "Two.", "label": "d"}), {}),
        (lines(ONE, {"text": "Two.", "label": ["c"]}), {}),
        (lines(ONE, {"text": "Two."}), {}),
        (lines(ONE, {"label": "c"}), {}),
        (lines(ONE, "Two."), {}),
        (lines(ONE) + b"{\n", {}),
        (lines(ONE) + b"[" * 100_000 + b"\n", {}),
        (lines(ONE, TWO), {"many_labels": True}),
        (lines(ONE | {"label": ["a"]}, TWO | {"label": ["c", "d"]}), {"many_labels": True}),
        (lines(ONE, TWO), {"neighbours.vectors_sha256": "0" * 64}),
        (lines(ONE, TWO), {"neighbours.vectors_sha256": 0}),
    ],
)
def test_sentences_that_do_not_fit(write: Write, rows: bytes, changes: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="neighbours"):
        load(write(changes, lines=rows))


@pytest.mark.parametrize(
    "vectors",
    [
        {"vectors": HALF.astype(np.float32)}, {"vectors": HALF[:1]}, {"vectors": HALF[:, :3]}, {"vector": HALF},
        {"vectors": HALF, "more": HALF}, {"vectors": np.where(HALF == 1, np.float16("nan"), HALF)},
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit(write: Write, vectors: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"neighbours\.safetensors"):
        load(write(lines=lines(ONE, TWO), vectors=vectors))


# ---------------------------------------------------------------- what is written


@pytest.fixture
def made(quick: Path) -> Artifact:
    """A small model as it is loaded."""
    return load(quick)


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return found


def test_loaded_and_saved_it_is_the_same(quick: Path, made: Artifact, tmp_path: Path) -> None:
    again = save(made, str(tmp_path / "far" / "away" / "again"))
    assert again == tmp_path / "far" / "away" / "again"
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in quick.iterdir())
    for path in quick.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()
    assert stat.S_IMODE(again.stat().st_mode) == 0o755
    assert [path.name for path in again.parent.iterdir()] == ["again"]


def test_every_fact_is_written_down(made: Artifact, tmp_path: Path) -> None:
    predictor = replace(
        made.predictor,
        calibration=Calibration(False, 2.5),
        decision=Decision(False, (0.5,) * len(made.predictor.labels), 0.75),
    )
    n, width = made.predictor.head.weight.shape
    kept = Neighbours(("Ä text", "another"), made.predictor.labels[:2], np.ones((2, width), np.float16))
    folder = save(replace(made, predictor=predictor, neighbours=kept), tmp_path / "m")
    found = told(folder)
    assert list(found) == [
        "format", "firstbert", "labels", "label_type", "encoder", "layer", "pooling", "max_length", "precision",
        "backend", "many_labels", "calibration", "thresholds", "training", "golden", "head_sha256", "neighbours",
    ]  # fmt: skip
    assert found["calibration"] == {"temperature": 2.5}
    assert found["thresholds"] == {"labels": [0.5] * n, "accept": 0.75}
    assert (found["backend"], found["many_labels"]) == ("onnx", False)
    assert list(found["encoder"]) == ["name", "made_with", "family", "weights_sha256"]
    assert (found["encoder"]["family"], Path(found["encoder"]["name"]).is_absolute()) == ("bert", True)
    assert found["neighbours"]["rows"] == 2
    text = (folder / "neighbours.jsonl").read_text(encoding="utf-8")
    assert text.splitlines()[0] == json.dumps({"text": "Ä text", "label": kept.labels[0]}, ensure_ascii=False)
    assert list(load_tensors((folder / "neighbours.safetensors").read_bytes())) == ["vectors"]
    again = load(folder)
    assert again.predictor.calibration == predictor.calibration and again.predictor.decision == predictor.decision
    assert again.neighbours is not None and again.neighbours.texts == kept.texts
    assert [text for text, _ in again.golden] == list(artifact.GOLDEN_TEXTS)
    assert (folder / "model.json").read_bytes().endswith(b"}\n") and b'\n  "format": 2,' in (
        folder / "model.json"
    ).read_bytes()


def test_the_golden_texts_are_those_of_the_first_format() -> None:
    """A change of them is no harm, but none may change by a slip: pages show them, other languages' code reads them."""
    first = told(Path(__file__).parent / "models" / "format-1")["golden"]
    assert [row["text"] for row in first] == list(artifact.GOLDEN_TEXTS)


def test_a_finetuned_encoder_is_called_what_it_began_as(made: Artifact, tmp_path: Path) -> None:
    folder = save(replace(made, training={"rows": 12, "finetune": LEARNED}), tmp_path / "m")
    assert told(folder)["encoder"]["made_with"] == "RoBERTa"
    kept = {"rows": 12, "finetune": LEARNED | {"saved": "frozen"}}
    assert told(save(replace(made, training=kept), tmp_path / "n"))["encoder"]["made_with"] != "RoBERTa"


@pytest.mark.parametrize("tune", ["all", "lora", 1, 12])
def test_what_a_finetuning_tells_is_read_back(made: Artifact, tmp_path: Path, tune: Any) -> None:
    more = {
        "tune": tune, "steps": 9, "marks": [0.5, 0.75], "best_epoch": 1.5, "ended": "its time was up",
        "frozen": {"accuracy": 0.5}, "finetuned": {"accuracy": 0.75}, "validation_rows": 4,
        "largest_difference_from_torch": 1e-6,
    }  # fmt: skip
    training = {"rows": 12, "finetune": LEARNED | more}
    assert load(save(replace(made, training=training), tmp_path / "m")).training == training


def test_a_portable_one_has_the_encoder_in_it(made: Artifact, tmp_path: Path) -> None:
    folder = save(made, tmp_path / "m", portable=True)
    assert told(folder)["encoder"]["name"] == "encoder/"
    files = made.predictor.engine.files
    for path in (files.config, files.tokenizer, *files.weights):
        assert (folder / "encoder" / path.name).read_bytes() == path.read_bytes()
    assert load(folder).predictor.encoder.encoder == str(folder / "encoder")


@pytest.mark.parametrize("shards", [1, 2])
def test_all_of_an_encoders_files_are_copied(tmp_path: Path, shards: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    weights = [source / f"model-{i}.safetensors" for i in range(shards)]
    names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json", "other.bin"]
    for path in [*weights, *(source / name for name in names)]:
        path.write_text(path.name)
    files = SimpleNamespace(config=source / names[0], tokenizer=source / names[1], weights=weights)
    predictor: Any = SimpleNamespace(engine=SimpleNamespace(files=files))
    artifact._copy_encoder(predictor, tmp_path / "to")
    expected = {*names[: 4 if shards > 1 else 3], *(path.name for path in weights)}
    assert {path.name: path.read_text() for path in (tmp_path / "to").iterdir()} == {name: name for name in expected}
    for name in names[2:4]:
        (source / name).unlink()
    artifact._copy_encoder(predictor, tmp_path / "less")
    assert {path.name for path in (tmp_path / "less").iterdir()} == {*names[:2], *(path.name for path in weights)}


def test_where_it_may_be_put(made: Artifact, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "odd" / "model.json").mkdir(parents=True)
    for fits in ("empty", "new"):
        check_target(tmp_path / fits)
        assert told(save(made, tmp_path / fits))["format"] == 2
    with pytest.raises(ArtifactError, match="is a file"):
        check_target(tmp_path / "file")
    with pytest.raises(ArtifactError, match="holds other files"):
        check_target(tmp_path / "odd")
    with pytest.raises(ArtifactError, match="can't be written"):
        save(made, tmp_path / "file" / "below")


def test_a_folder_that_cannot_be_moved_into_place(
    made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = save(made, tmp_path / "m")
    (target / "README.md").write_text("as it was")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if Path(to) == target and (self / "README.md").read_text() != "as it was":
            raise OSError(5, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr("firstbert.artifact._exchange", lambda one, other: False)  # as where the system can't
    with pytest.raises(ArtifactError, match=r"can't be written \(Input/output error\); what stood there is unchanged"):
        save(made, target)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert (target / "README.md").read_text() == "as it was" and load(target).training == made.training


# ---------------------------------------------------------------- golden texts


def test_golden_probabilities_are_what_the_classifier_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def predict(texts: Any, *, cache: bool) -> Any:
        asked.append((tuple(texts), cache))
        return SimpleNamespace(probabilities=np.arange(10).reshape(5, 2) / 10)

    predictor: Any = SimpleNamespace(predict=predict)
    made = artifact.make(predictor, {"rows": 1})
    assert [(text, row.tolist()) for text, row in made.golden] == [
        (text, row.tolist())
        for text, row in zip(artifact.GOLDEN_TEXTS, np.arange(10, dtype=np.float32).reshape(5, 2) / 10, strict=True)
    ]
    assert (made.training, made.neighbours) == ({"rows": 1}, None) and made.golden[0][1].dtype == np.float32
    artifact.make(predictor, {}, cache=True)
    assert [cache for _, cache in asked] == [False, True]  # not unless told


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("int8", 1e-4), ("bf16", 0.05)])
def test_the_largest_difference_of_each_golden_text_counts(precision: str, tolerance: float) -> None:
    found = np.array([[0.5, 0.5], [0.25, 0.5]])
    expected = np.array([[0.5, 0.5], [0.5, 0.375]], np.float32)
    predictor: Any = SimpleNamespace(
        encoder=SimpleNamespace(precision=precision), predict=lambda texts: SimpleNamespace(probabilities=found)
    )
    check = artifact.check_golden(Artifact(predictor, {}, (("a", expected[0]), ("b", expected[1]))))
    assert check == GoldenCheck((0.0, 0.25), tolerance) and not check.passed


def test_a_difference_of_just_the_tolerance_passes() -> None:
    assert GoldenCheck((0.0, 0.5), 0.5).passed and not GoldenCheck((0.5001, 0.0), 0.5).passed
