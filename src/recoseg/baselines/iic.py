"""IIC: mutual information of two views' clusters, maximised (Ji et al. 2019, section 3.3).

The network says for every cell how likely each cluster is. The mutual information between the
cluster of a cell in one view and that of a nearby cell in the other is made large: clusters must be
the same in both views, and all of them used. A second head with more clusters is trained in turn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recoseg.baselines.learner import Classifier, Figures, Learner
from recoseg.baselines.views import warp

COLLAPSED = 0.9
_HEADS = ("over", "final")
_TINY = 1e-12


class IIC(Learner):
    """Learner of IIC: a round is ``plan.steps`` steps of each head, or an epoch of each."""

    def begin(self) -> None:
        """Make the two heads."""
        counts = (max(2, self.plan.second(self.clusters)), self.clusters)
        for head, count in zip(_HEADS, counts, strict=True):
            layer = torch.nn.Linear(self.plan.dim, count)
            weight, bias = (value.detach().to(self.device) for value in layer.parameters())
            self.extra[f"{head}.weight"] = weight.requires_grad_()
            self.extra[f"{head}.bias"] = bias.requires_grad_()

    def parameters(self) -> list[dict[str, object]]:
        """The network and both heads."""
        heads = {"params": list(self.extra.values()), "lr": self.plan.rate}
        return [*super().parameters(), heads]

    def round(self, number: int) -> Figures:
        """Train the head of many clusters, then the other."""
        losses, shares = [], torch.zeros(self.clusters, device=self.device)
        for turn, head in enumerate(_HEADS):
            for photos in self._photos(2 * number + turn):
                first, second = self._probabilities(head, photos, number)
                losses.append(
                    self.optimise(loss(first, second, self.plan.reach, lam=self.plan.lam))
                )
                if head == "final":
                    shares += first.detach().sum((0, 2, 3))
        shares /= shares.sum()
        entropy = -(shares * shares.clamp_min(_TINY).log()).sum()
        return {
            "loss": losses[-1],
            "entropy of the clusters": float(entropy),
            "largest cluster": float(shares.max()),
        }

    def result(self) -> Classifier:
        """The classifier whose outputs are as many as the clusters asked for."""
        weight, bias = (self.extra[f"final.{part}"].detach().cpu() for part in ("weight", "bias"))
        return Classifier(weight, bias, directions=False)

    def head(self) -> str:
        """One hidden layer."""
        return "hidden"

    def _photos(self, turn: int) -> list[list[int]]:
        if not self.plan.steps:
            return list(self.batches(turn))
        found: list[list[int]] = []
        while len(found) < self.plan.steps:
            found += self.batches(turn * 100_003 + len(found))
        return found[: self.plan.steps]

    def _probabilities(self, head: str, photos: list[int], epoch: int) -> tuple[Tensor, Tensor]:
        """(B, K, h, w) of both views in the geometry of view 1."""
        weight, bias = (self.extra[f"{head}.{part}"] for part in ("weight", "bias"))
        classify = Classifier(weight, bias, directions=False)
        first, second = (
            classify(self.network(self.inputs.view(photos, which, epoch).to(self.device)))
            for which in (1, 2)
        )
        return first, warp(self.inputs.geometry(photos, epoch), second)


def joint(first: Tensor, second: Tensor, reach: int, mask: Tensor | None = None) -> Tensor:
    """Joint distribution of two views' clusters at each displacement (equation 5).

    Args:
        first: (B, K, h, w) probabilities of one view.
        second: (B, K, h, w) of the other, in the same geometry.
        reach: displacements in each direction.
        mask: (B, h, w), 1 where both views see the photo; None for everywhere.

    Returns:
        (T, K, K) symmetric, each displacement summing to 1; T = (2 * reach + 1) ** 2.
    """
    if mask is not None:
        first, second = first * mask[:, None], second * mask[:, None]
    height, width = first.shape[-2:]
    tables = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            here = first[:, :, max(0, -down) : height - max(0, down)]
            here = here[..., max(0, -right) : width - max(0, right)]
            there = second[:, :, max(0, down) : height + min(0, down)]
            there = there[..., max(0, right) : width + min(0, right)]
            table = torch.einsum("bkhw,blhw->kl", here, there)
            tables.append((table + table.T) / (2 * table.sum()).clamp_min(_TINY))
    return torch.stack(tables)


def loss(
    first: Tensor, second: Tensor, reach: int, mask: Tensor | None = None, lam: float = 1.0
) -> Tensor:
    """Minus the mutual information, the mean over displacements; marginals weigh ``lam``.

    With ``lam`` above 1 the use of all clusters counts for more. The arguments are ``joint``'s.
    """
    tables = joint(first, second, reach, mask).clamp_min(_TINY)
    rows = tables.sum(dim=2, keepdim=True)
    columns = tables.sum(dim=1, keepdim=True)
    each = -tables * (tables.log() - lam * rows.log() - lam * columns.log())
    return each.sum((1, 2)).mean()
