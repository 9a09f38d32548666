"""The paper's models with random weights on a small archive: ours and the literal transcription.

The image towers are true (RN50x16, distilled DeiT-S); text towers and the CLIP for retrieval have
the true layers, few and narrow. Random towers put all pixels and all names in nearly one direction,
so that one name would win everywhere; their last biases are shifted so that the means are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from skimage import data
from torch import Tensor

from recoseg import PAPER, ConceptBank, Index
from recoseg.datasets import tables
from recoseg.evaluation.encoding_cache import cache_encodings
from recoseg.models import registry
from recoseg.models.registry import Models
from tests import giants
from tests.oracles import paper

PHOTOS = ("chelsea", "coffee", "rocket", "astronaut", "immunohistochemistry", "retina")
K = 3


@dataclass
class Stage:
    """A bank and the references of the transcription, of the same concepts and photos."""

    bank: ConceptBank
    models: Models
    nets: paper.Networks
    chosen: dict[str, list[int]]
    built: dict[str, Tensor]


def save_photos(folder: Path) -> list[Path]:
    """Six crops of real photos whose sides are no multiples of anything."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(PHOTOS):
        crop = getattr(data, name)()[: 241 + number, 60 : 361 + 7 * number]
        Image.fromarray(crop).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


def build(weights: Path, home: Path, names: Sequence[str]) -> Stage:
    """Both sides; PAPER but for the models' files and the number of retrieved photos."""
    photos = save_photos(home / "photos")
    small, small_file = giants.clip("tiny-vit", weights, 3)
    dense, dense_file = giants.clip("thin-RN50x16", weights)
    deit, deit_file = giants.vit("deit_small_distilled_patch16_224", weights, dynamic_img_size=True)
    tokenize = open_clip.get_tokenizer("tiny-vit")
    centre(
        dense, deit, [paper.square(Image.open(p), 224, Image.BILINEAR) for p in photos], tokenize
    )
    giants.save(dense, dense_file)
    giants.save(deit, deit_file)
    recipe = PAPER.replace(
        retrieval=f"clip:tiny-vit/{small_file}?decode=whole",
        dense=f"clip:thin-RN50x16/{dense_file}?cells=cut",
        encoder=f"timm:deit_small_distilled_patch16_224/{deit_file}?cells=cut&positions=plain",
        k=K,
    )
    joint = registry.load_joint(recipe.retrieval, "cpu")
    index = Index.build(home / "photos", home / "index", model=joint, progress=False)
    models = Models.load(recipe, "cpu")
    bank = ConceptBank.build(
        list(names), index, recipe, models=cache_encodings(models), progress=False
    )
    transform = image_transform_v2(PreprocessCfg(size=64), is_train=False)
    nets = paper.Networks(small, transform, dense, deit, tokenize)
    chosen, built = paper.references(photos, names, recipe.contexts, K, nets)
    used = {name: [photos[i].name for i in images] for name, images in chosen.items()}
    for name in names:
        if [seed.image for seed in bank[name].evidence.seeds] != used[name]:
            raise AssertionError(f"other photos were retrieved for {name}")
    return Stage(bank, models, nets, chosen, built)


@torch.no_grad()
def centre(dense: Any, deit: Any, squares: Sequence[Image.Image], tokenize: Any) -> None:
    """Take the means over some photos and prompts off what the random towers give, by biases."""
    pixels = torch.cat([paper.pixels_of(square) for square in squares])
    maps = paper.dense_clip(dense.visual, paper.normalised(pixels, paper.CLIP))
    dense.visual.attnpool.c_proj.bias -= maps.mean(dim=(0, 2, 3))
    deit.norm.bias -= paper.patches(deit, paper.normalised(pixels, paper.IMAGENET)).mean((0, 2, 3))
    prompts = [f"a photo of a {name}." for name in tables.table("cocostuff").literal.values()]
    texts = dense.encode_text(tokenize(prompts)).mean(0)
    # What the final norm must give less of, so that its projection gives ``texts`` less.
    shift = torch.linalg.lstsq(dense.text_projection.T, texts[:, None]).solution[:, 0]
    dense.ln_final.bias -= shift


def scene(height: int, width: int) -> np.ndarray:
    """A photo of any size, nearest pixels, as a protocol's geometry would give it."""
    photo = Image.fromarray(data.astronaut()).resize((width, height), Image.NEAREST)
    return np.asarray(photo)
