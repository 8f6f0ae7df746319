"""The command line, run in this process; its start and its exit are tested in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import BAD, GOOD, TEXTS, Outcome, clean
from firstbert import load
from firstbert.doctor import cache_info, clear_cache
from firstbert.errors import UsageError

Cli = Callable[..., Outcome]
COMMANDS = [
    "tutorial",
    "train",
    "evaluate",
    "compare",
    "check-labels",
    "predict",
    "explain",
    "serve",
    "models",
    "doctor",
    "cache info",
    "cache clear",
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{t}\tgood\n" for t in GOOD) + "".join(f"{t}\tbad\n" for t in BAD))
    return path


def process(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "firstbert", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean(dict(os.environ)), **options)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_examples_and_every_option_is_explained(command: str, cli: Cli) -> None:
    outcome = cli(*command.split(), "--help")
    assert outcome.code == 0 and f"firstbert {command.partition(' ')[0] or 'train'}" in outcome.out
    assert "Example" in outcome.out or "Start here" in outcome.out


def test_help_is_quick() -> None:
    """A generous bound on user time, so that a heavy import in the wrong place is noticed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert process("train", "--help").returncode == 0
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 2


def test_train_evaluate_predict(rows: Path, tmp_path: Path, cli: Cli) -> None:
    trained = cli("train", rows, "-o", tmp_path / "m", "--test", rows, "--json")
    assert trained.code == 0
    assert {"model", "encoder", "layer", "pooling", "n_train", "seconds", "cv_accuracy", "test"} <= set(trained.json)
    assert (trained.json["n_train"], trained.json["encoder"], trained.json["pooling"]) == (12, "minilm", "mean")
    assert "12 of" in trained.err or "also" in trained.err  # texts in both files are told

    measured = cli("evaluate", tmp_path / "m", rows, "--json").json
    assert measured == trained.json["test"]
    assert {"n", "accuracy", "macro_f1", "log_loss", "ece", "baseline_accuracy", "per_class"} <= set(measured)
    assert (measured["n"], measured["accuracy"], measured["baseline_accuracy"]) == (12, 1.0, 0.5)

    answers = cli("predict", tmp_path / "m", "--text", GOOD[0], "--text", BAD[0], "--json").json
    assert [answer["label"] for answer in answers] == ["good", "bad"]
    assert set(answers[0]) == {"label", "score", "scores", "truncated", "unsure"}
    assert answers[0]["score"] == max(answers[0]["scores"].values())
    assert abs(sum(answers[0]["scores"].values()) - 1) < 1e-9


def test_hold_out_is_stratified_and_seeded(rows: Path, tmp_path: Path, cli: Cli) -> None:
    first = cli("train", rows, "-o", tmp_path / "a", "--json").json
    assert first["n_train"] == 9 and first["test"]["n"] == 3
    again = cli("train", rows, "-o", tmp_path / "b", "--json").json
    assert again["test"] == first["test"]
    assert (tmp_path / "a" / "head.safetensors").read_bytes() == (tmp_path / "b" / "head.safetensors").read_bytes()
    everything = cli("train", rows, "-o", tmp_path / "c", "--test-size", "0", "--json").json
    assert everything["n_train"] == 12 and everything["test"] is None


def test_equal_texts_never_stand_on_both_sides(tmp_path: Path) -> None:
    from firstbert.data import from_lists
    from firstbert.train import TrainOptions, _hold_out

    texts = [f"text {i % 40}" for i in range(120)]
    examples = from_lists(texts, [i % 2 for i in range(120)])
    train_rows, test_rows = (examples.take(part) for part in _hold_out(examples, TrainOptions("", tmp_path)))
    assert test_rows is not None and not set(train_rows.texts) & set(test_rows.texts)
    assert len(train_rows.texts) + len(test_rows.texts) == 120 and len(test_rows.texts) == 30


@pytest.mark.parametrize(
    ("written", "labels"),
    [("b a 10 2", ["b", "a", "10", "2"]), ("3 1 2", [3, 1, 2]), ("true false", [True, False]), ("01 1", ["01", "1"])],
)
def test_labels_keep_their_type_from_file_to_answer(
    written: str, labels: list[object], tmp_path: Path, cli: Cli
) -> None:
    names = written.split()
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{text}\t{names[i % len(names)]}\n" for i, text in enumerate(TEXTS)))
    assert cli("train", path, "-o", tmp_path / "m", "--test-size", "0").code == 0
    classes = load(tmp_path / "m").classes_.tolist()
    assert classes == sorted(labels) and {type(x) for x in classes} == {type(labels[0])}
    answer = cli("predict", tmp_path / "m", "--text", TEXTS[0], "--json").json[0]
    assert type(answer["label"]) is type(labels[0]) and answer["label"] in labels
    assert cli("evaluate", tmp_path / "m", path, "--json").json["n"] == 12


