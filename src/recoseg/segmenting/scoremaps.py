"""From an image to one score map per concept (step 9 of the method): scales, tiles, averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.concepts.bank import ConceptBank
from recoseg.errors import InputError
from recoseg.io import images
from recoseg.io.images import RGB
from recoseg.io.progress import Step, quiet_step
from recoseg.models.base import encode_shared
from recoseg.models.registry import Models
from recoseg.recipe import Recipe
from recoseg.segmenting.tiling import CELL, Tiling, blend_tiles
from recoseg.similarity import cosine_map, smooth, upsample

TILING = Tiling(side=640, overlap=160)
LARGE = 2 * TILING.side
LONGEST = 8
# Twelve times the pixels of KITTI's frames and more than twice those of Cityscapes'.
MOST_AS_IT_IS = 6_000_000
Pair = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True, eq=False)
class ScoreMaps:
    """Grids of the two factors of a score; their product at any size is the score.

    Attributes:
        language: (C, h, w) sigmoid(gain * cosine with the text), or None.
        visual: (C, h', w') sigmoid(visual gain * cosine with the reference), or None; a student
            has its probabilities here, and no language.
    """

    language: Tensor | None
    visual: Tensor | None

    def at(self, size: tuple[int, int]) -> Tensor:
        """Scores (C, H, W) in (0, 1): each factor resized bilinearly, then multiplied."""
        factors = [upsample(m[None], size)[0] for m in self.factors]
        return factors[0] * factors[1] if len(factors) == 2 else factors[0]

    def take(self, concepts: Tensor) -> ScoreMaps:
        """The maps of some concepts, by their indices."""
        language = None if self.language is None else self.language[concepts]
        return ScoreMaps(language, None if self.visual is None else self.visual[concepts])

    @property
    def factors(self) -> tuple[Tensor, ...]:
        """Those of the two that there are."""
        return tuple(m for m in (self.language, self.visual) if m is not None)

    def with_factors(self, factors: Sequence[Tensor]) -> ScoreMaps:
        """Others in the place of ``factors``, in their order."""
        left = iter(factors)
        language = None if self.language is None else next(left)
        return ScoreMaps(language, None if self.visual is None else next(left))

    @property
    def count(self) -> int:
        """C, how many concepts."""
        return len(self.factors[0])

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the finer factor."""
        shapes = [m.shape[-2:] for m in self.factors]
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

    @classmethod
    def of(cls, bank: ConceptBank, models: Models, system: str = "reco") -> Scorer:
        """The scorer of a bank's concepts by ``"reco"``, or by names alone: ``"denseclip"``."""
        references = bank.references if system == "reco" else None
        texts = bank.texts if bank.recipe.denseclip or system == "denseclip" else None
        return cls(models, bank.recipe, texts, references, *bank.medians)

    @property
    def roles(self) -> tuple[str, ...]:
        """Those of the models that are needed; the others are never loaded."""
        needed = {"dense": self.texts, "encoder": self.references}
        return tuple(role for role, vectors in needed.items() if vectors is not None)

    def steps(self, image: RGB) -> int:
        """How many encodings an image takes."""
        tiles = len(TILING.corners(_grid(image))) if self._tiles(image) else 0
        return len(self.recipe.scales) + tiles

    @torch.no_grad()
    def __call__(self, image: RGB, step: Step = quiet_step) -> ScoreMaps:
        """Maps of a uint8 (H, W, 3) image of any size; ``step`` is called after each encoding.

        The whole image is encoded at each of the recipe's scales; if the recipe smooths, and there
        are references, pixels are alike by the features of the largest. With ``tiles``, an image
        whose short side is at least 1280 pixels is also encoded in overlapping tiles at that size.
        The cosines of all are averaged: tiles and large scales bring detail, the small one the
        context.

        Raises:
            InputError: it is too large to be encoded as it is, as a recipe without ``image_size``
                asks.
        """
        recipe, cosines, features = self.recipe, [], None
        for scale in recipe.scales:
            pair, seen = self._encode(self._whole(image, scale))
            features = seen if scale == max(recipe.scales) else features
            cosines.append(pair)
            step()
        if self._tiles(image):
            cosines.append(self._encode_tiles(image, step))
        language, visual = (_mean([pair[side] for pair in cosines]) for side in (0, 1))
        if recipe.smooth and features is not None:
            language, visual = _smooth_maps(language, visual, features, recipe.smooth)
        language = _subtract_levels(language, self.text_levels)
        if language is not None and self.texts is not None:
            language = _fill_unnamed(language, self.texts)
        visual = _subtract_levels(visual, self.reference_levels)
        if language is not None:
            scene = language.mean(dim=(1, 2), keepdim=True)
            language = torch.sigmoid(recipe.gain * (language - recipe.debias * scene))
        if visual is not None:
            visual = torch.sigmoid(recipe.visual_gain * visual)
        return ScoreMaps(language, visual)

    def _tiles(self, image: RGB) -> bool:
        return self.recipe.tiles and bool(min(image.shape[:2]) >= LARGE)

    def _whole(self, image: RGB, scale: float) -> Tensor:
        if self.recipe.image_size is None:
            return images.to_tensor(_resize_by(image, scale))[None]
        size = round(self.recipe.image_size * scale)
        height, width = images.short_side(image.shape, size)
        # A very long strip would need unbounded memory at a fixed short side.
        shrink = min(1.0, LONGEST * size / max(height, width))
        # An encoder needs at least one of its cells.
        target = max(CELL, round(height * shrink)), max(CELL, round(width * shrink))
        return images.to_tensor(images.resize(image, target))[None]

    def _encode(self, pixels: Tensor) -> tuple[Pair, Tensor | None]:
        """Cosines (C, h, w) with the texts and (C, h', w') with the references, and features."""
        if self.references is None:
            dense, features = self.models.dense.dense(pixels), None
        elif self.texts is None:
            dense, features = None, self.models.encoder.features(pixels)
        else:
            dense, features = encode_shared(self.models.dense, self.models.encoder, pixels)
        pair = _cosines(dense, self.texts), _cosines(features, self.references)
        return pair, None if features is None else features[0]

    def _encode_tiles(self, image: RGB, step: Step = quiet_step) -> Pair:
        pixels = images.to_tensor(images.resize(image, _grid(image)))[None]

        def see(tile: Tensor) -> list[Tensor]:
            return [cosines for cosines in self._encode(tile)[0] if cosines is not None]

        maps = iter(blend_tiles(pixels, TILING, see, step))
        language = None if self.texts is None else next(maps)
        return language, None if self.references is None else next(maps)


