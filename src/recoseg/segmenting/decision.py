"""From scores to labels: which concepts compete, which one wins, and which names are likely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import Concept
from recoseg.errors import BankError
from recoseg.io.images import RGB
from recoseg.segmenting.scoremaps import ScoreMaps
from recoseg.similarity import upsample, upsample_rows

WORKING_PIXELS = 640_000
STRONGEST = 0.05
_BAND = 256


def working_size(image: RGB, most: int | None = WORKING_PIXELS) -> tuple[int, int]:
    """(H, W) at which scores and the CRF are computed: the image's own, up to so many pixels."""
    height, width = image.shape[:2]
    if most is None:
        return height, width
    shrink = min(1.0, (most / (height * width)) ** 0.5)
    rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
    return min(rows, most), min(columns, most)


def pick_likely(maps: ScoreMaps, least: Tensor, most: int) -> Tensor:
    """The concepts that are most likely in the image at all.

    A concept that is there covers a part of the image with scores well above those it has where it
    is absent, so concepts are ranked by the mean of their strongest twentieth of the pixels over
    their threshold.

    Args:
        maps: C concepts' scores.
        least: (C,) their thresholds.
        most: how many to keep.

    Returns:
        At most ``most`` indices, ascending.
    """
    scores = maps.at(maps.grid).flatten(1)
    count = max(1, round(STRONGEST * scores.shape[1]))
    peaks = scores.topk(count, dim=1).values.mean(dim=1)
    ranks = (peaks / least.to(peaks)).sort(descending=True, stable=True).indices
    return ranks[:most].sort().values


def pick_contenders(maps: ScoreMaps, most: int | None) -> Tensor:
    """Indices of all concepts; of more than ``most``, the largest of those that win somewhere.

    The hundred others of a large bank win nowhere, but would cost the CRF a minute on a photo. The
    CRF might let one of them win: labels are not those of all concepts (docs/benchmarks.md).
    """
    if most is None or maps.count <= most:
        return torch.arange(maps.count)
    height, width = maps.grid
    winners = maps.at((2 * height, 2 * width)).argmax(dim=0).flatten()
    area = torch.bincount(winners, minlength=maps.count)
    largest = area.sort(descending=True, stable=True).indices[:most]
    return largest[area[largest] > 0].sort().values


