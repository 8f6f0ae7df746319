"""Which layer is read, what that is worth on SST-2, and how much faster the encoder is that ends there."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import texts
from benchmarks.kept import Results
from firstbert import SentenceEncoder
from firstbert.cache import encode
from firstbert.engine import EngineOptions, open_engine
from firstbert.families import FloatArray
from firstbert.head import HeadOptions, fit_head
from firstbert.protocol import split, summarise
from firstbert.search import places_to_try, search
from firstbert.targets import ClassIndex

if TYPE_CHECKING:
    from benchmarks.trust import Trust

LAYERS = ("last", "auto", "best")
ROWS = 2000  # the tutorial's
SEEDS = 20
ROUNDS = 5


def run(trust: Trust, results: Results) -> None:
    for name, encoder in trust.encoders.items():
        results.part(f"layers, {name}", lambda encoder=encoder: whole(trust, encoder))
        results.part(f"layers, the tutorial's protocol, {name}", lambda encoder=encoder: protocol(trust, encoder))


# ---------------------------------------------------------------- all rows


def whole(trust: Trust, encoder: str) -> dict[str, Any]:
    """Train on all of SST-2's training rows by the command line; its test rows are read once, at the end."""
    train, test = trust.split("train"), trust.split("test")
    runs = {}
    for layer in LAYERS:
        model = trust.options.work / f"model-{layer}"
        facts, seconds = trust.command(
            "train", train, "--test", test, "-o", model, "--encoder", encoder, "--layer", layer, cold=True
        )
        measured = facts["test"]
        runs[layer] = {
            "accuracy": measured["accuracy"], "interval": measured["intervals"]["accuracy"], "n": measured["n"],
            "log_loss": measured["log_loss"], "ece": measured["ece"], "cv_accuracy": facts["cv_accuracy"],
            "layers": _as_list(facts["layer"]), "pooling": facts["pooling"], "C": facts["C"],
            "n_train": facts["n_train"], "seconds": seconds,
        }  # fmt: skip
    return {"runs": runs}


def _as_list(layer: int | list[int]) -> list[int]:
    return layer if isinstance(layer, list) else [layer]


# ---------------------------------------------------------------- the tutorial's protocol


def protocol(trust: Trust, encoder: str) -> dict[str, Any]:
    """The first 2,000 rows, 75 to 25, 20 random splits; the search sees the larger part alone."""
    rows = trust.rows("train")[: trust.size(ROWS, 200)]
    y = np.array([label for _, label in rows])
    start = time.perf_counter()
    opened = open_engine(EngineOptions(encoder, layer="last"))
    last, own = opened.prepared.architecture.layers, opened.reads[0].pooling
    reads = places_to_try(last, ("cls", "mean"))
    vectors = encode(open_engine(opened.options, reads), [text for text, _ in rows]).vectors
    encoded = time.perf_counter() - start
    names = [(read.layer, read.pooling) for read in reads]
    trials: dict[str, list[dict[str, Any]]] = {layer: [] for layer in LAYERS}
    for seed in trust.seeds(SEEDS):
        parts = split(len(y), seed)
        trials["last"].append(_trial(vectors, y, parts, [names.index((last, own))], seed) | {"layers": [last]})
        for layer in LAYERS[1:]:
            options = HeadOptions(seed=seed)
            found = search(vectors[parts.train], reads, y[parts.train], options, join=layer == "best")
            assert found is not None
            columns = [reads.index(read) for read in found.chosen.reads]
            told = {"layers": list(found.chosen.layers), "pooling": found.chosen.pooling}
            trials[layer].append(_trial(vectors, y, parts, columns, seed) | told)
    return {
        "n": len(y), "encoding_seconds": encoded, "seconds": time.perf_counter() - start, "trials": trials,
        "runs": {layer: _summary(layer, trials[layer]) for layer in LAYERS},
    }  # fmt: skip


def _trial(vectors: FloatArray, y: ClassIndex, parts: Any, columns: list[int], seed: int) -> dict[str, Any]:
    X = np.ascontiguousarray(vectors[:, columns]).reshape(len(y), -1)
    fit = fit_head(X[parts.train], y[parts.train], HeadOptions(seed=seed))
    answers = fit.head.scores(X[parts.test]).argmax(axis=1)
    return {"accuracy": float((answers == y[parts.test]).mean()), "C": fit.C}


def _summary(name: str, trials: list[dict[str, Any]]) -> dict[str, Any]:
    row = summarise(name, [trial["accuracy"] for trial in trials])
    chosen = ["+".join(map(str, trial["layers"])) for trial in trials]
    counts = {layers: chosen.count(layers) for layers in sorted(set(chosen), key=lambda x: (-chosen.count(x), x))}
    return {"accuracy": row.accuracy_mean, "sd": row.accuracy_sd, "seeds": row.seeds, "chosen": counts}


# ---------------------------------------------------------------- the cut


def run_cut(trust: Trust, results: Results) -> None:
    for name, encoder in trust.encoders.items():
        if known := results.parts.get(f"layers, {name}"):
            results.part(f"cut, {name}", lambda encoder=encoder, known=known: cut(trust, encoder, known["runs"]))


def cut(trust: Trust, encoder: str, runs: dict[str, Any]) -> dict[str, Any]:
    """Encode the same sentences by the whole encoder and by the one that ends at the layer chosen, in turns."""
    sentences = texts.short(trust.rows("train"), trust.size(ROWS, 64))
    layer, pooling = runs["auto"]["layers"][0], runs["auto"]["pooling"]
    systems = {
        "whole": SentenceEncoder(encoder, layer="last", threads=trust.options.threads),
        "cut": SentenceEncoder(encoder, layer=layer, pooling=pooling, threads=trust.options.threads),
    }
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for system in systems.values():
        system.transform(sentences[:64])
    for i in range(2 if trust.options.quick else ROUNDS):
        for name in list(systems)[:: 1 if i % 2 == 0 else -1]:
            start = time.perf_counter()
            systems[name].transform(sentences)  # an encoder's own call keeps no vectors
            rates[name].append(len(sentences) / (time.perf_counter() - start))
    ratios = [after / before for before, after in zip(rates["whole"], rates["cut"], strict=True)]
    return {
        "n": len(sentences), "layer": layer, "pooling": pooling, "rounds": rates,
        "rates": {name: statistics.median(values) for name, values in rates.items()},
        "faster": statistics.median(ratios),
        "accuracy": {"whole": runs["last"]["accuracy"], "cut": runs["auto"]["accuracy"]},
    }  # fmt: skip
