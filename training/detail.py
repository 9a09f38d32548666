"""Fit what the fine map foretells of the deep one: ``python -m training.detail DATA OUT``.

DATA holds the folders named in ``photos.FOLDERS``, of which every third photo is used, without its
words; OUT is the safetensors file to write. A ridge regression from random features of the pixels
of stage 5 (``lite:16``), averaged over each cell of the deep map, to the cell's unit, centred deep
features, cut to its most telling directions. One thread and fixed seeds: two runs give the same
bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from threadpoolctl import threadpool_limits
from torch import Tensor

from recoseg.io import images
from recoseg.io.squares import cut_square
from recoseg.models.base import batch
from recoseg.models.detail import DEEP_DIM, FINE_DIM, average, expand
from recoseg.models.lite import HEAD_FILE, INPUT_SIZE, STAGES, load_trunk, run_trunk, split_trunk
from recoseg.models.packaged import IMAGE_WEIGHTS
from recoseg.similarity import unit
from training.photos import FOLDERS

EVERY = 3
WIDTH, RANK = 512, 128
# Of a hidden unit's slopes, and of its bias.
SPREAD, SHIFT = 0.75, 0.7
RIDGE = 1e-4
_BATCH = 4
Pair = tuple[Tensor, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    # Sums and convolutions round otherwise with another number of threads.
    torch.set_num_threads(1)
    with threadpool_limits(1), torch.inference_mode():
        folders = [args.data / folder / "images" for folder in FOLDERS]
        files = [file for folder in folders for file in sorted(folder.rglob("*.*"))][::EVERY]
        fitted = fit(encode(files))
    stored = {name: tensor.half().contiguous() for name, tensor in fitted.items()}
    save_file(stored, args.out, {"format": "recoseg-lite-detail/1"})
    print(f"wrote {args.out} ({len(files)} photos, {args.out.stat().st_size} bytes)")


def encode(files: Sequence[Path]) -> Iterator[Pair]:
    """Raw fine maps (b, 120, 20, 20) and unit, centred deep ones (b, 1280, 10, 10) of photos."""
    early, late = split_trunk(load_trunk(IMAGE_WEIGHTS.find()), STAGES)
    mean = load_file(HEAD_FILE)["visual_mean"][:, None, None]
    for start in range(0, len(files), _BATCH):
        squares = [cut_square(images.read(f), INPUT_SIZE) for f in files[start : start + _BATCH]]
        fine = run_trunk(early, batch(squares), torch.device("cpu"))
        yield fine, unit(late(fine) - mean, dim=1)
        if start % 400 == 0:
            print(f"encoded {start} of {len(files)}", flush=True)


def fit(maps: Iterator[Pair], width: int = WIDTH, rank: int = RANK) -> dict[str, Tensor]:
    """The tensors of ``Detail``, from fine and deep maps."""
    drawn = torch.Generator().manual_seed(0)
    weights = torch.randn(FINE_DIM, width, generator=drawn) * SPREAD
    bias = torch.randn(width, generator=drawn) * SHIFT
    size = FINE_DIM + width + 1
    within = torch.zeros(size, size, dtype=torch.float64)
    across = torch.zeros(size, DEEP_DIM, dtype=torch.float64)
    for fine, deep in maps:
        rows = average(expand(fine, weights, bias)).reshape(-1, size)
        within += (rows.T @ rows).double()
        across += (rows.T @ deep.permute(0, 2, 3, 1).reshape(-1, DEEP_DIM)).double()
    inner, outer = solve(within, across, rank)
    return {"weights": weights, "bias": bias, "inner": inner.float(), "outer": outer.float()}


def solve(within: Tensor, across: Tensor, rank: int) -> Pair:
    """Ridge regression's solution as two factors of low rank, (n, r) and (r, d).

    The directions that are kept are those in which the predictions vary most.

    Args:
        within: (n, n), sum of the products of the inputs with each other.
        across: (n, d), sum of their products with the outputs.
        rank: r.
    """
    ridge = within.diagonal().mean() * RIDGE * torch.eye(len(within), dtype=within.dtype)
    coefficients = torch.linalg.solve(within + ridge, across)
    spread = coefficients.T @ within @ coefficients
    outer = torch.linalg.eigh(spread).eigenvectors[:, -rank:].T
    return coefficients @ outer.T, outer


if __name__ == "__main__":
    main()