def test_a_model_of_strings_measures_a_file_of_numbers(tmp_path: Path, cli: Cli) -> None:
    from firstbert import SentenceClassifier

    SentenceClassifier("minilm", C=100.0).fit(TEXTS, ["1", "0"] * 6).save(tmp_path / "m")
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{text}\t{1 - i % 2}\n" for i, text in enumerate(TEXTS)))
    assert cli("evaluate", tmp_path / "m", path, "--json").json["accuracy"] == 1


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_predict_writes_files(ending: str, model: Path, tmp_path: Path, cli: Cli) -> None:
    texts = [*TEXTS, 'with a "quote", a comma', "word " * 300]
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts) + "\n")
    out = tmp_path / f"out.{ending}"
    outcome = cli("predict", model, source, "-o", out)
    assert outcome.code == 0 and "1 text was longer than 256 tokens" in outcome.err and outcome.out == ""
    with out.open(newline="") as file:
        if ending == "jsonl":
            found = [json.loads(line) for line in file]
        else:
            found = list(csv.DictReader(file, delimiter="\t" if ending == "tsv" else ","))
    assert [row["text"] for row in found] == texts
    assert [row["label"] for row in found] == load(model).predictions(texts).best()
    assert [str(row["truncated"]).lower() for row in found] == ["false"] * 13 + ["true"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, out.name])


@pytest.mark.parametrize(
    "words",
    [
        ["m", "--text", "a"],
        ["m/", "--text", "a", "--text", "b", "--json"],
        ["./m", "--text", "", "--text", " two  words\t"],
        ["model of mine", "--text", '["a", "b"]', "--text", "{}", "--text", "1,2"],
        ["m", "--text", "né à 5 €", "--text", "--json"[2:]],
        ["", "--text", "None"],
    ],
)
def test_the_short_way_understands_what_the_long_one_does(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from firstbert import cli, predict

    long: list[predict.PredictOptions] = []
    monkeypatch.setattr(predict, "predict", long.append)
    cli.run(["predict", *words])
    assert predict.plain(["predict", *words]) == long[0]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "train m --text a",
        "predict",
        "predict --help",
        "predict m",
        "predict m in.txt",
        "predict m --json",
        "predict m --text",
        "predict m --text a --text",
        "predict m --text a b",
        "predict m --text --json",
        "predict m --text -a",
        "predict m --text=a",
        "predict -m --text a",
        "predict m --json --text a",
        "predict m --text a -o out.tsv",
        "predict m in.txt --text a",
    ],
)
def test_any_other_call_goes_the_long_way(words: str) -> None:
    from firstbert.predict import plain

    assert plain(words.split()) is None


def test_a_cold_prediction_imports_nothing_that_it_can_do_without(model: Path) -> None:
    """Each of these takes milliseconds, and all together as long as the prediction."""
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from firstbert.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, "predict", f"{model}", "--text", GOOD[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean(dict(os.environ)))
    header, answer, modules = done.stdout.splitlines()
    assert header.startswith("text") and answer.startswith(GOOD[0])
    assert "onnxruntime" in modules.split()
    assert not set(modules.split()) & {
        "attrs", "concurrent.futures", "cyclopts", "email", "filelock", "http.client", "huggingface_hub",
        "importlib.metadata", "lmdb", "logging", "onnx", "pandas", "rich", "sklearn", "ssl", "subprocess", "tarfile",
        "urllib.request",
    }  # fmt: skip


def test_predict_prints_a_table_to_read_on(model: Path, cli: Cli) -> None:
    lines = cli("predict", model, "--text", GOOD[0]).out.splitlines()
    assert lines[0].split("\t") == ["text", "label", "probability", "truncated", "unsure"]
    assert lines[1].split("\t")[:2] == [GOOD[0], "good"]


def test_stdin(model: Path, tmp_path: Path) -> None:
    done = process("predict", str(model), "-", input="\n".join(TEXTS))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 13


