"""The networks of the baselines: inputs to codes, one vector per cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recoseg.baselines.backbone import Backbone
from recoseg.errors import InputError
from recoseg.models import encoders
from recoseg.similarity import upsample

KINDS = ("identity", "linear", "hidden", "residual", "pyramid", "shallow")
STRIDES = (4, 8, 16, 32)
_DROPOUT = 0.1
_GREY, _DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class BaselineArchitecture:
    """Settings of a network; with its weights they define it completely.

    Attributes:
        kind: one of ``KINDS``.
        channels: of its inputs.
        dim: of its codes.
        encoder: timm's name, of a pyramid.
        mean: of the pixels in [0, 1], per channel, of a pyramid.
        std: of the pixels in [0, 1], per channel, of a pyramid.
    """

    kind: str
    channels: int
    dim: int
    encoder: str = ""
    mean: tuple[float, ...] = _GREY
    std: tuple[float, ...] = _DEVIATION

    def __post_init__(self) -> None:
        """Check that such a network can be made."""
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        if self.kind not in KINDS:
            raise InputError(f"no network {self.kind!r}; choose {', '.join(KINDS)}.")
        if self.channels < 1 or self.dim < 1:
            raise InputError("a network needs a channel in and out.")
        if self.kind == "identity" and self.channels != self.dim:
            raise InputError("features that are taken as they are keep their channels.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        lists = {"mean": list(self.mean), "std": list(self.std)}
        return {**dataclasses.asdict(self), **lists}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BaselineArchitecture:
        """The inverse of ``to_dict``."""
        return cls(**data)

    def build(self) -> nn.Module:
        """An untrained network: (B, channels, h, w) to (B, dim, h', w')."""
        if self.kind == "identity":
            return nn.Identity()
        if self.kind == "linear":
            return nn.Conv2d(self.channels, self.dim, 1)
        if self.kind == "hidden":
            return nn.Sequential(nn.Conv2d(self.channels, self.dim, 1), nn.ReLU())
        if self.kind == "residual":
            return Residual(self.channels, self.dim)
        if self.kind == "shallow":
            return Shallow(self.dim)
        return Pyramid(Backbone(self.encoder, self.mean, self.std, STRIDES), self.dim)


def start_network(architecture: BaselineArchitecture, encoder: str, seed: int) -> nn.Module:
    """A new network, random by seed; the encoder of a pyramid has its pretrained weights.

    Raises:
        UnknownModel, MissingWeights: the encoder's weights are not here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architecture.build()
    if isinstance(network, Pyramid):
        encoders.find_encoder(encoder).initialise(network.backbone.trunk)
    return network


def describe_pyramid(encoder: str, dim: int) -> BaselineArchitecture:
    """The architecture of a pyramid on an encoder of ``recoseg.models.encoders``."""
    found = encoders.find_encoder(encoder)
    return BaselineArchitecture("pyramid", 3, dim, found.name, found.mean, found.std)


class Pyramid(nn.Module):
    """Four 1x1 convolutions, upsampled and added, at stride 4 (PiCIE's network)."""

    def __init__(self, backbone: Backbone, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.lateral = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in backbone.channels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, dim, H / 4, W / 4)."""
        maps = [layer(map) for layer, map in zip(self.lateral, self.backbone(pixels), strict=True)]
        joined: Tensor = maps[-1]
        for finer in reversed(maps[:-1]):
            joined = finer + upsample(joined, (finer.shape[-2], finer.shape[-1]))
        return joined


class Residual(nn.Module):
    """STEGO's head: a linear layer plus one with a hidden layer; whole channels are dropped."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(channels, dim, 1)
        self.hidden = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, dim, 1)
        )
        self.dropout = nn.Dropout2d(_DROPOUT)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, dim, h, w)."""
        dropped = self.dropout(features)
        codes: Tensor = self.linear(dropped) + self.hidden(dropped)
        return codes


class Shallow(nn.Module):
    """IIC's network: six 3x3 convolutions on colours and their edges, from a random start."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        width = max(1, dim // 8)
        layers = [(5, width, 1), (width, 2 * width, 1), (0, 0, 0), (2 * width, 4 * width, 1)]
        layers += [(4 * width, 4 * width, 1), (4 * width, dim, 2), (dim, dim, 2)]
        self.layers = nn.Sequential(*(_block(*layer) for layer in layers))
        across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.register_buffer("sobel", torch.stack([across, across.T])[:, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, dim, H / 2, W / 2)."""
        grey = pixels.mean(dim=1, keepdim=True)
        padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
        edges = F.conv2d(padded, self.get_buffer("sobel"))
        codes: Tensor = self.layers(torch.cat([pixels, edges], dim=1))
        return codes


def _block(channels: int, width: int, dilation: int) -> nn.Module:
    if not dilation:
        return nn.MaxPool2d(2)
    convolution = nn.Conv2d(
        channels, width, 3, padding=dilation, dilation=dilation, padding_mode="replicate"
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
