"""Shards → shards with their answers, by workers on a Ray cluster.

After bulk.py on the way of a sentence; job.py asks for it where `engine="ray"`. A task on one of the nodes reads a
group of files and hands its rows on in parts of about `_TOKENS` tokens, never more than a few ahead; workers, each with
a model of its own and a bounded number of threads, answer them; the answers come back here in the order of the input
and are put together to the shards that the parts were cut from. A worker or reader that dies is replaced, and what it
had in hand done anew.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import socket
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from firstbert import __version__, bulk
from firstbert.bulk import Answered, Answers, BulkOptions, Shard, Todo, shards_of
from firstbert.engine import Told
from firstbert.errors import FirstbertError, UsageError, missing_extra
from firstbert.predictor import Predictions, Predictor
from firstbert.session import usable_cores
from firstbert.streams import Block
from firstbert.targets import DoubleArray

_TOKENS = 16_384  # of a part, about: small enough that no worker waits long for the last, large enough to sort
_LETTERS = 4.5  # a token has, about
_IN_HAND = 2  # parts a worker has: one to answer, one to begin with next
_TRIES = 4  # of a part whose worker dies
_STORE = 256 << 20  # bytes that a cluster of our own keeps for parts on their way

# Read when Ray is imported: nothing sent home, no word about workers that are replaced, GPUs left as they are.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class _Part:
    """Consecutive rows of a shard.

    Attributes:
        shard: which, without its rows.
        blocks: the rows.
        ends: whether it is the shard's last part.
    """

    shard: Shard
    blocks: tuple[Block, ...]
    ends: bool


@dataclass(frozen=True)
class _Answers:
    """Answers to the N rows of a part.

    Attributes:
        probabilities: (N, C).
        truncated: (N,).
        tokens: encoded for them.
        node: where.
    """

    probabilities: DoubleArray
    truncated: npt.NDArray[np.bool_]
    tokens: int
    node: str


@contextmanager
def on_ray(predictor: Predictor, options: BulkOptions) -> Iterator[Answers]:
    """Start workers on a cluster; give what takes groups of files and yields their shards with the answers, in order.

    Args:
        predictor: the model; its encoder is opened by each worker, from that node's cache or a folder all nodes see.
        options: `address`, `workers`, `threads`, `device`.

    Raises:
        UsageError: Ray isn't installed, or there is no such cluster.
        FirstbertError: what a reader or worker refused, or a part whose workers died time and again.
    """
    ray = _ray()
    predictor = predictor.with_threads(options.threads or 1)
    with _cluster(ray, options.address):
        workers = _workers(ray, predictor, options)
        try:
            yield lambda todo, told: _together(predictor, _flow(ray, workers, todo), told)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FirstbertError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise FirstbertError(
                f"Ray gave up, since a worker died {_TRIES} times over the same rows, or a node is gone: "
                f"{str(error).strip().splitlines()[0]} What is done is kept: run the same command again, or add "
                "--engine local."
            ) from error
        finally:
            for worker in workers:
                ray.kill(worker)


def _ray() -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise missing_extra("--engine ray", "ray") from None
    return ray


@contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """Join a cluster, or make one here for as long as it is needed; one that this process is in already stays."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _answering(address)
    ours = {"num_cpus": usable_cores(), "include_dashboard": False, "object_store_memory": _STORE}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
            ray.init(address=address, **quiet, **ours if address == "local" else {})
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"--address {address}: no Ray cluster answers there ({error}).") from None
    worker: Any = importlib.import_module("ray._private.worker")
    worker._worker_logs_enabled = False  # there is no other way to keep Ray's messages off stdout, which is for results
    try:
        yield
    finally:
        ray.shutdown()
        worker._worker_logs_enabled = True


