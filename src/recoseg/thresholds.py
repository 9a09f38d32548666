"""Thresholds for ``unknown``, per concept, from the archive and without labels."""

from __future__ import annotations

import numpy as np
import torch

from recoseg.concepts import ConceptBank
from recoseg.errors import ArchiveError, ImageError, InputError
from recoseg.index import Index
from recoseg.models.trio import Models
from recoseg.progress import Progress, track
from recoseg.scoremaps import Scorer

SAMPLE = 48
QUANTILE = 0.85


def calibrate(
    bank: ConceptBank,
    index: Index,
    *,
    quantile: float = QUANTILE,
    sample: int = SAMPLE,
    models: Models | None = None,
    progress: Progress = True,
) -> ConceptBank:
    """A bank whose concepts have thresholds: scores that most of the archive's pixels do not reach.

    A concept covers little of an archive of everything, so the ``quantile`` of its scores over
    random archive images lies above what the concept scores where it is absent.

    Args:
        bank: the concepts; those with a threshold keep it.
        index: the archive.
        quantile: share of the archive's pixels that must score lower, in (0, 1).
        sample: how many images to score, chosen evenly through the sorted ids.
        models: the bank's models, if at hand.
        progress: as in ``track``.

    Raises:
        ArchiveError: no image of the archive can be read.
    """
    if not 0 < quantile < 1:
        raise InputError(f"quantile must lie between 0 and 1, not {quantile!r}.")
    new = [concept.name for concept in bank.concepts if concept.threshold is None]
    if not new:
        return bank
    chosen = bank.subset(new)
    models = models or Models.load(bank.recipe)
    bank.check(models)
    texts = chosen.texts if bank.recipe.denseclip else None
    scorer = Scorer(models, bank.recipe, texts, chosen.references)
    ids = sorted(index.ids)
    picked = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, sample).astype(int))]
    values = []
    for id in track(picked, label="calibrating", progress=progress):
        try:
            maps = scorer(index.image(id, at_least=bank.recipe.image_size))
        except (ArchiveError, ImageError, OSError):
            continue
        values.append(maps.at(maps.grid).flatten(1).cpu())
    if not values:
        raise ArchiveError("no image of the archive can be read; is its folder still there?")
    levels = torch.cat(values, dim=1).quantile(quantile, dim=1)
    return bank.with_thresholds(dict(zip(new, levels.tolist(), strict=True)))
