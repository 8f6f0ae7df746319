"""What comes over the wire, and what goes back.

After queue.py in serve/. A request's body is read by pydantic straight from its bytes; what is refused names the item.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from firstbert.errors import FirstbertError
from firstbert.predictor import label_text
from firstbert.rows import KINDS, VISIBLE, text_fault
from firstbert.serve.queue import Answered

# As JSON Schema's regular expressions have it: something visible, and no NUL.
_TEXT = f"^[^\\u0000]*{VISIBLE.pattern}[^\\u0000]*$".replace("\0", "\\u0000")
_SHOWN = 5  # of what is wrong with a request

Text: TypeAlias = Annotated[str, Field(json_schema_extra={"pattern": _TEXT})]
One: TypeAlias = Annotated[list[Text], Field(min_length=1, max_length=1)]


class RefusedError(FirstbertError):
    """A request that can't be answered, and why."""

    http_status = 422


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Body = TypeVar("Body", bound=_Body)


class Parameters(_Body):
    """Options of a request, as Hugging Face's text-classification task names them, and one of our own."""

    top_k: Annotated[int, Field(ge=1, le=1_000_000, description="How many labels to answer, best first.")] | None = None
    function_to_apply: (
        Annotated[
            Literal["none", "softmax", "sigmoid"],
            Field(description="none: scores before they become probabilities; unless given, the model's own."),
        ]
        | None
    ) = None
    details: Annotated[
        bool, Field(description="Answer objects with label, score, scores, truncated and unsure for each text.")
    ] = False


class PredictRequest(_Body):
    """One text, or several."""

    inputs: Annotated[
        Text | Annotated[list[Text | One], Field(min_length=1)],
        Field(description="A text, or a list of texts; also a list of lists of one text.", examples=["What a joy."]),
    ]
    parameters: Parameters | None = None
    truncate: Annotated[bool, Field(description="false: refuse texts that are too long, instead of cutting them.")] = (
        True
    )
    truncation_direction: Literal["right", "Right"] = "right"
    raw_scores: Annotated[bool, Field(description="Scores before they become probabilities.")] = False

    @property
    def single(self) -> bool:
        """Whether it is one text by itself."""
        return isinstance(self.inputs, str)

    @property
    def texts(self) -> list[str]:
        """Its texts."""
        items = [self.inputs] if isinstance(self.inputs, str) else self.inputs
        return [item if isinstance(item, str) else item[0] for item in items]


class ExplainRequest(_Body):
    """One text to explain."""

    inputs: Annotated[Text, Field(examples=["What a joy."])]
    method: Annotated[
        Literal["auto", "exact", "occlusion"],
        Field(description="How what each token adds is found; exact only where the model reads a mean."),
    ] = "auto"


class LabelScore(BaseModel):
    """A label and its probability."""

    label: str
    score: float


class Problem(BaseModel):
    """What is wrong."""

    error: str
    error_type: str


def read_predict(body: bytes) -> tuple[PredictRequest, list[str]]:
    """Return the request that a body holds, and its texts.

    Raises:
        RefusedError: it holds none; the message names what is wrong, and where.
    """
    request = _parsed(PredictRequest, body)
    texts = request.texts
    _check(texts, single=request.single)
    return request, texts


def read_explain(body: bytes) -> ExplainRequest:
    """Return the request that a body holds; see `read_predict`."""
    request = _parsed(ExplainRequest, body)
    _check([request.inputs], single=True)
    return request


def _parsed(kind: type[Body], body: bytes) -> Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise RefusedError(_told(error)) from None


def _check(texts: list[str], *, single: bool) -> None:
    """The rules for texts of every other door."""
    faults = [(i, fault) for i, text in enumerate(texts) if (fault := text_fault(text))]
    if faults:
        told = [f"inputs{'' if single else f'[{i}]'}: {KINDS[fault]}" for i, fault in faults[:_SHOWN]]
        raise RefusedError("; ".join([*told, *_more(len(faults))]))


def _told(error: ValidationError) -> str:
    """Say what is wrong and where, without repeating what was sent."""
    found: dict[str, str] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        if each["type"] == "json_invalid":
            return f"The body is no valid JSON: {each['msg'].removeprefix('Invalid JSON: ')}."
        unknown = each["type"] == "extra_forbidden"
        parts = [part for part in each["loc"] if isinstance(part, int) or unknown or part in _NAMES]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:40]}" for part in parts).removeprefix(".")
        found.setdefault(where or "The body", "unknown, or at the wrong place" if unknown else each["msg"])
    deepest = [where for where in found if not any(other.startswith((f"{where}[", f"{where}.")) for other in found)]
    told = [f"{where}: {found[where]}" for where in deepest[:_SHOWN]]
    return "; ".join([*told, *_more(len(deepest))])


_NAMES = {*PredictRequest.model_fields, *ExplainRequest.model_fields, *Parameters.model_fields}


def _more(n: int) -> list[str]:
    return [f"and {n - _SHOWN:,} more"] if n > _SHOWN else []


def answers(request: PredictRequest, answered: Answered) -> list[list[dict[str, Any]]] | list[dict[str, Any]]:
    """Return what each text is answered: labels with their scores, best first, or records where details are wanted.

    Args:
        request: what was asked.
        answered: its texts' scores and what the model makes of them.
    """
    parameters = request.parameters or _NONE
    function = parameters.function_to_apply
    if parameters.details:
        return answered.predictions.records()
    values = answered.probabilities
    if request.raw_scores or function == "none":
        values = answered.scores
    elif function is not None:
        calibration = replace(answered.predictor.calibration, many=function == "sigmoid")
        values = calibration.probabilities(np.array(answered.scores)).tolist()
    names = [label_text(label) for label in answered.predictor.labels]
    rows = (sorted(zip(names, row, strict=True), key=_by_score) for row in values)
    return [[{"label": name, "score": score} for name, score in row[: parameters.top_k]] for row in rows]


def _by_score(item: tuple[str, float]) -> float:
    return -item[1]


_NONE = Parameters()
