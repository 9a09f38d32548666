"""Datumaro, with which CVAT imports."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from datumaro import AnnotationType, Dataset

BOX = AnnotationType.bbox
PLUGINS = {
    "cvat": "voc_segmentation",
    "voc": "voc_segmentation",
    "coco-rle": "coco_instances",
    "coco-polygons": "coco_instances",
}


def laid_out(folder, scratch):
    """The folder as COCO is published, which is the one way that Datumaro takes it."""
    (scratch / "images").mkdir()
    (scratch / "annotations").mkdir()
    shutil.copy(folder / "annotations.json", scratch / "annotations/instances_default.json")
    return scratch


def read(format, folder):
    if not format.startswith("coco"):
        return found(format, folder)
    with tempfile.TemporaryDirectory() as scratch:
        return found(format, laid_out(folder, Path(scratch)))


def found(format, folder):
    dataset = Dataset.import_from(str(folder), PLUGINS[format])
    dataset.transform("polygons_to_masks")
    names = [label.name for label in dataset.categories()[AnnotationType.label]]
    images = {
        # Of COCO it makes boxes too.
        item.id: [(names[one.label], one.image) for one in item.annotations if one.type != BOX]
        for item in dataset
    }
    return names, images
