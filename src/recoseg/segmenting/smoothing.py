"""Smoothing of an image's maps over its pixels that look alike (beyond the paper)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.similarity import unit

_MOST_WEIGHTS = 1 << 22


def smooth(
    maps: Tensor, features: Tensor, sharpness: float, size: tuple[int, int] | None = None
) -> Tensor:
    """Each pixel's mean over the whole image, weighted by how alike the pixels are.

    With unit features f and their mean m over the image, cell v weighs
    exp(sharpness * cos(f_u - m, f_v - m)) in the mean for pixel u, however far away it is.

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
