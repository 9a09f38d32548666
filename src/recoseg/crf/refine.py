"""Fully connected CRF: refinement of score maps along an image's edges.

Kraehenbuehl and Koltun 2011, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials": every pair of pixels is joined by a Potts potential of two Gaussian kernels, one of
position (smoothness) and one of position and colour (appearance); mean-field inference filters the
class probabilities with both. The filter is a permutohedral lattice, so that the cost grows
linearly with the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.crf import lattice
from recoseg.crf.lattice import Floats, Lattice
from recoseg.crf.meanfield import mean_field
from recoseg.errors import InputError
from recoseg.io.images import RGB
from recoseg.io.progress import Step, quiet_step
from recoseg.recipe import CRF

Sharpen = Callable[[Tensor, RGB, CRF], Tensor]
_CACHED_PIXELS = 1 << 20
# No pixel reaches another that is five standard deviations away, so that a smaller one than this
# changes nothing (pixels and grey levels are one apart); coordinates stay exact in float32.
_LEAST_DEVIATION = 0.1


def refine(
    scores: Tensor | NDArray[np.floating[Any]],
    image: NDArray[np.uint8],
    crf: CRF = CRF(),
    step: Step = quiet_step,
) -> Tensor:
    """Class probabilities of every pixel after mean-field inference.

    The work is done on the CPU, by as many threads as torch uses; the result is on the device of
    ``scores``. Safe to call from several threads.

    Args:
        scores: (C, H, W) floating point, higher is better, any range; divided by
            ``crf.temperature``, their softmax is the unary.
        image: uint8 RGB (H, W, 3).
        crf: the two kernels, the number of iterations and the temperature.
        step: called after every iteration; what it raises ends the work.

    Returns:
        float32 (C, H, W) in [0, 1], summing to 1 over the classes.

    Raises:
        InputError: another shape or dtype, different sizes, or scores that are not finite.
    """
    return Field.of(image, crf).refine(scores, step)


@dataclass(frozen=True)
class Field:
    """Image-dependent part of the CRF, reusable for several score maps.

    Attributes:
        size: (H, W) of the image.
        crf: the settings.
        kernels: Potts weight and filter of each kernel, pixels in raster order.
    """

    size: tuple[int, int]
    crf: CRF
    kernels: tuple[tuple[float, Lattice], ...]

    @classmethod
    def of(cls, image: NDArray[np.uint8], crf: CRF = CRF()) -> Field:
        """The field of a uint8 RGB (H, W, 3) image; anything else is an InputError."""
        _check_image(image)
        size = (image.shape[0], image.shape[1])
        kernels = []
        if crf.iterations and crf.gaussian_weight:
            kernels.append((crf.gaussian_weight, _spatial(size, crf.gaussian_xy)))
        if crf.iterations and crf.bilateral_weight:
            features = [_positions(size, crf.bilateral_xy), _colours(image, crf.bilateral_rgb)]
            kernels.append((crf.bilateral_weight, lattice.build(np.concatenate(features))))
        return cls(size, crf, tuple(kernels))

    def refine(self, scores: Tensor | NDArray[np.floating[Any]], step: Step = quiet_step) -> Tensor:
        """As ``recoseg.crf.refine.refine``, for scores (C, H, W) of this field's size."""
        values = _check_scores(scores, self.size)
        unary = values.float().cpu().flatten(1)
        unary = (unary - unary.amax(0)).div_(self.crf.temperature)
        result = mean_field(unary, self.kernels, self.crf.iterations, step)
        return result.reshape(values.shape).to(values.device)


def _spatial(size: tuple[int, int], deviation: float) -> Lattice:
    if size[0] * size[1] > _CACHED_PIXELS:
        return lattice.build(_positions(size, deviation))
    return _build_spatial(size, deviation)


@lru_cache(maxsize=2)
def _build_spatial(size: tuple[int, int], deviation: float) -> Lattice:
    return lattice.build(_positions(size, deviation))


def _positions(size: tuple[int, int], deviation: float) -> Floats:
    """Column and row of every pixel in standard deviations, (2, H*W)."""
    rows, columns = np.indices(size, dtype=np.float32).reshape(2, -1)
    return np.stack([columns, rows]) / np.float32(max(deviation, _LEAST_DEVIATION))


def _colours(image: NDArray[np.uint8], deviation: float) -> Floats:
    """Red, green and blue of every pixel in standard deviations, (3, H*W)."""
    channels = image.reshape(-1, 3).T.astype(np.float32)
    return channels / np.float32(max(deviation, _LEAST_DEVIATION))


def _check_image(image: object) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(
            f"the image must be a uint8 array, not {found}; read it with recoseg.images.read."
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"the image must have the shape (H, W, 3), not {image.shape}; "
            "read it with recoseg.images.read."
        )


def _check_scores(scores: object, size: tuple[int, int]) -> Tensor:
    if isinstance(scores, np.ndarray) and scores.dtype in (np.float16, np.float32, np.float64):
        scores = torch.from_numpy(np.ascontiguousarray(scores))
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        found = getattr(scores, "dtype", type(scores).__name__)
        raise InputError(
            f"scores must be a floating point tensor or array, not {found}; convert them first."
        )
    values = scores.detach()
    if values.ndim != 3 or values.shape[0] == 0 or tuple(values.shape[1:]) != size:
        raise InputError(
            f"scores of this image must have the shape (C, {size[0]}, {size[1]}), not "
            f"{tuple(values.shape)}; resize them with recoseg.similarity.upsample."
        )
    low, high = values.float().aminmax()
    if not math.isfinite(low) or not math.isfinite(high):
        raise InputError("scores hold NaN or infinity; check the model that made them.")
    return values
