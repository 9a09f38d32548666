"""Square crops of archive images, as encoders take them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recoseg.io import images
from recoseg.io.images import RGB

# Ours: smooth, and quick on large JPEG files. The paper's: plain, from the whole file.
SMOOTH, PLAIN = "bicubic", "bilinear"


def cut_square(image: RGB, size: int, rule: str = SMOOTH) -> RGB:
    """Short side to ``size``, then the central square.

    Args:
        image: uint8 (H, W, 3).
        size: side of the square, pixels.
        rule: ``"bicubic"``, or ``"bilinear"`` as the paper's archive is cut: the long side is
            rounded down, the crop's offset to the nearest number, an even one from a half.
    """
    if rule == SMOOTH:
        image = images.resize_short(image, size)
        height, width = image.shape[:2]
        top, left = (height - size) // 2, (width - size) // 2
        return image[top : top + size, left : left + size]
    short = min(image.shape[:2])
    height, width = (int(side) * size // short for side in image.shape[:2])
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def least_side(size: int, rule: str) -> int | None:
    """The short side that a JPEG file may be decoded at; None to decode it whole."""
    return size if rule == SMOOTH else None
