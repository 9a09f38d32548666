"""PiCIE and PiCIE+H: clusters that neither colours nor geometry change (Cho et al. 2021).

Two views of each photo are clustered on their own. Each view's codes must fit the clusters of that
view (within) and of the other (across), so that what differs between views cannot tell clusters
apart. Labels of a view mean its own centroids and no others. PiCIE+H adds a second clustering, a
finer one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.baselines.labelling import ClusterLearner, Labels
from recoseg.baselines.learner import Figures, pixels

VIEWS = (1, 2)


class PiCIE(ClusterLearner):
    """Learner of PiCIE: a round is an epoch; with ``plan.overclusters`` it is PiCIE+H."""

    def round(self, number: int) -> Figures:
        """Cluster both views, then learn to fit both clusterings from both views."""
        finer = self.plan.second(self.clusters)
        counts = [self.clusters, finer] if finer else [self.clusters]
        weights = balance(self.clusters, finer) if finer else (1.0,)
        taught = [[self.label_view(view, count, number) for view in VIEWS] for count in counts]
        losses = []
        for photos in self.batches(number):
            codes = [pixels(self.encode_view(photos, view, number)) for view in VIEWS]
            parts = [loss(codes, *_chosen(both, photos)) for both in taught]
            total = torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum()
            losses.append(self.optimise(total))
        return {"loss": sum(losses) / len(losses)}


def loss(codes: Sequence[Tensor], centroids: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
    """Mean of the loss within views and the loss across them (equations 5 to 7).

    Args:
        codes: (n, d) unit codes of view 1 and view 2 of the same cells.
        centroids: (K, d) of each view's clustering.
        labels: (n,) of each view's clustering.
    """

    def fit(view: int, clustering: int) -> Tensor:
        return F.cross_entropy(codes[view] @ centroids[clustering].T, labels[clustering])

    within = (fit(0, 0) + fit(1, 1)) / 2
    across = (fit(0, 1) + fit(1, 0)) / 2
    return (within + across) / 2


def balance(clusters: int, finer: int) -> tuple[float, float]:
    """Weights of the two clusterings; a loss over more clusters is larger and weighs less."""
    if clusters < 2 or finer < 2:
        return 0.5, 0.5
    total = math.log(clusters) + math.log(finer)
    return math.log(finer) / total, math.log(clusters) / total


def _chosen(views: Sequence[Labels], photos: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    centroids = [view.centroids for view in views]
    labels = [v.labels[list(photos)].flatten().to(v.centroids.device) for v in views]
    return centroids, labels
