"""Unit vectors, cosine maps, upsampling and smoothing: the only home of norms and align_corners."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Squares of numbers within these bounds neither vanish nor overflow in float32.
_SMALL, _LARGE = 1e-15, 1e15
_MOST_WEIGHTS = 1 << 22


def unit(x: Tensor, dim: int = -1) -> Tensor:
    """``x`` divided by its Euclidean norm along ``dim``; an all-zero vector stays zero.

    Half precision is computed in float32. What is not finite becomes NaN.
    """
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    norm: Tensor = wide.norm(dim=dim, keepdim=True)
    plain = (norm > _SMALL) & (norm < _LARGE)
    if not plain.all():
        largest = wide.abs().amax(dim, keepdim=True)
        wide = torch.where(plain, wide, wide / largest.masked_fill(largest == 0, 1))
        again = wide.norm(dim=dim, keepdim=True)
        norm = torch.where(plain, norm, again.masked_fill(again == 0, 1))
    return (wide / norm).to(x.dtype)


def cosine_map(features: Tensor, vectors: Tensor) -> Tensor:
    """Cosine of every pixel with every vector.

    Args:
        features: (B, d, h, w), any scale.
        vectors: (C, d), any scale.

    Returns:
        (B, C, h, w) in [-1, 1].
    """
    vectors = unit(vectors.to(features))
    return torch.einsum("bdhw,cd->bchw", unit(features, dim=1), vectors)


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B, C, h, w) to ``size`` = (H, W), pixel centres aligned as areas."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def upsample_rows(maps: Tensor, size: tuple[int, int], rows: slice) -> Tensor:
    """Some rows (C, rows, W) of ``upsample`` of (C, h, w), without making the others."""
    at = torch.arange(rows.start, rows.stop, dtype=torch.float64) + 0.5
    at = (at * (maps.shape[1] / size[0]) - 0.5).clamp(0, maps.shape[1] - 1)
    low = at.long()
    high = (low + 1).clamp_max(maps.shape[1] - 1)
    share = (at - low).to(maps)[:, None]
    mixed = maps[:, low] * (1 - share) + maps[:, high] * share
    return upsample(mixed[None], (len(at), size[1]))[0]


def sample(maps: Tensor, points: Tensor, *, nearest: bool = False) -> Tensor:
    """Values of maps at points between their pixels.

    Args:
        maps: (B, C, h, w) floating point.
        points: (B, H, W, 2) as (x, y) in [0, 1] of the map's width and height.
        nearest: take the pixel that a point lies in, in place of a bilinear mean.

    Returns:
        (B, C, H, W); beyond the border the border's value.
    """
    mode = "nearest" if nearest else "bilinear"
    return F.grid_sample(maps, 2 * points - 1, mode, padding_mode="border", align_corners=False)


def smooth(
    maps: Tensor, features: Tensor, sharpness: float, size: tuple[int, int] | None = None
) -> Tensor:
    """Each pixel's mean over the whole image, weighted by how alike the pixels are.

    With unit features f and their mean m over the image, cell v weighs
    exp(sharpness * cos(f_u - m, f_v - m)) in the mean for pixel u, however far away it is. The
    paper does not do this.

    Args:
        maps: (C, h, w), any values; the cells v.
        features: (d, h', w') of the same image, any scale, on any grid.
        sharpness: above 0; the larger, the more a pixel keeps of its own value.
        size: (H, W) of the result's pixels u; None for (h, w).

    Returns:
        (C, H, W); a map's values stay within its range.
    """
    count, height, width = maps.shape
    size = size or (height, width)
    alike = unit(features.float(), dim=0)
    mean = alike.mean(dim=(1, 2))
    pixels, cells = (
        unit(F.adaptive_avg_pool2d(alike, grid).flatten(1).T - mean)
        for grid in (size, (height, width))
    )
    values = maps.flatten(1).T
    rows = max(1, _MOST_WEIGHTS // len(cells))
    parts = [
        torch.softmax(sharpness * pixels[i : i + rows] @ cells.T, dim=1) @ values
        for i in range(0, len(pixels), rows)
    ]
    return torch.cat(parts).T.reshape(count, *size)
