"""The student's network: DeepLabv3+ with its own normalisation, logits at stride 4 (step 11)."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recoseg.errors import InputError, TrainingError
from recoseg.models.encoders import Encoder
from recoseg.typecheck import check_fields

MULTIPLE = 32
STRIDE = 4
HEADS = ("smp", "published")


@dataclass(frozen=True)
class Architecture:
    """Settings of a network; with its weights they define it completely.

    Attributes:
        encoder: timm's name.
        output_stride: of the encoder's last map, 8 or 16.
        channels: of the decoder.
        dropout: before the classifier of the pyramid, while training.
        classes: how many.
        mean: of the pixels in [0, 1], per channel.
        std: of the pixels in [0, 1], per channel.
        short_side: smaller images are enlarged to it in use, at most twice; 0 for none.
        head: ``"smp"`` is segmentation-models-pytorch's, which has one more separable convolution
            behind the pyramid than the published DeepLabv3+; ``"published"`` leaves that out and
            begins with Kaiming's normal initialisation.
    """

    encoder: str
    output_stride: int
    channels: int
    dropout: float
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_side: int = 0
    # Not in its text, by which students that were made before are known; weights tell it as well.
    head: str = field(default="smp", repr=False)

    def __post_init__(self) -> None:
        """Check every type and range."""
        check_fields(self, InputError)
        if self.output_stride not in (8, 16):
            raise InputError(f"output_stride must be 8 or 16, not {self.output_stride!r}.")
        if not (self.classes >= 1 and self.channels >= 1 and 0 <= self.dropout < 1):
            raise InputError("a network needs a class, a channel, and a dropout from 0 to below 1.")
        if self.head not in HEADS:
            raise InputError(f"head must be one of {', '.join(HEADS)}, not {self.head!r}.")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(s > 0 for s in self.std):
            raise InputError("mean and std must be three numbers each, std positive.")
        if not 0 <= self.short_side <= 4096:
            raise InputError(f"short_side must be from 0 to 4096, not {self.short_side!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """The inverse of ``to_dict``."""
        return cls(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})


class Network(nn.Module):
    """DeepLabv3+ of segmentation-models-pytorch between pixels and logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        whole = _build_whole(architecture)
        self.encoder: nn.Module = whole.encoder
        self.decoder: nn.Module = whole.decoder
        self.head: nn.Module = whole.segmentation_head[0]
        # Aligned corners would shift borders by an amount that depends on the image's size.
        whole.decoder.up.align_corners = False
        if architecture.head == "published":
            # Only the pyramid itself; the three modules behind it are smp's own.
            whole.decoder.aspp = nn.Sequential(whole.decoder.aspp[0])
            for module in (*self.decoder.modules(), *self.head.modules()):
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
        _pad_statically(self.encoder)
        self.register_buffer("mean", torch.tensor(architecture.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(architecture.std)[:, None, None])

    @classmethod
    def initialise(cls, architecture: Architecture, encoder: Encoder, seed: int) -> Network:
        """A network to train: the encoder from its weights, all else random from ``seed``."""
        with seed_draws(seed, torch.device("cpu")):
            network = cls(architecture)
        extractor: Any = network.encoder
        encoder.initialise(extractor.model)
        return network

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], sides multiples of 32, to logits (B, C, H / 4, W / 4)."""
        features = self.encoder((pixels - self.mean) / self.std)
        logits: Tensor = self.head(self.decoder(features))
        return logits

    def choose(self, rows: Sequence[int]) -> Network:
        """The same network with some classes only; encoder and decoder are shared."""
        chosen = copy.copy(self)
        chosen._modules = dict(self._modules)
        old: Any = self.head
        head = nn.Conv2d(old.in_channels, len(rows), 1).to(old.weight)
        with torch.no_grad():
            head.weight.copy_(old.weight[list(rows)])
            head.bias.copy_(old.bias[list(rows)])  # type: ignore[union-attr]
        chosen.head = head
        return chosen


@contextlib.contextmanager
def seed_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Draw random numbers from ``seed``, on the CPU and on ``device``; then the caller's go on."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        # torch.manual_seed would seed every device, now or when it is first used.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


def stretch_to_fit(pixels: Tensor, short_side: int) -> Tensor:
    """(B, 3, H, W) stretched to multiples of 32, after what ``Architecture.short_side`` asks.

    Padding instead would put pixels that no photo has before the pyramid's mean of the image.
    """
    height, width = pixels.shape[-2:]
    size: Any = fit_size(height, width, short_side)
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)


def fit_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(H, W) that ``stretch_to_fit`` stretches to; also of the sizes that ONNX leaves open."""
    short = torch.sym_min(height, width)
    wanted = torch.sym_max(short, torch.sym_min(2 * short, short_side))
    # In whole numbers, so that ONNX computes the same sizes of images of any size.
    sizes: Any = [
        torch.sym_max(MULTIPLE, (side * wanted // short + MULTIPLE // 2) // MULTIPLE * MULTIPLE)
        for side in (height, width)
    ]
    return sizes[0], sizes[1]


def _build_whole(architecture: Architecture) -> Any:
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise TrainingError(
            "students need segmentation-models-pytorch; run: pip install 'recoseg[train]'"
        ) from error
    try:
        return smp.DeepLabV3Plus(
            encoder_name=f"tu-{architecture.encoder}",
            encoder_weights=None,
            encoder_output_stride=architecture.output_stride,
            decoder_channels=architecture.channels,
            decoder_aspp_dropout=architecture.dropout,
            classes=architecture.classes,
            upsampling=1,
        )
    except (ValueError, RuntimeError, KeyError, TypeError, NotImplementedError) as error:
        raise TrainingError(
            f"{architecture.encoder} cannot be DeepLabv3+'s encoder at output stride "
            f"{architecture.output_stride} ({str(error).splitlines()[0]}); choose another one."
        ) from error


class _EvenConv(nn.Conv2d):
    """TensorFlow's padding of even inputs, whose amounts do not depend on the input's size."""

    def forward(self, x: Tensor) -> Tensor:
        (kh, kw), (sh, sw) = self.kernel_size, self.stride
        high, wide = max(kh - sh, 0), max(kw - sw, 0)
        x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _pad_statically(encoder: nn.Module) -> None:
    """Replace timm's size-dependent padding: all inputs are multiples of 32, and ONNX wants it."""
    from timm.layers import Conv2dSame  # type: ignore[attr-defined]

    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Conv2dSame):
                setattr(module, name, _make_even(child))


def _make_even(conv: Any) -> _EvenConv:
    even = _EvenConv(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        0,
        conv.dilation,
        conv.groups,
        conv.bias is not None,
    )
    even.load_state_dict(conv.state_dict())
    return even
