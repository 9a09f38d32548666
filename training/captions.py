"""The image side of the head: what is added to pooled features, learnt from whole captions.

A photo's vector shall be nearer to its own caption than to those of other photos (symmetric
cross-entropy over a batch). The text side stays as it is, so that pixels keep their words; and the
cosines with known words shall stay those of the pooled features, since captions alone make the
names of things worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recoseg.models.minilm import MiniLM
from recoseg.models.packaged import TEXT_WEIGHTS
from recoseg.similarity import unit

EPOCHS = 25
BATCH = 500
RATE = 2e-3
DECAY = 1e-4
DROPOUT = 0.3
SLOPE = 20.0
# Weight of the squared change of cosines with known words, photos and words it is measured on.
KEEP, KEPT_PHOTOS, KEPT_WORDS = 3000.0, 250, 300
# Unit vectors of 1280 channels have entries of 0.03; an optimiser wants larger ones.
SCALE = 8.0


def embed(
    file: Path, at: Mapping[str, int], direct: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Directions (C, 1280) of a file's captions (name TAB caption), and the row (C,) of each.

    Args:
        file: lines of both.
        at: name to row; other photos are left out.
        direct: from unit sentence embeddings (C, 384) to directions.
    """
    lines = [line.partition("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line[0] in at]
    encoder = MiniLM(TEXT_WEIGHTS.find().parent, torch.device("cpu"))
    # An inference tensor could not be learnt from.
    vectors = direct(encoder.embed([caption for _, _, caption in lines])).clone()
    return vectors, torch.tensor([at[name] for name, _, _ in lines])


@dataclass(frozen=True, eq=False)
class Material:
    """What the map is learnt from.

    Attributes:
        pooled: (N, 1280), unit centred means of all photos' maps.
        captions: (C, 1280), unit directions.
        owners: (C,), the row of the photo that each caption is of.
        words: (W, 1280), unit directions of known words.
        others: rows whose cosines with the words shall stay.
    """

    pooled: Tensor
    captions: Tensor
    owners: Tensor
    words: Tensor
    others: Tensor


def fit(material: Material, seed: int = 0) -> dict[str, Tensor]:
    """Learn the map by gradient; the same seed gives the same bits on one thread of one machine.

    Returns:
        The tensors of ``Alignment`` that concern images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = _train(material)
    weight, bias = layer.weight.detach(), layer.bias.detach()
    return {"image_projection": (weight.T * SCALE).contiguous(), "image_shift": bias.clone()}


def _train(material: Material) -> nn.Linear:
    width = material.pooled.shape[1]
    layer = nn.Linear(width, width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    slope = nn.Parameter(torch.tensor(math.log(SLOPE)))
    photos = material.owners.unique()
    of_photo = [(material.owners == photo).nonzero()[:, 0] for photo in photos]
    size = min(BATCH, len(photos))
    steps = len(photos) // size
    optimiser = torch.optim.AdamW([*layer.parameters(), slope], RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=steps * EPOCHS, pct_start=0.1
    )
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(photos))[: steps * size].split(size):
            drawn = [of_photo[i][torch.randint(len(of_photo[i]), ())] for i in chosen]
            found = _place(layer, material.pooled[photos[chosen]])
            loss = _contrast(slope.exp() * found @ material.captions[torch.stack(drawn)].T)
            loss = loss + KEEP * _change(layer, material)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return layer


def _place(layer: nn.Linear, pooled: Tensor) -> Tensor:
    return unit(pooled + layer(F.dropout(pooled * SCALE, DROPOUT)))


def _change(layer: nn.Linear, material: Material) -> Tensor:
    """Mean squared change of some photos' cosines with some words."""
    rows = material.others[torch.randint(len(material.others), (KEPT_PHOTOS,))]
    words = material.words[torch.randint(len(material.words), (KEPT_WORDS,))]
    pooled = material.pooled[rows]
    return ((_place(layer, pooled) - pooled) @ words.T).square().mean()


def _contrast(scores: Tensor) -> Tensor:
    own = torch.arange(len(scores))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
