"""Interface of export formats."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import InputError
from recoseg.exporting.regions import Region
from recoseg.exporting.source import Picture
from recoseg.io import durable

_AT_ONCE = 256
PREFIX = "/data/local-files/?d="


@dataclass(frozen=True, eq=False)
class Target:
    """Where to write, and what the labels mean.

    Attributes:
        folder: to fill; it is empty.
        names: of the classes, by index.
        colours: (C, 3) RGB of the classes.
        prefix: what precedes an image's id in a reference to it, for formats that link images.
        renamed: to be filled with images and classes that got another name, old to new.
    """

    folder: Path
    names: tuple[str, ...]
    colours: NDArray[np.uint8]
    prefix: str = PREFIX
    renamed: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, data: bytes) -> None:
        """Put a file below the folder."""
        path = self.folder / name
        durable.make_folder(path.parent)
        durable.write(path, data)


class FormatWriter(Protocol):
    """Writer of one format, picture by picture."""

    def add(self, picture: Picture, found: Sequence[Region]) -> None:
        """Write one picture, whose regions are given."""

    def close(self) -> None:
        """Write what can only be known now."""


class JsonList:
    """A JSON list that is written entry by entry and may be put into a larger file."""

    def __init__(self, path: Path) -> None:
        self.path, self._before = path, "[\n"
        self._waiting: list[str] = []

    def append(self, entry: Any) -> None:
        """Write one entry on a line of its own."""
        self._waiting.append(self._before + json.dumps(entry))
        self._before = ",\n"
        if len(self._waiting) == _AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write the end, to the disk."""
        self._waiting.append(("[" if self._before == "[\n" else "\n") + "]\n")
        self._flush(whole=True)

    def _flush(self, whole: bool = False) -> None:
        append(self.path, "".join(self._waiting), whole)
        self._waiting.clear()


def append(path: Path, text: str, whole: bool = False) -> None:
    """Add text to a file, which is not left open; at the last piece, see it to the disk."""
    with durable.report_write_errors(path), path.open("a", encoding="utf-8") as stream:
        stream.write(text)
        if whole:
            stream.flush()
            os.fsync(stream.fileno())


def require_photo(picture: Picture, format: str) -> Path:
    """The picture's photo, for a format that holds photos."""
    if picture.photo is None:
        raise InputError(
            f"{format} holds the photos too and that of {picture.id} is not known; say where the "
            "photos are (--images FOLDER)."
        )
    return picture.photo
