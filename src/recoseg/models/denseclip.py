"""DenseCLIP: per-location image features in CLIP's text space (step 5).

A ResNet's attention pool and a ViT's last block mix locations by attention. With the attention
fixed on one location each gives that location's own vector; ``docs/models.md`` derives it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recoseg.models.pixels import STRETCH, stretch_to_cells
from recoseg.similarity import unit

VALUE, SELF = "value", "selfself"
KINDS = (VALUE, SELF)
DenseMap = Callable[[Tensor], Tensor]


def dense_map(
    visual: nn.Module, kind: str = VALUE, cells: str = STRETCH
) -> tuple[DenseMap, int] | None:
    """The dense map of an open_clip image tower and its stride; None where none is defined.

    Args:
        visual: the model's ``visual``.
        kind: ``"value"`` is the paper's (for a ViT, MaskCLIP); ``"selfself"``, for a ViT alone,
            lets every location attend to those whose queries are like its own.
        cells: what is done about pixels that fill no whole cell, as in ``whole_cells``.

    Returns:
        A function of normalised (B, 3, H, W) that gives unit vectors (B, d, h, w), and the pixels
        per cell.
    """
    tower: Any = visual
    if _is_resnet(tower) and kind == VALUE:
        return (lambda pixels: unit(_resnet(tower, pixels, cells), dim=1)), 32
    if _is_plain_vit(tower):
        last = _value if kind == VALUE else _self_attention
        return (lambda pixels: unit(_vit(tower, pixels, cells, last), dim=1)), tower.patch_size[0]
    return None


def _is_resnet(visual: Any) -> bool:
    from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet

    return isinstance(visual, ModifiedResNet) and isinstance(visual.attnpool, AttentionPool2d)


def _is_plain_vit(visual: Any) -> bool:
    """Whether the class token of a standard last block is what the tower gives out."""
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and visual.proj is not None
        and visual.patch_size[0] == visual.patch_size[1]
        and isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock)
    )


def _resnet(visual: Any, pixels: Tensor, cells: str) -> Tensor:
    """Last stage, then the pool's value and output projections as 1x1 convolutions."""
    if cells == STRETCH or min(pixels.shape[-2:]) < 32:
        pixels = stretch_to_cells(pixels, 32)
    # Else the poolings drop what is left over, each where it comes to it.
    x: Tensor = visual.stem(pixels)
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = stage(x)
    for projection in (visual.attnpool.v_proj, visual.attnpool.c_proj):
        x = F.conv2d(x, projection.weight[:, :, None, None], projection.bias)
    return x


def _vit(visual: Any, pixels: Tensor, cells: str, last: Callable[[Any, Tensor], Tensor]) -> Tensor:
    """All blocks but the last, ``last`` in its place, then the class token's own head."""
    tokens, (height, width) = _embed(visual, stretch_to_cells(pixels, visual.patch_size[0], cells))
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    tokens = last(visual.transformer.resblocks[-1], tokens)[:, 1:]
    projected: Tensor = visual.ln_post(tokens) @ visual.proj
    return projected.transpose(1, 2).reshape(len(tokens), -1, height, width)


def _embed(visual: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    patches = visual.conv1(pixels)
    grid = int(patches.shape[-2]), int(patches.shape[-1])
    patches = patches.flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(patches), 1, -1)
    positions = _positions(visual.positional_embedding, visual.grid_size, grid)
    return visual.ln_pre(torch.cat([first, patches], dim=1) + positions), grid


def _positions(embedding: Tensor, native: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """(1 + h*w, d) interpolated from the native grid; the class token's own comes first."""
    if tuple(native) == grid:
        return embedding
    d = embedding.shape[1]
    square = embedding[1:].T.reshape(1, d, *native)
    resized = F.interpolate(square, grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([embedding[:1], resized.reshape(d, -1).T])


def _value(block: Any, tokens: Tensor) -> Tensor:
    """The block with each token's attention on itself alone."""
    value = _project(block, tokens)[2]
    tokens = tokens + block.ls_1(block.attn.out_proj(value))
    mixed: Tensor = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
    return mixed


def _self_attention(block: Any, tokens: Tensor) -> Tensor:
    """Query-query attention, without the residual path and the MLP (ClearCLIP, ECCV 2024)."""
    count, length, _ = tokens.shape
    heads = (count, length, block.attn.num_heads, -1)
    query, _, value = (x.reshape(heads).transpose(1, 2) for x in _project(block, tokens))
    mixed = F.scaled_dot_product_attention(query, query, value).transpose(1, 2).flatten(2)
    out: Tensor = block.ls_1(block.attn.out_proj(mixed))
    return out


def _project(block: Any, tokens: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values (B, N, d) of a block's attention."""
    attention = block.attn
    together = F.linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    return together.chunk(3, dim=-1)
