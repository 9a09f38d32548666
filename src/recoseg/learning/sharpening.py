"""The CRF on a student's probabilities."""

from __future__ import annotations

from torch import Tensor

from recoseg import images
from recoseg.images import RGB
from recoseg.learning.deeplab import STRIDE
from recoseg.recipe import CRF
from recoseg.refine import refine
from recoseg.segment import working_size
from recoseg.similarity import upsample


def sharpened(maps: Tensor, image: RGB) -> Tensor:
    """CRF of probabilities at stride 4, on the working grid of the image."""
    size = working_size(image)
    whole = maps.shape[1] * STRIDE, maps.shape[2] * STRIDE
    height, width = image.shape[:2]
    scale = whole[0] / height, whole[1] / width
    grid = round(size[0] * scale[0]), round(size[1] * scale[1])
    scores = upsample(maps[None], grid)[0, :, : size[0], : size[1]]
    return refine(scores.clamp_min(1e-6).log(), images.resize(image, size), CRF())
