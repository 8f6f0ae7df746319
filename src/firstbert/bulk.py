"""Files of any size → shards of their rows → the same with their answers.

After tables.py on the way of a sentence. Files form groups (a large file alone, small ones together), a group's rows
shards of `ROWS`. What goes into a shard depends on the input alone, so that whoever answers it, this process or Ray's
workers (bulk_ray.py), and however often a job is stopped (job.py), the same bytes come out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from firstbert.engine import Told
from firstbert.predictor import Predictions, Predictor
from firstbert.streams import Aside, Block, blocks
from firstbert.survey import Source
from firstbert.torch_session import Device

Todo: TypeAlias = tuple[int, Sequence[Source], int]  # a group's number, its files, its first shard to be done

Answers: TypeAlias = Callable[[Sequence[Todo], Told], Iterator["Answered"]]  # an engine; Told hears of rows done

ROWS = 4096  # of a shard
_CHARACTERS = 1 << 25  # after which a shard ends, whatever its rows
_GROUP = 1 << 26  # bytes of input after which a group of files ends
CUT = {"rows": ROWS, "characters": _CHARACTERS, "bytes": _GROUP}  # all that decides where shards end


@dataclass(frozen=True)
class BulkOptions:
    """What to label, and how.

    Attributes:
        inputs: files, folders, patterns, addresses; ``"-"`` is stdin.
        output: a file to write: .tsv, .csv, .jsonl, .parquet, the first three also with .gz or .zst behind.
        text: the column of texts, by name or position; None: guessed where there is no doubt.
        on_bad_row: set bad rows aside and end in an error after all else is done, the same without the error, or
            stop at the first.
        per_class: whether to write every label's probability.
        cache: whether vectors are taken from and kept in the cache folder.
        restart: begin anew where a job was left unfinished.
        threads: batches encoded side by side; None: one per usable core.
        device: where torch runs the encoder, if it does.
        engine: encode in this process, or on Ray.
        address: of a Ray cluster; None: the one that the environment names, else one on this machine, for this job.
        workers: of Ray, each with a model of its own; None: as many as fit the cluster's cores.
    """

    inputs: tuple[str, ...]
    output: str
    text: str | int | None = None
    on_bad_row: Literal["aside", "skip", "fail"] = "aside"
    per_class: bool = False
    cache: bool = False
    restart: bool = False
    threads: int | None = None
    device: Device = "auto"
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Shard:
    """Rows that are answered, written and resumed together.

    Attributes:
        group: of files, from 0.
        number: which shard of that group, from 0.
        blocks: its rows.
        asides: rows set aside between them.
        last: whether it is the group's last.
    """

    group: int
    number: int
    blocks: tuple[Block, ...]
    asides: tuple[Aside, ...]
    last: bool

    @property
    def texts(self) -> list[str]:
        """Its texts, in order."""
        return [text for block in self.blocks for text in block.texts]


@dataclass(frozen=True)
class Answered:
    """A shard with its answers.

    Attributes:
        shard: its rows.
        predictions: one a row.
        tokens: encoded for it.
        nodes: of Ray's nodes, how many rows each has encoded.
    """

    shard: Shard
    predictions: Predictions
    tokens: int
    nodes: dict[str, int] = field(default_factory=dict)


# ---------------------------------------------------------------- shards


def grouped(sources: Sequence[Source]) -> list[list[Source]]:
    """Return the files in groups: consecutive ones, until they are some bytes together."""
    groups: list[list[Source]] = []
    size = _GROUP
    for source in sources:
        if size >= _GROUP:
            groups.append([])
            size = 0
        groups[-1].append(source)
        size += source.size
    return groups


def shards_of(group: int, sources: Sequence[Source], size: int | None = None) -> Iterator[Shard]:
    """Yield a group's shards of `size` rows; the last is shorter than the others, and may be empty."""
    size = size or ROWS
    number = rows = characters = 0
    gathered: list[Block] = []
    asides: list[Aside] = []
    for block in _all_blocks(sources):
        asides += block.bad
        start = 0
        while start < len(block.texts):
            part = block.part(start, min(len(block.texts), start + size - rows))
            gathered.append(part)
            start, rows = start + len(part.texts), rows + len(part.texts)
            characters += sum(map(len, part.texts))
            if rows == size or characters >= _CHARACTERS:
                yield Shard(group, number, tuple(gathered), tuple(asides), last=False)
                number, rows, characters, gathered, asides = number + 1, 0, 0, [], []
    yield Shard(group, number, tuple(gathered), tuple(asides), last=True)


def _all_blocks(sources: Sequence[Source]) -> Iterator[Block]:
    for source in sources:
        yield from blocks(source)


def answered_here(
    predictor: Predictor, shards: Iterable[Shard], *, cache: bool = False, told: Told | None = None
) -> Iterator[Answered]:
    """Yield shards with their answers; the next is read and tokenised while one is encoded.

    Args:
        predictor: the model.
        shards: in any number.
        cache: whether vectors are taken from and kept in the cache folder.
        told: hears of rows as they are done.
    """
    waiting: deque[Shard] = deque()

    def windows() -> Iterator[list[str]]:
        for shard in shards:
            waiting.append(shard)
            yield shard.texts

    for predictions, tokens in predictor.stream(windows(), cache=cache, told=told):
        yield Answered(waiting.popleft(), predictions, tokens)


def left(todo: Sequence[Todo]) -> Iterator[Shard]:
    """Yield the shards that are still to do."""
    for group, sources, first in todo:
        for shard in shards_of(group, sources):
            if shard.number >= first:
                yield shard
