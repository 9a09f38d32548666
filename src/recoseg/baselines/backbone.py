"""Pretrained timm network: normalises its input, returns feature maps at several strides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recoseg.errors import InputError
from recoseg.models import encoders, registry
from recoseg.models.encoders import Encoder
from recoseg.models.pixels import stretch_to_cells
from recoseg.models.weights import fingerprint

_VERSION = "backbone 1"


class Backbone(nn.Module):
    """Feature pyramid of a convolutional network."""

    def __init__(
        self, name: str, mean: tuple[float, ...], std: tuple[float, ...], strides: tuple[int, ...]
    ) -> None:
        """An untrained network.

        Raises:
            InputError: it has no maps of these strides.
        """
        import timm

        super().__init__()
        self.name, self.strides = name, strides
        trunk: Any = timm.create_model(name, features_only=True)
        every = trunk.feature_info.reduction()
        if not set(strides) <= set(every):
            raise InputError(
                f"{name} has no maps of the strides {', '.join(map(str, strides))}; name a ConvNet."
            )
        # The last of several maps of a stride sees the most.
        self._places = [max(i for i, s in enumerate(every) if s == stride) for stride in strides]
        self.channels = [trunk.feature_info.channels()[place] for place in self._places]
        self.trunk = trunk
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    @classmethod
    def of(cls, encoder: Encoder, strides: tuple[int, ...], seed: int = 0) -> Backbone:
        """With an encoder's weights; what has none starts at random, the same for a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = cls(encoder.name, encoder.mean, encoder.std, strides)
        encoder.initialise(made.trunk)
        return made

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Float (B, 3, H, W) in [0, 1] to one (B, d, ceil(H / stride), ...) per stride."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        maps = self.trunk(((pixels - mean) / std).contiguous(memory_format=torch.channels_last))
        return [maps[place] for place in self._places]


class FrozenStage:
    """A ``PatchEncoder`` of one map of such a network: ``lite0[:STRIDE]``, ``random:NAME``."""

    def __init__(self, spec: str, device: str | torch.device | None = None) -> None:
        """Load it; UnknownModel or MissingWeights if that cannot be done."""
        name, _, stride = spec.rpartition(":")
        if not (name and stride.isdigit()):
            name, stride = spec, "16" if spec == "lite0" else "32"
        encoder = encoders.find_encoder(name)
        network = Backbone.of(encoder, (int(stride),)).eval().requires_grad_(False)
        self.id, self.stride, self.dim = spec, int(stride), network.channels[0]
        self.device = registry.device_of(device)
        weights = [tensor.numpy().tobytes() for tensor in network.state_dict().values()]
        self.fingerprint = fingerprint(_VERSION, encoder.name, stride, b"".join(weights).hex())
        self._network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, d, h, w), not normalised."""
        pixels = stretch_to_cells(images.to(self.device, torch.float32), self.stride)
        found: Tensor = self._network(pixels)[0]
        return found.float()
