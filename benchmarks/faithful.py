"""Whether the tokens said to matter do: `python -m benchmarks.faithful MODEL TEXTS [--texts 200] [--method auto]`.

The fall of the winning probability when the three tokens with the largest shares are left out, against that of three
tokens at random. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from firstbert.artifact import load
from firstbert.data import read
from firstbert.explain import Explainer, Method

TOP, DRAWS, LEAST = 3, 5, 4  # tokens left out; random draws; tokens that a text must have


def falls(explainer: Explainer, text: str, method: Method, rng: np.random.Generator) -> tuple[float, float] | None:
    """Return how far the winning probability falls without its strongest tokens, and without others."""
    trace = explainer(text, method)
    ids = [piece.id for piece in trace.pieces]
    inner = np.array([t for t, piece in enumerate(trace.pieces) if not piece.special])
    if len(inner) < LEAST:
        return None
    strongest = inner[np.argsort(-trace.contributions.tokens[inner, trace.shown], kind="stable")[:TOP]]
    left_out = [strongest, *(rng.choice(inner, TOP, replace=False) for _ in range(DRAWS))]
    rest = [[id_ for t, id_ in enumerate(ids) if t not in set(out.tolist())] for out in left_out]
    vectors = explainer.engine.encode_ids(rest)
    scores = explainer.predictor.head.scores(vectors.reshape(len(rest), -1))
    won = explainer.predictor.calibration.probabilities(scores)[:, trace.shown]
    before = float(trace.predictions.probabilities[0, trace.shown])
    return before - float(won[0]), before - float(won[1:].mean())


def faithful(model: str, data: str, n: int, method: Method) -> dict[str, Any]:
    explainer, rng = Explainer.of(load(model)), np.random.default_rng(0)
    texts = read(data, labelled=False, training=False).texts[:n]
    found = [each for text in texts if (each := falls(explainer, text, method, rng))]
    top, random = np.mean(found, axis=0)
    return {"texts": len(found), "method": method, "top": top, "random": random, "ratio": top / random}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="faithful", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--method", choices=["auto", "exact", "occlusion"], default="auto")
    given = parser.parse_args()
    print(json.dumps(faithful(given.model, given.data, given.texts, given.method), indent=2))
