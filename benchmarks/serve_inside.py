"""The model without a server: `python -m benchmarks.serve_inside TASK JOB.json OUT.json`.

`model`: the right answer to every text, and the regression's weights for peers. `bulk`: rows a second on all cores.
`one_by_one`: seconds of each text by itself. JOB holds `model` (a folder), `texts`, `threads`, and `seconds` or `n`.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from firstbert.artifact import load
from firstbert.predictor import Predictor, label_text

Job = dict[str, Any]


def _predictor(asked: Job) -> Predictor:
    found = load(asked["model"]).predictor.with_threads(asked["threads"])
    found.predict(asked["texts"][:64])
    return found


def model(asked: Job) -> Job:
    """Answer all texts: [label, probability] best first; `weight` and `bias` have the calibration in them."""
    predictor = _predictor(asked)
    found = predictor.predict(asked["texts"])
    labels = list(map(label_text, found.labels))
    answers = [
        [[labels[i], float(row[i])] for i in sorted(range(len(labels)), key=lambda i, row=row: -row[i])]
        for row in found.probabilities
    ]
    head, T = predictor.head, predictor.calibration.temperature
    return {
        "answers": answers,
        "labels": labels,
        "weight": [((head.weight[1] - head.weight[0]) / T).tolist()],
        "bias": [float((head.bias[1] - head.bias[0]) / T)],
    }


def bulk(asked: Job) -> Job:
    """Label the texts over and over, as files are labelled; a window has all of them."""
    predictor, begun = _predictor(asked), 0.0

    def windows() -> Iterator[list[str]]:
        while time.perf_counter() - begun < asked["seconds"]:
            yield asked["texts"]

    begun, cpu = time.perf_counter(), time.process_time()
    rows = sum(len(found.truncated) for found, _ in predictor.stream(windows()))
    seconds = time.perf_counter() - begun
    return {"rate": rows / seconds, "rows": rows, "seconds": seconds, "cpu": time.process_time() - cpu}


def one_by_one(asked: Job) -> Job:
    """Label one text after the other."""
    predictor, seconds = _predictor(asked), []
    for text in itertools.islice(itertools.cycle(asked["texts"]), asked["n"]):
        begun = time.perf_counter()
        predictor.predict([text])
        seconds.append(time.perf_counter() - begun)
    return {"seconds": seconds}


TASKS: dict[str, Callable[[Job], Job]] = {"model": model, "bulk": bulk, "one_by_one": one_by_one}

if __name__ == "__main__":
    done = TASKS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    Path(sys.argv[3]).write_text(json.dumps(done), encoding="utf-8")
