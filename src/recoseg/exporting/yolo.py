"""YOLO's segmentation labels: a text file per image, a polygon per line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from recoseg.exporting import naming, photos, polygons
from recoseg.exporting.regions import Region
from recoseg.exporting.source import Picture
from recoseg.exporting.target import Target, require_photo

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class Yolo:
    """``images/train``, ``labels/train`` and ``data.yaml``; the same pictures serve as ``val``."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stem = naming.Stems(naming.file_stem, target.renamed)

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """As ``FormatWriter``."""
        photo, stem = require_photo(picture, "yolo"), self._stem(picture.id)
        suffix, data = photos.encode_photo(photo, _SUFFIXES)
        self._target.write(f"images/train/{stem}{suffix}", data)
        lines = [row for region in found for row in _rows(region)]
        self._target.write(f"labels/train/{stem}.txt", "".join(lines).encode())

    def close(self) -> None:
        """As ``FormatWriter``."""
        # Every JSON string is one of YAML too, whatever the name holds.
        names = [f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(self._target.names)]
        head = "train: images/train\nval: images/train\n"
        text = head + f"nc: {len(names)}\nnames:\n" + "".join(names)
        self._target.write("data.yaml", text.encode())


def _rows(region: Region) -> list[str]:
    height, width = region.size
    rows = []
    for ring in polygons.trace_outlines(region):
        numbers = (polygons.round_inwards(ring) / (width, height)).ravel()
        rows.append(f"{region.label} " + " ".join(f"{v:.7g}" for v in numbers.tolist()) + "\n")
    return rows
