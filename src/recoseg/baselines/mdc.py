"""MDC: DeepCluster for pixels, one view, as PiCIE's authors compare themselves with.

Every epoch all cells are clustered, and the network is trained with a linear classifier, new each
epoch, to predict each cell's cluster (Caron et al. 2018; Cho et al. 2021, section 4).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.baselines.labelling import ClusterLearner
from recoseg.baselines.learner import Figures, pixels

VIEW = 1
_DEVIATION = 0.01


class MDC(ClusterLearner):
    """Learner of MDC: a round is an epoch."""

    def round(self, number: int) -> Figures:
        """Cluster, then learn to predict the clusters."""
        taught = self.label_view(VIEW, self.clusters, number)
        weight = (_DEVIATION * torch.randn(self.clusters, self.plan.dim)).to(self.device)
        bias = torch.zeros(self.clusters, device=self.device)
        classifier = [weight.requires_grad_(), bias.requires_grad_()]
        teacher = torch.optim.Adam(classifier, lr=self.plan.rate)
        losses = []
        for photos in self.batches(number):
            codes = self.encode_view(photos, VIEW, number)
            teacher.zero_grad(set_to_none=True)
            losses.append(self.optimise(_loss(codes, taught.labels[photos], weight, bias)))
            teacher.step()
        return {"loss": sum(losses) / len(losses)}


def _loss(codes: Tensor, labels: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    logits = F.linear(pixels(codes), weight, bias)
    return F.cross_entropy(logits, labels.flatten().to(logits.device))
