"""Fragments: runs of a text's own words, of every length and from everywhere, the same ones for the same seed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firstbert.fragments import fragments

WORDS = st.text(st.characters(categories=["L", "Nd", "P", "Zs", "Cc"]), max_size=40)


@given(st.lists(WORDS, max_size=8), st.integers(0, 5), st.integers(0, 9))
def test_they_are_runs_of_the_words_of_their_text(texts: list[str], each: int, seed: int) -> None:
    long = [text.split() for text in texts if len(text.split()) > 2]
    found = fragments(texts, each, seed)
    assert len(found) == each * len(long)
    for i, fragment in enumerate(found):
        own, words = long[i // each], fragment.split(" ")
        assert 2 <= len(words) < len(own)
        assert any(own[k : k + len(words)] == words for k in range(len(own)))


def test_every_run_comes_and_the_seed_decides() -> None:
    text = "a b  c\td e"
    everything = {"a b", "b c", "c d", "d e", "a b c", "b c d", "c d e", "a b c d", "b c d e"}
    assert set(fragments([text], 500, 0)) == everything
    assert fragments([text] * 5, 4, 1) == fragments([text] * 5, 4, 1) != fragments([text] * 5, 4, 2)
    assert fragments(["a b", "word", ""], 9, 0) == []
