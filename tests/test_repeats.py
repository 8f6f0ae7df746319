from __future__ import annotations

import pytest

from firstbert.data import DataOptions, from_lists
from firstbert.errors import DataError
from written import found


def test_repeats_are_kept_skipped_or_refused() -> None:
    texts = ["so good", "so bad", "so good", "so long", "so long", "so good"]
    labels = ["pos", "neg", "pos", "pos", "neg", "pos"]
    kept = from_lists(texts, labels)
    assert kept.texts == texts
    assert found(kept) == {"duplicate": (2, 5), "two_labels": (3, 4)}
    message = {f.kind: f.message for f in kept.findings}["two_labels"]
    assert "'so long' as 'pos' (item 3, counted from 0) and 'neg' (item 4, counted from 0)" in message
    skipped = from_lists(texts, labels, options=DataOptions(on_duplicate="skip"))
    assert (skipped.texts, skipped.lines) == (["so good", "so bad"], [0, 1])
    assert found(skipped) == found(kept)
    with pytest.raises(DataError, match=r"2 items repeating .*2 items sharing.*--on-duplicate skip"):
        from_lists(texts, labels, options=DataOptions(on_duplicate="fail"))
    with pytest.raises(DataError, match="nothing is left"):
        from_lists(["a", "a"], [1, 0], options=DataOptions(on_duplicate="skip"))
