"""Routes about the server itself: health, metrics, jobs."""

from __future__ import annotations

from typing import Any

import torch
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from recoseg._version import VERSION
from recoseg.recipe import preset
from recoseg.web import schemas
from recoseg.web.service import Serving
from recoseg.web.worker import Job

router = APIRouter()


@router.get("/health", response_model=schemas.Health)
def health(service: Serving) -> dict[str, Any]:
    """Whether the server is well, and how busy."""
    running, waiting = service.worker.counts()
    return {
        "version": VERSION,
        "model": preset("lite").dense,
        "threads": torch.get_num_threads(),
        "running": running,
        "waiting": waiting,
        "bound": service.worker.bound,
        "max_bytes": service.settings.max_bytes,
        "max_pixels": service.settings.max_pixels,
    }


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: Serving) -> bytes:
    """Counts and times in Prometheus' text format."""
    return service.metrics.text()


@router.get("/jobs", response_model=list[schemas.JobRow])
def jobs(service: Serving) -> list[Job]:
    """All jobs that are remembered, newest first."""
    return service.worker.jobs()


@router.get("/jobs/{id}", response_model=schemas.JobRow)
def job(id: str, service: Serving) -> Job:
    """How far a job is, and its result when it is done."""
    return service.worker.find(id)


@router.delete("/jobs/{id}", response_model=schemas.JobRow)
def cancel(id: str, service: Serving) -> Job:
    """End a job: at once if it waits, at its next step if it runs."""
    return service.worker.cancel(id)
