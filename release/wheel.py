"""`make wheel-check`: does the wheel, alone with what it declares, do what the README says?

Installs dist/*.whl into an empty environment and works from an empty folder with an empty cache: the tutorial as a
newcomer runs it (MiniLM and the sentences come from wherever they can be reached), then a model of made-up sentences.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from release import dist

SUBJECTS = ("The soup", "The bread", "The service", "My room", "The view", "The music", "The whole evening", "The tea")
GOOD = ("was wonderful", "made us happy", "is the best in town", "could not be better")
BAD = ("was awful", "made us angry", "is the worst in town", "could not be worse")
NEW = (("The cake was wonderful.", "good"), ("The staff made us angry.", "bad"))


@dataclass(frozen=True)
class Place:
    """An environment, and the folder that all happens in."""

    python: Path
    work: Path

    def run(self, *words: str | Path) -> str:
        """Run a program of the environment; return what it printed, or end with what it said."""
        hidden = ("PYTHON", "FIRSTBERT_", "VIRTUAL_ENV")
        around = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        around |= {"FIRSTBERT_CACHE": str(self.work / "cache"), "PATH": f"{self.python.parent}:{os.environ['PATH']}"}
        print("$", *words, flush=True)
        done = subprocess.run(words, check=False, cwd=self.work, env=around, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{done.stdout}\nThis ended with exit code {done.returncode}.")
        return done.stdout

    def pip(self, *words: str | Path) -> str:
        """Run pip for the environment, which may have none itself."""
        return self.run(sys.executable, "-m", "pip", "--python", self.python, *words)


def place(work: Path, *, pip: bool = False) -> Place:
    """Make an empty environment, in it not even pip unless asked for: firstbert fetches some files by it."""
    venv.create(work / "env", symlinks=True, with_pip=pip)
    (work / "here").mkdir()
    return Place(work / "env" / "bin" / "python", work / "here")


def install(where: Place, wheel: Path, *extras: str) -> None:
    """Install a wheel with what it declares, and nothing else."""
    where.pip("install", "--quiet", "--no-compile", f"{wheel}[{','.join(extras)}]" if extras else wheel)
    where.pip("check")


def found_wheel() -> Path:
    """Return the wheel in dist/."""
    wheels = list((dist.ROOT / "dist").glob("firstbert-*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"dist/ has {len(wheels)} wheels of firstbert, not one: run make dist first.")
    return wheels[0]


# ---------------------------------------------------------------- what a newcomer does


def tutorial(where: Place, data: str | None) -> None:
    """Run the tutorial, and see that its classifiers beat the baseline, in the order that the README promises."""
    told = json.loads(where.run("firstbert", "tutorial", "--json", *(["--data", data] if data else [])))
    rows = {row["name"]: row for row in told["rows"]}
    print(f"\ntutorial: {told['data']}, {told['encoder']}")
    for name, row in rows.items():
        print(f"  {name:12} {row['accuracy_mean']:.3f} ± {row['accuracy_sd']:.3f} over {row['seeds']} splits")
    if not rows["dummy"]["accuracy_mean"] + 0.1 < rows["auto"]["accuracy_mean"]:
        raise SystemExit("The tutorial's classifier is no better than the baseline.")


def write_data(path: Path) -> int:
    """Write a TSV of made-up sentences with their labels; return how many."""
    kinds: Sequence[tuple[str, Sequence[str]]] = (("good", GOOD), ("bad", BAD))
    rows = [f"{subject} {end}.\t{label}" for label, ends in kinds for subject, end in itertools.product(SUBJECTS, ends)]
    path.write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    return len(rows)


def commands(where: Place) -> None:
    """Train, evaluate, predict, explain and export, and use the exported file with the example alone."""
    rows = write_data(where.work / "data.tsv")
    told = json.loads(where.run("firstbert", "train", "data.tsv", "-o", "model", "--json"))
    measured = json.loads(where.run("firstbert", "evaluate", "model", "data.tsv", "--json"))
    answers = json.loads(where.run("firstbert", "predict", "model", "--text", NEW[0][0], "--text", NEW[1][0], "--json"))
    where.run("firstbert", "predict", "model", "data.tsv", "-o", "labelled.csv")
    where.run("firstbert", "explain", "model", NEW[0][0], "--html", "guide.html")
    where.run("firstbert", "export", "model", "model.onnx")
    shutil.copy(dist.ROOT / "examples" / "export" / "classify.py", where.work)
    exported = where.run("python", "classify.py", "model.onnx", NEW[0][0])
    right = {
        "train": told["n_train"] > 0,
        "evaluate": measured["n"] == rows and measured["accuracy"] > 0.9,
        "predict --text": [answer["label"] for answer in answers] == [label for _, label in NEW],
        "predict": len((where.work / "labelled.csv").read_text(encoding="utf-8").splitlines()) == rows + 1,
        "explain": "<script" in (where.work / "guide.html").read_text(encoding="utf-8"),
        "export": "good" in exported,
    }
    wrong = [name for name, good in right.items() if not good]
    if wrong:
        raise SystemExit(f"Not as it should be: {', '.join(wrong)}.")
    print(f"{', '.join(right)}: as they should be ({measured['accuracy']:.3f} of {rows} made-up rows)")


def main() -> None:
    """Check the wheel in dist/."""
    parser = argparse.ArgumentParser(description="Check the wheel in dist/ in an empty environment.")
    parser.add_argument("--data", help="the tutorial's: sst2, rt or a file (as it comes, unless given)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = place(Path(folder), pip=True)  # as `python -m venv` makes one
        install(where, found_wheel())
        home = where.run("python", "-c", "import firstbert; print(firstbert.__file__)").strip()
        if not home.startswith(folder):
            raise SystemExit(f"firstbert was imported from {home}, not from the wheel.")
        print(where.pip("list"))
        tutorial(where, given.data)
        commands(where)


if __name__ == "__main__":
    main()
