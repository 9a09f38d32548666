"""The whole everyday bank on photos with masks: ``python benchmarks/vocabulary.py DATA``.

All 169 concepts compete for the pixels of ``msrc``, with and without a shortlist of those that are
likely in a photo. A pixel is right if its concept is the mask's class or a kind of it (KINDS);
a concept of no class counts against. Full image resolution, no CRF.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import machine
import material
import numpy as np

from recoseg import ConceptBank, Segmenter
from recoseg.io.progress import track

KINDS = {
    "building": "house tower castle church temple",
    "grass": "field garden",
    "tree": "forest bush",
    "sky": "cloud",
    "mountain": "hill",
    "aeroplane": "airplane",
    "water": "sea ocean lake river wave",
    "face": "baby",
    "sign": "traffic_light",
    "bird": "duck swan eagle penguin",
    "book": "bookshelf",
    "road": "street sidewalk",
    "dog": "puppy",
    "body": "person man woman child crowd shirt jacket dress",
    "boat": "ship sailboat canoe",
}
SHORTLISTS = (None, 4, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=4, help="score each n-th photo only")
    args = parser.parse_args()
    bank, dataset = ConceptBank.everyday(), material.msrc(args.data)
    segmenters = {n: Segmenter(bank, refine=False, shortlist=n) for n in SHORTLISTS}
    classes = dataset.table.names
    to_class = np.array([class_of(name, classes) for name in bank.names])
    count = len(classes)
    confusion = {n: np.zeros((count, count + 1), np.int64) for n in SHORTLISTS}
    photos = list(dataset)[:: args.every]
    for sample in track(photos, label="scoring"):
        image, truth = dataset.read(sample)
        known = truth >= 0
        for n, segment in segmenters.items():
            pairs = truth[known] * (count + 1) + to_class[segment(image).labels[known]]
            confusion[n] += np.bincount(pairs, minlength=count * (count + 1)).reshape(count, -1)
    rows = {str(n or "all"): figures(matrix) for n, matrix in confusion.items()}
    for n, row in rows.items():
        print(f"shortlist {n:>4}  " + "  ".join(f"{key} {value}" for key, value in row.items()))
    if args.out is not None:
        facts = {**machine.describe_machine(), "photos": len(photos), "concepts": len(bank)}
        args.out.write_text(json.dumps({**facts, "shortlist": rows}, indent=1) + "\n")


def class_of(concept: str, classes: Sequence[str]) -> int:
    """Index of the class a concept is a kind of, or the number of classes."""
    for i, name in enumerate(classes):
        if concept.replace(" ", "_") in (name, *KINDS.get(name, "").split()):
            return i
    return len(classes)


def figures(confusion: np.ndarray) -> dict[str, float]:
    """Percent: mIoU over the classes, pixel accuracy, and pixels given to a concept of no class."""
    hit = np.diag(confusion)
    union = confusion.sum(1) + confusion[:, :-1].sum(0) - hit
    total = confusion.sum()
    return {
        "miou": round(float(100 * (hit / np.maximum(union, 1))[union > 0].mean()), 1),
        "accuracy": round(float(100 * hit.sum() / total), 1),
        "of no class": round(float(100 * confusion[:, -1].sum() / total), 1),
    }


if __name__ == "__main__":
    main()
