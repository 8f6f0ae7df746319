"""Fine-tuning, on encoders of two layers: what comes of it, that it goes on where it was stopped, and what it refuses.

What learns needs torch; what is told where it isn't installed is tested everywhere.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import families
from conftest import TEXTS, Outcome, clean
from firstbert import SentenceClassifier, SentenceEncoder, load
from firstbert.answers import held
from firstbert.catalog import encoder_files
from firstbert.checkpoints import Checkpoints
from firstbert.course import Lessons
from firstbert.data import from_lists
from firstbert.errors import ArtifactError, DataError, EncoderError, TruncationWarning, UsageError
from firstbert.finetune import Finetuning, finetune
from firstbert.material import Material
from firstbert.plan import FinetuneOptions, batch_at, plan
from firstbert.trainable import Trainable
from firstbert.tuning import Tuning, multiplies_bf16
from test_cache import write_encoder, write_tokenizer
from test_torch import TINY, TORCH, needs_torch

FAST = FinetuneOptions(epochs=12, batch_size=8, learning_rate=3e-3, recipe="labels", precision="fp32")


def rows(n: int, start: int = 0) -> tuple[list[str], list[str]]:
    """Texts whose label says whether two words are alike, which neither of them tells by itself."""
    random = np.random.default_rng(start)
    numbers, first = random.integers(10, 80, (n, 3)), random.integers(1, 3, n)
    pairs = enumerate(zip(first, numbers, strict=True))
    texts = [f"w{a} w{f} w{b} w{f if i % 2 else 3 - f} w{c}" for i, (f, (a, b, c)) in pairs]
    return texts, ["up" if i % 2 else "down" for i in range(n)]


def plain_rows(n: int, start: int = 0) -> tuple[list[str], list[str]]:
    """Texts whose label one word of ten tells, wherever it stands."""
    random = np.random.default_rng(start)
    texts = []
    for i, words in enumerate(random.integers(10, 80, (n, 10))):
        names = [f"w{word}" for word in words]
        names[int(random.integers(10))] = f"w{1 + i % 2}"
        texts.append(" ".join(names))
    return texts, ["up" if i % 2 else "down" for i in range(n)]


def write(path: Path, n: int, start: int = 0) -> Path:
    path.write_text("text\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in zip(*rows(n, start), strict=True)))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "small")


def job(tmp_path: Path, n: int = 96, options: FinetuneOptions = FAST, **more: Any) -> Finetuning:
    validation = from_lists(*rows(40, 7), training=False)
    usual = {"rows": from_lists(*rows(n)), "validation": validation, "options": options}
    return Finetuning(work=tmp_path / "work", **usual | more)


# ---------------------------------------------------------------- what comes of it


@needs_torch
def test_it_learns_what_a_frozen_encoder_cannot(tmp_path: Path, small: Path) -> None:
    said: list[str] = []
    found = finetune(SentenceClassifier(str(small)), job(tmp_path), said.append)
    facts = found.facts_["finetune"]
    assert facts["saved"] == "finetuned"
    assert facts["finetuned"]["accuracy"] > facts["frozen"]["accuracy"]
    assert found.score(*rows(200, 9)) > 0.9
    assert facts["largest_difference_from_torch"] < 1e-5
    assert any("that is what is taken" in line for line in said)
    best = max(facts["marks"], key=lambda mark: -mark["log_loss"])
    assert facts["best_epoch"] == pytest.approx(best["step"] / 12)


@needs_torch
def test_what_is_saved_answers_alike_and_plain_transformers_reads_it(tmp_path: Path, small: Path) -> None:
    import torch
    from transformers import AutoModel

    found = finetune(SentenceClassifier(str(small)), job(tmp_path))
    texts = rows(30, 11)[0]
    before = found.predict_proba(texts)
    folder = found.save(tmp_path / "model")
    assert {path.name for path in folder.iterdir()} == {"model.json", "head.safetensors", "encoder", "README.md"}
    after = load(folder)
    assert np.array_equal(after.predict_proba(texts), before)
    model, engine = AutoModel.from_pretrained(folder / "encoder").eval(), after.predictor_.engine
    ids = engine.tokenizer(texts).ids
    with torch.inference_mode():
        by_hand = np.stack([model(torch.tensor([row])).last_hidden_state[0, 0].numpy() for row in ids])
    assert engine.pooling == "cls"
    assert np.abs(by_hand - engine.encode(texts).joined).max() < 2e-5
    card = (folder / "README.md").read_text()
    assert "fine-tuned" in card
    assert str(tmp_path / "work") not in card + (folder / "model.json").read_text()


@needs_torch
def test_int8_is_offered_as_for_frozen_encoders(tmp_path: Path, small: Path) -> None:
    said: list[str] = []
    asked = SentenceClassifier(str(small), precision="int8")
    found = finetune(asked, job(tmp_path), said.append)
    assert any("int8 brings the accuracy on the validation rows from" in line for line in said)
    assert found.predictor_.encoder.precision == "int8"
    assert load(found.save(tmp_path / "model")).score(*rows(200, 9)) > 0.9
    kept = finetune(asked, job(tmp_path / "other", max_int8_loss=-100.0), said.append)
    assert any("kept in fp32" in line for line in said)
    assert kept.facts_["finetune"]["saved"] == "frozen" or kept.predictor_.encoder.precision == "fp32"


@needs_torch
@pytest.mark.parametrize(("lost", "precision"), [(1.0, "int8"), (-100.0, "fp32")])
def test_what_int8_costs_the_frozen_encoder_is_measured_where_that_is_taken(
    tmp_path: Path, small: Path, lost: float, precision: str
) -> None:
    said: list[str] = []
    hopeless = FinetuneOptions(epochs=1, learning_rate=1e-9, recipe="labels", precision="fp32")
    given = job(tmp_path, options=hopeless, max_int8_loss=lost)
    found = finetune(SentenceClassifier(str(small), precision="int8"), given, said.append)
    assert found.facts_["finetune"]["saved"] == "frozen"
    assert found.predictor_.encoder.precision == precision
    assert sum("int8 brings the accuracy" in line for line in said) == 2


@needs_torch
def test_without_rows_to_measure_on_it_is_said_what_is_not_done(tmp_path: Path, small: Path) -> None:
    said: list[str] = []
    asked = SentenceClassifier(str(small), precision="int8", thresholds="macro_f1", max_length=6)
    options = FinetuneOptions(epochs=1, batch_size=8, precision="fp32")
    with pytest.warns(TruncationWarning, match="40 of 40 texts"):
        found = finetune(asked, Finetuning(from_lists(*rows(40)), tmp_path / "work", options=options), said.append)
    assert found.predictor_.encoder.precision == "fp32"
    assert found.facts_["thresholds"] == "equal"
    assert any("int8 costs can't be measured" in line for line in said)
    assert any("thresholds" in line for line in said)


@needs_torch
def test_what_was_fine_tuned_in_place_of_bf16_is_said_to_be_fp32(tmp_path: Path, small: Path) -> None:
    said: list[str] = []
    options = FinetuneOptions(epochs=1, batch_size=8, precision="fp32")
    given = Finetuning(from_lists(*rows(40)), tmp_path / "work", options=options)
    finetune(SentenceClassifier(str(small), precision="bf16", backend="torch"), given, said.append)
    assert any("kept in fp32, not bf16" in line for line in said)


@needs_torch
def test_int8_is_refused_at_once_where_torch_is_to_answer(tmp_path: Path, small: Path) -> None:
    with pytest.raises(UsageError, match="int8' is for ONNX Runtime alone"):
        finetune(SentenceClassifier(str(small), precision="int8", backend="torch"), job(tmp_path))
    assert not (tmp_path / "work").exists()


@needs_torch
def test_a_bad_run_never_ends_below_the_frozen_encoder(tmp_path: Path, small: Path) -> None:
    texts, labels = [f"w{i % 80 + 5} w{1 + i % 2}" for i in range(80)], ["a", "b"] * 40  # easy as it is
    hopeless = FinetuneOptions(epochs=1, learning_rate=1e-9, recipe="labels", precision="fp32")
    given = Finetuning(
        from_lists(texts, labels), tmp_path / "work", options=hopeless, validation=from_lists(texts[:30], labels[:30])
    )
    found = finetune(SentenceClassifier(str(small)), given)
    assert found.facts_["finetune"]["saved"] == "frozen"
    assert not (found.save(tmp_path / "model") / "encoder").exists()
    frozen = SentenceClassifier(str(small)).fit(texts, labels)
    assert np.array_equal(found.predict_proba(texts), frozen.predict_proba(texts))


@needs_torch
@pytest.mark.parametrize("tune", [1, "lora"])
def test_a_part_of_it_learns_and_the_rest_stays(tmp_path: Path, small: Path, tune: Any) -> None:
    from safetensors.numpy import load_file

    options = FinetuneOptions(epochs=6, batch_size=8, learning_rate=3e-3, tune=tune, recipe="labels", precision="fp32")
    learned = finetune(SentenceClassifier(str(small)), job(tmp_path, options=options))
    assert load(learned.save(tmp_path / "m")).facts_["finetune"]["tune"] == tune
    before = {k.removeprefix("bert."): v for k, v in load_file(small / "model.safetensors").items()}
    after = load_file(tmp_path / "work" / "encoder" / "model.safetensors")
    changed = {name for name in after if name in before and not np.allclose(after[name], before[name], atol=1e-7)}
    assert changed
    assert not any("embeddings" in name for name in changed)
    assert tune == "lora" or all(name.startswith("encoder.layer.1.") for name in changed)
    assert tune != "lora" or any(name.startswith("encoder.layer.0.") for name in changed)


@needs_torch
@pytest.mark.parametrize(
    ("able", "faster"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False, "amx_bf16": False}, False),
        ({}, False),
    ],
)
def test_bf16_where_it_is_faster(monkeypatch: pytest.MonkeyPatch, able: dict[str, Any], faster: bool) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert multiplies_bf16("cpu") == faster


@needs_torch
def test_pairs_teach_it_where_rows_are_few(tmp_path: Path, small: Path) -> None:
    said: list[str] = []
    options = FinetuneOptions(epochs=30, batch_size=16, learning_rate=2e-3, precision="fp32")
    given = Finetuning(from_lists(*plain_rows(64)), tmp_path / "work", options=options)
    found = finetune(SentenceClassifier(str(small)), given, said.append)
    assert found.facts_["finetune"]["recipe"] == "pairs"
    assert "too few to hold some out" in said[0]
    found.save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "probabilities are left as they are; no rows were left to check them on" in card
    frozen = SentenceClassifier(str(small)).fit(*plain_rows(64))
    assert found.score(*plain_rows(200, 9)) > frozen.score(*plain_rows(200, 9)) + 0.05


@needs_torch
def test_pairs_of_many_rows_hold_none_out_and_say_so(tmp_path: Path, small: Path) -> None:
    said: list[str] = []
    options = FinetuneOptions(epochs=1, recipe="pairs", precision="fp32")
    finetune(SentenceClassifier(str(small)), Finetuning(from_lists(*rows(208)), tmp_path, options=options), said.append)
    assert said[0].startswith("Pairs are learned of all 208 rows, so whether fine-tuning helps isn't measured.")


@needs_torch
def test_pairs_in_parts_are_the_pairs_of_the_whole_batch(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(f"w{10 + (i * k) % 60}" for k in range(2, 4 + 3 * i)) for i in range(12)]  # of many lengths
    learning = Material(SentenceClassifier(str(small)), Finetuning(from_lists(texts, [*"aaabababbbab"]), small), print)
    given = plan(FinetuneOptions(recipe="pairs", batch_size=12, learning_rate=1e-3, precision="fp32"), 12, 32)

    def gradients(tokens_of_a_part: int) -> tuple[float, list[np.ndarray]]:
        monkeypatch.setattr("firstbert.tuning._PART_TOKENS", tokens_of_a_part)
        monkeypatch.setattr("firstbert.tuning._PARTS", 10**6)
        model = Trainable(encoder_files(str(small)), 2, "mean", 2, tune="all", dropout=0.0, device="cpu")
        tuning = Tuning(model, learning.lessons, None, given)
        loss = tuning._backward(batch_at(learning.lessons.ids, np.arange(12)))
        return loss, [p.grad.numpy() for name, p in model.learning.items() if p.grad is not None]

    (whole, one), (parts, other) = gradients(10**6), gradients(48)
    assert parts == pytest.approx(whole, rel=1e-5)
    assert len(one) == len(other) > 10
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@needs_torch
def test_many_labels_a_text(tmp_path: Path, small: Path) -> None:
    texts, labels = plain_rows(240)
    many = [("word", label) if i % 3 else (label,) for i, label in enumerate(labels)]
    texts = [f"{text} {'w85' if i % 3 else 'w86'}" for i, text in enumerate(texts)]
    found = finetune(
        SentenceClassifier(str(small)), Finetuning(from_lists(texts, many), tmp_path / "work", options=FAST)
    )
    assert found.facts_["finetune"]["saved"] == "finetuned"
    assert found.score(texts, many) > 0.9


@needs_torch
def test_classes_weigh_as_asked(tmp_path: Path, small: Path) -> None:
    from firstbert.material import Material

    asked = SentenceClassifier(str(small), class_weight={"up": 3.0})
    lessons = Material(asked, job(tmp_path), lambda line: None).lessons
    assert lessons.goals[:2].tolist() == [[1, 0], [0, 1]]
    assert lessons.weights[:2, 0].tolist() == [1, 3]


@needs_torch
def test_errors_are_bounded_on_rows_that_nothing_has_seen(tmp_path: Path, small: Path) -> None:
    asked = SentenceClassifier(str(small), max_error=0.1)
    found = finetune(asked, job(tmp_path, 240))
    promise = found.facts_["promise"]
    assert promise["rows"] == 60
    assert found.predictor_.decision.accept == promise["threshold"]
    assert found.facts_["rows"] == 180


@needs_torch
@pytest.mark.parametrize("family", ["distilbert", "mpnet", "roberta", "electra"])
def test_every_family_of_the_graph(tmp_path: Path, family: str) -> None:
    row = families.small(family)
    families.write(row, tmp_path / "small", families.tensors(row))
    write_tokenizer(tmp_path / "small" / "tokenizer.json")
    found = finetune(SentenceClassifier(str(tmp_path / "small")), job(tmp_path))
    assert found.facts_["finetune"]["largest_difference_from_torch"] < 1e-5
    assert found.facts_["finetune"]["saved"] == "finetuned"


# ---------------------------------------------------------------- distillation


@needs_torch
def test_a_student_learns_from_a_teacher_and_from_text_without_labels(tmp_path: Path, small: Path) -> None:
    teacher = finetune(SentenceClassifier(str(small)), job(tmp_path))
    said: list[str] = []
    more = [*rows(200, 21)[0], *rows(40, 7)[0][:5], rows(24)[0][0]]
    given = job(tmp_path, 24, teacher=teacher.predictor_, unlabelled=more, unseen=rows(200, 9)[0])
    found = finetune(SentenceClassifier(str(small)), given, said.append)
    facts = found.facts_["finetune"]
    assert facts["teacher"]
    assert 100 <= facts["unlabelled"] <= 200
    assert any("5 " in line and "texts without labels" in line for line in said)
    assert found.score(*rows(200, 9)) > 0.85


@needs_torch
def test_few_rows_and_a_teacher_with_plenty_of_text(tmp_path: Path, small: Path) -> None:
    teacher = finetune(SentenceClassifier(str(small)), job(tmp_path))
    options = FinetuneOptions(**vars(FAST) | {"recipe": "auto"})
    given = job(tmp_path, 24, options, teacher=teacher.predictor_, unlabelled=rows(400, 21)[0], validation=None)
    material = Material(SentenceClassifier(str(small)), given, lambda line: None)
    assert material.exam is None
    assert material.lessons.hints is not None
    found = finetune(SentenceClassifier(str(small)), given)
    assert found.facts_["finetune"]["recipe"] == "labels"
    assert found.facts_["finetune"]["saved"] == "finetuned"
    assert found.score(*rows(200, 9)) > 0.85
    known = job(tmp_path, 24, options, teacher=teacher.predictor_, unlabelled=rows(24)[0] * 20, validation=None)
    assert Material(SentenceClassifier(str(small)), known, lambda line: None).recipe == "pairs"  # nothing new in it


def test_hints_are_the_teachers_vectors_at_two_thirds_of_its_layers(tmp_path: Path, small: Path) -> None:
    teacher = SentenceClassifier(str(small), layer=2).fit(*rows(40)).predictor_
    given = job(tmp_path, 24, teacher=teacher, unlabelled=(more := rows(60, 21)[0][50:]))
    learning = Material(SentenceClassifier(str(small)), given, print)
    texts = [*rows(24)[0], *more]
    vectors = SentenceEncoder(str(small), pooling="mean", layer=1).transform(texts)
    vectors -= vectors.mean(0)
    lessons = learning.lessons
    assert lessons.hints is not None
    np.testing.assert_allclose(lessons.hints, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(lessons.goals[24:], teacher.predict(more).probabilities, atol=1e-6)
    one = np.asarray([[label == "down", label == "up"] for label in rows(24)[1]])
    np.testing.assert_allclose(lessons.goals[:24], (teacher.predict(texts[:24]).probabilities + one) / 2, atol=1e-6)


@needs_torch
def test_vectors_come_to_point_where_hints_do(small: Path) -> None:
    random = np.random.default_rng(0)
    ids = [[*random.integers(10, 80, 8).tolist(), 5 + i // 32] for i in range(64)]
    ways = np.repeat(random.normal(size=(2, 5)).astype(np.float32), 32, 0)  # one for either half of the rows
    hints = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    nothing = np.zeros((64, 1), np.float32)
    lessons = Lessons(ids, np.full((64, 2), 0.5, np.float32), nothing, False, hints)
    model = Trainable(encoder_files(str(small)), 2, "mean", 2, tune="all", dropout=0.0, device="cpu", hints=5)
    before = model.head()
    tuning = Tuning(model, lessons, None, plan(FinetuneOptions(**vars(FAST) | {"epochs": 40}), 64, 32))
    lost = [tuning.step(np.arange(64), step) for step in range(60)]
    assert lost[0] > 0.5
    assert lost[-1] < 0.05
    for one, other in zip(before, model.head(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0.2, atol=1e-3)  # nothing was learned of labels


@needs_torch
def test_a_teacher_of_other_labels_is_refused(tmp_path: Path, small: Path, classifier: SentenceClassifier) -> None:
    with pytest.raises(UsageError, match=r"teacher's labels \('bad', 'good'\) are not those of the rows"):
        finetune(SentenceClassifier(str(small)), job(tmp_path, teacher=classifier.predictor_))
    with pytest.raises(UsageError, match="only be learned from with a teacher"):
        finetune(SentenceClassifier(str(small)), job(tmp_path, unlabelled=["w1"]))


# ---------------------------------------------------------------- stopped and gone on


@needs_torch
@pytest.mark.parametrize("recipe", ["labels", "pairs"])
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path: Path, small: Path, recipe: str) -> None:
    write(tmp_path / "rows.tsv", 160)
    write(tmp_path / "validation.tsv", 40, 7)
    SentenceClassifier(str(small)).fit(*rows(160)).save(tmp_path / "teacher")
    typed = ["train", "rows.tsv", "--validation", "validation.tsv", "--encoder", str(small), "--finetune",
             "--teacher", "teacher", "--test-size", "0", "--epochs", "30", "--batch-size", "8", "--recipe", recipe,
             "--learning-rate", "1e-3", "--threads", "1", "--json"]  # fmt: skip
    # A state after each step, so that there is something to kill between.
    program = "import firstbert.tuning as t, firstbert.__main__ as m; t._KEEP_EVERY_S = t._WRITING = 0.0; m.main()"

    def start(model: str) -> subprocess.Popen[bytes]:
        environment = clean(dict(os.environ)) | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", program, *typed, "-o", model]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    whole = start("whole")
    _, told = whole.communicate(timeout=200)
    assert whole.returncode == 0, told.decode()
    state = tmp_path / ".killed.finetuning" / "state" / "state.json"
    stops = []
    for n in range(3):
        process = start("killed")
        while process.poll() is None and _step(state) <= (stops[-1] if stops else 0) + 5 * n:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        stops.append(_step(state))
    assert stops[0] > 0
    last = start("killed")
    _, told = last.communicate(timeout=200)
    assert last.returncode == 0, told.decode()
    assert "Going on after step" in told.decode()
    for name in ("encoder/model.safetensors", "head.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / ".killed.finetuning").exists()


def _step(state: Path) -> int:
    try:
        return int(json.loads(state.read_bytes())["facts"]["step"])
    except (OSError, ValueError):
        return 0


@needs_torch
def test_a_state_is_whole_or_the_one_before(tmp_path: Path) -> None:
    import torch

    kept = Checkpoints(tmp_path / "state", "a")
    assert kept.load() is None
    kept.save({"step": 1}, {"weights": {"w": torch.ones(3)}, "best": {"w": torch.zeros(3)}})
    kept.save({"step": 2}, {"weights": {"w": torch.full((3,), 2.0)}, "best": None})
    (tmp_path / "state" / "weights-3.safetensors").write_bytes(b"half of what was to be wri")
    found = Checkpoints(tmp_path / "state", "a").load()
    assert found is not None
    assert found.facts == {"step": 2}
    assert found.parts["weights"]["w"].tolist() == [2, 2, 2]
    assert found.parts["best"]["w"].tolist() == [0, 0, 0]
    assert Checkpoints(tmp_path / "state", "b").load() is None  # another training's
    (tmp_path / "state" / "weights-2.safetensors").write_bytes(b"damaged")
    assert Checkpoints(tmp_path / "state", "a").load() is None


@needs_torch
def test_a_full_disk_leaves_the_state_before_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch
    import torch

    kept = Checkpoints(tmp_path / "state", "a")
    kept.save({"step": 1}, {"weights": {"w": torch.ones(3)}})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(ArtifactError, match=r"No space left on device.*same command again"):
        kept.save({"step": 2}, {"weights": {"w": torch.ones(3)}})
    found = Checkpoints(tmp_path / "state", "a").load()
    assert found is not None
    assert found.facts == {"step": 1}


# ---------------------------------------------------------------- what goes wrong


@needs_torch
def test_a_loss_that_is_no_number_keeps_what_was_best(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    whole = Tuning._loss

    def broken(self: Tuning, scores: Any, rows: Any) -> Any:
        return whole(self, scores, rows) * (torch.nan if self.course.step >= 60 else 1)

    monkeypatch.setattr(Tuning, "_loss", broken)
    said: list[str] = []
    found = finetune(SentenceClassifier(str(small)), job(tmp_path), said.append)
    assert any("no finite number after step 61" in line for line in said)
    assert found.facts_["finetune"]["ended"] == "not finite"
    assert np.isfinite(found.predict_proba(rows(10)[0])).all()


@needs_torch
def test_with_too_little_memory_smaller_parts_go_through_and_the_result_is_the_same(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainable.vectors
    sizes: list[int] = []

    def vectors(self: Trainable, batch: Any) -> Any:
        sizes.append(batch.ids.size)
        if self.module.training and batch.ids.size > 20:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory")
        return whole(self, batch)

    still = FinetuneOptions(**vars(FAST) | {"dropout": 0.0, "epochs": 2})
    one = finetune(SentenceClassifier(str(small)), job(tmp_path / "one", options=still))
    monkeypatch.setattr(Trainable, "vectors", vectors)
    said: list[str] = []
    other = finetune(SentenceClassifier(str(small)), job(tmp_path / "other", options=still), said.append)
    assert any("Memory ran out" in line for line in said)
    losses = [[mark["loss"] for mark in each.facts_["finetune"]["marks"]] for each in (one, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)

    def never(self: Trainable, batch: Any) -> Any:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(Trainable, "vectors", never)
    with pytest.raises(EncoderError, match=r"fit into memory for training: give a smaller max_length"):
        finetune(SentenceClassifier(str(small)), job(tmp_path / "none"))


@needs_torch
def test_rows_that_cannot_be_learned_from(tmp_path: Path, small: Path) -> None:
    asked = SentenceClassifier(str(small))
    with pytest.raises(DataError, match="at least two labels"):
        finetune(asked, Finetuning(from_lists(["a", "b"], ["x", "x"], training=False), tmp_path))
    with pytest.raises(DataError, match=r"too few to hold out 10%.*--validation FILE"):
        finetune(asked, Finetuning(from_lists(*rows(4)), tmp_path, options=FAST))
    bounded = SentenceClassifier(str(small), max_error=0.1)
    with pytest.raises(DataError, match=r"2 rows are too few to hold out 25% of them to bound the errors"):
        finetune(bounded, job(tmp_path, 2))
    other = from_lists(["w1"], ["sideways"], training=False)
    with pytest.raises(DataError, match="sideways"):
        finetune(asked, job(tmp_path, validation=other))
    texts, labels = rows(40)
    rare = from_lists(texts, ["rare" if i < 3 else label for i, label in enumerate(labels)])
    for recipe in ("labels", "pairs"):
        options = FinetuneOptions(**vars(FAST) | {"recipe": recipe})
        with pytest.raises(DataError, match="no row labelled 'rare' is left to learn from"):
            finetune(asked, job(tmp_path, options=options, **{"rows": rare, "left_out": [0, 1, 2]}))


@needs_torch
def test_a_row_of_each_label_is_held_out_at_least(tmp_path: Path, small: Path) -> None:
    labels = [f"c{i % 30}" for i in range(240)]
    given = Finetuning(from_lists(rows(240)[0], labels), tmp_path / "work", options=FAST)
    material = Material(SentenceClassifier(str(small)), given, lambda line: None)
    assert sorted(labels[i] for i in material.spared) == sorted(set(labels))


@needs_torch
def test_a_validation_part_without_a_class_will_do(tmp_path: Path, small: Path) -> None:
    texts, labels = rows(40, 7)
    part = from_lists(texts[::2], labels[::2], training=False)
    assert set(part.labels or []) == {"down"}
    found = finetune(SentenceClassifier(str(small)), job(tmp_path, validation=part))
    assert found.facts_["finetune"]["validation_rows"] == 20


@needs_torch
def test_time_that_is_short(tmp_path: Path, small: Path) -> None:
    said: list[str] = []
    options = FinetuneOptions(**vars(FAST) | {"time_budget": 1e-3})
    found = finetune(SentenceClassifier(str(small)), job(tmp_path, options=options), said.append)
    assert found.facts_["finetune"]["saved"] == "frozen"
    assert any("too little time" in line for line in said)
    enough = FinetuneOptions(**vars(FAST) | {"time_budget": 600.0})
    facts = finetune(SentenceClassifier(str(small)), job(tmp_path, options=enough)).facts_["finetune"]
    assert facts["tune"] == "all"
    assert facts["ended"] in ("done", "patience")


@needs_torch
def test_families_that_only_torch_runs(tmp_path: Path) -> None:
    from test_torch import write_tiny

    folder = write_tiny(tmp_path / "other", "modernbert")
    found = finetune(SentenceClassifier(str(folder)), job(tmp_path))
    assert found.facts_["finetune"]["largest_difference_from_torch"] < 1e-5
    assert "modernbert" in TINY
    lower = finetune(SentenceClassifier(str(folder), layer=1), job(tmp_path))  # its config.json has a list of layers
    assert load(lower.save(tmp_path / "model")).predictor_.engine.prepared.architecture.layers == 1


# ---------------------------------------------------------------- the command


@needs_torch
def test_the_command(tmp_path: Path, small: Path, cli: Callable[..., Outcome]) -> None:
    write(tmp_path / "rows.tsv", 240)
    done = cli("train", tmp_path / "rows.tsv", "-o", tmp_path / "model", "--encoder", small, "--finetune",
               "--epochs", "8", "--batch-size", "8", "--learning-rate", "3e-3", "--recipe", "labels", "--json",
               "--report", tmp_path / "report.html")  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["finetune"]["saved"] == "finetuned"
    assert found["test"]["accuracy"] > 0.8
    assert "Frozen, the encoder gets" in done.err
    assert "Epoch 0.5 of 8.0" in done.err
    assert not list(tmp_path.glob(".model*"))
    assert cli("doctor", tmp_path / "model").code == 0
    again = cli("predict", tmp_path / "model", "--text", rows(1, 5)[0][0], "--json")
    assert json.loads(again.out)[0]["label"] == rows(1, 5)[1][0]
    assert (tmp_path / "report.html").read_text().count("<section") > 3


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--epochs", "2"], "--epochs is for fine-tuning: add --finetune"),
        (["--train-precision", "bf16"], "--train-precision is for fine-tuning"),
        (["--teacher", "m"], "--teacher is for fine-tuning"),
        (["--finetune", "--time-budget", "soon"], "--time-budget must be a time such as 90s, 10m or 2h"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, cli: Callable[..., Outcome], typed: list[str], told: str) -> None:
    done = cli("train", write(tmp_path / "rows.tsv", 8), "-o", tmp_path / "model", *typed)
    assert done.code == 2
    assert told in done.err


@pytest.mark.skipif(TORCH, reason="torch is installed")
def test_without_the_extra_its_install_line_is_told(tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    done = cli("train", write(tmp_path / "rows.tsv", 8), "-o", tmp_path / "model", "--finetune")
    assert done.code == 2
    assert 'pip install "firstbert[finetune]"' in done.err


@needs_torch
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"epochs": 0}, "'epochs' option"),
        ({"learning_rate": "fast"}, "'learning_rate' option"),
        ({"batch_size": 0}, "'batch_size' option"),
        ({"tune": "some"}, "'tune' option"),
        ({"tune": 9}, "layers"),
        ({"precision": "int4"}, "'precision' option"),
        ({"validation_size": 1.0}, "'validation_size' option"),
        ({"time_budget": -1.0}, "'time_budget' option"),
        ({"warmup": 2}, r"'warmup' option .* in \[0, 1\]"),
        ({"dropout": 2.0}, "'dropout' option"),
        ({"weight_decay": -1}, "'weight_decay' option"),
        ({"seed": 2**70}, "'seed' option"),
    ],
)
def test_options_out_of_range(tmp_path: Path, small: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        finetune(SentenceClassifier(str(small)), job(tmp_path, options=FinetuneOptions(**given)))


@needs_torch
@pytest.mark.parametrize(
    ("given", "told"),
    [({"max_error": 5.0}, "'max_error' option"), ({"thresholds": "foo"}, "'thresholds'"), ({"C": -1.0}, "'C' option")],
)
def test_the_heads_options_are_looked_at_first(tmp_path: Path, small: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        finetune(SentenceClassifier(str(small), **given), job(tmp_path, n=40))
    assert not (tmp_path / "work").exists()


@needs_torch
def test_two_trainings_never_share_a_place(tmp_path: Path, small: Path, cli: Callable[..., Outcome]) -> None:
    typed = ("train", write(tmp_path / "rows.tsv", 40), "-o", tmp_path / "model", "--encoder", small, "--finetune")
    place = tmp_path / ".model.finetuning"
    with held(place):
        other = cli(*typed)
    assert other.code == 2 and "another process is at work on this output" in other.err
    refused = cli(*typed, "--tune", "9")
    assert refused.code == 2 and not place.exists()
    assert cli(*typed, "--tune", "\u00b2").code == 2


@needs_torch
def test_memory_that_runs_out_anywhere_is_told(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    with pytest.raises(EncoderError, match="Memory ran out in training: give a smaller max_length"):
        finetune(SentenceClassifier(str(small)), job(tmp_path))


@needs_torch
def test_rows_to_stop_by_that_are_measured_on_too_are_told(
    tmp_path: Path, small: Path, cli: Callable[..., Outcome]
) -> None:
    same = write(tmp_path / "same.tsv", 40, 7)
    done = cli("train", write(tmp_path / "rows.tsv", 40), "-o", tmp_path / "model", "--encoder", small, "--finetune",
               "--epochs", "1", "--validation", same, "--test", same, "--on-duplicate", "keep")  # fmt: skip
    assert done.code == 0, done.err
    assert "whose text is also in" in done.err


# ---------------------------------------------------------------- DistilBERT and BERT


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["distilbert", "bert"])
def test_encoders_of_true_shape_and_names_learn_64_sentences_by_heart(tmp_path: Path, name: str) -> None:
    import torch
    from transformers import AutoModel

    row = families.ROWS[name]
    families.write(row, tmp_path / name, families.tensors(row))
    tokenizer = encoder_files("minilm").tokenizer  # the same 30,522 words
    (tmp_path / name / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    places = ("Here.", "There.", "At home.", "In Rome.", "Again.", "At last.")
    texts = [f"{text} {place}" for place in places for text in TEXTS]
    examples = from_lists(texts[:64], ["good", "bad"] * 32)
    options = FinetuneOptions(
        epochs=60, batch_size=16, learning_rate=3e-5, recipe="labels", precision="fp32", dropout=0.0, patience=20
    )
    given = Finetuning(examples, tmp_path / "work", validation=examples, options=options)
    found = finetune(SentenceClassifier(str(tmp_path / name), layer="last"), given)
    facts = found.facts_["finetune"]
    assert facts["finetuned"]["accuracy"] == 1.0
    assert facts["largest_difference_from_torch"] < 1e-4
    folder = found.save(tmp_path / "model")
    again = load(folder)
    assert again.score(examples.texts, examples.labels) == 1.0
    model, engine = AutoModel.from_pretrained(folder / "encoder").eval(), again.predictor_.engine
    ids = engine.tokenizer(examples.texts[:8]).ids
    with torch.inference_mode():
        by_hand = np.stack([model(torch.tensor([row])).last_hidden_state[0, 0].numpy() for row in ids])
    assert np.abs(by_hand - engine.encode(examples.texts[:8]).joined).max() < 1e-4
