"""What the OpenAPI description says of each route.

After schemas.py in serve/.
"""

from __future__ import annotations

from typing import Any

from fastapi import Response

from firstbert.serve.schemas import ExplainRequest, LabelScore, PredictRequest, Problem

ABOUT = """Sentence classification with a pretrained encoder. `POST /predict` answers as text-embeddings-inference
does, `POST /` as Hugging Face's text-classification task. Further models answer at `/models/NAME`,
`/models/NAME/predict` and `/models/NAME/explain`. The headers `X-Truncated` and `X-Unsure` name the texts (counted from
0) that were cut, and those whose answer is not to be relied on; with `{"parameters": {"details": true}}` each answer
says so itself."""

_ERRORS = {
    401: "No API key that is known.", 404: "No model of that name.", 413: "Too many bytes or texts.",
    422: "A request that can't be answered.", 429: "The queue is full; Retry-After says when to try again.",
    500: "A fault.", 503: "Not ready.", 504: "No answer before the deadline.",
}  # fmt: skip
_ANSWERS: dict[str, Any] = {
    "/": list[list[LabelScore]] | list[dict[str, Any]],
    "/predict": list[LabelScore] | list[list[LabelScore]] | dict[str, Any] | list[dict[str, Any]],
    "/explain": dict[str, Any],
}


class PlainText(Response):
    """Metrics as Prometheus reads them."""

    media_type = "text/plain; version=0.0.4; charset=utf-8"


def of_post(path: str) -> dict[str, Any]:
    """Return what FastAPI is told of a POST route: its body, and what may be answered."""
    body = _inlined((ExplainRequest if path == "/explain" else PredictRequest).model_json_schema())
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "The answer.", "model": _ANSWERS[path]}}
    responses |= {status: {"description": text, "model": Problem} for status, text in _ERRORS.items()}
    extra = {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}
    return {"responses": responses, "openapi_extra": extra}


def _inlined(schema: dict[str, Any]) -> Any:
    """The schema with its definitions where they are used."""
    known = schema.pop("$defs", {})

    def put(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return put(known[value["$ref"].rsplit("/", 1)[1]])
            return {name: put(each) for name, each in value.items()}
        return [put(each) for each in value] if isinstance(value, list) else value

    return put(schema)


def of_get(path: str) -> dict[int | str, dict[str, Any]]:
    """Return what FastAPI is told of a GET route's answers."""
    content = {"text/plain": {"schema": {"type": "string"}}}
    if path != "/metrics":
        content = {"application/json": {"schema": {"type": "object"}}}
    found: dict[int | str, dict[str, Any]] = {200: {"description": "The answer.", "content": content}}
    if path in ("/info", "/metrics"):
        found[401] = {"description": _ERRORS[401], "model": Problem}
    if path == "/ready":
        found[503] = {"description": _ERRORS[503], "content": content}
    return found
