"""One target under atheris: `python -m fuzz.worker TARGET COMMAND …`; libFuzzer starts itself again by the command."""

from __future__ import annotations

import atexit
import importlib
import random
import resource
import sys

import atheris

from fuzz import mutate, place

MORE_MEMORY = 1 << 30  # bytes that an input may take beyond what the process had before


def main() -> None:
    """Fuzz a target until libFuzzer's limits, or the first finding."""
    name, command, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["firstbert"]):
        target = importlib.import_module(f"fuzz.{name}")
        for seed in target.seeds().values():  # imports what is imported late
            target.one(seed)
    atexit.register(place.leave)
    limit = _peak() + MORE_MEMORY

    def one(content: bytes) -> None:
        target.one(content)
        if _peak() > limit:
            raise MemoryError(f"an input of {len(content):,} bytes took over {MORE_MEMORY:,}")

    atheris.Setup([command, *options], one, custom_mutator=_mutated)
    atheris.Fuzz()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _mutated(content: bytes, most: int, seed: int) -> bytes:
    changed = mutate.mutated(content, random.Random(seed)) if seed % 2 else None
    if changed is None or len(changed) > most:
        return bytes(atheris.Mutate(content, most))
    return changed


if __name__ == "__main__":
    main()
