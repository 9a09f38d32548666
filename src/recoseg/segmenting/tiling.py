"""Overlapping tiles of a large image, and one map blended from what is seen in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recoseg.io.progress import Step, quiet_step

CELL = 32


@dataclass(frozen=True)
class Tiling:
    """Where tiles begin, and how much each of their cells counts.

    Attributes:
        side: of a tile, pixels.
        overlap: of two neighbours, pixels, at least.
        even: whether tiles are spread evenly; if not, only the last overlaps its neighbour more.
        ramp: pixels from a tile's border over which the weight rises; None for all to the middle.
    """

    side: int
    overlap: int
    even: bool = False
    ramp: int | None = None

    def starts(self, length: int) -> list[int]:
        """First pixels of the tiles along a side of ``length``, all multiples of 32 if that is."""
        if length <= self.side:
            return [0]
        step, last = self.side - self.overlap, length - self.side
        if not self.even:
            return [*range(0, last, step), last]
        last = -(-last // CELL) * CELL
        count = -(-last // step)
        return [round(last * i / count / CELL) * CELL for i in range(count + 1)]

    def corners(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Top left corners of the tiles that cover (H, W), row by row."""
        return [(top, left) for top in self.starts(size[0]) for left in self.starts(size[1])]

    def weights(self, cells: int, pixels: int) -> Tensor:
        """(cells,) float32 along a tile of so many pixels: low at both ends, high between."""
        place = torch.arange(cells)
        if self.ramp is None:
            return torch.minimum(place + 1, cells - place).float()
        rise = self.ramp * cells / pixels
        place = place + 0.5
        return (torch.minimum(place, cells - place) / rise).clamp(max=1)


def blend_tiles(
    pixels: Tensor,
    tiling: Tiling,
    see: Callable[[Tensor], Sequence[Tensor]],
    step: Step = quiet_step,
) -> Sequence[Tensor]:
    """Maps of a large image, each the weighted mean of those of its tiles.

    Args:
        pixels: (1, 3, H, W), sides multiples of 32.
        tiling: how it is cut; one tile is not cut and not blended.
        see: maps (C, h, w) of a tile (1, 3, H', W').
        step: called after each tile.
    """
    size = int(pixels.shape[-2]), int(pixels.shape[-1])
    corners = tiling.corners(size)
    blends: list[Blend] = []
    for top, left in corners:
        maps = see(pixels[..., top : top + tiling.side, left : left + tiling.side])
        step()
        if len(corners) == 1:
            return maps
        blends = blends or [Blend(size, tiling, tile) for tile in maps]
        for blend, tile in zip(blends, maps, strict=True):
            blend.add(tile, top, left)
    return [blend.result() for blend in blends]


class Blend:
    """Weighted mean of overlapping tiles on one feature grid; weights fall off to the borders."""

    def __init__(self, size: tuple[int, int], tiling: Tiling, like: Tensor) -> None:
        """Begin a map of (H, W) pixels whose tiles have the shape (C, h, w) of ``like``."""
        self._height, self._width = like.shape[-2:]
        self._tall, self._wide = (min(tiling.side, side) for side in size)
        # Ends with the last tile, so that strides that do not divide one leave no gap.
        last = self._cell(size[0] - self._tall, size[1] - self._wide)
        shape = last[0] + self._height, last[1] + self._width
        self._sum, self._weights = like.new_zeros(len(like), *shape), like.new_zeros(shape)
        rows = tiling.weights(self._height, self._tall)
        columns = tiling.weights(self._width, self._wide)
        self._weight = (rows[:, None] * columns[None]).to(like)

    def add(self, tile: Tensor, top: int, left: int) -> None:
        """Add a tile's map whose pixels begin at (top, left)."""
        row, column = self._cell(top, left)
        place = (slice(row, row + self._height), slice(column, column + self._width))
        self._sum[:, *place] += tile * self._weight
        self._weights[place] += self._weight

    def result(self) -> Tensor:
        """The map (C, h, w) of all that was added."""
        return self._sum / self._weights

    def _cell(self, top: int, left: int) -> tuple[int, int]:
        """Where pixel (top, left) lies on the feature grid."""
        return round(top * self._height / self._tall), round(left * self._width / self._wide)
