"""The graph against transformers: every family at its real shape, every layer, lengths 1 to 512.

Against golden vectors everywhere, and live where torch and transformers are installed. Each large model is
made once and serves all tests that ask for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import families
import make_golden
from families import ROWS, Row
from firstbert.batches import Batch, batch_of, batches
from firstbert.catalog import encoder_files
from firstbert.engine import Engine, EngineOptions
from firstbert.errors import SourceError
from firstbert.folders import EncoderFiles
from firstbert.graph import Read
from firstbert.prepared import Prepared, prepare
from firstbert.session import Session, usable_cores
from make_golden import SENTENCES

TOLERANCE = 2e-5
ALONE_TOLERANCE = 1e-5  # a text's vector alone against the same text's in any batch

Texts = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Model:
    """A family's checkpoint, written and prepared; its session gives every layer in all three ways."""

    row: Row
    files: EncoderFiles
    prepared: Prepared
    session: Session

    def run(self, batch: Batch) -> list[dict[str, np.ndarray]]:
        """For each row of the batch: tokens (L + 1, T, D), cls and mean (L + 1, D)."""
        outputs = self.session(batch)
        layers = self.row.layers + 1
        tokens, cls, mean = (np.stack(outputs[i * layers : (i + 1) * layers], axis=1) for i in range(3))
        return [
            {"tokens": tokens[i, :, :length], "cls": cls[i], "mean": mean[i]} for i, length in enumerate(batch.lengths)
        ]

    def run_together(self, texts: Texts) -> list[dict[str, np.ndarray]]:
        """The same, all texts padded into one batch, in their own order."""
        batch = batch_of(texts, np.arange(len(texts)))
        found = self.run(batch)
        return [found[i] for i in np.argsort(batch.rows)]


def open_model(row: Row, folder: Path) -> Model:
    """Write and prepare a row's checkpoint, everything under `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRSTBERT_CACHE", str(folder / "cache"))
        files = families.write(row, folder / row.name.replace(" ", "-"))
        prepared = prepare(files)
    reads = [Read(layer, way) for way in ("tokens", "cls", "mean") for layer in range(row.layers + 1)]
    return Model(row, files, prepared, Session(prepared.graph(reads), usable_cores()))


@pytest.fixture(scope="module", params=ROWS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """Each family at its real shape; half a gigabyte each, so gone before the next."""
    folder = tmp_path_factory.mktemp("encoder")
    yield open_model(ROWS[request.param], folder)
    shutil.rmtree(folder)


@pytest.fixture
def reference() -> Any:
    pytest.importorskip("torch", reason="live parity needs torch")
    pytest.importorskip("transformers", reason="live parity needs transformers")
    import reference

    return reference


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two arrays of one shape; NaN counts as infinite."""
    assert one.shape == other.shape
    return float(np.nan_to_num(np.abs(one - other), nan=np.inf).max())


# ---------------------------------------------------------------- (a) live

# Padded as they stand, so that every row but the longest has padding.
MIXED = ((512, 511, 1), (256, 255, 3, 7), (129, 128, 127, 64, 31, 16, 2))
# The reference pads them otherwise: what is compared must not come from the padding.
LIKE = ((512, 511), (256, 255), (129, 128, 127), (64, 31), (16, 7, 3, 2, 1))


def test_every_layer_equals_transformers(model: Model, reference: Any) -> None:
    row = model.row
    torch_model = reference.load(model.files.config.parent)
    expected: dict[int, np.ndarray] = {}
    for group in LIKE:
        states = reference.hidden_states(torch_model, [families.token_ids(row, n) for n in group])
        expected |= dict(zip(group, states, strict=True))

    worst = dict.fromkeys(("tokens", "cls", "mean"), 0.0)
    for group in MIXED:
        found = model.run_together([families.token_ids(row, n) for n in group])
        for length, ours in zip(group, found, strict=True):
            states = expected[length]
            theirs = {"tokens": states, "cls": states[:, 0], "mean": states.mean(axis=1)}
            for way, most in worst.items():
                worst[way] = max(most, difference(ours[way], theirs[way]))

    figures = ", ".join(f"{way} {most:.1e}" for way, most in worst.items())
    print(f"{row.name}: largest difference from transformers: {figures}")
    assert max(worst.values()) <= TOLERANCE, figures


