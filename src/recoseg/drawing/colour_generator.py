"""Distinguishable colours, for normal and for colour-blind vision."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

MAX_COLOURS = 1024
GREY = (128, 128, 128)
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# Okabe and Ito's colours, which most colour-blind eyes tell apart.
_FIRST = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)


@functools.lru_cache(maxsize=8)
def generate_colours(count: int) -> NDArray[np.uint8]:
    """(count, 3) uint8; a smaller count gives the first rows of a larger one.

    Each colour after the first seven is the one farthest, in OKLab, from all before it, by the
    least of the distances that normal, red-blind and green-blind eyes see.
    """
    steps = np.linspace(24, 248, 15).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    light = _oklab(_to_linear(grid))[:, 0]
    grid = grid[(light > 0.38) & (light < 0.93)]
    chosen = [np.array(colour, np.uint8) for colour in _FIRST[:count]]
    seen = _simulate(grid)
    nearest = np.full(len(grid), np.inf)
    # White, black and grey are taken: the paper, the ink and the unknown.
    for taken in (*_FIRST, GREY, _WHITE, _BLACK):
        nearest = np.minimum(nearest, _distance(seen, np.array(taken, np.uint8)))
    while len(chosen) < count:
        chosen.append(grid[int(nearest.argmax())])
        nearest = np.minimum(nearest, _distance(seen, chosen[-1]))
    return np.stack(chosen)


def _distance(seen: NDArray[np.float64], colour: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Perceived distance of every candidate (3 eyes, N, 3) from one colour: (N,)."""
    apart = np.linalg.norm(seen - _simulate(colour[None]), axis=-1)
    nearest: NDArray[np.float64] = np.minimum(apart[0], 1.6 * apart[1:].min(axis=0))
    return nearest


def _simulate(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 3) uint8 to OKLab (3, N, 3) for normal, red-blind and green-blind eyes.

    The simulations are those of Machado, Oliveira and Fernandes (2009) at full severity.
    """
    red_blind = [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
    green_blind = [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
    linear = _to_linear(rgb)
    eyes = [linear, *(np.clip(linear @ np.array(m).T, 0, 1) for m in (red_blind, green_blind))]
    return np.stack([_oklab(eye) for eye in eyes])


def _to_linear(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    value = rgb.astype(np.float64) / 255
    linear: NDArray[np.float64] = np.where(
        value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4
    )
    return linear


def _oklab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear sRGB (N, 3) to OKLab (Ottosson 2020)."""
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    lab: NDArray[np.float64] = np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
    return lab
