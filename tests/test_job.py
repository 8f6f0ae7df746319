"""Files → files with their labels: every door, every fault, and whatever stops it."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bulk_rows
from bulk_rows import finish, read, sentences, start, write
from conftest import Outcome, clean
from firstbert import answers, bulk, job, load, resume
from firstbert.bulk import BulkOptions
from firstbert.errors import DataError, UsageError
from firstbert.job import label_files, work_folder

Cli = Callable[..., Outcome]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 256 rows."""
    monkeypatch.setattr(bulk, "ROWS", 256)
    monkeypatch.setitem(bulk.CUT, "rows", 256)


def numbered(n: int, seed: int = 0) -> list[dict[str, Any]]:
    return [{"id": i, "text": text} for i, text in enumerate(sentences(n, seed))]


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl", "parquet", "csv.gz", "jsonl.gz"])
def test_every_row_once_in_order_with_the_librarys_answer(ending: str, quick: Path, tmp_path: Path, cli: Cli) -> None:
    rows = numbered(5000)
    source, out = write(tmp_path / f"in.{ending}", rows), tmp_path / f"out.{ending}"
    told = cli("predict", quick, source, "-o", out, "--per-class", "--json")
    assert told.code == 0, told.err
    assert (told.json["rows"], told.json["bad"], told.json["resumed"]) == (5000, {}, 0)
    found = read(out)
    assert [int(row["id"]) for row in found] == list(range(5000))
    assert [row["text"] for row in found] == [row["text"] for row in rows]
    expected = load(quick).predictions([row["text"] for row in rows])
    assert [row["label"] for row in found] == expected.best()
    assert Counter(row["label"] for row in found) == told.json["labels"]
    exact = ending.startswith(("jsonl", "parquet"))
    for row, confidence, probabilities in zip(found, expected.confidence, expected.probabilities, strict=True):
        assert abs(float(row["probability"]) - confidence) < (1e-12 if exact else 6e-7)
        per_class = row.get("probabilities") or {name: row[f"probability_{name}"] for name in expected.labels}
        assert all(
            abs(float(per_class[name]) - p) < 6e-7 for name, p in zip(expected.labels, probabilities, strict=True)
        )
        assert str(row["truncated"]).lower() == str(row["unsure"]).lower() == "false"
    assert not work_folder(str(out)).exists()


def test_other_columns_are_kept_and_ours_never_replace_them(quick: Path, tmp_path: Path, cli: Cli) -> None:
    rows = [{"label": "mine", "text": "The old soup was cold.", "note": 'a "b", c', "extra": ""}] * 3
    for ending in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"out.{ending}"
        assert cli("predict", quick, write(tmp_path / f"in.{ending}", rows), "-o", out).code == 0
        first = read(out)[0]
        assert {key: first[key] for key in rows[0]} == rows[0]
        assert first["predicted_label"] in load(quick).classes_ and "probability" in first
    again = cli("predict", quick, out, "-o", tmp_path / "again.jsonl")
    assert again.code == 2 and "as if it had been labelled before" in again.err


def test_files_folders_and_patterns_come_in_order(quick: Path, tmp_path: Path, cli: Cli) -> None:
    rows = numbered(60)
    (tmp_path / "more" / "deep").mkdir(parents=True)
    write(tmp_path / "first.csv", rows[:10])
    write(tmp_path / "more" / "a.csv.gz", rows[10:20])
    write(tmp_path / "more" / "deep" / "b.jsonl", rows[20:30])
    write(tmp_path / "x-2.parquet", rows[40:50])
    write(tmp_path / "x-1.tsv", rows[30:40])
    (tmp_path / "more" / "readme.md").write_text("no data")
    out = tmp_path / "out.jsonl"
    told = cli("predict", quick, tmp_path / "first.csv", tmp_path / "more", tmp_path / "x-*", "-o", out)
    assert told.code == 0, told.err
    assert [int(row["id"]) for row in read(out)] == list(range(50))


def test_a_folder_may_hold_its_own_output(quick: Path, tmp_path: Path, cli: Cli) -> None:
    write(tmp_path / "in.csv", numbered(20))
    for _ in range(2):
        told = cli("predict", quick, tmp_path, "-o", tmp_path / "out.csv", "--json")
        assert told.code == 0 and told.json["rows"] == 20


