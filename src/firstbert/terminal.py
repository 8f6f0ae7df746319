"""What the command line prints: results on stdout, notes on stderr.

Just before predict.py and cli.py on the way of a sentence.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from firstbert.errors import counted, plural


def note(message: str) -> None:
    """Print a line on stderr."""
    print(message, file=sys.stderr)


def note_findings(examples: Any, *but: str) -> None:
    """Print what was found about rows, all kinds but those named."""
    for finding in examples.findings:
        if finding.kind not in but:
            note(finding.message)


def note_truncated(n: int, max_length: int) -> None:
    """Say how many texts lost their ends."""
    if n:
        lost = plural(n, "its end", "their ends")
        note(f"{counted(n, 'text was', 'texts were')} longer than {max_length} tokens and lost {lost}.")


def note_unsure(n: int, of: int) -> None:
    """Say how many answers are not to be relied on."""
    if n:
        note(f"{n:,} of {of:,} answers are unsure: what the model promises about its errors doesn't hold for them.")


def print_json(value: Any) -> None:
    """Print one JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_machine(facts: dict[str, Any]) -> None:
    """Print what `firstbert doctor` knows of this machine."""
    libraries = ", ".join(f"{name} {number}" for name, number in facts["libraries"].items())
    writable = "" if facts["cache_writable"] else " (can't be written)"
    offline = ", offline" if facts["offline"] else ""
    print(f"Python {facts['python']} on {facts['system']}, {facts['cores']} usable cores{offline}")
    print(f"{libraries}\ncache: {facts['cache']}{writable}")


def print_cache(facts: dict[str, Any]) -> None:
    """Print what the cache folder holds."""
    print(facts["folder"])
    for name, part in facts["parts"].items():
        print(f"{name:<10} {part['files']:>6} files {part['bytes'] / 1e6:>9.1f} MB")
    print(f"Prepared encoders may take {facts['prepared']['cap'] / 1e6:.0f} MB.")
    vectors = facts["vectors"]
    room = f"up to {vectors['cap'] / 1e6:.0f} MB" if vectors["on"] else "switched off"
    print(f"{vectors['entries']} vectors of sentences are kept ({room}).")


def print_models(rows: Sequence[dict[str, Any]], families: Sequence[str]) -> None:
    """Print the catalogue as a table."""
    print(f"{'name':<11} {'MB':>4} {'layers':>6} {'width':>5}  pooling  licence     hub id")
    for row in rows:
        print(
            f"{row['name']:<11} {row['size_mb']:>4} {row['layers']:>6} {row['width']:>5}  {row['pooling']:<7}  "
            f"{row['licence']:<10}  {row['hub_id']}"
        )
    print(f"\nAlso any hub id (org/name) or folder whose config.json says: {', '.join(families)}.")
    print('With pip install "firstbert[torch]" also those of nearly all other families that transformers knows.')
