"""Co-segmentation written out literally: slow, and it holds the whole adjacency."""

from __future__ import annotations

import torch
from torch import Tensor


def scores(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """(n, d, h, w) and (n, h, w) to the score of every pixel (n, h, w)."""
    return _scores(features, weights, released=False)


def released_scores(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """The same with the first implementation's columns for image j: from j*p to (2j+1)*p."""
    return _scores(features, weights, released=True)


def seeds(scores: Tensor) -> Tensor:
    """(n, h, w) to (n, 2), row and column of each image's first maximum."""
    n, _, width = scores.shape
    best = scores.reshape(n, -1).argmax(dim=1)
    return torch.stack([best // width, best % width], dim=1)


def reference(features: Tensor, seeds: Tensor) -> Tensor:
    """Unit mean of the seeds' features, one image after the other."""
    total = torch.zeros(features.shape[1], dtype=features.dtype)
    for i, (row, column) in enumerate(seeds.tolist()):
        total += features[i, :, row, column]
    mean = total / len(features)
    return mean / mean.norm()


def _scores(features: Tensor, weights: Tensor | None, released: bool) -> Tensor:
    n, d, height, width = features.shape
    p = height * width
    pixels = features.permute(0, 2, 3, 1).reshape(n * p, d)
    pixels = pixels / pixels.norm(dim=1, keepdim=True).clamp_min(1e-8)
    adjacency = pixels @ pixels.T
    if weights is not None:
        adjacency = adjacency * weights.reshape(1, n * p).to(adjacency.dtype)
    support = []
    for j in range(n):
        end = (2 * j + 1) * p if released else (j + 1) * p
        support.append(adjacency[:, j * p : end].amax(dim=1))
    return torch.stack(support, dim=1).mean(dim=1).reshape(n, height, width)
