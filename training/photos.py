"""Dense features of the training photos, cached as fp16 on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.io import images
from recoseg.io.squares import cut_square
from recoseg.models.base import batch
from recoseg.models.lite import INPUT_SIZE, load_trunk, run_trunk
from recoseg.models.packaged import IMAGE_WEIGHTS
from recoseg.similarity import unit

FOLDERS = ("flickr8k_train", "corel5k_train", "imagenet_sample", "caltech101_12")
_BLOCK = 256
Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Photos:
    """Raw dense features (N, 100, 1280) fp16 of N photos, with their folder and name."""

    keys: list[tuple[str, str]]
    dense: NDArray[np.float16]
    mean: Tensor

    def pixels(self, rows: Rows) -> Tensor:
        """Unit, centred pixels (len(rows), 100, 1280)."""
        return unit(torch.from_numpy(self.dense[rows]).float() - self.mean)

    def pooled(self, rows: Rows) -> Matrix:
        """Unit, centred image embeddings (len(rows), 1280)."""
        blocks = [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]
        means = [self.dense[block].mean(axis=1, dtype=np.float64) for block in blocks]
        return normalise(np.concatenate(means) - self.mean.double().numpy())

    def of(self, folder: str) -> dict[str, int]:
        """Name to row, of one folder's photos."""
        return {name: row for row, (home, name) in enumerate(self.keys) if home == folder}


@torch.inference_mode()
def encode(data: Path, cache: Path) -> Photos:
    """Dense features of all photos (short side 320, centre crop); kept at ``cache``.

    Four at a time, which is fastest on a CPU.
    """
    files = [file for folder in FOLDERS for file in sorted((data / folder / "images").rglob("*.*"))]
    keys = [(file.relative_to(data).parts[0], file.name) for file in files]
    side = INPUT_SIZE // 32
    if not cache.exists():
        trunk = load_trunk(IMAGE_WEIGHTS.find())
        partial = cache.with_suffix(".partial")
        shape = (len(files), side * side, 1280)
        dense = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        for start in range(0, len(files), 4):
            squares = [cut_square(images.read(f), INPUT_SIZE) for f in files[start : start + 4]]
            maps = run_trunk(trunk, batch(squares), torch.device("cpu"))
            dense[start : start + 4] = maps.flatten(2).transpose(1, 2).half().numpy()
            if start % 1000 == 0:
                print(f"encoded {start} of {len(files)}", flush=True)
        dense.flush()
        partial.rename(cache)
    dense = np.load(cache, mmap_mode="r")
    blocks = [
        dense[i : i + _BLOCK].mean(axis=1, dtype=np.float64) for i in range(0, len(dense), _BLOCK)
    ]
    return Photos(keys, dense, torch.from_numpy(np.concatenate(blocks).mean(axis=0)).float())


def normalise(x: Matrix) -> Matrix:
    """Rows divided by their Euclidean norms."""
    scaled: Matrix = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return scaled
