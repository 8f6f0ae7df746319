"""From a file with wrong labels to a model without them, through the command line."""

from __future__ import annotations

import csv
import random
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import everyday
from conftest import Outcome

Cli = Callable[..., Outcome]
FLIPPED = 12


@pytest.fixture(scope="module")
def wrong() -> tuple[list[tuple[str, str]], set[int]]:
    """Rows, and the lines of those whose label was changed; the header is line 1."""
    rng = random.Random(0)
    rows = everyday.topics(180, 0, ["food", "trains", "music"])
    flipped = set(rng.sample(range(len(rows)), FLIPPED))
    others = {"food": "trains", "trains": "music", "music": "food"}
    return [(t, others[y] if i in flipped else y) for i, (t, y) in enumerate(rows)], {i + 2 for i in flipped}


def reviewed(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_check_edit_and_train(
    wrong: tuple[list[tuple[str, str]], set[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    rows, lines = wrong
    monkeypatch.chdir(tmp_path)
    everyday.write(Path("my rows.tsv"), [(y, t) for t, y in rows], ("kind", "said"))
    columns = ("--text", "said", "--label", "kind")
    found = cli("check-labels", "my rows.tsv", "-o", "sus pects.tsv", *columns, "--json")
    assert found.code == 0, found.err
    suspects = reviewed(Path("sus pects.tsv"))
    assert [int(s["line"]) for s in suspects] == [s["line"] for s in found.json["rows"]]
    top = {int(s["line"]) for s in suspects[:FLIPPED]}
    assert len(top & lines) >= 0.75 * FLIPPED  # by chance, one in fifteen

    # Untouched, the command runs as printed and drops them all.
    (retrain,) = found.json["retrain"]
    outcome = cli(*shlex.split(retrain)[1:])
    assert outcome.code == 0, outcome.err
    assert f"{len(suspects)} rows dropped by sus pects.tsv" in outcome.err

    # Edited: one kept, one relabelled, the rest dropped.
    suspects[0]["keep"], suspects[1]["correct_label"] = "yes", suspects[1]["suggested"]
    with Path("sus pects.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(suspects[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(suspects)
    outcome = cli(*shlex.split(retrain)[1:], "--test-size", 0, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["n_train"] == len(rows) - len(suspects) + 2
    assert f"{len(suspects) - 2} rows dropped by" in outcome.err and "1 row given another label by" in outcome.err

    # Of other rows.
    everyday.write(Path("others.tsv"), everyday.topics(180, 9, ["food", "trains", "music"]))
    refused = cli("train", "others.tsv", "-o", "m", "--drop", "sus pects.tsv")
    assert refused.code == 2 and "the file isn't of others.tsv as it is read now" in refused.err


@pytest.mark.parametrize(
    ("output", "message"), [("s.xlsx", "no format ends in '.xlsx'"), ("missing/s.tsv", "there is no folder missing")]
)
def test_a_place_that_cannot_be_written_is_refused_first(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = cli("check-labels", "no such rows.tsv", "-o", output)
    assert outcome.code == 2 and message in outcome.err


def test_several_labels_a_row(tmp_path: Path, cli: Cli) -> None:
    rows = everyday.several(120, 0)
    others = [topic for topic in everyday.TOPICS if topic not in rows[7][1]]
    rows[7] = (rows[7][0], "|".join(others[:2]))
    data = everyday.write(tmp_path / "rows.tsv", rows)
    outcome = cli("check-labels", data, "-o", tmp_path / "s.jsonl", "--json")
    assert outcome.code == 0, outcome.err
    assert 9 in [s["line"] for s in outcome.json["rows"][:3]]
