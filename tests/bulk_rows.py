"""What tests of bulk prediction share: a model that is quick, rows of our own, and answers to hold files against."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import everyday
import families
from conftest import clean
from firstbert import SentenceClassifier
from firstbert.catalog import encoder_files


def quick_model(folder: Path) -> Path:
    """One layer, 32 wide, random, with MiniLM's tokenizer: the mechanics of a model at a hundredth of its time."""
    row = families.small("bert", vocab_size=30522, hidden_size=32, num_hidden_layers=1, intermediate_size=64)
    encoder = families.write(row, folder / "encoder").config.parent
    shutil.copy(encoder_files("minilm").tokenizer, encoder / "tokenizer.json")
    rows = everyday.topics(200, seed=1)
    classifier = SentenceClassifier(str(encoder), layer="last", pooling="mean")
    classifier.fit([text for text, _ in rows], [topic for _, topic in rows])
    return classifier.save(folder / "model")


def sentences(n: int, seed: int = 0) -> list[str]:
    """Different texts, two in nine of them repeated, some with quotes, commas and other scripts."""
    texts = [f"{text} {i // 500}" for i, (text, _) in enumerate(everyday.topics(500, seed) * (n // 500 + 1))][:n]
    for i in range(0, n, 9):
        texts[i] = f'"Quoted", he said – 第{i}号; tab\there'
        if i + 4 < n:
            texts[i + 4] = texts[max(0, i - 5)]
    return texts


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows in the format that the file's ending names."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", newline="", encoding="utf-8") as file:
        if name.endswith(".jsonl"):
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if name.endswith(".tsv") else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """Read what was written."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pyarrow.parquet as pq

        return list(pq.read_table(path).to_pylist())
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="", encoding="utf-8") as file:
        if name.endswith(".jsonl"):
            return [json.loads(line) for line in file]
        return list(csv.DictReader(file, delimiter="\t" if name.endswith(".tsv") else ","))


# Shards of 256 rows, so that a short job has many; each piece written is noted.
SMALL = """
from firstbert import bulk, resume
bulk.ROWS = bulk.CUT["rows"] = 256
put = resume.Work.put
def noted(self, piece, *rest):
    with open(NOTES, "a") as file:
        file.write(piece.name + "\\n")
    put(self, piece, *rest)
resume.Work.put = noted
from firstbert.__main__ import main
main()
"""


def start(notes: Path, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Run the command line in a process of its own, in small shards."""
    code = f"NOTES = {str(notes)!r}\n{SMALL}"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given = {"env": clean(dict(os.environ)), "start_new_session": True} | pipes | options
    return subprocess.Popen(command, **given)


def finish(process: subprocess.Popen[str], after: float | None = None) -> tuple[int, str]:
    """Wait for it; kill it after some seconds, as a power cut does, with all it has started. Its code and its notes."""
    try:
        _, err = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, err = process.communicate()
    return process.returncode, err
