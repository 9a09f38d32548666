"""How narrow a name a pixel may carry: its concept's, its group's, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.concepts.concept import Concept
from recoseg.segmenting.decision import probability


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
