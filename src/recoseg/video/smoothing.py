"""Scores averaged over time, from cut to cut."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from recoseg.errors import InputError
from recoseg.io.images import RGB

SIDE = 32
LEAST = 0.1
TIMES = 3.0
FADE = 0.8


@dataclass
class Memory:
    """An exponential average of score maps, forgotten at cuts.

    After a cut the average is that of the first frame, then ``smooth`` times itself plus
    ``1 - smooth`` times the new maps: frame t - n counts ``smooth`` to the power n.

    A cut is where a thumbnail of 32 x 32 pixels differs from the one before, in the mean of its
    values in [0, 1], by more than 0.1 and more than three times what was usual lately, so that
    a fast pan is none.

    Attributes:
        smooth: 0 (each frame for itself) to below 1.
        maps: the average, or None before the first frame.
        thumbnail: of the last frame, or None.
        usual: the average difference, of which each older one counts 0.8 times as much.
        cuts: how many were seen.
    """

    smooth: float
    maps: list[Tensor] | None = None
    thumbnail: NDArray[np.float32] | None = None
    usual: float = field(default=0.0)
    cuts: int = field(default=0)

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.smooth < 1:
            raise InputError(f"smooth must be from 0 to below 1, not {self.smooth!r}.")

    def blend(self, image: RGB, maps: Sequence[Tensor]) -> list[Tensor]:
        """Take in a frame and give the average.

        Args:
            image: uint8 (H, W, 3).
            maps: the frame's maps; of one shape and device from cut to cut.

        Returns:
            Averages of the maps' shapes; the maps themselves if ``smooth`` is 0.
        """
        cut = self._cut(image)
        if cut or self.maps is None or not self.smooth:
            self.maps = list(maps)
        else:
            pairs = zip(self.maps, maps, strict=True)
            self.maps = [self.smooth * old.to(new) + (1 - self.smooth) * new for old, new in pairs]
        return self.maps

    def to_bytes(self) -> bytes:
        """All that the next frame needs, as a .npz file."""
        maps = self.maps if self.maps is not None and self.smooth else []
        arrays = {f"map{i}": tensor.cpu().numpy() for i, tensor in enumerate(maps)}
        if self.thumbnail is not None:
            arrays["thumbnail"] = self.thumbnail
        stream = io.BytesIO()
        state = np.array([self.smooth, self.usual, self.cuts], np.float64)
        np.savez(stream, allow_pickle=False, state=state, **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Memory:
        """What ``to_bytes`` gave; ValueError, KeyError or OSError if it is something else."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            smooth, usual, cuts = arrays["state"].tolist()
            count = sum(name.startswith("map") for name in arrays.files)
            maps = [torch.from_numpy(arrays[f"map{i}"]) for i in range(count)]
            thumbnail = arrays["thumbnail"] if "thumbnail" in arrays.files else None
        return cls(smooth, maps or None, thumbnail, usual, int(cuts))

    def _cut(self, image: RGB) -> bool:
        small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)
        thumbnail = np.asarray(small, np.float32) / np.float32(255)
        before, self.thumbnail = self.thumbnail, thumbnail
        if before is None:
            return False
        difference = float(np.abs(thumbnail - before).mean())
        cut = difference > max(LEAST, TIMES * self.usual)
        self.usual = FADE * self.usual + (1 - FADE) * difference
        self.cuts += cut
        return cut
