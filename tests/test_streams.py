from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firstbert import data, delimited, streams
from firstbert import survey as survey_module
from firstbert.data import DataOptions, Examples
from firstbert.errors import DataError
from firstbert.streams import Aside, Block, blocks
from firstbert.survey import Source, agree, survey

SMALL = 300  # bytes and characters, in place of a megabyte


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in so small parts that every file has many."""
    for name in ("_HEAD", "CHUNK"):
        monkeypatch.setattr(survey_module, name, SMALL)
    monkeypatch.setattr(streams, "CHUNK", SMALL)
    for module in (survey_module, streams):
        monkeypatch.setattr(module, "BATCH", 7)


def one(path: Path, text: str | int | None = None) -> Source:
    found, faults = survey([str(path)], text)
    assert faults == []
    return found[0]


def streamed(path: Path, text: str | int | None = None) -> tuple[list[str], list[Aside], list[Block]]:
    source = one(path, text)
    found = list(blocks(source))
    return [t for block in found for t in block.texts], [a for block in found for a in block.bad], found


def whole(path: Path, text: str | int | None = None) -> Examples:
    return data.read(path, DataOptions(text=text, on_bad_row="skip"), labelled=False)


def rows_of(found: list[Block]) -> list[dict[str, Any]]:
    return [row for block in found for row in (block.rows if isinstance(block.rows, list) else block.rows.to_pylist())]


def dropped(examples: Examples) -> list[tuple[int, str]]:
    kinds = {"empty_text", "columns", "quote", "header", "json", "text_type", "nul", "surrogate", "invalid_utf8"}
    return sorted((line, one.kind) for one in examples.findings if one.kind in kinds for line in one.lines)


def places(asides: list[Aside]) -> list[tuple[int | None, str]]:
    return [(aside.line, aside.kind) for aside in asides]


def assert_equal(path: Path, text: str | int | None = None) -> list[Block]:
    texts, asides, found = streamed(path, text)
    expected = whole(path, text)
    assert texts == expected.texts
    assert places(asides) == dropped(expected)
    return found


# ---------------------------------------------------------------- the same as read whole

WORDS = ["so", "good", "a film", "naïve", "日本", "well", "it's", "no.", "x" * 40, "😀"]


def sentence(rng: random.Random, also: str = "") -> str:
    words = rng.choices(WORDS, k=rng.randint(1, 9))
    if also and rng.random() < 0.4:
        words.insert(rng.randrange(len(words) + 1), rng.choice(also))
    return " ".join(words)


def wrapped(cell: str, separator: str, always: bool = False) -> str:
    if always or any(c in cell for c in (separator, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def lines(rng: random.Random, shape: str, end: str) -> str:
    """Rows of a file of this shape: an id, a text and a note."""
    separator = {"t": "\t", "c": ",", "s": ";"}[shape[0]]
    quoting = shape[1:] in ("q", "Q")
    also = ['"', separator, "\n", "\n\n", "\r\n", '""', '",', '" '] if quoting else ["'", '"'] if shape == "t" else "'"
    out = [separator.join(("id", "text", "note")) if shape[1:] != "Q" else separator.join(('"id"', '"text"', '"note"'))]
    for i in range(rng.randint(30, 60)):
        cells = [str(i), sentence(rng, also), sentence(rng)]  # type: ignore[arg-type]
        if quoting:
            cells = [wrapped(cell, separator, always=shape[1:] == "Q") for cell in cells]
        out.append(separator.join(cells))
        if rng.random() < 0.03:
            out.append("")
        if rng.random() < 0.03 and shape != "tQ":  # read whole, tabs' quotes count as meant where every row fits only
            out.append(separator.join(("too", "few")))
        if rng.random() < 0.03:
            out.append(out[0])
        if rng.random() < 0.03:
            out.append(separator.join((str(i), " ", "no text")))
    return end.join(out) + end * rng.randint(0, 3)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("shape", "ending"), [
    ("t", ".tsv"), ("t", ".csv"), ("tQ", ".tsv"), ("c", ".csv"), ("cq", ".csv"), ("cQ", ".csv"), ("sq", ".csv"),
    ("sQ", ".txt"), ("t", ""),
])  # fmt: skip
def test_files_of_columns_give_what_reading_them_whole_gives(
    tmp_path: Path, shape: str, ending: str, seed: int
) -> None:
    rng = random.Random(f"{shape}{ending}{seed}")
    text = lines(rng, shape, ["\n", "\r\n", "\r"][seed % 3])
    encoding = ["utf-8", "utf-8-sig", "utf-16", "utf-8", "utf-8-sig", "utf-16"][seed]
    path = tmp_path / f"data{ending}"
    path.write_bytes(text.encode(encoding))
    found = assert_equal(path, "text")
    ids = [int(row["id"]) for row in rows_of(found)]
    assert ids == sorted(set(ids))
    assert len(found) > 2 or encoding == "utf-16"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("ending", [".txt", "", ".csv", ".tsv"])
def test_one_text_a_line(tmp_path: Path, ending: str) -> None:
    rng = random.Random(ending)
    path = tmp_path / f"data{ending}"
    also = [",", "'"] if ending != ".csv" else "'"
    rows = [sentence(rng, also) if rng.random() < 0.9 else "" for _ in range(200)]  # type: ignore[arg-type]
    path.write_text("\n".join(["It begins, and goes on." if ending != ".csv" else "It begins.", *rows, "", ""]))
    assert len(assert_equal(path)) > 10


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lines(tmp_path: Path, encoding: str) -> None:
    rng = random.Random(encoding)
    rows: list[str] = ['{"only here": 1, "text": "first"}']
    for i in range(150):
        row: dict[str, Any] = {"id": i, "text": sentence(rng, '"\n\u2028\x85')}
        if rng.random() < 0.1:
            row[f"extra {i}"] = None
        if rng.random() < 0.1:
            row["text"] = rng.choice([None, 3, "", " ", ["a"], "a\0b", float("nan")])
        if rng.random() < 0.05:
            del row["text"]
        rows.append(json.dumps(row, ensure_ascii=rng.random() < 0.5))
        if rng.random() < 0.05:
            rows.append(rng.choice(["", "{", '["a"]', "null", '{"text": "a", "text": "b"}']))
    path = tmp_path / "data.jsonl"
    path.write_bytes(("\n".join(rows) + "\n\n").encode(encoding))
    found = assert_equal(path)
    assert one(path).names[:3] == ("only here", "text", "id")
    given = [row for row in map(loaded, rows) if row is not None]
    assert rows_of(found) == [row for row in given if isinstance(row.get("text"), str) and fine(row["text"])]
    assert set(one(path).names) == {key for row in given for key in row}


def loaded(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and line.count('"text"') < 2 else None


def fine(text: str) -> bool:
    return bool(text.strip()) and "\0" not in text


def arrow_table(rng: random.Random, n: int) -> pa.Table:
    texts = [rng.choice([sentence(rng), sentence(rng), sentence(rng), None, "", "a\0b"]) for _ in range(n)]
    return pa.table({"id": range(n), "text": texts, "deep": [{"a": [i]} for i in range(n)]})


def write_arrow(table: pa.Table, path: Path, kind: str, group: int) -> None:
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=group)
        return
    new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=group)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
@pytest.mark.parametrize("group", [1, 5, 50, 1000])
def test_arrow(tmp_path: Path, kind: str, group: int) -> None:
    table = arrow_table(random.Random(group), 120)
    path = tmp_path / "data.any"
    write_arrow(table, path, kind, group)
    found = assert_equal(path)
    assert rows_of(found) == [row for row in table.to_pylist() if row["text"] and "\0" not in row["text"]]
    assert len(found) >= 120 / 7


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_packed_files_in_several_parts(tmp_path: Path, packed: str) -> None:
    rng = random.Random(packed)
    content = lines(rng, "cq", "\n").encode()
    at = rng.randrange(100, len(content) - 100)
    path = tmp_path / f"data.csv{packed}"
    path.write_bytes(b"".join(pack(part, packed) for part in (content[:at], b"", content[at:])))
    assert_equal(path, "text")
    (tmp_path / "data.csv").write_bytes(content)
    assert streamed(path, "text")[0] == streamed(tmp_path / "data.csv", "text")[0]
    assert one(path, "text").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def pack(data: bytes, packed: str) -> bytes:
    return gzip.compress(data) if packed == ".gz" else pa.compress(data, codec="zstd", asbytes=True)


# ---------------------------------------------------------------- quotes at the edges of what is read at a time


def write(tmp_path: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.usefixtures("small")
def test_a_field_longer_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    long = "\n".join(f"line {i}, and on" for i in range(200))
    path = write(tmp_path, f'id,text\n1,"{long}"\n2,short\n3,"{long}"\n4,"{long}"\n5,"end, so"\n')
    texts, asides, _ = streamed(path)
    assert (texts, asides) == ([long, "short", long, long, "end, so"], [])
    assert_equal(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("before", range(0, 300, 23))
def test_a_tsv_with_quotes_whose_beginning_ends_within_a_field(tmp_path: Path, before: int) -> None:
    rows = "".join(f'"{i}"\t"so ""good"" it is"\n' for i in range(9))
    rows += f'"{"x" * before}"\t"a\n\nb"\n' + f'"9"\t"{"c, d" * 20}\n\n\n{"e" * 200}"\n' * 3 + '"10"\t"f"\n' * 20
    path = write(tmp_path, '"id"\t"text"\n' + rows, "data.tsv")
    assert 'so "good" it is' in streamed(path)[0]
    assert_equal(path)


@pytest.mark.usefixtures("small")
def test_quotes_of_a_tsv_that_its_beginning_does_not_show(tmp_path: Path) -> None:
    plain = "".join(f"{i}\tno quote here\n" for i in range(100))
    path = write(tmp_path, f'id\ttext\n{plain}100\t"he said\t""no"""\n101\t"two\nlines ""x"""\n{plain}', "data.tsv")
    assert 'he said\t"no"' in streamed(path)[0]
    assert_equal(path)


