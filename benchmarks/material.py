"""The photos that the benchmarks of quality read: labelled sets and an unlabelled archive.

DATA holds ``msrc``, ``camvid`` and the archive's four folders, each with ``images/``.
"""

from __future__ import annotations

from pathlib import Path

from recoseg import Index, datasets
from recoseg.datasets import Dataset
from recoseg.recipe import LITE

ARCHIVE = ("flickr8k_train", "corel5k_train", "imagenet_sample", "caltech101_12")


def archive_index(data: Path, out: Path) -> Index:
    """Index of the four archive folders, built if it is not there."""
    listing = out.with_suffix(".lst")
    photos = [file for home in ARCHIVE for file in sorted((data / home / "images").rglob("*.*"))]
    out.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{file.resolve()}\n" for file in photos))
    return Index.build(listing, out, model=LITE.retrieval)


def msrc(data: Path) -> Dataset:
    """296 photos, 23 classes."""
    return datasets.open("msrc", data / "msrc")


def camvid(data: Path) -> Dataset:
    """101 frames of the val split, 11 classes."""
    return datasets.open("camvid", data / "camvid", "val")
