"""Routes of folders, indexes and search."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from recoseg.errors import ArchiveError, IndexDamaged, IndexMismatch, RecosegError
from recoseg.web import pictures, schemas
from recoseg.web.failures import Conflict, Missing, refuse
from recoseg.web.indexes import IndexInfo
from recoseg.web.service import Service, Serving
from recoseg.web.worker import Job

router = APIRouter()
Size = Annotated[int, Query(ge=16, le=1024)]


@router.get("/roots", response_model=list[schemas.RootRow])
def roots(service: Serving) -> list[dict[str, str]]:
    """The folders that may be indexed."""
    return [{"id": id, "name": name} for id, name in service.roots.names().items()]


@router.get("/roots/{id}/folders", response_model=schemas.FolderRow)
def folders(id: str, service: Serving, path: str = "") -> dict[str, Any]:
    """What lies directly in a folder below a root."""
    names, photos = service.roots.below(id, path)
    return {"path": path, "folders": names, "photos": photos}


@router.get("/indexes", response_model=list[schemas.IndexRow])
def indexes(service: Serving) -> list[dict[str, Any]]:
    """All indexes that can be read, those given at the start first."""
    rows = []
    for id in service.catalogue.ids():
        busy = _find_job(service, id) is not None
        # One that was damaged or taken away must not hide the others.
        with contextlib.suppress(IndexDamaged, IndexMismatch):
            rows.append(service.catalogue.describe(id, busy))
    return rows


@router.post("/indexes", status_code=202, response_model=schemas.Accepted)
def index(order: schemas.IndexOrder, service: Serving) -> dict[str, Any]:
    """Index a folder below a root; again, it goes on where it was stopped."""
    folder = service.roots.resolve(order.root, order.path)
    service.roots.check_links(order.root, folder)
    service.worker.check_room()
    name = order.name.strip() or folder.name
    id = service.catalogue.prepare(IndexInfo(name, order.root, order.path, str(folder)))
    running = _find_job(service, id)
    if running is None:
        work = Job(
            "index",
            f"indexing {name}",
            lambda step: service.catalogue.build(id, step),
            index=id,
            patient=True,
        )
        running = service.worker.submit(work)
    return {"job": running.id, "index": id}


@router.post("/search", response_model=schemas.SearchResult)
async def search(order: schemas.SearchOrder, service: Serving) -> Any:
    """The photos of an index that fit a phrase best."""
    service.catalogue.find(order.index)
    work = Job(
        "search",
        f"searching {order.query}",
        lambda step: service.catalogue.search(order.index, order.query, order.count),
    )
    done = await asyncio.wrap_future(service.worker.submit(work).finished)
    if done.error is not None:
        return refuse(done.error, done.status)
    if done.result is None:
        raise Conflict("the search was cancelled; start it again.")
    return done.result


@router.get("/indexes/{id}/photos/{photo:path}/thumb.jpg", **pictures.JPEG)
def thumb(id: str, photo: str, service: Serving, size: Size = 256) -> Response:
    """A small picture of an indexed photo, never cropped."""
    opened = service.catalogue.open(id)
    try:
        with pictures.DRAWING:
            small = pictures.fit_within(opened.image(photo, at_least=size), size)
            return pictures.jpeg_response(small)
    except ArchiveError as error:
        raise Missing(str(error)) from error
    except RecosegError:
        raise
    except (OSError, ValueError) as error:
        raise Missing("there is no such photo in this index.") from error


def _find_job(service: Service, id: str) -> Job | None:
    jobs = service.worker.jobs()
    return next((j for j in jobs if j.kind == "index" and j.index == id and not j.over), None)
