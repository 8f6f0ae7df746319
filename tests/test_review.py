from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from firstbert.data import Examples, from_lists, read
from firstbert.errors import DataError, UsageError
from firstbert.review import COLUMNS, reviewed, write_review
from firstbert.suspects import Suspect, Suspects

TEXTS = ["A warm, funny film.", 'He said "no"; I left.', "tabs\tand\nlines", "Dull.", "Ünïcode — fine", "So-so"]
LABELS = ["good", "bad", "good", "bad", "good", "bad"]
ENDINGS = [".tsv", ".csv", ".jsonl"]


@pytest.fixture
def examples() -> Examples:
    return from_lists(TEXTS, LABELS)


def drop_rows(examples: Examples, path: Path) -> Examples:
    """What is left to fit on."""
    after = reviewed(examples, path)
    return after.examples.take([i for i in range(len(examples.texts)) if i not in after.dropped])


def suspects(examples: Examples, rows: list[int]) -> Suspects:
    other = {"good": "bad", "bad": "good"}
    found = [
        Suspect(i, examples.lines[i], examples.texts[i], LABELS[i], other[LABELS[i]], 0.9 - i / 100, "model")
        for i in rows
    ]
    return Suspects("texts", 0.1, np.zeros(len(TEXTS)), tuple(found))


def edit(path: Path, line: int, **cells: str) -> None:
    """As a reviewer would: change cells of the row with this line."""
    if path.suffix == ".jsonl":
        records = [json.loads(one) for one in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({**r, **cells} if r["line"] == line else r) + "\n" for r in records))
        return
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open(newline="") as file:
        records = list(csv.DictReader(file, delimiter=delimiter))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
        writer.writeheader()
        writer.writerows({**r, **cells} if r["line"] == str(line) else r for r in records)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_left_blank_is_dropped(tmp_path: Path, examples: Examples, ending: str) -> None:
    path = tmp_path / f"review{ending}"
    write_review(path, suspects(examples, [1, 2, 4]))
    left = drop_rows(examples, path)
    assert left.texts == [TEXTS[0], TEXTS[3], TEXTS[5]]
    assert left.labels == ["good", "bad", "bad"]
    assert left.lines == [0, 3, 5]
    assert left.sha256 == from_lists(left.texts, left.labels).sha256
    assert [(f.kind, f.lines) for f in left.findings[len(examples.findings) :]] == [("dropped", (1, 2, 4))]
    assert str(path) in left.findings[-1].message


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_the_reviewer_keeps_or_corrects(tmp_path: Path, examples: Examples, ending: str) -> None:
    path = tmp_path / f"review{ending}"
    write_review(path, suspects(examples, [1, 2, 4]))
    edit(path, 1, keep="Yes")
    edit(path, 2, correct_label="bad")
    left = drop_rows(examples, path)
    assert left.texts == [*TEXTS[:4], TEXTS[5]]
    assert left.labels == ["good", "bad", "bad", "bad", "bad"]
    assert [(f.kind, f.lines) for f in left.findings[len(examples.findings) :]] == [
        ("dropped", (4,)),
        ("relabelled", (2,)),
    ]
    assert examples.labels == LABELS


def test_a_file_saved_with_semicolons_and_a_mark(tmp_path: Path, examples: Examples) -> None:
    path = tmp_path / "review.csv"
    path.write_bytes("\ufeffline;text;keep\r\n3;Dull.;\r\n4;Ünïcode — fine;x\r\n".encode())
    assert drop_rows(examples, path).lines == [0, 1, 2, 4, 5]


def test_nothing_in_doubt_drops_nothing(tmp_path: Path, examples: Examples) -> None:
    path = tmp_path / "review.tsv"
    write_review(path, suspects(examples, []))
    assert drop_rows(examples, path) == examples


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    data = tmp_path / "data.tsv"
    data.write_text("sentence\tlabel\nA fine film.\t1\nA dull film.\t0\nI slept.\t1\nI laughed.\t1\n")
    rows, path = read(data), tmp_path / "review.tsv"
    path.write_text("line\ttext\tgiven\tkeep\tcorrect_label\n4\tI slept.\t1\t\t0\n")
    assert drop_rows(rows, path).labels == [1, 0, 0, 1]


def test_several_labels_a_text(tmp_path: Path, examples: Examples) -> None:
    many = Examples(**{**vars(examples), "labels": [("b", "a"), ("a",), (), ("b",), ("a",), ("b",)]})
    path = tmp_path / "review.tsv"
    path.write_text(
        "line\ttext\tgiven\tcorrect_label\n"
        f"0\t{TEXTS[0]}\ta|b\tb\n3\tDull.\tb\ta | b\n4\t{TEXTS[4]}\ta\t|\n5\tSo-so\tb\t\n"
    )
    assert drop_rows(many, path).labels == [("b",), ("a",), (), ("a", "b"), ()]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("9\tDull.\tbad\t\t\n", r"line 2: there is no row at item 9 of texts; the file isn't of texts"),
        ("3\tSo-so\tbad\t\t\n", r"line 2: item 3 reads 'Dull.', not 'So-so'; .* anew"),
        ("3\tDull.\tgood\t\t\n", r"line 2: item 3 is labelled 'bad', not 'good'"),
        ("3\tDull.\tbad\tmaybe\t\n", r"line 2: 'maybe' in the column 'keep' is neither yes nor no"),
        ("3\tDull.\tbad\t\tgreat\n", r"line 2: no row is labelled 'great': give one of bad, good"),
        ("three\tDull.\tbad\t\t\n", r"line 2: 'three' is no line number"),
        ("3\tDull.\tbad\t\t\n3\tDull.\tbad\tyes\t\n", r"line 3: item 3 stands in .*, line 2 already"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, examples: Examples, rows: str, message: str) -> None:
    path = tmp_path / "review.tsv"
    path.write_text("line\ttext\tgiven\tkeep\tcorrect_label\n" + rows)
    with pytest.raises(DataError, match=message):
        drop_rows(examples, path)


def test_another_kind_of_file_is_refused(tmp_path: Path, examples: Examples) -> None:
    path = tmp_path / "data.tsv"
    path.write_text("A fine film.\tgood\nA dull film.\tbad\n")
    with pytest.raises(DataError, match="has no column 'line': give the file that firstbert check-labels wrote"):
        drop_rows(examples, path)


def test_a_file_that_names_every_row_is_refused(tmp_path: Path, examples: Examples) -> None:
    path = tmp_path / "review.jsonl"
    write_review(path, suspects(examples, list(range(6))))
    with pytest.raises(DataError, match="names every row of texts"):
        drop_rows(examples, path)


def test_an_unknown_ending_is_refused(tmp_path: Path, examples: Examples) -> None:
    with pytest.raises(UsageError, match=r"no format ends in '.xlsx'"):
        write_review(tmp_path / "review.xlsx", suspects(examples, [1]))
