"""Named evaluation protocols: images, classes and geometry."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recoseg.errors import InputError
from recoseg.evaluation.wordlists import word_list
from recoseg.io.images import RGB

_FILE = Path(__file__).parents[1] / "data" / "protocols.json"
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# The words of a bank that was built before, whatever they were.
BANK = "bank"
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Protocol:
    """How images are prepared and which classes count.

    Attributes:
        name: what to call it.
        dataset: the family it is for; None for any.
        variant: of the dataset's classes; None for its first.
        split: of the dataset; None for its usual one.
        short_side: pixels that the short side is brought to; None for the original size.
        crop: side of the central square that is scored; None for the whole image.
        resampling: of the image; labels are always taken from the nearest pixel.
        paper: whether the paper's tables use it.
        words: the word list that asks for the classes (``recoseg.evaluation.wordlists``);
            ``"bank"`` if a bank was built before.
        about: one line for people.
    """

    name: str
    dataset: str | None = None
    variant: str | None = None
    split: str | None = None
    short_side: int | None = None
    crop: int | None = None
    resampling: str = "nearest"
    paper: bool = False
    words: str = "usual"
    about: str = ""

    def __post_init__(self) -> None:
        """Check that the geometry is possible."""
        if self.resampling not in _RESAMPLING:
            raise InputError(f"no resampling {self.resampling!r}; choose {', '.join(_RESAMPLING)}.")
        if self.words != BANK:
            word_list(self.words)
        if (self.short_side or 1) < 1 or (self.crop or 1) < 1:
            raise InputError("sizes of a protocol are whole numbers of pixels above 0.")
        if self.crop is not None and (self.short_side is None or self.crop > self.short_side):
            raise InputError("the crop of a protocol needs a short side at least as large.")

    def image(self, image: RGB) -> RGB:
        """An image (H, W, 3) in the protocol's geometry."""
        return np.asarray(self._resize(Image.fromarray(image), _RESAMPLING[self.resampling]))

    def labels(self, labels: Labels) -> NDArray[np.int32]:
        """A label map (H, W) in the same geometry, from nearest pixels."""
        picture = Image.fromarray(np.ascontiguousarray(labels, np.int32))
        return np.asarray(self._resize(picture, Image.Resampling.NEAREST))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the geometry in words."""
        return {**asdict(self), "geometry": self.geometry}

    def with_words(self, words: str | None) -> Protocol:
        """With another word list; None changes nothing, ``"bank"`` is a bank built before."""
        return self if words is None else replace(self, words=words)

    @property
    def geometry(self) -> str:
        """For example ``"short side 320, centre crop 320, nearest"``."""
        if self.short_side is None:
            return "original resolution"
        crop = f", centre crop {self.crop}" if self.crop else ""
        return f"short side {self.short_side}{crop}, {self.resampling}"

    def _resize(self, picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
        if self.short_side is None:
            return picture
        # The long side is rounded down, as torchvision's Resize of the paper's evaluation does.
        short = min(picture.size)
        width, height = (side * self.short_side // short for side in picture.size)
        resized = picture.resize((width, height), resampling)
        if self.crop is None:
            return resized
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return resized.crop((left, top, left + self.crop, top + self.crop))


def protocol(name: str | Protocol) -> Protocol:
    """Look up a protocol by name; a Protocol is returned as it is."""
    if isinstance(name, Protocol):
        return name
    known = available()
    if name not in known:
        raise InputError(f"no protocol {name!r}; choose one of {', '.join(known)}.")
    return known[name]


@functools.cache
def available() -> dict[str, Protocol]:
    """Every protocol by its name."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))["protocols"]
    return {row["name"]: Protocol(**row) for row in rows}