@pytest.mark.usefixtures("small")
def test_a_quote_that_is_never_closed_costs_its_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "HELD", 2000)
    rows = [f"{i},so it goes" for i in range(300)]
    rows[40] = '40,"open'
    path = write(tmp_path, "\n".join(["id,text", *rows]))
    _, asides, found = streamed(path)
    assert [row["id"] for row in rows_of(found)] == [str(i) for i in range(300) if i != 40]
    assert [(a.line, a.kind, a.raw) for a in asides] == [(42, "quote", '40,"open')]
    assert_equal(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at", range(5, 60, 3))
def test_a_stray_quote_near_the_end_of_a_part(tmp_path: Path, at: int) -> None:
    rows = [f"{i},so it goes" for i in range(80)]
    rows[at] = f'{at},"closed" too early'
    path = write(tmp_path, "\n".join(["id,text", *rows]))
    _, asides, found = streamed(path)
    assert [row["id"] for row in rows_of(found)] == [str(i) for i in range(80) if i != at]
    assert places(asides) == [(at + 2, "quote")]
    assert_equal(path)


def test_all_lines_that_a_stray_quote_swallows_are_kept_aside(tmp_path: Path) -> None:
    rows = [f"{i % 7},so it goes,x" for i in range(20)]
    rows[5], rows[8] = '5,"open,x', '8,closed",x'
    path = write(tmp_path, "\n".join(["id,text,note", *rows]))
    _, asides, found = streamed(path)
    assert len(rows_of(found)) == 16
    assert [a.raw for a in asides] == ["\n".join(rows[5:9])]


# ---------------------------------------------------------------- rows that can't be used


@pytest.mark.usefixtures("small")
def test_headers_within_are_set_aside(tmp_path: Path) -> None:
    part = "id,text\n" + "".join(f"{i},so it goes\n" for i in range(60))
    path = write(tmp_path, part * 3)
    _, asides, found = streamed(path, "text")
    assert places(asides) == [(62, "header"), (123, "header")]
    assert len(rows_of(found)) == 180
    assert_equal(path, "text")


def test_a_row_whose_text_is_the_columns_name_is_no_header(tmp_path: Path) -> None:
    """Unlike where a file is read whole: there only text and label are compared, here all columns."""
    path = write(tmp_path, "id,text\n1,good\n2,text\n3,bad\n")
    assert streamed(path, "text")[0] == ["good", "text", "bad"]


@pytest.mark.usefixtures("small")
def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    rows = [f"{i},so it goes".encode() for i in range(100)]
    rows[50], rows[70], rows[80] = b"50,caf\xe9", b"7\xff0,good", b"80,a\0b"
    path = write(tmp_path, b"\n".join([b"id,text", *rows]))
    _, asides, found = streamed(path)
    assert places(asides) == [(52, "invalid_utf8"), (72, "invalid_utf8"), (82, "nul")]
    assert asides[0].raw == "50,caf\udce9"
    assert asides[2].raw == "80,a\0b"
    assert len(rows_of(found)) == 97


@pytest.mark.parametrize(("line", "kind"), [
    (r'{"text": "a\ud800b", "id": 1}', "surrogate"), (r'{"text": "fine", "note": "\udc80"}', "surrogate"),
    (r'{"text": "fine", "deep": {"a": ["\ud83d"]}}', "surrogate"), (r'{"text": "fine", "\ud83d": 1}', "surrogate"),
    (r'{"text": "\u0000"}', "nul"), ('{"text": NaN}', "text_type"), ('{"text": ""}', "empty_text"),
    ('{"id": 3}', "text_type"),
])  # fmt: skip
def test_json_that_no_file_can_hold(tmp_path: Path, line: str, kind: str) -> None:
    good = '{"text": "so good \\ud83d\\ude00", "id": 0}'
    texts, asides, _ = streamed(write(tmp_path, f"{good}\n{line}\n{good}\n", "data.jsonl"))
    assert texts == ["so good 😀"] * 2
    assert [(a.line, a.kind, a.raw) for a in asides] == [(2, kind, line)]


def test_a_text_of_5_mb(tmp_path: Path) -> None:
    long = ("so, it goes on; " * 32 + "\n") * 10_000
    for name, content in (
        ("data.csv", f'id,text\n1,a\n2,"{long}"\n3,b\n'),
        ("data.jsonl", "\n".join(json.dumps({"text": t}) for t in ("a", long, "b"))),
    ):
        texts, asides, _ = streamed(write(tmp_path, content, name))
        assert (texts, asides) == (["a", long, "b"], [])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["data.txt", "data.jsonl"])