def _resize_by(image: RGB, scale: float) -> RGB:
    """The image at a multiple of its own size, at least one cell; InputError if it is too large."""
    height, width = (max(CELL, round(side * scale)) for side in image.shape[:2])
    if height * width > MOST_AS_IT_IS:
        raise InputError(
            f"the recipe encodes an image as it is, but {height}x{width} pixels are too many for "
            "that; shrink the image, or build the bank with recipe.replace(image_size=320)."
        )
    return images.resize(image, (height, width))


def _grid(image: RGB) -> tuple[int, int]:
    """(H, W) at which a large image is cut into tiles, multiples of 32."""
    height, width = images.short_side(image.shape, LARGE)
    width = min(width, LONGEST * LARGE)
    height = min(height, LONGEST * LARGE)
    return max(1, round(height / CELL)) * CELL, max(1, round(width / CELL)) * CELL


def _cosines(features: Tensor | None, vectors: Tensor | None) -> Tensor | None:
    if features is None or vectors is None:
        return None
    return cosine_map(features, vectors)[0].float()


def _subtract_levels(cosines: Tensor | None, levels: Tensor | None) -> Tensor | None:
    if cosines is None or levels is None:
        return cosines
    return cosines - levels.to(cosines)[:, None, None]


def _smooth_maps(
    language: Tensor | None, visual: Tensor | None, features: Tensor, sharpness: float
) -> Pair:
    """Both maps, averaged over the cells of the language map's grid, the coarser one."""
    if visual is None:
        return language, visual
    if language is None:
        return None, smooth(visual, features, sharpness)
    cells, pixels = ((int(m.shape[-2]), int(m.shape[-1])) for m in (language, visual))
    both = torch.cat([language, F.adaptive_avg_pool2d(visual, cells).to(language)])
    found = smooth(both, features.to(language), sharpness, pixels)
    return found[: len(language)], found[len(language) :].to(visual)


def _fill_unnamed(language: Tensor, texts: Tensor) -> Tensor:
    """For concepts without a text, what language says of the others on average."""
    named = texts.any(dim=1).to(language.device)
    if bool(named.all()) or not bool(named.any()):
        return language
    return torch.where(named[:, None, None], language, language[named].mean(dim=0))


def _mean(maps: list[Tensor | None]) -> Tensor | None:
    present = [m for m in maps if m is not None]
    if not present:
        return None
    size = max(int(m.shape[-2]) for m in present), max(int(m.shape[-1]) for m in present)
    return torch.stack([upsample(m[None], size)[0] for m in present]).mean(dim=0)
