"""Formats of label maps: recoseg's own, PASCAL VOC, and CVAT's segmentation mask 1.1."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recoseg.drawing.palette import encode_names
from recoseg.errors import InputError
from recoseg.exporting import naming, photos
from recoseg.exporting.regions import VOID, Labels, Region
from recoseg.exporting.source import Picture
from recoseg.exporting.target import Target, require_photo
from recoseg.io.images import encode_image

MOST = 254
BACKGROUND, IGNORED = "background", "ignored"
_VOID_COLOUR = (224, 224, 192)


class Masks:
    """Indexed PNG and names.json, as ``recoseg segment`` writes them; void is 255, or 65535."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stem = naming.Stems(naming.path_stem, target.renamed)
        self._deep = len(target.names) > MOST + 1

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """As ``FormatWriter``."""
        target, stem = self._target, self._stem(picture.id)
        if self._deep:
            data = encode_image(picture.labels.astype(np.uint16))
        else:
            palette = np.zeros((256, 3), np.uint8)
            palette[: len(target.names)] = target.colours
            data = encode_image(picture.labels.astype(np.uint8), palette=palette)
        target.write(f"labels/{stem}.png", data)

    def close(self) -> None:
        """As ``FormatWriter``."""
        table = json.loads(encode_names(self._target.names, self._target.colours))
        if self._deep:
            table.append({"id": 65535, "name": "void", "colour": [0, 0, 0]})
        self._target.write("labels/names.json", json.dumps(table, indent=1).encode())


class Voc:
    """PASCAL VOC's folders; index 0 is the background, of which there is none, and 255 is void."""

    def __init__(self, target: Target) -> None:
        _check(target, "voc")
        self._target = target
        self._stem = naming.Stems(naming.file_stem, target.renamed)
        self._stems: list[str] = []
        self._palette = np.zeros((256, 3), np.uint8)
        self._palette[1 : len(target.names) + 1] = target.colours
        self._palette[255] = _VOID_COLOUR

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """As ``FormatWriter``."""
        photo, stem = require_photo(picture, "voc"), self._stem(picture.id)
        self._stems.append(stem)
        _, data = photos.encode_photo(photo, {".jpg", ".jpeg"})
        self._target.write(f"JPEGImages/{stem}.jpg", data)
        labels = np.where(picture.labels == VOID, 255, picture.labels + 1).astype(np.uint8)
        self._target.write(
            f"SegmentationClass/{stem}.png", encode_image(labels, palette=self._palette)
        )

    def close(self) -> None:
        """As ``FormatWriter``."""
        listing = "".join(f"{stem}\n" for stem in self._stems)
        self._target.write("ImageSets/Segmentation/trainval.txt", listing.encode())
        names = _class_names(self._target)
        self._target.write("labels.txt", "".join(f"{n}\n" for n in (BACKGROUND, *names)).encode())
        # Datumaro, and so CVAT, knows the classes by their colours.
        colours = np.vstack([self._target.colours, [_VOID_COLOUR]])
        self._target.write("labelmap.txt", _label_map([*names, IGNORED], colours))


class Cvat:
    """CVAT's segmentation mask 1.1; zip the folder's content and upload it as annotations."""

    def __init__(self, target: Target) -> None:
        _check(target, "cvat")
        self._target = target
        self._stem = naming.Stems(naming.path_stem, target.renamed)
        self._stems: list[str] = []
        self._instances = standard_colours()

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """As ``FormatWriter``."""
        if len(found) > MOST:
            raise InputError(
                f"{picture.id} has {len(found)} parts and cvat tells {MOST} apart; leave out small "
                "ones (--min-area), or make one part per class."
            )
        stem = self._stem(picture.id)
        self._stems.append(stem)
        classes = np.vstack([self._target.colours, [(0, 0, 0)]]).astype(np.uint8)
        parts: Labels = np.zeros_like(picture.labels)
        for number, region in enumerate(found, start=1):
            parts[region.window][region.mask] = number
        # The last row is the background's, which -1 finds.
        self._target.write(f"SegmentationClass/{stem}.png", encode_image(classes[picture.labels]))
        self._target.write(f"SegmentationObject/{stem}.png", encode_image(self._instances[parts]))

    def close(self) -> None:
        """As ``FormatWriter``."""
        listing = "".join(f"{stem}\n" for stem in self._stems)
        self._target.write("ImageSets/Segmentation/default.txt", listing.encode())
        names = _class_names(self._target)
        self._target.write("labelmap.txt", _label_map(names, self._target.colours))


def standard_colours() -> NDArray[np.uint8]:
    """(256, 3) RGB of PASCAL VOC: the bits of an index, three by three, from the highest down."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for step in range(8):
        for channel in range(3):
            bit = (index >> (3 * step + channel)) & 1
            colours[:, channel] |= (bit << (7 - step)).astype(np.uint8)
    return colours


def _check(target: Target, format: str) -> None:
    if len(target.names) > MOST:
        raise InputError(
            f"{format} holds {MOST} classes and there are {len(target.names)}; choose some by name."
        )


def _label_map(names: Sequence[str], colours: NDArray[np.uint8]) -> bytes:
    rows = zip((BACKGROUND, *names), [(0, 0, 0), *colours.tolist()], strict=True)
    lines = [f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in rows]
    return "".join(["# label:color_rgb:parts:actions\n", *lines]).encode()


def _class_names(target: Target) -> list[str]:
    unique = naming.Unique(naming.map_label, target.renamed, [BACKGROUND, IGNORED])
    return [unique(name) for name in target.names]
