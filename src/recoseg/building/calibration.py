"""Calibration of each concept's threshold for ``unknown``, on an archive without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recoseg.building.sample import COUNT, spread
from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import STRICTNESSES
from recoseg.errors import ArchiveError, ImageError, InputError
from recoseg.index.index import Index
from recoseg.io.progress import Progress, track
from recoseg.models.registry import Models
from recoseg.segmenting.scoremaps import Scorer

SAMPLE = COUNT
STRICTNESS = 0.85


def calibrate(
    bank: ConceptBank,
    index: Index,
    *,
    strictness: float = STRICTNESS,
    sample: int = SAMPLE,
    models: Models | None = None,
    progress: Progress = True,
) -> ConceptBank:
    """A bank whose concepts have thresholds: scores that most of the archive's pixels do not reach.

    A concept covers little of an archive of everything, so a score that most of its pixels do not
    reach lies above what the concept scores where it is absent. The scores of other strictnesses
    are kept beside, as ``Concept.thresholds``, for ``Options.strictness``.

    Args:
        bank: the concepts; those with a threshold keep it, those with others too.
        index: the archive.
        strictness: share of the archive's pixels that must score lower, in (0, 1).
        sample: how many images to score, chosen evenly through the sorted ids.
        models: the bank's models, if at hand.
        progress: as in ``track``.

    Raises:
        ArchiveError: no image of the archive can be read.
    """
    if not 0 < strictness < 1:
        raise InputError(f"strictness must lie between 0 and 1, not {strictness!r}.")
    if sample < 1:
        raise InputError(f"sample must be at least one image, not {sample!r}.")
    chosen = bank.subset([c.name for c in bank.concepts if None in (c.threshold, c.thresholds)])
    if not len(chosen):
        return bank
    models = models or Models.load(bank.recipe)
    scorer = Scorer.of(chosen, models)
    bank.check(models, scorer.roles)
    # NumPy's, because that of older torch refuses more than 16 million values.
    scores = _scores(scorer, index, sample, progress)
    found = np.quantile(scores, (strictness, *STRICTNESSES), axis=1)
    return bank.put(
        *(
            replace(
                concept,
                threshold=first if concept.threshold is None else concept.threshold,
                thresholds=concept.thresholds or tuple(others),
            )
            for concept, (first, *others) in zip(chosen.concepts, found.T.tolist(), strict=True)
        )
    )


def _scores(scorer: Scorer, index: Index, sample: int, progress: Progress) -> NDArray[np.float32]:
    """(C, all pixels) scores of images chosen evenly, each on its own grid."""
    picked = spread(index.ids, sample)
    if not picked:
        raise ArchiveError("the archive holds no image; add some to the index.")
    size = scorer.recipe.image_size
    finest = None if size is None else round(size * max(scorer.recipe.scales))
    values = []
    for id in track(picked, label="calibrating", progress=progress):
        try:
            maps = scorer(index.image(id, at_least=finest))
        except (ArchiveError, ImageError, OSError):
            continue
        values.append(maps.at(maps.grid).flatten(1).cpu().numpy())
    if not values:
        raise ArchiveError("no image of the archive can be read; is its folder still there?")
    return np.concatenate(values, axis=1)
