"""The CRF on a student's probabilities."""

from __future__ import annotations

from torch import Tensor

from recoseg.crf.refine import Sharpen, refine
from recoseg.io import images
from recoseg.io.images import RGB
from recoseg.recipe import CRF
from recoseg.segmenting.decision import working_size
from recoseg.similarity import upsample


def sharpened(maps: Tensor, image: RGB, sharpen: Sharpen = refine) -> Tensor:
    """CRF of probabilities (C, h, w) on the working grid of the image."""
    size = working_size(image)
    scores = upsample(maps[None], size)[0]
    return sharpen(scores.clamp_min(1e-6).log(), images.resize(image, size), CRF())
