"""Support of each pixel by the pixels of all images, block by block (step 7 of the method).

Pure tensors. The adjacency of all n*p pixels is never held: each pair of images is multiplied once
and the product is reduced in both directions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoseg.similarity import unit

# Scores nearer than this, times the mean of the largest weights, are equal: float32 rounding.
TIE = 1e-6
# Below this many pixels in all, one pass in float32 is faster than two.
SCREEN = 5_000
_FLOOR = 1e-12
# Pixels of a tile's rows and columns: on a CPU a few megabytes at most.
_TILE_CPU, _TILE_GPU = (1024, 1024), (8192, 8192)
# Two rounded factors and a rounded product of at most one, each to 8 binary digits.
_BF16_ERROR = 3.1 * 2**-8


@torch.no_grad()
def scores(
    features: Tensor, weights: Tensor | None, block: int | None, dtype: torch.dtype
) -> Tensor:
    """Every pixel's mean over the images of its best supporter there.

    Args:
        features: (n, d, h, w), any scale.
        weights: (n, h, w), not negative, or None for 1.
        block: images that one image is multiplied with at a time, or None to choose.
        dtype: precision of the products.

    Returns:
        (n, h, w) float32: mean over images j of max over q in j of weights[q] * cos(u, q).
    """
    pixels, own = _pixels(features, weights, dtype)
    return _all(pixels, own, block, dtype).float().reshape(_grid(features))


@torch.no_grad()
def screen_scores(features: Tensor, weights: Tensor | None, block: int | None) -> Tensor:
    """``scores`` in float32 wherever the best pixel of an image can be, in bfloat16 elsewhere.

    A first pass in bfloat16 bounds every score from both sides. Only the pixels whose upper bound
    reaches their image's greatest lower bound are scored again in float32, so the maximum of each
    image and everything tied with it are those of ``scores`` in float32. The others differ
    from it by at most 0.0122 times the mean over images of the largest weight.

    Returns:
        (n, h, w) float32.
    """
    pixels, own = _pixels(features, weights, torch.float32)
    rough = _all(pixels, own, block, torch.bfloat16)
    slack = (2 * _BF16_ERROR + TIE) * ceiling(own)
    candidates = rough >= rough.amax(dim=1, keepdim=True) - slack
    if 2 * int(candidates.sum()) > candidates.numel():
        return _all(pixels, own, block, torch.float32).float().reshape(_grid(features))
    rough[candidates] = _score_some(pixels, own, candidates)
    return rough.float().reshape(_grid(features))


def ceiling(weights: Tensor | None) -> float:
    """Upper bound of the scores: the mean over images of the largest weight, of (n, ...) or 1."""
    return 1.0 if weights is None else float(weights.flatten(1).amax(dim=1).mean())


def is_screening_faster(features: Tensor) -> bool:
    """Whether ``screen_scores`` is the faster way to float32 seeds on this hardware."""
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
    pixels = unit(features.to(_widen(dtype)).flatten(2).transpose(1, 2))
    if weights is None:
        return pixels, None
    own = weights.to(pixels).flatten(1).clamp_min(_FLOOR)
    return pixels * own[:, :, None], own


def _all(pixels: Tensor, own: Tensor | None, block: int | None, dtype: torch.dtype) -> Tensor:
    """(n, p), the score of every pixel."""
    n, p, _ = pixels.shape
    pixels = pixels.to(dtype)
    total = _zeros(n, p, pixels)
    products = _Products(pixels, block)
    for i in range(n):
        for start in range(i, n, products.images):
            to_image, to_others = products.largest(pixels[i], start)
            total[i] += to_image.to(total).sum(dim=1)
            # The pair of an image with itself counts once.
            first = start if start > i else i + 1
            total[first : start + len(to_others)] += to_others[first - start :].to(total)
    return (total if own is None else total / own) / n


def _score_some(pixels: Tensor, own: Tensor | None, chosen: Tensor) -> Tensor:
    """(m,), the scores of the m pixels that the mask (n, p) chooses."""
    n = len(pixels)
    rows = pixels[chosen]
    total = _zeros(len(rows), 1, pixels)
    products = _Products(pixels, None)
    for start in range(0, n, products.images):
        total += products.largest(rows, start)[0].to(total).sum(dim=1, keepdim=True)
    return (total[:, 0] if own is None else total[:, 0] / own[chosen]) / n


class _Products:
    """Products of some pixels with those of a block of images, reduced in both directions.

    Attributes:
        images: how many images a block has.
    """

    def __init__(self, pixels: Tensor, block: int | None) -> None:
        _, p, _ = pixels.shape
        rows, columns = _TILE_CPU if pixels.device.type == "cpu" else _TILE_GPU
        self.images = block or max(1, columns // p)
        self._pixels = pixels
        self._rows = rows
        # One tile for all: to ask for fresh memory each time costs a third of the whole.
        self._tile = pixels.new_empty(rows * min(self.images, len(pixels)) * p)

    def largest(self, rows: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Maxima of rows (m, d) times the b images that begin at ``start``.

        Returns:
            (m, b), over the pixels of each image; (b, p), over the rows.
        """
        others = self._pixels[start : start + self.images]
        b, p, d = others.shape
        flat = others.reshape(b * p, d).T
        to_rows, to_others = [], []
        for part in torch.split(rows, self._rows):
            tile = self._tile[: len(part) * b * p].view(len(part), b * p)
            torch.mm(part, flat, out=tile)
            to_rows.append(_largest(tile.view(len(part), b, p), 2))
            to_others.append(_largest(tile, 0))
        return torch.cat(to_rows), torch.stack(to_others).amax(dim=0).view(b, p)


def _largest(values: Tensor, dim: int) -> Tensor:
    """Maxima along a dimension.

    The bits of positive numbers are ordered as integers are, and a CPU finds the largest bfloat16
    five times faster among integers. A maximum below zero, which bits do not order, is rare
    among supporters.
    """
    if values.dtype == torch.bfloat16 and values.device.type == "cpu":
        found = values.view(torch.int16).amax(dim)
        if int(found.min()) >= 0:
            return found.view(torch.bfloat16)
    return values.amax(dim)


def _zeros(rows: int, columns: int, like: Tensor) -> Tensor:
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.zeros(rows, columns, dtype=dtype, device=like.device)


def _widen(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _grid(features: Tensor) -> tuple[int, int, int]:
    n, _, height, width = features.shape
    return n, height, width
