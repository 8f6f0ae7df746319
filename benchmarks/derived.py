"""What pages say of several measured values together: medians over rounds, ratios formed within them, shares.

Each function takes a file's parts and returns values by name; pages.py shows them as `file > derived > name`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks import bulk_model, report, tuned_report
from benchmarks.marks import Parts
from benchmarks.tables import named

Values = dict[str, Any]


def throughput(parts: Parts) -> Values:
    """Per load: arithmetic against the machine's own, and the fastest peer with its best round."""
    found: Values = {}
    for name, part in parts.items():
        if name == "header":
            continue
        peer, facts = report.fastest(part, "fp32") or ("", {})
        own = part["systems"]["firstbert"]
        found[name] = {
            "tokens": part["tokens"] / part["n"],
            "mflop": 1000 * part["gflop"] / part["n"],
            "gflops": own["rate"] / part["n"] * part["gflop"],
            "sgemm": report.best_sgemm(part),
            "share": report.share(part, "firstbert"),
            "tokenising": 1 - own["rate"] / own["without_tokenising"],
            "peer": peer,
            "peer_share": report.share(part, peer),
            "times": facts["firstbert_faster"],
            "least": min(facts["ratios"]),
        }
    return found


def int8(parts: Parts) -> Values:
    """Per encoder: the fastest int8 peer, its best round, and how much int8 gains over fp32."""
    found: Values = {}
    for name, part in parts.items():
        if name.startswith("rates, "):
            peer, facts = report.fastest(part, "int8") or ("", {})
            found[name.removeprefix("rates, ")] = {
                "peer": peer, "times": facts["firstbert_faster"], "least": min(facts["ratios"]),
                "over_fp32": part["systems"]["firstbert"]["firstbert_faster"],
            }  # fmt: skip
    return found


def bulk(parts: Parts) -> Values:
    """Files against the encoder alone, Ray and peers."""
    peers, rates = bulk_model.rounds(parts, "peers"), bulk_model.rounds(parts, "rate")
    loops = [name for name in peers[0] if name.startswith("sentence-transformers")]

    def times(runs: list[Parts], one: str, other: str) -> float:
        return statistics.median(run[one]["rows_per_s"] / run[other]["rows_per_s"] for run in runs)

    cores = parts["header"]["machine"]["threads"]
    one_core = parts["encode, minilm, fp32, last"]["one_core"]["tokens_per_s"]
    lengths = parts["encode, minilm, fp32, last"]["lengths"]
    first = next(iter(lengths))
    return {
        "of_encoder": times(rates, "local", "encoder"),
        "ray_of_local": bulk_model.of_ray(parts),
        "setfit": times(peers, "firstbert", "SetFit"),
        "loop": min(times(peers, "firstbert", name) for name in loops),
        "peak": statistics.median(run["firstbert"]["peak"] for run in peers),
        "setfit_peak": statistics.median(run["SetFit"]["peak"] for run in peers),
        "driver": bulk_model.driver_of_ray(parts),
        "file": bulk_model.driver_here(parts),
        "second_core": lengths["24"]["tokens_per_s"] / one_core / cores,
        "tokenising": one_core / parts["tokenise, 1"]["lengths"]["24"]["tokens_per_s"],
        "cores_minilm": bulk_model.on_ray(parts, "minilm, fp32, last", 24).limit(24),
        "long_tokens": lengths["250"]["tokens_per_s"] / lengths["24"]["tokens_per_s"],
        "shortest": lengths[first]["rows_per_s"],
    }


def serve(parts: Parts) -> Values:
    """The service against the same model inside a process."""
    runs = [part["runs"] for name, part in named(parts, "throughput") if "runs" in part]
    latency = [part for _, part in named(parts, "latency")]

    def of(one: str, other: str) -> float:
        return statistics.median(run[one]["rate"] / run[other]["rate"] for run in runs)

    def median(key: str, side: str) -> float:
        return statistics.median(part[side][key] for part in latency)

    cores = parts["header"]["machine"]["cores"]
    served = [run["firstbert"] for run in runs]
    return {
        "rounds": len(runs),
        "of_inside": of("firstbert", "in-process"),
        "auto_of_inside": of("firstbert, layer auto", "in-process, layer auto"),
        "cores_used": statistics.median(run["server_cpu"] / run["wall"] / cores for run in served),
        "load": statistics.median(run["load_cpu"] / run["wall"] / cores for run in served),
        "alone": median("p50", "in-process"),
        "request": median("p50", "served"),
        "above": statistics.median(part["served"]["p50"] - part["in-process"]["p50"] for part in latency),
        "flood_share": parts["overload, flood"]["flood"]["rate"] / parts["overload, flood"]["before"]["rate"],
    }


def finetune(parts: Parts) -> Values:
    """Accuracy of fine-tuned encoders over seeds, and few labels against SetFit."""
    found: Values = {}
    for section in ("full", "distilled"):
        for encoder, runs in tuned_report.grouped(parts, section).items():
            found[f"{section}, {encoder}"] = {
                "accuracy": statistics.mean(run["accuracy"] for run in runs.values()),
                "minutes": statistics.mean(run["seconds"] for run in runs.values()) / 60,
                "seeds": len(runs),
            }
    for (encoder, size), systems in tuned_report.few([parts]).items():
        pairs = tuned_report.paired(systems, "accuracy")
        if len(pairs) < 2:
            continue
        mean, low, high = tuned_report.interval([one - other for one, other in pairs])
        found[f"few, {encoder}, {size}"] = {
            "rows": size, "seeds": len(pairs), "gain": 100 * mean, "low": 100 * low, "high": 100 * high,
            **{name: statistics.mean(run["accuracy"] for run in runs.values()) for name, runs in systems.items()},
        }  # fmt: skip
    return found


def why(parts: Parts) -> Values:
    """The sizes of batches that were tried, in order, with the time they take as a multiple of ours."""
    if "budget" not in parts:
        return {}
    times = {int(size): value for size, value in parts["budget"]["times"].items() if size.isdigit()}
    return {"sizes": sorted(times), "times": [times[size] for size in sorted(times)]}


DERIVED: dict[str, Callable[[Parts], Values]] = {
    "throughput": throughput, "int8": int8, "bulk": bulk, "serve": serve, "finetune": finetune,
    "finetune-epyc": finetune, "why": why,
}  # fmt: skip
