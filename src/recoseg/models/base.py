"""Protocols of model backends: language-image models, visual encoders, optional additions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from recoseg.io.images import RGB


@runtime_checkable
class JointModel(Protocol):
    """Images, pixels and texts in one space (CLIP, or a stand-in for it).

    Attributes:
        id: what ``registry.load`` takes.
        fingerprint: hex digest of weights and preprocessing; equal only when outputs are.
        dim: d, channels of the joint space.
        device: where tensors are computed; inputs from any device are moved there.
    """

    id: str
    fingerprint: str
    dim: int
    device: torch.device

    def preprocess(self, image: RGB) -> Tensor:
        """uint8 (H, W, 3) of any size to float (3, S, S) in [0, 1], the model's own geometry."""
        ...

    def embed_images(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to unit vectors (B, d); several threads may call it."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """T texts to unit vectors (T, d)."""
        ...

    def dense(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, d, h, w), unit vectors per pixel, text-comparable."""
        ...


@runtime_checkable
class PatchEncoder(Protocol):
    """A visual encoder of pixels.

    Attributes:
        id: what ``registry.load`` takes.
        fingerprint: hex digest of weights and preprocessing.
        dim: d, channels.
        stride: input pixels per feature, the same in both directions.
        device: where tensors are computed.
    """

    id: str
    fingerprint: str
    dim: int
    stride: int
    device: torch.device

    def features(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, d, h, w), not normalised."""
        ...


@runtime_checkable
class SharedPass(Protocol):
    """Optional: a model that is both and gives both maps from one forward pass."""

    def dense_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Float (B, 3, H, W) in [0, 1] to ``dense`` and ``features`` of the same pixels."""
        ...


@runtime_checkable
class InnerMap(Protocol):
    """Optional: an encoder whose features are an inner map of another model."""

    def features_beside(self, joint: JointModel, images: Tensor) -> tuple[Tensor, Tensor] | None:
        """``joint.dense`` and the own features from one pass; None if it is not that model."""
        ...


@runtime_checkable
class TypicalPixels(Protocol):
    """Optional: a model that ships with features of unlabelled sample pixels."""

    def typical_pixels(self) -> Tensor:
        """(m, d) unit vectors in the space of ``dense`` or ``features``."""
        ...


@runtime_checkable
class SizedInput(Protocol):
    """Optional: a model that needs no image larger than its own input.

    Attributes:
        input_size: side in pixels that JPEG files may be decoded down to; None for all pixels.
    """

    input_size: int | None


def input_size(model: JointModel) -> int | None:
    """The side in pixels that a model's images may be decoded down to; None for all pixels."""
    return model.input_size if isinstance(model, SizedInput) else None


def encode_shared(
    joint: JointModel, encoder: PatchEncoder, images: Tensor
) -> tuple[Tensor, Tensor]:
    """Dense language map and visual features of the same pixels, from one pass if possible.

    A model that is both and a ``SharedPass`` is run once, never twice; so is one whose ``InnerMap``
    the encoder is.

    Returns:
        (B, d1, h1, w1) from ``joint.dense`` and (B, d2, h2, w2) from ``encoder.features``.
    """
    shared: object = encoder
    if isinstance(joint, SharedPass) and joint is shared:
        return joint.dense_and_features(images)
    found = encoder.features_beside(joint, images) if isinstance(encoder, InnerMap) else None
    return found or (joint.dense(images), encoder.features(images))


def batch(images: Sequence[RGB]) -> Tensor:
    """Stack equal-sized uint8 (H, W, 3) images to float (B, 3, H, W) in [0, 1]."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).contiguous().float().div_(255)
