"""A segmenter's labels of unlabelled images, to train a student on (paper's ReCo+, step 11).

A folder of them holds ``labels/`` (indexed PNG, 255 where the segmenter was unsure),
``confidence/`` (8-bit PNG, 255 is certain), ``overlays/`` (to look at), ``names.json``,
``manifest.json`` and ``coverage.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recoseg.drawing import palette
from recoseg.errors import InputError, TrainingError
from recoseg.evaluation.protocols import Protocol
from recoseg.io import durable
from recoseg.io.images import RGB, ImageLike, save_image
from recoseg.io.machines import Cluster
from recoseg.io.progress import Progress
from recoseg.learning.augment import IGNORE, Labels
from recoseg.learning.coverage import IGNORED, measure_coverage
from recoseg.learning.sampling import Pair
from recoseg.runs import batch, manifest
from recoseg.runs.inputs import InputImage
from recoseg.segmenting.result import UNKNOWN, Segmentation
from recoseg.typecheck import check_fields


@dataclass(frozen=True)
class Ignoring:
    """Rule for pixels that are ignored in training.

    Attributes:
        confidence: those whose label is less probable than this, in [0, 1].
        unknown: those that the segmenter itself calls unknown (its calibrated thresholds).
    """

    confidence: float = 0.0
    unknown: bool = True

    def __post_init__(self) -> None:
        """Check every type and range."""
        check_fields(self, InputError)
        if not 0 <= self.confidence <= 1:
            raise InputError(f"confidence must be from 0 to 1, not {self.confidence!r}.")


@dataclass(frozen=True, eq=False)
class PseudoLabel:
    """One image's labels; it is saved like a ``Segmentation``, with the confidence beside.

    Attributes:
        labels: (H, W) uint8, index of a name or 255.
        names: of the concepts.
        confidence: (H, W) float32 in [0, 1].
        image: uint8 (H, W, 3).
    """

    labels: Labels
    names: tuple[str, ...]
    confidence: NDArray[np.float32]
    image: RGB
    home: Path

    @classmethod
    def of(cls, result: Segmentation, ignoring: Ignoring, home: Path) -> PseudoLabel:
        """Set ignored pixels to 255."""
        names = tuple(name for name in result.names if name != UNKNOWN)
        if len(names) > IGNORE:
            raise InputError(
                f"a student learns at most {IGNORE} concepts, not {len(names)}; choose some."
            )
        unsure = result.confidence < ignoring.confidence
        if ignoring.unknown:
            unsure = unsure | (result.labels >= len(names))
        labels = np.where(unsure | (result.labels >= len(names)), IGNORE, result.labels)
        return cls(labels.astype(np.uint8), names, result.confidence, result.image, home)

    @property
    def area(self) -> dict[str, float]:
        """Name to share of the image; ``"ignored"`` is the share of 255."""
        counts = np.bincount(self.labels.ravel(), minlength=IGNORE + 1) / self.labels.size
        shares = {name: float(counts[i]) for i, name in enumerate(self.names)}
        return {**shares, IGNORED: float(counts[IGNORE])}

    def overlay(self) -> Image.Image:
        """The image with the labels' colours; what is ignored stays grey."""
        return Image.fromarray(
            palette.overlay(self.image, self.labels, palette.colours(len(self.names)))
        )

    def beside(self, path: Path) -> tuple[Path]:
        """Where the confidence of ``labels/.../x.png`` lies: ``confidence/.../x.png``."""
        return (self.home / "confidence" / path.relative_to(self.home / "labels"),)

    def save(self, path: Path) -> Path:
        """Write the indexed PNG ``labels/.../x.png``, and ``confidence/.../x.png`` before it."""
        (beside,) = self.beside(path)
        beside.parent.mkdir(parents=True, exist_ok=True)
        levels = np.round(np.clip(self.confidence, 0, 1) * 255).astype(np.uint8)
        save_image(beside, levels)
        colours = np.full((IGNORE + 1, 3), 128, np.uint8)
        colours[: len(self.names)] = palette.colours(len(self.names))
        return save_image(path, self.labels, colours)


