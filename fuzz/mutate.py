"""An input → a like one with one thing changed in the JSON of one of its files, where there is JSON.

Bytes changed at random seldom leave JSON that can be read, and never a length that fits; so half of a fuzzer's tries
change what the JSON says.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from fuzz.place import MARK

_ODD = (
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 256, 65_536, 2**31, 2**32 + 2, 2**63, 2**64, 10**30, 0.0, -0.5, 0.5,
    1e-320, 1.0, 1e15, 1e308, "", "a", "\0", "\ud800", "é" * 40, "a" * 300, "../x", "/dev/zero", "[CLS]", "Sequence",
    "F64", "F8_E4M3", "nan", [], {}, [[]], [None], ["a", "a"], {"": {}}, [0] * 50, [0, 2**62], [4, 0], [0, 0],
)  # fmt: skip


def mutated(content: bytes, rng: random.Random) -> bytes | None:
    """Return an input with one thing in its JSON changed, or None where it holds none."""
    parts = content.split(MARK)
    order = list(range(len(parts)))
    rng.shuffle(order)
    for i in order:
        if (changed := _changed_part(parts[i], rng)) is not None:
            return MARK.join([*parts[:i], changed, *parts[i + 1 :]])
    return None


def _changed_part(part: bytes, rng: random.Random) -> bytes | None:
    length = int.from_bytes(part[:8], "little")
    if 2 <= length <= len(part) - 8:  # a safetensors file: the length of its header, the header, numbers
        header = _changed_part(part[8 : 8 + length], rng)
        return None if header is None else len(header).to_bytes(8, "little") + header + part[8 + length :]
    if not part.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(part)
        return json.dumps(_changed(value, rng)).encode()
    except (ValueError, RecursionError):
        return None


def _changed(value: Any, rng: random.Random) -> Any:
    """Change one place of a value: set it to something odd or to what stands elsewhere, drop it, double it, wrap it."""
    places = list(_places(value))
    if not places:
        return rng.choice(_ODD)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        inside, key = rng.choice(places)
        elsewhere, other = rng.choice(places)
        try:
            _change(inside, key, elsewhere[other], rng)
        except (LookupError, TypeError, ValueError, OverflowError):  # gone by a change before
            continue
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    stack = [value]
    while stack:
        inside = stack.pop()
        keys = inside if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        for key in keys:
            yield inside, key
            stack.append(inside[key])


def _change(inside: Any, key: Any, other: Any, rng: random.Random) -> None:
    how, now = rng.randrange(7), inside[key]
    if how == 0:
        del inside[key]
    elif how == 1:
        inside[key] = json.loads(json.dumps(other))
    elif how == 2:
        inside[key] = [now, json.loads(json.dumps(now))] if rng.random() < 0.5 else {str(other)[:20]: now}
    elif how == 3 and isinstance(now, int | float):
        inside[key] = rng.choice((now + 1, now - 1, -now, now * 2, now * 1000, float(now), str(now)))
    elif how == 4 and isinstance(now, str):
        at = rng.randint(0, len(now))
        inside[key] = (
            now[:at] + rng.choice(("", " ", "\0", '"', "é", "|", "\ud83d", "0", ".")) + now[at + rng.randint(0, 2) :]
        )
    elif how == 5 and isinstance(now, list):
        inside[key] = rng.choice((now * 2, now[::-1], now[1:], [*now, other]))
    else:
        inside[key] = rng.choice(_ODD)
