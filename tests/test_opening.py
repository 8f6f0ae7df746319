from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from firstbert.errors import DataError, UsageError
from firstbert.opening import ending, expand, open_raw, open_target, opened, state_of, unpacked
from firstbert.readers import read_table
from firstbert.streams import blocks
from firstbert.survey import survey

ROWS = b"text\tlabel\nso good\t1\nso bad\t0\n"


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ROWS)
    return folder


def found(folder: Path, *inputs: str) -> list[str]:
    return [Path(one).relative_to(folder).as_posix() for one in expand([str(folder / one) for one in inputs])]


@pytest.mark.parametrize(("source", "expected"), [
    ("x.csv", ".csv"), ("a.b/x.CSV.GZ", ".csv"), ("x.gz", ""), ("a.csv/x", ""), ("-", ""), ("x.jsonl.zst", ".jsonl"),
    ("s3://b/x.csv?endpoint_override=http://localhost:9000", ".csv"), ("s3://b/x.tsv.gz?region=r", ".tsv"),
    ("what?x=1.csv", ".csv"),
])  # fmt: skip
def test_endings(source: str, expected: str) -> None:
    assert ending(source) == expected


# ---------------------------------------------------------------- which files


NAMES = (
    "b.tsv", "a.csv.gz", "deep/er/c.jsonl", "deep/d.PARQUET", "deep/e.txt.zst", "no.xlsx", "notes.md", ".hidden.tsv",
    "_SUCCESS.txt", ".git/f.txt", "deep/_temporary/g.csv", "h.tsv.bak",
)  # fmt: skip
DATA = ["a.csv.gz", "b.tsv", "deep/d.PARQUET", "deep/e.txt.zst", "deep/er/c.jsonl"]


def test_a_folder_gives_its_data_files_by_name(tmp_path: Path) -> None:
    made(tmp_path, *NAMES)
    assert found(tmp_path, ".") == DATA
    assert found(tmp_path, "deep/er", "b.tsv", "a.csv.gz") == ["deep/er/c.jsonl", "b.tsv", "a.csv.gz"]
    assert found(tmp_path, "notes.md") == ["notes.md"]  # whoever names it means it


def test_a_folder_within_a_hidden_one_is_read(tmp_path: Path) -> None:
    made(tmp_path / ".cache" / "_data", "a.tsv")
    assert len(expand([str(tmp_path / ".cache" / "_data")])) == 1


PATTERNS = [
    ("*.tsv", ["a.tsv", "b[1].tsv"]),
    ("?.tsv", ["a.tsv"]),
    ("[!b]*.tsv", ["a.tsv"]),
    ("[bc]*", ["b[1].tsv", "c.csv"]),
    ("**/*.tsv", ["a.tsv", "b[1].tsv", "deep/d.tsv", "deep/er/e.tsv"]),
    ("**/**/*.tsv", ["a.tsv", "b[1].tsv", "deep/d.tsv", "deep/er/e.tsv"]),
    ("deep/**", ["deep/d.tsv", "deep/er/e.tsv"]),
    ("*/*.tsv", ["deep/d.tsv"]),
    ("deep/**/e.*", ["deep/er/e.tsv"]),
    (".*.tsv", [".f.tsv"]),
    ("b[1].tsv", ["b[1].tsv"]),  # a file of that name
]
PATTERNED = ("a.tsv", "b[1].tsv", "c.csv", "deep/d.tsv", "deep/er/e.tsv", ".f.tsv", "deep/.g/h.tsv")


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    made(tmp_path, *PATTERNED)
    assert found(tmp_path, pattern) == expected


@pytest.mark.parametrize("other", ["./a.tsv", "../{}/a.tsv", "link.tsv", "*.tsv", "."])
def test_a_file_named_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    made(tmp_path, "a.tsv")
    if other == "link.tsv":
        (tmp_path / other).symlink_to(tmp_path / "a.tsv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is named twice"):
        expand(["a.tsv", other.format(tmp_path.name)])


def test_stdin_is_named_once() -> None:
    assert expand(["-"]) == ["-"]
    with pytest.raises(DataError, match="-: is named twice"):
        expand(["-", "-"])


