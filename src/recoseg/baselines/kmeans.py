"""K-means on frozen features: the floor that every trained system has to be above."""

from __future__ import annotations

import torch

from recoseg.baselines.learner import Classifier, Figures, Learner, pixels
from recoseg.baselines.spherical import cluster_batches


class KMeans(Learner):
    """Learner of k-means: one round, no network."""

    def begin(self) -> None:
        """Allocate the centroids."""
        self.extra["centroids"] = torch.zeros(self.clusters, self.inputs.channels)

    @torch.no_grad()
    def round(self, number: int) -> Figures:
        """Cluster all pixels of all photos."""
        codes = (pixels(self.codes(self.inputs.plain(photos))) for photos in self.in_order())
        found = cluster_batches(codes, self.clusters, self.seed)
        self.extra["centroids"] = found.centroids.cpu()
        return {"objective": found.objectives[-1]}

    def result(self) -> Classifier:
        """The centroids."""
        return Classifier(self.extra["centroids"])

    def head(self) -> str:
        """Features as they are."""
        return "identity"
