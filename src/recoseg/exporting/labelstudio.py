"""Label Studio's tasks with predictions, as brush strokes or polygons, and the labelling config."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from recoseg.exporting import naming, polygons, rle
from recoseg.exporting.regions import Region
from recoseg.exporting.source import Picture
from recoseg.exporting.target import JsonList, Target


class LabelStudio:
    """``tasks.json`` and ``config.xml``."""

    def __init__(self, target: Target, as_polygons: bool) -> None:
        self._target, self._as_polygons = target, as_polygons
        self._tasks = JsonList(target.folder / "tasks.json")
        unique = naming.Unique(naming.line, target.renamed)
        self._names = [unique(name) for name in target.names]
        self._tag = "PolygonLabels" if as_polygons else "BrushLabels"
        self._kind = self._tag.lower()

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """As ``FormatWriter``."""
        shapes = ((region, value) for region in found for value in self._values(region))
        results = [
            self._result(picture.id, region, number, value)
            for number, (region, value) in enumerate(shapes)
        ]
        self._tasks.append(
            {
                "data": {"image": self._target.prefix + picture.id},
                "predictions": [{"model_version": "recoseg", "result": results}],
            }
        )

    def close(self) -> None:
        """As ``FormatWriter``."""
        self._tasks.close()
        view = ElementTree.Element("View")
        ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
        labels = ElementTree.SubElement(view, self._tag, name="label", toName="image")
        for name, (r, g, b) in zip(self._names, self._target.colours.tolist(), strict=True):
            ElementTree.SubElement(
                labels, "Label", value=name, background=f"#{r:02x}{g:02x}{b:02x}"
            )
        ElementTree.indent(view)
        self._target.write("config.xml", ElementTree.tostring(view, "utf-8"))

    def _values(self, region: Region) -> Iterator[dict[str, Any]]:
        if not self._as_polygons:
            yield {"format": "rle", "rle": rle.encode_brush(region)}
            return
        height, width = region.size
        for ring in polygons.trace_outlines(region):
            yield {"points": (ring / (width, height) * 100).round(6).tolist(), "closed": True}

    def _result(
        self, id: str, region: Region, number: int, value: dict[str, Any]
    ) -> dict[str, Any]:
        height, width = region.size
        return {
            "id": hashlib.sha256(f"{id} {number}".encode()).hexdigest()[:10],
            "type": self._kind,
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**value, self._kind: [self._names[region.label]]},
        }
