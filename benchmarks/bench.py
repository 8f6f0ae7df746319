"""Systems against each other: processes with them inside, and the encoders and sentences that they are given."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from benchmarks import encoders, machine, texts
from benchmarks.kept import ROOT, BenchError, note
from benchmarks.peers import SYSTEMS
from benchmarks.systems import Case, Setting, environment


@dataclass(frozen=True)
class Options:
    """Of a run.

    Attributes:
        data: folder with SST-2's train.tsv, dev.tsv, test.tsv; None: they are fetched.
        results: folder for the JSON files.
        work: folder for encoders, converted models and passing files.
        pythons: environment → its interpreter.
        threads: that every system may use.
        rounds: how often everything is measured.
        quick: sizes at which nothing is worth measuring, to see that all works.
        force: measure anew what is there.
        mpnet: folder of MPNet, for its accuracy; None leaves it out.
    """

    data: Path | None
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
