"""One concept from its images (steps 4 to 8 of the method), context elimination included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from recoseg.building.cosegment import Cosegmentation, move_seeds
from recoseg.building.cosegmenters import COSEGMENTERS
from recoseg.building.sample import PixelSample
from recoseg.building.spec import Request
from recoseg.concepts.concept import Concept
from recoseg.concepts.evidence import Evidence, Pictures, Seed, round_digits
from recoseg.errors import ArchiveError, ImageError
from recoseg.index.index import Hit, Index
from recoseg.io import images
from recoseg.io.images import RGB
from recoseg.io.squares import cut_square, least_side
from recoseg.models.registry import Models
from recoseg.recipe import Recipe
from recoseg.similarity import cosine_map, upsample


@dataclass
class Material:
    """Images of one concept that its reference is made of: squares and their origins.

    Attributes:
        recipe: says how large the squares are and how they are cut.
        archive: digest of the archive that was searched.
        squares: uint8 (S, S, 3) each.
        origins: id and cosine of each; None for an example.
        notes: sentences about images that were left out.
    """

    recipe: Recipe
    archive: str = ""
    squares: list[RGB] = field(default_factory=list)
    origins: list[tuple[str, float | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def at_least(self) -> int | None:
        """The short side that a photo may be decoded at; None to decode it whole."""
        return least_side(self.recipe.archive_size, self.recipe.archive_resize)

    def take(self, image: RGB, origin: str, score: float | None) -> None:
        """Crop an image to the archive's geometry and keep it."""
        square = cut_square(image, self.recipe.archive_size, self.recipe.archive_resize)
        self.squares.append(square)
        self.origins.append((origin, score))


def gather(request: Request, hits: Sequence[Hit], index: Index | None, recipe: Recipe) -> Material:
    """The examples and the retrieved images of a concept, cropped to the recipe's squares.

    Raises:
        ArchiveError: none is left.
        ImageError: an example cannot be read.
    """
    material = Material(recipe)
    for number, example in enumerate(request.examples, start=1):
        label = str(example) if isinstance(example, str | Path) else f"example {number}"
        material.take(images.read(example, at_least=material.at_least), label, None)
    if index is not None:
        _fetch(material, index, hits)
    if not material.squares:
        reason = material.notes[0] if material.notes else "the search found none"
        raise ArchiveError(
            f"no image is left for {request.name!r} ({reason}); bring the index up to date, "
            "exclude fewer images, or give examples."
        )
    return material


@torch.no_grad()
def make_reference(
    request: Request,
    material: Material,
    text: Tensor,
    contexts: Sequence[Concept],
    models: Models,
    sample: PixelSample | None = None,
) -> Concept:
    """Co-segment the images of a concept into its reference, with the evidence.

    Args:
        request: what was asked for.
        material: its images, and the method's settings.
        text: (d1,) unit text vector.
        contexts: concepts whose references are eliminated.
        models: the recipe's models.
        sample: of photos of everything, for a recipe that centres; None for the concept's own.
    """
    recipe = material.recipe
    seen = PixelSample.of(material.squares, models)
    dense, features = torch.cat(seen.dense), torch.cat(seen.features)
    by_language = recipe.cosegment == "dense"
    matched = dense if by_language else features
    weights = saliency(dense, matched, text, pick_eliminated(contexts, recipe), recipe)
    found = COSEGMENTERS[recipe.cosegmenter](matched, weights)
    guide = found.reference.cpu() if by_language else None
    if by_language:
        found = move_seeds(found, features)
    reference = found.reference.cpu()
    heat = cosine_map(features.float(), reference[None])[:, 0].cpu().numpy()
    evidence = Evidence(
        concept=request.name,
        seeds=_seeds(material, found),
        agreement=round_digits(found.agreement),
        archive=material.archive,
        excluded=tuple(sorted(request.exclude)),
        notes=tuple(material.notes),
        pictures=Pictures.of(material.squares, heat),
    )
    medians = (sample or seen).medians(text, reference) if recipe.centre else None
    return Concept(
        request.name, request.aliases, text, reference, None, evidence, None, medians, guide
    )


def pick_eliminated(contexts: Sequence[Concept], recipe: Recipe) -> list[Tensor]:
    """The vectors of contexts that are compared with what the recipe co-segments."""
    if recipe.cosegment == "encoder":
        return [context.reference for context in contexts]
    return [context.guide for context in contexts if context.guide is not None]


def saliency(
    dense: Tensor,
    features: Tensor,
    text: Tensor,
    eliminated: Sequence[Tensor],
    recipe: Recipe,
) -> Tensor | None:
    """How much each pixel may support others (steps 5 and 6; paper sections 3.2 and 3.3).

    Args:
        dense: (n, d1, h1, w1), comparable with text.
        features: (n, d2, h, w), what is co-segmented.
        text: (d1,) of the concept.
        eliminated: (d2,) each, of contexts.
        recipe: whether language guides (``lgc``) and context is eliminated (``ce``), and the gain.

    Returns:
        (n, h, w) in [0, 1], or None where every pixel counts alike.
    """
    height, width = features.shape[-2:]
    weights = None
    if recipe.lgc:
        scores = torch.sigmoid(recipe.gain * cosine_map(dense.float(), text[None]))
        weights = upsample(scores, (height, width))[:, 0].to(features.device)
    if recipe.ce and eliminated:
        contexts = torch.stack(list(eliminated))
        kept = (1 - torch.sigmoid(cosine_map(features.float(), contexts))).prod(dim=1)
        weights = kept if weights is None else weights * kept
    return weights


def _fetch(material: Material, index: Index, hits: Sequence[Hit]) -> None:
    passed = 0
    for hit in hits:
        if not index.archive.has(hit.id):
            passed += 1
            continue
        try:
            photo = index.image(hit.id, at_least=material.at_least)
            material.take(photo, hit.id, round_digits(hit.score))
        # An archive may lose a file at any time; the others still tell what the concept is.
        except (ArchiveError, ImageError, OSError) as error:
            material.notes.append(f"{hit.id} was left out: {error}")
    if passed:
        material.notes.append(f"photos passed over because they cannot be fetched: {passed}")


def _seeds(material: Material, found: Cosegmentation) -> tuple[Seed, ...]:
    height, width = found.scores.shape[-2:]
    places, support = found.seeds.tolist(), found.support.tolist()
    return tuple(
        Seed(
            id,
            score,
            round_digits((column + 0.5) / width),
            round_digits((row + 0.5) / height),
            round_digits(s),
        )
        for (id, score), (row, column), s in zip(material.origins, places, support, strict=True)
    )
