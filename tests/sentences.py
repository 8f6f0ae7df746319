"""Sentences put together from parts: as many as a test of fitting asks for, on three topics, kind or unkind."""

from __future__ import annotations

import itertools

import numpy as np

_TOPICS = {
    "film": ("the film", "the leading actor", "the last scene", "the story", "the music", "the comedy"),
    "food": ("the soup", "our dinner", "the bread", "the waiter", "the dessert", "the fish"),
    "sport": ("the match", "the goalkeeper", "the second half", "our team", "the referee", "the race"),
}
_KIND = ("was a pure delight", "was simply wonderful", "made me happy", "deserves every praise", "was first class")
_UNKIND = ("was a sad disappointment", "was simply awful", "made me angry", "deserves no praise", "was third rate")
_ENDS = ("", " last night", " from beginning to end", ", I have to say", ", and my sister agrees")


def sentences(n: int, seed: int = 0) -> tuple[list[str], list[str], list[bool]]:
    """n different sentences with the topic of each, and whether it is kind."""
    every = [
        (f"{subject[0].upper()}{subject[1:]} {said}{end}.", topic, said in _KIND)
        for topic, subjects in _TOPICS.items()
        for subject, said, end in itertools.product(subjects, _KIND + _UNKIND, _ENDS)
    ]
    rows = [every[i] for i in np.random.default_rng(seed).permutation(len(every))[:n]]
    texts, topics, kind = zip(*rows, strict=True)
    return list(texts), list(topics), list(kind)
