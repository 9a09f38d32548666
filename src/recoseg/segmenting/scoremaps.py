"""From an image to one score map per concept (step 9 of the method): scales, tiles, averages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recoseg.io import images
from recoseg.io.images import RGB
from recoseg.io.progress import Step, quiet_step
from recoseg.models.base import encode_shared
from recoseg.models.model_set import Models
from recoseg.recipe import Recipe
from recoseg.similarity import cosine_map, upsample

TILE = 640
STEP = 480
LARGE = 2 * TILE
LONGEST = 8
_CELL = 32
Pair = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True, eq=False)
class ScoreMaps:
    """Grids of the two factors of a score; their product at any size is the score.

    Attributes:
        language: (C, h, w) sigmoid(gain * cosine with the text), or None.
        visual: (C, h', w') sigmoid(visual gain * cosine with the reference), or None.
    """

    language: Tensor | None
    visual: Tensor | None

    def at(self, size: tuple[int, int]) -> Tensor:
        """Scores (C, H, W) in (0, 1): each factor resized bilinearly, then multiplied."""
        factors = [
            upsample(m[None], size)[0] for m in (self.visual, self.language) if m is not None
        ]
        return factors[0] * factors[1] if len(factors) == 2 else factors[0]

    def take(self, concepts: Tensor) -> ScoreMaps:
        """The maps of some concepts, by their indices."""
        language = None if self.language is None else self.language[concepts]
        return ScoreMaps(language, None if self.visual is None else self.visual[concepts])

    @property
    def count(self) -> int:
        """C, how many concepts."""
        return max(len(m) for m in (self.visual, self.language) if m is not None)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the finer factor."""
        shapes = [m.shape[-2:] for m in (self.visual, self.language) if m is not None]
        return max(int(h) for h, _ in shapes), max(int(w) for _, w in shapes)


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores images against concepts.

    Attributes:
        models: who encodes.
        recipe: sizes, scales and gain.
        texts: (C, d1) text vectors, or None to leave language out.
        references: (C, d2) reference embeddings, or None for the DenseCLIP baseline.
        text_levels: (C,) cosines with the texts that say neither yes nor no; None for 0.
        reference_levels: (C,) the same of the references.
    """

    models: Models
    recipe: Recipe
    texts: Tensor | None
    references: Tensor | None
    text_levels: Tensor | None = None
    reference_levels: Tensor | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """Those of the models that are needed; the others are never loaded."""
        needed = {"dense": self.texts, "encoder": self.references}
        return tuple(role for role, vectors in needed.items() if vectors is not None)

    def steps(self, image: RGB) -> int:
        """How many encodings an image takes."""
        tiles = len(offsets(_grid(image))) if _large(image) else 0
        return len(self.recipe.scales) + tiles

    @torch.no_grad()
    def __call__(self, image: RGB, step: Step = quiet_step) -> ScoreMaps:
        """Maps of a uint8 (H, W, 3) image of any size; ``step`` is called after each encoding.

        The whole image is encoded at each of the recipe's scales. One whose short side is at least
        1280 pixels is also encoded in overlapping tiles at that size. The cosines of all are
        averaged: tiles and large scales bring detail, the small one the context.
        """
        cosines = []
        for scale in self.recipe.scales:
            cosines.append(self._encode(self._whole(image, scale)))
            step()
        if _large(image):
            cosines.append(self._tiled(image, step))
        language = _above(_mean([pair[0] for pair in cosines]), self.text_levels)
        visual = _above(_mean([pair[1] for pair in cosines]), self.reference_levels)
        recipe = self.recipe
        if language is not None:
            scene = language.mean(dim=(1, 2), keepdim=True)
            language = torch.sigmoid(recipe.gain * (language - recipe.debias * scene))
        if visual is not None:
            visual = torch.sigmoid(recipe.visual_gain * visual)
        return ScoreMaps(language, visual)

    def _whole(self, image: RGB, scale: float) -> Tensor:
        size = round(self.recipe.image_size * scale)
        height, width = images.short_side(image.shape, size)
        # A very long strip would need unbounded memory at a fixed short side.
        shrink = min(1.0, LONGEST * size / max(height, width))
        # An encoder needs at least one of its cells.
        target = max(_CELL, round(height * shrink)), max(_CELL, round(width * shrink))
        return images.to_tensor(images.resize(image, target))[None]

    def _encode(self, pixels: Tensor) -> Pair:
        """Cosines (C, h, w) with the texts and (C, h', w') with the references."""
        if self.references is None:
            dense, features = self.models.dense.dense(pixels), None
        elif self.texts is None:
            dense, features = None, self.models.encoder.features(pixels)
        else:
            dense, features = encode_shared(self.models.dense, self.models.encoder, pixels)
        return _cosines(dense, self.texts), _cosines(features, self.references)

    def _tiled(self, image: RGB, step: Step = quiet_step) -> Pair:
        size = _grid(image)
        pixels = images.to_tensor(images.resize(image, size))[None]
        language, visual = _Blend(size), _Blend(size)
        for top, left in offsets(size):
            of_tile = self._encode(pixels[:, :, top : top + TILE, left : left + TILE])
            language.add(of_tile[0], top, left)
            visual.add(of_tile[1], top, left)
            step()
        return language.result(), visual.result()


def _large(image: RGB) -> bool:
    return bool(min(image.shape[:2]) >= LARGE)


def _grid(image: RGB) -> tuple[int, int]:
    """(H, W) at which a large image is cut into tiles, multiples of 32."""
    height, width = images.short_side(image.shape, LARGE)
    width = min(width, LONGEST * LARGE)
    height = min(height, LONGEST * LARGE)
    return max(1, round(height / _CELL)) * _CELL, max(1, round(width / _CELL)) * _CELL


def offsets(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Top left corners of tiles that cover (H, W), each side a multiple of 32 and at least 640."""
    tops, lefts = (
        [*range(0, side - TILE, STEP), side - TILE] if side > TILE else [0] for side in size
    )
    return [(top, left) for top in tops for left in lefts]