@pytest.mark.parametrize("name", ["bert", "mpnet", "roberta"])  # the three ways of counting
def test_every_length_from_1_to_512(name: str, reference: Any, tmp_path: Path) -> None:
    """A small model, so that all lengths fit: where positions, distances and padding could be off by one."""
    model = open_model(families.small(name, num_attention_heads=2), tmp_path)
    texts = [families.token_ids(model.row, n) for n in range(1, 513)]
    torch_model = reference.load(model.files.config.parent)
    worst = 0.0
    for start in range(0, 512, 32):
        together = texts[start : start + 32]
        theirs = reference.hidden_states(torch_model, together)
        ours = model.run_together(together)
        worst = max(worst, *(difference(a["tokens"], b) for a, b in zip(ours, theirs, strict=True)))
    assert worst <= TOLERANCE


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_activations(name: str, activation: str, reference: Any, tmp_path: Path) -> None:
    key = "activation" if name == "distilbert" else "hidden_act"
    model = open_model(families.small(name, **{key: activation}), tmp_path)
    texts = [families.token_ids(model.row, n) for n in (40, 9, 1)]
    theirs = reference.hidden_states(reference.load(model.files.config.parent), texts)
    ours = model.run_together(texts)
    worst = max(difference(a["tokens"], b) for a, b in zip(ours, theirs, strict=True))
    assert worst <= TOLERANCE


# Entries that transformers reads in its own way, and what a checkpoint without them means.
ODD_CONFIGS = {
    "distilbert ignores layer_norm_eps": ("distilbert", {"layer_norm_eps": 0.1}),
    "mpnet's padding id is always 1": ("mpnet", {"pad_token_id": 0}),
    "roberta's padding id moves its positions": ("roberta", {"pad_token_id": 3}),
    "electra without layer_norm_eps": ("electra", {"layer_norm_eps": None}),
    "bert without hidden_act": ("bert", {"hidden_act": None}),
    "mpnet without relative_attention_num_buckets": ("mpnet", {"relative_attention_num_buckets": None}),
    "more token types": ("bert", {"type_vocab_size": 16}),
    "heads wider than usual": ("bert", {"num_attention_heads": 1}),
    "a large eps": ("roberta", {"layer_norm_eps": 0.01}),
}


@pytest.mark.parametrize("case", ODD_CONFIGS)
def test_odd_configs_mean_what_they_mean_to_transformers(case: str, reference: Any, tmp_path: Path) -> None:
    name, entries = ODD_CONFIGS[case]
    row = families.small(name, **{key: value for key, value in entries.items() if value is not None})
    for key, value in entries.items():
        if value is None:
            del row.config[key]
    model = open_model(row, tmp_path)
    texts = [families.token_ids(row, n) for n in (40, 40, 9, 1)]
    theirs = reference.hidden_states(reference.load(model.files.config.parent), texts)
    ours = model.run_together(texts)
    assert max(difference(a["tokens"], b) for a, b in zip(ours, theirs, strict=True)) <= TOLERANCE


# ---------------------------------------------------------------- (b) golden


def test_every_layer_equals_the_golden_vectors(model: Model) -> None:
    found = []
    for group in make_golden.TEXTS:
        found += model.run_together([families.token_ids(model.row, n) for n in group])
    ours = make_golden.golden(*([text[way] for text in found] for way in ("tokens", "cls", "mean")))
    theirs = make_golden.read(model.row.name)

    worst = {field: difference(value, vars(theirs)[field]) for field, value in vars(ours).items()}
    figures = ", ".join(f"{field} {most:.1e}" for field, most in worst.items())
    print(f"{model.row.name}: largest difference from the golden vectors: {figures}")
    assert max(worst.values()) <= TOLERANCE, figures


