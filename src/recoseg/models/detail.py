"""What ``lite``'s fine map says of a pixel by itself, without its surroundings.

A cell of the deep map sees most of the photo: on a street, an overcast sky's features are those of
the houses around it. The fine map of stride 16 sees little more than the surface. A regression,
fitted on unlabelled photos by ``training/detail.py``, predicts a cell's deep features from its fine
ones. What it predicts for sky, grass or brick is what such a surface is elsewhere, too; for things
that the fine map cannot tell apart, it predicts next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recoseg.errors import MissingWeights
from recoseg.similarity import unit

FILE = Path(__file__).parent.parent / "data" / "lite_detail.safetensors"
FINE_DIM, DEEP_DIM = 120, 1280
# What is foretold counts as much as this share of it, chosen with all else (docs/benchmarks.md).
WEIGHT = 0.5
# Fine cells per deep cell, along each side.
_CELLS = 2


@dataclass(frozen=True, eq=False)
class Detail:
    """A regression on random features, of low rank; all tensors float32.

    Attributes:
        weights: (120, m), of the random features.
        bias: (m,), of the random features.
        inner: (120 + m + 1, r), the regression's first factor.
        outer: (r, 1280), its second.
    """

    weights: Tensor
    bias: Tensor
    inner: Tensor
    outer: Tensor

    def __post_init__(self) -> None:
        """Check that the shapes fit together."""
        width, rank = self.weights.shape[-1], self.outer.shape[0]
        wanted = {
            "weights": (FINE_DIM, width),
            "bias": (width,),
            "inner": (FINE_DIM + width + 1, rank),
            "outer": (rank, DEEP_DIM),
        }
        for name, shape in wanted.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise MissingWeights(f"the regression's {name} must be {shape}, not {found}.")

    def add(self, deep: Tensor, fine: Tensor) -> Tensor:
        """Unit pixels (B, 1280, h, w) of a centred deep map and of what its fine map foretells."""
        return unit(unit(deep, dim=1) + WEIGHT * self.predict(fine), dim=1)

    def predict(self, fine: Tensor) -> Tensor:
        """The part of the unit deep map (B, 1280, h, w) that a fine map foretells.

        Args:
            fine: (B, 120, H, W) raw; h and w are half of H and W, rounded up.
        """
        rows = expand(fine, self.weights, self.bias) @ self.inner
        return (average(rows) @ self.outer).permute(0, 3, 1, 2)

    def to(self, device: torch.device) -> Detail:
        """The same on another device."""
        return Detail(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def expand(fine: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Unit pixels of (B, 120, H, W), their random features and a one: (B, H, W, 120 + m + 1)."""
    pixels = unit(fine, dim=1).permute(0, 2, 3, 1)
    ones = pixels.new_ones((*pixels.shape[:3], 1))
    return torch.cat([pixels, torch.relu(pixels @ weights + bias), ones], dim=-1)


def average(rows: Tensor) -> Tensor:
    """Means over the fine cells of each deep cell: (B, H, W, d) to (B, h, w, d)."""
    maps = rows.permute(0, 3, 1, 2)
    pooled = torch.nn.functional.avg_pool2d(maps, _CELLS, ceil_mode=True)
    return pooled.permute(0, 2, 3, 1)


def read(file: Path = FILE) -> Detail:
    """A regression's file; MissingWeights if it is absent, damaged or of another form."""
    names = tuple(Detail.__dataclass_fields__)
    try:
        with safe_open(file, framework="pt") as stored:
            return Detail(**{name: stored.get_tensor(name).float() for name in names})
    except (OSError, SafetensorError, MissingWeights) as error:
        raise MissingWeights(
            f"the regression {file} is absent or damaged ({error}); reinstall recoseg."
        ) from error
