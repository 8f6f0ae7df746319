"""Sentences of our own out of a random generator, as files that the command line reads."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

SHAPES = {
    "food": ["The {} soup was {}.", "We ate a {} cake that was {}.", "Their {} bread tasted {}."],
    "trains": ["The {} train arrived {}.", "Our {} carriage felt {} on the rails.", "The {} platform looked {}."],
    "garden": ["The {} roses grew {}.", "A {} hedge stood {} by the shed.", "My {} tomatoes ripened {}."],
    "music": ["The {} violin sounded {}.", "A {} choir sang {}.", "Her {} song ended {}."],
    "weather": ["A {} storm came {}.", "The {} snow fell {}.", "This {} morning was {} and foggy."],
}
TOPICS = list(SHAPES)
_HOW = ("old", "small", "blue", "quiet", "large", "warm", "new", "strange", "pretty", "famous", "red", "wild", "slow")
_END = ("late", "early", "softly", "badly", "slowly", "well", "gladly", "cold", "dry", "pleasant", "awful", "fine")


def sentence(topic: str, rng: random.Random) -> str:
    return rng.choice(SHAPES[topic]).format(rng.choice(_HOW), rng.choice(_END))


def topics(n: int, seed: int, names: Sequence[str] = TOPICS) -> list[tuple[str, str]]:
    """Different sentences, each with its topic."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        topic = names[len(found) % len(names)]
        found[sentence(topic, rng)] = topic
    return list(found.items())


def several(n: int, seed: int) -> list[tuple[str, str]]:
    """Texts of one to three topics, all of them named."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        named = rng.sample(TOPICS, 1 + len(found) % 3)
        found[" ".join(sentence(topic, rng) for topic in named)] = "|".join(sorted(named))
    return list(found.items())


def write(path: Path, rows: Iterable[Sequence[str]], head: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([head, *rows])
    return path
