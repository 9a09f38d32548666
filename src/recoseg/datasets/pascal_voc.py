"""PASCAL VOC: ``JPEGImages``, ``SegmentationClass`` and the lists of ``ImageSets/Segmentation``."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.base import Family, Loaded, found, listed, paired
from recoseg.errors import DatasetError


def _present(root: Path) -> bool:
    return (root / "SegmentationClass").is_dir() and (root / "JPEGImages").is_dir()


def _load(root: Path, split: str, listing: Path | None) -> Loaded:
    chosen = listing or root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not chosen.is_file():
        raise DatasetError(f"{chosen}, the list of the split, is not there; name one yourself.")
    pictures = found(root / "JPEGImages", (".jpg",))
    labels = found(root / "SegmentationClass", (".png",))
    return Loaded(paired(pictures, labels, listed(chosen)))


FAMILY = Family(
    "pascal_voc",
    "JPEGImages/*.jpg, SegmentationClass/*.png, ImageSets/Segmentation/<split>.txt",
    "val",
    _present,
    _load,
    "pascal_voc",
)
