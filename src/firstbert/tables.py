"""Rows and their answers → the bytes of a file: TSV, CSV, JSONL or Parquet, packed or not.

After predictor.py and streams.py on the way of a sentence. All columns of the input are kept, and ours follow: label,
probability, truncated, unsure, and a probability for each label where it is asked for. A file is put together from
pieces that were written one by one: lines (a packed piece is a whole member, and members may follow each other), or
Parquet files, whose row groups are copied.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from firstbert.data import Label
from firstbert.errors import DataError, UsageError, missing_extra
from firstbert.opening import PACKED, bare
from firstbert.predictor import Predictions, answer_text, label_text
from firstbert.readers import UNREADABLE
from firstbert.streams import Block
from firstbert.strict import reason
from firstbert.survey import Row, Source

Kind: TypeAlias = Literal["tsv", "csv", "jsonl", "parquet"]

_KINDS: dict[str, Kind] = {
    ".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
ANSWERS = ("label", "probability", "truncated", "unsure")
_GROUP = 16_384  # rows of a Parquet row group
_GROUP_BYTES = 1 << 24


@dataclass(frozen=True)
class Format:
    """How a file of answers is written.

    Attributes:
        kind: its format.
        packed: ``".gz"`` or ``".zst"``, or none.
    """

    kind: Kind
    packed: str = ""


def format_of(path: str) -> Format:
    """Return the format for a file's ending.

    Raises:
        UsageError: no format ends so, or pyarrow is needed and not installed.
    """
    name = PurePosixPath(bare(path).lower())
    packed = name.suffix if name.suffix in PACKED else ""
    kind = _KINDS.get(PurePosixPath(name.stem).suffix if packed else name.suffix)
    if kind is None or (packed and kind == "parquet"):
        endings = ", ".join(dict.fromkeys(_KINDS))
        raise UsageError(
            f"{path}: no format ends in '{''.join(name.suffixes[-2:]) if packed else name.suffix}'; "
            f"name a file in {endings}; all but Parquet also with {' or '.join(PACKED)} behind it."
        )
    if kind == "parquet" or packed == ".zst":
        _arrow(f"{path}: writing it")
    return Format(kind, packed)


def _arrow(what: str) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise missing_extra(what, "parquet") from None
    return pa


# ---------------------------------------------------------------- columns


@dataclass(frozen=True)
class Columns:
    """The columns of a file of answers.

    Attributes:
        kept: the input's, in order.
        ours: what each of `ANSWERS` is called: `predicted_…` where the input has a column of that name.
        labels: the labels whose probabilities are written, in order; none unless asked for.
        many: whether a text may carry many labels.
        schema: Arrow's of the whole file, of Parquet.
    """

    kept: tuple[str, ...]
    ours: tuple[str, ...]
    labels: tuple[Label, ...]
    many: bool
    schema: Any = None

    @property
    def per_class(self) -> tuple[str, ...]:
        """Names of the probabilities' columns."""
        return tuple(f"probability_{label_text(label)}" for label in self.labels)

    @property
    def all(self) -> tuple[str, ...]:
        """The names of all columns, of a format that has fixed ones."""
        return (*self.kept, *self.ours, *self.per_class)


def columns_for(
    sources: Sequence[Source], labels: Sequence[Label], form: Format, *, many: bool, per_class: bool
) -> Columns:
    """Return the columns of the answers to these files.

    Raises:
        DataError: the input has a column that an answer would need.
    """
    kept = tuple(dict.fromkeys(name for source in sources for name in source.names))
    ours = tuple(f"predicted_{name}" if name in kept else name for name in ANSWERS)
    columns = Columns(kept, ours, tuple(labels) if per_class else (), many)
    taken = [name for name in (*ours, *columns.per_class, *["probabilities"] * per_class) if name in kept]
    if taken:
        raise DataError(
            f"{sources[0].name}: has a column {taken[0]!r} already, as if it had been labelled before: rename it"
        )
    if form.kind != "parquet":
        return columns
    return Columns(kept, ours, columns.labels, many, _schema(sources, columns, type(labels[0])))


def _schema(sources: Sequence[Source], columns: Columns, label_type: type) -> Any:
    pa = _arrow("Writing Parquet")
    label = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}.get(label_type, pa.string())
    types = [_type(sources, name) for name in columns.kept]
    types += [pa.list_(label) if columns.many else label, pa.float64(), pa.bool_(), pa.bool_()]
    types += [pa.float64()] * len(columns.labels)
    return pa.schema(list(zip(columns.all, types, strict=True)))


