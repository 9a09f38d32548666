"""Train the head of ``lite`` in closed form: ``python -m training.lite_head DATA OUT``.

DATA holds the folders named in FOLDERS; OUT is the safetensors file to write. Nothing is random but
a sample with a fixed seed. Steps:

1. Dense features of every photo (short side 320, centre crop), cached beside OUT as fp16.
2. One visual direction per word: shrinkage LDA of the word's photos, first on pooled features,
   then twice on pixels: each photo's pixels are shared among its words by how well they fit them
   (expectation), and the directions are solved again from what each word got (maximisation).
3. The 1000 ImageNet classifier rows with their names.
4. Ridge regression from sentence embeddings to those directions.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from recoseg.io import images
from recoseg.models.base import batch
from recoseg.models.lite import IMAGE_WEIGHTS, INPUT_SIZE, TEXT_WEIGHTS, load_trunk
from recoseg.models.minilm import MiniLM
from recoseg.models.prompts import LITE
from recoseg.similarity import unit
from training import words

FOLDERS = ("flickr8k_train", "corel5k_train", "imagenet_sample", "caltech101_12")
SHRINKAGE = 0.8
SHARPNESS = 20.0
RIDGE = 3.0
CLASS_WEIGHT = 2.0
SAMPLE = 1500
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Photos:
    """Raw dense features (N, 100, 1280) fp16 of N photos, with their folder and name."""

    keys: list[tuple[str, str]]
    dense: NDArray[np.float16]
    mean: Tensor

    def pixels(self, rows: NDArray[np.int64]) -> Tensor:
        """Unit, centred pixels (len(rows), 100, 1280)."""
        return unit(torch.from_numpy(self.dense[rows]).float() - self.mean)

    def pooled(self, rows: NDArray[np.int64]) -> Matrix:
        """Unit, centred image embeddings (len(rows), 1280)."""
        blocks = [rows[i : i + 256] for i in range(0, len(rows), 256)]
        means = [self.dense[block].mean(axis=1, dtype=np.float64) for block in blocks]
        return normalise(np.concatenate(means) - self.mean.double().numpy())


@dataclass(frozen=True)
class Labelled:
    """One captioned or tagged folder: its rows, and for each word the rows that show it."""

    rows: NDArray[np.int64]
    words: dict[str, NDArray[np.int64]]


def main(data: Path, out: Path) -> None:
    torch.set_num_threads(2)
    photos = encode(data, out.with_suffix(".cache.npy"))
    sets = [
        labelled(photos, "flickr8k_train", words.of_captions(data / "flickr8k_train/captions.tsv")),
        labelled(photos, "corel5k_train", words.of_tags(data / "corel5k_train/tags.tsv")),
    ]
    names, directions, weights = [], [], []
    for part in sets:
        names += list(part.words)
        directions.append(word_directions(photos, part))
        weights += [np.log1p(len(rows)) for rows in part.words.values()]
        print(f"{len(part.words)} words of {len(part.rows)} photos", flush=True)
    class_names, rows = classifier()
    head = ridge(
        [*names, *class_names],
        np.concatenate([*directions, rows]),
        np.array([*weights, *[CLASS_WEIGHT] * len(class_names)]),
    )
    head["visual_mean"] = photos.mean.contiguous()
    stored = {name: t.half() if name == "projection" else t.float() for name, t in head.items()}
    # More than one entry here would be written in an order that differs from run to run.
    save_file(stored, out, {"format": "recoseg-lite-head/1"})
    print(f"wrote {out} ({out.stat().st_size} bytes)")


@torch.inference_mode()
def encode(data: Path, cache: Path) -> Photos:
    """Dense features of all photos, four at a time (fastest on a CPU); kept at ``cache``."""
    files = [file for folder in FOLDERS for file in sorted((data / folder / "images").rglob("*.*"))]
    keys = [(file.relative_to(data).parts[0], file.name) for file in files]
    side = INPUT_SIZE // 32
    if not cache.exists():
        trunk = load_trunk(IMAGE_WEIGHTS.find())
        partial = cache.with_suffix(".partial")
        shape = (len(files), side * side, 1280)
        dense = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        for start in range(0, len(files), 4):
            squares = [images.square(images.read(f), INPUT_SIZE) for f in files[start : start + 4]]
            pixels = (batch(squares) * 255 - 127) / 128
            maps = trunk(pixels.contiguous(memory_format=torch.channels_last))
            dense[start : start + 4] = maps.flatten(2).transpose(1, 2).half().numpy()
            if start % 1000 == 0:
                print(f"encoded {start} of {len(files)}", flush=True)
        dense.flush()
        partial.rename(cache)
    dense = np.load(cache, mmap_mode="r")
    blocks = [dense[i : i + 256].mean(axis=1, dtype=np.float64) for i in range(0, len(dense), 256)]
    return Photos(keys, dense, torch.from_numpy(np.concatenate(blocks).mean(axis=0)).float())


def labelled(photos: Photos, folder: str, shown: dict[str, list[str]]) -> Labelled:
    """Rows of ``photos`` in place of names."""
    at = {name: row for row, (home, name) in enumerate(photos.keys) if home == folder}
    found = {w: np.array(sorted(at[name] for name in names)) for w, names in shown.items()}
    return Labelled(np.array(sorted(at.values())), found)


def word_directions(photos: Photos, part: Labelled) -> Matrix:
    """One unit direction per word (words, 1280), from pooled features, then from pixels twice."""
    pooled = photos.pooled(part.rows)
    at = {row: i for i, row in enumerate(part.rows)}
    means = np.stack([pooled[[at[r] for r in rows]].mean(axis=0) for rows in part.words.values()])
    first = solve(means, pooled)
    chosen = np.sort(np.random.default_rng(0).choice(part.rows, SAMPLE, replace=False))
    background = photos.pixels(chosen)[:, ::2].reshape(-1, 1280).double().numpy()
    second = solve(share(photos, part, first), background)
    third = solve(share(photos, part, second), background)
    return normalise(second + third)


def solve(means: Matrix, samples: Matrix) -> Matrix:
    """Shrinkage LDA: (1 - s) Cov + s (trace / d) I, solved for every word's mean offset."""
    centre = samples.mean(axis=0)
    covariance = np.cov(samples.T)
    ridge = np.trace(covariance) / len(centre) * np.eye(len(centre))
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * ridge
    return normalise(np.linalg.solve(shrunk, (means - centre).T).T)


