"""A file of rows labelled by others: `python -m benchmarks.bulk_peers JOB.json OUT.json`, where SetFit is installed.

JOB holds `system`, `encoder` (a folder), `source` (a CSV of id and text), `output` (a CSV to write), `weight` (1, D)
and `bias` (1,) of a logistic regression between labels 0 and 1, `threads`. OUT gets `rows`, `seconds` from the first
row read to the last one written, the model being loaded, and `versions`. Imports nothing of firstbert.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine

Answer = Callable[[Sequence[str]], Any]  # texts → (N, 2) probabilities


def head(job: dict[str, Any]) -> Any:
    """Return scikit-learn's logistic regression with the weights that firstbert's model has."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression()
    fitted.coef_, fitted.intercept_ = np.array(job["weight"]), np.array(job["bias"])
    fitted.classes_ = np.array([0, 1])
    return fitted


def sentence_transformers(job: dict[str, Any], batch_size: int) -> Answer:
    """Encode with sentence-transformers, which sorts what it is given by length; answer with scikit-learn."""
    from sentence_transformers import SentenceTransformer

    body, fitted = SentenceTransformer(job["encoder"]), head(job)
    return lambda texts: fitted.predict_proba(body.encode(list(texts), batch_size=batch_size, show_progress_bar=False))


def setfit(job: dict[str, Any]) -> Answer:
    """Answer with SetFit's own prediction."""
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel

    model = SetFitModel(model_body=SentenceTransformer(job["encoder"]), model_head=head(job))
    return lambda texts: model.predict_proba(list(texts), as_numpy=True, show_progress_bar=False)


SYSTEMS: dict[str, tuple[Callable[[dict[str, Any]], Answer], int | None]] = {  # and rows handed over at a time
    "sentence-transformers, 32 rows at a time": (lambda job: sentence_transformers(job, 32), 32),
    "sentence-transformers, all rows, batches of 32": (lambda job: sentence_transformers(job, 32), None),
    "sentence-transformers, all rows, batches of 128": (lambda job: sentence_transformers(job, 128), None),
    "SetFit": (setfit, None),
}


def label(answer: Answer, at_once: int | None, source: Path, output: Path) -> int:
    """Write the rows with label and probability; return how many there were."""
    with source.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    step = at_once or len(rows)
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "label", "probability"])
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            for row, scores in zip(part, answer([row[1] for row in part]), strict=True):
                best = int(scores.argmax())
                writer.writerow([*row, best, f"{scores[best]:.6f}"])
    return len(rows)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Load, warm up, label."""
    import torch

    torch.set_num_threads(job["threads"])
    make, at_once = SYSTEMS[job["system"]]
    answer = make(job)
    answer(["A warm, funny film."])
    start = time.perf_counter()
    rows = label(answer, at_once, Path(job["source"]), Path(job["output"]))
    return {"rows": rows, "seconds": time.perf_counter() - start, "versions": machine.versions()}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
