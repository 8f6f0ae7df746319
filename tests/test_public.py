from __future__ import annotations

import subprocess
import sys

import firstbert

HEAVY = {
    "torch", "transformers", "ray", "fastapi", "matplotlib", "pandas", "polars", "pyarrow", "sklearn", "onnx", "lmdb",
}  # fmt: skip


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split()) & HEAVY


def test_every_public_name_is_there_and_sorted() -> None:
    assert all(hasattr(firstbert, name) for name in firstbert.__all__)
    assert firstbert.__all__ == sorted(firstbert.__all__)
    assert {"SentenceEncoder", "SentenceClassifier", "load"} <= set(firstbert.__all__)


def test_importing_loads_nothing_heavy() -> None:
    assert loaded_after("import firstbert") == set()


def test_predicting_needs_no_scikit_learn() -> None:
    assert loaded_after("import firstbert.artifact, firstbert.answers, firstbert.cli") == set()
