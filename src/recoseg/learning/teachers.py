"""The teacher of a student: it labels photos in the plan's geometry and classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recoseg.datasets import ClassTable
from recoseg.errors import TrainingError
from recoseg.evaluation.protocols import Protocol
from recoseg.io import images
from recoseg.io.images import ImageLike
from recoseg.segmenting.result import UNKNOWN, Segmentation


@dataclass(frozen=True)
class Teacher:
    """Labels photos for a student.

    Attributes:
        segment: a ``Segmenter`` or a ``Student``.
        concepts: its names, in order.
        geometry: what a photo is brought to before it is labelled; None to leave it as it is.
        table: whose classes are learnt, where its names are concepts; None to learn the concepts.
    """

    segment: Callable[[Any], Segmentation]
    concepts: tuple[str, ...]
    geometry: Protocol | None = None
    table: ClassTable | None = None

    def __post_init__(self) -> None:
        """Check that the table knows every concept."""
        if self.table is not None:
            known = {*self.table.names, *self.table.classes, UNKNOWN}
            strange = [name for name in self.concepts if name not in known]
            if strange:
                raise TrainingError(
                    f"{strange[0]!r} is no class of the dataset that the student shall learn; "
                    "choose concepts that are."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """What its labels mean, in order."""
        if self.table is None:
            return self.concepts
        return (*self.table.classes, *((UNKNOWN,) if UNKNOWN in self.concepts else ()))

    @property
    def facts(self) -> dict[str, Any]:
        """Its own settings that decide a label; empty where it has none."""
        told: dict[str, Any] = {}
        if self.geometry is not None:
            told["geometry"] = self.geometry.geometry
        if self.table is not None:
            told["classes"] = list(self.table.classes)
        return told

    def __call__(self, image: ImageLike) -> Segmentation:
        """The labels of a photo."""
        if self.geometry is None:
            found = self.segment(image)
        else:
            found = self.segment(self.geometry.image(images.read(image)))
        if self.table is None:
            return found
        classes = dict(zip(self.table.classes, range(len(self.table.classes)), strict=True))
        place = {**classes, **dict(zip(self.table.names, self.table.merge, strict=True))}
        place[UNKNOWN] = len(classes)
        merged = np.array([place[name] for name in found.names])[found.labels]
        small = np.uint8 if len(self.names) <= 256 else np.uint16
        # The maps are of the concepts, not of the classes, so that none are kept.
        return dataclasses.replace(
            found, labels=merged.astype(small), names=self.names, maps=found.maps[:0]
        )