def test_a_line_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in (survey_module, streams):
        monkeypatch.setattr(module, "LONGEST", 5000)
    row = '{"text": "so good"}' if name.endswith("jsonl") else "so good"
    path = write(tmp_path, f"{row}\n" * 100 + "x" * 6000 + f"\n{row}\n", name)
    texts, asides, _ = streamed(path)
    assert texts == ["so good"] * 100
    assert places(asides) == [(101, "unreadable")]


def test_a_file_of_blank_lines_below_its_header_has_no_rows(tmp_path: Path) -> None:
    texts, asides, _ = streamed(write(tmp_path, "id,text\n1,good\n\n\n2,bad\n\n\n\n"))
    assert texts == ["good", "bad"]
    assert places(asides) == [(3, "empty_text"), (4, "empty_text")]


# ---------------------------------------------------------------- files that change or are damaged


@pytest.mark.parametrize("content", ["id,text\n1,a\n", "id,text\n1,a\n2,b\n3,c\n"])
def test_a_file_changed_since_it_was_looked_through(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, "id,text\n1,a\n2,b\n")
    source = one(path)
    path.write_text(content)
    with pytest.raises(DataError, match="was changed while it was being read"):
        list(blocks(source))
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        list(blocks(source))


@pytest.mark.usefixtures("small")
def test_a_file_changed_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n" + "1,a\n" * 1000)
    reading = blocks(one(path))
    assert len(next(reading).texts) > 10
    with path.open("a") as file:
        file.write("2,b\n")
    with pytest.raises(DataError, match="was changed while it was being read"):
        list(reading)


