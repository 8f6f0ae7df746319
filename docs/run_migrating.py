"""Run all of docs/migrating.md: each *before* where its library is installed, each *after* here. `make migrating` does.

`python docs/run_migrating.py finetune=.venv-finetune/bin/python spacy=.venv-spacy/bin/python` names, for each kind of
*before*, the Python that has its libraries. What a part leaves in `answers` must be one of the labels for each text;
an *after* must have them right. The hub isn't asked: the encoder is laid down as a folder of the hub's name.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "migrating.md"
RIGHT = ["good", "bad"]
_BLOCK = re.compile(r"(?:<!-- (before: \w+|after) -->\n\n)?```python\n(.*?)^```", re.M | re.S)
_ASK = "\nimport json\nprint(json.dumps([str(answer) for answer in answers]))\n"


@dataclass(frozen=True)
class Part:
    """One piece of the page, with the data above it: `where` is `after` or the name of an environment."""

    where: str
    code: str

    @property
    def first(self) -> str:
        """Its first import, to know it by."""
        return next(line for line in self.code.splitlines() if re.match(r"(from|import) (?!random)", line))


def parts(text: str) -> list[Part]:
    """Return the page's parts; the first block, without a mark, is the data that all share."""
    (mark, data), *rest = _BLOCK.findall(text)
    if mark or any(not found for found, _ in rest):
        raise ValueError(f"{PAGE}: the first block alone stands without `<!-- before: … -->` or `<!-- after -->`.")
    return [Part(found.removeprefix("before: "), data + code) for found, code in rest]


def run(part: Part, python: str, folder: Path) -> list[str]:
    """Run a part in a folder and return its answers."""
    script = folder / "part.py"
    script.write_text(part.code + _ASK, encoding="utf-8")
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [python, script.name], cwd=folder, env=os.environ | quiet, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"{part.first}\n{ran.stderr}")
    return [str(answer) for answer in json.loads(ran.stdout.splitlines()[-1])]


def lay_down(folder: Path) -> None:
    """Put MiniLM where a hub id leads when it is read as a path, with its pooling as its authors publish it."""
    sys.path.insert(0, str(ROOT))
    from benchmarks import encoders

    place = encoders.minilm(folder / "sentence-transformers" / "all-MiniLM-L6-v2")
    encoders.write_pooling(place, 384, normalise=True)


def main(pythons: dict[str, str]) -> None:
    """Run all parts and say what each answers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_down(folder)
        for part in parts(PAGE.read_text(encoding="utf-8")):
            after = part.where == "after"
            answers = run(part, sys.executable if after else pythons[part.where], folder)
            print(f"{'after' if after else 'before':>6}  {' '.join(answers):<10} {part.first}", flush=True)
            if len(answers) != len(RIGHT) or not set(answers) <= set(RIGHT) or (after and answers != RIGHT):
                sys.exit(f"{PAGE}: {part.first}: expected {RIGHT}. Got {answers} instead.")


if __name__ == "__main__":
    main({name: str(Path(path).absolute()) for name, path in (each.split("=", 1) for each in sys.argv[1:])})
