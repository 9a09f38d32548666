"""STEGO: codes whose likeness follows that of frozen features (Hamilton et al. 2022).

Where features of two cells are alike, their codes are made alike, and where they are not, unlike;
the shift b says how alike that is, for cells of one photo, of a photo and its neighbour, and of two
photos. Clusters are a probe that is trained beside the codes and does not change them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoseg.baselines.learner import Classifier, Figures, Learner, pixels
from recoseg.baselines.neighbours import derangement, nearest
from recoseg.baselines.spherical import cluster_batches
from recoseg.similarity import sample, unit

SHUFFLES = 5
PROBE_RATE = 5e-3
# Share of pairs of cells that are to be drawn together: of one photo, of neighbours, of two photos.
ATTRACTED = (0.55, 0.40, 0.25)
_SURVEY = 8


class Stego(Learner):
    """Learner of STEGO: a round is ``plan.steps`` steps."""

    def begin(self) -> None:
        """Neighbours of every photo, shifts, and a probe."""
        pooled = [self.inputs.plain(photos).mean((2, 3)) for photos in self.in_order()]
        count = min(self.plan.neighbours, max(1, self.inputs.count - 1 - 2 * self.plan.gap))
        self._nearest = nearest(torch.cat(pooled), count, self.plan.gap)
        shifts = self.plan.shifts or self._choose_shifts()
        self.extra["shifts"] = torch.tensor(shifts, dtype=torch.float64)
        generator = torch.Generator().manual_seed(self.seed)
        probe = torch.randn(self.clusters, self.plan.dim, generator=generator)
        self.extra["probe"] = probe.to(self.device).requires_grad_()

    def parameters(self) -> list[dict[str, object]]:
        """The head and the probe."""
        probe = {"params": [self.extra["probe"]], "lr": PROBE_RATE}
        return [*super().parameters(), probe]

    def round(self, number: int) -> Figures:
        """Draw batches with neighbours and strangers, and follow the features' likeness."""
        generator = torch.Generator().manual_seed(self.seed * 65_537 + number)
        total = {"loss": 0.0, "probe": 0.0}
        shifts = self.extra["shifts"].tolist()
        for _ in range(self.plan.steps):
            pairs, codes = self._pairs(generator)
            parts = torch.stack([loss(*pair, b) for pair, b in zip(pairs, shifts, strict=True)])
            weights = torch.tensor(self.plan.weights, device=parts.device)
            probe = probe_loss(codes.detach(), self.extra["probe"])
            self.optimise((weights * parts).sum() + probe)
            total["loss"] += float((weights * parts).sum().detach()) / self.plan.steps
            total["probe"] += float(probe.detach()) / self.plan.steps
        return total

    @torch.no_grad()
    def result(self) -> Classifier:
        """The probe's directions, or a fresh clustering of the codes."""
        if self.plan.fresh:
            self.network.eval()
            codes = (pixels(self.codes(self.inputs.plain(p))) for p in self.in_order())
            return Classifier(cluster_batches(codes, self.clusters, self.seed).centroids.cpu())
        return Classifier(unit(self.extra["probe"].detach()).cpu())

    def head(self) -> str:
        """A linear layer plus one with a hidden layer."""
        return "residual"

    def _draw_pairs(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch of photos and a neighbour of each."""
        size = max(2, min(self.plan.batch, self.inputs.count))
        photos = torch.randperm(self.inputs.count, generator=generator)[:size]
        which = torch.randint(self._nearest.shape[1], (len(photos),), generator=generator)
        return photos, self._nearest[photos, which]

    def _pairs(self, generator: torch.Generator) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Likeness of features and of codes of the three kinds of pairs; codes of the batch."""
        photos, others = self._draw_pairs(generator)
        features, near = (
            self.inputs.plain(each.tolist()).to(self.device) for each in (photos, others)
        )
        codes, near_codes = self.network(features), self.network(near)
        here, there = (self._points(len(photos), generator) for _ in range(2))
        own = sample(features, here), sample(codes, here)
        neighbour = sample(near, there), sample(near_codes, there)
        strangers = []
        for _ in range(SHUFFLES):
            order = derangement(len(photos), generator).to(self.device)
            strangers.append((sample(features[order], there), sample(codes[order], there)))
        kinds = [[own], [neighbour], strangers]
        return [_compare_pairs(own, members) for members in kinds], codes

    def _points(self, count: int, generator: torch.Generator) -> Tensor:
        side = self.plan.positions
        return torch.rand(count, side, side, 2, generator=generator).to(self.device)

    @torch.no_grad()
    def _choose_shifts(self) -> tuple[float, float, float]:
        """Shifts that draw a given share of pairs together, by the likeness of some features."""
        generator = torch.Generator().manual_seed(self.seed)
        found: list[list[Tensor]] = [[], [], []]
        for _ in range(_SURVEY):
            pairs, _codes = self._pairs(generator)
            for kind, (features, _) in enumerate(pairs):
                found[kind].append(centre(features).flatten()[::97].cpu())
        shares = zip(found, ATTRACTED, strict=True)
        itself, near, far = (float(torch.cat(f).quantile(1 - share)) for f, share in shares)
        return itself, near, far


def compare_cells(first: Tensor, second: Tensor) -> Tensor:
    """Cosines (B, h, w, i, j) of all cells of (B, d, h, w) with all of (B, d, i, j)."""
    return torch.einsum("bdhw,bdij->bhwij", unit(first, dim=1), unit(second, dim=1))


def centre(features: Tensor) -> Tensor:
    """Likeness of features less the mean of each cell's, plus the mean of all (equation 4)."""
    return features - features.mean((3, 4), keepdim=True) + features.mean()


def loss(features: Tensor, codes: Tensor, shift: float) -> Tensor:
    """Codes are drawn together where features are more alike than the shift (equations 2 to 4).

    Args:
        features: likeness of features, (B, h, w, i, j).
        codes: likeness of codes, the same shape; below 0 it is far enough and counts as 0.
        shift: b.
    """
    return -(codes.clamp_min(0) * (centre(features) - shift)).mean()


def probe_loss(codes: Tensor, probe: Tensor) -> Tensor:
    """Minus the mean cosine of each code (B, d, h, w) to the nearest of the probe's (K, d)."""
    cosines = torch.einsum("bdhw,kd->bkhw", unit(codes, dim=1), unit(probe))
    return -cosines.amax(dim=1).mean()


def _compare_pairs(
    own: tuple[Tensor, Tensor], members: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    features = torch.cat([compare_cells(own[0], features) for features, _ in members])
    return features, torch.cat([compare_cells(own[1], codes) for _, codes in members])
