"""Two random views of a photo, reproducible from its number: colours and geometry.

A network is invariant to a change of colours if its features stay, and equivariant to a change of
geometry if its features move with the photo (PiCIE, Cho et al. 2021, section 3.2). Geometry can
therefore be laid on photos, on features and on labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoseg.learning.augment import jitter_colours
from recoseg.similarity import sample

JITTER = (0.3, 0.3, 0.3, 0.1)
JITTER_SHARE, GREY_SHARE, BLUR_SHARE = 0.8, 0.2, 0.5
BLUR = (0.1, 2.0)
AREA = (0.5, 1.0)
FLIP_SHARE = 0.5
_COLOURS, _GEOMETRY = 1, 2


@dataclass(frozen=True)
class Geometry:
    """A square window of a square photo, mirrored or not.

    Attributes:
        left: of the window, as a share of the photo's side.
        top: the same.
        side: of the window, in (0, 1].
        flip: mirror left and right.
    """

    left: float = 0.0
    top: float = 0.0
    side: float = 1.0
    flip: bool = False

    @classmethod
    def draw(cls, seed: int, photo: int, epoch: int) -> Geometry:
        """That of a photo in an epoch: half to all of the area, mirrored half of the time."""
        generator = np.random.default_rng([seed, _GEOMETRY, epoch, photo])
        side = float(np.sqrt(generator.uniform(*AREA)))
        left, top = (float(value) for value in generator.uniform(0, 1 - side, 2))
        return cls(left, top, side, bool(generator.random() < FLIP_SHARE))

    def points(self, height: int, width: int) -> Tensor:
        """(H, W, 2) where in the photo each pixel of the view lies, as (x, y) in [0, 1]."""
        x = (torch.arange(width, dtype=torch.float64) + 0.5) / width
        y = (torch.arange(height, dtype=torch.float64) + 0.5) / height
        x = self.left + self.side * (x.flip(0) if self.flip else x)
        y = self.top + self.side * y
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).float()


def warp(geometries: Sequence[Geometry], maps: Tensor, *, nearest: bool = False) -> Tensor:
    """Photos, features or labels resampled to the geometry of their views.

    Args:
        geometries: one per photo.
        maps: (B, C, h, w) floating point, or (B, h, w) integer labels, which are taken nearest.
        nearest: do not mix pixels.

    Returns:
        The same shape and type.
    """
    points = torch.stack([geometry.points(*maps.shape[-2:]) for geometry in geometries])
    points = points.to(maps.device)
    if maps.ndim == 3:
        # Labels are exact as doubles, and nearest pixels are not mixed.
        found = sample(maps[:, None].double(), points.double(), nearest=True)
        return found[:, 0].to(maps.dtype)
    return sample(maps, points, nearest=nearest)


def recolour(pixels: Tensor, seed: int, photo: int, epoch: int, view: int) -> Tensor:
    """A photo with other colours: jitter, sometimes grey, sometimes blurred.

    Args:
        pixels: uint8 (3, H, W).
        seed: of the training.
        photo: its number.
        epoch: each has draws of its own.
        view: 1 or 2; two views of a photo differ.
    """
    from torchvision.transforms.v2 import functional as change

    generator = np.random.default_rng([seed, _COLOURS, epoch, photo, view])
    jitter, grey, blur = generator.random(3) < (JITTER_SHARE, GREY_SHARE, BLUR_SHARE)
    sigma = float(generator.uniform(*BLUR))
    if jitter:
        pixels = jitter_colours(pixels, JITTER, generator)
    if grey:
        pixels = change.rgb_to_grayscale(pixels, num_output_channels=3)
    if blur:
        radius = max(1, round(3 * sigma))
        pixels = change.gaussian_blur(pixels, [2 * radius + 1] * 2, [sigma, sigma])
    return pixels
