"""Files of ids and texts to be labelled, and what stands in them afterwards."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np


def _write_delimited(path: Path, rows: Iterator[str], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(rows))


def _write_jsonl(path: Path, rows: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": i, "text": text}, ensure_ascii=False) + "\n" for i, text in enumerate(rows))


def _write_parquet(path: Path, rows: Iterator[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    at = 0
    with pq.ParquetWriter(path, pa.schema([("id", pa.int64()), ("text", pa.string())])) as writer:
        while some := list(islice(rows, 65_536)):
            writer.write_table(pa.table({"id": list(range(at, at + len(some))), "text": some}))
            at += len(some)


WRITERS: dict[str, Callable[[Path, Iterator[str]], None]] = {
    "tsv": partial(_write_delimited, delimiter="\t"), "csv": partial(_write_delimited, delimiter=","),
    "jsonl": _write_jsonl, "parquet": _write_parquet,
}  # fmt: skip


def ids_of(path: Path) -> Iterator[int]:
    """Yield the ids of a labelled file, in order."""
    kind = path.suffix[1:]
    if kind == "parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(columns=["id"]):
            yield from batch.column(0).to_pylist()
        return
    with path.open(encoding="utf-8", newline="") as file:
        if kind == "jsonl":
            yield from (json.loads(line)["id"] for line in file)
        else:
            yield from (int(row["id"]) for row in csv.DictReader(file, delimiter="\t" if kind == "tsv" else ","))


def in_order(path: Path, n: int) -> bool:
    """Say whether a labelled file has each id once, in order."""
    return all(found == i for found, i in zip_longest(ids_of(path), range(n)))


def labels_of(path: Path) -> Any:
    """Return the labels of a labelled CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([row["label"] for row in csv.DictReader(file)])
