"""Texts of many requests → batches → each request's answers.

After mapped.py in serve/. Requests wait in one queue for each model. Whenever a worker is free, those waiting longest
are put together by the encoder's own rule, and the batch that the oldest is in goes. Nothing waits for company: under
load there is always some. All but the encoding itself happens on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from firstbert.batches import Batch, batch_of, plan
from firstbert.engine import Engine
from firstbert.errors import FirstbertError
from firstbert.predictor import Predictions, Predictor
from firstbert.serve.watch import ModelMetrics
from firstbert.tokens import Tokens

_TOGETHER = 128  # texts that are put together at a time, at most
_MOST_WAIT = 0.5  # of the deadline: the machine may become twice as slow before what was taken is too late


class QueueFullError(FirstbertError):
    """More is waiting than can be answered in time.

    Attributes:
        retry_after_s: when there may be room again.
    """

    http_status = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"The queue is full. Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class TooLateError(FirstbertError):
    """The deadline passed before there was an answer."""

    http_status = 504


@dataclass(slots=True, eq=False)
class Answered:
    """What N texts are answered. Plain lists: of one text, quicker than arrays.

    Attributes:
        predictor: the model.
        scores, probabilities: C numbers for each text.
        truncated: whether each text was cut.
        unsure: whether each answer is not to be relied on.
    """

    predictor: Predictor
    scores: list[list[float]]
    probabilities: list[list[float]]
    truncated: list[bool]
    unsure: list[bool]

    @property
    def odd(self) -> bool:
        """Whether a text was cut or an answer is unsure."""
        return True in self.truncated or True in self.unsure

    @property
    def predictions(self) -> Predictions:
        """The answers as every other door has them."""
        predictor = self.predictor
        probabilities, truncated = np.array(self.probabilities), np.array(self.truncated, np.bool_)
        return Predictions(predictor.labels, probabilities, truncated, predictor.decision)


@dataclass(slots=True, eq=False)
class _Request:
    """One request's texts on their way: what they are answered, and how many aren't yet."""

    answered: Answered
    left: int
    done: asyncio.Future[Answered]


@dataclass(slots=True, eq=False)
class _Waiting:
    """One text that waits: its ids, whose it is and which of that request's, and since when."""

    ids: Sequence[int]
    request: _Request
    row: int
    since: float


@dataclass(slots=True, eq=False)
class _Encoded:
    """What a worker makes of a batch: for each of B texts what `Answered` has, and the seconds it took."""

    scores: list[list[float]]
    probabilities: list[list[float]]
    unsure: list[bool]
    seconds: float


