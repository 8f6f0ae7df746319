"""One table of bad inputs, through library and command line: the right error, its place, and nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import BAD, GOOD, Outcome
from firstbert.data import DataOptions
from firstbert.errors import ArtifactError, DataError, EncoderError, FirstbertError, UsageError
from firstbert.train import TrainOptions, train

ROWS = "".join(f"{text}\tgood\n" for text in GOOD) + "".join(f"{text}\tbad\n" for text in BAD)

# name of the file, its content, what the message says
FILES: list[tuple[str, bytes, str]] = [
    ("empty.tsv", b"", "empty.tsv"),
    ("blank.tsv", b"\n\n\n", "blank.tsv"),
    ("header.csv", b"text,label\n", "header.csv.*no rows"),
    ("empty-text.tsv", (ROWS + "\tgood\n").encode(), "line 13"),
    ("blank-text.tsv", (ROWS + " \u00a0\u200b\tgood\n").encode(), "line 13"),
    ("no-label.tsv", (ROWS + "Fine.\t\n").encode(), "line 13"),
    ("one-column-less.tsv", ("Fine.\n" + ROWS).encode(), "line 1"),
    ("one-column-more.tsv", (ROWS + "Fine.\tgood\tmore\n").encode(), "line 13"),
    ("nul.tsv", (ROWS + "Fi\0ne.\tgood\n").encode(), "NUL.*line 13"),
    ("latin1.tsv", ROWS.encode() + "Ärger.\tbad\n".encode("latin-1"), "UTF-8.*line 13"),
    ("half.tsv", ROWS.encode() + b"Caf\xc3\tgood\n", "UTF-8.*line 13"),
    ("one-label.tsv", "".join(f"{text}\tgood\n" for text in GOOD).encode(), "one-label.tsv.*good"),
    ("ids.tsv", "".join(f"{text} {i}\tid{i}\n" for i, text in enumerate(GOOD * 10)).encode(), "ids.tsv.*label"),
    ("numbers.csv", b"text,label\n" + "".join(f"Film {i},{i / 7}\n" for i in range(60)).encode(), "label"),
    ("quote.csv", b'text,label\n"Fine,good\nDull,bad\nWarm,good\n', "quote.csv.*line 2"),
    ("brackets.jsonl", b'[{"text": "a", "label": 1}]\n', "brackets.jsonl"),
    ("broken.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "la\n{"text": "c", "label": 0}\n', "line 2"),
    ("list.jsonl", b'{"text": "a", "label": 1}\n[1]\n{"text": "c", "label": 0}\n', "line 2"),
    ("null-text.jsonl", b'{"text": "a", "label": 1}\n{"text": null, "label": 0}\n', "line 2"),
    ("number-text.jsonl", b'{"text": "a", "label": 1}\n{"text": 5, "label": 0}\n', "line 2"),
    ("no-label.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n{"text": "c", "label": 0}\n', "line 2"),
    ("list-label.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": [0, null]}\n', "line 2"),
    ("nan-label.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n', "line 2"),
    ("two-types.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": "1"}\n', "two-types.jsonl.*label"),
    ("bool-int.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": true}\n', "bool-int.jsonl.*label"),
    ("surrogate.jsonl", b'{"text": "a", "label": 1}\n{"text": "\\ud83d", "label": 0}\n', "surrogate.*line 2"),
    ("deep.jsonl", b'{"text": "a", "label": 1}\n' + b'{"text":' * 50_000 + b"\n", "line 2"),
    ("picture.tsv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "picture.tsv"),
    ("sheet.csv", b"PK\x03\x04" + bytes(100), "sheet.csv.*(zip|xlsx)"),
    ("doubt.csv", b"a,b\nx y z,p q r\nx y w,p q s\nx v z,p t r\nu y z,o q r\n", "--label"),
    ("one-column.tsv", b"Warm.\nDull.\nFine.\n", "one-column.tsv"),
    ("cut.parquet", b"PAR1" + bytes(50), "cut.parquet"),
]

# options beside good data, the error's kind, what the message says
OPTIONS: list[tuple[dict[str, Any], type[FirstbertError], str]] = [
    ({"encoder": "minlm"}, UsageError, "minilm"),
    ({"encoder": "./nowhere"}, EncoderError, "nowhere"),
    ({"layer": 7}, UsageError, "'layer'.*Got 7"),
    ({"max_length": 1}, UsageError, r"'max_length'.*\[2, 512\]. Got 1"),
    ({"max_length": 100_000}, UsageError, "'max_length'"),
    ({"threads": 0}, UsageError, "'threads'"),
    ({"text": "review"}, DataError, "review"),
    ({"label": "stars"}, DataError, "stars"),
    ({"text": "9"}, DataError, "9"),
    ({"test": "nowhere.tsv"}, DataError, "nowhere.tsv"),
    ({"test_size": 1.5}, UsageError, "'test_size'"),
    ({"test_size": -0.1}, UsageError, "'test_size'"),
    ({"test_size": 0.99}, DataError, "too few to hold out"),
]


def one_line(message: str) -> str:
    return message.replace("\n", " ")


def check_cli(outcome: Outcome, message: str, folder: Path) -> None:
    assert outcome.code == 2, outcome.err
    assert re.search(message, one_line(outcome.err)), outcome.err
    assert outcome.err.startswith("firstbert: ") or "\nfirstbert: " in outcome.err
    assert "Traceback" not in outcome.err and outcome.out == ""
    assert not (folder / "model").exists() and not list(folder.glob(".*"))


def test_the_table_is_as_long_as_promised() -> None:
    assert len(FILES) + len(OPTIONS) + len(COMMANDS) >= 40


@pytest.mark.parametrize(("name", "content", "message"), FILES, ids=[name for name, *_ in FILES])
def test_bad_files(name: str, content: bytes, message: str, tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(DataError) as caught:
        train(TrainOptions(path, tmp_path / "model"))
    assert re.search(message, one_line(str(caught.value))), caught.value
    assert name in str(caught.value)
    check_cli(cli("train", path, "-o", tmp_path / "model"), message, tmp_path)


@pytest.mark.parametrize(("options", "kind", "message"), OPTIONS, ids=[str(options) for options, *_ in OPTIONS])
def test_bad_options(
    options: dict[str, Any], kind: type[FirstbertError], message: str, tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(ROWS)
    reading = DataOptions(options.get("text"), options.get("label"))
    own = {k: v for k, v in options.items() if k in ("test", "test_size")}
    rest = {k: v for k, v in options.items() if k not in ("test", "test_size", "text", "label")}
    with pytest.raises(kind, match=message):
        train(TrainOptions(path, tmp_path / "model", reading=reading, classifier=rest, **own))
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}={value}",)]
    check_cli(cli("train", path, "-o", tmp_path / "model", *flags), message, tmp_path)


# command line only: `{rows}` is good data, `{model}` a good model, `{dir}` a folder of this test
COMMANDS: list[tuple[list[str], str]] = [
    (["train"], "DATA|data"),
    (["train", "{rows}"], "--output"),
    (["train", "nowhere.tsv", "-o", "{dir}/model"], "nowhere.tsv"),
    (["train", "{dir}", "-o", "{dir}/model"], "folder|directory"),
    (["train", "{rows}", "-o", "{rows}"], "is a file"),
    (["train", "{rows}", "-o", "{dir}"], "holds other files"),
    (["train", "{rows}", "-o", "{dir}/model", "--frobnicate"], "--frobnicate"),
    (["train", "{rows}", "-o", "{dir}/model", "--layer", "middle"], "middle"),
    (["train", "{rows}", "-o", "{dir}/model", "--pooling", "max"], "max"),
    (["train", "{rows}", "-o", "{dir}/model", "--on-bad-row", "ask"], "ask"),
    (["evaluate", "{dir}/nowhere", "{rows}"], "no such model folder"),
    (["evaluate", "{model}", "{dir}/nowhere.tsv"], "nowhere.tsv"),
    (["evaluate", "{model}", "{dir}/other.tsv"], "other.tsv: line 3: label 'so-so' is none of the model's"),
    (["predict", "{model}"], "INPUT or --text"),
    (["predict", "{model}", "{rows}", "--text", "a"], "INPUT or --text"),
    (["predict", "{model}", "--text", ""], "--text"),
    (["predict", "{model}", "--text", "a", "--column", "2"], "--column"),
    (["predict", "{model}", "{rows}", "-o", "{dir}/out.docx"], "out.docx.*docx"),
    (["predict", "{model}", "{dir}/nowhere.txt"], "nowhere.txt"),
    (["predict", "{model}", "{rows}", "-o", "{dir}/no/such/out.csv"], "out.csv: can't be written"),
    (["doctor", "{dir}"], "model.json"),
    (["tutorial", "--rows", "3"], "rows"),
    (["tutorial", "--seeds", "0"], "seeds"),
    (["tutorial", "--data", "nowhere.tsv"], "nowhere.tsv"),
    (["cache", "fill"], "fill"),
    (["frobnicate"], "frobnicate"),
]


@pytest.mark.parametrize(("words", "message"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_bad_commands(words: list[str], message: str, tmp_path: Path, model: Path, cli: Callable[..., Outcome]) -> None:
    (tmp_path / "rows.tsv").write_text(ROWS)
    other = "text\tlabel\nWarm and kind.\tgood\nNeither this nor that.\tso-so\nDull to the end.\tbad\nPure joy.\tgood\n"
    (tmp_path / "other.tsv").write_text(other)
    places = {"rows": tmp_path / "rows.tsv", "model": model, "dir": tmp_path}
    before = sorted(path.name for path in tmp_path.iterdir())
    check_cli(cli(*(word.format(**places) for word in words)), message, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_library_call_names_the_item() -> None:
    from firstbert import SentenceClassifier

    for X, y, message in (
        (["a", ""], [0, 1], "item 1"),
        (["a", None], [0, 1], "item 1"),
        (["a", 5], [0, 1], "item 1"),
        (["a", "b"], [0], "2 texts but 1 labels"),
        ([], [], "empty"),
        ("text", [0, 1, 0, 1], "texts"),
        (["a", "b"], [0, 0], "label"),
        (["a", "b"], [0, None], "item 1"),
        (["a", "b"], [0, "1"], "label"),
    ):
        with pytest.raises(DataError, match=message):
            SentenceClassifier("minilm").fit(X, y)


def test_a_foreign_folder_is_no_model(tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ArtifactError):
        from firstbert import load

        load(tmp_path)
    assert cli("predict", tmp_path, "--text", "a").code == 2