@pytest.mark.parametrize(("packed", "damage"), [  # Arrow's zstd has no sum to show what is torn
    (".gz", "cut"), (".gz", "torn"), (".gz", "sum"), (".gz", "tail"),
    (".zst", "cut"), (".zst", "sum"), (".zst", "tail"),
])  # fmt: skip
def test_a_damaged_archive_is_refused_before_a_row_is_read(tmp_path: Path, packed: str, damage: str) -> None:
    content = "".join(f"{i}\t{i * 7919 % 1000} so it goes\n" for i in range(20_000))
    data = bytearray(pack(b"id\ttext\n" + content.encode(), packed))
    middle = len(data) // 2
    if damage == "cut":
        del data[middle:]
    elif damage == "torn":
        data[middle : middle + 40] = b"\0" * 40
    elif damage == "sum":
        del data[-2:]
    else:
        data += b"and something else"
    path = write(tmp_path, bytes(data), f"data.tsv{packed}")
    found, faults = survey([str(path)])
    assert found == []
    assert "is damaged, or its end is missing" in str(faults[0])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["delimited", "json"])
@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_rows_before_a_damage_come_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str, kind: str) -> None:
    """As where a disk fails after the file was looked through."""
    rng = random.Random(0)
    texts = [f"{rng.random()}" for _ in range(20_000)]  # zstd's blocks are 128 kB
    rows = [json.dumps({"id": i, "text": t}) if kind == "json" else f"{i}\t{t}" for i, t in enumerate(texts)]
    content = ("" if kind == "json" else "id\ttext\n") + "\n".join(rows)
    path = write(tmp_path, pack(content.encode(), packed), f"data.txt{packed}")
    source = one(path, "text")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    monkeypatch.setattr(streams, "_unchanged", lambda source: None)
    found = list(blocks(source))
    ids = [int(row["id"]) for row in rows_of(found)]
    assert ids == list(range(len(ids)))
    assert len(ids) > 2000
    (aside,) = [a for block in found for a in block.bad]
    assert aside.kind == "unreadable"
    assert aside.line is not None
    assert 0 <= aside.line - len(ids) - (kind == "delimited") <= 2  # a row may be cut in two


