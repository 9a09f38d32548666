"""Datasets of two folders with equal names: Cityscapes, ADE20K, PASCAL VOC and MSRC."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets import folder
from recoseg.datasets.base import Family, LoadedSplit, find_files, pair_files
from recoseg.errors import DatasetError

_ADE20K = {"val": "validation", "train": "training"}


def _cityscapes(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    pictures = find_files(root / "leftImg8bit" / split, (".png", ".jpg"), "_leftImg8bit")
    # Beside the ids of the full list lie train ids, instances and colours, which are not read.
    labels = find_files(root / "gtFine" / split, (".png",), "_gtFine_labelIds")
    return LoadedSplit(pair_files(pictures, labels, listing))


def _ade20k(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    part = _ADE20K.get(split, split)
    pictures = find_files(root / "images" / part, (".jpg",))
    return LoadedSplit(
        pair_files(pictures, find_files(root / "annotations" / part, (".png",)), listing)
    )


def _pascal_voc(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    chosen = listing or root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not chosen.is_file():
        raise DatasetError(f"{chosen}, the list of the split, is not there; name one yourself.")
    pictures = find_files(root / "JPEGImages", (".jpg",))
    return LoadedSplit(
        pair_files(pictures, find_files(root / "SegmentationClass", (".png",)), chosen)
    )


CITYSCAPES = Family(
    "cityscapes",
    "leftImg8bit/<split>/<city>/*_leftImg8bit.png, gtFine/.../*_gtFine_labelIds.png",
    "val",
    lambda root: (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir(),
    _cityscapes,
    "cityscapes",
)
ADE20K = Family(
    "ade20k",
    "images/validation/*.jpg, annotations/validation/*.png (ADEChallengeData2016)",
    "val",
    lambda root: any((root / "annotations" / name).is_dir() for name in _ADE20K.values()),
    _ade20k,
    "ade20k",
)
PASCAL_VOC = Family(
    "pascal_voc",
    "JPEGImages/*.jpg, SegmentationClass/*.png, ImageSets/Segmentation/<split>.txt",
    "val",
    lambda root: (root / "SegmentationClass").is_dir() and (root / "JPEGImages").is_dir(),
    _pascal_voc,
    "pascal_voc",
)
# Told from any other folder of images and masks by its name alone.
MSRC = Family("msrc", "images/* and masks/*.png", "val", lambda _: False, folder.load, "msrc")
