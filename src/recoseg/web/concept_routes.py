"""Routes of banks, and of concepts that are built for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, UploadFile
from fastapi.responses import FileResponse, Response

from recoseg.building import calibration
from recoseg.concepts import concept
from recoseg.concepts.bank import ConceptBank
from recoseg.drawing import palette
from recoseg.errors import ArchiveError, InputError
from recoseg.models.registry import Models
from recoseg.web import drafts, forms, pictures, schemas
from recoseg.web.banks import BankEntry, groups
from recoseg.web.failures import Missing, Unprocessable
from recoseg.web.segmenters import STUDENT
from recoseg.web.service import Service, Serving
from recoseg.web.worker import Job, OnStep

router = APIRouter()
BINARY = "application/octet-stream"
Size = Annotated[int, Query(ge=16, le=1024)]


@router.get("/banks", response_model=list[schemas.BankRow])
def banks(service: Serving) -> list[dict[str, Any]]:
    """All banks with their concepts, the shipped one first; a student stands among them."""
    rows = [_describe(entry) for entry in service.shelf.entries()]
    if service.segmenters.student is not None:
        names = service.segmenters.student.names
        words = {name: (name,) for name in names}
        rows.append(_row(STUDENT, "student", words, shipped=False, calibrated=False))
    return rows


@router.get("/banks/{id}/file", response_class=Response, responses={200: {"content": {BINARY: {}}}})
def file(id: str, service: Serving) -> Response:
    """The bank's file, for ``recoseg segment --bank``."""
    entry = service.shelf.find(id)
    return FileResponse(entry.path, media_type=BINARY, filename=f"{entry.name}.bank")


@router.delete("/banks/{id}/concepts/{name}", status_code=204, response_class=Response)
def drop(id: str, name: str, service: Serving) -> Response:
    """Take a concept out of a bank; a bank made on the page goes with its last one."""
    service.shelf.find(id)

    def edit(bank: ConceptBank | None) -> ConceptBank | None:
        if bank is None:
            raise Missing("this bank is gone; load the list anew.")
        left = bank.drop(name)
        return left if len(left) else None

    service.shelf.change(id, edit)
    return Response(status_code=204)


@router.post("/banks/{id}/calibrate", status_code=202, response_model=schemas.Accepted)
def calibrate(id: str, index: Annotated[str, Form()], service: Serving) -> dict[str, Any]:
    """Give a bank's concepts the thresholds that ``unknown`` needs, from an index."""
    service.shelf.find(id)
    service.catalogue.find(index)
    work = Job("calibrate", "calibrating", lambda step: _calibrate(service, id, index, step), index)
    return {"job": service.worker.submit(work).id, "index": index}


@router.post("/concepts/preview", status_code=202, response_model=schemas.Accepted)
def preview(
    service: Serving,
    words: Annotated[str, Form(description="JSON list; the first is the concept's name")],
    index: Annotated[str, Form(description="id of an index; empty for examples alone")] = "",
    exclude: Annotated[str, Form(description="JSON list of photo ids to leave out")] = "[]",
    k: Annotated[int | None, Form(ge=1, le=200)] = None,
    draft: Annotated[str, Form(description="an earlier draft, for its examples")] = "",
    examples: Annotated[list[UploadFile] | None, Form()] = None,
) -> dict[str, Any]:
    """Build a concept without keeping it; the job's result shows what it was learnt from."""
    named = _words(forms.texts(words, "words"))
    if index:
        service.catalogue.find(index)
    before = service.drafts.find(draft).order.examples if draft else ()
    given = [drafts.Example(forms.name_of(one), one.file.read()) for one in examples or ()]
    shown = tuple({example.id: example for example in (*before, *given)}.values())
    if not index and not shown:
        raise Unprocessable("name an index to learn from, or hand over example images.")
    order = drafts.DraftRequest(named, index, shown, frozenset(forms.texts(exclude, "exclude")), k)
    work = Job(
        "preview",
        f"learning {named[0]}",
        lambda step: drafts.to_json(service.drafts.make(order, step)),
        index or None,
    )
    return {"job": service.worker.submit(work).id, "index": index or None}


@router.get("/drafts/{draft}/photos/{photo:path}/heat.png", **pictures.PNG)
def heat(draft: str, photo: str, service: Serving, size: Size = 256) -> Response:
    """How near each part of the square is to the reference: colour, opaque where it is near."""
    found = service.drafts.find(draft)
    place = found.place(photo)
    if found.evidence.pictures is None:
        raise Missing("this draft keeps no pictures; build it again.")
    return pictures.png_response(found.evidence.pictures.layer(place, size))


@router.get("/drafts/{draft}/photos/{photo:path}/photo.jpg", **pictures.JPEG)
def photo(draft: str, photo: str, service: Serving, size: Size = 360) -> Response:
    """The square of a photo that the model saw."""
    try:
        with pictures.DRAWING:
            square = service.drafts.square(service.drafts.find(draft), photo, size)
            return pictures.jpeg_response(square)
    except ArchiveError as error:
        raise Missing(str(error)) from error


@router.post("/drafts/{draft}/save", response_model=schemas.Saved)
def save(draft: str, order: schemas.SaveOrder, service: Serving) -> dict[str, str]:
    """Put a draft's concept into a bank, new or not."""
    name = _words((order.name.strip(),))[0]
    bank = service.drafts.save(draft, order.bank.strip(), name, order.replace)
    return {"bank": bank, "concept": name}


def _calibrate(service: Service, id: str, index: str, step: OnStep) -> dict[str, Any]:
    entry, opened = service.shelf.find(id), service.catalogue.open(index)
    models = Models.load(entry.bank.recipe, service.settings.device)
    found = calibration.calibrate(entry.bank, opened, models=models, progress=step)

    def edit(bank: ConceptBank | None) -> ConceptBank | None:
        if bank is None:
            raise Missing("this bank is gone; load the list anew.")
        return bank.put(
            *(
                dataclasses.replace(
                    bank[name], threshold=found[name].threshold, thresholds=found[name].thresholds
                )
                for name in bank.names
                if name in found
            )
        )

    return {"bank": service.shelf.change(id, edit)}


def _words(given: tuple[str, ...]) -> tuple[str, ...]:
    try:
        (words,) = concept.words({given[0]: given}).values() if given else ((),)
    except InputError as error:
        raise Unprocessable(str(error)) from error
    if not words:
        raise Unprocessable("words must name at least one; the first is the concept's name.")
    return words


def _describe(entry: BankEntry) -> dict[str, Any]:
    words = {c.name: c.aliases for c in entry.bank.concepts}
    return _row(
        entry.id,
        entry.name,
        words,
        shipped=entry.shipped,
        calibrated=entry.calibrated,
        temperature=entry.bank.recipe.crf.temperature,
    )


def _row(
    id: str,
    name: str,
    words: Mapping[str, tuple[str, ...]],
    *,
    shipped: bool,
    calibrated: bool,
    temperature: float | None = None,
) -> dict[str, Any]:
    colours = palette.hexes(palette.colours(len(words)))
    # A bank of one's own is short enough to be one list.
    grouped = groups() if shipped else {}
    return {
        "id": id,
        "name": name,
        "shipped": shipped,
        "calibrated": calibrated,
        "temperature": temperature,
        "concepts": [
            {
                "name": one,
                "words": list(aliases),
                "colour": colour,
                "group": grouped.get(one, ""),
            }
            for (one, aliases), colour in zip(words.items(), colours, strict=True)
        ],
    }
