"""Unit vectors, cosine maps and upsampling: the only home of eps and align_corners."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8


def unit(x: Tensor, dim: int = -1) -> Tensor:
    """``x`` divided by its Euclidean norm along ``dim``; an all-zero vector stays zero."""
    norm: Tensor = x.norm(dim=dim, keepdim=True)
    return x / norm.clamp_min(EPS)


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