def test_stdin_to_a_file_and_to_stdout(quick: Path, tmp_path: Path) -> None:
    texts = sentences(300)
    lines = "\n".join(text.replace("\t", " ").replace('"', "") for text in texts) + "\n"
    command = [sys.executable, "-m", "firstbert", "predict", str(quick), "-"]
    for more in ([], ["-o", str(tmp_path / "out.tsv")]):
        done = subprocess.run(
            command + more, input=lines, capture_output=True, text=True, env=clean(dict(os.environ)), check=True
        )
        if not more:
            printed = done.stdout
    assert printed == (tmp_path / "out.tsv").read_text() and len(printed.splitlines()) == 301
    assert [path.name for path in tmp_path.iterdir()] == ["out.tsv"]


# ---------------------------------------------------------------- stopped and taken up again


def test_killed_at_random_moments_it_ends_in_the_same_bytes(quick: Path, tmp_path: Path) -> None:
    source, notes = write(tmp_path / "in.csv", numbered(9000)), tmp_path / "notes"
    began = time.monotonic()
    whole = start(tmp_path / "whole.notes", "predict", quick, source, "-o", tmp_path / "whole.jsonl")
    assert finish(whole) == (0, "9,000 rows written to " + str(tmp_path / "whole.jsonl") + ".\n")
    took = time.monotonic() - began
    expected = (tmp_path / "whole.jsonl").read_bytes()
    distinct = len((tmp_path / "whole.notes").read_text().split())
    assert distinct == 36

    out, rng, kills, ends = tmp_path / "out.jsonl", random.Random(6), 0, 0
    code = -signal.SIGKILL
    while kills < 20 or code:
        process = start(notes, "predict", quick, source, "-o", out)
        code, err = finish(process, after=rng.uniform(0.3, 1.0) * took if kills < 20 else None)
        kills += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL), err
        if code == 0 or (out.exists() and not work_folder(str(out)).exists()):  # killed on its way out
            assert out.read_bytes() == expected
            out.unlink()
            ends += 1
    written = notes.read_text().split()
    assert len(written) <= ends * distinct + kills  # each kill costs a shard at most
    assert len(set(written)) == distinct


def test_what_was_done_is_not_done_again(small: None, quick: Path, tmp_path: Path, monkeypatch: Any) -> None:
    source, out = write(tmp_path / "in.jsonl", numbered(2000)), str(tmp_path / "out.jsonl")
    options = BulkOptions((str(source),), out)
    label_files(quick, options)
    expected = Path(out).read_bytes()
    Path(out).unlink()
    put, written = resume.Work.put, []

    def stopped(self: resume.Work, piece: resume.Piece, *rest: bytes) -> None:
        if piece.number == 5:
            raise KeyboardInterrupt
        put(self, piece, *rest)
        written.append(piece.number)

    monkeypatch.setattr(resume.Work, "put", stopped)
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        label_files(quick, options, lines.append)
    assert lines == ["1,280 rows are done and kept: the same command goes on from there."]
    assert written == [0, 1, 2, 3, 4] and not Path(out).exists()

    def noted(self: resume.Work, piece: resume.Piece, *rest: bytes) -> None:
        put(self, piece, *rest)
        written.append(piece.number)

    monkeypatch.setattr(resume.Work, "put", noted)
    lines.clear()
    outcome = label_files(quick, options, lines.append)
    assert written == list(range(8)) and outcome.resumed == 5 * 256 and outcome.rows == 2000
    assert "1,280 rows that are done" in lines[0]
    assert Path(out).read_bytes() == expected


