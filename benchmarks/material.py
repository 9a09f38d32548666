"""The photos that the benchmarks of quality read: labelled sets and an unlabelled archive.

DATA holds ``msrc``, ``camvid``, ``voc`` and the archive's four folders, each with ``images/``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from recoseg import Index, datasets
from recoseg.datasets import Dataset, tables
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


def camvid_train(data: Path) -> Dataset:
    """92 frames of the train split, other days than those of val: every fourth."""
    train = datasets.open("camvid", data / "camvid", "train")
    return dataclasses.replace(train, name="camvid-train", samples=train.samples[::4])


def voc(data: Path) -> Dataset:
    """169 photos with those of the 20 classes that are present; background is void."""
    found = datasets.open("folder", data / "voc")
    values = [np.unique(found.values(sample)) for sample in found]
    seen = set(np.unique(np.concatenate(values)).tolist())
    names = dict(zip(found.table.ids, found.table.names, strict=True))
    present = [id for id in names if id in seen]
    void = [*found.table.void, *(id for id in names if id not in seen)]
    table = tables.plain([names[id] for id in present], present, void, source=found.table.source)
    return dataclasses.replace(found, name="voc", table=table, variant=str(len(present)))
