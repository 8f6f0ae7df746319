from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firstbert import tables
from firstbert.data import DataOptions, Label
from firstbert.data import read as read_whole
from firstbert.decision import Decision
from firstbert.errors import DataError, UsageError
from firstbert.predictor import Predictions
from firstbert.streams import Block, blocks
from firstbert.survey import Source, survey
from firstbert.tables import Columns, Format, assemble, columns_for, format_of, piece

LABELS = ("bad", "good")
TEXTS = [".tsv", ".csv", ".jsonl"]
ALL = [f"{kind}{packed}" for kind in TEXTS for packed in ("", ".gz", ".zst")] + [".parquet"]


def answers(n: int, labels: tuple[Label, ...] = LABELS, many: bool = False, start: int = 0) -> Predictions:
    """Answers that tell rows apart: the second label's probability grows from row to row."""
    p = (np.arange(start, start + n) % 97 + 1) / 98
    rest = np.stack([(1 - p) / (len(labels) - 1)] * (len(labels) - 1), axis=1)
    probabilities = np.concatenate([rest[:, :1], p[:, None], rest[:, 1:]], axis=1)
    truncated = np.arange(start, start + n) % 5 == 0
    return Predictions(labels, probabilities, truncated, Decision(many=many, accept=0.6))


def columns(
    sources: list[Source], ending: str, labels: tuple[Label, ...] = LABELS, many: bool = False, per_class: bool = False
) -> Columns:
    return columns_for(sources, labels, format_of(f"x{ending}"), many=many, per_class=per_class)


def looked(*paths: Path, text: str | None = None) -> list[Source]:
    found, faults = survey(list(map(str, paths)), text)
    assert faults == []
    return found


def labelled(
    tmp_path: Path,
    sources: list[Source],
    ending: str,
    size: int = 1000,
    *,
    labels: tuple[Label, ...] = LABELS,
    many: bool = False,
    per_class: bool = False,
) -> bytes:
    """The whole way: files, their rows in pieces of some size, one piece more that is empty, the output."""
    form = format_of(f"x{ending}")
    kept = columns(sources, ending, labels, many, per_class)
    pieces, done = [], 0
    for source in sources:
        for block in blocks(source):
            for start in range(0, len(block.texts), size):
                part = block.part(start, min(start + size, len(block.texts)))
                pieces.append(piece(form, kept, [part], answers(len(part.texts), labels, many, done)))
                done += len(part.texts)
    pieces.append(piece(form, kept, [], answers(0, labels, many)))
    return joined(tmp_path, form, kept, pieces)


def joined(tmp_path: Path, form: Format, kept: Columns, pieces: list[bytes]) -> bytes:
    paths = [tmp_path / f"{i}.piece" for i in range(len(pieces))]
    for path, data in zip(paths, pieces, strict=True):
        path.write_bytes(data)
    out = io.BytesIO()
    assemble(form, kept, paths, out)
    return out.getvalue()


def unpack(data: bytes, ending: str) -> bytes:
    if ending.endswith(".gz"):
        return gzip.decompress(data)
    if ending.endswith(".zst"):
        return bytes(pa.CompressedInputStream(io.BytesIO(data), "zstd").read())
    return data


def read(data: bytes, ending: str) -> list[dict[str, Any]]:
    data = unpack(data, ending)
    if ending == ".parquet":
        return list(pq.read_table(io.BytesIO(data)).to_pylist())
    if ending.startswith(".jsonl"):
        assert data.endswith(b"\n")
        return [json.loads(line, parse_constant=pytest.fail) for line in data.decode().split("\n")[:-1]]
    separator = "\t" if ending.startswith(".tsv") else ","
    rows = list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator, strict=True))
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def write_csv(tmp_path: Path, rows: list[list[str]], name: str = "in.csv") -> Path:
    path = tmp_path / name
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    return path