def test_what_names_nothing_is_told(tmp_path: Path) -> None:
    made(tmp_path, "notes.md")
    for inputs, told in (
        ([], "No input"),
        ([str(tmp_path)], "holds no data file"),
        ([str(tmp_path / "*.tsv")], "no file matches"),
        (["a\0*"], "no file matches"),
    ):
        with pytest.raises(DataError, match=told):
            expand(inputs)
    assert expand(["none.tsv"]) == ["none.tsv"]  # told when it is opened, or looked through
    assert "no such file" in str(survey(["none.tsv"])[1][0])


# ---------------------------------------------------------------- bytes


def packed(data: bytes, how: str) -> bytes:
    return gzip.compress(data) if how == "gz" else pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize("how", ["gz", "zst"])
@pytest.mark.parametrize("ending", [".tsv", ".tsv.gz", ".tsv.zst"])  # the bytes tell, whatever the ending
def test_several_members_are_one_file(tmp_path: Path, how: str, ending: str) -> None:
    path = tmp_path / f"data{ending}"
    path.write_bytes(packed(ROWS, how) + packed(b"", how) + packed(b"the end\t1\n", how) + packed(b"", how))
    with opened(str(path)) as raw:
        assert unpacked(raw, "it").read() == ROWS + b"the end\t1\n"
    assert read_table(path, labelled=True).lines == [1, 2, 3, 4]


@pytest.mark.parametrize(("how", "damage"), [
    ("gz", slice(0, -1)), ("gz", slice(0, -9)), ("gz", slice(0, 12)), ("gz", slice(0, 2)),
    ("zst", slice(0, -1)), ("zst", slice(0, 12)), ("zst", slice(0, 4)),
])  # fmt: skip
def test_a_cut_archive_is_no_shorter_file(tmp_path: Path, how: str, damage: slice) -> None:
    path = tmp_path / "data.tsv"
    for before in (b"", packed(ROWS, how)):
        path.write_bytes(before + packed(ROWS * 1000, how)[damage])
        with pytest.raises(DataError, match="damaged archive, or its end is missing"):
            read_table(path, labelled=True)
        assert "damaged, or its end is missing" in str(survey([str(path)])[1][0])


@pytest.mark.parametrize("how", ["gz", "zst"])
def test_an_archive_with_something_behind_it_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "data.tsv"
    path.write_bytes(packed(ROWS, how) + b"more")
    with pytest.raises(DataError, match="damaged archive"):
        read_table(path, labelled=True)


def test_stdin_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(packed(ROWS, "gz")))  # type: ignore[arg-type]

    monkeypatch.setattr("sys.stdin", Stdin)
    with opened("-") as raw:
        assert unpacked(raw, "stdin").read() == ROWS
    assert not Stdin.buffer.closed


def test_what_can_not_be_opened_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        open_raw(str(tmp_path))
    assert str(error.value) == f"{tmp_path}: is a directory: give a file inside it"
    for name in ("none.tsv", f"file://{tmp_path}/none.tsv", "memory://none/none.tsv"):
        for open_it in (open_raw, state_of):
            with pytest.raises(DataError, match="there is no such file: check the path"):
                open_it(name)


# ---------------------------------------------------------------- addresses


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder's address: Arrow's, and fsspec's."""
    return f"file://{tmp_path}" if request.param == "file" else f"memory://{uuid4()}"


def put(place: str, *names: str) -> None:
    for name in names:
        address = f"{place}/{name}"
        if place.startswith("file://"):
            Path(address[7:]).parent.mkdir(parents=True, exist_ok=True)
        with open_target(address.replace("%", "%25") if place.startswith("file://") else address) as out:
            out.write(ROWS)


def test_a_file_at_an_address(place: str) -> None:
    put(place, "a.tsv")
    with opened(f"{place}/a.tsv") as raw:
        assert raw.read() == ROWS
    assert state_of(f"{place}/a.tsv")[0] == len(ROWS)
    (source,), _ = survey([f"{place}/a.tsv"])
    assert source.sha256 is None
    assert [text for block in blocks(source) for text in block.texts] == ["so good", "so bad"]
    assert read_table(f"{place}/a.tsv", labelled=True).lines == [1, 2, 3]


@pytest.mark.parametrize("how", ["gz", "zst"])
def test_a_packed_file_at_an_address(place: str, how: str) -> None:
    put(place, "other.txt")
    with open_target(f"{place}/a.tsv.{how}") as out:
        out.write(packed(ROWS, how) + packed(ROWS, how))
    (source,), _ = survey([f"{place}/a.tsv.{how}"], "text")
    assert [text for block in blocks(source) for text in block.texts] == ["so good", "so bad"] * 2


