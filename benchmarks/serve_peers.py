"""Others that serve the same model: `python -m benchmarks.serve_peers JOB.json`, where they are installed.

JOB holds `system`, `port`, `encoder` (a folder), `labels`, `weight` (1, D) and `bias` (1,) of a logistic regression
between the two, `threads` (of torch; null: as it comes), and what the system can be set to. All answer
`POST /predict` with {"inputs": text} as firstbert does. Imports nothing of firstbert.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Answer = Callable[[Sequence[str]], list[list[dict[str, Any]]]]


def opened(job: Job) -> Answer:
    """Return what answers texts: sentence-transformers' vectors, scikit-learn's regression, best label first."""
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    if job["threads"]:
        torch.set_num_threads(job["threads"])
    body, head = SentenceTransformer(job["encoder"], device="cpu"), LogisticRegression()
    head.coef_, head.intercept_ = np.array(job["weight"]), np.array(job["bias"])
    head.classes_ = np.array([0, 1])
    labels = job["labels"]

    def answer(texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        vectors = body.encode(list(texts), batch_size=64, show_progress_bar=False)
        rows = head.predict_proba(vectors)
        return [[{"label": labels[i], "score": float(row[i])} for i in (-row).argsort()] for row in rows]

    answer(["A warm, funny film."])
    return answer


def fastapi(job: Job) -> None:
    """One request, one text: `endpoint` is def, which FastAPI runs in threads, or async def, in the event loop."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Asked(BaseModel):
        inputs: str

    app, answer = FastAPI(), opened(job)

    def predict(asked: Asked) -> Any:
        return answer([asked.inputs])[0]

    async def predict_here(asked: Asked) -> Any:
        return answer([asked.inputs])[0]

    # The annotation is a class of this function, which FastAPI can't look up by its name.
    for endpoint in (predict, predict_here):
        endpoint.__annotations__["asked"] = Asked
    app.post("/predict")(predict if job["endpoint"] == "def" else predict_here)
    uvicorn.run(app, host="127.0.0.1", port=job["port"], log_level="warning", access_log=False)


def litserve(job: Job) -> None:
    """LitServe, which puts requests together: `batch` at most, `wait` seconds for them to come; `workers` models."""
    import litserve

    from benchmarks.serve_lit import Labels

    api = Labels(max_batch_size=job["batch"], batch_timeout=job["wait"])
    api.job = job
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=job["workers"], fast_queue=job["fast_queue"], timeout=120
    )
    server.run(host="127.0.0.1", port=job["port"], log_level="warning", generate_client_file=False)


SYSTEMS: dict[str, Callable[[Job], None]] = {"fastapi": fastapi, "litserve": litserve}

if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    SYSTEMS[asked["system"]](asked)
