"""Image responses."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from fastapi.responses import Response
from numpy.typing import NDArray
from PIL import Image

from recoseg.io.images import RGB, encode_image

# Drawing takes many times an image's bytes; no more than this are drawn at once.
DRAWING = threading.Semaphore(2)
# A route's own class would describe its errors as pictures, too.
_FORMS: list[dict[str, Any]] = [
    {"response_class": Response, "responses": {200: {"content": {kind: {}}}}}
    for kind in ("image/png", "image/jpeg", "application/zip")
]
PNG, JPEG, ZIP = _FORMS
KEEP = {"Cache-Control": "private, max-age=3600"}


def jpeg(image: RGB) -> bytes:
    """The bytes of a JPEG file."""
    return encode_image(image, "JPEG", quality=90)


def fit_within(image: RGB, size: int) -> RGB:
    """The whole image with its long side at most ``size`` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small)


def jpeg_response(image: RGB) -> Response:
    """The answer that is a JPEG file."""
    return Response(jpeg(image), media_type="image/jpeg", headers=KEEP)


def png_response(image: Image.Image | NDArray[np.uint8]) -> Response:
    """The answer that is a PNG file."""
    return Response(encode_image(image), media_type="image/png", headers=KEEP)
