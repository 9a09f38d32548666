"""Training plans of a student: the paper's, and a small one for CPUs (step 11)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recoseg.errors import TrainingError
from recoseg.evaluation.protocols import Protocol
from recoseg.typecheck import check_fields

PRECISIONS = ("auto", "float32", "bfloat16")
PADDINGS = ("grey", "mean")
_LATER = frozenset(
    ["image_size", "resampling", "padding", "blur_first", "least_rate", "norm_momentum", "head"]
)


@dataclass(frozen=True)
class Plan:
    """Settings of a training: all that decides it but data and seed.

    Attributes:
        name: of the preset it began as.
        encoder: see ``recoseg.models.encoders``.
        output_stride: of the encoder, 8 or 16.
        channels: of the decoder.
        dropout: in the decoder.
        iterations: optimiser steps.
        batch: images of a step, over all processes.
        accumulate: parts a batch is computed in, to save memory; batch norms see one part each.
        crop: side of the training crops in pixels, a multiple of 32.
        scale: range of the random scale.
        flip: probability of a horizontal flip.
        jitter: brightness, contrast, saturation, hue.
        jitter_share: probability of colour jitter.
        blur_share: probability of Gaussian blur, standard deviation 0.1 to 2 pixels.
        head_rate: learning rate of decoder and classifier.
        encoder_rate: learning rate of the encoder.
        weight_decay: of Adam.
        power: of the polynomial decay.
        frozen_norms: keep the encoder's batch norms as they came.
        balance: exponent of the classes' weights: a class that labels the share f of the pixels
            weighs f ** -balance, 0 is the paper's plain mean over pixels.
        average: decay of the moving average of the weights that becomes the student; 0 for none.
        short_side: the student enlarges smaller images to it in use; see ``Architecture``.
        image_size: training images are brought to it (short side, then the central square) before
            they are labelled and cropped; 0 leaves them as they are.
        resampling: of that: nearest, bilinear or bicubic.
        padding: what surrounds an image that is smaller than the crop: ``"grey"`` on all sides, or
            ``"mean"``, the image's own mean at the right and the bottom.
        blur_first: blur before the colours change, not after.
        least_rate: below which no learning rate falls.
        norm_momentum: of the encoder's batch norms; None for its own.
        head: ``"smp"``, or ``"published"``; see ``Architecture``.
        precision: ``"auto"`` is bfloat16 on GPUs that compute in it, else float32.
    """

    name: str = "paper"
    encoder: str = "timm:resnet101.tv_in1k"
    output_stride: int = 8
    channels: int = 256
    dropout: float = 0.5
    iterations: int = 20_000
    batch: int = 8
    accumulate: int = 1
    crop: int = 320
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2)
    jitter_share: float = 0.8
    blur_share: float = 0.5
    head_rate: float = 5e-4
    encoder_rate: float = 5e-5
    weight_decay: float = 2e-4
    power: float = 0.9
    frozen_norms: bool = False
    balance: float = 0.0
    average: float = 0.0
    short_side: int = 0
    precision: str = "auto"
    image_size: int = 0
    resampling: str = "nearest"
    padding: str = "grey"
    blur_first: bool = True
    least_rate: float = 0.0
    norm_momentum: float | None = None
    head: str = "smp"

    def __post_init__(self) -> None:
        """Check every type and range."""
        check_fields(self, TrainingError)
        object.__setattr__(self, "scale", tuple(float(s) for s in self.scale))
        object.__setattr__(self, "jitter", tuple(float(j) for j in self.jitter))
        for field in ("iterations", "batch", "accumulate", "channels"):
            _check_count(field, getattr(self, field))
        if self.crop % 32 or not 32 <= self.crop <= 4096:
            raise TrainingError(f"crop must be a multiple of 32 up to 4096, not {self.crop!r}.")
        if len(self.scale) != 2 or not 0.05 <= self.scale[0] <= self.scale[1] <= 20:
            raise TrainingError(f"scale must be two numbers, small to large, not {self.scale!r}.")
        if (
            len(self.jitter) != 4
            or not all(0 <= j < 1 for j in self.jitter)
            or self.jitter[3] > 0.5
        ):
            raise TrainingError(
                "jitter must be four numbers from 0 to below 1, the last up to 0.5."
            )
        self._check_ranges()

    def _check_ranges(self) -> None:
        for field in ("flip", "jitter_share", "blur_share"):
            if not 0 <= getattr(self, field) <= 1:
                raise TrainingError(f"{field} is a probability, not {getattr(self, field)!r}.")
        for field in ("head_rate", "encoder_rate"):
            if not 0 < getattr(self, field) < 10:
                raise TrainingError(f"{field} must be positive, not {getattr(self, field)!r}.")
        if not 0 <= self.balance <= 1:
            raise TrainingError(f"balance must be from 0 to 1, not {self.balance!r}.")
        if not 0 <= self.average < 1 or self.weight_decay < 0:
            raise TrainingError("average must be from 0 to below 1 and weight_decay not negative.")
        if self.precision not in PRECISIONS:
            raise TrainingError(f"precision is one of {', '.join(PRECISIONS)}.")
        if self.batch % self.accumulate:
            raise TrainingError(
                f"a batch of {self.batch} cannot be split in {self.accumulate}; choose a divisor."
            )
        self._check_geometry()

    def _check_geometry(self) -> None:
        if self.padding not in PADDINGS:
            raise TrainingError(f"padding is one of {', '.join(PADDINGS)}, not {self.padding!r}.")
        if not 0 <= self.image_size <= 8192 or not 0 <= self.least_rate < 10:
            raise TrainingError("image_size is from 0 to 8192, least_rate from 0 to below 10.")
        if self.norm_momentum is not None and not 0 < self.norm_momentum <= 1:
            raise TrainingError(f"norm_momentum is above 0 and up to 1, not {self.norm_momentum}.")

    def replace(self, **changes: Any) -> Plan:
        """A copy with some fields changed; None leaves a field as it is."""
        wanted = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **wanted)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        lists = {"scale": list(self.scale), "jitter": list(self.jitter)}
        whole = {**dataclasses.asdict(self), **lists}
        # As before these fields were there, so that earlier checkpoints go on.
        usual = {f.name: f.default for f in dataclasses.fields(self) if f.name in _LATER}
        return {k: v for k, v in whole.items() if k not in usual or v != usual[k]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of ``to_dict``; refuses unknown fields."""
        try:
            return cls(**data)
        except TypeError as error:
            raise TrainingError(f"this is not a plan of this version ({error}).") from error

    def rate(self, iteration: int) -> float:
        """Factor of the learning rates at an iteration: (1 - t / T) ** power."""
        return float((1 - iteration / self.iterations) ** self.power)

    @property
    def geometry(self) -> Protocol | None:
        """What training images are brought to; None if they stay as they are."""
        if not self.image_size:
            return None
        size = self.image_size
        return Protocol("training", short_side=size, crop=size, resampling=self.resampling)


def preset(name: str) -> Plan:
    """The preset called ``name``; an unknown name is a TrainingError that lists them."""
    if name not in PRESETS:
        raise TrainingError(f"no preset {name!r}; choose one of {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]


def _check_count(name: str, value: int) -> None:
    if not 1 <= value <= 10**8:
        raise TrainingError(f"{name} must be a whole number from 1, not {value!r}.")


_PAPER = Plan(
    image_size=320,
    padding="mean",
    blur_first=False,
    least_rate=1e-6,
    norm_momentum=0.01,
    head="published",
)
# Gentler colours, a faster schedule, an average of the weights and more weight for rare classes:
# few steps must do, and labels of a teacher that errs are better not fitted to the end.
_SMALL = Plan(
    name="small",
    encoder="lite2",
    output_stride=16,
    channels=128,
    dropout=0.1,
    iterations=800,
    crop=256,
    scale=(0.5, 1.5),
    jitter=(0.4, 0.4, 0.4, 0.1),
    blur_share=0.2,
    head_rate=2e-3,
    encoder_rate=2e-4,
    frozen_norms=True,
    balance=0.5,
    average=0.99,
    short_side=512,
)
PRESETS = {plan.name: plan for plan in (_PAPER, _SMALL)}
