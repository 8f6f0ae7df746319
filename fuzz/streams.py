"""Files read in parts: `survey` and `blocks` take or refuse them, and every row comes out once, in order."""

from __future__ import annotations

from firstbert import streams, survey
from firstbert.errors import FirstbertError
from fuzz import readers
from fuzz.place import written

_SMALL = 64  # bytes and characters, in place of a megabyte: every file has many parts


def one(content: bytes) -> bool:
    """Read a file in parts; the first byte of the input says what its name ends in, and how small the parts are."""
    how, content = content[0] if content else 0, content[1:]
    path = written(f"data{readers.ENDINGS[how % len(readers.ENDINGS)]}", content)
    _read_in_parts_of(_SMALL if how < 128 else 1 << 20)
    sources, _ = survey.survey([str(path)])
    for source in sources:
        _read(source)
    return bool(sources)


def _read_in_parts_of(size: int) -> None:
    survey._HEAD = survey.CHUNK = streams.CHUNK = size
    survey.BATCH = streams.BATCH = 2 if size == _SMALL else 2048


def _read(source: survey.Source) -> None:
    try:
        found = list(streams.blocks(source))
    except FirstbertError:
        return
    for block in found:
        rows = len(block.rows) if isinstance(block.rows, list) else block.rows.num_rows
        assert rows == len(block.texts), "a row is lost"
    aside = [one.line for block in found for one in block.bad if one.line is not None]
    assert aside == sorted(aside), "rows set aside change their order"
    if source.kind == "json":
        assert len(set(aside)) == len(aside), "a row is set aside twice"


def seeds() -> dict[str, bytes]:
    """Return the readers' files, and longer ones."""
    long = {"long": b"\0" + readers.delimited("\t") * 4, "long json": b"\2" + readers.json_lines() * 3}
    return readers.seeds() | long
