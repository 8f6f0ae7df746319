"""A process with one system in it: `python -m benchmarks.worker`, questions and answers as lines of JSON.

Each system has a process of its own, so that no library's threads, allocator or environment touches another's.
Times are taken here, around the call alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.peers import SYSTEMS
from benchmarks.systems import Case, System, TokenSystem


class Worker:
    """What the process answers, one method per question."""

    system: System

    def open(self, system: str, case: dict[str, Any], setting: dict[str, Any]) -> dict[str, Any]:
        case["calibration"] = tuple(case["calibration"])
        start = time.perf_counter()
        self.system = SYSTEMS[system](Case(**case), setting)
        self.system.prepare()
        return {"seconds": time.perf_counter() - start}

    def set(self, setting: dict[str, Any]) -> dict[str, Any]:
        """Change what can be changed while open: the size of batches."""
        self.system.setting = setting
        return {}

    def encode(self, texts: str, save: str | None = None) -> dict[str, Any]:
        rows = read(texts)
        start = time.perf_counter()
        vectors = self.system.encode(rows)
        seconds = time.perf_counter() - start
        if save:
            np.save(save, vectors)
        return {"seconds": seconds, "shape": vectors.shape}

    def encode_tokens(self, texts: str) -> dict[str, Any]:
        """Time of the same without tokenising, None for a system that takes nothing but text."""
        if not isinstance(self.system, TokenSystem):
            return {"seconds": None}
        ids = self.system.tokens(read(texts))
        start = time.perf_counter()
        self.system.encode_tokens(ids)
        return {"seconds": time.perf_counter() - start}

    def one_by_one(self, texts: str) -> dict[str, Any]:
        """Times of one sentence each."""
        seconds = []
        for text in read(texts):
            start = time.perf_counter()
            self.system.encode([text])
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def memory(self) -> dict[str, Any]:
        return {"peak": machine.peak_rss()}

    def sgemm(self, repeats: int) -> dict[str, Any]:
        return {"gflops": machine.sgemm(repeats)}

    def versions(self) -> dict[str, Any]:
        return {"versions": machine.versions()}


@lru_cache
def read(path: str) -> list[str]:
    texts: list[str] = json.loads(Path(path).read_text(encoding="utf-8"))
    return texts


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    worker = Worker()
    for line in sys.stdin:
        question = json.loads(line)
        answer = _answer(getattr(worker, question.pop("ask")), question)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(method: Callable[..., dict[str, Any]], question: dict[str, Any]) -> dict[str, Any]:
    try:
        return method(**question)
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip() or "no message").splitlines()[0]
        return {"error": f"{type(error).__name__}: {first}"[:300]}


if __name__ == "__main__":
    main()
