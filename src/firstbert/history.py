"""What model.json tells of a training → whether it has the shape that cards and reports count on.

After card.py on the way of a sentence; checks.py asks it. No answer depends on these facts, but pages and cards are
written of them, and a stranger's may be of any kind. What is unknown here is left alone, and never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Shape: TypeAlias = "type | tuple[type, ...] | list[Shape] | Mapping[Any, Shape] | Callable[[Any], bool]"

_NUMBER = (int, float)


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and fits(value, [_NUMBER])


# A key that ends in "?" may be missing, or null. A mapping with the key `str` may have any keys.
_MEASURED: Shape = {"accuracy": _NUMBER}
_FINETUNED: Shape = {
    "saved?": str, "encoder": str, "recipe": str, "epochs?": _NUMBER, "learning_rate?": _NUMBER, "batch_size?": int,
    "precision?": str, "device?": str, "tune?": (int, str), "teacher?": bool, "unlabelled?": int, "frozen?": _MEASURED,
    "finetuned?": _MEASURED, "validation_rows?": int,
}  # fmt: skip
_TEST: Shape = {
    "n": int, "baseline_accuracy": _NUMBER, "accuracy?": _NUMBER, "balanced_accuracy?": _NUMBER, "macro_f1?": _NUMBER,
    "roc_auc?": _NUMBER, "pr_auc?": _NUMBER, "log_loss?": _NUMBER, "brier?": _NUMBER, "ece?": _NUMBER,
    "intervals?": {str: lambda value: value is None or _pair(value)}, "bootstrap?": {str: _NUMBER},
    "abstention?": {"coverage": _NUMBER, "error?": _NUMBER, "error_interval?": _pair},
    "per_class?": {str: {"precision": _NUMBER, "recall": _NUMBER, "f1": _NUMBER, "support": int}},
}  # fmt: skip
_TRAINING: dict[str, Shape] = {
    "rows": int, "rows_per_label": [int], "left_out": int, "truncated_rows": int, "seed": int, "C": _NUMBER,
    "cv_accuracy": _NUMBER, "data": str, "data_sha256": str, "thresholds": str, "versions": {str: str},
    "layers": [{
        "layers": lambda value: fits(value, [int]) and len(value) > 0, "pooling": str, "accuracy": _NUMBER,
        "accuracy_se": _NUMBER, "log_loss": _NUMBER, "level": bool, "chosen": bool,
    }],
    "promise": {"max_error": _NUMBER, "confidence": _NUMBER, "rows": int, "coverage": _NUMBER, "error?": _NUMBER},
    "finetune": _FINETUNED, "test": _TEST,
    "growth": {
        "points": [{"rows": int, "accuracy": _NUMBER, "se": _NUMBER}],
        "forecast": [{"rows": int, "accuracy": _NUMBER, "low": _NUMBER, "high": _NUMBER}], "sentence": str,
    },
}  # fmt: skip
_LEARNED = ("epochs", "learning_rate", "batch_size", "precision", "device", "tune", "teacher", "unlabelled")
_LARGEST = 1e15  # as a number: pages count rows with it


def misfit(training: Mapping[str, Any], n_labels: int) -> str | None:
    """Return the first fact of a training that isn't of its shape; None where all are.

    Args:
        training: the facts, ready for JSON.
        n_labels: how many labels the model has.
    """
    for name, shape in _TRAINING.items():
        value = training.get(name)
        if value is not None and not fits(value, shape):
            return name
    counts, finetune = training.get("rows_per_label"), training.get("finetune") or {}
    if counts is not None and len(counts) != n_labels:
        return "rows_per_label"
    if finetune.get("saved") == "finetuned" and any(finetune.get(name) is None for name in _LEARNED):
        return "finetune"
    if finetune.get("frozen") and not (finetune.get("finetuned") and finetune.get("validation_rows")):
        return "finetune" if finetune.get("saved") == "finetuned" else None
    return None


def fits(value: Any, shape: Shape) -> bool:
    """Whether a value is of a shape: of just these types, a list of one shape, or an object with these keys."""
    if isinstance(shape, type):
        shape = (shape,)
    if isinstance(shape, tuple):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return type(value) in shape and not (number and abs(value) > _LARGEST)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(one, shape[0]) for one in value)
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and all(_has(value, key, inner) for key, inner in shape.items())
    return shape(value)


def _has(value: dict[str, Any], key: Any, shape: Shape) -> bool:
    if key is str:
        return all(fits(one, shape) for one in value.values())
    found = value.get(key.removesuffix("?"))
    return key.endswith("?") if found is None else fits(found, shape)
