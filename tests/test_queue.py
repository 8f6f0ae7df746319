"""The queue: what comes out is each text's own answer, in time or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firstbert.artifact import load
from firstbert.serve.queue import Queue, QueueFullError, TooLateError
from firstbert.serve.watch import Metrics
from firstbert.tokens import Tokens

WORDS = ["a", "good day", "what a very long day it was in the end, all in all, and then some more of it"]


class Slow:
    """An engine whose session waits till it may go on, and notes what it is given."""

    def __init__(self, engine: Any, threads: int = 2) -> None:
        self.engine, self.threads, self.batch_tokens = engine, threads, 64
        self.go = threading.Event()
        self.batches: list[list[list[int]]] = []

    def session(self, batch: Any) -> Any:
        self.go.wait(10)
        rows = [row[:n].tolist() for row, n in zip(batch.ids, batch.lengths, strict=True)]
        self.batches.append(rows)
        return self.engine.session(batch)

    session_alone = session


@pytest.fixture
def made(quick: Path) -> Callable[..., tuple[Queue, Slow]]:
    predictor = load(quick).predictor

    def make(deadline: float = 10.0, **how: Any) -> tuple[Queue, Slow]:
        engine = Slow(predictor.engine, **how)
        return Queue(predictor, engine, deadline, Metrics().of("m")), engine  # type: ignore[arg-type]

    return make


def tokens(queue: Queue, texts: list[str]) -> Tokens:
    return queue.predictor.engine.tokenizer(texts)


def test_each_gets_its_own_answer(made: Callable[..., tuple[Queue, Slow]]) -> None:
    queue, engine = made()
    requests = [[WORDS[(i + k) % 3] + " x" * i for k in range(1 + i % 4)] for i in range(40)]

    async def ask() -> Any:
        asked = [asyncio.create_task(queue.answer(tokens(queue, texts))) for texts in requests]
        await asyncio.sleep(0)
        engine.go.set()
        found = await asyncio.gather(*asked)
        await queue.close()
        return found

    for texts, found in zip(requests, asyncio.run(ask()), strict=True):
        expected = queue.predictor.predict(texts)
        assert found.probabilities == expected.probabilities.tolist()
        assert found.truncated == expected.truncated.tolist()
        assert (found.predictions.chosen == expected.chosen).all()
    assert sum(map(len, engine.batches)) == sum(map(len, requests))
    assert all(len(rows) * max(map(len, rows)) <= 64 or len(rows) == 1 for rows in engine.batches)
    assert max(map(len, engine.batches)) > 3  # texts of many requests, together
    assert queue.tokens == 0


def test_nobody_waits_longer_than_those_who_came_later(made: Callable[..., tuple[Queue, Slow]]) -> None:
    queue, engine = made(threads=1)
    finished: list[int] = []

    async def one(i: int) -> None:
        await queue.answer(tokens(queue, [f"{WORDS[2]} {i}" if i % 7 == 0 else f"word {i}"]))
        finished.append(i)

    async def ask() -> None:
        asked = [asyncio.create_task(one(i)) for i in range(300)]
        await asyncio.sleep(0)
        engine.go.set()
        await asyncio.gather(*asked)

    asyncio.run(ask())
    assert max(abs(place - i) for place, i in enumerate(finished)) < 130  # put together 128 at a time


def test_what_cannot_be_answered_in_time_is_refused_at_once(made: Callable[..., tuple[Queue, Slow]]) -> None:
    queue, engine = made(deadline=0.3, threads=1)
    queue.seconds_per_token = 0.01

    async def ask() -> None:
        accepted = [asyncio.create_task(queue.answer(tokens(queue, [WORDS[2]] * 6)))]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as full:
            await queue.answer(tokens(queue, ["one more"]))
        assert full.value.retry_after_s >= 1
        with pytest.raises(TooLateError, match=r"within 0\.3 s"):
            await accepted[0]
        engine.go.set()
        while queue.running:
            await asyncio.sleep(0.01)
        again = await queue.answer(tokens(queue, ["and now"]))  # what nobody waits for is out of the way
        assert len(again.scores) == 1
        await queue.close()

    asyncio.run(ask())
    assert queue.tokens == 0
    assert sum(map(len, engine.batches)) < 8


def test_a_fault_in_a_worker_reaches_those_whose_texts_it_had(made: Callable[..., tuple[Queue, Slow]]) -> None:
    queue, engine = made(threads=1)
    engine.go.set()
    whole = engine.session

    def broken(batch: Any) -> Any:
        engine.session_alone = engine.session = whole  # type: ignore[method-assign]
        raise MemoryError

    engine.session_alone = engine.session = broken  # type: ignore[method-assign]

    async def ask() -> None:
        with pytest.raises(MemoryError):
            await queue.answer(tokens(queue, ["a"]))
        found = await queue.answer(tokens(queue, ["a"]))
        assert np.isfinite(found.scores).all()
        await queue.close()

    asyncio.run(ask())
