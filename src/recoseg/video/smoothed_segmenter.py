"""A segmenter or student whose scores are averaged over the frames of a video."""

from __future__ import annotations

from torch import Tensor

from recoseg.io.images import RGB
from recoseg.segmenting.result import Segmentation
from recoseg.segmenting.scoremaps import ScoreMaps
from recoseg.segmenting.segmenter import Segmenter
from recoseg.student.student import Student
from recoseg.video.smoothing import Memory


class SmoothedSegmenter:
    """Segments frames in their order.

    What is averaged is what the segmenter knows before it decides: the two factors of its scores
    on their grids, or a student's probabilities. The CRF comes after, on each frame itself, so
    borders follow the frame. Without smoothing the results are those of the segmenter itself.
    """

    def __init__(self, segmenter: Segmenter | Student, memory: Memory) -> None:
        """Segment with ``segmenter``, from where ``memory`` is."""
        self._segmenter, self._memory = segmenter, memory

    def __call__(self, image: RGB) -> Segmentation:
        """Segment the next frame, uint8 (H, W, 3)."""
        segmenter = self._segmenter
        if isinstance(segmenter, Student):
            (average,) = self._memory.blend(image, [segmenter.maps(image)])
            return segmenter.decide(image, average, segmenter.refine)
        fresh = segmenter.maps(image)
        factors = {"language": fresh.language, "visual": fresh.visual}
        present = {name: maps for name, maps in factors.items() if maps is not None}
        averages = self._memory.blend(image, list(present.values()))
        known: dict[str, Tensor] = dict(zip(present, averages, strict=True))
        maps = ScoreMaps(known.get("language"), known.get("visual"))
        return segmenter.decide(image, maps, segmenter.refine)
