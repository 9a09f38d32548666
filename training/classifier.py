"""The ImageNet classifier's rows as directions of its classes and of more general groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from recoseg.models.packaged import IMAGE_WEIGHTS
from training import words
from training.photos import Matrix, normalise

GROUPS = Path(__file__).with_name("imagenet_groups.txt")
CLASSES = 1000


def classes() -> tuple[list[str], Matrix]:
    """Names and centred unit rows (1000, 1280) of the ImageNet classifier of ``lite``'s file."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    names = [info.index_to_description(i).split(",")[0] for i in range(CLASSES)]
    stored = torch.load(IMAGE_WEIGHTS.find(), map_location="cpu", weights_only=True)
    rows = next(tensor for tensor in stored.values() if tuple(tensor.shape) == (CLASSES, 1280))
    rows = rows.double().numpy()
    return names, normalise(rows - rows.mean(axis=0))


def groups(rows: Matrix) -> tuple[list[str], Matrix]:
    """Names and directions of ``imagenet_groups.txt``: the mean of the rows of what a group covers.

    A group of several names comes once for each.
    """
    names: list[str] = []
    directions = []
    for synonyms, listed in words.read_groups(GROUPS).items():
        names += synonyms
        directions += [rows[indices(listed)].mean(axis=0)] * len(synonyms)
    return names, normalise(np.stack(directions))


def indices(listed: str) -> list[int]:
    """``"3, 7-9"`` to 3, 7, 8, 9."""
    found: list[int] = []
    for part in listed.split(","):
        first, _, last = part.strip().partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
