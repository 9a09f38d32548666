"""Inspection of a dataset: class frequencies, sizes and problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from recoseg.datasets.base import Dataset, Sample
from recoseg.errors import DatasetError
from recoseg.io.parallel import parallel_map
from recoseg.io.progress import Progress, track

_MOST_PROBLEMS = 50


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        dataset: what was read.
        pixels: pixels of each class, in the table's order.
        images: photos in which each class is seen.
        void: share of the pixels that do not count.
        sizes: how many photos there are of each (height, width), the commonest first.
        problems: sentences, the first 50.
    """

    dataset: Dataset
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    void: float
    sizes: tuple[tuple[tuple[int, int], int], ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        rows = zip(self.dataset.table.classes, self.pixels, self.images, strict=True)
        return {
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "variant": self.dataset.variant,
            "images": len(self.dataset),
            "classes": [{"name": n, "pixels": p, "images": i} for n, p, i in rows],
            "absent": [
                n for n, p in zip(self.dataset.table.classes, self.pixels, strict=True) if not p
            ],
            "void": round(self.void, 6),
            "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in self.sizes],
            "problems": list(self.problems),
            "source": self.dataset.table.source,
        }


def inspect(dataset: Dataset, *, workers: int = 2, progress: Progress = True) -> Findings:
    """Read every label map and the size of every photo; problems are collected, not raised."""
    classes = len(dataset.table.classes)
    pixels, images = np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64)
    sizes: dict[tuple[int, int], int] = {}
    problems = list(dataset.problems)

    def look(sample: Sample) -> tuple[np.ndarray, tuple[int, int]] | str:
        try:
            return _count(dataset, sample)
        except (DatasetError, OSError) as error:
            return str(error)

    seen = parallel_map(look, dataset.samples, workers)
    for found in track(seen, len(dataset), "checking", progress):
        if isinstance(found, str):
            problems.append(found)
            continue
        counts, size = found
        pixels += counts
        images += counts > 0
        sizes[size] = sizes.get(size, 0) + 1
    return Findings(
        dataset,
        tuple(pixels[:-1].tolist()),
        tuple(images[:-1].tolist()),
        float(pixels[-1] / max(1, pixels.sum())),
        tuple(sorted(sizes.items(), key=lambda item: -item[1])),
        tuple(problems[:_MOST_PROBLEMS]),
    )


def _count(dataset: Dataset, sample: Sample) -> tuple[np.ndarray, tuple[int, int]]:
    """Pixels of each class and of void, and the size; the photo's pixels are not decoded."""
    labels = dataset.labels(sample)
    with Image.open(sample.image) as image:
        size = (image.height, image.width)
    if size != labels.shape:
        raise DatasetError(
            f"{sample.label} is {labels.shape[1]}x{labels.shape[0]} but {sample.image} is "
            f"{size[1]}x{size[0]}; make the mask anew at the image's size."
        )
    classes = len(dataset.table.classes)
    return np.bincount(np.where(labels < 0, classes, labels).ravel(), minlength=classes + 1), size
