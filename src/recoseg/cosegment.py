"""Co-segmentation (steps 7 and 8 of the method): one seed pixel per image, one reference vector.

Pure tensors. The adjacency of all n*p pixels is never held: each pair of images is multiplied once
and the product is reduced in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from recoseg.errors import InputError
from recoseg.similarity import unit

TIE = 1e-6
_FLOOR = 1e-12
_ROWS_CPU, _ROWS_GPU = 1024, 8192
_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@dataclass(frozen=True)
class Cosegmentation:
    """What n images agree on.

    Attributes:
        seeds: (n, 2) int64, row and column on the feature grid of each image's best pixel.
        support: (n,) float32 in [-1, 1] for weights in [0, 1], the score of each seed.
        scores: (n, h, w) float32, the score of every pixel.
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
    those within ``TIE`` of the best.

    Args:
        features: (n, d, h, w) of the same concept's images, any scale, finite; on any device.
        weights: (n, h, w), not negative, how much each pixel may support others; None for 1.
        block: images per side of a block; changes time and memory, never the result.
        dtype: precision of the products: float32 (the default), bfloat16 or float64.

    Returns:
        Seeds, scores and the reference embedding, on the features' device.

    Raises:
        InputError: a wrong shape or range, or values that are not finite.
    """
    _check(features, weights, block)
    dtype = _precision(features, dtype)
    scores = _scores(features, weights, block, dtype)
    n, _, _, width = features.shape
    best = _first_best(scores.flatten(1))
    seeds = torch.stack([best // width, best % width], dim=1)
    chosen = features.float().flatten(2)[torch.arange(n, device=best.device), :, best]
    return Cosegmentation(
        seeds=seeds,
        support=scores.flatten(1).gather(1, best[:, None])[:, 0],
        scores=scores,
        reference=unit(chosen.mean(dim=0)),
        agreement=_agreement(chosen),
    )


def _scores(
    features: Tensor, weights: Tensor | None, block: int | None, dtype: torch.dtype
) -> Tensor:
    """(n, h, w): mean over images j of max over q in j of weights[q] * cos(u, q)."""
    n, _, height, width = features.shape
    pixels = unit(features.to(_wide(dtype)).flatten(2).transpose(1, 2))
    # Both ends of a pair carry their weight inside the product, so one multiplication serves both
    # directions without a pass over its elements; a pixel's own weight is divided out at the end.
    own = None if weights is None else weights.to(pixels).flatten(1).clamp_min(_FLOOR)
    if own is not None:
        pixels = pixels * own[:, :, None]
    pixels = pixels.to(dtype)
    step = block or _default_block(height * width, pixels.device)
    total = torch.zeros(n, height * width, dtype=_accumulator(pixels), device=pixels.device)
    for rows, columns in _pairs(n, step):
        to_rows, to_columns = _support(pixels[rows], pixels[columns])
        total[rows] += to_rows.to(total).sum(dim=2)
        if rows != columns:
            total[columns] += to_columns.to(total).sum(dim=0)
    if own is not None:
        total /= own
    return (total / n).float().reshape(n, height, width)


def _support(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """(a, p, d) and (b, p, d) to their pixels' maxima over each other's images.

    Returns:
        (a, p, b), pixels of ``rows`` supported by images of ``columns``; (a, b, p), the reverse.
    """
    a, p, d = rows.shape
    products = rows.reshape(a * p, d) @ columns.reshape(-1, d).T
    grid = products.view(a, p, -1, p)
    return grid.amax(dim=3), grid.amax(dim=1)


def _pairs(n: int, step: int) -> Iterator[tuple[slice, slice]]:
    """Every unordered pair of blocks of images, once."""
    blocks = [slice(start, min(n, start + step)) for start in range(0, n, step)]
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            yield rows, columns


def _first_best(scores: Tensor) -> Tensor:
    """(n, p) to (n,), the first index within ``TIE`` of the row's maximum."""
    # Equal pixels may differ in the last bit between the kernels of different block shapes.
    near = scores >= scores.amax(dim=1, keepdim=True) - TIE
    return near.int().argmax(dim=1)


def _agreement(chosen: Tensor) -> float:
    n = chosen.shape[0]
    if n == 1:
        return 1.0
    cosines = unit(chosen) @ unit(chosen).T
    return float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))


def _default_block(pixels: int, device: torch.device) -> int:
    rows = _ROWS_CPU if device.type == "cpu" else _ROWS_GPU
    return max(1, rows // pixels)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _accumulator(pixels: Tensor) -> torch.dtype:
    return torch.float32 if pixels.device.type == "mps" else torch.float64


def _precision(features: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    if dtype is None:
        return torch.float64 if features.dtype == torch.float64 else torch.float32
    if dtype not in _DTYPES:
        raise InputError(f"dtype must be float32, bfloat16 or float64, not {dtype}.")
    return dtype


def _check(features: Tensor, weights: Tensor | None, block: int | None) -> None:
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
