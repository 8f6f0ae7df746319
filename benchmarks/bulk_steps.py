"""The steps of bulk prediction, each by itself: `python -m benchmarks.bulk_steps TASK JOB.json OUT.json`.

`alone`: SentenceEncoder without files. `encode`: tokens a second by length of text. `tokenise`: the tokenizer alone.
`files`: reading and writing where encoding takes no time. `cluster`: Ray with workers that wait as long as encoding
would take them, so that a few cores stand for many.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from firstbert import SentenceEncoder, bulk_ray, job, tables
from firstbert.bulk import Answered, Answers, BulkOptions, Shard, left, shards_of
from firstbert.engine import Engine, EngineOptions, open_engine
from firstbert.predictor import Predictions, Predictor

REPEATS = 3
Job = dict[str, Any]


def alone(asked: Job) -> Job:
    """Encode the texts of a CSV, nothing else."""
    with Path(asked["source"]).open(encoding="utf-8", newline="") as file:
        texts = [row[1] for row in csv.reader(file)][1:]
    encoder = SentenceEncoder(asked["encoder"], pooling="mean", threads=asked["threads"])
    encoder.transform(texts[:256])
    start = time.perf_counter()
    rows = len(encoder.transform(texts))
    return {"rows_per_s": rows / (time.perf_counter() - start)}


# ---------------------------------------------------------------- encoding


def encode(asked: Job) -> Job:
    """Encode texts of each length; rates are medians."""
    engine = open_engine(_options(asked, asked["threads"]))
    found = {str(n): _encoded(engine, texts) for n, texts in _of_lengths(engine, asked).items()}
    one = open_engine(_options(asked, 1))
    short = _of_lengths(one, asked)[asked["lengths"][1]]
    return {"lengths": found, "one_core": _encoded(one, short), "layer": engine.layer}


def _options(asked: Job, threads: int) -> EngineOptions:
    return EngineOptions(asked["encoder"], "mean", asked["layer"], precision=asked["precision"], threads=threads)


def _of_lengths(engine: Engine, asked: Job) -> dict[int, list[str]]:
    """Return length → texts of about so many tokens, special ones included, made of the sentences' words."""
    return {n: list(_made(engine, asked["sentences"], n, asked["tokens"] // n)) for n in asked["lengths"]}


def _made(engine: Engine, sentences: Sequence[str], length: int, rows: int) -> Iterator[str]:
    words = [word for sentence in sentences for word in sentence.split()]
    sizes = [len(ids) - 2 for ids in engine.tokenizer(words).ids]
    at = 0
    for _ in range(rows):
        text, room = [], length - 2
        while not text or sizes[at % len(words)] <= room:
            text.append(words[at % len(words)])
            room -= sizes[at % len(words)]
            at += 1
        yield " ".join(text)


def _encoded(engine: Engine, texts: Sequence[str]) -> Job:
    engine.encode(texts[: len(texts) // 8 + 1])
    tokens, seconds = 0, []
    for _ in range(REPEATS):
        start = time.perf_counter()
        tokens = sum(window.tokens for window in engine.stream(texts))
        seconds.append(time.perf_counter() - start)
    middle = statistics.median(seconds)
    return {"rows": len(texts), "tokens": tokens, "seconds": seconds,
            "rows_per_s": len(texts) / middle, "tokens_per_s": tokens / middle}  # fmt: skip


def tokenise(asked: Job) -> Job:
    """Run the tokenizer alone, with as many threads as RAYON_NUM_THREADS says."""
    engine = open_engine(_options(asked, 1))
    found = {}
    for length, texts in _of_lengths(engine, asked).items():
        seconds = [_timed(lambda texts=texts: engine.tokenizer(texts)) for _ in range(REPEATS)]
        tokens = sum(map(len, engine.tokenizer(texts).ids))
        middle = statistics.median(seconds)
        found[str(length)] = {"rows_per_s": len(texts) / middle, "tokens_per_s": tokens / middle}
    return {"lengths": found}


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# ---------------------------------------------------------------- files


def files(asked: Job) -> Job:
    """Look through, read, write and put together one file, then label it by an engine that costs nothing."""
    options = BulkOptions((asked["source"],), asked["output"], threads=1)
    look = _timed(lambda: job.look([asked["source"]], options))
    form = tables.format_of(asked["output"])
    reading = job.read(asked["model"], options, form, Path(asked["output"]).parent)
    start = time.perf_counter()
    shards = list(shards_of(0, reading.sources))
    read = time.perf_counter() - start
    answers = [_nothing(reading.predictor, shard) for shard in shards]
    start = time.perf_counter()
    for one in answers:
        tables.piece(form, reading.columns, one.shard.blocks, one.predictions)
    write = time.perf_counter() - start
    rows = sum(len(shard.texts) for shard in shards)
    del shards, answers
    job.engine_for = _free  # type: ignore[assignment]
    start = time.perf_counter()
    outcome = job.label_files(asked["model"], options, lambda _: None)
    whole = time.perf_counter() - start
    size, made = Path(asked["source"]).stat().st_size, Path(asked["output"]).stat().st_size
    return {"rows": rows, "bytes": size, "bytes_written": made, "look": look, "read": read, "write": write,
            "flow": outcome.seconds, "whole": whole}  # fmt: skip


@contextmanager
def _free(predictor: Predictor, _: BulkOptions) -> Iterator[Answers]:
    """An engine that knows the answers already."""
    yield lambda todo, told: (_nothing(predictor, shard) for shard in left(todo))


def _nothing(predictor: Predictor, shard: Shard) -> Answered:
    n = len(shard.texts)
    predictions = Predictions(predictor.labels, _even(n), np.zeros(n, np.bool_), predictor.decision)
    return Answered(shard, predictions, 0)


def _even(n: int) -> Any:
    return np.tile([0.75, 0.25], (n, 1))


# ---------------------------------------------------------------- a cluster


class Waiting:
    """A worker that waits as long as encoding would take it."""

    rows_per_s: float | None = None

    def __init__(self, *_: object) -> None:
        self._free = 0.0

    def answer(self, part: Any) -> Any:
        """Return made-up answers in time."""
        n = sum(len(block.texts) for block in part.blocks)
        if self.rows_per_s:
            # From when the part before was done: what handing over takes, real workers do while they encode.
            self._free = max(self._free, time.monotonic()) + n / self.rows_per_s
            time.sleep(max(0.0, self._free - time.monotonic()))
        return bulk_ray._Answers(_even(n), np.zeros(n, np.bool_), 0, "node")


def cluster(asked: Job) -> Job:
    """Label a file by workers that wait."""
    import ray

    kept = {"rows_per_s": asked["worker_rows_per_s"]}
    bulk_ray._Worker = type("Waiting", (Waiting,), kept)  # type: ignore[misc, assignment]
    bulk_ray._ray()
    ray.init(num_cpus=asked["workers"], include_dashboard=False, log_to_driver=False, logging_level="critical",
             object_store_memory=bulk_ray._STORE)  # fmt: skip
    options = BulkOptions((asked["source"],), asked["output"], threads=1, engine="ray", workers=asked["workers"])
    outcome = job.label_files(asked["model"], options, lambda _: None)
    return {"rows": outcome.rows, "seconds": outcome.seconds, "rows_per_s": outcome.rows / outcome.seconds}


TASKS = {"alone": alone, "encode": encode, "tokenise": tokenise, "files": files, "cluster": cluster}

if __name__ == "__main__":
    answer = TASKS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
    Path(sys.argv[3]).write_text(json.dumps(answer))
