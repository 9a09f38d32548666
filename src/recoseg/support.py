"""How much the pixels of all images support each pixel (step 7 of the method), block by block.

Pure tensors. The adjacency of all n*p pixels is never held: each pair of images is multiplied once
and the product is reduced in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from recoseg.similarity import unit

TIE = 1e-6
# Below this many pixels in all, one pass in float32 is faster than two.
SCREEN = 10_000
_FLOOR = 1e-12
_HALVES = 32
_ROWS_CPU, _ROWS_GPU = 1024, 8192
# Two rounded factors and a rounded product of at most one, each to 8 binary digits.
_BF16_ERROR = 3.1 * 2**-8


def scores(
    features: Tensor, weights: Tensor | None, block: int | None, dtype: torch.dtype
) -> Tensor:
    """Every pixel's mean over the images of its best supporter there.

    Args:
        features: (n, d, h, w), any scale.
        weights: (n, h, w), not negative, or None for 1.
        block: images per side of a block, or None to choose.
        dtype: precision of the products.

    Returns:
        (n, h, w) float32: mean over images j of max over q in j of weights[q] * cos(u, q).
    """
    pixels, own = _pixels(features, weights, dtype)
    return _all(pixels, own, block, dtype).float().reshape(_grid(features))


def screened(features: Tensor, weights: Tensor | None, block: int | None) -> Tensor:
    """``scores`` in float32 wherever the best pixel of an image can be, in bfloat16 elsewhere.

    A first pass in bfloat16 bounds every score from both sides. Only the pixels whose upper bound
    reaches their image's greatest lower bound are scored again in float32, so the maximum of each
    image and everything within ``TIE`` of it are those of ``scores`` in float32. The others differ
    from it by at most 0.0122 times the mean over images of the largest weight.

    Returns:
        (n, h, w) float32.
    """
    pixels, own = _pixels(features, weights, torch.float32)
    rough = _all(pixels, own, block, torch.bfloat16)
    ceiling = 1.0 if own is None else float(own.amax(dim=1).mean())
    slack = 2 * _BF16_ERROR * ceiling + TIE
    candidates = rough >= rough.amax(dim=1, keepdim=True) - slack
    if 2 * int(candidates.sum()) > candidates.numel():
        return _all(pixels, own, block, torch.float32).float().reshape(_grid(features))
    rough[candidates] = _some(pixels, own, candidates)
    return rough.float().reshape(_grid(features))


def screens(features: Tensor) -> bool:
    """Whether ``screened`` is the faster way to float32 seeds on this hardware."""
    n, _, height, width = features.shape
    if features.dtype == torch.float64 or n * height * width < SCREEN:
        return False
    if features.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    on_cpu = features.device.type == "cpu"
    return on_cpu and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _pixels(
    features: Tensor, weights: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Unit pixels (n, p, d), each times its weight, and the weights (n, p)."""
    # Both ends of a pair carry their weight inside the product, so one multiplication serves both
    # directions without a pass over its elements; a pixel's own weight is divided out at the end.
    pixels = unit(features.to(_wide(dtype)).flatten(2).transpose(1, 2))
    if weights is None:
        return pixels, None
    own = weights.to(pixels).flatten(1).clamp_min(_FLOOR)
    return pixels * own[:, :, None], own


def _all(pixels: Tensor, own: Tensor | None, block: int | None, dtype: torch.dtype) -> Tensor:
    """(n, p), the score of every pixel."""
    n, p, _ = pixels.shape
    pixels = pixels.to(dtype)
    total = torch.zeros(n, p, dtype=_accumulator(pixels), device=pixels.device)
    for rows, columns in _pairs(n, block or _default_block(p, pixels.device)):
        to_rows, to_columns = _both_ways(pixels[rows], pixels[columns])
        total[rows] += to_rows.to(total).sum(dim=2)
        if rows != columns:
            total[columns] += to_columns.to(total).sum(dim=0)
    return (total if own is None else total / own) / n


def _some(pixels: Tensor, own: Tensor | None, chosen: Tensor) -> Tensor:
    """(m,), the scores of the m pixels that the mask (n, p) chooses."""
    n, p, _ = pixels.shape
    rows = pixels[chosen]
    total = torch.zeros(len(rows), dtype=_accumulator(pixels), device=pixels.device)
    step = _default_block(p, pixels.device) * p
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        for image in pixels:
            total[part] += largest(rows[part] @ image.T, 1).to(total)
    return (total if own is None else total / own[chosen]) / n


def _both_ways(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """(a, p, d) and (b, p, d) to their pixels' maxima over each other's images.

    Returns:
        (a, p, b), pixels of ``rows`` supported by images of ``columns``; (a, b, p), the reverse.
    """
    a, p, d = rows.shape
    grid = (rows.reshape(a * p, d) @ columns.reshape(-1, d).T).view(a, p, -1, p)
    return largest(grid, 3), largest(grid, 1)


def largest(values: Tensor, dim: int) -> Tensor:
    """``values.amax(dim)``, by halves that overlap by one where the length is odd."""
    # Elementwise maxima of two halves use the whole vector unit; a reduction does not.
    while (length := values.shape[dim]) > _HALVES:
        half = (length + 1) // 2
        values = torch.maximum(values.narrow(dim, 0, half), values.narrow(dim, length - half, half))
    return values.amax(dim=dim)


def _pairs(n: int, step: int) -> Iterator[tuple[slice, slice]]:
    """Every unordered pair of blocks of images, once."""
    blocks = [slice(start, min(n, start + step)) for start in range(0, n, step)]
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            yield rows, columns


def _default_block(pixels: int, device: torch.device) -> int:
    rows = _ROWS_CPU if device.type == "cpu" else _ROWS_GPU
    return max(1, rows // pixels)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _accumulator(pixels: Tensor) -> torch.dtype:
    return torch.float32 if pixels.device.type == "mps" else torch.float64


def _grid(features: Tensor) -> tuple[int, int, int]:
    n, _, height, width = features.shape
    return n, height, width
