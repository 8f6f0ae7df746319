"""The servers that are measured, and what they are asked: firstbert, others at several settings, files of requests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import commands, encoders, texts
from benchmarks.commands import Commands
from benchmarks.kept import ROOT, BenchError
from benchmarks.serve_load import Request
from benchmarks.serve_process import Server, free_port

QUICK = 30.0  # a quick run takes so much less time
_LIT = {"threads": None, "batch": 64, "wait": 0.005, "workers": 1, "fast_queue": False}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "FastAPI, sentence-transformers, scikit-learn": {
        "def, torch's threads as they come": {"system": "fastapi", "endpoint": "def", "threads": None},
        "def, one thread": {"system": "fastapi", "endpoint": "def", "threads": 1},
        "async def, torch's threads as they come": {"system": "fastapi", "endpoint": "async def", "threads": None},
    },
    "LitServe": {
        f"batches of {one['batch']}, {1000 * one['wait']:g} ms, {more}": {"system": "litserve"} | one
        for more, one in (
            ("one worker", _LIT),
            ("one worker", _LIT | {"batch": 32}),
            ("one worker", _LIT | {"wait": 0.02}),
            ("one worker, fast queue", _LIT | {"fast_queue": True}),
            ("two workers of one thread", _LIT | {"workers": 2, "threads": 1}),
            ("two workers of one thread", _LIT | {"workers": 2, "threads": 1, "batch": 32}),
        )
    },
    "infinity, embeddings alone": {
        "batches of 64": {"batch": 64},
        "batches of 32": {"batch": 32},
    },
}


@dataclass(frozen=True, kw_only=True)
class Options(commands.Options):
    """Of a run.

    Attributes:
        peers: the interpreter of an environment with FastAPI, LitServe, sentence-transformers and scikit-learn.
        infinity: that of one with infinity-emb, which needs older libraries.
    """

    peers: Path
    infinity: Path


@dataclass(frozen=True)
class Contender:
    """A server and its requests.

    Attributes:
        command: port → what is typed.
        ready: answered with 200 as soon as it is: a path, or a request.
        requests: file of them.
        expected: the right answer to each; None: they aren't judged.
        ours: whether it is firstbert.
    """

    command: Callable[[int], list[object]]
    ready: str | Request
    requests: Path
    expected: Sequence[Any] | None
    ours: bool = False

    def asked(self, requests: Path, expected: Sequence[Any]) -> Contender:
        """Return the same server for other requests."""
        return replace(self, requests=requests, expected=expected)


class Serving(Commands):
    """What all sections need: models, files of requests, servers, load."""

    options: Options

    def seconds(self, whole: float) -> float:
        """Return how long to measure."""
        return max(whole / QUICK, 2.0) if self.options.quick else whole

    # -- the model and what it answers

    @property
    def folder(self) -> Path:
        """MiniLM, the mean of the last layer as it is."""
        return encoders.minilm(self.options.work / "encoders" / "minilm")

    def model(self, layer: str) -> Path:
        """Return a model trained on SST-2's training rows, on first use; layer: last or auto."""
        path = self.options.work / f"model-{layer}"
        if not path.exists():
            rows = self.file("train.tsv", self.rows("train"))
            self.command("train", rows, "-o", path, "--encoder", self.folder, "--layer", layer, "--test-size", 0)
        return path

    @cache  # noqa: B019 - there is one for each run
    def known(self, layer: str) -> dict[str, Any]:
        """Return the right answers to SST-2's test sentences, and the regression's weights."""
        return self.answers(layer, self.sentences())

    def answers(self, layer: str, asked: Sequence[str]) -> dict[str, Any]:
        """Return the right answers to texts."""
        return self.step("model", layer=layer, texts=asked)

    def sentences(self) -> list[str]:
        """Return SST-2's test sentences, each once."""
        return texts.short(self.rows("test"), 10**6)

    def step(self, task: str, layer: str, first: int = 0, **job: Any) -> dict[str, Any]:
        """Run a task of serve_inside.py in a process of its own; its texts are the test sentences from `first` on."""
        rows = self.sentences()
        first %= len(rows)
        job = {"model": self.model(layer), "texts": rows[first:] + rows[:first], "threads": self.options.threads} | job
        return self._run("serve_inside", job, task)

    # -- servers

    def ours(self, layer: str) -> Contender:
        """Return firstbert's own."""
        model = self.model(layer)
        requests = self.file_of("texts", [Request("/predict", json.dumps({"inputs": one})) for one in self.sentences()])
        return Contender(
            lambda port: [self.options.python, "-m", "firstbert", "serve", model, "--port", port, "--quiet"],
            "/ready", requests, self.known(layer)["answers"], ours=True,
        )  # fmt: skip

    def peer(self, system: str, setting: str) -> Contender:
        """Return another one at a setting.

        Raises:
            BenchError: there is no such environment.
        """
        asked = SETTINGS[system][setting]
        if system.startswith("infinity"):
            return self._infinity(asked)
        if not self.options.peers.exists():
            raise BenchError(f"no {self.options.peers}")
        known = self.known("last")
        job = asked | {"encoder": str(self.folder)} | {name: known[name] for name in ("labels", "weight", "bias")}
        question = self.options.work / "server.json"

        def command(port: int) -> list[object]:
            question.write_text(json.dumps(job | {"port": port}), encoding="utf-8")
            return [self.options.peers, "-m", "benchmarks.serve_peers", question]

        first = Request("/predict", json.dumps({"inputs": "A warm, funny film."}))
        return replace(self.ours("last"), command=command, ready=first, ours=False)

    def _infinity(self, asked: Mapping[str, Any]) -> Contender:
        """infinity-emb: vectors of the same encoder; it has no place for a head."""
        if not self.options.infinity.exists():
            raise BenchError(f"no {self.options.infinity}")
        bodies = [json.dumps({"model": "minilm", "input": [one]}) for one in self.sentences()]
        requests = self.file_of("embeddings", [Request("/embeddings", body, kept=False) for body in bodies])
        program = self.options.infinity.with_name("infinity_emb")
        return Contender(
            lambda port: [
                program, "v2", "--model-id", self.folder, "--engine", "torch", "--device", "cpu", "--port", port,
                "--no-bettertransformer", "--batch-size", asked["batch"], "--log-level", "warning",
            ],
            "/health", requests, None,
        )  # fmt: skip

    def server(self, contender: Contender) -> Server:
        """Return a server that runs as long as its context."""
        variables = self.variables | {"FIRSTBERT_VECTOR_CACHE": "0"}
        if not contender.ours:
            variables |= commands.QUIET | {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "PYTHONPATH": ""}
        port = free_port()
        return Server(contender.command(port), port, variables, self.options.work / "server.log", contender.ready)

    # -- load

    def file_of(self, name: str, requests: Iterable[Request]) -> Path:
        """Write requests where serve_load.py reads them."""
        path = self.options.work / f"requests-{name}.jsonl"
        path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in requests), encoding="utf-8")
        return path

    def load(self, contender: Contender, **load: Any) -> dict[str, Any]:
        """Send requests from a process of its own; return what came of each."""
        return self._run("serve_load", load | {"requests": contender.requests})

    def _run(self, module: str, job: Mapping[str, Any], *task: str) -> dict[str, Any]:
        question, answer = self.options.work / "job.json", self.options.work / "answer.json"
        question.write_text(json.dumps(job, default=str), encoding="utf-8")
        answer.unlink(missing_ok=True)
        command = [str(self.options.python), "-m", f"benchmarks.{module}", *task, str(question), str(answer)]
        variables = self.variables | {"FIRSTBERT_VECTOR_CACHE": "0"}
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{module}: {done.stderr.strip()[-1000:]}")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found

    @property
    def header(self) -> dict[str, Any]:
        """What the file begins with."""
        found = super().header
        others = {name: commands.versions(getattr(self.options, name)) for name in ("peers", "infinity")}
        return found | {"versions": found["versions"] | others}