def share(photos: Photos, part: Labelled, directions: Matrix) -> Matrix:
    """Mean pixel (words, 1280) of each word: pixels that fit it, more than they fit the others.

    In each photo a word's attention is a softmax over pixels, times the pixel's softmax over the
    photo's words, normalised to one; every photo of a word counts the same.
    """
    shown: dict[int, list[int]] = {}
    for word, rows in enumerate(part.words.values()):
        for row in rows:
            shown.setdefault(int(row), []).append(word)
    vectors = torch.from_numpy(directions).float()
    total = torch.zeros(len(part.words), 1280, dtype=torch.float64)
    for row, present in sorted(shown.items()):
        pixels = photos.pixels(np.array([row]))[0]
        fit = SHARPNESS * pixels @ vectors[present].T
        attention = fit.softmax(dim=0) * fit.softmax(dim=1)
        attention = attention / attention.sum(dim=0).clamp_min(1e-9)
        total[present] += (attention.T @ pixels).double()
    counts = np.array([len(rows) for rows in part.words.values()])
    return total.numpy() / counts[:, None]


def classifier() -> tuple[list[str], Matrix]:
    """Names and centred unit rows (1000, 1280) of the ImageNet classifier of the same file."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    names = [info.index_to_description(i).split(",")[0] for i in range(1000)]
    stored = torch.load(IMAGE_WEIGHTS.find(), map_location="cpu", weights_only=True)
    rows = next(tensor for tensor in stored.values() if tuple(tensor.shape) == (1000, 1280))
    rows = rows.double().numpy()
    return names, normalise(rows - rows.mean(axis=0))


def ridge(names: list[str], directions: Matrix, weights: Matrix) -> dict[str, Tensor]:
    """Weighted ridge regression from sentence embeddings to directions."""
    encoder = MiniLM(TEXT_WEIGHTS.find().parent, torch.device("cpu"))
    prompts = [form.replace("{}", name) for name in names for form in LITE]
    embedded = encoder.embed(prompts).view(len(names), len(LITE), -1).mean(dim=1)
    text = unit(embedded).double().numpy()
    mean = np.average(text, axis=0, weights=weights)
    weighted = (text - mean) * weights[:, None]
    normal = weighted.T @ (text - mean) + RIDGE * np.eye(text.shape[1])
    projection = np.linalg.solve(normal, weighted.T @ directions)
    return {
        "projection": torch.from_numpy(projection).contiguous(),
        "text_mean": torch.from_numpy(mean),
    }


def normalise(x: Matrix) -> Matrix:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m training.lite_head DATA OUT")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
