"""A student's logits of an image of any size: whole, or in overlapping tiles that are blended."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recoseg.io.progress import Step, quiet_step
from recoseg.student.deeplab import STRIDE

TILE = 1024
OVERLAP = 128


def count(size: tuple[int, int]) -> int:
    """How many tiles (H, W) pixels are seen in."""
    return len(starts(size[0])) * len(starts(size[1]))


def blended(
    pixels: Tensor, classes: int, see: Callable[[Tensor], Tensor], step: Step = quiet_step
) -> Tensor:
    """Logits (C, H / 4, W / 4) of pixels (1, 3, H, W), sides multiples of 32.

    Args:
        pixels: the image; with a side above 1024 it is cut into tiles.
        classes: C.
        see: logits (C, h / 4, w / 4) of a tile (1, 3, h, w).
        step: called after each tile.
    """
    height, width = pixels.shape[-2:]
    if count((height, width)) == 1:
        logits = see(pixels)
        step()
        return logits
    size = height // STRIDE, width // STRIDE
    total = torch.zeros(classes, *size, device=pixels.device)
    mass = torch.zeros(size, device=pixels.device)
    for top in starts(height):
        for left in starts(width):
            part = see(pixels[..., top : top + TILE, left : left + TILE])
            weight = _weight(part.shape[1])[:, None] * _weight(part.shape[2])[None]
            weight = weight.to(pixels.device)
            y, x = top // STRIDE, left // STRIDE
            place = (..., slice(y, y + part.shape[1]), slice(x, x + part.shape[2]))
            total[place] += part * weight
            mass[place] += weight
            step()
    return total / mass


def starts(size: int) -> list[int]:
    """Where tiles begin along a side: multiples of 32, at least 128 pixels of overlap."""
    if size <= TILE:
        return [0]
    last = -(-(size - TILE) // 32) * 32
    steps = -(-last // (TILE - OVERLAP))
    return [round(last * i / steps / 32) * 32 for i in range(steps + 1)]


def _weight(size: int) -> Tensor:
    """Weights along a tile: a ramp at both ends, flat between."""
    place = torch.arange(size) + 0.5
    ramp = torch.minimum(place, size - place) / (OVERLAP / STRIDE)
    return ramp.clamp(max=1)
