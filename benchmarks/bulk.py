"""Bulk prediction measured: `python -m benchmarks.bulk [SECTION …]`. `make bulk` makes what it needs first.

Against sentence-transformers and SetFit, against the encoder alone, on Ray, memory by size, and all that docs/scale.md
counts with. Figures go to results/bulk.json, part by part, and from there to the page (bulk_report.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bulk_report, bulk_rows, commands, encoders, texts
from benchmarks.bulk_peers import SYSTEMS
from benchmarks.commands import Commands
from benchmarks.kept import ROOT, BenchError, Results, note
from firstbert.artifact import load

ROUNDS = 3
PEERS_ROWS, RATE_ROWS, TRAIN_ROWS = 10_000, 20_000, 2_000
FEW, MANY = 10_000, 1_000_000
KINDS = ("tsv", "csv", "jsonl", "parquet")
FILE_ROWS = 200_000
LENGTHS = (10, 24, 128, 250)  # tokens of a text
CONFIGURATIONS = (
    ("minilm", "fp32", "last"), ("minilm", "int8", "last"), ("minilm", "fp32", 4), ("minilm", "int8", 4),
    ("mpnet", "fp32", "last"), ("mpnet", "int8", "last"), ("tiny", "fp32", "last"),
)  # fmt: skip
TOKENS = {"minilm": 60_000, "mpnet": 8_000, "tiny": 1_200_000}  # encoded at a time
WORKERS = 8  # of a cluster whose workers only wait
CLUSTERS = (8, 32, 128, 512)  # cores that they stand for
FREE_ROWS, WAITED_S = 400_000, 20.0


@dataclass(frozen=True, kw_only=True)
class Options(commands.Options):
    """Of a run.

    Attributes:
        peers: the interpreter of an environment with SetFit and sentence-transformers.
        ray: firstbert's interpreter of an environment with Ray.
    """

    peers: Path
    ray: Path


class Bulk(Commands):
    """What all sections need: files of rows, models, processes whose memory is measured."""

    options: Options

    def folder(self, name: str) -> Path:
        """Return an encoder's folder: MiniLM, the last layer's mean as it is; a tiny random one; MPNet."""
        place = self.options.work / "encoders" / name
        if name == "mpnet":
            return Path(self.encoders[name])
        if name == "minilm":
            return encoders.minilm(place)
        if not (place / "model.safetensors").exists():
            encoders.tiny(place, self.folder("minilm") / "tokenizer.json")
        return place

    def sentences(self) -> list[str]:
        """Return SST-2's training sentences, each once."""
        return texts.short(self.rows("train"), 10**6)

    def table(self, n: int, kind: str = "csv") -> Path:
        """Return a file of `n` rows of id and text, all different, made on first use."""
        path = self.options.work / f"rows-{n}.{kind}"
        if not path.exists():
            unfinished = path.with_suffix(".new")
            bulk_rows.WRITERS[kind](unfinished, texts.varied(self.sentences(), n))
            unfinished.replace(path)
        return path

    def model(self, encoder: str = "minilm") -> Path:
        """Return a model of the last layer's mean, trained on first use."""
        path = self.options.work / f"model-{encoder}"
        if not path.exists():
            rows = self.file(f"train-{encoder}.tsv", self.rows("train")[: self.size(TRAIN_ROWS, 200)])
            self.command(
                "train", rows, "-o", path, "--encoder", self.folder(encoder), "--layer", "last", "--pooling", "mean",
                "--test-size", 0,
            )  # fmt: skip
        return path

    def timed(self, command: Sequence[object], **more: str) -> tuple[str, dict[str, Any]]:
        """Run a command; return what it prints, and wall and CPU seconds and its peak of memory.

        Raises:
            BenchError: it failed.
        """
        facts = self.options.work / "timed.json"
        words = [sys.executable, "-I", "-S", ROOT / "benchmarks" / "timed.py", facts, *command]
        done = subprocess.run(
            list(map(str, words)), cwd=ROOT, env=self.variables | more, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{' '.join(map(str, command[1:4]))}: {done.stderr.strip()[-1500:]}")
        return done.stdout, json.loads(facts.read_text())

    def predict(self, model: Path, source: Path, output: str, *more: object, python: Path | None = None) -> Any:
        """Label a file by the command line; return its own figures beside wall seconds and peak."""
        target = self.options.work / output
        threads = 1 if "ray" in more else self.options.threads  # of each of Ray's workers
        command = [python or self.options.python, "-m", "firstbert", "predict", model, source, "-o", target,
                   "--restart", "--threads", threads, "--json", *more]  # fmt: skip
        said, facts = self.timed(command)
        own = json.loads(said)
        return facts | {key: own[key] for key in ("rows", "seconds", "rows_per_s", "tokens_per_s", "tokens")}

    def step(self, task: str, python: Path | None = None, variables: dict[str, str] | None = None, **job: Any) -> Any:
        """Run a task of bulk_steps.py in a process of its own."""
        question, answer = self._passing(job)
        command = [python or self.options.python, "-m", "benchmarks.bulk_steps", task, question, answer]
        facts = self.timed(command, **variables or {})[1]
        return json.loads(answer.read_text()) | {"wall": facts["wall"], "peak": facts["peak"]}

    def peer(self, **job: Any) -> dict[str, Any]:
        """Run bulk_peers.py in the peers' environment.

        Raises:
            BenchError: there is no such environment, or it failed.
        """
        if not self.options.peers.exists():
            raise BenchError(f"no {self.options.peers}")
        question, answer = self._passing(job | {"threads": self.options.threads})
        quiet = commands.QUIET | {"OMP_NUM_THREADS": str(self.options.threads), "PYTHONPATH": ""}
        facts = self.timed([self.options.peers, "-m", "benchmarks.bulk_peers", question, answer], **quiet)[1]
        found = json.loads(answer.read_text())
        del found["versions"]  # the header has them
        return found | facts | {"rows_per_s": found["rows"] / found["seconds"]}

    def _passing(self, job: dict[str, Any]) -> tuple[Path, Path]:
        question, answer = self.options.work / "job.json", self.options.work / "answer.json"
        question.write_text(json.dumps(job, default=str), encoding="utf-8")
        answer.unlink(missing_ok=True)
        return question, answer

    @property
    def header(self) -> dict[str, Any]:
        """What the file begins with."""
        found = super().header
        asked = {name: getattr(self.options, name) for name in ("peers", "ray")}
        return found | {"versions": found["versions"] | {name: commands.versions(path) for name, path in asked.items()}}


# ---------------------------------------------------------------- sections


def peers(bulk: Bulk, results: Results) -> None:
    """Round after round, each begun by the next system."""
    for turn in bulk.seeds(ROUNDS):
        results.part(f"peers, {turn}", partial(race, bulk, turn))


def race(bulk: Bulk, turn: int) -> dict[str, Any]:
    """Label the same file by each system; labels are held against firstbert's."""
    source, model = bulk.table(bulk.size(PEERS_ROWS)), bulk.model()
    head = load(model).predictor.head
    weight, bias = head.weight[1] - head.weight[0], head.bias[1] - head.bias[0]
    job = {"encoder": bulk.folder("minilm"), "source": source, "weight": [weight.tolist()], "bias": [float(bias)]}
    names = ["firstbert", *SYSTEMS]
    first = turn % len(names)
    runs: dict[str, Any] = {}
    for name in [*names[first:], *names[:first]]:
        note(f"  {name}")
        output = bulk.options.work / f"labelled-{names.index(name)}.csv"
        if name == "firstbert":
            runs[name] = bulk.predict(model, source, output.name)
        else:
            runs[name] = bulk.peer(system=name, output=output, **job)
    answers = {name: bulk_rows.labels_of(bulk.options.work / f"labelled-{i}.csv") for i, name in enumerate(names)}
    for name, run in runs.items():
        run["same_labels"] = float(np.mean(answers[name] == answers["firstbert"]))
    return {"runs": runs, "rows": len(answers["firstbert"])}


def rate(bulk: Bulk, results: Results) -> None:
    """The encoder alone, this process, Ray on as many cores: round after round, in turns."""
    for turn in bulk.seeds(ROUNDS):
        results.part(f"rate, {turn}", partial(rates, bulk, turn))


def rates(bulk: Bulk, turn: int) -> dict[str, Any]:
    """Label one file by each; the same interpreter for all."""
    source, model, python = bulk.table(bulk.size(RATE_ROWS)), bulk.model(), bulk.options.ray
    ways: dict[str, Callable[[], Any]] = {
        "encoder": lambda: bulk.step(
            "alone", python, source=source, encoder=bulk.folder("minilm"), threads=bulk.options.threads
        ),
        "local": lambda: bulk.predict(model, source, "rate-local.csv", python=python),
        "ray": lambda: bulk.predict(model, source, "rate-ray.csv", "--engine", "ray", python=python),
    }
    names = list(ways)[turn % 3 :] + list(ways)[: turn % 3]
    runs = {name: ways[name]() for name in names}
    local, ray = (bulk_rows.labels_of(bulk.options.work / f"rate-{name}.csv") for name in ("local", "ray"))
    return {"runs": runs, "same_labels": float(np.mean(local == ray))}


def memory(bulk: Bulk, results: Results) -> None:
    """Few rows and many, by a tiny encoder, in each format."""
    for kind in KINDS:
        results.part(f"memory, {kind}", partial(peaks, bulk, kind))


def peaks(bulk: Bulk, kind: str) -> dict[str, Any]:
    """Label few rows and many."""
    runs = {}
    for n in (FEW, MANY // 20 if bulk.options.quick else MANY):
        note(f"  {n:,} rows")
        run = bulk.predict(bulk.model("tiny"), bulk.table(n, kind), f"many.{kind}")
        runs[str(n)] = run | {"in_order": bulk_rows.in_order(bulk.options.work / f"many.{kind}", n)}
    few, many = (run["peak"] for run in runs.values())
    return {"runs": runs, "ratio": many / few}


def encode(bulk: Bulk, results: Results) -> None:
    """Each encoder at each precision, by length."""
    for encoder, precision, layer in CONFIGURATIONS:
        if encoder == "tiny" or encoder in bulk.encoders:
            name = f"encode, {encoder}, {precision}, {layer}"
            results.part(name, partial(bulk.step, "encode", precision=precision, layer=layer, **_texts(bulk, encoder)))


def _texts(bulk: Bulk, encoder: str) -> dict[str, Any]:
    return {"encoder": bulk.folder(encoder), "threads": bulk.options.threads, "sentences": bulk.sentences(),
            "lengths": LENGTHS, "tokens": bulk.size(TOKENS[encoder], 4000)}  # fmt: skip


def files(bulk: Bulk, results: Results) -> None:
    """The tokenizer alone; reading and writing alone, by format."""
    asked = _texts(bulk, "minilm") | {"precision": "fp32", "layer": "last", "tokens": bulk.size(2_000_000)}
    for threads in (1, bulk.options.threads):
        variables = {"RAYON_NUM_THREADS": str(threads)}
        results.part(f"tokenise, {threads}", partial(bulk.step, "tokenise", variables=variables, **asked))
    for kind in KINDS:
        results.part(f"files, {kind}", partial(flow, bulk, kind))


def flow(bulk: Bulk, kind: str) -> Any:
    """Read and write one file."""
    output = bulk.options.work / f"flow.{kind}"
    source = bulk.table(bulk.size(FILE_ROWS, 10_000), kind)
    return bulk.step("files", source=source, output=output, model=bulk.model("tiny"))


def cluster(bulk: Bulk, results: Results) -> None:
    """Ray with workers that wait: not at all, first, then as long as so many cores would take."""
    runs = [part["runs"] for name, part in results.parts.items() if name.startswith("rate, ")]
    if not runs:
        note("section cluster needs section rate first")
        return
    core = sum(run["local"]["rows_per_s"] for run in runs) / len(runs) / bulk.options.threads
    results.part("cluster, start", partial(waited, bulk, core, None, 64))
    results.part("cluster, free", partial(waited, bulk, core, None, FREE_ROWS))
    for cores in CLUSTERS:
        n = min(FREE_ROWS, int(cores * core * WAITED_S) // 10_000 * 10_000 + 10_000)
        results.part(f"cluster, {cores}", partial(waited, bulk, core, cores, n))


def waited(bulk: Bulk, core: float, cores: int | None, n: int) -> Any:
    """Label rows by workers that stand for so many cores; None: they don't wait at all."""
    found = bulk.step(
        "cluster", bulk.options.ray, source=bulk.table(bulk.size(n)), output=bulk.options.work / "waited.csv",
        model=bulk.model("tiny"), workers=WORKERS, worker_rows_per_s=cores * core / WORKERS if cores else None,
    )  # fmt: skip
    return found | {"cores": cores, "core_rows_per_s": core}


SECTIONS: dict[str, Callable[[Bulk, Results], None]] = {
    "peers": peers, "rate": rate, "memory": memory, "encode": encode, "files": files, "cluster": cluster,
}  # fmt: skip


def measure(options: Options, sections: Sequence[str]) -> Results:
    """Measure sections, part by part; what is there is kept, unless it is to be measured anew."""
    return commands.measure(Bulk(options), "bulk", SECTIONS, sections)


def parse(arguments: Sequence[str]) -> tuple[list[str], Options]:
    """Return the sections asked for, and the options."""
    parser = commands.parser("bulk", __doc__, SECTIONS)
    parser.add_argument("--ray", type=Path, default=None, help="of firstbert with Ray; the same, unless given")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-finetune" / "bin" / "python")
    names, given, shared = commands.asked(parser, SECTIONS, arguments)
    ray = (given.ray or given.python).absolute()
    return names, Options(**shared, peers=given.peers.absolute(), ray=ray)


def main() -> None:
    sections, options = parse(sys.argv[1:])
    commands.say_left_out(options)
    commands.tell(measure(options, sections), options, bulk_report.write, bulk_report.render)


if __name__ == "__main__":
    main()
