"""Encoding images, and saving them atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recoseg.io import durable

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def encode_image(
    image: Image.Image | NDArray[Any],
    kind: str = "PNG",
    palette: NDArray[np.uint8] | None = None,
    **options: Any,
) -> bytes:
    """The bytes of an image file.

    Args:
        image: a PIL image, or an array that PIL takes: (H, W) grey or (H, W, 3) RGB.
        kind: ``"PNG"``, ``"JPEG"`` or ``"WEBP"``.
        palette: (C, 3) colours; the image holds their indices and is saved as an indexed PNG.
        options: as ``PIL.Image.Image.save``, for example ``quality``.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if palette is not None:
        picture = picture.convert("P")
        picture.putpalette(palette.tobytes())
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def save_image(
    path: Path,
    image: Image.Image | NDArray[Any],
    palette: NDArray[np.uint8] | None = None,
    **options: Any,
) -> Path:
    """Write ``encode_image`` of the kind that the path's suffix says, whole or not at all."""
    durable.write(path, encode_image(image, KINDS[path.suffix.lower()], palette, **options))
    return path
