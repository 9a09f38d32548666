"""COCO's one JSON file, with masks as run lengths or as polygons."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Any

from recoseg.exporting import polygons, rle
from recoseg.exporting.regions import Region
from recoseg.exporting.source import Picture
from recoseg.exporting.target import JsonList, Target
from recoseg.io import durable

FILE = "annotations.json"


class Coco:
    """``annotations.json``; categories and images count from 1, ``file_name`` is the image's id."""

    def __init__(self, target: Target, as_polygons: bool) -> None:
        self._target, self._as_polygons = target, as_polygons
        # Both lists grow at once, so each has a file until the end.
        self._images = JsonList(target.folder / ".images.json")
        self._annotations = JsonList(target.folder / ".annotations.json")
        self._pictures = self._parts = 0

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """As ``FormatWriter``."""
        self._pictures += 1
        height, width = picture.labels.shape
        image = {"id": self._pictures, "file_name": picture.id, "width": width, "height": height}
        self._images.append(image)
        for region in found:
            self._parts += 1
            self._annotations.append(
                {
                    "id": self._parts,
                    "image_id": self._pictures,
                    "category_id": region.label + 1,
                    "iscrowd": 0,
                    "area": region.area,
                    "bbox": list(region.box),
                    "segmentation": self._segmentation(region),
                }
            )

    def close(self) -> None:
        """As ``FormatWriter``."""
        categories = [
            {"id": i, "name": name, "supercategory": ""}
            for i, name in enumerate(self._target.names, start=1)
        ]
        path = self._target.folder / FILE
        with durable.report_write_errors(path), path.open("wb") as whole:
            head = json.dumps(categories).encode()
            whole.write(b'{"info": {}, "licenses": [],\n"categories": ' + head)
            for key, part in (("images", self._images), ("annotations", self._annotations)):
                part.close()
                whole.write(f',\n"{key}": '.encode())
                with part.path.open("rb") as stream:
                    shutil.copyfileobj(stream, whole)
                part.path.unlink()
            whole.write(b"}\n")

    def _segmentation(self, region: Region) -> Any:
        if self._as_polygons:
            return [ring.ravel().tolist() for ring in polygons.trace_outlines(region)]
        return rle.encode_coco(region)
