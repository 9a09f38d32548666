"""``lite``'s alignment head: sentence embeddings become directions among its pixels.

A Gaussian process with a linear and an exponential kernel, fitted by ``training/lite_head.py``: a
known word gets nearly the direction that was learnt for it, an unknown one what its neighbours and
the linear part say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recoseg.errors import MissingWeights
from recoseg.similarity import unit

TEXT_DIM, VISUAL_DIM = 384, 1280
SHARPNESS = 6.0


@dataclass(frozen=True, eq=False)
class Alignment:
    """A fitted head, all tensors float32.

    Attributes:
        projection: (384, 1280), the linear part.
        anchors: (N, 384), the unit sentence embeddings of the words it was fitted to.
        coefficients: (N, 1280), what each anchor adds.
        text_mean: (384,), taken off before the linear part.
        visual_mean: (1280,), the mean pixel of the archive.
        image_projection: (1280, 1280), what is added to an image's mean pixel, so that whole
            captions find it.
        image_shift: (1280,), added too.
    """

    projection: Tensor
    anchors: Tensor
    coefficients: Tensor
    text_mean: Tensor
    visual_mean: Tensor
    image_projection: Tensor
    image_shift: Tensor

    def __post_init__(self) -> None:
        """Check that the shapes fit together."""
        anchors = len(self.anchors)
        wanted = {
            "projection": (TEXT_DIM, VISUAL_DIM),
            "anchors": (anchors, TEXT_DIM),
            "coefficients": (anchors, VISUAL_DIM),
            "text_mean": (TEXT_DIM,),
            "visual_mean": (VISUAL_DIM,),
            "image_projection": (VISUAL_DIM, VISUAL_DIM),
            "image_shift": (VISUAL_DIM,),
        }
        for name, shape in wanted.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise MissingWeights(f"the head's {name} must be {shape}, not {found}.")

    def directions(self, embedded: Tensor) -> Tensor:
        """Unit sentence embeddings (T, 384) to unit directions (T, 1280)."""
        return directions(
            embedded, self.projection, self.anchors, self.coefficients, self.text_mean
        )

    def places(self, pooled: Tensor) -> Tensor:
        """Means of raw maps (B, 1280) to unit image embeddings (B, 1280)."""
        centred = unit(pooled - self.visual_mean)
        return unit(centred + centred @ self.image_projection + self.image_shift)

    def to(self, device: torch.device) -> Alignment:
        """The same on another device."""
        return Alignment(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def directions(
    embedded: Tensor, projection: Tensor, anchors: Tensor, coefficients: Tensor, text_mean: Tensor
) -> Tensor:
    """The text side alone; names and shapes as in ``Alignment``."""
    near = torch.exp(SHARPNESS * (embedded @ anchors.T - 1))
    return unit((embedded - text_mean) @ projection + near @ coefficients)


def read(file: Path) -> Alignment:
    """A head's file; MissingWeights if it is absent, damaged or of another form."""
    names = tuple(Alignment.__dataclass_fields__)
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name).float() for name in names}
        return Alignment(**tensors)
    except (OSError, SafetensorError, MissingWeights) as error:
        raise MissingWeights(
            f"the head {file} is absent or damaged ({error}); reinstall recoseg."
        ) from error
