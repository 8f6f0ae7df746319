"""The measuring side: processes with systems in them, sweeps, rounds in which all take turns, results on disk."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks import encoders, machine, texts
from benchmarks.peers import SYSTEMS, Case, Setting, environment

ROOT = Path(__file__).parent.parent
REST = 0.2  # seconds between measurements: threads that still spin come to rest


class BenchError(Exception):
    """A system can't be had here, or failed; the message says why."""


@dataclass(frozen=True)
class Options:
    """Of a run.

    Attributes:
        data: folder with SST-2's train.tsv, dev.tsv, test.tsv.
        results: folder for the JSON files.
        work: folder for encoders, converted models and passing files.
        pythons: environment → its interpreter.
        threads: that every system may use.
        rounds: how often everything is measured.
        quick: sizes at which nothing is worth measuring, to see that all works.
        force: measure anew what is there.
        mpnet: folder of MPNet, for its accuracy; None leaves it out.
    """

    data: Path
    results: Path
    work: Path
    pythons: dict[str, Path]
    threads: int
    rounds: int = 5
    quick: bool = False
    force: bool = False
    mpnet: Path | None = None

    def size(self, n: int, least: int = 16) -> int:
        """Return how many texts to take where a full run takes `n`."""
        return max(n // 32, least) if self.quick else n


class Worker:
    """A process of `worker.py`.

    Raises:
        BenchError: there is no such environment, or a question was answered with an error.
    """

    def __init__(self, python: Path, variables: dict[str, str], log: Path) -> None:
        if not python.exists():
            raise BenchError(f"no {python}")
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("a")
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.worker"],
            cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip

    def ask(self, question: str, **details: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"ask": question, **details}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchError(f"its process ended (exit code {self._process.wait()}); see {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(answer["error"])
        return answer

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Results:
    """A section's JSON file: parts are written as they are done, and a run goes on where the last one ended."""

    path: Path
    parts: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, options: Options, section: str, header: dict[str, Any]) -> Results:
        """Take up what is there, unless it comes from another machine or is to be measured anew."""
        path = options.results / f"{section}.json"
        found = json.loads(path.read_text()) if path.exists() and not options.force else {}
        same = found and found["header"]["machine"]["family"] == header["machine"]["family"]
        return cls(path, found if same else {"header": header})

    def part(self, name: str, measure: Callable[[], Any]) -> None:
        """Measure a part, unless that has been done."""
        if name in self.parts:
            note(f"{self.path.stem} {name}: already there")
            return
        note(f"{self.path.stem} {name}")
        start, before = time.time(), machine.others()
        try:
            value = measure()
        except Exception:  # whatever it is, the other parts are worth having
            note(f"{self.path.stem} {name} failed:\n{traceback.format_exc()}")
            self.failed.append(f"{self.path.stem} {name}")
            return
        value["taken"] = {
            "at": time.strftime("%Y-%m-%d %H:%M", time.localtime(start)),
            "seconds": round(time.time() - start, 1),
            "others_before": before,
            "others_after": machine.others(),
        }
        self.parts[name] = value
        self.write()

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".new")
        unfinished.write_text(json.dumps(rounded(self.parts), indent=1) + "\n")
        unfinished.replace(self.path)


def rounded(value: Any) -> Any:
    """Six digits are enough of any measurement."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def note(message: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


class Bench:
    """What all sections need: encoders, sentences, processes."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._count = 0

    # -- what is encoded

    def rows(self, split: str) -> list[texts.Row]:
        return texts.sst2(self.options.data, split)

    def encoder(self, name: str) -> Path:
        """Return the folder of minilm, distilbert, bert or tiny; made on first use."""
        folder = self.options.work / "encoders" / name
        if name == "minilm":
            return encoders.minilm(folder)
        if (folder / "model.safetensors").exists():
            return folder
        tokenizer = self.encoder("minilm") / "tokenizer.json"
        if name == "tiny":
            return encoders.tiny(folder, tokenizer)
        note(f"making a random {name}")
        command = [self.options.pythons["peers"], "-W", "ignore", "-m", "benchmarks.encoders", name, folder, tokenizer]
        subprocess.run(command, cwd=ROOT, env=machine.variables(), check=True)
        return folder

    def case(self, encoder: str | Path, precision: str = "fp32", **options: Any) -> Case:
        folder = encoder if isinstance(encoder, Path) else self.encoder(encoder)
        calibration = tuple(texts.short(self.rows("train")[-3000:], 128))
        return Case(str(folder), str(self.options.work), precision, self.options.threads,
                    calibration=calibration, **options)  # fmt: skip

    def file(self, rows: Sequence[str]) -> str:
        """Write texts where a worker can read them."""
        self._count += 1
        path = self.options.work / "passing" / f"texts-{os.getpid()}-{self._count}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(rows)), encoding="utf-8")
        return str(path)

    # -- who encodes

    def worker(self, system: str, case: Case, setting: Setting) -> Worker:
        """Return a process with the system open in it.

        Raises:
            BenchError: it can't be had.
        """
        kind = SYSTEMS[system]
        if case.precision not in kind.precisions or case.pooling not in kind.poolings:
            raise BenchError(f"has no {case.precision} with {case.pooling} pooling")
        log = self.options.work / "logs" / f"{system.replace(' ', '-')}.log"
        worker = Worker(self.options.pythons[kind.environment], environment(case, setting), log)
        try:
            worker.ask("open", system=system, case=case.as_dict(), setting=setting)
        except BaseException:
            worker.close()
            raise
        return worker

    @cached_property
    def gemm(self) -> Worker:
        """The process that multiplies matrices, to see what the machine gives at this moment."""
        case = self.case("minilm")
        return Worker(self.options.pythons["peers"], environment(case, {}), self.options.work / "logs" / "sgemm.log")

    def sgemm(self) -> dict[str, float]:
        """Return product → GFLOP/s at this moment."""
        rates: dict[str, float] = self.gemm.ask("sgemm", repeats=1 if self.options.quick else 4)["gflops"]
        return rates

    def versions(self) -> dict[str, dict[str, str]]:
        """Return environment → library → version."""
        found = {}
        for name, python in self.options.pythons.items():
            if python.exists():
                with Worker(python, machine.variables(), self.options.work / "logs" / "versions.log") as worker:
                    found[name] = worker.ask("versions")["versions"]
        return found

    @cached_property
    def header(self) -> dict[str, Any]:
        """What every file begins with."""
        options = self.options
        return {
            "machine": machine.facts(options.threads),
            "versions": self.versions(),
            "quick": options.quick,
            "rounds": options.rounds,
        }

    def close(self) -> None:
        """End what is open."""
        if "gemm" in self.__dict__:
            self.gemm.close()


# ---------------------------------------------------------------- sweeps and rounds


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


def useful_gflop(config: dict[str, Any], lengths: Iterable[int]) -> float:
    """Return what an encoder must reckon for texts of these lengths, padding left out: products of matrices alone."""
    D = config.get("hidden_size") or config["dim"]
    L = config.get("num_hidden_layers") or config["n_layers"]
    F = config.get("intermediate_size") or config["hidden_dim"]
    return 1e-9 * sum(L * (2 * T * (4 * D * D + 2 * D * F) + 4 * T * T * D) for T in lengths)
