"""Random-weight instances of true architectures, saved as their published forms are.

``tiny`` ones have the layers of the large ones, but few and narrow: they serve the many tests that
ask about behaviour. All numbers are rounded to fp16, so that a file and its network agree exactly.
"""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors.torch import save_file

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
TINY = {
    "tiny-resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "tiny-vit": {
        "image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16,
    },
    "tiny-coca": {
        "image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16,
        "attentional_pool": True, "attn_pooler_heads": 2,
    },
}  # fmt: skip


@functools.cache
def register(folder: Path) -> None:
    """Make open_clip know the tiny ones, and RN50x16 with its text tower made thin."""
    sixteen = open_clip.get_model_config("RN50x16")["vision_cfg"]
    for name, vision in {**TINY, "thin-RN50x16": sixteen}.items():
        dim = 768 if name.startswith("thin") else 32
        config = {"embed_dim": dim, "vision_cfg": vision, "text_cfg": TEXT}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


def clip(architecture: str, folder: Path, seed: int = 0) -> tuple[Any, Path]:
    """An open_clip model with random weights, and its safetensors file."""
    torch.manual_seed(seed)
    logging.disable(logging.WARNING)  # open_clip says that the weights are random
    model = open_clip.create_model(architecture)
    logging.disable(logging.NOTSET)
    return _saved(model, folder / f"{architecture}-{seed}.safetensors")


def vit(architecture: str, folder: Path, seed: int = 0, **options: Any) -> tuple[Any, Path]:
    """A timm model with random weights, and its safetensors file."""
    torch.manual_seed(seed)
    model = timm.create_model(architecture, **options)
    return _saved(model, folder / f"{architecture}-{seed}.safetensors")


def _saved(model: Any, file: Path) -> tuple[Any, Path]:
    shake(model)
    return save(model, file)


def save(model: Any, file: Path) -> tuple[Any, Path]:
    """Round all numbers to half precision and write them to a safetensors file."""
    model.half().float().eval().requires_grad_(False)
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, file)
    return model, file


@torch.no_grad()
def shake(model: Any) -> None:
    """Give norms and biases random values: at ones and zeros a test would not see them."""
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("weight"):
                tensor.normal_(1, 0.2)
            else:
                tensor.normal_(0, 0.2)
