"""The routes: a request → its answer.

After connection.py in serve/.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from itertools import compress, count
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import TypeAdapter
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from firstbert import __version__, guide
from firstbert.serve import describe, schemas
from firstbert.serve.gate import Answer, Ask, Gate, Handler, Known, TooLargeError, add_errors, body_of
from firstbert.serve.models import Models
from firstbert.serve.options import ServeOptions
from firstbert.serve.queue import Answered, TooLateError
from firstbert.serve.watch import Log, Metrics

_LISTED = 20  # rows named in a header
_as_json = TypeAdapter(Any).dump_json  # quicker than json.dumps
_PAGE_HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}


def create(options: ServeOptions, models: Models, metrics: Metrics, log: Log) -> Gate:
    """Return the service as an ASGI application; it checks the models as it starts, and closes them at its end."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        checking = asyncio.create_task(models.check())
        yield
        checking.cancel()
        await models.close()

    app = FastAPI(
        title="firstbert", version=__version__, description=describe.ABOUT, docs_url=None, redoc_url=None, lifespan=life
    )
    routes = _Routes(options, models, metrics, log)
    routes.add_to(app)
    _add_docs(app)
    add_errors(app)
    if options.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=options.cors, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["X-Request-Id", "X-Truncated", "X-Unsure", "Retry-After"],
        )  # fmt: skip
    return Gate(app, {} if options.cors else routes.known(), options, metrics, log)


class _Routes:
    """What answers each route."""

    def __init__(self, options: ServeOptions, models: Models, metrics: Metrics, log: Log) -> None:
        self.options, self.models, self.metrics, self.log = options, models, metrics, log
        self.page = guide.render()
        self.posts: dict[str, Handler] = {"/": self.classify, "/predict": self.predict, "/explain": self.explain}

    def known(self) -> dict[str, Known]:
        """Return what answers POST requests to each path."""
        found: dict[str, Known] = {}
        for path, handler in self.posts.items():
            found[path] = Known(path, None, handler)
            for name in self.models.served:
                found[_of_model(path).format(name=name)] = Known(_of_model(path), name, handler)
        return found

    def add_to(self, app: FastAPI) -> None:
        """Register all of them."""
        for path, handler in self.posts.items():
            for where in (path, _of_model(path)):
                app.add_api_route(
                    where, self._endpoint(handler), methods=["POST"], name=f"{handler.__name__} {where}",
                    description=handler.__doc__, response_class=Response,
                    **describe.of_post(path, tuple(self.models.served) if where != path else ()),
                )  # fmt: skip
        gets = {"/health": self.health, "/ready": self.ready, "/info": self.info, "/metrics": self.scrape}
        for path, get in gets.items():
            kind = describe.PlainText if path == "/metrics" else Response
            app.add_api_route(path, get, methods=["GET"], response_class=kind, responses=describe.of_get(path))
        app.add_api_route("/", self.show, methods=["GET"], response_class=HTMLResponse)

    def _endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            ask: Ask = request.scope["ask"]
            ask.body = await body_of(request.scope, request.receive, request.scope["room"])
            ask.model = request.path_params.get("name")
            return (await handler(ask)).as_response()

        return endpoint

    # -- POST

    async def predict(self, ask: Ask) -> Answer:
        """Labels with probabilities, best first; a list of them for each text where a list came."""
        return await self._predict(ask, always_listed=False)

    async def classify(self, ask: Ask) -> Answer:
        """As Hugging Face's text-classification task has it: a list for each text, also for a single one."""
        return await self._predict(ask, always_listed=True)

    async def _predict(self, ask: Ask, *, always_listed: bool) -> Answer:
        served = self.models.get(ask.model)
        served.queue.refuse_if_full()  # before its body is read and cut into tokens
        asked, texts = schemas.read_predict(ask.body)
        if len(texts) > self.options.max_inputs:
            raise TooLargeError(f"{len(texts):,} inputs are too many: at most {self.options.max_inputs:,} a request.")
        served.metrics.stage("read", time.perf_counter() - ask.start)
        answered = await served.answer(texts)
        ask.facts["inputs"] = len(texts)
        headers = self._tell(ask, asked.truncate, answered) if answered.odd else {}
        if self.log.texts:
            ask.facts |= {"texts": texts, "labels": answered.predictions.best()}
        found = schemas.answers(asked, answered)
        served.metrics.answered(answered.truncated, answered.unsure)
        return Answer(_as_json(found[0] if asked.single and not always_listed else found), headers=headers)

    @staticmethod
    def _tell(ask: Ask, truncate: bool, answered: Answered) -> dict[str, str]:
        """Note for the log, and return as headers, which texts were cut and which answers are unsure."""
        cut, unsure = (list(compress(count(), so)) for so in (answered.truncated, answered.unsure))
        if cut and not truncate:
            limit = answered.predictor.encoder.max_length
            raise TooLargeError(f"inputs {_some(cut)}: longer than {limit} tokens, and truncate is false.")
        ask.facts |= {"truncated": len(cut) or None, "unsure": len(unsure) or None}
        return {name: _some(rows) for name, rows in (("X-Truncated", cut), ("X-Unsure", unsure)) if rows}

    async def explain(self, ask: Ask) -> Answer:
        """One text's way through the model: tokens, every layer, scores, and what each token adds to them."""
        asked = schemas.read_explain(ask.body)
        try:
            trace = await self.models.get(ask.model).explain(asked.inputs, asked.method)
        except TimeoutError:
            raise TooLateError(f"No explanation within {self.options.deadline_s:g} s.") from None
        return Answer(json.dumps(trace.as_dict()).encode())

    # -- GET

    async def health(self) -> Response:
        """Whether the process is alive."""
        return _json({"status": "ok"})

    async def ready(self) -> Response:
        """Whether all models answer as they did where they were saved; 503 before that, and once the service ends."""
        states = {name: served.ready or self.models.why(served) for name, served in self.models.served.items()}
        body = {"ready": self.models.ready, "draining": self.models.draining, "models": states}
        return _json(body, 200 if self.models.ready else 503)

    async def info(self) -> Response:
        """What is served, and within which limits."""
        models = [served.facts() for served in self.models.served.values()]
        first = models[0]
        body = {
            "firstbert": __version__,
            "version": __version__,  # as text-embeddings-inference has these
            "model_id": first["name"],
            "model_sha": first["weights_sha256"],
            "max_input_length": first["max_length"],
            "max_client_batch_size": self.options.max_inputs,
            "max_body_bytes": self.options.max_body,
            "deadline_s": self.options.deadline_s,
            "models": models,
        }
        return _json(body)

    async def scrape(self) -> Response:
        """Counters and timings, for Prometheus."""
        return describe.PlainText(self.metrics.text())

    async def show(self) -> Response:
        """The page."""
        return HTMLResponse(self.page, headers=_PAGE_HEADERS)


def _of_model(path: str) -> str:
    """The same route for a model by name."""
    return "/models/{name}" + ("" if path == "/" else path)


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def _some(rows: list[int]) -> str:
    """Row numbers, as many as a header has room for."""
    more = f",+{len(rows) - _LISTED}" if len(rows) > _LISTED else ""
    return ",".join(map(str, rows[:_LISTED])) + more


def _add_docs(app: FastAPI) -> None:
    """Swagger's page from our own host: it works without a network."""
    app.mount("/docs/static", StaticFiles(directory=str(files("fastapi_swagger") / "resources")))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json", title="firstbert: the API",
            swagger_js_url=f"{root}/docs/static/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/static/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/static/favicon-32x32.png",
        )  # fmt: skip
