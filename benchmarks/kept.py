"""What all measurements write: parts of a JSON file, kept as they are done, so that a run goes on where one ended."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine

ROOT = Path(__file__).parent.parent


class BenchError(Exception):
    """A system can't be had here, or failed; the message says why."""


@dataclass
class Results:
    """A section's JSON file: parts are written as they are done, and a run goes on where the last one ended."""

    path: Path
    parts: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, section: str, header: dict[str, Any], anew: bool = False) -> Results:
        """Take up what is there, unless it comes from another machine or is to be measured anew."""
        path = folder / f"{section}.json"
        found = json.loads(path.read_text()) if path.exists() and not anew else {}
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
