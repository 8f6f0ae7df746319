"""Sentence classification with a pretrained encoder that anyone can run.

    from firstbert import SentenceClassifier, load

    classifier = SentenceClassifier("minilm").fit(texts, labels)
    classifier.predict(["two hours I will never get back"])
    classifier.save("model/")
    load("model/").predict_proba(["a warm, funny film"])

Names are imported on first use, so that `import firstbert` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firstbert.classifier import SentenceClassifier, load
    from firstbert.encoder import SentenceEncoder
    from firstbert.errors import (
        ArtifactError,
        DataError,
        EncoderError,
        FirstbertError,
        SourceError,
        TruncationWarning,
        UsageError,
    )

__version__ = "0.1.0"

_HOMES = {
    "SentenceClassifier": "classifier",
    "SentenceEncoder": "encoder",
    "load": "classifier",
    "ArtifactError": "errors",
    "DataError": "errors",
    "EncoderError": "errors",
    "FirstbertError": "errors",
    "SourceError": "errors",
    "TruncationWarning": "errors",
    "UsageError": "errors",
}

__all__ = [
    "ArtifactError",
    "DataError",
    "EncoderError",
    "FirstbertError",
    "SentenceClassifier",
    "SentenceEncoder",
    "SourceError",
    "TruncationWarning",
    "UsageError",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'firstbert' has no attribute {name!r}")
    return getattr(import_module(f"firstbert.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
