"""Cityscapes: ``leftImg8bit/<split>/<city>/`` beside ``gtFine/<split>/<city>/``."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.base import Family, Loaded, found, listed, paired

_IMAGES, _LABELS = "leftImg8bit", "gtFine"


def _present(root: Path) -> bool:
    return (root / _IMAGES).is_dir() and (root / _LABELS).is_dir()


def _load(root: Path, split: str, listing: Path | None) -> Loaded:
    pictures = found(root / _IMAGES / split, (".png", ".jpg"), "_leftImg8bit")
    # Beside the ids of the full list lie train ids, instances and colours, which are not read.
    labels = found(root / _LABELS / split, (".png",), "_gtFine_labelIds")
    return Loaded(paired(pictures, labels, listed(listing) if listing else None))


FAMILY = Family(
    "cityscapes",
    "leftImg8bit/<split>/<city>/*_leftImg8bit.png, gtFine/.../*_gtFine_labelIds.png",
    "val",
    _present,
    _load,
    "cityscapes",
)
