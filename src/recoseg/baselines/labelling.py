"""Training on cluster labels of the network's own codes, as MDC and PiCIE do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recoseg.baselines import spherical
from recoseg.baselines.learner import Classifier, Learner, pixels
from recoseg.baselines.spherical import assign, cluster_batches
from recoseg.baselines.views import warp
from recoseg.similarity import unit

# Of an epoch's labels; the clusters of the result have more starts.
RESTARTS = 2
Codes = Callable[[list[int]], Tensor]


@dataclass(frozen=True, eq=False)
class Labels:
    """A clustering of one view of all photos.

    Attributes:
        centroids: (K, d) unit vectors; what class c of these labels means.
        labels: (N, h, w) of every cell of every photo.
    """

    centroids: Tensor
    labels: Tensor


class ClusterLearner(Learner):
    """Learner trained on cluster labels of its own codes."""

    @torch.no_grad()
    def begin(self) -> None:
        """A head on principal components begins as the first of them, so that it starts no worse.

        At random it would have to find again what the features already say.
        """
        if self.plan.frozen and self.plan.reduced and isinstance(self.network, nn.Conv2d):
            self.network.weight.copy_(torch.eye(*self.network.weight.shape[:2])[:, :, None, None])
            self.network.bias.zero_()  # type: ignore[union-attr]

    def encode_view(self, photos: list[int], which: int, epoch: int) -> Tensor:
        """Unit codes (B, d, h, w) of a view, of both views in the geometry of view 1."""
        codes = self.codes(self.inputs.view(photos, which, epoch))
        if which == 1:
            return codes
        return unit(warp(self.inputs.geometry(photos, epoch), codes), dim=1)

    @torch.no_grad()
    def label_view(self, which: int, clusters: int, epoch: int) -> Labels:
        """A clustering of a view, and every cell labelled by it.

        The network is in the mode it is used in, for clustering and labelling alike.
        """
        self.network.eval()

        def codes(photos: list[int]) -> Tensor:
            return self.encode_view(photos, which, epoch)

        centroids = self.cluster_codes(codes, clusters, 2 * epoch + which, RESTARTS)
        maps = []
        for photos in self.in_order():
            found = codes(photos)
            labels = assign(pixels(found), centroids)[0]
            maps.append(labels.view(len(photos), *found.shape[-2:]).cpu())
        self.network.train()
        return Labels(centroids, torch.cat(maps))

    def cluster_codes(
        self, codes: Codes, clusters: int, draw: int, restarts: int = spherical.RESTARTS
    ) -> Tensor:
        """Centroids (K, d) of the codes of all photos."""
        batches: Iterable[Tensor] = (pixels(codes(photos)) for photos in self.in_order())
        return cluster_batches(
            batches, clusters, self.seed * 7919 + draw, restarts=restarts
        ).centroids

    @torch.no_grad()
    def result(self) -> Classifier:
        """A fresh clustering of the photos as they are."""
        self.network.eval()
        found = self.cluster_codes(
            lambda photos: self.codes(self.inputs.plain(photos)), self.clusters, 0
        )
        return Classifier(found.cpu())
