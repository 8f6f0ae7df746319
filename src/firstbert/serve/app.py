"""The routes: a request → its answer.

After gate.py in serve/.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from firstbert import __version__, guide
from firstbert.serve import describe, schemas
from firstbert.serve.gate import Answer, Ask, Gate, Handler, TooLargeError, add_errors
from firstbert.serve.models import Models
from firstbert.serve.options import ServeOptions
from firstbert.serve.queue import Answered, TooLateError
from firstbert.serve.schemas import PredictRequest
from firstbert.serve.watch import Log, Metrics

_LISTED = 20  # rows named in a header
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
    direct = {} if options.cors else routes.direct()
    return Gate(app, direct, options, metrics, log)


class _Routes:
    """What answers each route."""

    def __init__(self, options: ServeOptions, models: Models, metrics: Metrics, log: Log) -> None:
        self.options, self.models, self.metrics, self.log = options, models, metrics, log
        self.page = guide.render()
        self.posts: dict[str, Handler] = {"/": self.classify, "/predict": self.predict, "/explain": self.explain}

    def direct(self) -> dict[str, tuple[str, str | None, Handler]]:
        """Return what POST requests to each path are answered by: path → (route, model, handler)."""
        found: dict[str, tuple[str, str | None, Handler]] = {}
        for path, handler in self.posts.items():
            found[path] = path, None, handler
            for name in self.models.served:
                found[_of_model(path).format(name=name)] = _of_model(path), name, handler
        return found

    def add_to(self, app: FastAPI) -> None:
        """Register all of them."""
        for path, handler in self.posts.items():
            for where in (path, _of_model(path)):
                app.add_api_route(
                    where, self._endpoint(handler), methods=["POST"], name=f"{handler.__name__} {where}",
                    description=handler.__doc__, response_class=Response, **describe.of_post(path),
                )  # fmt: skip
        gets = {"/health": self.health, "/ready": self.ready, "/info": self.info, "/metrics": self.scrape}
        for path, get in gets.items():
            kind = describe.PlainText if path == "/metrics" else Response
            app.add_api_route(path, get, methods=["GET"], response_class=kind, responses=describe.of_get(path))
        app.add_api_route("/", self.show, methods=["GET"], include_in_schema=False, response_class=Response)

    def _endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            model = request.path_params.get("name")
            ask = Ask(request.scope, request.receive, self.options.max_body, model)
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
        start = time.perf_counter()
        asked = schemas.read_predict(await ask.body())
        texts = asked.texts
        if len(texts) > self.options.max_inputs:
            raise TooLargeError(f"{len(texts):,} inputs are too many: at most {self.options.max_inputs:,} a request.")
        with self.models.use(ask.model) as served:
            served.metrics.stage("read", time.perf_counter() - start)
            answered = await served.answer(texts)
            found = schemas.answers(asked, answered)
            limit = served.artifact.predictor.encoder.max_length
            headers = self._tell(ask, asked, answered, limit)
            served.metrics.answered(answered.predictions)
        return Answer(json.dumps(found[0] if asked.single and not always_listed else found).encode(), headers=headers)

    def _tell(self, ask: Ask, asked: PredictRequest, answered: Answered, limit: int) -> dict[str, str]:
        """Note for the log, and return as headers, which texts were cut and which answers are unsure."""
        predictions = answered.predictions
        cut, unsure = (
            [i for i, is_so in enumerate(rows.tolist()) if is_so]
            for rows in (predictions.truncated, predictions.unsure)
        )
        if cut and not asked.truncate:
            raise TooLargeError(f"inputs {_some(cut)}: longer than {limit} tokens, and truncate is false.")
        facts = {"texts": asked.texts, "labels": predictions.best()} if self.log.texts else {}
        ask.note(inputs=len(asked.texts), truncated=len(cut) or None, unsure=len(unsure) or None, **facts)
        return {name: _some(rows) for name, rows in (("X-Truncated", cut), ("X-Unsure", unsure)) if rows}

    async def explain(self, ask: Ask) -> Answer:
        """One text's way through the model: tokens, every layer, scores, and what each token adds to them."""
        asked = schemas.read_explain(await ask.body())
        with self.models.use(ask.model) as served:
            try:
                trace = await served.explain(asked.inputs, asked.method)
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
        return Response(self.page, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)


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