class _Blend:
    """Weighted mean of overlapping tiles on one feature grid; weights fall off to the borders."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._sum: Tensor | None = None
        self._weight: Tensor | None = None

    def add(self, tile: Tensor | None, top: int, left: int) -> None:
        """Add a tile's (C, h, w) map whose pixels begin at (top, left)."""
        if tile is None:
            return
        height, width = tile.shape[-2:]
        if self._sum is None or self._weight is None:
            # Ends with the last tile, so that strides that do not divide one leave no gap.
            shape = (
                _cells(self._size[0] - TILE, height) + height,
                _cells(self._size[1] - TILE, width) + width,
            )
            self._sum = tile.new_zeros(len(tile), *shape)
            self._weight = tile.new_zeros(shape)
        row, column = _cells(top, height), _cells(left, width)
        rows, columns = slice(row, row + height), slice(column, column + width)
        weight = _tent(height, tile)[:, None] * _tent(width, tile)[None]
        self._sum[:, rows, columns] += tile * weight
        self._weight[rows, columns] += weight

    def result(self) -> Tensor | None:
        """(C, h, w), or None if nothing was added."""
        if self._sum is None or self._weight is None:
            return None
        return self._sum / self._weight


def _cosines(features: Tensor | None, vectors: Tensor | None) -> Tensor | None:
    if features is None or vectors is None:
        return None
    return cosine_map(features, vectors)[0].float()


def _cells(pixels: int, per_tile: int) -> int:
    return round(pixels * per_tile / TILE)


def _tent(length: int, like: Tensor) -> Tensor:
    steps = torch.arange(length, device=like.device, dtype=like.dtype)
    return torch.minimum(steps + 1, length - steps)


def _above(cosines: Tensor | None, levels: Tensor | None) -> Tensor | None:
    if cosines is None or levels is None:
        return cosines
    return cosines - levels.to(cosines)[:, None, None]


def _mean(maps: list[Tensor | None]) -> Tensor | None:
    present = [m for m in maps if m is not None]
    if not present:
        return None
    size = max(int(m.shape[-2]) for m in present), max(int(m.shape[-1]) for m in present)
    return torch.stack([upsample(m[None], size)[0] for m in present]).mean(dim=0)
