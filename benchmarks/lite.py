"""The method's components on photos with masks: ``python benchmarks/lite.py DATA [--out FILE]``.

DATA holds ``msrc``, ``camvid/val`` and the archive's folders. Every row is built from one index of
the archive and scored at full image resolution with one global confusion matrix (void left out).
Nothing is tuned per set.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from recoseg import ConceptBank, Index, images
from recoseg.models.trio import Models
from recoseg.progress import track
from recoseg.recipe import LITE
from recoseg.refine import Field
from recoseg.scoremaps import ScoreMaps, Scorer

NAMES = {
    "msrc": "building,grass,tree,cow,horse,sheep,sky,mountain,aeroplane,water,face,car,bicycle,"
    "flower,sign,bird,book,chair,road,cat,dog,body,boat",
    "camvid/val": "sky,building,pole,road,sidewalk,tree,traffic sign,fence,car,pedestrian,"
    "bicyclist",
}
ARCHIVE = ("flickr8k_train", "corel5k_train", "imagenet_sample", "caltech101_12")


ROWS = {
    "LGC alone": LITE.replace(ce=False, denseclip=False),
    "DenseCLIP": LITE,
    "DenseCLIP + LGC": LITE.replace(ce=False),
    "DenseCLIP + CE": LITE.replace(lgc=False),
    "DenseCLIP + LGC + CE": LITE,
}
WITH_CRF = ("DenseCLIP", "DenseCLIP + LGC + CE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, help="where the archive's index is or shall be")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=1, help="score each n-th photo only")
    args = parser.parse_args()
    facts = {**machine.described(), "every": args.every}
    index = archive_index(args.data, args.index or args.data / "archive.index")
    models = Models.load(LITE)
    table = {}
    for name, classes in NAMES.items():
        with remembered(models.encoder):
            banks = {
                label: ConceptBank.build(classes.split(","), index, recipe, models=models)
                for label, recipe in ROWS.items()
            }
        for label, result in evaluate(
            banks, models, pairs(args.data / name)[:: args.every]
        ).items():
            table[f"{name}: {label}"] = result
            print(f"{name:10} {label:26} mIoU {result['miou']:5} accuracy {result['accuracy']:5}")
    if args.out is not None:
        args.out.write_text(json.dumps({**facts, "rows": table}, indent=1) + "\n")


@contextlib.contextmanager
def remembered(model: Any) -> Iterator[None]:
    """Encode each batch of archive images once for all recipes."""
    original, seen = model.feature_map, {}

    def feature_map(batch: torch.Tensor) -> torch.Tensor:
        key = hashlib.blake2b(batch.numpy().tobytes()).digest()
        if key not in seen:
            seen[key] = original(batch)
        return seen[key]

    model.feature_map = feature_map
    yield
    del model.feature_map


def evaluate(
    banks: dict[str, ConceptBank], models: Models, photos: list[tuple[Path, Path]]
) -> dict[str, dict[str, Any]]:
    """Every row's result; a photo is encoded once for all rows."""
    names = banks["DenseCLIP"].names
    references = torch.cat([bank.references for bank in banks.values()])
    scorer = Scorer(models, LITE, banks["DenseCLIP"].texts, references)
    labels = [*ROWS, *(f"{label} + CRF" for label in WITH_CRF)]
    confusion = {label: np.zeros((len(names), len(names)), np.int64) for label in labels}
    for photo, mask in track(photos, label="scoring"):
        image, truth = images.read(photo), np.asarray(Image.open(mask))
        maps = scorer(image)
        visual = dict(zip(ROWS, maps.visual.split(len(names)), strict=True))
        field = Field.of(image, LITE.crf)
        for label in ROWS:
            language = None if label == "LGC alone" else maps.language
            seen = None if label == "DenseCLIP" else visual[label]
            scores = ScoreMaps(language, seen).at(truth.shape)
            confusion[label] += confused(truth, scores.argmax(0).numpy(), len(names))
            if label in WITH_CRF:
                refined = field.refine(scores).argmax(0).numpy()
                confusion[f"{label} + CRF"] += confused(truth, refined, len(names))
    return {label: figures(matrix, names) for label, matrix in confusion.items()}


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


def figures(confusion: NDArray, names: tuple[str, ...]) -> dict[str, Any]:
    """mIoU, pixel accuracy and IoU per class, in percent."""
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    present = union > 0
    iou = 100 * hit / np.maximum(union, 1)
    return {
        "miou": round(float(iou[present].mean()), 2),
        "accuracy": round(float(100 * hit.sum() / confusion.sum()), 2),
        "iou": {name: round(float(value), 1) for name, value in zip(names, iou, strict=True)},
    }


def confused(truth: NDArray, predicted: NDArray, count: int) -> NDArray:
    """Confusion matrix (truth, predicted) of one image; truth outside the classes is void."""
    valid = truth < count
    flat = truth[valid].astype(np.int64) * count + predicted[valid]
    return np.bincount(flat, minlength=count * count).reshape(count, count)


if __name__ == "__main__":
    main()
