"""The tutorial's whole job, from files to an accuracy, in a process of its own: by its own code, and by firstbert.

`python -m benchmarks.jobs original|firstbert JOB.json` prints the seconds of each stage as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

START = time.perf_counter()


class Stages:
    """Seconds of each stage since the one before."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = START

    def done(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now


def original(job: dict[str, Any]) -> dict[str, Any]:
    """The tutorial's notebook: transformers, one batch, [CLS], scikit-learn's logistic regression."""
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from transformers import DistilBertModel, PreTrainedTokenizerFast

    stages, texts, labels = Stages(), job["texts"], job["labels"]
    torch.set_num_threads(job["threads"])
    stages.done("import")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(job["encoder"])
    model = DistilBertModel.from_pretrained(job["encoder"])
    stages.done("open")
    tokenized = [tokenizer.encode(text, add_special_tokens=True) for text in texts]
    max_len = max(len(i) for i in tokenized)
    padded = np.array([i + [0] * (max_len - len(i)) for i in tokenized])
    attention_mask = np.where(padded != 0, 1, 0)
    with torch.no_grad():
        last_hidden_states = model(torch.tensor(padded), attention_mask=torch.tensor(attention_mask))
    features = last_hidden_states[0][:, 0, :].numpy()
    stages.done("sentences to vectors")
    _save(job, features)
    stages.last = time.perf_counter()
    train_features, test_features, train_labels, test_labels = train_test_split(features, labels)
    lr_clf = LogisticRegression()
    lr_clf.fit(train_features, train_labels)
    accuracy = float(lr_clf.score(test_features, test_labels))
    stages.done("logistic regression")
    return {"seconds": stages.seconds, "accuracy": accuracy}


def firstbert(job: dict[str, Any]) -> dict[str, Any]:
    """The same by this project."""
    import numpy as np

    from firstbert.engine import Engine, EngineOptions
    from firstbert.head import HeadOptions, fit_head

    stages, texts, y = Stages(), job["texts"], np.array(job["labels"])
    stages.done("import")
    engine = Engine(EngineOptions(job["encoder"], threads=job["threads"], **job["options"]))
    stages.done("open")
    X = engine.encode(texts).vectors[:, 0]
    stages.done("sentences to vectors")
    _save(job, X)
    stages.last = time.perf_counter()
    train, test = _split(len(y), job)
    head = fit_head(X[train], y[train], HeadOptions(C=job.get("C", 0.01))).head
    accuracy = float((head.scores(X[test]).argmax(axis=1) == y[test]).mean())
    stages.done("logistic regression")
    return {"seconds": stages.seconds, "accuracy": accuracy}


def _split(n: int, job: dict[str, Any]) -> tuple[Any, Any]:
    """The rows that are trained on and those that are held out: the last ones, or a random quarter."""
    import numpy as np

    if job["held_out"]:
        return np.arange(n - job["held_out"]), np.arange(n - job["held_out"], n)
    order = np.random.default_rng(0).permutation(n)
    return order[n // 4 :], order[: n // 4]


def _save(job: dict[str, Any], vectors: Any) -> None:
    import numpy as np

    if job.get("save"):
        np.save(job["save"], vectors)


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"original": original, "firstbert": firstbert}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))))
