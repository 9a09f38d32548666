"""A small language-image model for tests: colours are its concepts, so what it sees is known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recoseg.io import images
from recoseg.io.squares import cut_square

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "yellow": (230, 220, 30),
    "white": (245, 245, 245),
    "black": (10, 10, 10),
}


class Toy:
    """Joint model and encoder at once: 8-pixel means of colour, mapped to 16 channels."""

    id = "toy"
    stride = 8
    dim = 16
    device = torch.device("cpu")

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weights = torch.linalg.qr(torch.randn(16, 4, generator=generator))[0]
        self.fingerprint = hashlib.sha256(f"toy {seed}".encode()).hexdigest()
        self.calls = 0

    def preprocess(self, image: np.ndarray) -> Tensor:
        return images.to_tensor(cut_square(image, 32))

    def dense(self, batch: Tensor) -> Tensor:
        return F.normalize(self.features(batch), dim=1)

    def features(self, batch: Tensor) -> Tensor:
        self.calls += 1
        pooled = F.avg_pool2d(batch.float() * 2 - 1, self.stride)
        pooled = torch.cat([pooled, torch.full_like(pooled[:, :1], 0.3)], dim=1)
        return torch.einsum("bchw,dc->bdhw", pooled, self.weights)

    def embed_images(self, batch: Tensor) -> Tensor:
        return F.normalize(self.features(batch).mean((2, 3)), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([self._text(text) for text in texts])

    def _text(self, text: str) -> Tensor:
        found = [rgb for word, rgb in COLOURS.items() if word in text]
        if not found:
            seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
            return F.normalize(
                torch.randn(16, generator=torch.Generator().manual_seed(seed)), dim=0
            )
        colour = torch.tensor([*found[0], 0.0]) / 127.5 - 1
        colour[3] = 0.3
        return F.normalize(self.weights @ colour, dim=0)


def paint(path: Path, background: str, square: str | None = None, size: int = 64) -> Path:
    """Save an image of one colour with, if named, a centred square of another (half the side)."""
    pixels = np.full((size, size, 3), COLOURS[background], dtype=np.uint8)
    if square is not None:
        pixels[size // 4 : -size // 4, size // 4 : -size // 4] = COLOURS[square]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
