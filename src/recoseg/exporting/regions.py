"""Regions of a label map: per class, or per connected component."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VOID = -1
Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Parts = Literal["class", "component"]


@dataclass(frozen=True, eq=False)
class Region:
    """The pixels of one annotation.

    Attributes:
        label: index of its class.
        top: row of the first pixel of its box.
        left: column of the first pixel of its box.
        mask: (h, w) bool inside its box, which is tight.
        size: (H, W) of the image.
    """

    label: int
    top: int
    left: int
    mask: Mask
    size: tuple[int, int]

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in pixels."""
        return self.left, self.top, self.mask.shape[1], self.mask.shape[0]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the box."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def whole(self) -> Mask:
        """(H, W) bool."""
        canvas = np.zeros(self.size, bool)
        canvas[self.window] = self.mask
        return canvas


def regions(labels: Labels, parts: Parts) -> Iterator[Region]:
    """The annotations of a label map, by class, then from the top left.

    Args:
        labels: (H, W) indices of classes, -1 for void.
        parts: ``"class"`` for one region per class, ``"component"`` for one per 4-connected part.
    """
    height, width = labels.shape
    for label, box in enumerate(ndimage.find_objects(labels + 1)):
        if box is None:
            continue
        mask = labels[box] == label
        top, left = box[0].start, box[1].start
        if parts == "class":
            yield Region(label, top, left, mask, (height, width))
            continue
        numbered, _ = ndimage.label(mask)
        for number, part in enumerate(ndimage.find_objects(numbered), start=1):
            place = top + part[0].start, left + part[1].start
            yield Region(label, *place, numbered[part] == number, (height, width))


def drop_small_regions(
    labels: Labels, parts: Parts, min_area: int
) -> tuple[Labels, list[Region], int]:
    """Leave out regions of fewer than ``min_area`` pixels.

    Returns:
        The labels with those pixels void, the regions that stay, and how many were left out.
    """
    kept, small = [], 0
    labels = labels.copy() if min_area > 1 else labels
    for region in list(regions(labels, parts)):
        if region.area >= min_area:
            kept.append(region)
        else:
            small += 1
            labels[region.window][region.mask] = VOID
    return labels, kept, small
