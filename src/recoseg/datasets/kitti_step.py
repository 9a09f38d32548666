"""KITTI-STEP: frames of KITTI tracking beside panoptic maps whose first channel is the class."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.base import (
    Family,
    LoadedSplit,
    Sample,
    Values,
    find_files,
    pair_files,
    read_pixels,
)
from recoseg.errors import DatasetError

VAL_SEQUENCES = ("0002", "0006", "0007", "0008", "0010", "0013", "0014", "0016", "0018")


def _is_present(root: Path) -> bool:
    return (root / "panoptic_maps").is_dir()


def _load(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    labels = find_files(root / "panoptic_maps" / split, (".png",))
    pictures = find_files(_frames(root, split), (".png", ".jpg"))
    if not (root / "images").is_dir():
        # One folder holds the frames of both splits; the sequence's number says which it is.
        pictures = {
            id: path
            for id, path in pictures.items()
            if (id.split("/", maxsplit=1)[0] in VAL_SEQUENCES) == (split == "val")
        }
    return LoadedSplit(pair_files(pictures, labels, listing), _first_channel)


def _frames(root: Path, split: str) -> Path:
    for place in (
        f"images/{split}",
        "training/image_02",
        "data_tracking_image_2/training/image_02",
    ):
        if (root / place).is_dir():
            return root / place
    raise DatasetError(
        f"{root} has neither images/{split} nor training/image_02; unpack the frames there."
    )


def _first_channel(sample: Sample) -> Values:
    pixels = read_pixels(sample.label)
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise DatasetError(
            f"{sample.label} has one channel; a panoptic map has three, the class in the first."
        )
    return pixels[:, :, 0]


FAMILY = Family(
    "kitti_step",
    "panoptic_maps/<split>/<sequence>/*.png, images/<split>/... or training/image_02/...",
    "val",
    _is_present,
    _load,
    "kitti_step",
)
