from __future__ import annotations

import pytest

from firstbert.table import excerpt, undecoded


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("so good", "'so good'"),
        (["so", "good"], "['so', 'good']"),
        ("x" * 58, "'" + "x" * 58 + "'"),
        ("x" * 59, "'" + "x" * 56 + "..."),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16..."),
    ],
)
def test_an_excerpt_has_at_most_60_characters(value: object, shown: str) -> None:
    assert excerpt(value) == shown
    assert len(shown) <= 60


def test_bytes_that_are_not_utf8_are_shown_with_their_surroundings() -> None:
    assert undecoded("plain") is None
    assert undecoded("a café") is None
    line = ("a" * 99 + "café " + "b" * 99).encode("latin-1").decode("utf-8", "surrogateescape")
    assert undecoded(line) == repr(b"a" * 12 + b"caf\xe9 " + b"b" * 13)
