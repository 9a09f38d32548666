"""Position embeddings of a ViT at other grids than the one it was trained at."""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.errors import UnknownModel

# Bicubic with antialiasing, timm's own way, or without it, as the paper's encoder was used.
POSITIONS = ("smooth", "plain")


def keep_plain(model: Any, id: str) -> None:
    """Make a timm ViT interpolate its position embeddings bicubically without antialiasing.

    Raises:
        UnknownModel: the model has no table of positions in which the prefix tokens come first.
    """
    table = getattr(model, "pos_embed", None)
    if not isinstance(table, Tensor) or table.ndim != 3 or getattr(model, "no_embed_class", True):
        raise UnknownModel(f"{id}: this network has no positions to be kept plain; leave that out.")
    model._pos_embed = types.MethodType(_add_positions, model)


def _add_positions(model: Any, patches: Tensor) -> Tensor:
    """Patches (B, h, w, d) to tokens (B, prefix + h*w, d) with their positions added."""
    batch, height, width, _ = patches.shape
    names = ("cls_token", "dist_token", "reg_token")
    prefix = [t.expand(batch, -1, -1) for n in names if (t := getattr(model, n, None)) is not None]
    tokens = torch.cat([*prefix, patches.flatten(1, 2)], dim=1)
    table = interpolate_positions(
        model.pos_embed, model.num_prefix_tokens, model.patch_embed.grid_size, (height, width)
    )
    dropped: Tensor = model.pos_drop(tokens + table)
    return dropped


def interpolate_positions(
    table: Tensor, prefix: int, native: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """(1, prefix + h*w, d) at the native grid to another one; the prefix stays."""
    if tuple(native) == tuple(grid):
        return table
    square = table[:, prefix:].transpose(1, 2).reshape(1, -1, *native)
    resized = F.interpolate(square, tuple(grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :prefix], resized.flatten(2).transpose(1, 2)], dim=1)
