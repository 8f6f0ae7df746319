"""Fine-tuning against its peers: `python -m benchmarks.tuned [SECTION …]`. `make finetune` makes what it needs first.

The whole of SST-2, a small encoder taught by a big one, few labels against SetFit, speed against transformers' Trainer.
Figures go to results/finetune.json, run by run, and from there to docs/results.md (tuned_report.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import commands, encoders, machine, tuned_few, tuned_full, tuned_report, tuned_speed
from benchmarks.commands import Commands
from benchmarks.kept import ROOT, BenchError, Results

SECTIONS: dict[str, Callable[[Tuning, Results], None]] = {
    "full": tuned_full.run,
    "trainer": tuned_full.run_trainer,
    "distilled": tuned_full.run_distilled,
    "speed": tuned_speed.run,
    "few": tuned_few.run,
}


_ASKS = """
import json, torch
from benchmarks import machine
gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
print(json.dumps({"versions": machine.versions(), "gpu": gpu}))
"""


@dataclass(frozen=True, kw_only=True)
class Options(commands.Options):
    """Of a run.

    Attributes:
        peers: the interpreter of an environment with SetFit and transformers.
        name: of the results' file, without .json.
        only: names of encoders; the others are left out.
        hub: DistilBERT and BERT too, from the hub, where a section trains on all of SST-2.
        precision: of the section on speed: fp32 or bf16.
        teacher: model folder for the section on distillation; None: the best of section full.
        unlabelled: file of texts without labels for it.
    """

    peers: Path
    name: str = "finetune"
    only: tuple[str, ...] = ()
    hub: bool = False
    precision: str = "fp32"
    teacher: Path | None = None
    unlabelled: Path | None = None


class Tuning(Commands):
    """What all sections need: encoders, SST-2, the command line, peers in an environment of their own."""

    options: Options

    @property
    def encoders(self) -> dict[str, str]:
        """Name → what the command line takes, of those asked for."""
        found = super().encoders
        if self.options.hub:
            found |= {"distilbert": "distilbert", "bert": "bert"}
        return {name: place for name, place in found.items() if not self.options.only or name in self.options.only}

    @property
    def here(self) -> dict[str, str]:
        """Those whose files peers can be given."""
        return {name: place for name, place in self.encoders.items() if name not in ("distilbert", "bert")}

    def folder(self, name: str) -> Path:
        """Return an encoder's folder as its authors publish it: the mean over tokens, scaled to length 1."""
        if name == "mpnet":
            return Path(self.encoders[name])
        folder = encoders.minilm(self.options.work / "encoders" / name)
        encoders.write_pooling(folder, json.loads((folder / "config.json").read_text())["hidden_size"], normalise=True)
        return folder

    def peer(self, module: str, job: dict[str, Any]) -> dict[str, Any]:
        """Run a peer's script in a process of its own; return what it writes.

        Raises:
            BenchError: there is no such environment, or it failed.
        """
        options = self.options
        if not options.peers.exists():
            raise BenchError(f"no {options.peers}")
        question, answer = options.work / "job.json", options.work / "answer.json"
        question.write_text(json.dumps(job | {"threads": options.threads}), encoding="utf-8")
        answer.unlink(missing_ok=True)
        variables = machine.variables() | commands.QUIET | {"OMP_NUM_THREADS": str(options.threads)}
        variables.pop("PYTHONPATH", None)
        command = [str(options.peers), "-m", f"benchmarks.{module}", str(question), str(answer)]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{module}: {done.stderr.strip()[-1000:]}")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        del found["versions"]  # the header has them
        return found

    @property
    def header(self) -> dict[str, Any]:
        """What the file begins with."""
        found, peers = super().header, self._peers()
        return found | {"versions": found["versions"] | {"peers": peers["versions"]}, "gpu": peers["gpu"]}

    def _peers(self) -> dict[str, Any]:
        """The libraries of the peers' environment, and the GPU that they see."""
        if not self.options.peers.exists():
            return {"versions": {}, "gpu": None}
        done = subprocess.run([self.options.peers, "-c", _ASKS], cwd=ROOT, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def measure(options: Options, sections: Sequence[str]) -> Results:
    """Measure sections, run by run; what is there is kept, unless it is to be measured anew."""
    return commands.measure(Tuning(options), options.name, SECTIONS, sections)


def parse(arguments: Sequence[str]) -> tuple[list[str], Options]:
    """Return the sections asked for, and the options."""
    parser = commands.parser("finetune", __doc__, SECTIONS)
    parser.add_argument("--only", action="append", default=[], metavar="ENCODER", help="leave the others out")
    parser.add_argument("--hub", action="store_true", help="DistilBERT and BERT too, from the hub")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the section on speed")
    parser.add_argument("--teacher", type=Path, default=None, help="model folder to learn from: section distilled")
    parser.add_argument("--unlabelled", type=Path, default=None, help="texts without labels: section distilled")
    parser.add_argument("--name", default="finetune", help="of the results' file; another one for another machine")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-finetune" / "bin" / "python")
    names, given, shared = commands.asked(parser, SECTIONS, arguments)
    return names, Options(
        **shared,
        peers=given.peers.absolute(),
        name=given.name,
        only=tuple(given.only),
        hub=given.hub,
        precision=given.precision,
        teacher=commands.resolved(given.teacher),
        unlabelled=commands.resolved(given.unlabelled),
    )


def main() -> None:
    sections, options = parse(sys.argv[1:])
    commands.say_left_out(options)
    results = measure(options, sections)
    commands.tell(
        results, options, lambda _: tuned_report.write(tuned_report.read()), lambda parts: tuned_report.render([parts])
    )


if __name__ == "__main__":
    main()
