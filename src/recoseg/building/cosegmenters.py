"""Ways to find what photos have in common; the paper says that any will do (section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from recoseg.building.cosegment import Cosegmentation, check_inputs, cosegment, pick_seeds
from recoseg.similarity import unit


class Cosegmenter(Protocol):
    """One seed pixel per image, from features and how much each pixel counts.

    Called with features (n, d, h, w) of one concept's images, any scale, and weights (n, h, w), not
    negative, or None where every pixel counts alike; it gives the seeds, the score of every pixel
    and the reference embedding. It is a pure function, and equivariant to the images' order.
    """

    def __call__(self, features: Tensor, weights: Tensor | None = None) -> Cosegmentation:
        """Find what the images agree on; InputError for a wrong shape or range."""
        ...


@torch.no_grad()
def cosegment_spectrally(features: Tensor, weights: Tensor | None = None) -> Cosegmentation:
    """Seeds by the leading eigenvector of the weighted adjacency of all pixels.

    With unit pixels F (n*p, d) and weights w the adjacency is diag(w)^1/2 F F^T diag(w)^1/2, whose
    leading eigenvector is diag(w)^1/2 F e for the leading eigenvector e of F^T diag(w) F, a (d, d)
    matrix: its time grows with n, not with n squared. A pixel's score is its cosine with e.

    Args:
        features: (n, d, h, w) of the same concept's images, any scale, finite.
        weights: (n, h, w), not negative, how much each pixel counts; None for 1.
    """
    check_inputs(features, weights)
    pixels = unit(features.double().flatten(2).transpose(1, 2))
    counted = pixels if weights is None else pixels * weights.double().flatten(1)[:, :, None]
    moment = torch.einsum("npd,npe->de", counted, pixels)
    direction = torch.linalg.eigh(moment).eigenvectors[:, -1]
    # An eigenvector has no sign; most of what counts shall be on its side.
    if float((counted @ direction).sum()) < 0:
        direction = -direction
    n, _, height, width = features.shape
    return pick_seeds(features, (pixels @ direction).float().reshape(n, height, width))


COSEGMENTERS: Mapping[str, Cosegmenter] = {"support": cosegment, "spectral": cosegment_spectrally}
