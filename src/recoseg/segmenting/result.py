"""Result of segmenting one image: labels, scores, areas, and pictures of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from recoseg.drawing import palette
from recoseg.errors import InputError
from recoseg.io import durable
from recoseg.io.images import RGB, save_image
from recoseg.similarity import upsample

UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """The labels of an image.

    Attributes:
        labels: (H, W) uint8, or uint16 if there are more than 256 names; an index into ``names``.
        names: the concepts, and at the end ``"unknown"`` if it was asked for.
        confidence: (H, W) float32 in [0, 1], probability of each pixel's label, see
            ``Recipe.confidence_temperature``; where that is ``unknown``, of the concept that was
            rejected.
        image: uint8 (H, W, 3), what was segmented.
        maps: (C, h, w) float32 scores on the CPU, on the working grid or, of more than 32 concepts,
            on the feature grid; see ``scores``. No concept, (0, h, w), where they were not kept.
        guesses: of the pixels that are ``unknown``, the concept that each is nearest to: name to
            share of the image, the largest first; they sum to the area of ``unknown``. Empty where
            they were not kept.
    """

    labels: NDArray[np.unsignedinteger]
    names: tuple[str, ...]
    confidence: NDArray[np.float32]
    image: RGB
    maps: Tensor
    guesses: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """InputError, with the shapes that were expected and found, unless all fit together."""
        labels, names = self.labels, self.names
        if labels.ndim != 2 or labels.dtype.kind != "u" or not labels.size:
            raise InputError(
                f"labels must be unsigned integers of shape (H, W), not {labels.dtype} of shape "
                f"{labels.shape}; make them so."
            )
        for part, expected in (("confidence", labels.shape), ("image", (*labels.shape, 3))):
            found = getattr(self, part).shape
            if found != expected:
                raise InputError(
                    f"{part} must have the shape {expected} of these labels, not {found}; give "
                    "that of the same image."
                )
        if int(labels.max()) >= len(names):
            raise InputError(
                f"labels go up to {int(labels.max())} and there are {len(names)} names; name each."
            )
        counts = {0, len(names), len(names) - (names[-1] == UNKNOWN)}
        if self.maps.ndim != 3 or len(self.maps) not in counts:
            raise InputError(
                f"maps must have the shape ({max(counts)}, h, w), one for each name, not "
                f"{tuple(self.maps.shape)}; those of no name, (0, h, w), say that none were kept."
            )

    def __repr__(self) -> str:
        height, width = self.labels.shape
        present = sorted((-share, name) for name, share in self.area.items() if share)
        largest = ", ".join(f"{name} {-share:.0%}" for share, name in present[:3])
        return (
            f"Segmentation({height}x{width}; {len(present)} of {len(self.names)} names: {largest}"
            f"{', ...' if len(present) > 3 else ''})"
        )

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """(C, H, W) in (0, 1), before the CRF; ``unknown`` has none.

        Made when first asked for: C * H * W * 4 bytes.
        """
        height, width = self.labels.shape
        scores: NDArray[np.float32] = upsample(self.maps[None], (height, width))[0].numpy()
        return scores

    @cached_property
    def area(self) -> Mapping[str, float]:
        """Name to share of the image in [0, 1]."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.names)) / self.labels.size
        return {name: float(share) for name, share in zip(self.names, counts, strict=True)}

    @cached_property
    def certainty(self) -> Mapping[str, float]:
        """Name to the mean confidence of its pixels in [0, 1]; 0 where it has none."""
        labels, count = self.labels.ravel(), len(self.names)
        sums = np.bincount(labels, weights=self.confidence.ravel(), minlength=count)
        means = np.clip(sums / np.maximum(np.bincount(labels, minlength=count), 1), 0, 1)
        return {name: float(mean) for name, mean in zip(self.names, means, strict=True)}

    def mask(self, name: str) -> NDArray[np.bool_]:
        """(H, W), where the label is ``name``."""
        if name not in self.names:
            raise InputError(f"{name!r} was not segmented; there are {', '.join(self.names)}.")
        return np.asarray(self.labels == self.names.index(name))

    @property
    def colours(self) -> NDArray[np.uint8]:
        """(len(names), 3) RGB, the same for the same number of names; ``unknown`` is grey."""
        grey = self.names[-1:] == (UNKNOWN,)
        colours = palette.colours(len(self.names) - grey)
        return np.concatenate([colours, np.full((int(grey), 3), 128, np.uint8)])

    def overlay(
        self, opacity: float = 0.5, edges: bool = True, legend: bool = False
    ) -> Image.Image:
        """The image with the labels' colours laid over; with ``legend``, names beneath."""
        picture = palette.overlay(self.image, self.labels, self.colours, opacity, edges)
        if legend:
            below = np.asarray(self.legend())
            width = max(picture.shape[1], below.shape[1])
            padded = [
                np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255)
                for p in (picture, below)
            ]
            picture = np.concatenate(padded)
        return Image.fromarray(picture)

    def legend(self) -> Image.Image:
        """Colours, names and areas of the concepts that are present, largest first."""
        order = sorted(range(len(self.names)), key=lambda i: -self.area[self.names[i]])
        present = [i for i in order if self.area[self.names[i]] > 0]
        names = [self.names[i] for i in present]
        return Image.fromarray(palette.legend(names, self.colours[present], self.area))

    def save(self, path: str | Path) -> Path:
        """Write an indexed PNG with its palette, and ``names.json`` beside it.

        Args:
            path: the PNG's path; its folder is made. ``names.json`` maps each index to its name
                and colour, and is the same for all images of one segmenter.

        Returns:
            The PNG's path.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise InputError(f"labels are saved as PNG, not {path.name!r}; end the path in .png.")
        durable.make_folder(path.parent)
        save_image(path, self.labels, self.colours if self.labels.dtype == np.uint8 else None)
        table = palette.encode_names(self.names, self.colours)
        durable.write(path.parent / "names.json", table)
        return path
