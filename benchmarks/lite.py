"""The method's components on photos with masks: ``python benchmarks/lite.py DATA [--out FILE]``.

DATA holds ``msrc``, ``camvid/val`` and the archive's folders. Every row is built from one index of
the archive and scored at full image resolution with one global confusion matrix (void left out).
Nothing is tuned per set.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from recoseg import ConceptBank, Index, Segmenter
from recoseg.progress import track
from recoseg.recipe import LITE, Recipe

NAMES = {
    "msrc": ["building", "grass", "tree", "cow", "horse", "sheep", "sky", "mountain", "aeroplane", "water", "face", "car", "bicycle", "flower", "sign", "bird", "book", "chair", "road", "cat", "dog", "body", "boat"],
    "camvid/val": ["sky", "building", "pole", "road", "sidewalk", "tree", "traffic sign", "fence",
                   "car", "pedestrian", "bicyclist"],
}  # fmt: skip
ARCHIVE = ("flickr8k_train", "corel5k_train", "imagenet_sample", "caltech101_12")


@dataclass(frozen=True)
class Row:
    """One line of the table: which parts of the method are on."""

    label: str
    recipe: Recipe
    system: str = "reco"


ROWS = (
    Row("LGC alone", LITE.replace(ce=False, denseclip=False)),
    Row("DenseCLIP", LITE, "denseclip"),
    Row("DenseCLIP + LGC", LITE.replace(ce=False)),
    Row("DenseCLIP + CE", LITE.replace(lgc=False)),
    Row("DenseCLIP + LGC + CE", LITE),
)
WITH_CRF = ("DenseCLIP", "DenseCLIP + LGC + CE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, help="where the archive's index is or shall be")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=1, help="score each n-th photo only")
    args = parser.parse_args()
    index = archive_index(args.data, args.index or args.data / "archive.index")
    table = {}
    for name, classes in NAMES.items():
        photos = pairs(args.data / name)[:: args.every]
        for row in ROWS:
            bank = ConceptBank.build(classes, index, row.recipe, progress=False)
            for crf in (False, True) if row.label in WITH_CRF else (False,):
                label = f"{row.label} + CRF" if crf else row.label
                segmenter = Segmenter(bank, refine=crf, system=row.system)
                table[f"{name}: {label}"] = score(segmenter, photos, f"{name}: {label}")
    provenance = {"photos": args.every, "machine": machine(), "torch": torch.__version__}
    if args.out is not None:
        args.out.write_text(json.dumps({"rows": table, **provenance}, indent=1) + "\n")


def archive_index(data: Path, out: Path) -> Index:
    """Index of the four archive folders, built if it is not there."""
    listing = out.with_suffix(".lst")
    photos = [file for home in ARCHIVE for file in sorted((data / home / "images").rglob("*.*"))]
    listing.write_text("".join(f"{file.resolve()}\n" for file in photos))
    return Index.build(listing, out, model=LITE.retrieval)


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Photos and masks, matched by name."""
    photos = {file.stem: file for file in (folder / "images").iterdir()}
    return [(photos[mask.stem], mask) for mask in sorted((folder / "masks").glob("*.png"))]


def score(segmenter: Segmenter, photos: list[tuple[Path, Path]], label: str) -> dict[str, object]:
    """mIoU, pixel accuracy (percent), IoU per class, and seconds per photo."""
    count = len(segmenter.names)
    confusion = np.zeros((count, count), np.int64)
    began = time.perf_counter()
    for photo, mask in track(photos, label=label):
        truth = np.asarray(Image.open(mask))
        confusion += confused(truth, segmenter(photo).labels, count)
    seconds = (time.perf_counter() - began) / len(photos)
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    present = union > 0
    iou = 100 * hit / np.maximum(union, 1)
    result = {
        "miou": round(float(iou[present].mean()), 2),
        "accuracy": round(float(100 * hit.sum() / confusion.sum()), 2),
        "iou": {n: round(float(v), 1) for n, v in zip(segmenter.names, iou, strict=True)},
        "seconds": round(seconds, 3),
    }
    miou, accuracy = result["miou"], result["accuracy"]
    print(f"{label:40} mIoU {miou:5} accuracy {accuracy:5} {seconds:.2f} s a photo", flush=True)
    return result


def confused(truth: NDArray, predicted: NDArray, count: int) -> NDArray:
    """Confusion matrix (truth, predicted) of one image; truth outside the classes is void."""
    valid = truth < count
    flat = truth[valid].astype(np.int64) * count + predicted[valid]
    return np.bincount(flat, minlength=count * count).reshape(count, count)


def machine() -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return {
        "cpu": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    main()
