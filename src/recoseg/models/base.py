"""Protocols of model backends: language-image models and dense visual encoders."""

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


def encode_shared(
    joint: JointModel, encoder: PatchEncoder, images: Tensor
) -> tuple[Tensor, Tensor]:
    """Dense language map and visual features of the same pixels, from one pass if possible.

    A model that is both and offers ``dense_and_features`` is run once, never twice; so is one whose
    inner map the encoder is, which then offers ``features_beside``.

    Returns:
        (B, d1, h1, w1) from ``joint.dense`` and (B, d2, h2, w2) from ``encoder.features``.
    """
    shared: object = encoder
    both = getattr(joint, "dense_and_features", None)
    if both is not None and joint is shared:
        dense, features = both(images)
        return dense, features
    beside = getattr(encoder, "features_beside", None)
    found: tuple[Tensor, Tensor] | None = None if beside is None else beside(joint, images)
    return found or (joint.dense(images), encoder.features(images))


def batch(images: Sequence[RGB]) -> Tensor:
    """Stack equal-sized uint8 (H, W, 3) images to float (B, 3, H, W) in [0, 1]."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).contiguous().float().div_(255)
