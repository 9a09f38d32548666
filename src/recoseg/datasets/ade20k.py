"""ADE20K scene parsing benchmark: ``images/validation`` beside ``annotations/validation``."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.base import Family, Loaded, found, listed, paired

_FOLDERS = {"val": "validation", "train": "training"}


def _present(root: Path) -> bool:
    return any((root / "annotations" / name).is_dir() for name in _FOLDERS.values())


def _load(root: Path, split: str, listing: Path | None) -> Loaded:
    folder = _FOLDERS.get(split, split)
    pictures = found(root / "images" / folder, (".jpg",))
    labels = found(root / "annotations" / folder, (".png",))
    return Loaded(paired(pictures, labels, listed(listing) if listing else None))


FAMILY = Family(
    "ade20k",
    "images/validation/*.jpg, annotations/validation/*.png (ADEChallengeData2016)",
    "val",
    _present,
    _load,
    "ade20k",
)