@dataclass(frozen=True)
class Labelling:
    """Makes the pseudo-label of a photo, to be saved below ``home``, an absolute path."""

    segment: Callable[[ImageLike], Segmentation]
    ignoring: Ignoring
    home: Path

    def __call__(self, image: ImageLike) -> PseudoLabel:
        """The labels of a photo."""
        return PseudoLabel.of(self.segment(image), self.ignoring, self.home)


@dataclass(frozen=True)
class PseudoLabels:
    """A folder of pseudo-labels.

    Attributes:
        names: what the labels mean, in order.
        pairs: images and their labels, matched by name.
        failed: image to the reason why it has no labels.
        coverage: concept to the share of images and of pixels it has, and its mean confidence.
    """

    names: tuple[str, ...]
    pairs: tuple[Pair, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    coverage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shares(self) -> list[float]:
        """Share of the pixels that each name labels."""
        return [self.coverage["concepts"][name]["pixels"] for name in self.names]


def make_pseudo_labels(
    jobs: Sequence[InputImage],
    segment: Callable[[ImageLike], Segmentation],
    names: Sequence[str],
    out: Path,
    settings: Mapping[str, Any],
    ignoring: Ignoring = Ignoring(),
    geometry: Protocol | None = None,
    progress: Progress = True,
    cluster: Cluster | None = None,
) -> PseudoLabels:
    """Label what is not labelled yet, and report how much of each concept there is.

    Args:
        jobs: the images, from ``recoseg.runs.inputs.gather``.
        segment: a ``Segmenter`` or ``Student``.
        names: its concepts.
        out: the folder to fill.
        settings: all that decides a label, of plain JSON types.
        ignoring: which pixels become 255.
        geometry: what ``segment`` brings an image to; None if it takes it as it is.
        progress: as in ``track``.
        cluster: label there and not here; the files are the same.

    Raises:
        TrainingError: no image could be labelled, or all pixels are ignored.
    """
    names = tuple(name for name in names if name != UNKNOWN)
    label = Labelling(segment, ignoring, out.absolute())
    decisive = {**settings, "ignoring": vars(ignoring)}
    pairs, failed = [], {}
    sources = {job.id: job.source for job in jobs}
    for outcome in batch.run(jobs, label, out, decisive, progress, cluster):
        if outcome.labels is None:
            failed[outcome.id] = outcome.reason
        else:
            pairs.append(Pair(outcome.id, sources[outcome.id], outcome.labels, geometry))
    table = palette.encode_names(names, palette.colours(len(names)))
    durable.write(out / "names.json", table)
    if not pairs:
        raise TrainingError("no image could be labelled; see the reasons given for each.")
    coverage = measure_coverage(pairs, names, out, progress, cluster)
    durable.write(out / "coverage.json", json.dumps(coverage, indent=1).encode())
    if not any(row["pixels"] for row in coverage["concepts"].values()):
        raise TrainingError("all pixels are ignored; lower the confidence that is asked for.")
    return PseudoLabels(names, tuple(pairs), failed, coverage)


def read_pseudo_labels(
    jobs: Sequence[InputImage], names: Sequence[str], out: Path, geometry: Protocol | None = None
) -> PseudoLabels:
    """What ``make_pseudo_labels`` left in a folder, for a process that only reads."""
    names = tuple(name for name in names if name != UNKNOWN)
    labels = manifest.list_finished(out)
    pairs = [
        Pair(job.id, job.source, labels[job.id].path, geometry) for job in jobs if job.id in labels
    ]
    coverage = json.loads((out / "coverage.json").read_text(encoding="utf-8"))
    return PseudoLabels(names, tuple(pairs), {}, coverage)
