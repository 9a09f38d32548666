"""PriMaPs-EM: masks of a photo's own principal directions, given to clusters (Hahn et al. 2024).

A photo falls into masks: the cells that are most alike along the leading direction of its features,
then those along the leading direction of the rest, until nearly all are taken. A teacher gives each
mask, as a whole, to a cluster; a student learns these labels, and the teacher follows the student
slowly. Clusters are linear; the features stay as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.baselines.learner import Classifier, Figures, Learner, pixels
from recoseg.baselines.spherical import cluster_batches
from recoseg.baselines.views import warp
from recoseg.similarity import unit

THRESHOLD, ENOUGH, MOST_MASKS = 0.4, 0.95, 16
DECAY, EVERY = 0.98, 10
FOCUS = 2.0
NOTHING = -1
_POWERS = 30


class Primaps(Learner):
    """Learner of PriMaPs-EM: a round is an epoch."""

    @torch.no_grad()
    def begin(self) -> None:
        """Masks of all photos, and clusters of all cells to begin with."""
        features = [self.inputs.plain(photos) for photos in self.in_order()]
        self._masks = torch.stack([find_masks(photo) for batch in features for photo in batch])
        found = cluster_batches((pixels(batch) for batch in features), self.clusters, self.seed)
        self.extra["student"] = found.centroids.clone().to(self.device).requires_grad_()
        self.extra["teacher"] = found.centroids.clone().to(self.device)

    def parameters(self) -> list[dict[str, object]]:
        """The student alone."""
        return [{"params": [self.extra["student"]], "lr": self.plan.rate}]

    def round(self, number: int) -> Figures:
        """Teach the student the teacher's view of whole masks."""
        losses = []
        steps = -(-self.inputs.count // self.plan.batch)
        for place, photos in enumerate(self.batches(number)):
            taught = self._label_by_teacher(photos, number)
            codes = self.codes(self.inputs.view(photos, 1, number))
            logits = Classifier(self.extra["student"]).logits(codes)
            losses.append(self.optimise(focal(pixels(logits), taught.flatten())))
            if (number * steps + place) % EVERY == EVERY - 1:
                with torch.no_grad():
                    self.extra["teacher"].lerp_(self.extra["student"], 1 - DECAY)
        return {"loss": sum(losses) / len(losses)}

    def result(self) -> Classifier:
        """The student's clusters."""
        weight = self.extra["student"].detach().cpu()
        return Classifier(weight, torch.zeros(self.clusters))

    def head(self) -> str:
        """Features as they are."""
        return "identity"

    @torch.no_grad()
    def _label_by_teacher(self, photos: list[int], epoch: int) -> Tensor:
        """(B, h, w) clusters of whole masks, in the geometry of view 1; -1 outside masks."""
        codes = self.codes(self.inputs.plain(photos))
        teacher = Classifier(self.extra["teacher"], torch.zeros(self.clusters, device=self.device))
        masks = self._masks[photos].to(self.device)
        labels = vote_by_mask(teacher(codes), masks)
        return warp(self.inputs.geometry(photos, epoch), labels)


def find_masks(features: Tensor) -> Tensor:
    """The masks of one photo.

    Args:
        features: (d, h, w), any scale.

    Returns:
        (h, w) number of each cell's mask, the first is that of the leading direction; -1 for none.
    """
    cells = unit(pixels(features[None]))
    labels = torch.full((len(cells),), NOTHING)
    for number in range(MOST_MASKS):
        left = torch.nonzero(labels == NOTHING).flatten()
        if len(left) <= (1 - ENOUGH) * len(cells):
            break
        rest = cells[left]
        along = rest @ _leading(rest)
        # The cell that shows the direction best stands for it.
        alike = rest @ rest[int(along.abs().argmax())]
        labels[left[alike > THRESHOLD]] = number
    return labels.view(features.shape[1:])


def vote_by_mask(scores: Tensor, masks: Tensor) -> Tensor:
    """The best cluster of each mask as a whole.

    Args:
        scores: (B, K, h, w) probabilities.
        masks: (B, h, w) numbers; -1 for none.

    Returns:
        (B, h, w) clusters; -1 outside masks.
    """
    count = int(masks.max()) + 1
    if count == 0:
        return masks.clone()
    members = F.one_hot(masks.clamp_min(0), count) * (masks >= 0)[..., None]
    votes = torch.einsum("bkhw,bhwm->bmk", scores, members.to(scores))
    chosen = votes.argmax(dim=2)
    labels = chosen.gather(1, masks.clamp_min(0).flatten(1)).view_as(masks)
    return torch.where(masks >= 0, labels, masks)


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal cross-entropy of (n, K) logits; pixels labelled -1 are ignored."""
    kept = labels != NOTHING
    if not kept.any():
        return logits.sum() * 0
    logs = torch.log_softmax(logits[kept], dim=1).gather(1, labels[kept][:, None])
    return -((1 - logs.exp()) ** FOCUS * logs).mean()


def _leading(cells: Tensor) -> Tensor:
    """(d,) the principal direction of (n, d), by power iteration from the mean's own worst cell."""
    centred = cells - cells.mean(dim=0)
    direction = centred[int(centred.norm(dim=1).argmax())]
    for _ in range(_POWERS):
        direction = unit(centred.T @ (centred @ direction))
    return direction
