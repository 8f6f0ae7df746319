"""What is put into the cache comes back as it was, or not at all; what is encoded through it is what it would be."""

from __future__ import annotations

import tempfile
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from firstbert.cache import encode
from firstbert.engine import Engine, EngineOptions
from firstbert.store import VectorCache, store_in
from made_rows import ANY
from test_cache import write_encoder

NUMBERS = st.lists(st.integers(0, 30), max_size=12)
LENGTHS = st.sampled_from((5, 64, 1537))


def key(number: int) -> bytes:
    return blake2b(bytes([number]), digest_size=16).digest()


class Store(RuleBasedStateMachine):
    """A store and a dictionary that are told the same; the one may forget, but not invent."""

    folder: tempfile.TemporaryDirectory[str]
    store: VectorCache

    @initialize(cap=st.sampled_from((1_000_000, 50_000_000)))
    def begin(self, cap: int) -> None:
        self.cap, self.known = cap, dict[int, bytes]()
        self.folder = tempfile.TemporaryDirectory()
        self.store = VectorCache(Path(self.folder.name) / "vectors", cap)

    @rule(numbers=NUMBERS, content=st.binary(min_size=1, max_size=8), length=LENGTHS)
    def put(self, numbers: list[int], content: bytes, length: int) -> None:
        new = {number: (bytes([number]) + content * length)[:length] for number in numbers}
        self.store.put_many([(key(number), new[number]) for number in numbers])
        self.known = new | self.known  # a key stands for all that decides its value: what is there stays

    @rule(numbers=NUMBERS, length=LENGTHS)
    def get(self, numbers: list[int], length: int) -> None:
        found = self.store.get_many([key(number) for number in numbers], length)
        assert len(found) == len(numbers)
        for number, value in zip(numbers, found, strict=True):
            fits = len(self.known.get(number, b"")) == length
            assert value == self.known[number] if fits else value is None
            if not fits:  # what is of another length is no vector of this kind: it goes
                self.known.pop(number, None)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = VectorCache(self.store.folder, self.cap)

    @rule()
    def clear(self) -> None:
        assert self.store.clear(Path(self.folder.name) / "trash")
        self.known = {}

    @invariant()
    def counted(self) -> None:
        if hasattr(self, "store"):
            assert self.store.info()["entries"] == len(self.known)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


def test_a_store_gives_back_what_it_was_given() -> None:
    run_state_machine_as_test(Store, settings=settings(max_examples=40, stateful_step_count=20))  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(EngineOptions(str(write_encoder(tmp_path_factory.mktemp("small"))), max_length=12))


@settings(max_examples=15)
@given(parts=st.lists(st.lists(ANY | st.sampled_from(["", "w1 w2", "w3 " * 20]), max_size=12), min_size=1, max_size=3))
def test_encoding_through_the_cache_changes_nothing(engine: Engine, parts: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTBERT_CACHE", folder)
        patch.delenv("FIRSTBERT_VECTOR_CACHE")
        seen: set[str] = set()
        for texts in parts:
            expected, found = engine.encode(texts), encode(engine, texts)
            assert np.array_equal(found.vectors, expected.vectors)
            assert np.array_equal(found.truncated, expected.truncated)
            assert (found.tokens == 0) == (set(texts) <= seen)
            seen |= set(texts)
        store_in(Path(folder) / "vectors", 2_000_000_000).close()