def _answering(address: str) -> None:
    """Refuse an address where nothing listens: Ray would wait for minutes.

    Raises:
        UsageError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UsageError(f"--address {address}: no Ray cluster answers there ({error}).") from None


def _workers(ray: Any, predictor: Predictor, options: BulkOptions) -> list[Any]:
    """Start the workers; each fits on one node."""
    threads = predictor.encoder.threads or 1
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    room = sum(cores // threads for cores in nodes)
    n = options.workers or room
    if n > room or n < 1:
        raise UsageError(
            f"{n or 1} workers of {threads} threads don't fit this Ray cluster, whose nodes have "
            f"{', '.join(map(str, nodes))} cores: ask for fewer with --workers or --threads."
        )
    gpus = 1 if options.device == "cuda" else 0
    made = ray.remote(num_cpus=threads, num_gpus=gpus, max_restarts=-1, max_task_retries=_TRIES - 1)(_Worker)
    return [made.remote(predictor, __version__) for _ in range(n)]


def _flow(ray: Any, workers: Sequence[Any], todo: Sequence[Todo]) -> Iterator[tuple[_Part, _Answers]]:
    """Yield the parts with their answers, in order."""
    running: dict[Any, int] = {}  # an answer on its way → which worker's
    waiting: deque[tuple[Any, Any]] = deque()  # parts handed out, with their answers to be
    room = _IN_HAND * len(workers)
    for part in _parts_read(ray, todo, ahead=room):
        while len(running) >= room or len(waiting) >= 4 * room:
            if waiting[0][1] not in running:
                yield tuple(ray.get(list(waiting.popleft())))
            else:
                for answer in ray.wait(list(running), num_returns=1)[0]:
                    del running[answer]
        busy = Counter(running.values())
        worker = min(range(len(workers)), key=lambda i: busy[i])
        answer = workers[worker].answer.remote(part)
        running[answer] = worker
        waiting.append((part, answer))
    while waiting:
        yield tuple(ray.get(list(waiting.popleft())))


def _parts_read(ray: Any, todo: Sequence[Todo], ahead: int) -> Iterator[Any]:
    """Yield references to the parts of all groups; the next group is opened while one is read."""
    read = ray.remote(
        num_cpus=0, max_retries=_TRIES - 1, num_returns="streaming", _generator_backpressure_num_objects=ahead
    )(_read)
    groups = iter(todo)
    started = (read.remote(group, bulk.ROWS, __version__) for group in groups)
    readers = deque(itertools.islice(started, 2))
    while readers:
        yield from readers.popleft()
        readers += itertools.islice(started, 1)


# ---------------------------------------------------------------- on the nodes


def _same(version: str) -> None:
    """Refuse to work for another version: its shards, or its vectors, may be others.

    Raises:
        UsageError: it is another.
    """
    if version != __version__:
        raise UsageError(
            f"a node has firstbert {__version__}, the command is from {version}: install the same everywhere"
        )


def _read(todo: Todo, size: int, version: str) -> Iterator[_Part]:
    """Yield a group's rows, part by part, from a shard on."""
    _same(version)
    group, sources, first = todo
    for shard in shards_of(group, sources, size):
        if shard.number >= first:
            yield from _parts(shard)


def _parts(shard: Shard) -> Iterator[_Part]:
    """Cut a shard into parts of about so many tokens."""
    bare = replace(shard, blocks=())
    pieces: list[Block] = []
    tokens = 0.0
    for block in shard.blocks:
        start = 0
        for stop, text in enumerate(block.texts, 1):
            tokens += 3 + len(text) / _LETTERS
            if tokens >= _TOKENS:
                yield _Part(bare, (*pieces, block.part(start, stop)), ends=False)
                start, tokens, pieces = stop, 0.0, []
        if start < len(block.texts):
            pieces.append(block.part(start, len(block.texts)))
    yield _Part(bare, tuple(pieces), ends=True)


class _Worker:
    """A model, and the answers it gives; each has a process of its own."""

    def __init__(self, predictor: Predictor, version: str) -> None:
        self._predictor, self._version = predictor, version
        os.environ["RAYON_NUM_THREADS"] = str(predictor.encoder.threads)  # of the tokenizer

    def answer(self, part: _Part) -> _Answers:
        """Return the answers to a part."""
        import ray

        _same(self._version)
        texts = [text for block in part.blocks for text in block.texts]
        ((predictions, tokens),) = self._predictor.stream([texts])
        node = ray.get_runtime_context().get_node_id()
        return _Answers(predictions.probabilities, predictions.truncated, tokens, node)


# ---------------------------------------------------------------- back here


def _together(predictor: Predictor, flow: Iterator[tuple[_Part, _Answers]], told: Told) -> Iterator[Answered]:
    """Put the parts of each shard together again; they come in order."""
    blocks: list[Block] = []
    answers: list[_Answers] = []
    for part, answer in flow:
        blocks += part.blocks
        answers.append(answer)
        told(len(answer.truncated))
        if part.ends:
            yield _answered(predictor, replace(part.shard, blocks=tuple(blocks)), answers)
            blocks, answers = [], []


def _answered(predictor: Predictor, shard: Shard, answers: Sequence[_Answers]) -> Answered:
    probabilities = np.concatenate([one.probabilities for one in answers])
    truncated = np.concatenate([one.truncated for one in answers])
    nodes: Counter[str] = Counter()
    for one in answers:
        nodes[one.node] += len(one.truncated)
    predictions = Predictions(predictor.labels, probabilities, truncated, predictor.decision)
    return Answered(shard, predictions, sum(one.tokens for one in answers), dict(nodes))
