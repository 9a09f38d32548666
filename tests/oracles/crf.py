"""Slow references of the CRF: the permutohedral lattice in dictionaries, and exact mean field."""

from __future__ import annotations

import itertools
import math

import numpy as np


def lattice_filter(features: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Filter x (n, C) at points features (n, d), as Adams et al. 2010 describe it; no scaling."""
    d = features.shape[1]
    simplices = [enclosing_simplex(elevate(point)) for point in features]
    lattice: dict[tuple[int, ...], np.ndarray] = {}
    for simplex, row in zip(simplices, x, strict=True):
        for corner, weight in simplex:
            lattice[corner] = lattice.get(corner, 0) + weight * row
    for j in range(d + 1):
        step = np.ones(d + 1, dtype=int)
        step[j] = -d
        lattice = {
            corner: value
            + 0.5 * lattice.get(tuple(np.add(corner, step)), 0)
            + 0.5 * lattice.get(tuple(np.subtract(corner, step)), 0)
            for corner, value in lattice.items()
        }
    return np.stack([sum(w * lattice[corner] for corner, w in simplex) for simplex in simplices])


def elevate(point: np.ndarray) -> np.ndarray:
    """Onto the plane of zero sum by an orthonormal basis, in units that give unit variance."""
    d = len(point)
    basis = np.zeros((d + 1, d))
    for i in range(1, d + 1):
        basis[:i, i - 1] = 1
        basis[i, i - 1] = -i
        basis[:, i - 1] /= math.sqrt(i * (i + 1))
    return basis @ point * (d + 1) * math.sqrt(2 / 3)


def enclosing_simplex(y: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Corners and barycentric weights of y: corner 0 is the nearest point of remainder 0."""
    size = len(y)
    nearest = min(
        (
            np.array(choice) * size
            for choice in itertools.product(
                *[(math.floor(v / size), math.ceil(v / size)) for v in y]
            )
            if sum(choice) == 0
        ),
        key=lambda corner: float(((y - corner) ** 2).sum()),
    )
    order = np.argsort(-(y - nearest), kind="stable")
    corners = []
    for k in range(size):
        corner = nearest + k
        corner[order[size - k :]] -= size
        corners.append(corner)
    system = np.vstack([np.stack(corners, axis=1), np.ones(size)])
    weights = np.linalg.lstsq(system, np.append(y, 1), rcond=None)[0]
    return [(tuple(int(v) for v in c), float(w)) for c, w in zip(corners, weights, strict=True)]


def exact_mean_field(
    scores: np.ndarray, image: np.ndarray, kernels: list[tuple[float, np.ndarray]], iterations: int
) -> np.ndarray:
    """Marginals (n, C) by the whole (n, n) Gaussian matrices, normalised symmetrically.

    ``scores`` (C, H, W); ``kernels``: weight and standard deviations of (x, y[, r, g, b]).
    """
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width))
    points = np.dstack([columns, rows, image]).reshape(height * width, 5).astype(float)
    total = np.zeros((height * width, height * width))
    for weight, deviations in kernels:
        scaled = points[:, : len(deviations)] / deviations
        gaussian = np.exp(-((scaled[:, None] - scaled[None]) ** 2).sum(2) / 2)
        norm = np.sqrt(gaussian.sum(1))
        total += weight * gaussian / norm / norm[:, None]
    unary = np.log(softmax(scores.reshape(len(scores), -1).T))
    marginals = np.exp(unary)
    for _ in range(iterations):
        marginals = softmax(unary + total @ marginals)
    return marginals


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
