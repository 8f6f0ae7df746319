"""The benchmarks' own part, without any peer: this project measured on few made texts, and the tables made of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from firstbert.catalog import encoder_files

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import (
            bench,
            encoders,
            kept,
            marks,
            memory,
            peers,
            report,
            run,
            systems,
            texts,
            throughput,
            turns,
        )

        yield SimpleNamespace(
            bench=bench,
            encoders=encoders,
            kept=kept,
            marks=marks,
            memory=memory,
            peers=peers,
            report=report,
            run=run,
            systems=systems,
            texts=texts,
            throughput=throughput,
            turns=turns,
        )


@pytest.fixture
def options(modules: SimpleNamespace, tmp_path: Path) -> Any:
    data = tmp_path / "data"
    data.mkdir()
    rows = [f"{text}\t{i % 2}" for i, text in enumerate(modules.texts.made(400))]
    (data / "train.tsv").write_text("\n".join(rows) + "\n")
    python = Path(sys.executable)
    pythons = {"firstbert": python, "peers": python, "optimum": tmp_path / "none"}
    return modules.bench.Options(
        data, tmp_path / "results", tmp_path / "work", pythons, threads=2, rounds=2, quick=True
    )


@pytest.fixture
def bench(modules: SimpleNamespace, options: Any) -> Iterator[Any]:
    bench = modules.bench.Bench(options)
    modules.encoders.tiny(options.work / "encoders" / "tiny", encoder_files("minilm").tokenizer)
    yield bench
    bench.close()


def measured(modules: SimpleNamespace, bench: Any) -> dict[str, Any]:
    case = bench.case(bench.options.work / "encoders" / "tiny")
    entries = [modules.turns.Entry("firstbert", case), modules.turns.Entry("sentence-transformers onnx", case)]
    found = modules.turns.compare(bench, entries, list(modules.texts.made(40)), sample=8)
    return {"encoder": "tiny", "tokens": 300, "gflop": 1.0} | found


def test_a_comparison_measures_what_can_be_had_and_says_what_can_not(modules: SimpleNamespace, bench: Any) -> None:
    part = measured(modules, bench)
    own, missing = part["systems"]["firstbert"], part["systems"]["sentence-transformers onnx"]
    assert own["rate"] > 0 and own["ratios"] == [1, 1] and len(own["seconds"]) == bench.options.rounds
    assert own["without_tokenising"] > 0
    assert "error" in missing and "rate" not in missing
    assert all(rate > 0 for sample in part["sgemm"] for rate in sample.values())
    assert len(part["sgemm"]) == bench.options.rounds + 1


def test_a_run_goes_on_where_it_ended(modules: SimpleNamespace, options: Any) -> None:
    header = {"machine": {"family": "1/2/3"}}
    calls = []

    def measure() -> dict[str, Any]:
        calls.append(1)
        return {"value": 1.23456789}

    def fail() -> dict[str, Any]:
        raise ValueError("no")

    results = modules.kept.Results.open(options.results, "some", header)
    results.part("one", measure)
    results.part("two", fail)
    assert results.failed == ["some two"]
    again = modules.kept.Results.open(options.results, "some", header)
    again.part("one", measure)
    assert calls == [1] and again.parts["one"]["value"] == 1.23457
    other = modules.kept.Results.open(options.results, "some", {"machine": {"family": "4/5/6"}})
    assert "one" not in other.parts


def test_vectors_are_the_projects_own(modules: SimpleNamespace, bench: Any) -> None:
    from firstbert import SentenceEncoder

    case, rows = bench.case(bench.options.work / "encoders" / "tiny"), list(modules.texts.made(20))
    system = modules.peers.SYSTEMS["firstbert"](case, {})
    system.prepare()
    assert np.array_equal(system.encode(rows), SentenceEncoder(case.encoder, pooling="mean").transform(rows))


def test_batches_of_the_peers_hold_every_row_once_within_the_budget(modules: SimpleNamespace) -> None:
    ids = [[1] * length for length in (5, 60, 1, 17, 17, 300, 8)]
    batches = modules.systems.by_budget(ids, 64)
    assert sorted(int(i) for rows in batches for i in rows) == list(range(len(ids)))
    assert all(len(rows) * max(len(ids[i]) for i in rows) <= 64 or len(rows) == 1 for rows in batches)


def test_useful_arithmetic_by_hand(modules: SimpleNamespace) -> None:
    config = {"hidden_size": 2, "num_hidden_layers": 3, "intermediate_size": 5}
    by_hand = 3 * (2 * 7 * (4 * 4 + 2 * 2 * 5) + 4 * 49 * 2)
    assert modules.throughput.useful_gflop(config, [7, 7]) == pytest.approx(2e-9 * by_hand)


def test_made_texts_all_differ_and_long_ones_stay_below_the_cut(modules: SimpleNamespace) -> None:
    assert len(set(modules.texts.made(5000))) == 5000
    rows = [(text, 0) for text in modules.texts.made(500)]
    long = modules.texts.long(rows, 5, lambda text: len(text.split()))
    assert all(245 < len(text.split()) <= 250 for text in long) and len(long) == 5


def test_tables_and_plot(modules: SimpleNamespace, bench: Any, tmp_path: Path) -> None:
    results = modules.kept.Results.open(bench.options.results, "throughput", bench.header)
    results.part("tiny", lambda: measured(modules, bench))
    page, plot, readme = (tmp_path / name for name in ("page.md", "plot.svg", "readme.md"))
    for file in (page, readme):
        file.write_text(f"before\n{modules.report.BEGIN}\nold\n{modules.marks.END}\nafter\n")
    modules.report.write(bench.options.results, page, plot, readme)
    for file in (page, readme):
        text = file.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    text = page.read_text()
    assert "| firstbert |" in text and "Not to be had: sentence-transformers onnx" in text
    assert "</svg>" in plot.read_text()


def test_page_and_readme_show_the_figures_that_are_kept(modules: SimpleNamespace) -> None:
    report, sections = modules.report, modules.report.read(ROOT / "benchmarks" / "results")
    for page, figures in ((report.PAGE, report.render(sections)), (report.README, report.summary(sections))):
        assert modules.marks.between(page, report.BEGIN) == figures.strip()


def test_kept_figures_hold_no_sentences() -> None:
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        longest = max((len(text) for text in strings(json.loads(path.read_text()))), default=0)
        assert longest <= 300  # an error's first line, at most


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def test_what_can_be_asked_for(modules: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    sections, options = modules.run.parse(["--quick", "latency"])
    assert sections == ["latency"] and options.rounds == 2 and options.results.parts[-2:] == ("bench", "quick")
    with pytest.raises(SystemExit):
        modules.run.parse(["speed"])
    assert "no section 'speed'" in capsys.readouterr().err