def _type(sources: Sequence[Source], name: str) -> Any:
    """A column's type in Parquet: its own where all files agree, a string that holds all of them where not."""
    pa = _arrow("Writing Parquet")
    found = {_type_in(source, name, pa) for source in sources if name in source.names}
    return found.pop() if len(found) == 1 else pa.string()


def _type_in(source: Source, name: str, pa: Any) -> Any:
    if source.schema is not None:
        return source.schema.field(name).type
    kinds = (source.types or {}).get(name, frozenset({"str"})) - {"NoneType"}
    if kinds <= {"int", "long"} and kinds:
        return pa.int64()
    if kinds <= {"int", "float"} and kinds:
        return pa.float64()
    return pa.bool_() if kinds == {"bool"} else pa.string()


# ---------------------------------------------------------------- writing a piece


def piece(form: Format, columns: Columns, blocks: Sequence[Block], predictions: Predictions) -> bytes:
    """Return the bytes of some rows: N rows of these blocks, with N predictions."""
    if form.kind == "parquet":
        return _parquet(columns, blocks, predictions)
    rows = (row for block in blocks for row in _dicts(block))
    if form.kind == "jsonl":
        data = _json_lines(columns, rows, predictions)
    else:
        data = _delimited(form, columns, rows, predictions)
    return _pack(data.encode(), form.packed)


def _dicts(block: Block) -> list[Row]:
    if isinstance(block.rows, list):
        return block.rows
    names = block.rows.schema.names
    columns = [_values(column) for column in block.rows.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: Any) -> list[Any]:
    """A column's values; nanoseconds, which Python's own times don't hold, by ISO 8601."""
    pa = _arrow("Reading Arrow")
    if pa.types.is_temporal(column.type) and getattr(column.type, "unit", "") == "ns":
        return [value and value.replace(" ", "T", 1) for value in _texts(column).to_pylist()]
    try:
        return cast(list[Any], column.to_pylist())
    except UNREADABLE:
        return [_value(value) for value in column]


def _texts(column: Any) -> Any:
    pa = _arrow("Reading Arrow")
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:  # a time zone that nobody knows: by UTC, as the file has it
        return column.cast(pa.timestamp("ns")).cast(pa.string())


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UNREADABLE:
        return getattr(scalar, "value", None) or str(scalar)  # as Parquet has it: counted from 1970


def _delimited(form: Format, columns: Columns, rows: Iterable[Row], predictions: Predictions) -> str:
    out = _Lines()
    writer = _writer(form, out)
    answers = zip(
        map(answer_text, predictions.best()),
        (f"{p:.6f}" for p in predictions.confidence.tolist()),
        (("false", "true")[flag] for flag in predictions.truncated.tolist()),
        (("false", "true")[flag] for flag in predictions.unsure.tolist()),
        strict=True,
    )
    per_class = [[f"{p:.6f}" for p in row] for row in predictions.probabilities.tolist()] if columns.labels else None
    for i, (row, told) in enumerate(zip(rows, answers, strict=True)):
        answer = (*told, *per_class[i]) if per_class else told
        cells = row.values() if (*row,) == columns.kept else (row.get(name) for name in columns.kept)
        writer.writerow([*(cell if isinstance(cell, str) else cell_text(cell) for cell in cells), *answer])
    return "".join(out)


class _Lines(list[str]):
    """Takes csv's lines, ended by \\r\\n so that cells holding either are quoted , and ends them by \\n."""

    def write(self, line: str) -> None:
        """Take a line."""
        self.append(line.removesuffix("\r\n") + "\n")


def _writer(form: Format, out: _Lines) -> Any:
    return csv.writer(out, delimiter="\t" if form.kind == "tsv" else ",", lineterminator="\r\n")


