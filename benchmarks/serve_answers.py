"""What a server answered, judged: how many, how fast, and whether each answer is the right one.

After serve_load.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.serve_load import LOST, REFUSED, SILENT, UNSENT

WORDS = {LOST: "connection lost", REFUSED: "refused", UNSENT: "unsent", SILENT: "no answer"}
TOLERANCE = 1e-6  # of a score
Expected = Sequence[Any]  # for each request: [label, score] best first, a list of these for several texts, None: any


def summary(found: Mapping[str, Any], since: float, until: float) -> dict[str, Any]:
    """Return counts of all, what was sent a second, and between two moments the answers a second and their latencies.

    Args:
        found: as serve_load.py writes it.
        since: seconds from the beginning; what ended before is no part of the rate.
        until: what was sent after that isn't either.
    """
    status, start, seconds = (np.asarray(found[name], float) for name in ("status", "start", "seconds"))
    good = status == 200
    ended = start + seconds
    counted = good & (ended >= since) & (ended < until)
    timed = good & (start >= since) & (start < until)
    return {
        "statuses": counts(status),
        "requests": len(status),
        "sent_rate": float(((status != UNSENT) & (start < until)).sum()) / until,
        "rate": float(counted.sum()) / (until - since),
        "latency": {f"p{q}": _percentile(seconds[timed], q) for q in (50, 95, 99)} | {"n": int(timed.sum())},
        "load_cpu": found["cpu"],
        "wall": found["wall"],
        "opened": found["opened"],
    }


def counts(status: Any) -> dict[str, int]:
    """Return how many requests ended how: HTTP's status, or words where there was none."""
    numbers = Counter(int(one) for one in status)
    return {WORDS.get(one, str(one)): n for one, n in sorted(numbers.items(), reverse=True)}


def _percentile(seconds: Any, q: float) -> float | None:
    return float(np.percentile(seconds, q)) if len(seconds) else None


def judge(answers: Sequence[Any], expected: Expected, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Hold every answer against the one that is expected.

    Returns:
        checked: answers; wrong: those with another label, or a score further off than `tolerance`, or that can't be
        read; furthest: the largest difference of a score among those with the right labels.
    """
    checked = wrong = 0
    furthest = 0.0
    for index, body, n in answers:
        if expected[index] is None:
            continue
        checked += n
        difference = _difference(body, expected[index])
        if difference is None or difference > tolerance:
            wrong += n
        if difference is not None:
            furthest = max(furthest, difference)
    return {"checked": checked, "wrong": wrong, "furthest": furthest}


def _difference(body: str, expected: Any) -> float | None:
    """The largest difference of a score; None where labels differ, or their order, or the shape."""
    try:
        answer = json.loads(body)
        lists, wanted = (answer, expected) if _several(expected) else ([answer], [expected])
        pairs = [(one, other) for a, b in zip(lists, wanted, strict=True) for one, other in zip(a, b, strict=True)]
        if any(one["label"] != label for one, (label, _) in pairs):
            return None
        return float(max(abs(one["score"] - score) for one, (_, score) in pairs))
    except (ValueError, KeyError, TypeError):
        return None


def _several(expected: Any) -> bool:
    """Whether it is for a list of texts: its items are lists of [label, score]."""
    return bool(expected) and isinstance(expected[0][0], list | tuple)


def of_term(found: Mapping[str, Any], termed: float) -> dict[str, Any]:
    """Return what became of requests under way at SIGTERM, and of those sent after it."""
    status, start, seconds = (np.asarray(found[name], float) for name in ("status", "start", "seconds"))
    under_way = (start < termed) & (start + seconds >= termed)
    after = start >= termed
    return {
        "before": counts(status[start < termed]),
        "under_way": counts(status[under_way]),
        "after": counts(status[after]),
        "lost": int(np.isin(status[start < termed], (LOST, SILENT)).sum()),
        "reset_after": int(np.isin(status[after], (LOST, SILENT)).sum()),
        "last_answer": float((start + seconds)[status > 0].max(initial=0.0)) - termed,
    }