@pytest.mark.usefixtures("small")
def test_utf16_that_breaks_midway(tmp_path: Path) -> None:
    content = ("id,text\n" + "".join(f"{i},so it goes\n" for i in range(2000))).encode("utf-16")
    path = write(tmp_path, content[:-4000] + b"\x00\xd8" + content[-4000:])
    _, asides, found = streamed(path)
    ids = [int(row["id"]) for row in rows_of(found)]
    assert ids == list(range(len(ids)))
    assert (len(asides), asides[-1].kind) == (1, "unreadable")
    assert asides[-1].line is not None
    assert asides[-1].line >= len(ids) + 2 > 1000


def test_a_parquet_file_with_a_broken_page(tmp_path: Path) -> None:
    rng = random.Random(0)
    table = pa.table({"text": [f"so it goes {rng.random()}" for _ in range(5000)]})
    path = tmp_path / "data.parquet"
    pq.write_table(table, path, row_group_size=1000, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    at = data.index(table["text"][3500].as_py().encode())
    data[at : at + 8] = b"SO WRONG"  # Arrow itself sees it by the page's sum only
    path.write_bytes(data)
    texts, asides, _ = streamed(path)
    assert texts == table["text"].to_pylist()[: len(texts)]
    assert 2000 < len(texts) <= 3500
    assert [(a.place, a.line, a.kind) for a in asides] == [("row", len(texts), "unreadable")]


def test_a_parquet_file_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), path)
    path.write_bytes(path.read_bytes()[:-9])
    found, faults = survey([str(path)])
    assert (found, len(faults)) == ([], 1)
    assert "damaged" in str(faults[0])


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
@pytest.mark.parametrize("where", ["text", "note"])
@pytest.mark.parametrize("every", [1, 30])
def test_arrow_strings_that_are_not_utf8(tmp_path: Path, kind: str, where: str, every: int) -> None:
    n = 90
    bad = [i for i in range(n) if i % every == every // 2]
    columns = {name: [f"row {i}".encode() for i in range(n)] for name in ("text", "note")}
    for i in bad:
        columns[where][i] = b"caf\xe9"
    arrays = {name: pa.array(values, pa.binary()).view(pa.string()) for name, values in columns.items()}
    path = tmp_path / "data.any"
    write_arrow(pa.table(arrays), path, kind, 20)
    texts, asides, _ = streamed(path)
    assert texts == [f"row {i}" for i in range(n) if i not in bad]
    assert [(a.place, a.line, a.kind) for a in asides] == [("row", i, "invalid_utf8") for i in bad]


def test_packed_parquet_is_told(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"]}), buffer)
    path = write(tmp_path, gzip.compress(buffer.getvalue()), "data.parquet.gz")
    assert "packed once more: unpack it" in str(survey([str(path)])[1][0])


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(("header", "names"), [
    ("text,a,a", ("text", "a", "a_3")), ("text,,b", ("text", "2", "b")), ("text,2,", ("text", "2", "3")),
    ("text,a,a,a_3", ("text", "a", "a_3_", "a_3")), (",text,1", ("1_", "text", "1")),
    ("text,a,a,a_3_,a_3", ("text", "a", "a_3__", "a_3_", "a_3")),
])  # fmt: skip
def test_no_column_is_lost_to_one_of_the_same_name(tmp_path: Path, header: str, names: tuple[str, ...]) -> None:
    cells = [f"so good {i}" for i in range(len(names))]
    path = write(tmp_path, f"{header}\n{','.join(cells)}\n")
    source = one(path, "text")
    assert source.names == names
    assert rows_of(list(blocks(source))) == [dict(zip(names, cells, strict=True))]


def test_several_parquet_columns_of_a_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), path)
    assert "several columns have the same name" in str(survey([str(path)])[1][0])


