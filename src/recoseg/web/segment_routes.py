"""Routes that segment an image and show what came of it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Form, Query, UploadFile
from fastapi.responses import FileResponse, Response
from PIL import Image

from recoseg.concepts.concept import STRICTNESSES
from recoseg.segmenting.options import Options
from recoseg.web import forms, pictures, schemas
from recoseg.web.segmenters import SegmentRequest
from recoseg.web.service import Serving
from recoseg.web.worker import Job, OnStep

router = APIRouter()
Temperature = Annotated[float | None, Form(ge=1e-6, le=1e6, allow_inf_nan=False)]
Strength = Annotated[
    float, Form(ge=0, le=100, allow_inf_nan=False, description="of the CRF, times the usual")
]
Strictness = Annotated[
    float | None,
    Form(
        ge=STRICTNESSES[0],
        le=STRICTNESSES[-1],
        allow_inf_nan=False,
        description="implies unknown: the share of an archive's pixels that must score lower",
    ),
]
Opacity = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)]


@router.post("/segment", status_code=202, response_model=schemas.Accepted)
def segment(
    service: Serving,
    image: UploadFile,
    bank: Annotated[str, Form()] = "everyday",
    concepts: Annotated[str, Form(description="JSON list; empty for the whole bank")] = "[]",
    refine: Annotated[bool, Form()] = True,
    strength: Strength = 1.0,
    temperature: Temperature = None,
    unknown: Annotated[bool, Form()] = False,
    strictness: Strictness = None,
) -> dict[str, Any]:
    """Segment an image with a bank; the job's result names the classes."""
    options = Options(
        concepts=forms.texts(concepts, "concepts") or None,
        refine=refine,
        unknown=unknown,
        strictness=strictness,
        strength=strength,
        temperature=temperature,
    )
    order = SegmentRequest(bank, options)
    service.segmenters.check(order)
    data, name = image.file.read(), forms.name_of(image)

    def work(step: OnStep) -> dict[str, Any]:
        return service.results.make(data, name, order, step)

    return {"job": service.worker.submit(Job("segment", f"segmenting {name}", work)).id}


@router.get("/results/{id}/labels.png", **pictures.PNG)
def labels(id: str, service: Serving, plain: bool = False) -> Response:
    """The label map: an indexed PNG, or with ``plain`` a grey one whose values are the indices."""
    path = service.results.file(id, "labels.png")
    if not plain:
        return _file(path)
    return pictures.png_response(np.asarray(Image.open(path)))


@router.get("/results/{id}/overlay.png", **pictures.PNG)
def overlay(id: str, service: Serving, opacity: Opacity = 0.5) -> Response:
    """The photo with the labels' colours laid over."""
    with pictures.DRAWING:
        return pictures.png_response(service.results.open(id).overlay(opacity))


@router.get("/results/{id}/confidence.png", **pictures.PNG)
def confidence(id: str, service: Serving) -> Response:
    """How probable each pixel's label is: 8-bit grey, 255 is certain."""
    return _file(service.results.file(id, "confidence.png"))


@router.get("/results/{id}/photo.jpg", **pictures.JPEG)
def photo(id: str, service: Serving) -> Response:
    """The photo, upright."""
    return _file(service.results.file(id, "photo.jpg"))


@router.get("/results/{id}/result.json", response_model=schemas.SegmentResult)
def result(id: str, service: Serving) -> Any:
    """The classes, their colours and areas."""
    return json.loads(service.results.file(id, "result.json").read_bytes())


@router.get("/results/{id}/export/{format}", **pictures.ZIP)
def export(id: str, format: str, service: Serving) -> Response:
    """A zip in another tool's format: coco-rle, coco-polygons, yolo, voc, cvat and others."""
    with pictures.DRAWING:
        data = service.results.export(id, format)
    return Response(data, media_type="application/zip", headers=pictures.KEEP)


@router.delete("/results/{id}", status_code=204, response_class=Response)
def drop(id: str, service: Serving) -> Response:
    """Forget a result."""
    service.results.drop(id)
    return Response(status_code=204)


def _file(path: Any) -> FileResponse:
    return FileResponse(path, headers=pictures.KEEP)