def test_a_folder_at_an_address(place: str) -> None:
    put(place, *NAMES)
    assert expand([place]) == expand([f"{place}/"]) == [f"{place}/{name}" for name in DATA]
    assert expand([f"{place}/deep"]) == [f"{place}/{name}" for name in DATA if name.startswith("deep")]


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS)
def test_patterns_at_an_address(place: str, pattern: str, expected: list[str]) -> None:
    put(place, *PATTERNED)
    names = expand([f"{place}/{pattern}"])
    assert [name.removeprefix(f"{place}/").replace("%5B", "[").replace("%5D", "]") for name in names] == expected
    found, faults = survey(names)
    assert (len(found), faults) == (len(expected), [])


def test_names_that_no_uri_may_hold(place: str) -> None:
    """What a folder gives can be opened, whatever it is called."""
    names = ["100%.tsv", "a b.tsv", "c#d.tsv", "e+f.tsv", "g?h.tsv", "ä.tsv"]
    put(place, *names)
    found = expand([place])
    assert [source.size for source in survey(found)[0]] == [len(ROWS)] * len(names)
    assert [name.rpartition("/")[2][0] for name in found[:-1]] == ["1", "a", "c", "e", "g"]  # by name
    assert expand([f"{place}/a b.tsv"]) == [f"{place}/a b.tsv"]
    with opened(f"{place}/a b.tsv") as raw:
        assert raw.read() == ROWS
    if place.startswith("file"):
        with pytest.raises(DataError, match="named twice"):
            expand([f"{place}/a b.tsv", f"{place}/a%20b.tsv"])


def test_options_of_an_address_stay_with_its_files(tmp_path: Path) -> None:
    made(tmp_path, "a.tsv", "deep/b c.tsv")
    options = "?endpoint_override=http://localhost:9&scheme=http"
    for source in ("", "/", "/**/*.tsv", "/**"):
        found = expand([f"file://{tmp_path}{source}{options}"])
        assert found == [f"file://{tmp_path}/{name}.tsv{options}" for name in ("a", "deep/b%20c")]
        assert len(survey(found)[0]) == 2


def test_addresses_that_name_nothing(place: str) -> None:
    put(place, "notes.md")
    for source, told in (
        (place, "holds no data file"),
        (f"{place}/*.tsv", "no file matches"),
        (f"{place}/no/*", "no "),
    ):
        with pytest.raises(DataError, match=told):
            expand([source])
    assert "no such file" in str(survey(expand([f"{place}/none.tsv"]))[1][0])


def test_schemes_that_nothing_knows() -> None:
    for open_it in (open_raw, open_target, state_of, lambda address: expand([address])):
        with pytest.raises(UsageError, match=r"nosuch://x/y.tsv: .*nosuch.*s3, gs"):
            open_it("nosuch://x/y.tsv")


def test_a_scheme_whose_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(address: str) -> Any:
        raise ImportError("Install adlfs to access Azure")

    monkeypatch.setattr("fsspec.url_to_fs", missing)
    with pytest.raises(UsageError, match=r"adl://x/y.tsv: Install adlfs"):
        open_raw("adl://x/y.tsv")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match="fsspec"):
        open_raw("adl://x/y.tsv")


def test_without_pyarrow_the_install_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.tsv"
    path.write_bytes(packed(ROWS, "zst"))
    parquet = tmp_path / "data.parquet"
    parquet.write_bytes(b"PAR1" + b"\0" * 50 + b"PAR1")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    install = r'pip install "firstbert\[parquet\]"'
    for source in (path, parquet):
        with pytest.raises(UsageError, match=install):
            read_table(source, labelled=True)
        with pytest.raises(UsageError, match=install):
            survey([str(source)])
    for open_it in (open_raw, open_target, state_of, lambda address: expand([address])):
        with pytest.raises(UsageError, match=install):
            open_it("s3://bucket/x.tsv")
    made(tmp_path, "plain.tsv")
    assert len(survey([str(tmp_path / "plain.tsv")])[0]) == 1  # the rest needs none


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    made(tmp_path, "a.tsv")
    (tmp_path / "a.tsv").chmod(0)
    if os.access(tmp_path / "a.tsv", os.R_OK):  # root reads all
        (tmp_path / "loop.tsv").symlink_to("loop.tsv")
        name = "loop.tsv"
    else:
        name = "a.tsv"
    with pytest.raises(DataError, match="can't be read"):
        open_raw(str(tmp_path / name))
