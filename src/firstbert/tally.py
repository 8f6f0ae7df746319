"""Shards that are done, one by one → what came of the whole: counts, rates, and what to say of rows set aside.

After resume.py on the way of a sentence; for job.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from firstbert.bulk import Answered, Answers, Todo
from firstbert.errors import counted
from firstbert.predictor import answer_text
from firstbert.progress import progress
from firstbert.resume import Piece
from firstbert.rows import KINDS, refusal
from firstbert.streams import Aside
from firstbert.table import BadRow


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        output: the file written.
        rows: rows answered.
        bad: rows set aside, by kind.
        bad_file: where they are, with place and reason; None: there are none.
        unread: files that could not be read at all.
        truncated: texts that lost their ends.
        unsure: answers not to be relied on.
        labels: how often each label was answered.
        resumed: of the rows, those done before by an earlier run of this job.
        seconds: from the first row to the last, of this run, the model and Ray's workers being up.
        tokens: encoded in that time.
        nodes: of Ray's nodes, how many rows each has encoded.
    """

    output: str
    rows: int
    bad: dict[str, int]
    bad_file: str | None
    unread: int
    truncated: int
    unsure: int
    labels: dict[str, int]
    resumed: int
    seconds: float
    tokens: int
    nodes: dict[str, int] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return all of it, and the rates, JSON-ready."""
        seconds = max(self.seconds, 1e-9)
        rates = {
            "rows_per_s": round((self.rows - self.resumed) / seconds, 1),
            "tokens_per_s": round(self.tokens / seconds, 1),
        }
        return asdict(self) | {"seconds": round(self.seconds, 3)} | rates


class Tally:
    """What came of it so far, and how fast.

    Args:
        rows: about how many there are; 0: nobody knows.
        unread: how many files are left out.
        done: pieces that an earlier run has done.
        bad: the kinds of rows set aside in these.
    """

    def __init__(self, rows: int, unread: int, done: Sequence[Piece] = (), bad: Iterable[str] = ()) -> None:
        self.expected, self.unread, self.pieces, self.bad = rows, unread, list(done), Counter(bad)
        self.resumed = sum(piece.rows for piece in done)
        self.rows = self.tokens = 0
        self.nodes: Counter[str] = Counter()
        self.seconds = 0.0

    def watched(self, answers: Answers, todo: Sequence[Todo]) -> Iterator[Answered]:
        """Yield an engine's answers, showing the progress."""
        started = time.monotonic()
        with progress("Labelling", self.expected or None, "rows") as advance:
            shown = 0

            def told(n: int) -> None:
                nonlocal shown
                shown += n
                seconds = time.monotonic() - started
                rates = f"{shown / seconds:,.0f} rows/s"
                advance(n, rates + (f", {self.tokens / self.seconds:,.0f} tokens/s" if self.seconds else ""))

            advance(self.resumed)
            for answered in answers(todo, told):
                yield answered
                self.rows += len(answered.predictions.truncated)
                self.tokens += answered.tokens
                self.nodes.update(answered.nodes)
                self.seconds = time.monotonic() - started

    def add(self, piece: Piece, bad: Counter[str]) -> None:
        """Count a piece."""
        self.pieces.append(piece)
        self.bad.update(bad)

    def outcome(self, output: str, side: str | None) -> Outcome:
        """Return all of it."""
        labels: Counter[str] = Counter()
        for piece in self.pieces:
            labels.update(piece.labels)
        return Outcome(
            output=output,
            rows=sum(piece.rows for piece in self.pieces),
            bad=dict(self.bad),
            bad_file=side if self.bad or self.unread else None,
            unread=self.unread,
            truncated=sum(piece.truncated for piece in self.pieces),
            unsure=sum(piece.unsure for piece in self.pieces),
            labels=dict(labels),
            resumed=self.resumed,
            seconds=self.seconds,
            tokens=self.tokens,
            nodes=dict(self.nodes),
        )


def piece_of(answered: Answered) -> Piece:
    """Return what the journal says of a shard."""
    shard, predictions = answered.shard, answered.predictions
    return Piece(
        group=shard.group,
        number=shard.number,
        last=shard.last,
        rows=len(predictions.truncated),
        bad=len(shard.asides),
        truncated=int(predictions.truncated.sum()),
        unsure=int(predictions.unsure.sum()),
        labels=dict(Counter(map(answer_text, predictions.best()))),
    )


def refused(asides: Sequence[Aside]) -> str:
    """Count rows set aside, of the first file that has any, and say what to do."""
    first = asides[0]
    rows = [BadRow(one.line or 0, one.kind, one.shown) for one in asides if one.source == first.source]
    return refusal(first.source, first.place, rows)


def told_asides(outcome: Outcome) -> str:
    """Say how many rows were set aside, of which kinds, and where they are."""
    parts = [f"{n:,} {KINDS[kind]}" for kind, n in sorted(outcome.bad.items(), key=lambda one: -one[1])]
    parts += [f"{counted(outcome.unread, 'file')} not read at all"] if outcome.unread else []
    n = sum(outcome.bad.values())
    return f"{counted(n, 'row was', 'rows were')} set aside ({', '.join(parts)}): see {outcome.bad_file}"
