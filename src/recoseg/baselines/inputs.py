"""What a network is trained on: frozen features made once and kept, or pixels made at every step.

View 1 of a photo has other colours and geometry, both laid on the pixels; view 2 has other colours
alone, and the same geometry is laid on what the network makes of it (PiCIE, section 3.2).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.baselines.features import Extractor
from recoseg.baselines.photos import Photos
from recoseg.baselines.views import Geometry, recolour, warp
from recoseg.io import durable
from recoseg.io.progress import Progress, reporting

CHUNK = 16
Made = Callable[[Sequence[int]], Tensor]


class Inputs(Protocol):
    """Photos as a network takes them."""

    @property
    def count(self) -> int:
        """Photos."""
        ...

    @property
    def channels(self) -> int:
        """C."""
        ...

    def plain(self, photos: Sequence[int]) -> Tensor:
        """(B, c, h, w) of photos as they are."""
        ...

    def view(self, photos: Sequence[int], which: int, epoch: int) -> Tensor:
        """(B, c, h, w) of view 1 or 2 of photos in an epoch."""
        ...

    def geometry(self, photos: Sequence[int], epoch: int) -> list[Geometry]:
        """What view 1 differs by from view 2, apart from colours."""
        ...


@dataclass(frozen=True)
class Pixels:
    """Inputs of a network that is trained from the pixels.

    Attributes:
        photos: the squares.
        seed: of the views.
    """

    photos: Photos
    seed: int

    @property
    def channels(self) -> int:
        """Red, green and blue."""
        return 3

    @property
    def count(self) -> int:
        """Photos."""
        return len(self.photos)

    def plain(self, photos: Sequence[int]) -> Tensor:
        """Float (B, 3, S, S) in [0, 1]."""
        return self.photos.batch(photos)

    def view(self, photos: Sequence[int], which: int, epoch: int) -> Tensor:
        """Float (B, 3, S, S) in [0, 1]."""
        pixels = [recolour(self.photos.read(n), self.seed, n, epoch, which) for n in photos]
        batch = torch.stack(pixels).float().div_(255)
        return warp(self.geometry(photos, epoch), batch) if which == 1 else batch

    def geometry(self, photos: Sequence[int], epoch: int) -> list[Geometry]:
        """Drawn from seed, photo and epoch."""
        return [Geometry.draw(self.seed, photo, epoch) for photo in photos]


@dataclass(frozen=True)
class Features:
    """Frozen features of photos and of some of their views, kept in a folder in half precision.

    What is there is not made again, so that an interrupted preparation goes on, and several
    methods share one folder.

    Attributes:
        pixels: the photos and their views.
        extractor: pixels to features.
        draws: views that are made; epochs take them in turn.
        folder: where features lie.
    """

    pixels: Pixels
    extractor: Extractor
    draws: int
    folder: Path
    _open: dict[str, NDArray[np.float16]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def count(self) -> int:
        """Photos."""
        return self.pixels.count

    @property
    def channels(self) -> int:
        """C."""
        return self.extractor.channels

    def prepare(self, views: Sequence[int], progress: Progress = True) -> None:
        """Make what is missing of the plain features and of these views (1, 2 or both)."""
        durable.make_folder(self.folder)
        jobs: list[tuple[str, Made]] = [("plain", self.pixels.plain)]
        for draw in range(self.draws):
            for which in views:
                jobs.append((self._name(which, draw), _warp_view(self.pixels, which, draw)))
        chunks = range(0, self.count, CHUNK)
        with reporting("making features", len(jobs) * len(chunks), progress) as advance:
            for name, make in jobs:
                for start in chunks:
                    self._make(name, start, make)
                    advance(1)

    def plain(self, photos: Sequence[int]) -> Tensor:
        """(B, c, h, w)."""
        return self._read("plain", photos)

    def view(self, photos: Sequence[int], which: int, epoch: int) -> Tensor:
        """(B, c, h, w)."""
        return self._read(self._name(which, epoch % self.draws), photos)

    def geometry(self, photos: Sequence[int], epoch: int) -> list[Geometry]:
        """That of the views that were made."""
        return self.pixels.geometry(photos, epoch % self.draws)

    def _name(self, which: int, draw: int) -> str:
        return f"seed{self.pixels.seed}-draw{draw}-view{which}"

    def _make(self, name: str, start: int, make: Made) -> None:
        file = self.folder / f"{name}-{start:07d}.npy"
        if file.is_file():
            return
        numbers = range(start, min(start + CHUNK, self.count))
        made = self.extractor(make(numbers)).numpy().astype(np.float16)
        stream = io.BytesIO()
        np.save(stream, made, allow_pickle=False)
        durable.write(file, stream.getvalue())

    def _read(self, name: str, photos: Sequence[int]) -> Tensor:
        rows = []
        for photo in photos:
            start = photo - photo % CHUNK
            key = f"{name}-{start:07d}.npy"
            if key not in self._open:
                self._open[key] = np.load(self.folder / key, mmap_mode="r", allow_pickle=False)
            rows.append(np.asarray(self._open[key][photo - start], np.float32))
        return torch.from_numpy(np.stack(rows))


def _warp_view(pixels: Any, which: int, draw: int) -> Made:
    return lambda photos: pixels.view(photos, which, draw)
