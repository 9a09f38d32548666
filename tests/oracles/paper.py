"""The method's steps 1 to 10 as the paper and its release have them: PIL, torch, open_clip, timm.

Nothing of recoseg is used, no geometry and no prompt either. Every step is done in the plainest
way: the whole adjacency is held, texts are encoded with all their padding, images one by one. The
CRF is pydensecrf's own.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

SCENES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass
class Networks:
    """CLIP for retrieval with its transform, CLIP ResNet for DenseCLIP, DeiT, a tokenizer."""

    retrieval: Any
    transform: Any
    dense: Any
    deit: Any
    tokenize: Any


@functools.lru_cache(maxsize=1024)
def text(model: Any, tokenize: Any, name: str) -> Tensor:
    """Step 1: 85 prompts, each a unit vector, their mean made one."""
    prompts = [form(name) for form in open_clip.OPENAI_IMAGENET_TEMPLATES]
    prompts += [form.format(name) for form in SCENES]
    vectors = F.normalize(model.encode_text(tokenize(prompts)), dim=1)
    return F.normalize(vectors.mean(0), dim=0)


def normalised(pixels: Tensor, statistics: tuple[Sequence[float], Sequence[float]]) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in statistics)
    return (pixels - mean) / std


def dense_clip(resnet: Any, pixels: Tensor) -> Tensor:
    """DenseCLIP of step 5, (B, d, h, w); sizes that are no multiples of 32 are left to it."""
    x = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(resnet.stem(pixels)))))
    pool = resnet.attnpool
    x = F.conv2d(x, pool.v_proj.weight[:, :, None, None], pool.v_proj.bias)
    return F.conv2d(x, pool.c_proj.weight[:, :, None, None], pool.c_proj.bias)


def patches(deit: Any, pixels: Tensor) -> Tensor:
    """Step 4, (B, d, h, w): tokens after the final norm, without the two at the front.

    Positions of another grid than 14 x 14 are interpolated bicubically, without antialiasing.
    """
    grid = F.conv2d(pixels, deit.patch_embed.proj.weight, deit.patch_embed.proj.bias, stride=16)
    size = grid.shape[2:]
    table = deit.pos_embed[:, 2:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    if tuple(size) != (14, 14):
        table = F.interpolate(table, size=tuple(size), mode="bicubic", align_corners=False)
    own = (grid + table).flatten(2).transpose(1, 2)
    front = torch.cat([deit.cls_token, deit.dist_token], dim=1) + deit.pos_embed[:, :2]
    tokens = torch.cat([front.expand(len(pixels), -1, -1), own], dim=1)
    for block in deit.blocks:
        tokens = block(tokens)
    return deit.norm(tokens)[:, 2:].transpose(1, 2).unflatten(2, tuple(size))


def square(image: Image.Image, size: int, resampling: int) -> Image.Image:
    """Short side to ``size``, the long one rounded down; then the central square."""
    short = min(image.size)
    scaled = [int(size * side / short) for side in image.size]
    image = image.resize((scaled[0], scaled[1]), resampling)
    left, top = (round((side - size) / 2.0) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def pixels_of(image: Image.Image) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def references(
    paths: Sequence[Path], names: Sequence[str], contexts: Sequence[str], k: int, nets: Networks
) -> tuple[dict[str, list[int]], dict[str, Tensor]]:
    """Steps 2 to 8: which images each concept learns from, and its reference embedding."""
    images = [Image.open(path).convert("RGB") for path in paths]
    index = torch.cat([nets.retrieval.encode_image(nets.transform(i)[None]) for i in images])
    index = F.normalize(index, dim=1)
    squares = [pixels_of(square(image, 224, Image.BILINEAR)) for image in images]
    dense = torch.cat([dense_clip(nets.dense.visual, normalised(s, CLIP)) for s in squares])
    features = torch.cat([patches(nets.deit, normalised(s, IMAGENET)) for s in squares])
    built: dict[str, Tensor] = {}
    chosen: dict[str, list[int]] = {}
    for name in [*contexts, *(n for n in names if n not in contexts)]:
        eliminated = [built[c] for c in contexts if c in built]
        cosines = index @ text(nets.retrieval, nets.tokenize, name)
        chosen[name] = cosines.topk(k).indices.tolist()
        said = text(nets.dense, nets.tokenize, name)
        built[name] = _reference(dense[chosen[name]], features[chosen[name]], said, eliminated)
    return chosen, built


def _reference(dense: Tensor, features: Tensor, said: Tensor, eliminated: list[Tensor]) -> Tensor:
    n, d, height, width = features.shape
    language = torch.einsum("ndhw,d->nhw", F.normalize(dense, dim=1), said)
    saliency = torch.sigmoid(10 * language)
    saliency = F.interpolate(saliency[:, None], (height, width), mode="bilinear")[:, 0]
    for context in eliminated:
        cosine = torch.einsum("ndhw,d->nhw", F.normalize(features, dim=1), context)
        saliency = saliency * (1 - torch.sigmoid(cosine))
    pixels = features.permute(0, 2, 3, 1).reshape(-1, d)
    rows = F.normalize(pixels, dim=1)
    adjacency = (rows @ rows.T) * saliency.reshape(1, -1)
    support = adjacency.reshape(n * height * width, n, height * width).amax(dim=2).mean(dim=1)
    seeds = support.reshape(n, -1).argmax(dim=1)
    mean = torch.stack([pixels[i * height * width + seed] for i, seed in enumerate(seeds)]).mean(0)
    return F.normalize(mean, dim=0)


@torch.no_grad()
def scores(
    image: np.ndarray, names: Sequence[str], built: Mapping[str, Tensor], nets: Networks
) -> Tensor:
    """Step 9, (C, H, W) of a uint8 (H, W, 3) image in the protocol's geometry, as it is."""
    pixels = pixels_of(Image.fromarray(image))
    size = pixels.shape[2:]
    features = F.normalize(patches(nets.deit, normalised(pixels, IMAGENET)), dim=1)
    vectors = torch.stack([built[name] for name in names])
    visual = torch.sigmoid(torch.einsum("bdhw,cd->bchw", features, vectors))
    dense = F.normalize(dense_clip(nets.dense.visual, normalised(pixels, CLIP)), dim=1)
    said = torch.stack([text(nets.dense, nets.tokenize, name) for name in names])
    language = torch.sigmoid(10 * torch.einsum("bdhw,cd->bchw", dense, said))
    factors = [F.interpolate(m, tuple(size), mode="bilinear")[0] for m in (visual, language)]
    return factors[0] * factors[1]


def crf(scores: Tensor, image: np.ndarray) -> np.ndarray:
    """Step 10: labels (H, W) of all classes after ten iterations of mean field."""
    from pydensecrf import densecrf

    classes, height, width = scores.shape
    field = densecrf.DenseCRF2D(width, height, classes)
    unary = -torch.log_softmax(scores, dim=0).reshape(classes, -1)
    field.setUnaryEnergy(np.ascontiguousarray(unary.numpy(), np.float32))
    field.addPairwiseGaussian(sxy=1, compat=3)
    field.addPairwiseBilateral(sxy=67, srgb=3, rgbim=np.array(image), compat=4)
    marginals = np.array(field.inference(10)).reshape(classes, height, width)
    return marginals.argmax(axis=0)