def test_the_report_holds_the_numbers(rows: Path, tmp_path: Path, cli: Cli) -> None:
    out = cli("train", rows, "-o", tmp_path / "m", "--test", rows).out
    for part in ("12 rows", " 100.0 %  (73.5–100.0 %)", "50.0 %", "precision", "true ↓", "Saved to"):
        assert part in out


def test_doctor(model: Path, cli: Cli) -> None:
    told = cli("doctor", model, "--json").json
    assert told["model"]["passed"] and told["machine"]["cores"] >= 1
    assert "golden texts give the saved probabilities" in cli("doctor", model).out


def test_doctor_fails_where_answers_differ(model: Path, tmp_path: Path, cli: Cli) -> None:
    import shutil

    folder = Path(shutil.copytree(model, tmp_path / "m"))
    facts = json.loads((folder / "model.json").read_text())
    facts["golden"][0]["probabilities"] = [0.5, 0.5]
    (folder / "model.json").write_text(json.dumps(facts))
    outcome = cli("doctor", folder)
    assert outcome.code == 2 and "probabilities differ by up to" in outcome.err


def test_models_lists_the_catalogue(cli: Cli) -> None:
    assert {"minilm", "mpnet", "distilbert", "bert"} <= {row["name"] for row in cli("models", "--json").json}
    assert "sentence-transformers/all-MiniLM-L6-v2" in cli("models").out


def test_the_cache_may_be_in_use_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path))
    ended = threading.Event()

    def use() -> None:
        while not ended.is_set():
            with suppress(OSError):
                (tmp_path / "prepared" / "one").mkdir(parents=True)
                (tmp_path / "prepared" / "one" / "weights.bin").write_bytes(b"12")
            shutil.rmtree(tmp_path / "prepared" / "one", ignore_errors=True)

    other = threading.Thread(target=use)
    other.start()
    try:
        for _ in range(300):
            found = cache_info()["parts"].get("prepared", {"files": 0, "bytes": 0})
            assert found["bytes"] <= 2 * found["files"] <= 2
    finally:
        ended.set()
        other.join()


@pytest.mark.parametrize("refused", [False, True])
def test_what_is_written_while_the_cache_is_cleared_is_not_what_may_not_be_deleted(
    refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path))
    rmdir, prepared = os.rmdir, tmp_path / "prepared"
    (prepared / "old").mkdir(parents=True)

    def meanwhile(path: str, **options: Any) -> None:
        if Path(path) == prepared and refused:
            raise PermissionError(13, "Permission denied")
        if Path(path) == prepared:
            (prepared / "new").touch()
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", meanwhile)
    with pytest.raises(UsageError, match="still there: prepared") if refused else nullcontext():
        clear_cache()
    assert [path.name for path in prepared.iterdir()] == ([] if refused else ["new"])


def test_cache_clear_deletes_ours_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path))
    for name in ("files", "prepared", "photos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(b"123")
    assert cli("cache", "info", "--json").json["parts"] == {
        "files": {"files": 1, "bytes": 3},
        "prepared": {"files": 1, "bytes": 3},
    }
    assert cli("cache", "clear").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_fault_of_ours_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    import firstbert.catalog

    def broken() -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr(firstbert.catalog, "encoders", broken)
    outcome = cli("models")
    assert outcome.code == 1 and "a fault of this program: RuntimeError: oh" in outcome.err


def test_a_reader_that_leaves_early_is_no_fault(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(f"text {i}" for i in range(3000)))
    command = f"{sys.executable} -m firstbert predict {model} {tmp_path}/texts.txt | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=clean(dict(os.environ)), check=True
    )
    assert done.stdout.splitlines()[-1] == "0" and "Traceback" not in done.stderr


def test_same_answers_through_every_door(model: Path, tmp_path: Path, cli: Cli) -> None:
    texts = [*TEXTS, "word " * 300]
    library = load(model).predictions(texts)
    flags = [part for text in texts for part in ("--text", text)]
    (tmp_path / "in.txt").write_text("\n".join(texts))
    assert cli("predict", model, tmp_path / "in.txt", "-o", tmp_path / "out.jsonl", "--per-class").code == 0
    files = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    doors = (cli("predict", model, *flags, "--json").json, "scores"), (files, "probabilities")
    for records, key in doors:
        assert [r["label"] for r in records] == library.best()
        assert [r["truncated"] for r in records] == library.truncated.tolist()
        p = np.array([[r[key][str(name)] for name in library.labels] for r in records])
        assert np.abs(p - library.probabilities).max() < 1e-6
