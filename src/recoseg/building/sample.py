"""Sample of unlabelled pixels, by which the median cosines of concepts are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoseg.errors import ArchiveError, ImageError
from recoseg.index.index import Index
from recoseg.io.images import RGB
from recoseg.io.squares import cut_square, least_side
from recoseg.models.base import TypicalPixels, batch, encode_shared
from recoseg.models.registry import Models
from recoseg.recipe import Recipe
from recoseg.similarity import cosine_map

COUNT = 48
_BATCH = 4


def spread(ids: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of some ids, evenly through their sorted list."""
    ordered = sorted(ids)
    if not ordered:
        return []
    return [ordered[i] for i in np.unique(np.linspace(0, len(ordered) - 1, count).astype(int))]


@dataclass(frozen=True, eq=False)
class PixelSample:
    """Language and visual features of sampled images or pixels, in batches.

    Attributes:
        dense: (b, d1, h1, w1) each, of the dense language-image model.
        features: (b, d2, h, w) each, of the encoder.
    """

    dense: tuple[Tensor, ...]
    features: tuple[Tensor, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, squares: Sequence[RGB], models: Models) -> PixelSample:
        """Encode images of one size, uint8 (S, S, 3) each."""
        pairs = [
            encode_shared(models.dense, models.encoder, batch(squares[i : i + _BATCH]))
            for i in range(0, len(squares), _BATCH)
        ]
        return cls(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))

    @classmethod
    def of_models(cls, models: Models) -> PixelSample | None:
        """The pixels that the models bring with them; None unless both do."""
        dense, encoder = models.dense, models.encoder
        if not isinstance(dense, TypicalPixels) or not isinstance(encoder, TypicalPixels):
            return None
        maps = (m.typical_pixels().T[None, :, :, None] for m in (dense, encoder))
        return cls(*((m,) for m in maps))

    @classmethod
    def of_archive(cls, index: Index, models: Models, recipe: Recipe) -> PixelSample:
        """Encode 48 images of an archive, cut to the recipe's squares.

        Raises:
            ArchiveError: none of them can be read.
        """
        squares = list(_squares(index, recipe))
        if not squares:
            raise ArchiveError("no image of the archive can be read; is its folder still there?")
        return cls.of(squares, models)

    def medians(self, text: Tensor, reference: Tensor) -> tuple[float, float]:
        """The median cosine of all pixels with a (d1,) text and with a (d2,) reference."""
        return _median(self.dense, text), _median(self.features, reference)


def _squares(index: Index, recipe: Recipe) -> Iterator[RGB]:
    least = least_side(recipe.archive_size, recipe.archive_resize)
    for id in spread(index.ids, COUNT):
        try:
            photo = index.image(id, at_least=least)
        # An archive may lose a file at any time; the others say enough.
        except (ArchiveError, ImageError, OSError):
            continue
        yield cut_square(photo, recipe.archive_size, recipe.archive_resize)


def _median(maps: Sequence[Tensor], vector: Tensor) -> float:
    cosines = [cosine_map(part.float(), vector[None]).flatten() for part in maps]
    # Rounding takes the cosine of equal vectors beyond 1.
    return float(torch.cat(cosines).median().clamp(-1, 1))
