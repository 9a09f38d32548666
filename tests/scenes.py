"""Inputs of known clusters for the tests of baselines: no photo, no encoder, no file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recoseg.baselines.learner import Classifier, Learner
from recoseg.baselines.plan import BaselinePlan, preset
from recoseg.baselines.training import LEARNERS
from recoseg.baselines.views import Geometry, warp
from recoseg.evaluation import metrics

CPU = torch.device("cpu")


class Scenes:
    """Photos of (h, w) cells whose classes are known, as features with a nuisance.

    Channels: ``classes`` that say the class, ``colours`` that say a colour drawn for each photo and
    view, and noise. ``loud`` scales the colours; ``pairs`` draws them anew for each view, else both
    views and the photo itself show the same.
    """

    def __init__(
        self,
        classes: int = 4,
        photos: int = 24,
        side: int = 8,
        colours: int = 0,
        loud: float = 0.0,
        noise: float = 0.1,
        pairs: bool = True,
        shares: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.count, self.channels = photos, classes + colours
        self.classes, self.colours, self.loud = classes, colours, loud
        self.noise, self.pairs, self.seed = noise, pairs, seed
        # Blocks of two by two cells, so that neighbouring cells are mostly of one class.
        blocks = generator.choice(classes, (photos, side // 2, side // 2), p=shares)
        self.labels = torch.from_numpy(blocks.repeat(2, 1).repeat(2, 2).astype(np.int64))
        self._basis = torch.linalg.qr(
            torch.randn(
                self.channels, self.channels, generator=torch.Generator().manual_seed(seed + 1)
            )
        )[0]

    def plain(self, photos: Sequence[int]) -> Tensor:
        return torch.stack([self._features(n, 0, 0) for n in photos])

    def view(self, photos: Sequence[int], which: int, epoch: int) -> Tensor:
        maps = torch.stack([self._features(n, which, epoch) for n in photos])
        return warp(self.geometry(photos, epoch), maps, nearest=True) if which == 1 else maps

    def geometry(self, photos: Sequence[int], epoch: int) -> list[Geometry]:
        return [Geometry(flip=(photo + epoch) % 2 == 1) for photo in photos]

    def _features(self, photo: int, which: int, epoch: int) -> Tensor:
        key = [self.seed, photo, *((which, epoch) if self.pairs else (0, 0))]
        generator = torch.Generator().manual_seed(hash(tuple(key)) % 2**31)
        labels = self.labels[photo]
        maps = torch.zeros(self.channels, *labels.shape)
        maps.scatter_(0, labels[None], 1.0)
        if self.colours:
            colour = int(torch.randint(self.colours, (1,), generator=generator))
            maps[self.classes + colour] = self.loud
        maps += self.noise * torch.randn(maps.shape, generator=generator)
        return torch.einsum("chw,cd->dhw", maps, self._basis)


def small(method: str, **changes: object) -> BaselinePlan:
    """The preset of a method, short enough for a test."""
    short = {"dim": 16, "batch": 8, "rate": 1e-2, "rounds": 6}
    if method in ("iic", "stego"):
        short["steps"] = 20
    return preset(method).replace(**{**short, **changes})


def learnt(
    method: str, inputs: Scenes, clusters: int | None = None, seed: int = 0, **changes: object
) -> Learner:
    """A learner after all its rounds."""
    plan = small(method, **changes)
    learner = LEARNERS[method](inputs, clusters or inputs.classes, plan, seed, CPU)
    for number in range(plan.rounds):
        learner.run_round(number)
    return learner


@torch.no_grad()
def predicted(learner: Learner, inputs: Scenes) -> Tensor:
    """(N, h, w) clusters of all photos as they are."""
    classifier: Classifier = learner.result()
    learner.network.eval()
    return classifier(learner.network(inputs.plain(range(inputs.count)))).argmax(dim=1)


def scored(labels: Tensor, truth: Tensor, classes: int, clusters: int) -> metrics.Scores:
    """Scores after Hungarian matching."""
    counts = metrics.count(
        truth.flatten(0, 1).numpy(), labels.flatten(0, 1).numpy(), classes, clusters
    )
    return metrics.scores(counts.take(metrics.hungarian(counts.confusion)))


def accuracy(method: str, inputs: Scenes, **changes: object) -> float:
    """Of a method that was trained on the scenes."""
    found = predicted(learnt(method, inputs, **changes), inputs)
    return scored(found, inputs.labels, inputs.classes, inputs.classes).accuracy
