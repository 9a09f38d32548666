"""Frozen features: one encoder, or several whose maps are made comparable and joined.

A level is centred on the training photos and brought to unit length at every pixel before it is
joined to the others, because the one of the longest vectors would decide alone; what is joined may
be brought to fewer channels by principal components.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recoseg.baselines.backbone import FrozenStage
from recoseg.errors import BaselineError, InputError
from recoseg.models import registry
from recoseg.models.base import PatchEncoder
from recoseg.similarity import unit, upsample

# Squares that mean and principal components are taken of.
MOST_SQUARES = 64
_OWN = ("lite0", "random:")


@dataclass(frozen=True, eq=False)
class Extractor:
    """Pixels to features.

    Attributes:
        encoders: the levels.
        means: (d,) of each level.
        centre: (c,) of the joined levels; None if all channels are kept.
        projection: (c, reduced) their principal directions; None likewise.
    """

    encoders: tuple[PatchEncoder, ...]
    means: tuple[Tensor, ...]
    centre: Tensor | None = None
    projection: Tensor | None = None

    @classmethod
    def fit(
        cls, encoders: Sequence[PatchEncoder], batches: Iterable[Tensor], reduced: int
    ) -> Extractor:
        """Means and principal directions of some photos.

        Args:
            encoders: the levels.
            batches: float (B, 3, S, S) in [0, 1]; all of one size.
            reduced: channels to keep; 0, or at least as many as there are, keeps all.
        """
        kept = [
            [encoder.features(batch).float().cpu() for encoder in encoders] for batch in batches
        ]
        means = tuple(
            torch.cat([maps.double().mean((2, 3)) for maps in level]).mean(0).float()
            for level in zip(*kept, strict=True)
        )
        total = sum(encoder.dim for encoder in encoders)
        if not 0 < reduced < total:
            return cls(tuple(encoders), means)
        count, first, second = 0, torch.zeros(total).double(), torch.zeros(total, total).double()
        for maps in kept:
            pixels = join_levels(maps, means).movedim(1, -1).reshape(-1, total)
            first += pixels.sum(0).double()
            second += (pixels.T @ pixels).double()
            count += len(pixels)
        centre = first / count
        spread = second / count - torch.outer(centre, centre)
        # Largest last; of the two signs of a direction, the one whose largest part is positive.
        directions = torch.linalg.eigh(spread).eigenvectors[:, -reduced:].flip(1)
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        projection = (directions * largest.sign()).float().contiguous()
        return cls(tuple(encoders), means, centre.float(), projection)

    @property
    def channels(self) -> int:
        """Number of channels c of the features."""
        if self.projection is not None:
            return self.projection.shape[1]
        return sum(encoder.dim for encoder in self.encoders)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, c, h, w) on the CPU, h and w of the finest level."""
        maps = [encoder.features(pixels).float().cpu() for encoder in self.encoders]
        found = join_levels(maps, self.means)
        if self.projection is None or self.centre is None:
            return found
        centred = found - self.centre[:, None, None]
        return torch.einsum("bchw,cr->brhw", centred, self.projection)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Everything from which ``of`` makes the extractor again."""
        found = {f"features.mean.{i}": mean for i, mean in enumerate(self.means)}
        if self.projection is not None and self.centre is not None:
            found |= {"features.centre": self.centre, "features.projection": self.projection}
        return found

    @classmethod
    def of(cls, encoders: Sequence[PatchEncoder], tensors: Mapping[str, Tensor]) -> Extractor:
        """The inverse of ``tensors``; errors say what is missing or does not fit."""
        means = tuple(tensors[f"features.mean.{i}"] for i in range(len(encoders)))
        made = cls(
            tuple(encoders),
            means,
            tensors.get("features.centre"),
            tensors.get("features.projection"),
        )
        wanted = [(encoder.dim,) for encoder in encoders]
        if [tuple(mean.shape) for mean in means] != wanted:
            raise BaselineError("the means do not fit the encoders; train the baseline anew.")
        return made

    @property
    def digest(self) -> str:
        """Sixteen hex digits of all that decides its features."""
        digest = hashlib.sha256("\n".join(e.fingerprint for e in self.encoders).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()[:16]


def load(spec: str, device: str | torch.device | None = None) -> tuple[PatchEncoder, ...]:
    """The encoders of ids joined by ``+``.

    Args:
        spec: ids of the registry, ``lite0``, ``lite0:STRIDE`` or ``random:NAME``.
        device: where they compute.

    Raises:
        UnknownModel, MissingWeights: an id has no model here.
        InputError: an id is named twice, or none is.
    """
    ids = [id.strip() for id in spec.split("+")]
    if not all(ids) or len(set(ids)) < len(ids):
        raise InputError(f"{spec!r} is not a list of encoders; write for example lite:16+lite.")
    return tuple(
        FrozenStage(id, device) if id.startswith(_OWN) else registry.load_encoder(id, device)
        for id in ids
    )


def join_levels(maps: Sequence[Tensor], means: Sequence[Tensor]) -> Tensor:
    """Levels (B, d, h, w), centred and of unit length, side by side on the finest grid."""
    levels = [unit(map - mean[:, None, None], dim=1) for map, mean in zip(maps, means, strict=True)]
    size = max((level.shape[-2:] for level in levels), key=lambda shape: shape[0] * shape[1])
    return torch.cat([upsample(level, (size[0], size[1])) for level in levels], dim=1)