def cell_text(value: object) -> str:
    """Return a value as text files write it."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return _json(value)
    return label_text(value) if isinstance(value, bool | int | float | str) else str(_plain(value))


def _plain(value: Any) -> Any:
    """What JSON has no form for, as a string: a time by ISO 8601, bytes by their Latin-1 letters."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _json_lines(columns: Columns, rows: Iterable[Row], predictions: Predictions) -> str:
    label, probability, truncated, unsure = columns.ours
    names = [label_text(one) for one in columns.labels]
    out = []
    probabilities = predictions.probabilities.tolist()
    facts = zip(predictions.best(), predictions.confidence.tolist(), predictions.truncated.tolist(), strict=True)
    flags = predictions.unsure.tolist()
    for i, (row, (answer, confidence, cut)) in enumerate(zip(rows, facts, strict=True)):
        one = {**row, label: answer, probability: confidence, truncated: cut, unsure: flags[i]}
        if names:
            one["probabilities"] = dict(zip(names, probabilities[i], strict=True))
        out.append(_json(one))
    return "\n".join([*out, ""])


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:  # JSON has no NaN; a missing number is null
        return json.dumps(_finite(value), ensure_ascii=False, default=_plain)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):  # a map is a list of tuples
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _pack(data: bytes, packed: str) -> bytes:
    if packed == ".gz":
        return gzip.compress(data, mtime=0)  # without the time, so that the same rows give the same bytes
    if packed == ".zst":
        return bytes(_arrow("Writing zstd").compress(data, codec="zstd", asbytes=True))
    return data


def _parquet(columns: Columns, blocks: Sequence[Block], predictions: Predictions) -> bytes:
    pa = _arrow("Writing Parquet")
    import pyarrow.parquet as pq

    kept = pa.schema([columns.schema.field(i) for i in range(len(columns.kept))])
    tables = [_kept_columns(block, kept, pa) for block in blocks]
    table = pa.concat_tables(tables) if tables else kept.empty_table()
    answers = [list(one) if isinstance(one, tuple) else one for one in predictions.best()]
    values: list[Any] = [answers, predictions.confidence, predictions.truncated, predictions.unsure]
    values += list(predictions.probabilities.T.copy()) if columns.labels else []
    for name, column in zip(columns.all[len(columns.kept) :], values, strict=True):
        table = table.append_column(columns.schema.field(name), pa.array(column, columns.schema.field(name).type))
    out = io.BytesIO()
    try:
        pq.write_table(table, out, compression="zstd")
    except pa.ArrowInvalid as error:  # such as seconds that no milliseconds hold
        raise DataError(f"a column can't be kept as Parquet ({reason(error)}): write CSV or JSONL") from None
    pa.default_memory_pool().release_unused()  # Arrow keeps what it had once
    return out.getvalue()


def _kept_columns(block: Block, schema: Any, pa: Any) -> Any:
    """The input's columns of a block, each as the schema has it."""
    if isinstance(block.rows, list):
        text = {field.name for field in schema if field.type == pa.string()}
        rows = [{key: _string(value) if key in text else value for key, value in row.items()} for row in block.rows]
        return pa.Table.from_pylist(rows, schema=schema)
    batch = pa.Table.from_batches([block.rows])
    arrays = []
    for field in schema:
        if field.name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, field.type))
        elif batch.schema.field(field.name).type == field.type:
            arrays.append(batch.column(field.name))
        else:
            arrays.append(pa.array([_string(value) for value in batch.column(field.name).to_pylist()], field.type))
    return pa.table(arrays, schema=schema)


def _string(value: object) -> str | None:
    return None if value is None else cell_text(value)


# ---------------------------------------------------------------- putting pieces together


def assemble(form: Format, columns: Columns, pieces: Iterable[Path], out: BinaryIO) -> None:
    """Write a whole file from its pieces."""
    if form.kind == "parquet":
        _assemble_parquet(columns, pieces, out)
        return
    out.write(_pack(head(form, columns).encode(), form.packed) if form.kind != "jsonl" else b"")
    for path in pieces:
        out.write(path.read_bytes())


def head(form: Format, columns: Columns) -> str:
    """Return the line that names the columns."""
    out = _Lines()
    _writer(form, out).writerow(columns.all)
    return "".join(out)


def _assemble_parquet(columns: Columns, pieces: Iterable[Path], out: BinaryIO) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(out, columns.schema, compression="zstd") as writer:
        for table in _groups(pieces):
            writer.write_table(table, row_group_size=table.num_rows or None)
            _arrow("Writing Parquet").default_memory_pool().release_unused()


def _groups(pieces: Iterable[Path]) -> Iterator[Any]:
    """Put small pieces together: readers like row groups of some size."""
    pa = _arrow("Writing Parquet")
    import pyarrow.parquet as pq

    gathered: list[Any] = []
    for path in pieces:
        gathered.append(pq.read_table(io.BytesIO(path.read_bytes()), use_threads=False))
        if sum(t.num_rows for t in gathered) >= _GROUP or sum(t.nbytes for t in gathered) >= _GROUP_BYTES:
            yield pa.concat_tables(gathered)
            gathered = []
    if gathered:
        yield pa.concat_tables(gathered)
