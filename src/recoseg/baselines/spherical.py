"""Spherical k-means: clusters of directions, by seeds far apart and the best of several starts.

The objective is the mean of one minus the cosine of each point to its nearest centroid. It decides
which start is kept, and nothing else does: no label is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from recoseg.errors import InputError
from recoseg.similarity import unit

RESTARTS, ITERATIONS = 5, 50
# Points that the starts are made of; more change centroids by less than the starts differ.
MOST_POINTS = 20_000
_BLOCK = 16_384
_LEAST_GAIN = 1e-5


@dataclass(frozen=True, eq=False)
class Clustering:
    """What k-means found.

    Attributes:
        centroids: (K, d) unit vectors.
        objectives: after each iteration of the start that was kept; they never rise.
        starts: the last objective of every start.
    """

    centroids: Tensor
    objectives: tuple[float, ...]
    starts: tuple[float, ...]


def assign(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid of each point and the cosine to it.

    Args:
        points: (N, d), any scale.
        centroids: (K, d) unit vectors.

    Returns:
        (N,) indices and (N,) cosines.
    """
    found = [(unit(block) @ centroids.T).max(dim=1) for block in torch.split(points, _BLOCK)]
    return torch.cat([each.indices for each in found]), torch.cat([each.values for each in found])


def cluster(
    points: Tensor, k: int, seed: int, restarts: int = RESTARTS, iterations: int = ITERATIONS
) -> Clustering:
    """K-means of all points at once.

    Args:
        points: (N, d), any scale, N at least k.
        k: clusters.
        seed: of the starts.
        restarts: independent starts, of which the one of the lowest objective is kept.
        iterations: at most, of each; one that gains less than 1e-5 is the last.

    Raises:
        InputError: fewer points than clusters.
    """
    if not 1 <= k <= len(points):
        raise InputError(
            f"{len(points)} points cannot make {k} clusters; ask for fewer, or give more photos."
        )
    directions = unit(points.float())
    found = [
        _iterate(directions, k, torch.Generator().manual_seed(seed * 1009 + number), iterations)
        for number in range(restarts)
    ]
    centroids, objectives = min(found, key=lambda each: each[1][-1])
    return Clustering(centroids, tuple(objectives), tuple(each[1][-1] for each in found))


def cluster_batches(
    batches: Iterable[Tensor], k: int, seed: int, initial: int = 20, restarts: int = RESTARTS
) -> Clustering:
    """K-means of points that come in batches (PiCIE): starts from the first, then running means.

    Args:
        batches: of (N, d).
        k: clusters.
        seed: of starts, and of which points they see.
        initial: batches that the starts are made of, thinned to 20,000 points evenly at random;
            each later batch moves a centroid towards the mean of its points, by their share of all
            points that it was given.
        restarts: as in ``cluster``.
    """
    rest = iter(batches)
    first = subsample(
        torch.cat([batch for _, batch in zip(range(initial), rest, strict=False)]), seed
    )
    found = cluster(first, k, seed, restarts)
    return Clustering(_follow_batches(found.centroids, first, rest), found.objectives, found.starts)


def subsample(points: Tensor, seed: int, most: int = MOST_POINTS) -> Tensor:
    """At most ``most`` of (N, d) points, chosen at random."""
    if len(points) <= most:
        return points
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(points), generator=generator)[:most].sort().values
    return points[chosen.to(points.device)]


def _follow_batches(centroids: Tensor, first: Tensor, rest: Iterator[Tensor]) -> Tensor:
    counts = _sums(first, assign(first, centroids)[0], len(centroids))[1]
    for batch in rest:
        sums, new = _sums(unit(batch), assign(batch, centroids)[0], len(centroids))
        counts = counts + new
        share = (new / counts.clamp_min(1))[:, None]
        centroids = unit(centroids + share * (sums / new.clamp_min(1)[:, None] - centroids))
    return centroids


def _iterate(
    points: Tensor, k: int, generator: torch.Generator, iterations: int
) -> tuple[Tensor, list[float]]:
    centroids = _spread_seeds(points, k, generator)
    objectives: list[float] = []
    for _ in range(iterations):
        labels, cosines = assign(points, centroids)
        objectives.append(float(1 - cosines.double().mean()))
        if len(objectives) > 1 and objectives[-2] - objectives[-1] < _LEAST_GAIN:
            break
        centroids = _move_centroids(points, labels, cosines, centroids)
    return centroids, objectives


def _move_centroids(points: Tensor, labels: Tensor, cosines: Tensor, centroids: Tensor) -> Tensor:
    """Each centroid to the direction of its points; one without any to the worst-served point."""
    sums, counts = _sums(points, labels, len(centroids))
    # Points that cancel out have no direction; the old centroid is as good as any.
    moved = torch.where(sums.norm(dim=1, keepdim=True) > 1e-6, unit(sums), centroids)
    dead = torch.nonzero(counts == 0).flatten()
    if len(dead):
        worst = torch.argsort(cosines, stable=True)[: len(dead)]
        moved[dead] = points[worst]
    return moved


def _sums(points: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(K, d) sums and (K,) numbers of the points of each cluster."""
    sums = points.new_zeros(k, points.shape[1]).index_add_(0, labels, points)
    return sums, torch.bincount(labels, minlength=k).to(points)


def _spread_seeds(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k-means++: each seed a point, the likelier the farther it is from the seeds before."""
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    distance = (1 - points @ points[chosen[0]]).clamp_min(0)
    for _ in range(k - 1):
        weights = distance.double().cumsum(0)
        at = torch.rand(1, generator=generator, dtype=torch.float64) * weights[-1]
        place = min(int(torch.searchsorted(weights, at.to(weights.device))), len(points) - 1)
        chosen.append(place)
        distance = torch.minimum(distance, (1 - points @ points[place]).clamp_min(0))
    return points[chosen].clone()
