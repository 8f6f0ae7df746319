"""Texts → runs of their words, for a teacher to tell what they say.

After overlap.py on the way of a sentence. A few thousand sentences show a small encoder few words in few surroundings;
a teacher that can answer anything makes lessons of their parts too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["fragments"]

_FEWEST = 2  # words


def fragments(texts: Sequence[str], each: int, seed: int) -> list[str]:
    """Return `each` runs of words of every text that has three or more: of any length, from anywhere in it.

    The words are what white space parts: of a script without it, there are none.

    Args:
        texts: N of them.
        each: how many of a text; the same one may come twice.
        seed: the same one gives the same fragments.
    """
    random = np.random.default_rng([seed, each])
    found: list[str] = []
    for text in texts:
        words = text.split()
        if len(words) <= _FEWEST:
            continue
        for length in random.integers(_FEWEST, len(words), each).tolist():
            first = int(random.integers(len(words) - length + 1))
            found.append(" ".join(words[first : first + length]))
    return found
