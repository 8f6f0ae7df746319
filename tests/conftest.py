"""A clean environment for every test, and the things that many tests share."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import own_cores  # noqa: F401  before numpy
from firstbert import SentenceClassifier

# Property tests try the same examples each time; HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Encoders are fetched once and kept between runs, apart from what the user of this machine has.
CACHE = Path(os.environ.get("FIRSTBERT_TEST_CACHE", Path.home() / ".cache" / "firstbert-tests"))

GOOD = [
    "A warm and funny film.",
    "I loved every minute of it.",
    "What a joy, from start to finish.",
    "Superb acting and a clever story.",
    "The best thing I have seen this year.",
    "Charming, moving and beautifully shot.",
]
BAD = [
    "A dull and lifeless film.",
    "I hated every minute of it.",
    "What a waste of an evening.",
    "Terrible acting and a silly story.",
    "The worst thing I have seen this year.",
    "Clumsy, boring and badly shot.",
]
TEXTS = [text for pair in zip(GOOD, BAD, strict=True) for text in pair]


def clean(environment: dict[str, str]) -> dict[str, str]:
    """The environment without anything that changes what this library does."""
    kept = {k: v for k, v in environment.items() if not k.startswith(("FIRSTBERT_", "HF_", "XDG_CACHE"))}
    # Vectors are encoded anew in each test: kept ones would hide what a change to the encoder does.
    return kept | {"FIRSTBERT_CACHE": str(CACHE), "FIRSTBERT_VECTOR_CACHE": "0"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = clean(dict(os.environ))
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name in ("FIRSTBERT_CACHE", "FIRSTBERT_VECTOR_CACHE"):
        monkeypatch.setenv(name, environment[name])


@pytest.fixture(scope="session", autouse=True)
def _session_environment() -> Iterator[None]:
    """The same for fixtures that outlive a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(clean(dict(os.environ))):
            patch.delenv(name)
        patch.setenv("FIRSTBERT_CACHE", str(CACHE))
        patch.setenv("FIRSTBERT_VECTOR_CACHE", "0")
        yield


@pytest.fixture(scope="session")
def classifier() -> SentenceClassifier:
    """A real one: MiniLM and twelve sentences. Not to be refitted."""
    return SentenceClassifier("minilm").fit(TEXTS, ["good", "bad"] * 6)


@pytest.fixture(scope="session")
def model(classifier: SentenceClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder. Not to be changed."""
    return classifier.save(tmp_path_factory.mktemp("shared") / "model")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process: ``cli("train", path, "-o", folder)``."""
    from firstbert.__main__ import main

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["firstbert", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        gc.enable()  # main lets the garbage lie where a process ends soon
        printed = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that takes next to no time, for what isn't about its answers. Not to be changed."""
    import bulk_rows

    return bulk_rows.quick_model(tmp_path_factory.mktemp("quick"))
