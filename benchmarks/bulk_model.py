"""How long a job takes, from what was measured of its parts: results/bulk.json → seconds, core-hours, money.

seconds = start + rows x tokens / (tokens/s of a core x cores x efficiency) + rows / (rows/s of the process that reads
and writes). On one machine that process works beside the encoder and the parts add up, at worst; on a cluster it has a
core of its own, and the slower of the two decides.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import Any

Parts = dict[str, Any]


@dataclass(frozen=True)
class Speeds:
    """Of an encoder and of the machine.

    Attributes:
        core: tokens a second that one of the cores encodes, all of them at work.
        driver: rows a second that one process reads and writes.
        start: seconds until the first row.
        efficiency: of many cores; 1: each does what each of those measured does.
    """

    core: float
    driver: float
    start: float
    efficiency: float = 1.0

    def encoding(self, rows: float, tokens: float, cores: int) -> float:
        """Return the seconds that encoding takes."""
        return rows * tokens / (self.core * cores * self.efficiency)

    def here(self, rows: float, tokens: float, cores: int) -> float:
        """Return the seconds of a job on one machine."""
        return self.start + self.encoding(rows, tokens, cores) + rows / self.driver

    def cluster(self, rows: float, tokens: float, cores: int) -> float:
        """Return the seconds of a job on a cluster."""
        return self.start + max(self.encoding(rows, tokens, cores), rows / self.driver)

    def limit(self, tokens: float) -> int:
        """Return from how many cores on more of them bring nothing."""
        return math.ceil(self.driver * tokens / (self.core * self.efficiency))


def core_rate(parts: Parts, configuration: str, tokens: float) -> float:
    """Return tokens/s of one core at so many tokens a text, between those measured by the logarithm of the length."""
    part = parts[f"encode, {configuration}"]
    known = sorted((run["tokens"] / run["rows"], run["tokens_per_s"]) for run in part["lengths"].values())
    found = _between(known, tokens)
    return found / float(parts["header"]["machine"]["threads"])


def _between(known: list[tuple[float, float]], x: float) -> float:
    if x <= known[0][0]:
        return known[0][1]
    for (low, at_low), (high, at_high) in itertools.pairwise(known):
        if x <= high:
            share = math.log(x / low) / math.log(high / low)
            return at_low + share * (at_high - at_low)
    return known[-1][1]


def rounds(parts: Parts, section: str) -> list[Parts]:
    """Return the runs of each round of a section."""
    return [part["runs"] for name, part in parts.items() if name.startswith(f"{section}, ")]


def start_here(parts: Parts) -> float:
    """Return the seconds of a command beside its rows, from runs other than those that are foretold."""
    return statistics.median(run["firstbert"]["wall"] - run["firstbert"]["seconds"] for run in rounds(parts, "peers"))


def driver_here(parts: Parts, kind: str = "csv") -> float:
    """Return rows/s of reading, writing and putting together."""
    part = parts[f"files, {kind}"]
    return float(part["rows"] / part["whole"])


def driver_of_ray(parts: Parts) -> float:
    """Return rows/s that pass through a Ray driver whose workers cost nothing."""
    free = parts["cluster, free"]
    return float(free["rows"] / (free["seconds"] - parts["cluster, start"]["seconds"]))


def of_ray(parts: Parts) -> float:
    """Return Ray's rows/s as a share of this process's, on the same cores."""
    return statistics.median(run["ray"]["rows_per_s"] / run["local"]["rows_per_s"] for run in rounds(parts, "rate"))


def local(parts: Parts, configuration: str, tokens: float) -> Speeds:
    """Return the speeds of one machine."""
    return Speeds(core_rate(parts, configuration, tokens), driver_here(parts), start_here(parts))


def on_ray(parts: Parts, configuration: str, tokens: float) -> Speeds:
    """Return the speeds of a cluster of cores like those measured."""
    start = parts["cluster, start"]["wall"]
    return Speeds(core_rate(parts, configuration, tokens), driver_of_ray(parts), start, min(1.0, of_ray(parts)))
