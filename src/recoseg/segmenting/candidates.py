"""Which of many concepts compete for an image's pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from recoseg.segmenting.scoremaps import ScoreMaps

CANDIDATES = 32
# How many of the whole everyday bank's concepts compete unless something else is asked for.
USUAL = 16
STRONGEST = 0.05


def likely(maps: ScoreMaps, thresholds: Tensor, most: int) -> Tensor:
    """The concepts that are most likely in the image at all.

    A concept that is there covers a part of the image with scores well above those it has where it
    is absent, so concepts are ranked by the mean of their strongest twentieth of the pixels over
    their threshold.

    Args:
        maps: C concepts' scores.
        thresholds: (C,) from ``recoseg.calibrate``.
        most: how many to keep.

    Returns:
        At most ``most`` indices, ascending.
    """
    scores = maps.at(maps.grid).flatten(1)
    count = max(1, round(STRONGEST * scores.shape[1]))
    peaks = scores.topk(count, dim=1).values.mean(dim=1)
    ranks = (peaks / thresholds.to(peaks)).sort(descending=True, stable=True).indices
    return ranks[:most].sort().values


def winning(maps: ScoreMaps) -> Tensor:
    """Indices of all concepts; of more than 32, the largest 32 of those that win somewhere.

    The hundred others of a large bank win nowhere, but would cost the CRF a minute on a photo.
    """
    if maps.count <= CANDIDATES:
        return torch.arange(maps.count)
    height, width = maps.grid
    winners = maps.at((2 * height, 2 * width)).argmax(dim=0).flatten()
    area = torch.bincount(winners, minlength=maps.count)
    largest = area.sort(descending=True, stable=True).indices[:CANDIDATES]
    return largest[area[largest] > 0].sort().values
