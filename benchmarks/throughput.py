"""Sentences a second at equal output: fp32, last layer, mean over tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.bench import Bench
from benchmarks.kept import Results
from benchmarks.peers import SYSTEMS
from benchmarks.systems import open_tokenizer
from benchmarks.turns import Entry, compare

FRONT = ("firstbert", "ctranslate2", "openvino")


@dataclass(frozen=True)
class Load:
    """What is measured together.

    Attributes:
        encoder: its name.
        n: texts; an eighth of them serves to find the settings.
        long: texts of about 250 tokens instead of sentences.
        systems: who takes part.
    """

    encoder: str
    n: int
    long: bool = False
    systems: tuple[str, ...] = FRONT


LOADS = {
    "minilm, all systems": Load("minilm", 600, systems=tuple(SYSTEMS)),
    "minilm": Load("minilm", 2000),
    "distilbert": Load("distilbert", 256, systems=(*FRONT, "sentence-transformers")),
    "bert": Load("bert", 256),
    "minilm, long texts": Load("minilm", 64, long=True),
    "distilbert, long texts": Load("distilbert", 24, long=True),
}


def run(bench: Bench, results: Results) -> None:
    for name, load in LOADS.items():
        results.part(name, lambda load=load: measure(bench, load))


def measure(bench: Bench, load: Load) -> dict[str, object]:
    case = bench.case(load.encoder)
    rust = open_tokenizer(case)
    n = bench.options.size(load.n)
    rows = bench.rows("train")
    if load.long:
        texts_ = texts.long(rows, n, lambda text: len(rust.encode(text, add_special_tokens=False).ids))
    else:
        texts_ = texts.short(rows, n)
    lengths = [len(encoding.ids) for encoding in rust.encode_batch(texts_)]
    work = useful_gflop(json.loads((Path(case.encoder) / "config.json").read_text()), lengths)
    entries = [Entry(system, case) for system in load.systems]
    found = compare(bench, entries, texts_, sample=max(len(texts_) // 8, 8))
    return {"encoder": load.encoder, "tokens": sum(lengths), "gflop": work} | found


def useful_gflop(config: dict[str, Any], lengths: Iterable[int]) -> float:
    """Return what an encoder must reckon for texts of these lengths, padding left out: products of matrices alone."""
    D = config.get("hidden_size") or config["dim"]
    L = config.get("num_hidden_layers") or config["n_layers"]
    F = config.get("intermediate_size") or config["hidden_dim"]
    return 1e-9 * sum(L * (2 * T * (4 * D * D + 2 * D * F) + 4 * T * T * D) for T in lengths)
