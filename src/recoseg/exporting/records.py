"""Records as Hugging Face's image-segmentation pipeline returns them, and supervision's."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recoseg.errors import InputError
from recoseg.exporting.regions import Parts, Region, drop_small_regions
from recoseg.exporting.source import LabelItems, Picture
from recoseg.exporting.target import Target, append
from recoseg.io.images import encode_image

if TYPE_CHECKING:
    from recoseg.segmenting.result import Segmentation

FILE = "segments.jsonl"


class HuggingFace:
    """``segments.jsonl``: per line an image and its list of label, score and mask.

    The mask is a PNG in base64, 255 inside; the score is the mean probability of the pixels, or
    null where that is not known, as a pipeline's is for semantic models.
    """

    def __init__(self, target: Target) -> None:
        self._target, self._path = target, target.folder / FILE

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """As ``FormatWriter``."""
        height, width = picture.labels.shape
        segments = [
            {
                "label": self._target.names[region.label],
                "score": score(picture, region),
                "mask": base64.b64encode(encode_image(region.whole() * np.uint8(255))).decode(
                    "ascii"
                ),
            }
            for region in found
        ]
        row = {"image": picture.id, "width": width, "height": height, "segments": segments}
        append(self._path, json.dumps(row) + "\n")

    def close(self) -> None:
        """As ``FormatWriter``."""
        append(self._path, "", whole=True)


def score(picture: Picture, region: Region) -> float | None:
    """Mean probability of a region's pixels in [0, 1], if it is known."""
    if picture.confidence is None:
        return None
    return round(float(picture.confidence[region.window][region.mask].mean()), 6)


def to_detections(result: Segmentation, parts: Parts = "class", min_area: int = 1) -> Any:
    """A segmenter's result as ``supervision.Detections``.

    Args:
        result: of one image.
        parts: one detection per class that is present, or per 4-connected part.
        min_area: regions of fewer pixels are left out.

    Returns:
        Detections with boxes, masks, the mean probabilities as confidence, indices of
        ``result.names`` as class ids, and ``data["class_name"]``; ``unknown`` is left out.

    Raises:
        InputError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise InputError("to_detections needs supervision; pip install supervision.") from error
    source = LabelItems([("image", result)])
    picture = next(iter(source))
    _, found, _ = drop_small_regions(picture.labels, parts, min_area)
    if not found:
        return supervision.Detections.empty()
    names = [source.names[region.label] for region in found]
    boxes = [(x, y, x + w, y + h) for x, y, w, h in (region.box for region in found)]
    return supervision.Detections(
        xyxy=np.array(boxes, np.float32),
        mask=np.stack([region.whole() for region in found]),
        confidence=np.array([score(picture, region) for region in found], np.float32),
        class_id=np.array([result.names.index(name) for name in names]),
        data={"class_name": np.array(names)},
    )