def write_json(tmp_path: Path, rows: list[dict[str, Any]], name: str = "in.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(tmp_path: Path, table: pa.Table, name: str = "in.parquet") -> Path:
    path = tmp_path / name
    pq.write_table(table, path, row_group_size=13)
    return path


def write_arrow(tmp_path: Path, table: pa.Table) -> Path:
    path = tmp_path / "in.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    return path


# ---------------------------------------------------------------- there and back

ODD = [
    'he said "no"', '"', '""', "a\ttab", "a,comma", "two\nlines", "a\r\nb", "a\rb", "\rfirst", "last\r", "'tis", " so ",
    "007", "1e5",    "\ufeffmark", "a\u2028b\x85c", "naïve 😀", "=1+1", "null", "NaN",
    "\\N", '\\"', ";", "|", "true", "#", "x" * 9999,
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("ending", ALL)
def test_cells_of_text_come_back_as_they_were(tmp_path: Path, ending: str, size: int) -> None:
    rows = [["id", "text", "note"], *([f"{i:03}", text, ODD[-i]] for i, text in enumerate(ODD)), ["end", "end", ""]]
    found = read(labelled(tmp_path, looked(write_csv(tmp_path, rows)), ending, size), ending)
    assert [[row["id"], row["text"], row["note"]] for row in found] == rows[1:]
    expected = answers(len(found))
    assert [row["label"] for row in found] == expected.best()
    assert [float(row["probability"]) for row in found] == pytest.approx(expected.confidence, abs=1e-6)
    flags = {True: True, False: False, "true": True, "false": False}
    assert [flags[row["truncated"]] for row in found] == expected.truncated.tolist()
    assert [flags[row["unsure"]] for row in found] == expected.unsure.tolist()
    assert list(found[0]) == ["id", "text", "note", "label", "probability", "truncated", "unsure"]


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_what_is_written_can_be_labelled_again(tmp_path: Path, ending: str) -> None:
    texts = [text for text in ODD if text != "\ufeffmark"] * 3
    rows = [["text", "id"], *([text, str(i)] for i, text in enumerate(texts))]
    path = tmp_path / f"out{ending}"
    path.write_bytes(labelled(tmp_path, looked(write_csv(tmp_path, rows)), ending))
    again = [text for block in blocks(looked(path, text="text")[0]) for text in block.texts]
    assert again == texts


@pytest.mark.parametrize("ending", ALL)
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = looked(write_csv(tmp_path, [["id", "text"], *([str(i), f"so {i}"] for i in range(50))]))
    first = labelled(tmp_path, sources, ending, 7)
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert labelled(tmp_path, sources, ending, 7) == first


@pytest.mark.parametrize("ending", ALL)
def test_pieces_of_any_size_give_the_same_rows(tmp_path: Path, ending: str) -> None:
    sources = looked(write_csv(tmp_path, [["id", "text"], *([str(i), f"so {i}"] for i in range(50))]))
    found = [unpack(labelled(tmp_path, sources, ending, size), ending) for size in (1, 7, 50)]
    if ending == ".parquet":
        tables_ = [pq.read_table(io.BytesIO(data)) for data in found]
        assert tables_[0].equals(tables_[1])
        assert tables_[0].equals(tables_[2])
    else:
        assert found[0] == found[1] == found[2]
        assert len(found[0].splitlines()) == 50 + (not ending.startswith(".jsonl"))


@pytest.mark.parametrize("ending", ALL)
def test_a_file_without_rows_still_has_its_columns(tmp_path: Path, ending: str) -> None:
    form = format_of(f"x{ending}")
    kept = columns(looked(write_csv(tmp_path, [["id", "text"], ["1", "a"]])), ending)
    data = unpack(joined(tmp_path, form, kept, [piece(form, kept, [], answers(0))]), ending)
    if ending == ".parquet":
        assert pq.read_table(io.BytesIO(data)).column_names == list(kept.all)
    elif ending.startswith(".jsonl"):
        assert data == b""
    else:
        assert data.decode().rstrip("\n").replace("\t", ",") == "id,text,label,probability,truncated,unsure"


def test_row_groups_are_of_some_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_GROUP", 20)
    sources = looked(write_csv(tmp_path, [["id", "text"], *([str(i), f"so {i}"] for i in range(50))]))
    data = labelled(tmp_path, sources, ".parquet", 6)
    meta = pq.ParquetFile(io.BytesIO(data)).metadata
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [24, 24, 2]
    assert [row["id"] for row in read(data, ".parquet")] == [str(i) for i in range(50)]


# ---------------------------------------------------------------- values of all types

VALUES: dict[str, list[Any]] = {
    "int": [1, -2, 2**53 + 1],
    "long": [2**63 - 1, -(2**63) + 1, 0],
    "big": [2**63, -(2**63), 10**30],
    "number": [1, 2.5, 1e300],
    "exact": [2**53 + 1, 0.5, 1],  # a float would lose the first's last digit
    "flag": [True, False, None],
    "mixed": [True, 1, "a"],
    "none": [None, None, None],
    "some": ["a", None, "b"],
    "deep": [{"a": [1, None]}, {"b": "ä"}, {}],
    "list": [[1, "a"], [], [[2]]],
    "zeros": ["007", "1.50", ""],
    "": ["no", "name", "it has"],
}  # fmt: skip


def json_rows() -> list[dict[str, Any]]:
    return [{"text": f"so {i}"} | {name: values[i] for name, values in VALUES.items()} for i in range(3)]


def test_json_stays_json(tmp_path: Path) -> None:
    rows = json_rows()
    found = read(labelled(tmp_path, looked(write_json(tmp_path, rows)), ".jsonl"), ".jsonl")
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert [[type(row[name]) for name in rows[0]] for row in found] == [list(map(type, row.values())) for row in rows]


def test_json_in_text_files(tmp_path: Path) -> None:
    found = read(labelled(tmp_path, looked(write_json(tmp_path, json_rows())), ".csv"), ".csv")
    for name in ("int", "long", "big", "number", "exact"):
        assert [type(a)(cell) for a, cell in zip(VALUES[name], (row[name] for row in found), strict=True)] == VALUES[
            name
        ]
    assert [row["flag"] for row in found] == ["true", "false", ""]
    assert [row["mixed"] for row in found] == ["true", "1", "a"]
    assert [row["none"] for row in found] == ["", "", ""]
    assert [json.loads(row["deep"]) for row in found] == VALUES["deep"]
    assert [json.loads(row["list"]) for row in found] == VALUES["list"]
    assert [row["zeros"] for row in found] == VALUES["zeros"]


def test_json_in_parquet(tmp_path: Path) -> None:
    data = labelled(tmp_path, looked(write_json(tmp_path, json_rows())), ".parquet")
    table = pq.read_table(io.BytesIO(data))
    for name in ("int", "long", "flag", "none", "some", "zeros", "", "number"):
        assert table[name].to_pylist() == VALUES[name], name
    types = {"int": "int64", "long": "int64", "number": "double", "flag": "bool", "big": "string", "exact": "string"}
    assert {name: str(table.schema.field(name).type) for name in types} == types
    for name in ("big", "exact"):
        assert table[name].to_pylist() == [str(value) for value in VALUES[name]]
    assert table["mixed"].to_pylist() == ["true", "1", "a"]
    assert [json.loads(cell) for cell in table["deep"].to_pylist()] == VALUES["deep"]


def test_json_rows_with_keys_of_their_own(tmp_path: Path) -> None:
    path = write_json(tmp_path, [{"text": "a"}, {"b": 1, "text": "b"}, {"c": None, "text": "c", "b": 2}])
    for ending, empty in ((".csv", ""), (".parquet", None)):
        found = read(labelled(tmp_path, looked(path), ending), ending)
        assert [(row["text"], str(row["b"]) if row["b"] else row["b"], row["c"]) for row in found] == [
            ("a", empty, empty), ("b", "1", empty), ("c", "2", empty)
        ]  # fmt: skip
    assert list(read(labelled(tmp_path, looked(path), ".jsonl"), ".jsonl")[0])[:2] == ["text", "label"]


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a", "x": NaN, "deep": {"y": [NaN, Infinity, 1.5]}}\n{"text": "b", "x": -Infinity}\n')
    found = read(labelled(tmp_path, looked(path), ".jsonl"), ".jsonl")
    assert (found[0]["x"], found[0]["deep"], found[1]["x"]) == (None, {"y": [None, "inf", 1.5]}, "-inf")
    found = read(labelled(tmp_path, looked(path), ".parquet"), ".parquet")
    assert math.isnan(found[0]["x"])
    assert found[1]["x"] == -math.inf
    found = read(labelled(tmp_path, looked(path), ".csv"), ".csv")
    assert [row["x"] for row in found] == ["nan", "-inf"]


def arrow_columns() -> dict[str, pa.Array]:
    day = dt.datetime(2024, 2, 29, 12, 30, 1, 5)
    return {
        "int8": pa.array([1, None, -3], pa.int8()),
        "uint64": pa.array([2**64 - 1, None, 2**53 + 1], pa.uint64()),
        "half": pa.array([0.1, None, math.inf], pa.float32()),
        "double": pa.array([math.nan, None, 1e-300]),
        "flag": pa.array([True, None, False]),
        "null": pa.nulls(3),
        "decimal": pa.array([Decimal("1.50"), None, Decimal("-0.01")], pa.decimal128(20, 2)),
        "bytes": pa.array([b"\xff\x00", None, b"a"]),
        "large": pa.array(["a", None, "b\n"], pa.large_string()),
        "view": pa.array(["a", None, "b" * 50], pa.string_view()),
        "day": pa.array([dt.date(2024, 2, 29), None, dt.date(1, 1, 1)]),
        "us": pa.array([day, None, day], pa.timestamp("us")),
        "ns": pa.array([2, None, 1_000_000_001], pa.timestamp("ns")),
        "zone": pa.array([day, None, day], pa.timestamp("ms", "Europe/Berlin")).cast(
            pa.timestamp("ns", "Europe/Berlin")
        ),
        "far": pa.array([10**12, None, 0], pa.timestamp("s")),
        "time": pa.array([1, None, 2], pa.time64("ns")),
        "span": pa.array([1, None, 10**9], pa.duration("ns")),
        "list": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
        "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
        "map": pa.array([[("k", math.nan)], None, []], pa.map_(pa.string(), pa.float64())),
        "category": pa.array(["x", None, "y"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
    }


@pytest.mark.parametrize("size", [1, 1000])
def test_parquet_columns_keep_their_types(tmp_path: Path, size: int) -> None:
    given = pa.table({"text": ["a", "b", "c"]} | arrow_columns())
    data = labelled(tmp_path, looked(write_parquet(tmp_path, given)), ".parquet", size)
    found = pq.read_table(io.BytesIO(data))
    original = pq.read_table(tmp_path / "in.parquet")
    assert found.schema.names[: len(given.schema.names)] == given.schema.names
    for name in given.schema.names:
        assert found.schema.field(name).type == original.schema.field(name).type, name
        values = [t[name].cast(pa.int64()) if name == "far" else t[name] for t in (found, original)]
        assert str(values[0].to_pylist()) == str(values[1].to_pylist()), name


def test_categories_that_differ_from_group_to_group(tmp_path: Path) -> None:
    values = [["a", "b"], ["c", "a"], ["d", "d"], [None, "e"]]
    columns_ = [
        pa.array(v, pa.string()).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())) for v in values
    ]
    paths = [
        write_parquet(tmp_path, pa.table({"text": ["x", "y"], "c": column}), f"{i}.parquet")
        for i, column in enumerate(columns_)
    ]
    for size in (1, 2):
        found = read(labelled(tmp_path, looked(*paths, text="text"), ".parquet", size), ".parquet")
        assert [row["c"] for row in found] == [value for part in values for value in part]


@pytest.mark.parametrize("pandas", [True, False])
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_parquet_columns_in_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, pandas: bool) -> None:
    """The same with and without pandas, in whose types Arrow gives nanoseconds."""
    if not pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
    path = write_parquet(tmp_path, pa.table({"text": ["a", "b", "c"]} | arrow_columns()))
    data = labelled(tmp_path, looked(path, text="text"), ending)
    found = read(data, ending)
    none = None if ending == ".jsonl" else ""
    assert all(found[1][name] == none for name in arrow_columns())
    first = {name: value if isinstance(value, str) else json.dumps(value) for name, value in found[0].items()}
    expected = {
        "int8": "1", "uint64": str(2**64 - 1), "flag": "true", "decimal": "1.50", "bytes": "ÿ\0", "large": "a",
        "view": "a", "day": "2024-02-29", "us": "2024-02-29T12:30:01.000005", "ns": "1970-01-01T00:00:00.000000002",
        "far": "1000000000000000", "time": "00:00:00.000000001", "span": "1", "list": "[1, 2]",
        "struct": '{"a": 1, "b": "x"}', "category": "x", "zone": "2024-02-29T13:30:01.000000000+0100",
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    assert float(first["half"]) == pytest.approx(0.1)
    assert first["double"] == ("null" if none is None else "nan")
    assert b"NaN" not in data


def test_files_that_disagree_on_a_type_meet_in_strings(tmp_path: Path) -> None:
    parquet = write_parquet(tmp_path, pa.table({"text": ["a"], "x": [1], "y": [2]}))
    other = write_parquet(tmp_path, pa.table({"text": ["b"], "y": pa.array([4], pa.int32()), "x": [0.5]}), "b.parquet")
    third = write_json(tmp_path, [{"text": "c", "x": None, "z": [1]}])
    table = pq.read_table(io.BytesIO(labelled(tmp_path, looked(parquet, other, third, text="text"), ".parquet")))
    assert table["x"].to_pylist() == ["1", "0.5", None]
    assert table["y"].to_pylist() == ["2", "4", None]
    assert table["z"].to_pylist() == [None, None, "[1]"]
    assert table["text"].to_pylist() == ["a", "b", "c"]


# ---------------------------------------------------------------- our columns


@pytest.mark.parametrize("ending", ALL)
def test_the_inputs_columns_keep_their_names(tmp_path: Path, ending: str) -> None:
    path = write_json(tmp_path, [{"label": "mine", "text": "a", "probability": 3, "unsure": "who knows"}])
    (row,) = read(labelled(tmp_path, looked(path), ending), ending)
    assert (row["label"], str(row["probability"]), row["unsure"]) == ("mine", "3", "who knows")
    assert row["predicted_label"] == answers(1).best()[0]
    assert list(row)[4:] == ["predicted_label", "predicted_probability", "truncated", "predicted_unsure"]


@pytest.mark.parametrize(("column", "per_class"), [
    ("predicted_label", False), ("probability_good", True), ("probabilities", True),
])  # fmt: skip
def test_columns_that_an_answer_would_need_are_refused(tmp_path: Path, column: str, per_class: bool) -> None:
    sources = looked(write_json(tmp_path, [{"label": "mine", "text": "a", column: "x"}]))
    with pytest.raises(DataError, match=f"in.jsonl: has a column '{column}' already.*rename it"):
        columns(sources, ".csv", per_class=per_class)
    if per_class:
        assert column in columns(sources, ".csv").kept


@pytest.mark.parametrize("ending", ALL)
@pytest.mark.parametrize("labels", [("bad", "good", "so, so"), (1, 2, 3), (False, True), (0.5, 1.0)])
def test_labels_of_every_type(tmp_path: Path, ending: str, labels: tuple[Label, ...]) -> None:
    sources = looked(write_csv(tmp_path, [["id", "text"], *([str(i), f"so {i}"] for i in range(97))]))
    found = read(labelled(tmp_path, sources, ending, 10, labels=labels, per_class=True), ending)
    expected = answers(97, labels)
    best = expected.best()
    assert set(best) == set(labels[:2])
    if ending in (".parquet",) or ending.startswith(".jsonl"):
        assert [row["label"] for row in found] == best
        assert {type(row["label"]) for row in found} == {type(labels[0])}
    else:
        assert [row["label"] for row in found] == [json.dumps(one) if type(one) is bool else str(one) for one in best]
    names = ["false", "true"] if labels == (False, True) else list(map(str, labels))
    for i, row in enumerate(found):
        p = row["probabilities"] if ending.startswith(".jsonl") else {n: row[f"probability_{n}"] for n in names}
        assert list(p) == names
        assert [float(value) for value in p.values()] == pytest.approx(expected.probabilities[i], abs=1e-6)


@pytest.mark.parametrize("ending", ALL)
def test_texts_that_carry_many_labels(tmp_path: Path, ending: str) -> None:
    labels = ("a", "b", "c")
    form = format_of(f"x{ending}")
    sources = looked(write_csv(tmp_path, [["id", "text"], ["1", "x"], ["2", "y"], ["3", "z"]]))
    kept = columns(sources, ending, labels, many=True)
    probabilities = np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.6]])
    predictions = Predictions(labels, probabilities, np.zeros(3, np.bool_), Decision(many=True))
    data = joined(tmp_path, form, kept, [piece(form, kept, list(blocks(sources[0])), predictions)])
    lists = ending == ".parquet" or ending.startswith(".jsonl")
    assert [row["label"] for row in read(data, ending)] == ([["a", "b"], [], ["c"]] if lists else ["a|b", "", "c"])