class Queue:
    """The queue of one model.

    Args:
        predictor: the model.
        engine: its encoder, opened.
        deadline_s: how long a request may take.
        metrics: what is counted.
    """

    def __init__(self, predictor: Predictor, engine: Engine, deadline_s: float, metrics: ModelMetrics) -> None:
        self.predictor, self.engine, self.deadline_s, self.metrics = predictor, engine, deadline_s, metrics
        self.workers = ThreadPoolExecutor(engine.threads, thread_name_prefix="encode")
        self.waiting: deque[_Waiting] = deque()
        self.tokens = 0  # of these
        self.running = 0  # batches
        metrics.watch(lambda: len(self.waiting), lambda: self.tokens)
        self.seconds_per_token = 1e-4  # of one worker; measured before the first request, and with each batch

    async def answer(self, tokens: Tokens) -> Answered:
        """Return the answers for N texts.

        Raises:
            QueueFullError: too much is waiting already.
            TooLateError: the deadline passed.
        """
        self.refuse_if_full()
        loop = asyncio.get_running_loop()
        n = len(tokens.ids)
        answered = Answered(self.predictor, [[]] * n, [[]] * n, tokens.truncated, [False] * n)
        request = _Request(answered, n, loop.create_future())
        now = time.perf_counter()
        self.waiting.extend(_Waiting(ids, request, row, now) for row, ids in enumerate(tokens.ids))
        self.tokens += sum(map(len, tokens.ids))
        late = loop.call_later(self.deadline_s, self._give_up, request)
        self._start()
        try:
            return await request.done
        finally:
            late.cancel()

    @property
    def expected_wait_s(self) -> float:
        """How long a text would wait that came now."""
        return self.tokens * self.seconds_per_token / self.engine.threads

    def refuse_if_full(self) -> None:
        """Raise QueueFullError where a text that came now would wait for too long a part of its deadline.

        Its sender can still try others. Whatever its size, a request finds a place where nothing waits.
        """
        longest = _MOST_WAIT * self.deadline_s
        if self.tokens and self.expected_wait_s > longest:
            raise QueueFullError(max(1, math.ceil(self.expected_wait_s - longest)))

    def _give_up(self, request: _Request) -> None:
        if not request.done.done():
            message = f"No answer within {self.deadline_s:g} s; nothing more is done for this request."
            request.done.set_exception(TooLateError(message))

    # -- batches

    def _start(self) -> None:
        """Give each free worker a batch, and keep one more ready: whoever finishes goes on at once."""
        while self.running <= self.engine.threads and (found := self._next()):
            batch, texts = found
            alone = self.running == 0 and not self.waiting
            self.running += 1
            self.workers.submit(self._work, asyncio.get_running_loop(), batch, texts, alone)

    def _next(self) -> tuple[Batch, list[_Waiting]] | None:
        """Take the batch of the text that waits longest, as if all that wait longest were put together now."""
        texts = self._longest_waiting()
        if not texts:
            return None
        # More will come where there is plenty: no need to share the last of it.
        workers = 1 if self.tokens > self.engine.batch_tokens * self.engine.threads else self.engine.threads
        ids = [text.ids for text in texts]
        rows = next(rows for rows in plan(ids, self.engine.batch_tokens, workers) if 0 in rows)
        chosen = set(rows.tolist())
        self.waiting.extendleft(text for i, text in reversed(list(enumerate(texts))) if i not in chosen)
        batch = batch_of(ids, rows)
        self.tokens -= int(batch.lengths.sum())
        return batch, [texts[i] for i in rows]

    def _longest_waiting(self) -> list[_Waiting]:
        """Take texts off the queue, the oldest first; those that nobody waits for any more are dropped."""
        texts: list[_Waiting] = []
        while self.waiting and len(texts) < _TOGETHER:
            text = self.waiting.popleft()
            if text.request.done.done():
                self.tokens -= len(text.ids)
            else:
                texts.append(text)
        return texts

    def _work(self, loop: asyncio.AbstractEventLoop, batch: Batch, texts: list[_Waiting], alone: bool) -> None:
        """In a worker."""
        found: _Encoded | BaseException
        try:
            found = self._encode(batch, alone)
        except BaseException as error:
            found = error
        loop.call_soon_threadsafe(self._finish, texts, found)

    def _encode(self, batch: Batch, alone: bool) -> _Encoded:
        start = time.perf_counter()
        session = self.engine.session_alone if alone else self.engine.session
        vectors = np.stack(session(batch), axis=1)  # (B, K, D)
        scores = self.predictor.head.scores(vectors.reshape(len(vectors), -1))
        probabilities = self.predictor.calibration.probabilities(scores)
        unsure = self.predictor.decision.unsure(probabilities)
        return _Encoded(scores.tolist(), probabilities.tolist(), unsure.tolist(), time.perf_counter() - start)

    def _finish(self, texts: list[_Waiting], found: _Encoded | BaseException) -> None:
        self.running -= 1
        if isinstance(found, BaseException):
            for each in texts:
                if not each.request.done.done():
                    each.request.done.set_exception(found)
        else:
            self._note(texts, found.seconds)
            for row, text in enumerate(texts):
                self._place(text, found, row)
        self._start()

    @staticmethod
    def _place(text: _Waiting, found: _Encoded, row: int) -> None:
        request, answered, i = text.request, text.request.answered, text.row
        answered.scores[i], answered.probabilities[i] = found.scores[row], found.probabilities[row]
        answered.unsure[i] = found.unsure[row]
        request.left -= 1
        if not request.left and not request.done.done():
            request.done.set_result(answered)

    def _note(self, texts: list[_Waiting], seconds: float) -> None:
        tokens = sum(len(each.ids) for each in texts)
        self.seconds_per_token += 0.1 * (seconds / tokens - self.seconds_per_token)
        started = time.perf_counter() - seconds
        self.metrics.batch(tokens, seconds, [started - each.since for each in texts])

    async def close(self) -> None:
        """Wait till all is answered, then let the workers go."""
        while self.waiting or self.running:
            await asyncio.sleep(0.01)
        self.workers.shutdown()
