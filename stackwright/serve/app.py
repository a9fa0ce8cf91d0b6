"""The application: routes, and what stands around them.

In: a `Served`, everything that is served. Out: an ASGI application. Around all routes stand, from the outside: counting,
access (`access.py`), bounded bodies; every error is in OpenAI's form (`faults.py`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stackwright import __version__
from stackwright.serve.access import BoundedBodies, Gate
from stackwright.serve.citing import Citer
from stackwright.serve.completing import Completer
from stackwright.serve.faults import ApiError, install
from stackwright.serve.infill_api import infill_routes
from stackwright.serve.lookups import RunQuestions
from stackwright.serve.metrics import RequestMetrics, page
from stackwright.serve.openai_api import openai_routes
from stackwright.serve.schema import CiteBody, CompletionBody, FimBody, InfillBody, LookupBody, RemovalBody

WEB = Path(__file__).parent / "web"

BODIES: Mapping[str, type[BaseModel]] = {
    "/v1/completions": CompletionBody,
    "/v1/fim/completions": FimBody,
    "/infill": InfillBody,
    "/cite": CiteBody,
    "/lookup": LookupBody,
    "/removal-requests": RemovalBody,
}

_COUNTED_PATHS = frozenset([*BODIES, "/", "/about", "/health", "/metrics", "/props", "/ready", "/v1/models"])


@dataclass(frozen=True)
class Served:
    """What one server serves. `about` is the answer of `/about`; `questions` are there where a run is served."""

    name: str
    created: int
    about: Mapping[str, Any]
    completer: Completer
    searcher: Citer | None  # of texts that are asked about, so that completions do not wait for them
    questions: RunQuestions | None
    keys: Sequence[bytes] | None


def make_app(served: Served) -> ASGIApp:
    """Return the application; its model runs between start-up and shutdown."""
    batcher = served.completer.batcher

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        batcher.stop()

    app = FastAPI(title="Stackwright", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    install(app, {path: list(body.model_fields) for path, body in BODIES.items()})
    metrics = RequestMetrics()
    app.include_router(openai_routes(served.completer, served.name, served.created))
    app.include_router(infill_routes(served.completer, served.name))
    _add_state(app, served, metrics)
    _add_questions(app, served)
    _add_page(app)
    return _Counted(Gate(BoundedBodies(app), served.keys), metrics)


def _add_state(app: FastAPI, served: Served, metrics: RequestMetrics) -> None:
    batcher = served.completer.batcher

    @app.get("/health", tags=["state"])
    async def health() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "ok"}

    @app.get("/ready", tags=["state"])
    async def ready() -> dict[str, str]:
        """Say that requests are answered; 503 where the model failed or the server stops."""
        if not batcher.is_running:
            raise ApiError(503, "the model does not run")
        return {"status": "ready"}

    @app.get("/metrics", tags=["state"], response_class=PlainTextResponse)
    async def prometheus() -> PlainTextResponse:
        """Counts and times for Prometheus."""
        return PlainTextResponse(page(metrics, *_model_metrics(served)), media_type="text/plain; version=0.0.4")

    @app.get("/about", tags=["state"])
    async def about() -> Mapping[str, Any]:
        """Describe model, run and policy."""
        return served.about


def _model_metrics(served: Served) -> tuple[dict[str, tuple[str, float]], dict[str, tuple[str, float]]]:
    scheduler, citer = served.completer.batcher.scheduler, served.completer.citer
    counts = scheduler.counts
    gauges: dict[str, tuple[str, float]] = {
        "stackwright_running": ("Requests in the batch.", scheduler.num_running),
        "stackwright_waiting": ("Requests in the queue.", scheduler.num_waiting),
    }
    counters: dict[str, tuple[str, float]] = {
        "stackwright_completions_total": ("Completions that came to their end.", counts.finished),
        "stackwright_cancelled_total": ("Completions that were cancelled.", counts.cancelled),
        "stackwright_prompt_tokens_total": ("Tokens of prompts.", counts.prompt_tokens),
        "stackwright_reused_tokens_total": ("Of these, known from an earlier request.", counts.reused_tokens),
        "stackwright_new_tokens_total": ("Tokens drawn.", counts.new_tokens),
        "stackwright_guessed_tokens_total": ("Of these, guessed and confirmed.", counts.guessed_tokens),
        "stackwright_passes_total": ("Passes through the model.", counts.steps),
    }
    if citer is not None:
        counters["stackwright_cited_completions_total"] = ("Completions looked up in the index.", citer.completions)
        counters["stackwright_completions_with_citations_total"] = ("Of these, with citations.", citer.with_citations)
        counters["stackwright_citing_seconds_total"] = ("Seconds spent in looking up.", citer.seconds)
    return gauges, counters


def _add_questions(app: FastAPI, served: Served) -> None:
    def questions() -> RunQuestions:
        if served.questions is None:
            raise ApiError(404, "this server has no run to ask: serve a run folder")
        return served.questions

    @app.post("/cite", tags=["origins"])
    async def cite(body: CiteBody) -> Mapping[str, Any]:
        """Find the spans of a text that stand in the training data."""
        if served.searcher is None:
            raise ApiError(404, "this server has no index: give --index, or serve a run that has one")
        return (await served.searcher.search(body.text)).to_json()

    @app.post("/lookup", tags=["origins"])
    async def lookup(body: LookupBody) -> Mapping[str, Any]:
        """Say what the ledger knows of an account, a repository or a file."""
        return await questions().lookup(body.target)

    @app.post("/removal-requests", tags=["origins"])
    async def removal_requests(body: RemovalBody, request: Request) -> Mapping[str, Any]:
        """Record a removal request; without effect until the operator applies it."""
        client = request.client.host if request.client else ""
        return await questions().file_request(client, body.target, body.requester, body.reason)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/static", StaticFiles(directory=WEB))


class _Counted:
    """Counts requests by path and status, and times them to the end of their answers."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in _COUNTED_PATHS else "other"
            self._metrics.saw(path, status, time.perf_counter() - begun)
