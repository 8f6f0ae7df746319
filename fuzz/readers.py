"""Files of texts and labels, read whole: `data.read` takes or refuses them, and every row is accounted for."""

from __future__ import annotations

import gzip
import io
import json

from firstbert import data
from firstbert.errors import FirstbertError
from fuzz.place import written

ENDINGS = (".tsv", ".csv", ".jsonl", ".txt", ".parquet", "")
ROWS = [("a warm film", "good"), ('a dull "film", twice', "bad"), ("naïve 日本 😀", "good"), ("it's\tnot so", "bad")]


def one(content: bytes) -> bool:
    """Read a file; the first byte of the input says what its name ends in, and how it is read."""
    how, content = content[0] if content else 0, content[1:]
    path = written(f"data{ENDINGS[how % len(ENDINGS)]}", content)
    skip = data.DataOptions(on_bad_row="skip", on_duplicate="skip" if how & 64 else "keep")
    try:
        found = data.read(path, skip, labelled=how < 128, training=False)
    except FirstbertError:
        return False
    assert len(found.texts) == len(found.lines) and len(set(found.lines)) == len(found.lines), "a row is read twice"
    assert found.lines == sorted(found.lines), "rows change their order"
    assert found.labels is None or len(found.labels) == len(found.texts), "a label is lost"
    for text in found.texts:
        text.encode()
    return True


def seeds() -> dict[str, bytes]:
    """Return a small file of each kind."""
    made = {
        "gzip": b"\0" + gzip.compress(delimited("\t"), mtime=0),
        "utf-16": b"\0" + delimited("\t").decode().encode("utf-16"),
    }
    made |= {f"delimited-{ord(separator)}": b"\1" + delimited(separator) for separator in "\t,;"}
    made["json"] = b"\2" + json_lines()
    made["latin-1"] = b"\1" + "text,label\ncafé,good\nbar,bad\n".encode("latin-1")
    made["stray quote"] = b'\0text\tlabel\n"begins\tgood\nends"\tbad\n"a ""b"" c"\tgood\n\nonly one\n'
    return made | {name: b"\4" + content for name, content in arrow_files().items()}


def delimited(separator: str) -> bytes:
    """Rows with a header, wrapped in quotes where need be."""

    def cell(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if separator in value or '"' in value else value

    rows = [separator.join(map(cell, row)) for row in [("text", "label"), *ROWS]]
    return ("\n".join(rows) + "\n").encode()


def json_lines() -> bytes:
    """Rows as JSON objects, with a number, a list and half of a surrogate pair."""
    rows = [{"text": text, "label": label, "n": i, "tags": [1.5, None]} for i, (text, label) in enumerate(ROWS)]
    return "".join(json.dumps(row) + "\n" for row in [*rows, {"text": "\ud800", "label": "bad"}]).encode()


def arrow_files() -> dict[str, bytes]:
    """The same rows as Parquet, and as Arrow's two kinds of file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    parquet, file, stream = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, compression="none", use_dictionary=False)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return {"parquet": parquet.getvalue(), "arrow": file.getvalue(), "arrow stream": stream.getvalue()}
