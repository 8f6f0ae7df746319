"""The measurements of bulk prediction: files of rows, what is run and kept, the model of time, the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MACHINE = {"family": "1/2/3", "cpu": "Some CPU", "cores": 2, "threads": 2, "memory_gb": 8.0, "python": "3.12.1"}
HEADER = {"machine": MACHINE, "versions": {"firstbert": {"numpy": "2"}}, "quick": False, "encoders": ["minilm"]}
LOOPS = ("sentence-transformers, 32 rows at a time", "sentence-transformers, all rows, batches of 32")


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import bulk, bulk_model, bulk_peers, bulk_report, bulk_rows, kept, texts, timed

        yield SimpleNamespace(
            kept=kept, bulk=bulk, model=bulk_model, peers=bulk_peers, report=bulk_report, rows=bulk_rows,
            texts=texts, timed=timed,
        )  # fmt: skip


def run(rate: float, wall: float = 10.0, peak: float = 1e8, rows: int = 1000, **more: Any) -> dict[str, Any]:
    return {"rows": rows, "rows_per_s": rate, "seconds": rows / rate, "wall": wall, "peak": peak, "tokens": 24 * rows,
            "same_labels": 1.0, "in_order": True} | more  # fmt: skip


def encoded(tokens_per_s: float) -> dict[str, Any]:
    lengths = {
        str(n): {"rows": 10, "tokens": 10 * n, "tokens_per_s": tokens_per_s, "rows_per_s": tokens_per_s / n}
        for n in (10, 24, 128, 250)
    }
    return {"lengths": lengths, "one_core": {"tokens_per_s": tokens_per_s / 2}, "layer": 6}


@pytest.fixture
def parts() -> dict[str, Any]:
    """All sections, with figures that are easy to reckon with."""
    peers = {"firstbert": run(500.0, 4.0, 1e8), LOOPS[0]: run(100.0, 20.0, 5e8), LOOPS[1]: run(250.0, 12.0, 6e8),
             "SetFit": run(200.0, 16.0, 7e8)}  # fmt: skip
    rates = {"encoder": run(500.0), "local": run(490.0, 5.0), "ray": run(392.0)}
    files = {"rows": 1000, "bytes": 50_000, "bytes_written": 1, "look": 0.1, "read": 0.1, "write": 0.1, "whole": 1.0}
    return {
        "header": HEADER,
        "peers, 0": {"runs": peers, "rows": 1000},
        "rate, 0": {"runs": rates},
        "memory, csv": {"runs": {"1000": run(9e3, 1.0), "9000": run(9e3, 3.0, rows=9000)}, "ratio": 1.3},
        "encode, minilm, fp32, last": encoded(24_000.0),
        "encode, tiny, fp32, last": encoded(240_000.0),
        "tokenise, 1": encoded(1e6),
        "files, csv": files,
        "cluster, start": {"rows": 64, "seconds": 2.0, "wall": 6.0},
        "cluster, free": {"rows": 8000, "seconds": 4.0, "wall": 9.0},
        "cluster, 4": {"rows": 4000, "seconds": 4.0, "cores": 4, "core_rows_per_s": 500.0},
    }


# ---------------------------------------------------------------- rows


def test_varied_texts_all_differ_and_begin_with_the_sentences(modules: SimpleNamespace) -> None:
    sentences = ["a warm film", "dull", "so so", "no"]
    texts = list(modules.texts.varied(sentences, 60))
    assert texts[:4] == sentences and len(set(texts)) == 60
    assert texts[4] == "warm film a"
    assert list(modules.texts.varied(sentences, 7)) == texts[:7]


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "parquet"])
def test_ids_are_read_back_and_a_row_that_is_missing_shows(modules: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    modules.rows.WRITERS[kind](path, iter(["one, two", 'a "quoted" one', "three"]))
    assert list(modules.rows.ids_of(path)) == [0, 1, 2]
    assert modules.rows.in_order(path, 3)
    assert not modules.rows.in_order(path, 2) and not modules.rows.in_order(path, 4)


def test_a_command_is_timed_and_its_memory_counted_without_that_of_who_asks(
    modules: SimpleNamespace, tmp_path: Path
) -> None:
    held = bytearray(150_000_000)  # by this process, which must not count
    options = modules.bulk.parse(["--work", str(tmp_path)])[1]
    bulk = modules.bulk.Bulk(options)
    said, small = bulk.timed([sys.executable, "-c", "print(7)"])
    large = bulk.timed([sys.executable, "-c", "x = b'1' * 80_000_000"])[1]
    assert said == "7\n" and small["peak"] < 80_000_000 < large["peak"] < len(held)
    with pytest.raises(modules.kept.BenchError, match="no such thing"):
        bulk.timed([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_a_peer_labels_a_file_in_parts_and_whole(modules: SimpleNamespace, tmp_path: Path) -> None:
    import numpy as np

    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    modules.rows.WRITERS["csv"](source, iter(["good", "bad", "good", "good", "bad"]))
    handed: list[int] = []

    def answer(texts: Any) -> Any:
        handed.append(len(texts))
        return np.array([[0.1, 0.9] if text == "good" else [0.8, 0.2] for text in texts])

    for at_once, sizes in ((2, [2, 2, 1]), (None, [5])):
        handed.clear()
        assert modules.peers.label(answer, at_once, source, output) == 5 and handed == sizes
        assert modules.rows.labels_of(output).tolist() == ["1", "0", "1", "1", "0"]
        assert modules.rows.in_order(output, 5)


# ---------------------------------------------------------------- what is run and kept


def test_every_section_measures_and_is_shown(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parts: dict[str, Any]
) -> None:
    bulk = modules.bulk
    made = {"race": parts["peers, 0"], "rates": parts["rate, 0"], "peaks": parts["memory, csv"],
            "flow": parts["files, csv"]}  # fmt: skip
    for name, part in made.items():
        monkeypatch.setattr(bulk, name, lambda *_, part=part: dict(part))
    waited = {64: parts["cluster, start"], bulk.FREE_ROWS: parts["cluster, free"]}
    monkeypatch.setattr(
        bulk, "waited", lambda bulk, core, cores, n: dict(waited.get(n if not cores else 0, parts["cluster, 4"]))
    )
    monkeypatch.setattr(bulk.Bulk, "step", lambda self, task, *_, **more: encoded(24_000.0))
    monkeypatch.setattr(bulk, "_texts", lambda *_: {})
    monkeypatch.setattr(bulk.Bulk, "encoders", {"minilm": "minilm"})
    sections, options = bulk.parse(["--quick", "--work", str(tmp_path), "--peers", str(tmp_path / "none")])
    results = bulk.measure(options, sections)
    assert results.failed == []
    assert {name.split(",")[0] for name in results.parts} == {"header", "tokenise", *bulk.SECTIONS}
    assert not any(name.startswith("encode, mpnet") for name in results.parts)
    shown = modules.report.render(results.parts)
    for title in ("Against others", "Memory by size", "Tokens a second", "What a million", "The model, checked"):
        assert title in shown
    assert "**A quick run" in shown and str(tmp_path) not in shown
    again = bulk.measure(options.__class__(**{**options.__dict__, "force": False}), ["rate"])
    assert again.parts.keys() == results.parts.keys()


def test_what_can_be_asked_for(modules: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sections, options = modules.bulk.parse(["rate", "--quick", "--work", str(tmp_path)])
    assert sections == ["rate"] and options.force and options.mpnet is None and options.ray == options.python
    assert options.results == tmp_path.resolve() / "quick" and options.work == tmp_path.resolve() / "files"
    with pytest.raises(SystemExit):
        modules.bulk.parse(["fast"])
    assert "no section 'fast'" in capsys.readouterr().err
    missing = modules.bulk.Bulk(modules.bulk.parse(["--peers", str(tmp_path / "none"), "--work", str(tmp_path)])[1])
    with pytest.raises(modules.kept.BenchError, match=r"no .*none"):
        missing.peer(system="SetFit")


# ---------------------------------------------------------------- the model of time


def test_the_model_adds_up_on_one_machine_and_takes_the_slower_on_a_cluster(modules: SimpleNamespace) -> None:
    speeds = modules.model.Speeds(core=1000.0, driver=100.0, start=5.0, efficiency=0.5)
    assert speeds.encoding(300, 20, 4) == 3.0
    assert speeds.here(300, 20, 4) == 5 + 3 + 3
    assert speeds.cluster(600, 20, 4) == 5 + 6 and speeds.cluster(600, 20, 2) == 5 + 12
    assert speeds.limit(20) == 4  # 2,000 tokens/s that the driver carries, 500 of a core


def test_rates_between_lengths_lie_between_those_measured(modules: SimpleNamespace, parts: dict[str, Any]) -> None:
    lengths = parts["encode, minilm, fp32, last"]["lengths"]
    lengths["24"]["tokens_per_s"], lengths["128"]["tokens_per_s"] = 20_000.0, 10_000.0
    rate = modules.model.core_rate
    assert rate(parts, "minilm, fp32, last", 24) == 10_000 and rate(parts, "minilm, fp32, last", 5) == 12_000
    assert rate(parts, "minilm, fp32, last", (24 * 128) ** 0.5) == pytest.approx(7500)
    assert rate(parts, "minilm, fp32, last", 999) == 12_000


def test_speeds_come_from_other_runs_than_those_foretold(modules: SimpleNamespace, parts: dict[str, Any]) -> None:
    model = modules.model
    assert model.start_here(parts) == 2.0 and model.driver_here(parts) == 1000.0
    assert model.driver_of_ray(parts) == 4000.0 and model.of_ray(parts) == pytest.approx(0.8)
    before = modules.report.render(parts)
    parts["rate, 0"]["runs"]["local"]["wall"] = 8.0  # what is foretold, is measured otherwise
    after = modules.report.render(parts)
    # 2 s to start, 24,000 tokens at 24,000/s, 1,000 rows at 1,000/s
    assert "| MiniLM, 1,000 rows, CSV | 4 | 5 | -20 % |" in before
    assert "| MiniLM, 1,000 rows, CSV | 4 | 8 | -50 % |" in after


# ---------------------------------------------------------------- the page


def test_goals_count_the_best_of_the_others_and_show_what_is_missed(
    modules: SimpleNamespace, parts: dict[str, Any]
) -> None:
    shown = modules.report.render(parts)
    assert "| rows/s, times sentence-transformers, its best | ≥ 1.50 | 2.00 | yes |" in shown
    assert "| the whole command, times as quick as sentence-transformers, its best | ≥ 1.50 | 3.00 | yes |" in shown
    assert "| least memory of sentence-transformers, its best, times ours | > 1.00 | 5.00 | yes |" in shown
    assert "| rows/s, share of SentenceEncoder's alone | ≥ 0.95 | 0.98 | yes |" in shown
    assert "| Ray: rows/s, share of one process's | ≥ 0.90 | 0.80 | **no** |" in shown
    assert "| csv: memory of 9,000 rows, times that of 1,000 | ≤ 1.20 | 1.30 | **no** |" in shown


def test_a_million_sentences_cost_what_the_rate_says(modules: SimpleNamespace, parts: dict[str, Any]) -> None:
    shown = modules.report.render(parts)
    # 24 million tokens at 12,000/s of a core: 2,000 s, 0.556 hours, at 0.05 an hour 0.03
    row = next(line for line in shown.split("What a million")[1].splitlines() if line.startswith("| minilm, layer 6"))
    assert [cell.strip() for cell in row.strip("|").split("|")][2] == "0.556" and row.endswith("| 0.03 |")
    limits = shown.split("Where the bottleneck moves")[1].splitlines()
    row = next(line for line in limits if line.startswith("| minilm, layer 6"))
    assert [cell.strip() for cell in row.strip("|").split("|")][2] == "10"  # 4,000 rows/s of 24 tokens, 9,600 a core


def test_what_is_not_measured_is_not_told(modules: SimpleNamespace, parts: dict[str, Any]) -> None:
    report = modules.report
    assert report.render({}) == report.render({"header": HEADER}) == report.NOTHING
    some = {name: part for name, part in parts.items() if name == "header" or name.startswith("encode, minilm")}
    shown = report.render(some)
    assert "Tokens a second" in shown and "billion" not in shown and "checked" not in shown and "Goals" not in shown
