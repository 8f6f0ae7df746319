"""Sweeps and rounds: each system at its best setting, then all of them on the same texts, taking turns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import texts
from benchmarks.bench import Bench, Worker
from benchmarks.kept import BenchError, note
from benchmarks.peers import SYSTEMS
from benchmarks.systems import Case, Setting

REST = 0.2  # seconds between measurements: threads that still spin come to rest


@dataclass(frozen=True)
class Entry:
    """A system to measure: its case, and the name it has in the tables."""

    system: str
    case: Case
    name: str = ""

    @property
    def label(self) -> str:
        return self.name or (self.system if self.case.precision == "fp32" else f"{self.system} {self.case.precision}")


class Slot:
    """An entry's process, opened anew only for settings that a running one can't take."""

    def __init__(self, bench: Bench, entry: Entry) -> None:
        self.bench, self.entry = bench, entry
        self.setting: Setting = {}
        self.tried: list[dict[str, Any]] = []
        self.worker: Worker | None = None

    def use(self, setting: Setting) -> Worker:
        """Return a process with this setting.

        Raises:
            BenchError: it can't be had.
        """
        if self.worker and _fixed(self.setting) == _fixed(setting):
            self.worker.ask("set", setting=setting)
        else:
            self.close()
            self.worker = self.bench.worker(self.entry.system, self.entry.case, setting)
        self.setting = setting
        return self.worker

    def sweep(self, sample: str) -> Worker:
        """Return a process with the setting by which a sample is encoded fastest.

        Raises:
            BenchError: no setting works.
        """
        kind, case = SYSTEMS[self.entry.system], self.entry.case
        most = 1 if self.bench.options.quick else None
        self._try(kind.first(case)[:most], sample)
        self._try(kind.then(case, self.best)[:most], sample)
        return self.use(self.best)

    def _try(self, settings: list[Setting], sample: str) -> None:
        for setting in settings:
            trial: dict[str, Any] = {"setting": setting}
            self.tried.append(trial)
            try:
                worker = self.use(setting)
                worker.ask("encode", texts=sample)  # warms up
                trial["seconds"] = min(_encode(worker, sample) for _ in range(2))
            except BenchError as error:
                trial["error"] = str(error)
                self.close()

    @property
    def best(self) -> Setting:
        working = [trial for trial in self.tried if "seconds" in trial]
        if not working:
            raise BenchError(self.tried[0]["error"])
        setting: Setting = min(working, key=lambda trial: trial["seconds"])["setting"]
        return setting

    def close(self) -> None:
        if self.worker:
            self.worker.close()
        self.worker = None


def _fixed(setting: Setting) -> Setting:
    """What is decided when a system is opened."""
    return {key: value for key, value in setting.items() if key not in ("batch_size", "batch_tokens")}


def _encode(worker: Worker, path: str) -> float:
    time.sleep(REST)
    seconds: float = worker.ask("encode", texts=path)["seconds"]
    return seconds


def compare(bench: Bench, entries: Iterable[Entry], rows: list[str], sample: int, reference: str = "firstbert") -> Any:
    """Measure all entries on the same texts, taking turns; every entry at its best setting.

    Args:
        bench: see there.
        entries: what to measure; the one labelled `reference` is what ratios are formed with.
        rows: the texts.
        sample: on how many of them settings are tried.
        reference: a label.
    """
    bench_file, sample_file = bench.file(rows), bench.file(texts.sample(rows, sample))
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for entry in entries:
            note(f"  {entry.label}")
            slot = Slot(bench, entry)
            stack.callback(slot.close)
            found[entry.label] = {"system": entry.system, "precision": entry.case.precision}
            try:
                workers[entry.label] = slot.sweep(sample_file)
                found[entry.label] |= {"setting": slot.setting, "tried": slot.tried}
            except BenchError as error:
                found[entry.label]["error"] = str(error)
                note(f"    not to be had: {error}")
        if reference not in workers:
            raise BenchError(f"{reference}: {found[reference]['error']}")
        differences = _warm_up(bench, workers, bench_file, reference)
        rounds, products = _rounds(bench, workers, bench_file)
        for label, worker in workers.items():
            seconds = [turn[label] for turn in rounds]
            ratios = [turn[label] / turn[reference] for turn in rounds]  # how many times firstbert is faster
            rate = len(rows) / statistics.median(seconds)
            found[label] |= {
                "seconds": seconds,
                "rate": rate,
                "firstbert_faster": statistics.median(ratios),
                "ratios": ratios,
                "without_tokenising": _without_tokenising(worker, sample_file, rate),
                "max_difference": differences[label],
            }
    return {"n": len(rows), "systems": found, "sgemm": products}


def _warm_up(bench: Bench, workers: dict[str, Worker], path: str, reference: str) -> dict[str, float]:
    """Encode once, and return by how much the vectors differ from firstbert's in fp32 or whatever it is measured in."""
    folder = bench.options.work / "passing"
    vectors = {}
    for i, (label, worker) in enumerate(workers.items()):
        file = folder / f"vectors-{os.getpid()}-{i}.npy"
        worker.ask("encode", texts=path, save=str(file))
        vectors[label] = np.load(file)
        file.unlink()
    return {label: float(np.abs(array - vectors[reference]).max()) for label, array in vectors.items()}


def _rounds(bench: Bench, workers: dict[str, Worker], path: str) -> tuple[list[dict[str, float]], list[Any]]:
    """Every system once a round, each round beginning with another one; products before, between and after."""
    labels = list(workers)
    rounds, products = [], [bench.sgemm()]
    for i in range(bench.options.rounds):
        order = labels[i % len(labels) :] + labels[: i % len(labels)]
        rounds.append({label: _encode(workers[label], path) for label in order})
        products.append(bench.sgemm())
    return rounds, products


def _without_tokenising(worker: Worker, sample: str, rate: float) -> float | None:
    """Return the rate but for tokenising, from a sample that is encoded with and without it in turns."""
    try:
        if worker.ask("encode_tokens", texts=sample)["seconds"] is None:
            return None
        shares = [worker.ask("encode_tokens", texts=sample)["seconds"] / _encode(worker, sample) for _ in range(5)]
    except BenchError as error:
        note(f"  not without tokenising: {error}")
        return None
    return rate / statistics.median(shares)
