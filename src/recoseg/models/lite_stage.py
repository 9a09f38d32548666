"""``lite:16``: an inner, finer feature map of ``lite``'s network."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from recoseg.models import typical
from recoseg.models.lite import IMAGE_WEIGHTS, Lite, load_trunk, run_trunk, split_trunk
from recoseg.similarity import unit

_VERSION = "lite:16 1: stage 5, (x - 127) / 128"
STAGES = 5


class LiteStage:
    """A purely visual encoder: EfficientNet-Lite2 up to its last map of stride 16, d = 120.

    Its blocks end in a linear projection, so that the channels are about centred as they are.
    """

    id = "lite:16"
    dim = 120
    stride = 16

    def __init__(self, trunk: nn.Module, fingerprint: str) -> None:
        self.device = next(trunk.parameters()).device
        self.fingerprint = fingerprint
        self._trunk = trunk

    @classmethod
    def load(cls, device: str | torch.device = "cpu") -> LiteStage:
        """Load from the installed package; MissingWeights if it is absent or not as expected."""
        weights = IMAGE_WEIGHTS.find()
        early, _ = split_trunk(load_trunk(weights, device), STAGES)
        digest = hashlib.sha256(f"{_VERSION}\n{IMAGE_WEIGHTS.sha256}".encode()).hexdigest()
        return cls(early, digest)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, 120, ceil(H / 16), ceil(W / 16))."""
        return run_trunk(self._trunk, images, self.device)

    def features_beside(self, joint: object, images: Tensor) -> tuple[Tensor, Tensor] | None:
        """``joint.dense`` and ``features`` from one pass if ``joint`` is ``lite``; else None."""
        if not isinstance(joint, Lite):
            return None
        dense, features = joint.dense_and_stage(images, STAGES)
        return dense, features

    def typical_pixels(self) -> Tensor:
        """(m, 120) unit features of one pixel in each of m photos of everything."""
        return unit(typical.read(self.id)).to(self.device)
