"""Which photos are alike: nearest neighbours by the cosine of mean features (STEGO)."""

from __future__ import annotations

import torch
from torch import Tensor

from recoseg.errors import InputError
from recoseg.similarity import unit


def nearest(features: Tensor, count: int, gap: int = 0) -> Tensor:
    """The nearest neighbours of each photo, itself left out.

    Args:
        features: (N, d), one vector per photo, any scale.
        count: neighbours of each.
        gap: photos of a film lie in the order they were taken, and those at most so many places
            away are nearly the same; they are left out too.

    Returns:
        (N, count) indices, the nearest first.

    Raises:
        InputError: a photo has fewer others than ``count`` outside the gap.
    """
    total = len(features)
    if not 1 <= count <= total - 1 - min(2 * gap, total - 1):
        raise InputError(
            f"{total} photos do not leave {count} neighbours each at more than {gap} places; give "
            "more photos, or ask for fewer neighbours or a smaller gap."
        )
    directions = unit(features)
    rows = []
    for start in range(0, total, 1024):
        cosines = directions[start : start + 1024] @ directions.T
        here = torch.arange(start, start + len(cosines))[:, None]
        # By index, because a copy of a photo is as near as the photo itself.
        near = (here - torch.arange(total)[None]).abs() <= gap
        rows.append(cosines.masked_fill(near.to(cosines.device), -2).topk(count, dim=1).indices)
    return torch.cat(rows)


def derangement(size: int, generator: torch.Generator) -> Tensor:
    """A random permutation without fixed points, of ``size`` two or more."""
    order = torch.randperm(size, generator=generator)
    # A random cycle: everyone is given the next one of a random order.
    shuffled = torch.empty_like(order)
    shuffled[order] = order.roll(1)
    return shuffled
