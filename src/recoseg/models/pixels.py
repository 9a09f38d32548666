"""Input preparation of networks: normalisation, and sizes in whole cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.errors import InputError

# What is done about pixels that fill no whole cell.
STRETCH, CUT = "stretch", "cut"
CELLS = (STRETCH, CUT)


@dataclass(frozen=True)
class Normalisation:
    """Input normalisation of a network: (x - mean) / std per channel, x in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor, device: torch.device) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to normalised float32 on ``device``, channels last.

        Raises:
            InputError: another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise InputError(f"images must be (B, 3, H, W), not {tuple(images.shape)}.")
        pixels = images.to(device, torch.float32)
        mean, std = (pixels.new_tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def stretch(images: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize with antialiasing to ``size`` = (H, W), whatever the aspect ratio."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    resized = F.interpolate(
        images, size=tuple(size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.contiguous(memory_format=torch.channels_last)


def stretch_to_cells(images: Tensor, cell: int, rule: str = STRETCH) -> Tensor:
    """Pixels whose sides are multiples of ``cell``, at least one.

    Args:
        images: (B, 3, H, W).
        cell: pixels.
        rule: ``"stretch"`` by less than half a cell, so that the grid lies over the whole image;
            ``"cut"`` drops what is left over at the right and the bottom, as networks do by
            themselves and as the paper's did.
    """
    if rule == CUT and min(images.shape[-2:]) >= cell:
        return images[..., : images.shape[-2] // cell * cell, : images.shape[-1] // cell * cell]
    height, width = (max(1, round(side / cell)) * cell for side in images.shape[-2:])
    return stretch(images, (height, width))
