"""From files through the command line to models, answers and reports, with a real encoder."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import everyday
from conftest import Outcome, clean
from report_facts import NASTY
from test_page import Reader

Cli = Callable[..., Outcome]


def figures(path: Path) -> dict[str, str]:
    return {place: value for place, value, _ in Reader(path.read_text(encoding="utf-8")).figures}


def words(path: Path) -> str:
    return re.sub(r"\s+", " ", "".join(Reader(path.read_text(encoding="utf-8")).words)).replace("\xa0", " ")


def looked_up(value: Any, place: str) -> Any:
    for part in (part.replace("~1", "/").replace("~0", "~") for part in place.split("/")):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@dataclass(frozen=True)
class Trained:
    """What a run of the command line left behind."""

    model: Path
    test: Path
    report: Path
    json: Any
    notes: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


def command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "firstbert", *map(str, arguments)]
    return subprocess.run(run, capture_output=True, text=True, check=False, env=clean(dict(os.environ)), **options)


def trained(folder: Path, name: str, rows: list[tuple[str, str]], test: list[tuple[str, str]], *more: str) -> Trained:
    data, held = everyday.write(folder / f"{name}.tsv", rows), everyday.write(folder / f"{name}-test.tsv", test)
    model, report = folder / name, folder / f"{name}.html"
    done = command("train", data, "--test", held, "-o", model, "--report", report, "--json", *more)
    assert done.returncode == 0, done.stderr
    return Trained(model, held, report, json.loads(done.stdout), done.stderr)


def mixed(rows: list[tuple[str, str]], share: float, seed: int) -> list[tuple[str, str]]:
    """The same with some labels drawn by lot, so that there is something to get wrong."""
    rng = random.Random(seed)
    labels = sorted({label for _, label in rows})
    return [(text, rng.choice(labels) if rng.random() < share else label) for text, label in rows]


@pytest.fixture(scope="module")
def topics(folder: Path) -> Trained:
    """Two topics are told apart by nothing but the lot: there is something to be unsure of."""
    rng, by_lot = random.Random(0), ("trains", "weather")
    rows = [(text, rng.choice(by_lot) if topic in by_lot else topic) for text, topic in everyday.topics(300, 0)]
    return trained(folder, "topics", rows[:200], rows[200:], "--max-error", "0.2", "--layer", "4")


@pytest.fixture(scope="module")
def several(folder: Path) -> Trained:
    rows = everyday.several(160, 0)
    return trained(folder, "several", rows[:110], rows[110:], "--layer", "3", "--thresholds", "macro-f1")


@pytest.fixture(scope="module")
def uneven(folder: Path) -> Trained:
    """Some of the usual ones sound like the rare ones: the most probable answer is hardly ever the rare label."""
    music = everyday.topics(70, 1, ["music"])
    rows = everyday.topics(530, 0, ["food", "trains"]) + music
    rows = [(text, "rare" if i >= len(rows) - 24 else "usual") for i, (text, _) in enumerate(rows)]
    random.Random(0).shuffle(rows)
    return trained(folder, "uneven", rows[:300], rows[300:], "--thresholds", "macro-f1")


@pytest.mark.parametrize("name", ["topics", "several", "uneven"])
def test_every_figure_is_the_same_everywhere(name: str, request: pytest.FixtureRequest, cli: Cli) -> None:
    t: Trained = request.getfixturevalue(name)
    again = t.report.with_name(f"{name}-again.html")
    outcome = cli("evaluate", t.model, t.test, "--json", "--report", again)
    assert outcome.code == 0 and outcome.json == t.json["test"]
    first, second = figures(t.report), figures(again)
    assert len(first) > 40
    known = {place: value for place, value in first.items() if place.partition("/")[0] in outcome.json}
    assert {"accuracy", "macro_f1", "log_loss", "intervals/accuracy/0"} <= set(known)
    for place, value in known.items():
        assert value == repr(looked_up(outcome.json, place)), place
    assert {p: v for p, v in second.items() if p in first} == {p: v for p, v in first.items() if p in second}
    assert set(known) <= set(second)


def test_the_json_of_a_training(topics: Trained, uneven: Trained) -> None:
    assert set(topics.json) == {
        "model", "encoder", "layer", "pooling", "n_train", "seconds", "C", "cv_accuracy", "temperature", "promise",
        "layers", "finetune", "report", "test",
    }  # fmt: skip
    assert topics.json["layer"] == 4 and topics.json["layers"] is None and topics.json["report"] == str(topics.report)
    assert set(topics.json["promise"]) == {"max_error", "confidence", "threshold", "rows", "coverage", "error"}
    assert sum(place["chosen"] for place in uneven.json["layers"]) == 1
    chosen = next(place for place in uneven.json["layers"] if place["chosen"])
    assert chosen["level"] and chosen["layers"] == [uneven.json["layer"]]
    assert "--thresholds macro-f1 finds more" not in uneven.notes


def test_a_promise_is_told_and_kept_to(topics: Trained, tmp_path: Path, cli: Cli) -> None:
    bound, found = topics.json["promise"], topics.json["test"]["abstention"]
    assert "With confidence 90%, at most 20.0% of the answers that aren't unsure are wrong" in topics.notes
    assert (found["max_error"], found["confidence"], found["threshold"]) == (0.2, 0.9, bound["threshold"])
    assert "50 rows held out in training show that" in words(topics.report)
    texts = [text for text, _ in everyday.topics(100, 5)] + ["Hm.", "Taxes of ships, or a violin on a train of snow?"]
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n")
    assert cli("predict", topics.model, tmp_path / "in.txt", "-o", tmp_path / "out.tsv").code == 0
    with (tmp_path / "out.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    flags = [part for text in texts for part in ("--text", text)]
    answers = cli("predict", topics.model, *flags, "--json").json
    assert [row["unsure"] for row in rows] == [str(answer["unsure"]).lower() for answer in answers]
    assert [answer["unsure"] for answer in answers] == [answer["score"] < bound["threshold"] for answer in answers]
    assert {answer["unsure"] for answer in answers} == {True, False}


def test_a_promise_that_cannot_be_given_is_told(tmp_path: Path, cli: Cli) -> None:
    rows = mixed(everyday.topics(120, 0, ["food", "music"]), 0.3, 0)
    data, report = everyday.write(tmp_path / "rows.tsv", rows), tmp_path / "r.html"
    told = cli("train", data, "-o", tmp_path / "m", "--layer", 2, "--max-error", 0.001, "--report", report)
    assert told.code == 0 and "every answer will be unsure. Allow more errors, or give more rows." in told.err
    assert "Every answer is unsure" in told.out
    assert cli("predict", tmp_path / "m", "--text", "A soup.", "--json").json[0]["unsure"] is True
    assert "Every answer is marked unsure. No threshold could be shown to keep errors within 0.1 %" in words(report)
    assert "200.0 %" not in words(report)
    assert "Every answer is marked unsure" in (tmp_path / "m" / "README.md").read_text()


def test_answers_of_several_labels(several: Trained, tmp_path: Path, cli: Cli) -> None:
    assert several.json["test"]["many"] and several.json["test"]["macro_f1"] > 0.8
    text = "The old violin sounded softly. The heavy snow fell early."
    (tmp_path / "in.txt").write_text(f"{text}\n")
    for ending in ("tsv", "csv", "jsonl"):
        assert cli("predict", several.model, tmp_path / "in.txt", "-o", tmp_path / f"out.{ending}").code == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["label"] == ["music", "weather"]
    for ending, delimiter in (("tsv", "\t"), ("csv", ",")):
        with (tmp_path / f"out.{ending}").open(newline="") as file:
            (row,) = csv.DictReader(file, delimiter=delimiter)
        assert (row["label"], row["text"], row["unsure"]) == ("music|weather", text, "false")
    shown = words(several.report)
    assert "A label is answered where its probability reaches its threshold." in shown
    assert "False alarms" in shown


def test_rare_labels_get_low_thresholds(uneven: Trained) -> None:
    shown = {place: float(value) for place, value in figures(uneven.report).items() if place.startswith("thresholds/")}
    assert shown["thresholds/labels/rare"] < shown["thresholds/labels/usual"] == 1
    assert uneven.json["test"]["macro_f1"] > shown["thresholds/alike/macro_f1"]
    card = (uneven.model / "README.md").read_text()
    assert "| Label | Rows trained on | Threshold |" in card and "best macro F1" in card


def test_a_further_column_gives_slices(topics: Trained, tmp_path: Path, cli: Cli) -> None:
    with topics.test.open(newline="") as file:
        rows = [
            (r["text"], r["label"], ["web", "post"][i % 2]) for i, r in enumerate(csv.DictReader(file, delimiter="\t"))
        ]
    data = everyday.write(tmp_path / "rows.tsv", rows, ("text", "label", "source"))
    report = tmp_path / "r.html"
    outcome = cli("evaluate", topics.model, data, "--extra", "source", "--json", "--report", report)
    assert outcome.code == 0, outcome.err
    parts = {part["value"]: part["n"] for part in outcome.json["slices"] if part["name"] == "source"}
    assert parts == {"web": 50, "post": 50}
    for place, value in figures(report).items():
        if place.startswith("slices/"):
            assert value == repr(looked_up(outcome.json, place))
    missing = cli("evaluate", topics.model, data, "--extra", "sauce", "--json")
    assert missing.code == 2 and "sauce" in missing.err


def test_compare_both_ways(topics: Trained, tmp_path: Path, cli: Cli) -> None:
    rows = everyday.topics(30, 3)
    data = everyday.write(tmp_path / "few.tsv", mixed(rows, 0.7, 1))
    assert cli("train", data, "-o", tmp_path / "weak", "--layer", 1, "--test-size", 0).code == 0
    one = cli("compare", topics.model, tmp_path / "weak", topics.test, "--json").json
    other = cli("compare", tmp_path / "weak", topics.model, topics.test, "--json").json
    assert (one["better"], other["better"]) == ("a", "b") and one["p"] == other["p"] < 0.05
    assert (one["only_a"], one["only_b"]) == (other["only_b"], other["only_a"])
    assert one["differences"]["accuracy"]["difference"] == -other["differences"]["accuracy"]["difference"] < 0
    assert one["differences"]["accuracy"]["a"] == topics.json["test"]["accuracy"]
    told = cli("compare", topics.model, tmp_path / "weak", topics.test).out
    assert "is better: it is right on" in told
    same = cli("compare", topics.model, topics.model, topics.test, "--json").json
    assert same["better"] is None and same["n_different"] == 0


def test_the_card_tells_what_the_report_does(topics: Trained) -> None:
    card, test = (topics.model / "README.md").read_text(), topics.json["test"]
    titles = re.findall("^## (.*)$", card, re.M)
    assert titles == [
        "How to use it", "What it is for", "Labels", "How it was trained", "What it is worth", "When it is unsure",
        "Limits", "Licence", "How to get the same again",
    ]  # fmt: skip
    low, high = test["intervals"]["accuracy"]
    assert f"| Accuracy | {test['accuracy']:.1%} | {100 * low:.1f}–{high:.1%} |".replace("%", " %") in card
    assert "`topics.tsv`" in card and str(topics.test.parent) not in card  # a folder's name isn't the model's to tell
    for label, scores in test["per_class"].items():
        assert re.search(
            rf"^\| `{label}` \| \d+ \| .* \| {100 * scores['f1']:.1f} % \| {scores['support']} \|$", card, re.M
        )
    assert "at most 20.0 % of the others are wrong" in card
    assert re.search("Its (probabilities are left as they are: on rows not fitted on|scores are divided by)", card)
    head = card.split("---\n")[1]
    assert "base_model: sentence-transformers/all-MiniLM-L6-v2\n" in head and "Apache-2.0" in card


def test_hostile_texts_and_labels_stay_text(tmp_path: Path) -> None:
    bad = [text for text in NASTY if "\ud83d" not in text]
    labels = ["<b>a</b>", "`x` [y](http://z)"]
    rows = [(text, labels[i % 2]) for i, text in enumerate(bad + [t for t, _ in everyday.topics(24, 0)])]
    data, report = everyday.write(tmp_path / "<i>&.tsv", rows), tmp_path / "r.html"
    done = command("train", data, "-o", tmp_path / "m", "--test", data, "--report", report, "--layer", 1)
    assert done.returncode == 0 and "longer than 256 tokens" in done.stderr, done.stderr
    page = Reader(report.read_text(encoding="utf-8"))
    assert not page.bad and not page.open and all(tag != "img" for tag, _ in page.elements)
    assert "<b>a</b>" in "".join(page.words) and "<script>alert('boo')" in "".join(page.words)
    assert page.elements and sum(tag == "script" for tag, _ in page.elements) == 1
    card = (tmp_path / "m" / "README.md").read_text()
    assert "| `<b>a</b>` |" in card and "| `` `x` [y](http://z) `` |" in card


def test_rows_from_stdin_with_a_report(tmp_path: Path) -> None:
    rows = "".join(f"{text}\t{label}\n" for text, label in everyday.topics(60, 0, ["food", "music"]))
    done = command("train", "-", "-o", "m", "--layer", 1, "--report", "r.html", "--json", input=rows, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"]["n"] == int(figures(tmp_path / "r.html")["n"]) == 15
    again = command("evaluate", "m", "-", "--report", "m/test.html", input=rows, cwd=tmp_path)
    assert again.returncode == 0 and figures(tmp_path / "m" / "test.html")["n"] == "60"


def test_a_report_in_the_model_folder_outlives_the_next_training(tmp_path: Path, cli: Cli) -> None:
    data = everyday.write(tmp_path / "rows.tsv", everyday.topics(40, 0, ["food", "music"]))
    for _ in range(2):
        assert cli("train", data, "-o", tmp_path / "m", "--layer", 1, "--report", tmp_path / "m" / "r.html").code == 0
        assert (tmp_path / "m" / "r.html").is_file() and (tmp_path / "m" / "model.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-error", "2"], "'max_error' option must be a number between 0 and 1"),
        (["--confidence", "0"], "'confidence' option must be a number between 0 and 1"),
        (["--layer", "99"], "99"),
        (["--layer", "nonsense"], "nonsense"),
        (["--drop", "missing.tsv"], "missing.tsv"),
        (["--report", "missing/r.html"], "there is no folder missing"),
        (["--report", "."], "is a folder"),
        (["--report", "m"], "is to be the model's folder"),
        (["--labels", "few"], "few"),
    ],
)
def test_nonsense_is_refused_before_anything_is_encoded(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    import firstbert.fitting

    def encode(*_: object) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(firstbert.fitting, "encode", encode)
    monkeypatch.chdir(tmp_path)
    everyday.write(Path("rows.tsv"), everyday.topics(80, 0, ["food", "music"]))
    outcome = cli("train", "rows.tsv", "-o", "m", *words)
    assert outcome.code == 2 and message in outcome.err, outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.tsv"]


def test_evaluate_refuses_a_place_for_its_report_first(tmp_path: Path, model: Path, cli: Cli) -> None:
    outcome = cli("evaluate", model, tmp_path / "missing.tsv", "--report", tmp_path / "no" / "r.html")
    assert outcome.code == 2 and "there is no folder" in outcome.err


def test_a_penalty_that_makes_no_sense_is_refused(tmp_path: Path, cli: Cli) -> None:
    data = everyday.write(tmp_path / "rows.tsv", everyday.topics(40, 0, ["food", "music"]))
    outcome = cli("train", data, "-o", tmp_path / "m", "--C", "-1", "--layer", 1)
    assert outcome.code == 2 and "C" in outcome.err and not (tmp_path / "m").exists()
