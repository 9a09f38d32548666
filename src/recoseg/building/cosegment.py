"""Co-segmentation (steps 7 and 8 of the method): one seed pixel per image, one reference vector.

Pure tensors; ``support`` scores the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.building import support
from recoseg.errors import InputError
from recoseg.similarity import unit

_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@dataclass(frozen=True)
class Cosegmentation:
    """Result of co-segmenting n images.

    Attributes:
        seeds: (n, 2) int64, row and column on the feature grid of each image's best pixel.
        support: (n,) float32 in [-1, 1] for weights in [0, 1], the score of each seed.
        scores: (n, h, w) float32, the score of every pixel; see ``dtype`` of ``cosegment``.
        reference: (d,) float32, the unit mean of the seeds' features (not normalised before).
        agreement: mean cosine between the seeds of different images, 1 for a single image.
    """

    seeds: Tensor
    support: Tensor
    scores: Tensor
    reference: Tensor
    agreement: float


def cosegment(
    features: Tensor,
    weights: Tensor | None = None,
    *,
    block: int | None = None,
    dtype: torch.dtype | None = None,
) -> Cosegmentation:
    """Find the pixel of each image that every image supports best (paper section 3.2).

    The support of pixel u by image j is the maximum over its pixels q of
    ``weights[q] * cos(u, q)``; the score of u is the mean support over all n images, its own
    included; the seed of an image is its best-scoring pixel, the first in reading order among
    those within ``support.TIE`` of the best, in units of the mean of the largest weights.

    Args:
        features: (n, d, h, w) of the same concept's images, any scale, finite; on any device.
        weights: (n, h, w), not negative, how much each pixel may support others; None for 1.
        block: images that one image is multiplied with at a time; changes time and memory,
            never the result.
        dtype: precision of the products: float32, bfloat16 or float64. By default float64 for
            features of that type, else float32; where the hardware is faster in bfloat16, only
            pixels that can be the seed are scored in float32 and the rest in bfloat16
            (``support.screened``): seeds, support and reference are the same.

    Returns:
        Seeds, scores and the reference embedding, on the features' device.

    Raises:
        InputError: a wrong shape or range, or values that are not finite.
    """
    check_inputs(features, weights, block)
    if dtype is None and support.is_screening_faster(features):
        scores = support.screen_scores(features, weights, block)
    else:
        scores = support.scores(features, weights, block, _precision(features, dtype))
    return pick_seeds(features, scores, support.TIE * support.ceiling(weights))


def pick_seeds(features: Tensor, scores: Tensor, tie: float = support.TIE) -> Cosegmentation:
    """The best-scoring pixel of each image, and the reference that these make.

    Args:
        features: (n, d, h, w), any scale.
        scores: (n, h, w).
        tie: of pixels that are so near to their image's best the first counts.
    """
    n, _, _, width = features.shape
    best = _first_best(scores.flatten(1), tie)
    seeds = torch.stack([best // width, best % width], dim=1)
    chosen = features.float().flatten(2)[torch.arange(n, device=best.device), :, best]
    return Cosegmentation(
        seeds=seeds,
        support=scores.flatten(1).gather(1, best[:, None])[:, 0],
        scores=scores,
        reference=unit(chosen.mean(dim=0)),
        agreement=_agreement(chosen),
    )


def move_seeds(found: Cosegmentation, features: Tensor) -> Cosegmentation:
    """The same seeds with the reference and the agreement of other features of the same images.

    A seed's feature is the mean of the unit features that its cell covers; the reference is the
    mean of these over the images.

    Args:
        found: of n images, on a grid of (h, w) cells.
        features: (n, d, h', w') of the same images, any scale, on any grid.
    """
    _, height, width = found.scores.shape
    covered = F.adaptive_avg_pool2d(unit(features.float(), dim=1), (height, width))
    rows, columns = found.seeds.unbind(dim=1)
    chosen = unit(covered[torch.arange(len(rows), device=rows.device), :, rows, columns])
    return replace(found, reference=unit(chosen.mean(dim=0)), agreement=_agreement(chosen))


def _first_best(scores: Tensor, tie: float) -> Tensor:
    """(n, p) to (n,), the first index within ``tie`` of the row's maximum."""
    # Equal pixels may differ in the last bit between the kernels of different block shapes.
    near = scores >= scores.amax(dim=1, keepdim=True) - tie
    return near.int().argmax(dim=1)


def _agreement(chosen: Tensor) -> float:
    n = chosen.shape[0]
    if n == 1:
        return 1.0
    cosines = unit(chosen) @ unit(chosen).T
    return float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))


def _precision(features: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    if dtype is None:
        return torch.float64 if features.dtype == torch.float64 else torch.float32
    if dtype not in _DTYPES:
        raise InputError(f"dtype must be float32, bfloat16 or float64, not {dtype}.")
    return dtype


def check_inputs(features: Tensor, weights: Tensor | None, block: int | None = None) -> None:
    """InputError for a wrong shape or range, or values that are not finite."""
    if features.ndim != 4 or 0 in features.shape:
        raise InputError(
            f"features must be (n, d, h, w) and not empty, not {tuple(features.shape)}."
        )
    if not features.is_floating_point() or not bool(features.isfinite().all()):
        raise InputError("features must be finite floats; look for NaN in the encoder's output.")
    if block is not None and block < 1:
        raise InputError(f"block must be at least one image, not {block}.")
    if weights is None:
        return
    n, _, height, width = features.shape
    if tuple(weights.shape) != (n, height, width):
        raise InputError(
            f"weights must be (n, h, w) = {(n, height, width)} like the features, not "
            f"{tuple(weights.shape)}."
        )
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise InputError("weights must be finite and not negative; pass a saliency in [0, 1].")
