"""ASGI application: routes, middleware and the page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from recoseg._version import VERSION
from recoseg.web import (
    archive_routes,
    concept_routes,
    failures,
    schemas,
    segment_routes,
    server_routes,
)
from recoseg.web.guard import Guard
from recoseg.web.metrics import CountingMiddleware
from recoseg.web.service import Service
from recoseg.web.settings import ServerSettings

STATIC = Path(str(resources.files("recoseg.web"))) / "static"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "description": words}
    for status, words in {
        400: "The request cannot be served as it is.",
        401: "The server's secret is missing.",
        403: "The request comes from where none may.",
        404: "What the address names is not there.",
        409: "It does not fit what is there.",
        413: "The upload is too large.",
        422: "A field is not of the form it must have.",
        500: "Something that nobody foresaw; the server's log says where.",
        503: "Too much is waiting already; Retry-After says when to ask again.",
    }.items()
}


def create(settings: ServerSettings | None = None) -> FastAPI:
    """The ASGI application; its shutdown ends the work and removes the temporary folder.

    Args:
        settings: by default those of ``recoseg serve`` without options.

    Raises:
        RecosegError: a bank, an index or the student cannot be opened.
    """
    settings = settings or ServerSettings()
    service = Service.start(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    app = FastAPI(
        title="recoseg",
        version=VERSION,
        description="Name a concept, point at a folder of unlabelled photos, get a segmenter.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    app.state.service = service
    failures.install(app)
    for module in (server_routes, segment_routes, archive_routes, concept_routes):
        app.include_router(module.router, prefix="/api")
    _page(app)
    app.add_middleware(Guard, settings=settings, worker=service.worker)
    app.add_middleware(CountingMiddleware, metrics=service.metrics)
    return app


def _page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), "static")
