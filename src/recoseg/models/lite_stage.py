"""``lite:16``: an inner, finer feature map of ``lite``'s network, for comparing encoders."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from recoseg.errors import InputError
from recoseg.models.lite import IMAGE_WEIGHTS, load_trunk

_VERSION = "lite:16 1: stage 5, (x - 127) / 128"
_STAGES = 5


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
        stem, norm, blocks, *_ = load_trunk(weights, device).children()
        stages = list(blocks.children())[:_STAGES]
        digest = hashlib.sha256(f"{_VERSION}\n{IMAGE_WEIGHTS.sha256}".encode()).hexdigest()
        return cls(nn.Sequential(stem, norm, *stages), digest)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, 120, ceil(H / 16), ceil(W / 16))."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"images must be (B, 3, H, W), not {tuple(images.shape)}.")
        pixels = (images.to(self.device, torch.float32) * 255 - 127) / 128
        trunk: Any = self._trunk
        features: Tensor = trunk(pixels.contiguous(memory_format=torch.channels_last))
        return features
