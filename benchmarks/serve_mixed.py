"""All kinds of requests, in an order that chance made once: short texts, long ones, lists, bad ones, explanations."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.serve_answers import counts
from benchmarks.serve_load import Request
from benchmarks.serve_servers import Serving

REQUESTS = 4000
KINDS = {"text": 60, "list": 25, "bad": 10, "explain": 5}  # in a hundred
LISTED = 32  # texts of a list, at most
JOINED = (1, 1, 1, 1, 2, 4, 8, 16)  # sentences of a text
BAD = (
    "", "{", "[]", "null", '{"inputs": ""}', '{"inputs": []}', '{"inputs": 7}', '{"input": "a text"}',
    '{"inputs": ["a text", null]}', '{"inputs": "a text", "parameters": {"top_k": 0}}', '{"inputs": "\\ud800"}',
)  # fmt: skip


def mixed(serving: Serving) -> tuple[list[Request], list[Any], list[str]]:
    """Return requests, the right answers (None for a request that isn't judged), and of which kind each is."""
    chance = random.Random(0)
    sentences, n = serving.sentences(), serving.size(REQUESTS, 200)
    kinds = chance.choices(list(KINDS), list(KINDS.values()), k=n)
    bodies: list[Any] = []
    for kind in kinds:
        several = chance.randint(1, LISTED) if kind == "list" else 1
        asked = [" ".join(chance.sample(sentences, chance.choice(JOINED))) for _ in range(several)]
        bodies.append(chance.choice(BAD) if kind == "bad" else asked)
    every = list(
        dict.fromkeys(text for kind, body in zip(kinds, bodies, strict=True) if kind != "bad" for text in body)
    )
    right = dict(zip(every, serving.answers("last", every)["answers"], strict=True))
    requests, expected = [], []
    for kind, body in zip(kinds, bodies, strict=True):
        requests.append(_request(kind, body))
        answers = None if kind in ("bad", "explain") else [right[text] for text in body]
        expected.append(answers[0] if answers and kind == "text" else answers)
    return requests, expected, kinds


def _request(kind: str, body: Any) -> Request:
    if kind == "bad":
        return Request("/predict", body, kept=False)
    inputs = json.dumps({"inputs": body if kind == "list" else body[0]})
    return Request("/explain" if kind == "explain" else "/predict", inputs, kept=kind != "explain")


def of_kinds(found: Mapping[str, Any], kinds: Sequence[str]) -> dict[str, Any]:
    """Return, for each kind, how its requests ended, and how many not as they should: 200, or 400 to 422 where bad."""
    ended: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for index, status in zip(found["index"], found["status"], strict=True):
        ended[kinds[index]].append(status)
    wrong = Counter(
        {
            kind: sum(not 400 <= one <= 422 if kind == "bad" else one != 200 for one in all_)
            for kind, all_ in ended.items()
        }
    )
    return {kind: {"statuses": counts(all_), "wrong": wrong[kind]} for kind, all_ in ended.items()}
