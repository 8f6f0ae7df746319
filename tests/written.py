"""Files for the tests of reading, and what was found in them."""

from __future__ import annotations

from pathlib import Path

from firstbert.data import Examples


def given(tmp_path: Path, content: str | bytes, ending: str = ".tsv") -> Path:
    path = tmp_path / f"data{ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


def found(examples: Examples) -> dict[str, tuple[int, ...]]:
    return {finding.kind: finding.lines for finding in examples.findings}


def many(*labels: str, separator: str = "\t") -> str:
    """Rows with a sentence of their own for each label."""
    return "".join(f"the evening number {i} was long{separator}{label}\n" for i, label in enumerate(labels))