def test_more_or_fewer_answers_than_rows_are_an_error(tmp_path: Path) -> None:
    (source,) = looked(write_csv(tmp_path, [["id", "text"], ["1", "x"], ["2", "y"]]))
    for ending in ALL:
        for n in (1, 3):
            kept = columns([source], ending)
            with pytest.raises(ValueError):  # zip's, or Arrow's
                piece(format_of(f"x{ending}"), kept, list(blocks(source)), answers(n))


def test_a_block_of_no_rows_changes_nothing(tmp_path: Path) -> None:
    (source,) = looked(write_parquet(tmp_path, pa.table({"text": ["a", "b"]})))
    found = list(blocks(source))
    for ending in ALL:
        form, kept = format_of(f"x{ending}"), columns([source], ending)
        padded = [Block([], []), *found, Block([], [])]
        assert read(joined(tmp_path, form, kept, [piece(form, kept, padded, answers(2))]), ending) == read(
            joined(tmp_path, form, kept, [piece(form, kept, found, answers(2))]), ending
        )


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize(("path", "expected"), [
    ("x.tsv", Format("tsv")), ("a/b.c/X.CSV.GZ", Format("csv", ".gz")), ("x.ndjson.zst", Format("jsonl", ".zst")),
    ("s3://bucket/x.pq", Format("parquet")), ("x.y.jsonl", Format("jsonl")),
    ("s3://b/x.csv.gz?endpoint_override=http://localhost:9000", Format("csv", ".gz")),
])  # fmt: skip
def test_an_ending_tells_the_format(path: str, expected: Format) -> None:
    assert format_of(path) == expected


