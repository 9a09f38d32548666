"""Reproducible random crops and augmentation for training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from recoseg.io.images import RGB
from recoseg.learning.plan import Plan

IGNORE = 255
_GREY = 127

Labels = NDArray[np.uint8]


def augment(
    image: RGB, labels: Labels, plan: Plan, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """One training crop (paper's augmentation, step 11).

    Args:
        image: uint8 (H, W, 3).
        labels: uint8 (H, W), 255 is ignored.
        plan: sizes, ranges and probabilities.
        generator: all randomness comes from here.

    Returns:
        uint8 (3, crop, crop), and uint8 (crop, crop) with 255 where the crop leaves the image.
    """
    if plan.padding == "mean":
        picture, mask = _scaled_crop(image, labels, plan, generator)
    else:
        window = _window(labels.shape, plan, generator)
        picture = _cut(Image.fromarray(image), window, plan.crop, Image.Resampling.BILINEAR, _GREY)
        mask = _cut(Image.fromarray(labels), window, plan.crop, Image.Resampling.NEAREST, IGNORE)
    if generator.random() < plan.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    jittered = generator.random() < plan.jitter_share
    blurred = generator.random() < plan.blur_share
    sigma = generator.uniform(0.1, 2.0)
    if blurred and plan.blur_first:
        picture = picture.filter(ImageFilter.GaussianBlur(sigma))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    if jittered:
        pixels = jitter_colours(pixels, plan.jitter, generator)
    if blurred and not plan.blur_first:
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        blurry = picture.filter(ImageFilter.GaussianBlur(sigma))
        pixels = torch.from_numpy(np.array(blurry)).permute(2, 0, 1)
    return pixels.contiguous(), torch.from_numpy(np.array(mask))


def _scaled_crop(
    image: RGB, labels: Labels, plan: Plan, generator: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """The paper's crop: scale the whole, fill at the right and the bottom, cut a square."""
    scale = generator.uniform(*plan.scale)
    height, width = (max(1, int(side * scale)) for side in labels.shape)
    outer = max(width, plan.crop), max(height, plan.crop)
    left, top = (int(generator.integers(side - plan.crop + 1)) for side in outer)
    box = (left, top, left + plan.crop, top + plan.crop)
    means = [int(channel) for channel in image.reshape(-1, 3).mean(axis=0)]
    kinds = (
        (image, Image.Resampling.BILINEAR, (means[0], means[1], means[2])),
        (labels, Image.Resampling.NEAREST, IGNORE),
    )
    cut = []
    for pixels, resampling, outside in kinds:
        scaled = Image.fromarray(pixels).resize((width, height), resampling)
        canvas = Image.new(scaled.mode, outer, outside)
        canvas.paste(scaled, (0, 0))
        cut.append(canvas.crop(box))
    return cut[0], cut[1]


Window = tuple[float, float, float, float]


def _window(shape: tuple[int, ...], plan: Plan, generator: np.random.Generator) -> Window:
    """(left, top, right, bottom) in the image's pixels; it may reach beyond a small image."""
    side = plan.crop / generator.uniform(*plan.scale)
    starts = []
    for extent in (shape[1], shape[0]):
        room = extent - side
        starts.append(generator.uniform(min(room, 0), max(room, 0)))
    left, top = starts
    return left, top, left + side, top + side


def _cut(
    image: Image.Image, window: Window, crop: int, resampling: Image.Resampling, outside: int
) -> Image.Image:
    """The window resized to (crop, crop); what lies outside the image gets one value."""
    left, top, right, bottom = window
    scale = crop / (right - left)
    box = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    x, y = round((box[0] - left) * scale), round((box[1] - top) * scale)
    size = (
        max(1, min(crop - x, round((box[2] - box[0]) * scale))),
        max(1, min(crop - y, round((box[3] - box[1]) * scale))),
    )
    inside = image.resize(size, resampling, box=box)
    if size == (crop, crop):
        return inside
    bands = len(image.getbands())
    canvas = Image.new(image.mode, (crop, crop), outside if bands == 1 else (outside,) * bands)
    canvas.paste(inside, (x, y))
    return canvas


def jitter_colours(
    pixels: Tensor, jitter: tuple[float, float, float, float], generator: np.random.Generator
) -> Tensor:
    """Change brightness, contrast, saturation and hue of uint8 (3, H, W), in random order."""
    from torchvision.transforms.v2 import functional as change

    steps = (
        change.adjust_brightness,
        change.adjust_contrast,
        change.adjust_saturation,
        change.adjust_hue,
    )
    amounts = [generator.uniform(-amount, amount) for amount in jitter]
    for place in generator.permutation(4):
        amount = amounts[place] if place == 3 else 1 + amounts[place]
        pixels = steps[place](pixels, amount)
    return pixels