def test_golden_vectors_could_tell(model: Model) -> None:
    """No layer, text or direction of them is so small or so alike that a wrong one could pass."""
    kept = make_golden.read(model.row.name)
    assert kept.tokens.shape[0] == model.row.layers + 1
    for one, other in zip(kept.whole[:-1], kept.whole[1:], strict=True):
        assert difference(one, other) > 0.1
    assert np.ptp(kept.cls, axis=1).min() > 0.1
    assert np.ptp(kept.mean, axis=1).min() > 0.1


# ---------------------------------------------------------------- (d) a text's vector and its batch


def test_a_vector_does_not_depend_on_its_batch(model: Model) -> None:
    if model.row.name not in ("bert", "mpnet"):
        pytest.skip("bert and mpnet stand for the two kinds of attention")
    lengths = (5, 200, 5, 33, 90, 1)
    texts = [families.token_ids(model.row, n, f"{i}") for i, n in enumerate(lengths)]
    alone = [model.run_together([text])[0] for text in texts]
    worst = 0.0
    for budget in (90, 200, 10**9):  # the rule by which all texts are put together
        for batch in batches(texts, budget):
            for i, found in zip(batch.rows, model.run(batch), strict=True):
                worst = max(worst, *(difference(found[way], alone[i][way]) for way in found))
    print(f"{model.row.name}: largest difference alone and in a batch: {worst:.1e}")
    assert worst <= ALONE_TOLERANCE


def test_what_stands_in_the_padding_is_never_read(tmp_path: Path) -> None:
    for name in ("bert", "mpnet", "roberta"):
        model = open_model(families.small(name), tmp_path)
        ids = np.array([families.token_ids(model.row, 9), families.token_ids(model.row, 9, "other")], np.int32)
        lengths = np.array([9, 4], np.int32)
        first = model.run(Batch(ids, lengths, np.arange(2)))[1]
        ids[1, 4:] = 7
        second = model.run(Batch(ids, lengths, np.arange(2)))[1]
        assert all(np.array_equal(first[way], second[way]) for way in first), name


# ---------------------------------------------------------------- (c) real weights


@pytest.fixture(scope="module")
def minilm() -> EncoderFiles:
    try:
        return encoder_files("minilm")
    except SourceError as error:
        pytest.skip(f"minilm can't be had here: {error}")


def _all_reads(layers: int) -> tuple[Read, ...]:
    return tuple(Read(layer, way) for way in ("cls", "mean") for layer in range(layers + 1))


def _minilm_vectors(threads: int, batch_tokens: int, texts: Sequence[str]) -> np.ndarray:
    options = EngineOptions("minilm", threads=threads, batch_tokens=batch_tokens)
    return Engine(options, _all_reads(6)).encode(texts).vectors  # (N, 14, D)


def test_minilm_gives_the_golden_vectors(minilm: EncoderFiles) -> None:
    with np.load(make_golden.FOLDER / "minilm.npz", allow_pickle=False) as golden:
        assert difference(_minilm_vectors(1, 512, SENTENCES), golden["vectors"]) <= TOLERANCE


def test_minilm_equals_transformers(minilm: EncoderFiles, reference: Any) -> None:
    expected = make_golden.minilm_vectors(minilm, SENTENCES, "float32")
    assert difference(_minilm_vectors(1, 512, SENTENCES), expected) <= TOLERANCE


def test_minilm_vector_does_not_depend_on_its_batch(minilm: EncoderFiles) -> None:
    texts = [*SENTENCES, *(" ".join(["word"] * n) for n in (1, 2, 60, 61, 200, 250, 300))]
    alone = np.concatenate([_minilm_vectors(1, 1, [text]) for text in texts])
    for threads, budget in ((1, 1), (2, 64), (1, 512), (2, 10**6)):
        together = _minilm_vectors(threads, budget, texts[::-1])[::-1]
        assert difference(together, alone) <= ALONE_TOLERANCE
