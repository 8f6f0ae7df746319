"""Whatever the texts: the ids that the library "tokenizers" gives, a flag where one was cut, padding on the right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer

from firstbert.batches import PADDING, batches
from firstbert.catalog import encoder_files
from firstbert.errors import DataError
from firstbert.tokens import Tokenizer, refuse
from made_rows import ANY

VOCABULARY = 30_522
WORDS = st.sampled_from(["good", "unbelievable", "x" * 120, "日本", "e\u0301", "\u00ad", "[SEP]", "😀", "\n", "don't"])
TEXT = ANY | st.lists(WORDS, max_size=40).map(" ".join)
LONG = st.tuples(st.lists(WORDS | ANY, min_size=1, max_size=5).map(" ".join), st.integers(1, 900)).map(
    lambda t: t[0] * t[1]
)
LENGTHS = st.integers(2, 40)


@pytest.fixture(scope="module")
def path() -> Path:
    return encoder_files("minilm").tokenizer


@pytest.fixture(scope="module")
def plain(path: Path) -> RustTokenizer:
    """The library's own, without the padding and the cut that the file asks for."""
    found = RustTokenizer.from_file(str(path))
    found.no_padding()
    found.no_truncation()
    return found


@pytest.fixture(scope="module")
def ours(path: Path) -> dict[int, Tokenizer]:
    return {n: Tokenizer(path, n, VOCABULARY) for n in range(2, 41)}


@given(st.lists(TEXT, max_size=8), LENGTHS)
def test_ids_and_flags_are_the_librarys(
    plain: RustTokenizer, ours: dict[int, Tokenizer], texts: list[str], length: int
) -> None:
    tokens = ours[length](texts)
    whole = [plain.encode(text).ids for text in texts]
    assert tokens.truncated == [len(ids) > length for ids in whole]
    assert tokens.ids == [ids if len(ids) <= length else [*ids[: length - 1], ids[-1]] for ids in whole]


@settings(max_examples=50)
@given(LONG, st.integers(2, 12))
@example("x" * 70_000, 8)
@example(" " * 5000 + "end", 2)
def test_a_long_text_gives_what_it_gives_as_a_whole(
    plain: RustTokenizer, ours: dict[int, Tokenizer], text: str, length: int
) -> None:
    tokens, whole = ours[length]([text]), plain.encode(text).ids
    assert tokens.truncated == [len(whole) > length]
    assert tokens.ids[0] == (whole if len(whole) <= length else [*whole[: length - 1], whole[-1]])


@given(st.lists(TEXT, min_size=1, max_size=8), LENGTHS)
def test_a_texts_ids_do_not_depend_on_its_company(ours: dict[int, Tokenizer], texts: list[str], length: int) -> None:
    together = ours[length](texts)
    assert together.ids == [ours[length]([text]).ids[0] for text in texts]


@given(TEXT, LENGTHS)
def test_pieces_are_the_ids_and_stand_where_they_say(ours: dict[int, Tokenizer], text: str, length: int) -> None:
    pieces = ours[length].pieces(text)
    assert [piece.id for piece in pieces] == ours[length]([text]).ids[0]
    inner = [piece for piece in pieces if not piece.special]
    assert all(0 <= piece.start <= piece.end <= len(text) for piece in inner)
    assert [piece.start for piece in inner] == sorted(piece.start for piece in inner)
    assert [piece.word for piece in inner] == sorted(piece.word or 0 for piece in inner)


@given(st.lists(TEXT, min_size=1, max_size=8), LENGTHS)
def test_padding_is_on_the_right_and_nothing_else(ours: dict[int, Tokenizer], texts: list[str], length: int) -> None:
    ids = ours[length](texts).ids
    alone = ours[length].standalone(PADDING).encode_batch(texts)
    longest = max(map(len, ids))
    assert [one.ids for one in alone] == [row + [PADDING] * (longest - len(row)) for row in ids]
    for batch in batches(ids, 10**6):
        for row, n, padded in zip(batch.rows.tolist(), batch.lengths.tolist(), batch.ids.tolist(), strict=True):
            assert padded == ids[row] + [PADDING] * (len(padded) - n)


@given(st.lists(st.text() | st.none() | st.integers() | st.just("\ud800"), max_size=6), st.integers(0, 9))
def test_the_first_item_that_is_no_text_is_named(items: list[object], start: int) -> None:
    wrong = [i for i, item in enumerate(items, start) if not isinstance(item, str) or "\ud800" in item]
    if not wrong:
        refuse(items, start)
        return
    with pytest.raises(DataError, match=rf"Text {wrong[0]} \(counted from 0\)"):
        refuse(items, start)
