"""Pictures on their way to a browser."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
from fastapi.responses import Response
from PIL import Image

from recoseg.io.images import RGB

# Drawing takes many times an image's bytes; no more than this are drawn at once.
DRAWING = threading.Semaphore(2)
# A route's own class would describe its errors as pictures, too.
PNG: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {"image/png": {}}}},
}
JPEG: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {"image/jpeg": {}}}},
}
ZIP: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {"application/zip": {}}}},
}
KEEP = {"Cache-Control": "private, max-age=3600"}


def jpeg(image: RGB) -> bytes:
    """The bytes of a JPEG file."""
    return encoded(Image.fromarray(image), "JPEG")


def encoded(image: Image.Image, kind: str) -> bytes:
    """The bytes of a file of ``kind``, "JPEG" or "PNG"."""
    stream = io.BytesIO()
    image.save(stream, kind, quality=90)
    return stream.getvalue()


def fitted(image: RGB, size: int) -> RGB:
    """The whole image with its long side at most ``size`` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small)


def photo(data: bytes) -> Response:
    """The answer that is a JPEG file."""
    return Response(data, media_type="image/jpeg", headers=KEEP)


def drawing(data: bytes) -> Response:
    """The answer that is a PNG file."""
    return Response(data, media_type="image/png", headers=KEEP)
