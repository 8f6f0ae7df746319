"""LitServe's side of a classifier; a module of its own, since its workers are processes that import it."""

from __future__ import annotations

from typing import Any

import litserve


class Labels(litserve.LitAPI):
    """Texts → labels with their probabilities, best first."""

    job: dict[str, Any]

    def setup(self, device: str) -> None:
        from benchmarks.serve_peers import opened

        self.answer = opened(self.job)

    def decode_request(self, request, **_: Any) -> str:  # type: ignore[no-untyped-def] # its annotation has a meaning
        text: str = request["inputs"]
        return text

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, x: Any, **_: Any) -> Any:
        return self.answer([x])[0] if isinstance(x, str) else self.answer(x)

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any, **_: Any) -> Any:
        return output
