"""Who may ask, what is counted, what is written down.

After options.py in serve/. Neither texts nor keys get into a log line or a metric; texts and labels do with
`log_texts`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import IO, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TOKENS = (8, 16, 32, 64, 128, 192, 256, 384, 512, 1024, 4096, 16384)
_LOG_S = 0.1  # after which lines are written
_written = json.JSONEncoder(default=str).encode  # json.dumps would make one for each line
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


# ---------------------------------------------------------------- who may ask


class Keys:
    """The API keys, as hashes: comparing takes the same time whatever is sent."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = [_hash(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def allow(self, authorization: str | None) -> bool:
        """Say whether an Authorization header brings one of the keys; any does where there are none."""
        scheme, _, key = (authorization or "").partition(" ")
        sent = _hash(key.strip().encode("utf-8", "surrogateescape"))
        found = [hmac.compare_digest(sent, each) for each in self._hashes]  # all of them, always
        return not self._hashes or (scheme.lower() == "bearer" and any(found))


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class RequestIds:
    """Ids of requests: the one that a request brings, if it is one to write down, else a new one."""

    def __init__(self) -> None:
        self._start, self._count = uuid.uuid4().hex[:16], itertools.count()

    def __call__(self, sent: bytes | None) -> str:
        """Return a request's id."""
        if sent and _REQUEST_ID.fullmatch(sent):
            return sent.decode()
        return f"{self._start}-{next(self._count):x}"


# ---------------------------------------------------------------- what is written down


class Log:
    """Lines of JSON on stderr, some requests' lines at a time.

    Args:
        quiet: write only what goes wrong.
        texts: whether requests are noted with texts and labels.
        file: where to, instead of stderr.
    """

    def __init__(self, *, quiet: bool = False, texts: bool = False, file: IO[str] | None = None) -> None:
        self.quiet, self.texts, self.file = quiet, texts, file
        self._lines: list[str] = []

    def __call__(self, event: str, level: str = "info", **facts: Any) -> None:
        """Write what happened, with facts about it; those that are None are left out."""
        if self.quiet and level == "info":
            return
        line = {"time": _utc(time.time_ns() // 1_000_000), "level": level, "event": event}
        line |= {name: value for name, value in facts.items() if value is not None}
        self._lines.append(_written(line) + "\n")
        if event != "request":
            self.flush()
        elif len(self._lines) == 1:
            self._soon()

    def _soon(self) -> None:
        """A line by itself would cost a request a tenth of what all else does."""
        try:
            asyncio.get_running_loop().call_later(_LOG_S, self.flush)
        except RuntimeError:  # no event loop
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        file = self.file or sys.stderr
        lines, self._lines = self._lines, []
        file.write("".join(lines))
        file.flush()


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _utc(milliseconds: int) -> str:
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


# ---------------------------------------------------------------- what is counted


class Metrics:
    """What Prometheus collects; each service has its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter("firstbert_requests", "Requests answered.", ("route", "status"), registry=self.registry)
        self.seconds = Histogram(
            "firstbert_request_seconds", "From the request's first byte read to its answer.", ("route",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.stage = Histogram(
            "firstbert_stage_seconds", "Time of each stage: read, tokenize, queue (per text), encode (per batch).",
            ("model", "stage"), buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_tokens = Histogram(
            "firstbert_batch_tokens", "Tokens of a batch, padding left out.", ("model",), buckets=_TOKENS,
            registry=self.registry,
        )  # fmt: skip
        self.batch_texts = Histogram(
            "firstbert_batch_texts", "Texts of a batch.", ("model",), buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )  # fmt: skip
        self.queue_texts = Gauge("firstbert_queue_texts", "Texts waiting.", ("model",), registry=self.registry)
        self.queue_tokens = Gauge("firstbert_queue_tokens", "Tokens waiting.", ("model",), registry=self.registry)
        self.texts = Counter("firstbert_texts", "Texts answered.", ("model",), registry=self.registry)
        self.truncated = Counter("firstbert_truncated", "Texts that were cut.", ("model",), registry=self.registry)
        self.unsure = Counter("firstbert_unsure", "Answers that are unsure.", ("model",), registry=self.registry)
        self.ready = Gauge(
            "firstbert_ready", "1 if the model's golden texts give the saved answers.", ("model",),
            registry=self.registry,
        )  # fmt: skip

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        if (route, status) not in self._known:  # looking names up takes longer than counting
            self._known[route, status] = self.requests.labels(route, str(status)), self.seconds.labels(route)
        count, times = self._known[route, status]
        count.inc()
        times.observe(seconds)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)

    def of(self, model: str) -> ModelMetrics:
        """Return what is counted for one model."""
        return ModelMetrics(self, model)


class ModelMetrics:
    """What is counted for one model; its names are looked up once."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._stage = {s: metrics.stage.labels(model, s) for s in ("read", "tokenize", "queue", "encode")}
        self._tokens, self._texts = metrics.batch_tokens.labels(model), metrics.batch_texts.labels(model)
        self._queue_texts, self._queue_tokens = metrics.queue_texts.labels(model), metrics.queue_tokens.labels(model)
        self._answered, self._truncated = metrics.texts.labels(model), metrics.truncated.labels(model)
        self._unsure, self._ready = metrics.unsure.labels(model), metrics.ready.labels(model)

    def stage(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self._stage[stage].observe(seconds)

    def watch(self, texts: Callable[[], float], tokens: Callable[[], float]) -> None:
        """Have the queue's length looked up whenever somebody asks."""
        self._queue_texts.set_function(texts)
        self._queue_tokens.set_function(tokens)

    def batch(self, tokens: int, seconds: float, waited: Sequence[float]) -> None:
        """Note a batch: its tokens, how long it took, and how long each of its texts had waited."""
        self._tokens.observe(tokens)
        self._texts.observe(len(waited))
        self.stage("encode", seconds)
        for each in waited:
            self.stage("queue", each)

    def answered(self, truncated: Sequence[bool], unsure: Sequence[bool]) -> None:
        """Count what was answered: whether each text was cut, and whether its answer is unsure."""
        self._answered.inc(len(truncated))
        for counter, found in ((self._truncated, truncated), (self._unsure, unsure)):
            if any(found):
                counter.inc(sum(found))

    def ready(self, is_so: bool) -> None:
        """Note whether the model may answer."""
        self._ready.set(is_so)
