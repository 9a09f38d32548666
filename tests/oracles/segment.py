"""Step 9 of the method written out pixel by pixel in float64: slow, one loop per index."""

from __future__ import annotations

import numpy as np
from tests.oracles.bank import Array, bilinear, sigmoid, unit


def factor(features: Array, vector: Array, slope: float, size: tuple[int, int]) -> Array:
    """sigmoid(slope * cosine) of every pixel of (d, h, w), resized to (H, W)."""
    _, height, width = features.shape
    grid = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            grid[row, column] = sigmoid(slope * float(unit(features[:, row, column]) @ vector))
    return bilinear(grid, *size)


def scores(
    features: Array | None,
    references: Array | None,
    dense: Array | None,
    texts: Array | None,
    gain: float,
    size: tuple[int, int],
) -> Array:
    """(C, H, W): the visual factor times the language factor; one that is None is left out."""
    vectors = references if references is not None else texts
    out = np.ones((len(vectors), *size))
    for concept in range(len(vectors)):
        if features is not None and references is not None:
            out[concept] *= factor(features, unit(references[concept]), 1.0, size)
        if dense is not None and texts is not None:
            out[concept] *= factor(dense, unit(texts[concept]), gain, size)
    return out