@pytest.fixture
def stopped(small: None, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BulkOptions:
    """A job that was stopped after three shards, of a copy of the model."""
    model = Path(shutil.copytree(quick, tmp_path / "model"))
    source = write(tmp_path / "in.csv", numbered(2000))
    options = BulkOptions((str(source),), str(tmp_path / "out.csv"))
    put = resume.Work.put

    def stop(self: resume.Work, piece: resume.Piece, *rest: bytes) -> None:
        if piece.number == 3:
            raise KeyboardInterrupt
        put(self, piece, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(resume.Work, "put", stop)
        label_files(model, options)
    return options


def _append(model: Path, options: BulkOptions) -> BulkOptions:
    with Path(options.inputs[0]).open("a") as file:
        file.write("2000,One more.\n")
    return options


def _other_model(model: Path, options: BulkOptions) -> BulkOptions:
    facts = json.loads((model / "model.json").read_text())
    facts["calibration"]["temperature"] = 2.0
    (model / "model.json").write_text(json.dumps(facts))
    return options


def _other_options(model: Path, options: BulkOptions) -> BulkOptions:
    return BulkOptions(options.inputs, options.output, per_class=True)


def _other_version(model: Path, options: BulkOptions) -> BulkOptions:
    manifest = work_folder(options.output) / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["version"]["onnxruntime"] = "0.1"
    manifest.write_text(json.dumps(facts))
    return options


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_append, r"input '.*in\.csv' was .* is"),
        (_other_model, "model 'model.json' was"),
        (_other_options, "option 'per_class' was false, is true"),
        (_other_version, "version 'onnxruntime' was \"0.1\""),
    ],
)
def test_what_changed_in_between_is_refused_by_name(
    change: Callable[[Path, BulkOptions], BulkOptions], told: str, stopped: BulkOptions, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    options = change(model, stopped)
    with pytest.raises(UsageError, match=told) as error:
        label_files(model, options)
    assert "--restart" in str(error.value)
    assert work_folder(options.output).exists() and not Path(options.output).exists()
    fresh = BulkOptions(options.inputs, options.output, per_class=options.per_class, restart=True)
    outcome = label_files(model, fresh)
    assert outcome.resumed == 0 and outcome.rows == len(read(Path(options.output))) >= 2000


def test_a_journal_cut_off_by_a_power_cut_costs_a_shard(stopped: BulkOptions, tmp_path: Path) -> None:
    folder = work_folder(stopped.output)
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    (folder / "000000-00000001").write_bytes(b"half")  # a piece whose bytes never reached the disk
    outcome = label_files(tmp_path / "model", stopped)
    assert outcome.resumed == 256 and outcome.rows == 2000
    assert [int(row["id"]) for row in read(Path(stopped.output))] == list(range(2000))


def test_a_piece_that_rotted_is_not_passed_on(stopped: BulkOptions, tmp_path: Path) -> None:
    piece = work_folder(stopped.output) / "000000-00000001"
    data = bytearray(piece.read_bytes())
    data[100] ^= 1
    piece.write_bytes(data)
    with pytest.raises(UsageError, match="was damaged after it was written"):
        label_files(tmp_path / "model", stopped)
    assert not Path(stopped.output).exists()


def test_two_processes_never_share_an_output(quick: Path, tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.csv", numbered(10)), str(tmp_path / "out.csv")
    with answers.held(work_folder(out)), pytest.raises(UsageError, match="another process is at work"):
        label_files(quick, BulkOptions((str(source),), out))
    assert label_files(quick, BulkOptions((str(source),), out)).rows == 10


def test_input_that_changes_while_it_is_read_is_told(small: None, quick: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", numbered(40_000))
    form = job.tables.Format("csv")

    def change(reading: job.Reading, answered: bulk.Answered) -> None:
        if answered.shard.number == 1:
            with source.open("a") as file:
                file.write("40000,One more.\n")

    with pytest.raises(DataError, match="was changed while it was being read"):
        job.label_stream(quick, BulkOptions((str(source),), ""), change, form)


# ---------------------------------------------------------------- faults


def test_bad_rows_stand_in_a_file_of_their_own(quick: Path, tmp_path: Path, cli: Cli) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(
        b"id,text\n0,A small soup.\n1,caf\xe9\n2,A nul \0 here.\n3\n4,\n5,The wild choir sang.\n6,a,b\n7,The end.\n"
    )
    out = tmp_path / "out.csv"
    told = cli("predict", quick, source, "-o", out, "--json")
    assert told.code == 2 and "5 rows were set aside" in told.err
    assert told.json["rows"] == 3 and sum(told.json["bad"].values()) == 5
    assert [row["id"] for row in read(out)] == ["0", "5", "7"]
    aside = [json.loads(line) for line in (tmp_path / "out.csv.bad.jsonl").read_text().splitlines()]
    assert [(row["line"], row["kind"]) for row in aside] == [
        (3, "invalid_utf8"), (4, "nul"), (5, "columns"), (6, "empty_text"), (8, "columns")
    ]  # fmt: skip
    assert all(row["source"] == str(source) and row["reason"] for row in aside)
    assert aside[0]["raw"].encode("utf-8", "surrogateescape") == b"1,caf\xe9"
    assert cli("predict", quick, source, "-o", out, "--on-bad-row", "skip").code == 0
    assert (tmp_path / "out.csv.bad.jsonl").exists()
    refused = cli("predict", quick, source, "-o", tmp_path / "no.csv", "--on-bad-row", "fail")
    assert refused.code == 2 and "line 3" in refused.err and not (tmp_path / "no.csv").exists()
    source.write_text("id,text\n0,A small soup.\n")
    assert cli("predict", quick, source, "-o", out).code == 0
    assert not (tmp_path / "out.csv.bad.jsonl").exists()  # of the run before


def test_an_unreadable_file_among_many(quick: Path, tmp_path: Path, cli: Cli) -> None:
    rows = numbered(400)
    for i in range(4):
        write(tmp_path / f"part-{i}.csv.gz", rows[i * 100 : i * 100 + 100])
    damaged = tmp_path / "part-2.csv.gz"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    out, parts = tmp_path / "out.csv", tmp_path / "part-*"
    refused = cli("predict", quick, parts, "-o", out)
    assert refused.code == 2 and "part-2.csv.gz" in refused.err and not out.exists()
    told = cli("predict", quick, parts, "-o", out, "--on-bad-row", "skip", "--json")
    assert told.code == 0 and told.json["unread"] == 1 and told.json["rows"] == 300
    assert [int(row["id"]) for row in read(out)] == [*range(200), *range(300, 400)]
    (aside,) = [json.loads(line) for line in (tmp_path / "out.csv.bad.jsonl").read_text().splitlines()]
    assert aside["source"] == str(damaged) and aside["kind"] == "unread"


def test_a_column_that_the_third_file_lacks(quick: Path, tmp_path: Path, cli: Cli) -> None:
    rows = numbered(30)
    for i in range(2):
        write(tmp_path / f"{i}.csv", rows)
    write(tmp_path / "2.csv", [{"text": row["text"], "note": "x"} for row in rows])
    outcome = cli("predict", quick, tmp_path, "-o", tmp_path / "out.csv")
    assert outcome.code == 2 and "2.csv: has no column 'id', which" in outcome.err
    write(tmp_path / "2.csv", [{"id": 1, "words": row["text"], "more": "x"} for row in rows])
    outcome = cli("predict", quick, tmp_path, "-o", tmp_path / "out.csv", "--column", "text")
    assert outcome.code == 2 and "2.csv: there is no text column 'text'" in outcome.err
    assert not (tmp_path / "out.csv").exists()


def test_a_row_of_5_mb(quick: Path, tmp_path: Path, cli: Cli) -> None:
    rows = numbered(50)
    rows[20]["text"] = "The wild choir sang. " * 250_000
    for ending in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"out.{ending}"
        told = cli("predict", quick, write(tmp_path / f"in.{ending}", rows), "-o", out)
        assert told.code == 0 and "1 text was longer than 256 tokens" in told.err
        if ending != "csv":  # csv's own reader stops at 128 kB a field
            found = read(out)
            assert [row["text"] for row in found] == [row["text"] for row in rows]
            assert [row["truncated"] for row in found] == [i == 20 for i in range(50)]


def test_a_full_disk_costs_nothing_that_is_done(quick: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system refuses to write beyond it."""
    source, out = write(tmp_path / "in.csv", numbered(9000)), tmp_path / "out.jsonl"
    assert finish(start(tmp_path / "n", "predict", quick, source, "-o", tmp_path / "whole.jsonl"))[0] == 0
    size = (tmp_path / "whole.jsonl").stat().st_size

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    code, err = finish(start(tmp_path / "n", "predict", quick, source, "-o", out, preexec_fn=limit))
    assert code == 2 and "can't be written" in err and "run the same command again" in err
    assert not out.exists()
    code, err = finish(start(tmp_path / "n", "predict", quick, source, "-o", out))
    assert code == 0 and "Going on after 9,000 rows" in err
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_small_disk_that_grows(quick: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a disk; the test above stands for it")
    try:
        source = write(tmp_path / "in.csv", numbered(9000))
        code, err = finish(start(tmp_path / "n", "predict", quick, source, "-o", disk / "out.csv"))
        assert code == 2 and "No space left on device" in err and "run the same command again" in err
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        code, err = finish(start(tmp_path / "n", "predict", quick, source, "-o", disk / "out.csv"))
        assert code == 0 and "Going on after" in err
        assert [int(row["id"]) for row in read(disk / "out.csv")] == list(range(9000))
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["in.csv", "-o", "out.docx"], "no format ends in '.docx'"),
        (["in.csv", "-o", "out.parquet.gz"], "no format ends in"),
        (["in.csv", "in.csv", "-o", "out.csv"], "is named twice"),
        (["none-*.csv", "-o", "out.csv"], "no file matches this pattern"),
        (["empty", "-o", "out.csv"], "holds no data file"),
        (["in.csv", "-o", "nowhere/out.csv"], "there is no folder"),
        (["in.csv", "-o", "in.csv"], "is input and output at once"),
        (["in.csv", "-o", "out.csv", "--workers", "2"], "--workers is for --engine ray"),
        (["in.csv", "-o", "out.csv", "--engine", "ray", "--workers", "-1"], "--workers must be 1 or more"),
        (["in.csv", "--text", "a"], "one of the two"),
        (["--text", "a", "--per-class"], "--per-class is for files"),
        (["--text", "a", "--engine", "ray"], "--engine is for files"),
    ],
)
def test_what_makes_no_sense_is_refused(  # noqa: PLR0917 - fixtures
    words: list[str], told: str, quick: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.csv", numbered(5))
    (tmp_path / "empty").mkdir()
    outcome = cli("predict", quick, *words)
    assert outcome.code == 2 and told in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "in.csv"]


def test_vectors_are_kept_where_that_is_asked_for(
    quick: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from firstbert.cache import vectors_info

    monkeypatch.delenv("FIRSTBERT_VECTOR_CACHE")
    monkeypatch.setenv("FIRSTBERT_CACHE", str(tmp_path / "cache"))
    source = write(tmp_path / "in.jsonl", numbered(200))
    different = len({row["text"] for row in read(source)})
    assert cli("predict", quick, source, "-o", tmp_path / "a.jsonl").code == 0
    assert vectors_info()["entries"] == 0
    told = [cli("predict", quick, source, "-o", tmp_path / f"{name}.jsonl", "--cache", "--json").json for name in "bc"]
    assert vectors_info()["entries"] == different
    assert told[0]["tokens"] > 0 and told[1]["tokens"] == 0
    assert len({(tmp_path / f"{name}.jsonl").read_bytes() for name in "abc"}) == 1


def test_memory_does_not_grow_with_the_rows(quick: Path, tmp_path: Path) -> None:
    """Loosely, and at 60,000 rows; the page on scale has the figures for a million."""
    peaks = []
    for n in (10_000, 60_000):
        source = write(tmp_path / f"{n}.csv", numbered(n))
        code = (
            "import resource, atexit; from firstbert.__main__ import main\n"
            "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\nmain()"
        )
        command = [sys.executable, "-c", code, "predict", quick, source, "-o", tmp_path / "out.csv"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean(dict(os.environ)))
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.25 * peaks[0]


def test_helpers_write_what_they_read(tmp_path: Path) -> None:
    for ending in ("csv", "tsv.gz", "jsonl", "parquet"):
        rows = [{"id": str(i), "text": text} for i, text in enumerate(sentences(40))]
        assert read(write(tmp_path / f"x.{ending}", rows)) == rows
    assert bulk_rows.sentences(100) == bulk_rows.sentences(100)


def test_an_address_keeps_its_options_behind_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = "s3://bucket/out.csv?endpoint_override=http://127.0.0.1:9000"
    assert job.bad_file(address) == "s3://bucket/out.csv.bad.jsonl?endpoint_override=http://127.0.0.1:9000"
    assert work_folder(address) == tmp_path / ".out.csv.predicting"
    assert job.bad_file("odd?name.csv") == "odd?name.csv.bad.jsonl"


def test_from_address_to_address(quick: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    for ending in ("csv", "jsonl.gz", "parquet"):
        write(tmp_path / "store" / f"in.{ending}", numbered(300))
        told = cli("predict", quick, f"file://{tmp_path}/store/in.{ending}", "-o", f"file://{tmp_path}/out.{ending}")
        assert told.code == 0, told.err
        assert [int(row["id"]) for row in read(tmp_path / f"out.{ending}")] == list(range(300))
    assert not list(tmp_path.glob(".*"))