def test_files_must_have_the_same_columns(tmp_path: Path) -> None:
    contents = {"a.csv": "id,text\n1,a\n", "b.csv": "text,id\nb,1\n", "c.csv": "text,no\nc,1\n"}
    contents |= {"d.csv": "id,text,more\n1,d,2\n", "e.jsonl": '{"text": "e"}\n'}
    files = [str(write(tmp_path, content, name)) for name, content in contents.items()]
    found, faults = survey([*files, str(tmp_path / "none.csv")], "text")
    assert [Path(source.name).name for source in found] == [*contents]
    assert "no such file" in str(faults[0])
    told = [str(fault) for fault in agree(found)]
    assert [Path(one.partition(":")[0]).name for one in told] == ["c.csv", "d.csv"]
    assert "has no column 'id', which" in told[0]
    assert "has a column 'more', which" in told[1]


def test_a_large_row_group_needs_little_memory(tmp_path: Path) -> None:
    """One row group of 160 MB in a column of texts, of which three quarters are read."""
    N = 400_000
    path = tmp_path / "data.parquet"
    text = "and on " * 50
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        texts = [f"{i} {text}" for i in range(N)]
        writer.write_table(pa.table({"id": range(N), "text": texts}, schema), N)
    assert pq.ParquetFile(path).metadata.num_row_groups == 1
    script = """
import resource, sys
from firstbert.streams import blocks
from firstbert.survey import survey
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
import pyarrow.parquet
(source,), _ = survey([sys.argv[1]])
before, rows = peak(), 0
for block in blocks(source):
    rows += len(block.texts)
    if rows >= 300_000: break
print(rows, peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    rows, grown = done.stdout.split()
    assert int(rows) >= 300_000
    assert float(grown) < 50  # MB
