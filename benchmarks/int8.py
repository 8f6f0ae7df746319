"""int8: how fast, what it costs in accuracy, and the same task by doing less."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import texts
from benchmarks.bench import Bench
from benchmarks.kept import BenchError, Results, note
from benchmarks.systems import FloatArray
from benchmarks.turns import Entry, Slot, compare

LOADS = {"minilm": 1000, "distilbert": 600}
FRONT = (("ctranslate2", "int8"), ("openvino", "int8"))
FIELD = (("openvino", "bf16"), ("sentence-transformers onnx", "int8"), ("sentence-transformers", "bf16"))
SPLITS = ("train", "dev", "test")
SEEDS = 5
SHARE = 0.9  # of the training rows that a seed takes

LAYER_C = 0.02  # at which layers are compared; the one chosen then has its own C searched

Labels = Any


def run(bench: Bench, results: Results) -> None:
    for name, n in LOADS.items():
        results.part(f"rates, {name}", lambda name=name, n=n: rates(bench, name, n))
    results.part("accuracy, minilm", lambda: accuracy(bench, bench.encoder("minilm")))
    if bench.options.mpnet:
        results.part("accuracy, mpnet", lambda: accuracy(bench, bench.options.mpnet))
    results.part("less, minilm", lambda: less(bench, fastest_peer(results.parts["rates, minilm"]["systems"])))


def rates(bench: Bench, encoder: str, n: int) -> Any:
    """All peers on MiniLM, the two fastest on the larger shape; fp32 beside them, to see what int8 gains."""
    rows = texts.short(bench.rows("train"), bench.options.size(n))
    own = Entry("firstbert", bench.case(encoder, "int8"))
    full = Entry("firstbert", bench.case(encoder))
    peers = FRONT + (FIELD if encoder == "minilm" else ())
    entries = [own, full, *(Entry(system, bench.case(encoder, precision)) for system, precision in peers)]
    return compare(bench, entries, rows, sample=max(len(rows) // 8, 8), reference=own.label)


def fastest_peer(systems: dict[str, Any]) -> dict[str, Any]:
    """Return the fastest system at int8 that isn't ours; CPUs that know bf16 aren't the rule."""
    peers = [s for s in systems.values() if s["system"] != "firstbert" and s["precision"] == "int8" and "rate" in s]
    if not peers:
        raise BenchError("no peer has int8 here")
    fastest: dict[str, Any] = max(peers, key=lambda s: float(s["rate"]))
    return fastest


# ---------------------------------------------------------------- accuracy


def accuracy(bench: Bench, encoder: Path) -> dict[str, Any]:
    """Measure a head trained on vectors of either precision, on dev and test."""
    rows = split_rows(bench)
    found = {}
    for precision in ("fp32", "int8"):
        vectors = {split: vectors_of(bench, encoder, precision, rows[split]) for split in SPLITS}
        found[precision] = over_seeds(vectors, {split: labels(rows[split]) for split in SPLITS})
    mean = {precision: statistics.mean(facts["mean"].values()) for precision, facts in found.items()}
    return {"seeds": SEEDS, "precisions": found, "change": 100 * (mean["int8"] - mean["fp32"])}


def split_rows(bench: Bench) -> dict[str, list[texts.Row]]:
    rows = {split: bench.rows(split) for split in SPLITS}
    return {split: part[: 20 * bench.options.size(16)] for split, part in rows.items()} if bench.options.quick else rows


def labels(rows: Sequence[texts.Row]) -> Labels:
    return np.array([label for _, label in rows])


def vectors_of(
    bench: Bench, encoder: Path, precision: str, rows: Sequence[texts.Row], layers: Sequence[int | str] = ("last",)
) -> FloatArray:
    """(N, K, D): mean vectors of each of the K layers asked for."""
    from firstbert.engine import EngineOptions, open_engine
    from firstbert.graph import Read

    options = EngineOptions(str(encoder), pooling="mean", precision=precision, threads=bench.options.threads)
    last = open_engine(options).prepared.architecture.layers
    reads = tuple(Read(last if layer == "last" else int(layer), "mean") for layer in layers)
    return open_engine(options, reads).encode([text for text, _ in rows]).vectors


def over_seeds(vectors: dict[str, FloatArray], y: dict[str, Labels]) -> dict[str, Any]:
    """C is chosen once, on all training rows; each seed then trains on nine tenths of them, drawn anew."""
    from firstbert.head import HeadOptions, fit_head

    X = {split: array[:, 0] for split, array in vectors.items()}
    whole = fit_head(X["train"], y["train"], HeadOptions())
    scores: dict[str, list[float]] = {"dev": [], "test": []}
    for seed in range(SEEDS):
        rows = np.random.default_rng(seed).permutation(len(X["train"]))[: int(SHARE * len(X["train"]))]
        head = fit_head(X["train"][rows], y["train"][rows], HeadOptions(C=whole.C)).head
        for split, values in scores.items():
            values.append(right(head, X[split], y[split]))
    full = {split: right(whole.head, X[split], y[split]) for split in scores}
    means = {split: statistics.mean(values) for split, values in scores.items()}
    return {"C": whole.C, "scores": scores, "mean": means, "all_rows": full}


def right(head: Any, X: FloatArray, y: Labels) -> float:
    return float((head.scores(X).argmax(axis=1) == y).mean())


# ---------------------------------------------------------------- doing less


def less(bench: Bench, peer: dict[str, Any]) -> dict[str, Any]:
    """Classify SST-2's test rows: firstbert at int8 cut at a layer, the fastest int8 peer at its last one."""
    rows, folder = split_rows(bench), bench.encoder("minilm")
    y = {split: labels(rows[split]) for split in SPLITS}
    ours = choose_layer(bench, folder, rows, y)
    theirs_case = bench.case("minilm", "int8")
    theirs = peer_accuracy(bench, Entry(peer["system"], theirs_case), peer["setting"], rows, y)
    own = Entry("firstbert", replace(theirs_case, layer=ours["layer"]), f"firstbert int8, layer {ours['layer']}")
    entries = [own, Entry(peer["system"], theirs_case)]
    test = [text for text, _ in rows["test"]]
    measured = compare(bench, entries, test, sample=max(len(test) // 8, 8), reference=own.label)
    return {"firstbert": ours, "peer": {"system": peer["system"], **theirs}} | measured


def choose_layer(bench: Bench, encoder: Path, rows: dict[str, list[texts.Row]], y: dict[str, Labels]) -> dict[str, Any]:
    """Return the shallowest layer within one standard error of the best, by cross-validation on train alone."""
    from firstbert.engine import EngineOptions, open_engine
    from firstbert.head import HeadOptions, fit_head

    layers = range(1, open_engine(EngineOptions(str(encoder))).prepared.architecture.layers + 1)
    vectors = {split: vectors_of(bench, encoder, "int8", rows[split], list(layers)) for split in ("train", "test")}
    accuracies = [cross_validated(vectors["train"][:, k], y["train"]) for k in range(len(layers))]
    best = max(accuracies)
    error = (best * (1 - best) / len(y["train"])) ** 0.5
    k = next(i for i, value in enumerate(accuracies) if value >= best - error)
    fit = fit_head(vectors["train"][:, k], y["train"], HeadOptions())
    return {
        "layer": layers[k],
        "C": fit.C,
        "test": right(fit.head, vectors["test"][:, k], y["test"]),
        "cross_validation": accuracies,
        "standard_error": error,
    }


def cross_validated(X: FloatArray, y: Labels) -> float:
    """Return the mean accuracy over five folds, at one C for all layers."""
    from firstbert.crossval import spectrum
    from firstbert.head import HeadOptions, cross_validate

    options = HeadOptions(C=LAYER_C)
    tried = cross_validate(spectrum(X), options.targets(y), options)
    assert tried is not None
    return tried.curve[LAYER_C][0]


def peer_accuracy(
    bench: Bench, entry: Entry, setting: dict[str, Any], rows: dict[str, list[texts.Row]], y: dict[str, Labels]
) -> dict[str, Any]:
    """The same head on the peer's vectors."""
    from firstbert.head import HeadOptions, fit_head

    note(f"  {entry.label}: vectors")
    slot, X = Slot(bench, entry), {}
    try:
        worker = slot.use(setting)
        for split in ("train", "test"):
            file = bench.options.work / "passing" / f"peer-{split}.npy"
            worker.ask("encode", texts=bench.file([text for text, _ in rows[split]]), save=str(file))
            X[split] = np.load(file)
            file.unlink()
    finally:
        slot.close()
    fit = fit_head(X["train"], y["train"], HeadOptions())
    return {"cross_validation": fit.accuracy, "C": fit.C, "test": right(fit.head, X["test"], y["test"])}
