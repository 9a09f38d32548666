"""CamVid: the SegNet tutorial's folders, the original 32 colours, or images/ and masks/.

val/*.png, valannot/*.png                            ids 0 to 10, 11 void
701_StillsRaw_full/*.png, LabeledApproved_full/*_L.png   colours, 32 classes gathered into 11
val/images/*, val/masks/*.png                        ids 0 to 10, 255 void
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoseg.datasets import folder
from recoseg.datasets.base import (
    Family,
    LoadedSplit,
    Sample,
    Values,
    find_files,
    pair_files,
    read_pixels,
)
from recoseg.datasets.tables import read_stored
from recoseg.errors import DatasetError

_RAW, _PAINTED = "701_StillsRaw_full", "LabeledApproved_full"
_VOID, _ABSENT = 255, -1


def _is_present(root: Path) -> bool:
    return (root / _PAINTED).is_dir() or any(
        (root / f"{split}annot").is_dir() for split in ("train", "val", "test")
    )


def _load(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    if (root / _PAINTED).is_dir():
        pictures = find_files(root / _RAW, (".png",))
        labels = find_files(root / _PAINTED, (".png",), "_L")
        return LoadedSplit(pair_files(pictures, labels, listing), _decode_colours)
    if not (root / f"{split}annot").is_dir():
        return folder.load(root, split, listing)
    labels = find_files(root / f"{split}annot", (".png",))
    return LoadedSplit(pair_files(find_files(root / split, (".png", ".jpg")), labels, listing))


def _decode_colours(sample: Sample) -> Values:
    """Ids of the 11 classes from the 32 colours."""
    pixels = read_pixels(sample.label)
    if pixels.ndim != 3:
        raise DatasetError(f"{sample.label} holds no colours; are these the original masks?")
    paint = pixels[..., :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    ids: Values = _paints()[paint]
    if (ids == _ABSENT).any():
        colour = pixels[ids == _ABSENT][0][:3].tolist()
        raise DatasetError(
            f"{sample.label} holds the colour {colour}, which is none of CamVid's 32; "
            "was it resized or saved as JPEG?"
        )
    return ids


@functools.cache
def _paints() -> NDArray[np.int16]:
    table = np.full(1 << 24, _ABSENT, np.int16)
    table[0] = _VOID
    for row in read_stored("camvid")["classes"]:
        for red, green, blue in row["paints"]:
            table[(red << 16) + (green << 8) + blue] = row["id"]
    return table


FAMILY = Family(
    "camvid",
    "val/ and valannot/, 701_StillsRaw_full/ and LabeledApproved_full/, or val/images and masks",
    "val",
    _is_present,
    _load,
    "camvid",
)
