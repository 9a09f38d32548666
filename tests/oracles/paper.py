"""The method's steps 1 to 9 written out as the paper states them, on open_clip and timm alone.

Nothing of recoseg is used. Every step is done in the plainest way: the whole adjacency is held,
texts are encoded with all their padding, images one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize, ToTensor
from torchvision.transforms.functional import normalize

SCENES = (
    "there is {} {} in the scene",
    "there is the {} in the scene",
    "this is {} {} in the scene",
    "this is the {} in the scene",
    "this is one {} in the scene",
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


def text(model: Any, tokenize: Any, name: str) -> Tensor:
    """Step 1."""
    article = "an" if name[0] in "aeiou" else "a"
    prompts = [form(name) for form in open_clip.OPENAI_IMAGENET_TEMPLATES]
    prompts += [s.format(article, name) if s.count("{}") == 2 else s.format(name) for s in SCENES]
    vectors = F.normalize(model.encode_text(tokenize(prompts)), dim=1)
    return F.normalize(vectors.mean(0), dim=0)


def dense_clip(resnet: Any, pixels: Tensor) -> Tensor:
    """DenseCLIP of step 5, (B, d, h, w)."""
    x = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(resnet.stem(pixels)))))
    pool = resnet.attnpool
    x = F.conv2d(x, pool.v_proj.weight[:, :, None, None], pool.v_proj.bias)
    return F.conv2d(x, pool.c_proj.weight[:, :, None, None], pool.c_proj.bias)


def patches(deit: Any, pixels: Tensor) -> Tensor:
    """Step 4, (B, d, h, w): tokens after the final norm, without the two at the front."""
    tokens = deit.forward_features(pixels)[:, 2:]
    grid = pixels.shape[2] // 16, pixels.shape[3] // 16
    return tokens.transpose(1, 2).unflatten(2, grid)


def crop(size: int) -> Any:
    return Compose([Resize(size, InterpolationMode.BICUBIC), CenterCrop(size), ToTensor()])


@torch.no_grad()
def references(
    paths: Sequence[Path], names: Sequence[str], contexts: Sequence[str], k: int, nets: Networks
) -> tuple[dict[str, list[int]], dict[str, Tensor]]:
    """Steps 2 to 8: which images each concept learns from, and its reference embedding."""
    images = [Image.open(path).convert("RGB") for path in paths]
    index = torch.cat([nets.retrieval.encode_image(nets.transform(i)[None]) for i in images])
    index = F.normalize(index, dim=1)
    squares = [crop(224)(image)[None] for image in images]
    dense = torch.cat([dense_clip(nets.dense.visual, normalize(s, *CLIP)) for s in squares])
    features = torch.cat([patches(nets.deit, normalize(s, *IMAGENET)) for s in squares])
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
def scores(path: Path, names: Sequence[str], built: Mapping[str, Tensor], nets: Networks) -> Tensor:
    """Step 9, (C, H, W): the image at short side 320, centre crop 320."""
    pixels = crop(320)(Image.open(path).convert("RGB"))[None]
    features = F.normalize(patches(nets.deit, normalize(pixels, *IMAGENET)), dim=1)
    vectors = torch.stack([built[name] for name in names])
    visual = torch.sigmoid(torch.einsum("bdhw,cd->bchw", features, vectors))
    dense = F.normalize(dense_clip(nets.dense.visual, normalize(pixels, *CLIP)), dim=1)
    said = torch.stack([text(nets.dense, nets.tokenize, name) for name in names])
    language = torch.sigmoid(10 * torch.einsum("bdhw,cd->bchw", dense, said))
    factors = [F.interpolate(m, pixels.shape[2:], mode="bilinear")[0] for m in (visual, language)]
    return factors[0] * factors[1]