def pick_winners(
    probabilities: Tensor, size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Argmax of (C, h, w) and its probability at ``size``, by bands of rows if larger."""
    if tuple(probabilities.shape[-2:]) == size:
        confidence, labels = probabilities.max(dim=0)
        return labels.cpu().numpy(), confidence.cpu().numpy()
    bands = (slice(top, min(size[0], top + _BAND)) for top in range(0, size[0], _BAND))
    parts = [upsample_rows(probabilities, size, band).max(dim=0) for band in bands]
    labels = torch.cat([part.indices for part in parts])
    return labels.cpu().numpy(), torch.cat([part.values for part in parts]).cpu().numpy()


def probability(
    probabilities: Tensor, labels: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """(H, W) of (C, h, w) probabilities, that of each pixel's label; by bands of rows if larger."""
    chosen = torch.from_numpy(labels)[None].to(probabilities.device)
    if tuple(probabilities.shape[-2:]) == size:
        return probabilities.gather(0, chosen)[0].cpu().numpy()
    bands = (slice(top, min(size[0], top + _BAND)) for top in range(0, size[0], _BAND))
    parts = [upsample_rows(probabilities, size, b).gather(0, chosen[:, b])[0] for b in bands]
    return torch.cat(parts).cpu().numpy()


def sum_chosen(
    maps: ScoreMaps, chosen: Tensor, temperature: float, size: tuple[int, int]
) -> Tensor:
    """(1, H, W) probability that the concepts left out leave to the chosen ones."""
    everything = torch.softmax(maps.at(maps.grid) / temperature, dim=0)
    return upsample(everything[chosen].sum(dim=0, keepdim=True)[None], size)[0]


def median_scores(bank: ConceptBank) -> Tensor | None:
    """(C,) each concept's median score over the archive; None if not all were calibrated so."""
    if any(concept.thresholds is None for concept in bank.concepts):
        return None
    return thresholds(bank, 0.5)


def find_unknown(labels: NDArray[np.int64], scores: Tensor, least: Tensor) -> NDArray[np.bool_]:
    """Where the working-grid score of a pixel's label is below that label's threshold."""
    failed = (scores.cpu() < least[:, None, None]).numpy()
    height, width = labels.shape
    rows = np.arange(height) * failed.shape[1] // height
    columns = np.arange(width) * failed.shape[2] // width
    return np.asarray(failed[labels, rows[:, None], columns[None]])


def thresholds(bank: ConceptBank, strictness: float | None = None) -> Tensor:
    """(C,) scores below which a pixel shows none of the concepts.

    Args:
        bank: the concepts.
        strictness: the share of an archive's pixels that must score lower, 0.5 to 0.99; None for
            the concepts' own thresholds.

    Raises:
        BankError: a concept was never calibrated.
    """
    found = {
        c.name: c.threshold if strictness is None else c.threshold_at(strictness)
        for c in bank.concepts
    }
    missing = [name for name, threshold in found.items() if threshold is None]
    if missing and strictness is not None:
        raise BankError(
            f"{missing[0]!r} has no thresholds by strictness; calibrate the bank again "
            "with recoseg.calibrate(bank, index), which keeps its thresholds."
        )
    if missing:
        raise BankError(
            f"{missing[0]!r} has no threshold, which 'unknown' and a shortlist need; calibrate "
            "the bank on an archive with recoseg.calibrate(bank, index)."
        )
    return torch.tensor([float(threshold or 0.0) for threshold in found.values()])


def group_names(concepts: Sequence[Concept]) -> tuple[str, ...]:
    """The groups of some concepts that are no concept's name themselves, first come first."""
    names = {concept.name for concept in concepts}
    found = dict.fromkeys(c.group for c in concepts if c.group is not None)
    return tuple(group for group in found if group not in names)


def membership(concepts: Sequence[Concept]) -> Tensor:
    """(G, C) 1 where a concept is of a group of ``group_names``, else 0."""
    rows = [[float(c.group == group) for c in concepts] for group in group_names(concepts)]
    return torch.tensor(rows).reshape(-1, len(concepts))


def with_groups(maps: Tensor, members: Tensor) -> Tensor:
    """(C + G, h, w) of (C, h, w): a group scores what the best of its concepts does."""
    return torch.cat([maps, *(maps[row.bool()].amax(dim=0, keepdim=True) for row in members)])


def count_rejected(
    best: NDArray[np.int64], unsure: NDArray[np.bool_], names: Sequence[str]
) -> dict[str, float]:
    """What the pixels without a name were nearest to, the largest share first.

    Args:
        best: (H, W), the concept of each pixel before any was found unsure.
        unsure: (H, W), the pixels that carry no name.
        names: of the concepts.

    Returns:
        Name to its share of all H * W pixels; the shares sum to that of the unsure ones.
    """
    counts = np.bincount(best[unsure], minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[i]: float(counts[i] / best.size) for i in order if counts[i]}


def name_surely(
    labels: NDArray[np.int64], beliefs: Tensor, members: Tensor, least: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each pixel's narrowest name that is probable enough.

    Args:
        labels: (H, W), the concept of each pixel.
        beliefs: (C, h, w) probabilities of all concepts, summing to 1.
        members: (G, C), which concepts are of which group.
        least: probability that a name must have.

    Returns:
        (H, W) the concept where it is at least so probable; else C + its group where the group's
        concepts are together; else C + G. And (H, W) the probability of that name; where there is
        none, of the concept.
    """
    count, size = len(beliefs), (labels.shape[0], labels.shape[1])
    present, places = np.unique(labels, return_inverse=True)
    own = probability(beliefs[torch.from_numpy(present)], places.reshape(labels.shape), size)
    named, sure = np.where(own >= least, labels, count + len(members)), own
    if len(members):
        home = np.where(members.any(dim=0).numpy(), members.argmax(dim=0).numpy(), -1)[labels]
        sums = torch.einsum("gc,chw->ghw", members.to(beliefs), beliefs)
        together = probability(sums, np.maximum(home, 0), size)
        broad = (own < least) & (home >= 0) & (together >= least)
        named, sure = np.where(broad, count + home, named), np.where(broad, together, own)
    return named, sure.astype(np.float32)
