from __future__ import annotations

import csv
import io
import random
from typing import Any

import pytest

from firstbert.delimited import read_delimited
from firstbert.table import Table

FILLER = "".join(f"a plain line {i}\t{i % 2}\n" for i in range(6))


def table(content: str, ending: str = ".tsv", labelled: bool = True) -> Table:
    lines = list(io.StringIO(content.rstrip("\r\n"), newline=""))
    return read_delimited("data", lines, ending, labelled=labelled)


def rows(found: Table) -> list[tuple[Any, ...]]:
    return list(zip(*(found.column(i) for i in range(found.width)), strict=True))


def kinds(found: Table) -> list[tuple[int, str]]:
    return [(row.line, row.kind) for row in found.bad]


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".tsv", "so good\t1\nso, bad\t0\n"),
        (".csv", 'so good,1\n"so, bad",0\n'),
        (".csv", "so good\t1\nso, bad\t0\n"),  # the ending lies
        (".tsv", 'so good,1\n"so, bad",0\n'),
        (".txt", "so good\t1\nso, bad\t0"),
        ("", '"so good",1\r\n"so, bad","0"\r\n'),
        (".tsv", "so good\t1\rso, bad\t0\r"),
        (".csv", "so good;1\r\nso, bad;0\r\n"),
        (".csv", '"so good";"1"\n"so, bad";"0"\n'),
        (".txt", "so good;1\nso, bad;0\n"),
    ],
)
def test_separator_and_line_ends_are_found_by_content(ending: str, content: str) -> None:
    found = table(content, ending)
    assert rows(found) == [("so good", "1"), ("so, bad", "0")]
    assert (found.lines, found.bad, found.names) == ([1, 2], [], None)


@pytest.mark.parametrize("text", ['"lone', 'two" in "one', '"', '" a b "', '"said" he', "\u2028", "a\x0bb\x1cc\x85d"])
def test_tabs_keep_every_character(text: str) -> None:
    found = table(FILLER + f"{text}\t1\nlast\t0\n")
    assert rows(found)[6:] == [(text, "1"), ("last", "0")]
    assert found.bad == []


@pytest.mark.parametrize(
    "text",
    [
        "a\ttab",
        "two\nlines",
        "two\r\nlines",
        'he said "no"',
        '"all of it"',
        'a\ttab, a\ttab "x"\n\nand a blank line',
    ],
)
@pytest.mark.parametrize(("ending", "separator"), [(".tsv", "\t"), (".csv", ","), (".csv", ";")])
def test_quoting_of_other_programs_is_undone(ending: str, separator: str, text: str) -> None:
    given = [("text", "label"), ("so good, so far", "1"), (text, "0"), ("the end", "1")]
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=separator, lineterminator="\n").writerows(given)
    found = table(written.getvalue(), ending)
    assert rows(found) == given
    assert found.bad == []
    assert found.lines == [1, 2, 3, 4 + text.count("\n")]


