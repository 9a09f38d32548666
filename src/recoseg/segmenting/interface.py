"""Protocols of segmenters: what ``Segmenter`` and ``Student`` share, what evaluation needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

from recoseg.crf.refine import Sharpen
from recoseg.io.images import RGB, ImageLike
from recoseg.io.progress import Progress, Step
from recoseg.segmenting.options import Options
from recoseg.segmenting.result import Segmentation
from recoseg.segmenting.scoremaps import ScoreMaps


class Labeller(Protocol):
    """Anything that is called with an image and gives its labels."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels mean, in order."""
        ...

    def __call__(self, image: RGB) -> Segmentation:
        """Labels of a uint8 (H, W, 3) image, indices into ``names``."""
        ...


@runtime_checkable
class Identified(Protocol):
    """A labeller with a digest, by which finished measurements are recognised."""

    @property
    def digest(self) -> str:
        """Hex; equal only where labels are."""
        ...


@runtime_checkable
class ImageSegmenter(Protocol):
    """A segmenter: of a bank (``Segmenter``) or a distilled network (``Student``)."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels mean, in order."""
        ...

    @property
    def options(self) -> Options:
        """How it segments; ``concepts`` are named."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides a result, of plain JSON types; equal only where results are."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of ``identity``, hex."""
        ...

    def __call__(
        self,
        image: ImageLike,
        concepts: Sequence[str] | None = None,
        refine: bool | None = None,
        *,
        progress: Progress = False,
    ) -> Segmentation:
        """Segment one image; ``concepts`` and ``refine`` override the segmenter's own."""
        ...

    def many(self, sources: Iterable[ImageLike]) -> Iterator[Segmentation]:
        """Segment images one after the other, each as it is asked for."""
        ...

    def choose(self, concepts: Sequence[str]) -> Self:
        """A segmenter of some concepts with the same settings."""
        ...

    def replace(self, **changes: Any) -> Self:
        """A segmenter with some options changed and the same loaded models."""
        ...

    def maps(self, image: RGB, step: Step = ...) -> ScoreMaps:
        """What ``decide`` needs to know of a uint8 (H, W, 3) image."""
        ...

    def steps(self, image: RGB, refine: bool) -> int:
        """How often ``maps``, and then ``decide`` if it is to ``refine``, calls its step."""
        ...

    def decide(
        self, image: RGB, maps: ScoreMaps, refine: bool | None = None, sharpen: Sharpen = ...
    ) -> Segmentation:
        """Labels of an image from its maps."""
        ...