@pytest.mark.parametrize("path", ["x", "x.txt", "x.gz", "x.parquet.gz", "x.xlsx", "x.json", "tsv", ".tsv", "x.csv.bz2"])
def test_other_endings_are_refused(path: str) -> None:
    with pytest.raises(UsageError, match=r"no format ends in .*\.tsv, \.csv, \.jsonl"):
        format_of(path)


@pytest.mark.parametrize("path", ["x.parquet", "x.csv.zst"])
def test_what_needs_pyarrow_is_told_at_once(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r'pip install "firstbert\[parquet\]"'):
        format_of(path)
    assert format_of("x.csv.gz") == Format("csv", ".gz")


def test_values_that_pythons_types_cannot_hold(tmp_path: Path) -> None:
    far, unknown = pa.array([2**62, None, 0]), pa.array([1, None, 2])
    odd = {
        "zone": unknown.cast(pa.timestamp("ns", "Mars/Phobos")), "zone, ms": unknown.cast(pa.timestamp("ms", "M/P")),
        "years": far.cast(pa.timestamp("s")), "days": pa.array([2**31 - 1, None, 0], pa.int32()).cast(pa.date32()),
        "span": far.cast(pa.duration("s")),
    }  # fmt: skip
    path = write_arrow(tmp_path, pa.table({"text": ["a", "b", "c"]} | odd))
    for ending in (".csv", ".jsonl"):
        found = read(labelled(tmp_path, looked(path, text="text"), ending), ending)
        first = {name: str(found[0][name]) for name in odd}
        assert first == {"zone": "1970-01-01T00:00:00.000000001", "zone, ms": "1", "years": str(2**62),
                         "days": str(2**31 - 1), "span": str(2**62)}  # fmt: skip
        assert all(found[1][name] in (None, "") for name in odd)
    with pytest.raises(DataError, match=r"can't be kept as Parquet.*write CSV or JSONL"):
        labelled(tmp_path, looked(path, text="text"), ".parquet")
    for name in ("zone, ms", "years", "days", "span"):
        path = write_arrow(tmp_path, pa.table({name: odd[name], "text": ["a", "b", "c"]}))
        with pytest.raises(DataError, match=f"{path}: column '{name}' holds what can't be read"):
            read_whole(path, DataOptions(text=name), labelled=False)
        asides = [aside for block in blocks(looked(path, text=name)[0]) for aside in block.bad]
        assert [(aside.line, aside.kind) for aside in asides] == [(0, "unreadable")]


def test_a_column_to_choose_from_that_cannot_be_read(tmp_path: Path) -> None:
    days = pa.array([2**31 - 1, None], pa.int32()).cast(pa.date32())
    path = write_arrow(tmp_path, pa.table({"a": days, "b": ["a", "b"]}))
    _, faults = survey([str(path)])
    assert [str(fault).partition(" (")[0] for fault in faults] == [f"{path}: column 'a' holds what can't be read"]