@pytest.mark.parametrize("separator", [",", ";"])
def test_commas_and_semicolons_read_as_the_csv_module_reads_them(separator: str) -> None:
    rng = random.Random(0)
    for _ in range(200):
        given = [["".join(rng.choices('ab",;\n\r\t ', k=rng.randint(2, 9))) for _ in range(3)] for _ in range(5)]
        written = io.StringIO(newline="")
        csv.writer(written, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(given)
        found = table(separator.join("xyz") + "\r\n" + written.getvalue(), ".csv")
        assert [list(row) for row in rows(found)[1:]] == given
        assert found.bad == []


QUOTED = '"so good, so far",pos\n"so bad, so long",neg\n'


@pytest.mark.parametrize(
    ("content", "bad", "left"),
    [
        (QUOTED + '"open to the end,pos\nnext,neg\nlast,pos\n', [(3, "quote")], 4),
        (QUOTED + '"open,pos\nhe said "no",neg\nlast,pos\n', [(3, "quote")], 4),
        (QUOTED + '"closed" too early,pos\nlast,neg\n', [(3, "quote")], 3),
        (QUOTED + '"open here,pos\nmiddle,neg\nclosed here",neg\nlast,pos\n', [(3, "quote")], 3),
        (QUOTED + '"open here,pos\nclosed here",neg\nlast,pos\n', [(3, "quote")], 3),
        (QUOTED + '"Dear Sir, hello\nbye, yours",pos\nlast,neg\n', [], 4),  # truly two lines
        (
            QUOTED + "one, too many,pos\nlast\n\nend,neg\n",
            [(3, "columns"), (4, "columns"), (5, "empty_text")],
            3,
        ),
        ("a\t1\nb\t0\nc\nd\t1\t2\n\ne\t1\n", [(3, "columns"), (4, "columns"), (5, "empty_text")], 3),
    ],
)
def test_broken_rows_cost_only_themselves(content: str, bad: list[tuple[int, str]], left: int) -> None:
    found = table(content, ".csv" if QUOTED in content else ".tsv")
    assert kinds(found) == bad
    assert len(rows(found)) == left


@pytest.mark.parametrize(
    ("ending", "content", "texts"),
    [
        (".txt", "Well, well\n\nno comma\n", ["Well, well", "", "no comma"]),
        ("", "Yes, one comma\nNo, one here too\n", ["Yes, one comma", "No, one here too"]),
        (".tsv", "Well, well\n'tis\n", ["Well, well", "'tis"]),
        (".csv", 'plain\n"Well, well"\n', ["plain", "Well, well"]),
    ],
)
def test_without_labels_one_text_a_line_will_do(ending: str, content: str, texts: list[str]) -> None:
    found = table(content, ending, labelled=False)
    assert [*found.column(0)] == texts
    assert found.width == 1


def test_a_header_tells_commas_from_prose() -> None:
    found = table("id,text\n1,so good\n", "", labelled=False)
    assert rows(found) == [("id", "text"), ("1", "so good")]


def test_a_long_field_is_no_trap() -> None:
    long = "very, " * 500_000
    found = table(f'"{long}",pos\nshort,neg\n', ".csv")
    assert rows(found) == [(long, "pos"), ("short", "neg")]


@pytest.mark.parametrize(
    ("content", "ending", "expected"),
    [
        ("text;label\nWell, well;1\nno, no, no;0\n", ".csv", ("Well, well", "1")),
        ("text;label\nwell, so;1\nno, no;0\n", ".csv", ("well, so", "1")),  # a comma in every row but the header
        ('text;label\n"one; two";1\n"say ""no"";\nnow";0\n', ".csv", ("one; two", "1")),
        ("text,label\nso; so,1\nwell; well,0\n", ".csv", ("so; so", "1")),
        ("text;a,label;b\nso; so,1\nwell; well,0\n", ".csv", ("so; so", "1")),  # commas fit: they're taken
        ("text\tlabel;s\nso; so\t1\nwell\t0\n", ".csv", ("so; so", "1")),
        ("Text;Note\nganz gut;4,5\n", "", ("ganz gut", "4,5")),
        ("text\nso; so\nwell; well\n", ".csv", ("so; so",)),  # the first line shows no second column
        ("so; so\nwell; well\n", ".txt", ("so; so",)),  # prose
    ],
)
def test_semicolons_separate_where_commas_do_not_fit(content: str, ending: str, expected: tuple[str, ...]) -> None:
    found = table(content, ending, labelled=False)
    assert rows(found)[0 if ending == ".txt" else 1] == expected
    assert found.bad == []


def test_a_broken_row_among_semicolons_costs_only_itself() -> None:
    found = table("text;label\nso, good;1\nso; bad;0\nso, so, so;1\nlast;0\n", ".csv")
    assert kinds(found) == [(3, "columns")]
    assert rows(found)[1:] == [("so, good", "1"), ("so, so, so", "1"), ("last", "0")]
