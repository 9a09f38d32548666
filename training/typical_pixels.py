"""One pixel of each of 768 photos: ``python -m training.typical_pixels DATA OUT``.

DATA holds the folders named in ``photos.FOLDERS``; the photos are spread evenly over their sorted
files, and a pixel is a cell of ``lite``'s dense map at short side 320, each photo's another; that
of ``lite:16`` is one of the four cells of its finer map at the same place. OUT holds both, fp16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from recoseg.io import images
from recoseg.io.squares import cut_square
from recoseg.models.base import batch
from recoseg.models.lite import INPUT_SIZE, Lite, LiteStage
from training.photos import FOLDERS

COUNT = 768
# Coprime to the 100 cells of a photo, so that all come in turn.
_STEP = 37


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folders = [args.data / folder / "images" for folder in FOLDERS]
    files = [file for folder in folders for file in sorted(folder.rglob("*.*"))]
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, COUNT).astype(int)]
    deep, fine = pixels(chosen)
    stored = {Lite.id: deep.half(), LiteStage.id: fine.half()}
    save_file({name: rows.contiguous() for name, rows in stored.items()}, args.out)
    print(f"{len(chosen)} pixels, {args.out.stat().st_size} bytes")


@torch.inference_mode()
def pixels(files: list[Path]) -> tuple[Tensor, Tensor]:
    """Unit vectors (m, 1280) and raw features (m, 120) of one place in each photo."""
    model = Lite.load()
    deep, fine = [], []
    for number, file in enumerate(files):
        square = cut_square(images.read(file), INPUT_SIZE)
        last, inner = model.dense_and_stage(batch([square]))
        row, column, below, beside = place(number, last.shape[-1])
        deep.append(last[0, :, row, column])
        fine.append(inner[0, :, 2 * row + below, 2 * column + beside])
    return torch.stack(deep), torch.stack(fine)


def place(number: int, side: int) -> tuple[int, int, int, int]:
    """Row and column of the numbered photo's cell on a square grid, and which quarter of it."""
    row, column = divmod(_STEP * number % side**2, side)
    return row, column, number // 2 % 2, number % 2


if __name__ == "__main__":
    main()
