"""A segmenter or student whose scores are averaged over the frames of a video."""

from __future__ import annotations

from recoseg.io.images import RGB
from recoseg.segmenting.interface import ImageSegmenter
from recoseg.segmenting.result import Segmentation
from recoseg.video.smoothing import Memory


class SmoothedSegmenter:
    """Segments frames in their order.

    What is averaged is what the segmenter knows before it decides: the two factors of its scores
    on their grids, or a student's probabilities. The CRF comes after, on each frame itself, so
    borders follow the frame. Without smoothing the results are those of the segmenter itself.
    """

    def __init__(self, segmenter: ImageSegmenter, memory: Memory) -> None:
        """Segment with ``segmenter``, from where ``memory`` is."""
        self._segmenter, self._memory = segmenter, memory

    def __call__(self, image: RGB) -> Segmentation:
        """Segment the next frame, uint8 (H, W, 3)."""
        maps = self._segmenter.maps(image)
        average = maps.with_factors(self._memory.blend(image, maps.factors))
        return self._segmenter.decide(image, average)
