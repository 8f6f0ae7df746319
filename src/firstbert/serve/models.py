"""Model folders → models that answer, changed for new ones while requests come in.

After describe.py in serve/.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from firstbert.artifact import Artifact, GoldenCheck, check_golden, load
from firstbert.errors import FirstbertError
from firstbert.explain import Explainer, Method, Trace
from firstbert.predictor import label_text
from firstbert.prepared import Prepared
from firstbert.serve.mapped import bring_in
from firstbert.serve.options import ServeOptions
from firstbert.serve.queue import Answered, Queue, QueueFullError
from firstbert.serve.watch import Log, Metrics, ModelMetrics
from firstbert.tokens import Tokens

_CHARACTERS = 20_000  # of a request; more are tokenised beside the event loop
_EXPLAINED = 8  # requests for an explanation that may wait


class UnknownModelError(FirstbertError):
    """A model that isn't served."""

    http_status = 404


class NotReadyError(FirstbertError):
    """A service that can't answer yet, or that is about to end."""

    http_status = 503


class Served:
    """A model that answers.

    Args:
        name: as addresses have it.
        artifact: its folder's content.
        deadline_s: how long a request may take.
        metrics: what is counted.
    """

    def __init__(self, name: str, artifact: Artifact, deadline_s: float, metrics: ModelMetrics) -> None:
        self.name, self.artifact, self.deadline_s, self.metrics = name, artifact, deadline_s, metrics
        self.explainer = Explainer.of(artifact, name)
        self.queue = Queue(artifact.predictor, self.explainer.engine, deadline_s, metrics)
        self.golden: GoldenCheck | None = None
        self.users = 0
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._explained, self._inside = 0, False

    def check(self) -> GoldenCheck:
        """Compute the golden texts, bring all that answers into memory, and note what came of it."""
        golden = check_golden(self.artifact)
        texts = [text for text, _ in self.artifact.golden]
        start = time.perf_counter()
        self.artifact.predictor.predict(texts)
        tokens = sum(map(len, self.explainer.engine.tokenizer(texts).ids))
        self.queue.seconds_per_token = (time.perf_counter() - start) * self.explainer.engine.threads / tokens
        self._warm(texts)
        self.golden = golden  # from here on it is ready
        self.metrics.ready(golden.passed)
        return golden

    def _warm(self, texts: list[str]) -> None:
        """Take now the memory that the largest batches need, and that of the weights."""
        predict, engine = self.artifact.predictor.predict, self.explainer.engine
        long = f"{texts[0]} " * engine.options.max_length
        predict([f"{i} {long}" for i in range(engine.threads)])  # side by side
        for text in (*texts, long):  # alone, a text has all threads to itself: another session
            predict([text])
        self._bring_in()

    def _bring_in(self) -> None:
        if isinstance(prepared := self.explainer.engine.prepared, Prepared):
            bring_in(prepared.folder)

    @property
    def ready(self) -> bool:
        """Whether it answers here as it did where it was saved."""
        return self.golden is not None and self.golden.passed

    async def answer(self, texts: list[str]) -> Answered:
        """Return the answers; see `Queue.answer`."""
        self.users += 1
        try:
            start = time.perf_counter()
            tokens = await self._tokens(texts)
            self.metrics.stage("tokenize", time.perf_counter() - start)
            return await self.queue.answer(tokens)
        finally:
            self.users -= 1

    async def _tokens(self, texts: list[str]) -> Tokens:
        tokenizer = self.explainer.engine.tokenizer
        if sum(map(len, texts)) <= _CHARACTERS:
            return tokenizer(texts)
        return await asyncio.get_running_loop().run_in_executor(None, tokenizer, texts)

    async def explain(self, text: str, method: Method) -> Trace:
        """Return the text's trace; one is made at a time.

        Raises:
            QueueFullError: too many are waiting.
            TooLateError: the deadline passed.
        """
        if self._explained >= _EXPLAINED:
            raise QueueFullError(1)
        self._explained += 1
        done = asyncio.get_running_loop().run_in_executor(self._explaining, self._explain, text, method)
        done.add_done_callback(self._explained_one)
        self.users += 1
        try:
            return await asyncio.wait_for(asyncio.shield(done), self.deadline_s)
        finally:
            self.users -= 1

    def _explain(self, text: str, method: Method) -> Trace:
        """In a thread; the first one opens a session."""
        trace = self.explainer(text, method)
        if not self._inside:
            self._inside = True
            self._bring_in()
        return trace

    def _explained_one(self, done: asyncio.Future[Trace]) -> None:
        self._explained -= 1
        done.exception()  # where nobody waits any more, nobody is to be told

    async def close(self) -> None:
        """Wait for whoever uses it, then let its threads go."""
        while self.users:
            await asyncio.sleep(0.01)
        await self.queue.close()
        self._explaining.shutdown(wait=False)

    def facts(self) -> dict[str, Any]:
        """Return what can be said of it."""
        predictor, engine = self.artifact.predictor, self.explainer.engine
        return {
            "name": self.name,
            "labels": [label_text(label) for label in predictor.labels],
            "many_labels": predictor.decision.many,
            "encoder": predictor.encoder_title,
            "family": engine.prepared.architecture.family,
            "layer": engine.layer,
            "layers": engine.prepared.architecture.layers,
            "pooling": engine.pooling,
            "max_length": predictor.encoder.max_length,
            "precision": predictor.encoder.precision,
            "accept": predictor.decision.accept,
            "weights_sha256": predictor.weights_sha256,
            "neighbours": self.artifact.neighbours is not None,
            "ready": self.ready,
        }


