"""Reproducible batches of crops, a function of seed and iteration."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recoseg.errors import ImageError, TrainingError
from recoseg.evaluation.protocols import Protocol
from recoseg.io import images
from recoseg.io.decoding import silence_pillow
from recoseg.io.stored import Photo, read_pixels
from recoseg.learning.augment import Labels, augment
from recoseg.learning.plan import Plan

AHEAD = 2

CropBatch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Pair:
    """An image and its label map, known by one name.

    Attributes:
        id: the image's path below its folder.
        image: where it lies, here or elsewhere.
        labels: an indexed PNG of the size that ``read`` gives; 255 is ignored.
        geometry: what the image is brought to; None to leave it as it is.
    """

    id: str
    image: Photo
    labels: Path
    geometry: Protocol | None = None

    def read(self) -> tuple[images.RGB, Labels]:
        """uint8 (H, W, 3) and uint8 (H, W); TrainingError if the sizes differ."""
        image, labels = read_pixels(self.image), read_labels(self.labels)
        if self.geometry is not None:
            image = self.geometry.image(image)
        if image.shape[:2] != labels.shape:
            raise TrainingError(
                f"{self.image} has {image.shape[:2]} pixels and {self.labels} {labels.shape}; "
                "delete the labels and make them again."
            )
        return image, labels


def read_labels(path: Path) -> Labels:
    """uint8 (H, W) of an indexed or grey PNG; ImageError if it is neither."""
    try:
        with silence_pillow(), Image.open(path, formats=("PNG",)) as image:
            if image.mode in ("P", "L"):
                return np.array(image)
            mode = image.mode
    except Exception as error:
        raise ImageError(
            f"{path} cannot be read as a label map ({type(error).__name__}); make it again."
        ) from error
    raise ImageError(f"{path} is a PNG of mode {mode}; label maps are indexed or grey, 8 bits.")


@dataclass(frozen=True)
class Sampler:
    """Which crops the batch of an iteration holds.

    Attributes:
        pairs: the images with their labels.
        plan: batch size and augmentation.
        seed: not negative.
    """

    pairs: Sequence[Pair]
    plan: Plan
    seed: int

    def crop(self, number: int) -> CropBatch:
        """Training crop ``number`` since the beginning; epochs are shuffled anew."""
        epoch, place = divmod(number, len(self.pairs))
        pair = self.pairs[_order(self.seed, epoch, len(self.pairs))[place]]
        image, labels = pair.read()
        return augment(image, labels, self.plan, np.random.default_rng([self.seed, 1, number]))

    def numbers(self, iteration: int, rank: int = 0, world: int = 1) -> list[int]:
        """Crops of this process in an iteration's batch."""
        first = iteration * self.plan.batch
        share = self.plan.batch // world
        return [first + rank * share + i for i in range(share)]

    def batches(
        self, start: int, rank: int = 0, world: int = 1, workers: int = 2
    ) -> Iterator[CropBatch]:
        """uint8 (B, 3, c, c) and uint8 (B, c, c) of each iteration from ``start``, made ahead."""
        waiting: list[list[Future[CropBatch]]] = []
        upcoming = iter(range(start, self.plan.iterations))
        with ThreadPoolExecutor(workers) as pool:
            try:
                while True:
                    while len(waiting) <= AHEAD and (t := next(upcoming, None)) is not None:
                        numbers = self.numbers(t, rank, world)
                        waiting.append([pool.submit(self.crop, n) for n in numbers])
                    if not waiting:
                        return
                    crops = [future.result() for future in waiting.pop(0)]
                    pixels, labels = zip(*crops, strict=True)
                    yield torch.stack(pixels), torch.stack(labels)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng([seed, 0, epoch]).permutation(count).tolist())
