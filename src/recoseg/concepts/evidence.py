"""Evidence of a concept: its images, their seeds, and a contact sheet."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recoseg.drawing import palette
from recoseg.errors import BankError, InputError
from recoseg.io import images
from recoseg.io.images import RGB, encode_image
from recoseg.typecheck import check_fields

THUMBNAIL = 128
_DIGITS = 4


@dataclass(frozen=True)
class Seed:
    """One image of a concept.

    Attributes:
        image: its id in the archive, or the path or number of an example.
        score: cosine with the text embedding; None for an example.
        x: the seed's place from the left, a fraction of the cropped square's side.
        y: the same from the top.
        support: the seed's score in co-segmentation.
    """

    image: str
    score: float | None
    x: float
    y: float
    support: float

    def __post_init__(self) -> None:
        """Check every type."""
        check_fields(self, InputError)

    def caption(self) -> str:
        """The image's name and, on a second line, its two scores."""
        found = "example" if self.score is None else f"found {self.score:.2f}"
        return f"{Path(self.image).name}\n{found}, seed {self.support:.2f}"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Thumbnails and heat maps, to draw a concept's images without the archive.

    Attributes:
        thumbnails: n JPEG files of the cropped squares.
        heat: (n, h, w) uint8, cosine of each pixel with the reference, 0..1 as 0..255.
    """

    thumbnails: tuple[bytes, ...]
    heat: NDArray[np.uint8]

    @classmethod
    def of(cls, squares: Sequence[RGB], heat: NDArray[np.floating]) -> Pictures:
        """Shrink n squares and quantise their (n, h, w) cosines."""
        return cls(
            tuple(
                encode_image(images.resize(square, (THUMBNAIL, THUMBNAIL)), "JPEG", quality=85)
                for square in squares
            ),
            (np.clip(heat, 0, 1) * 255).round().astype(np.uint8),
        )

    def layer(self, place: int, side: int) -> Image.Image:
        """The heat of one image, RGBA and ``side`` pixels square, to lay over its square.

        It is opaque where it is brightest; one scale serves all images, as on a sheet.
        """
        heat = self.heat[place] / max(1, int(self.heat.max(initial=0)))
        blank = np.zeros((side, side, 3), np.uint8)
        layer = Image.fromarray(palette.heatmap(blank, heat, opacity=1.0))
        alpha = Image.fromarray((heat * 255).round().astype(np.uint8))
        layer.putalpha(alpha.resize(layer.size, Image.Resampling.BILINEAR))
        return layer


@dataclass(frozen=True)
class Evidence:
    """What a concept was made from.

    Attributes:
        concept: its name.
        seeds: one per image, examples first, then archive images by falling retrieval score.
        agreement: mean cosine between the seeds of different images.
        archive: hash of the index the images came from; empty for examples alone.
        excluded: ids that were not to be retrieved.
        notes: images that were left out, and why.
        pictures: thumbnails and heat; None if they were not kept.
    """

    concept: str
    seeds: tuple[Seed, ...]
    agreement: float
    archive: str = ""
    excluded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: Pictures | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check every type."""
        check_fields(self, InputError)

    @property
    def images(self) -> tuple[str, ...]:
        """Ids of the images, in the order of ``seeds``."""
        return tuple(seed.image for seed in self.seeds)

    @property
    def examples(self) -> int:
        """How many of the images were handed over rather than retrieved."""
        return sum(seed.score is None for seed in self.seeds)

    def draw(self, columns: int = 6) -> RGB:
        """A sheet of the images with their seeds and the heat of the reference.

        Raises:
            BankError: the pictures were not kept; the message says how to get them.
        """
        return palette.contact_sheet(self.tiles(), columns, self._title())

    def tiles(self) -> list[tuple[RGB, str]]:
        """Each image, small, with its seed and the heat of the reference, and its caption.

        Raises:
            BankError: the pictures were not kept; the message says how to get them.
        """
        if self.pictures is None:
            raise BankError(
                f"the pictures of {self.concept!r} were not kept; rebuild it with "
                f"bank.rebuild({self.concept!r}, index), or save the bank with evidence='full'."
            )
        scale = max(1, int(self.pictures.heat.max(initial=0)))
        tiles = []
        parts = zip(self.seeds, self.pictures.thumbnails, self.pictures.heat, strict=True)
        for seed, jpeg, heat in parts:
            # A bright seed on a sheet of dark ones is what to look for, so one scale serves all.
            warm = palette.heatmap(images.read(jpeg), heat / scale, opacity=0.45)
            tiles.append((palette.draw_ring(warm, seed.x, seed.y), seed.caption()))
        return tiles

    def save(self, path: str | Path, columns: int = 6) -> Path:
        """Write the sheet of ``draw`` as PNG, JPEG or WebP by the path's suffix."""
        return palette.write(path, self.draw(columns))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, column by column, without the pictures."""
        return {
            "concept": self.concept,
            "images": list(self.images),
            "scores": [seed.score for seed in self.seeds],
            "x": [seed.x for seed in self.seeds],
            "y": [seed.y for seed in self.seeds],
            "support": [seed.support for seed in self.seeds],
            "agreement": self.agreement,
            "archive": self.archive,
            "excluded": list(self.excluded),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], pictures: Pictures | None = None) -> Evidence:
        """The inverse of ``to_dict``; ValueError, KeyError or TypeError if it is not one."""
        columns = (data["images"], data["scores"], data["x"], data["y"], data["support"])
        return cls(
            concept=data["concept"],
            seeds=tuple(Seed(*row) for row in zip(*columns, strict=True)),
            agreement=data["agreement"],
            archive=data["archive"],
            excluded=tuple(data["excluded"]),
            notes=tuple(data["notes"]),
            pictures=pictures,
        )

    def _title(self) -> str:
        support = statistics.fmean(seed.support for seed in self.seeds)
        lines = [
            self.concept,
            f"{len(self.seeds)} images, agreement of the seeds {self.agreement:.2f}, "
            f"mean support {support:.2f}",
        ]
        return "\n".join([*lines, *self.notes[:2]])


def round_digits(value: float) -> float:
    """To four digits: what evidence keeps of a number."""
    return round(float(value), _DIGITS)