class Models:
    """The models served, by name; the first is the one that answers where none is named."""

    def __init__(self, options: ServeOptions, metrics: Metrics, log: Log) -> None:
        self.options, self.metrics, self.log = options, metrics, log
        self.folders = dict(options.named)
        self.draining = False
        self.reloading = asyncio.Lock()
        self.served = {name: self._open(name) for name in self.folders}

    def _open(self, name: str) -> Served:
        artifact = load(self.folders[name])
        if self.options.threads:
            artifact = replace(artifact, predictor=artifact.predictor.with_threads(self.options.threads))
        return Served(name, artifact, self.options.deadline_s, self.metrics.of(name))

    @property
    def ready(self) -> bool:
        """Whether all models answer as they should, and the service isn't about to end."""
        return not self.draining and all(served.ready for served in self.served.values())

    def get(self, name: str | None) -> Served:
        """Return the model that answers now; asked at once, it stays open till it has, also if another takes its place.

        Raises:
            UnknownModelError: no model is called that.
            NotReadyError: it doesn't answer as it should.
        """
        served = self.served.get(name or next(iter(self.served)))
        if served is None:
            raise UnknownModelError(f"No model is called {name!r} here; there are {', '.join(self.served)}.")
        if not served.ready:
            raise NotReadyError(f"The model {served.name!r} isn't ready: {self.why(served)}.")
        return served

    @staticmethod
    def why(served: Served) -> str:
        """Say why a model may not answer."""
        if served.golden is None:
            return "its golden texts haven't been computed yet"
        return (
            f"its golden texts give other probabilities than where it was saved (by up to "
            f"{max(served.golden.differences):.2g}; allowed: {served.golden.tolerance:.0e})"
        )

    async def check(self) -> None:
        """Compute all golden texts, beside the event loop."""
        for served in self.served.values():
            await asyncio.to_thread(served.check)
            self._tell(served)

    def _tell(self, served: Served) -> None:
        if served.ready:
            self.log("ready", model=served.name, folder=str(self.folders[served.name]))
        else:
            self.log("not ready", "error", model=served.name, why=self.why(served))

    async def reload(self) -> None:
        """Open all folders anew; each model that can answer takes the place of the one before, the others stay."""
        async with self.reloading:
            for name in self.folders:
                try:
                    new = await asyncio.to_thread(self._open, name)
                    await asyncio.to_thread(new.check)
                except (FirstbertError, OSError, MemoryError) as error:
                    self.log("reload failed, the model before stays", "error", model=name, why=str(error))
                    continue
                if not new.ready:
                    self.log("reload failed, the model before stays", "error", model=name, why=self.why(new))
                    new.metrics.ready(self.served[name].ready)
                    await new.close()
                    continue
                old, self.served[name] = self.served[name], new
                self.log("reloaded", model=name)
                await old.close()

    async def close(self) -> None:
        """Wait till all is answered."""
        for served in self.served.values():
            await served.close()
