"""Validation mIoU of students on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoseg.errors import InputError
from recoseg.evaluation.metrics import VOID, Counts, count, scores
from recoseg.io.images import ImageLike
from recoseg.learning.sampling import Pair
from recoseg.runs.inputs import gather
from recoseg.segmenting.result import Segmentation


@dataclass(frozen=True)
class Labelled:
    """Images with true masks; called with a student, it gives mIoU in percent.

    Attributes:
        pairs: images and masks; a mask's values are indices of names, all others are void.
    """

    pairs: tuple[Pair, ...]

    @classmethod
    def of(cls, images: str | Path, masks: str | Path) -> Labelled:
        """Images and PNG masks of two folders, matched by their paths without suffix.

        Raises:
            InputError: an image has no mask.
        """
        found = []
        for job in gather([images]):
            mask = (Path(masks) / job.id).with_suffix(".png")
            if not mask.is_file():
                raise InputError(f"{job.path} has no mask {mask}; add it or leave both out.")
            found.append(Pair(job.id, job.path, mask))
        return cls(tuple(found))

    def __call__(self, segment: Callable[[ImageLike], Segmentation]) -> float:
        """The mIoU in percent over all images at their own size."""
        total: Counts | None = None
        for pair in self.pairs:
            image, truth = pair.read()
            result = segment(image)
            classes = len(result.names)
            known = np.where(truth < classes, truth.astype(np.int64), VOID)
            counts = count(known, result.labels.astype(np.int64), classes, classes)
            total = counts if total is None else total + counts
        if total is None:
            raise InputError("there is no labelled image to validate on.")
        return 100 * scores(total).miou
