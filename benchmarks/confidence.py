"""How honest confidence is: ``python benchmarks/confidence.py DATA --index PATH``.

For ``msrc`` and ``camvid``, ReCo with the CRF at full resolution: the mean confidence of the pixels
beside their accuracy, the expected calibration error (ten bins), and the accuracy of the pixels in
each bin. Once with the softmax of the scores at the recipe's ``confidence_temperature``, once with
the CRF's own probabilities; the labels are the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import machine
import material
import numpy as np

from recoseg import ConceptBank, Segmenter
from recoseg.crf.refine import refine
from recoseg.datasets import Dataset
from recoseg.io.progress import track
from recoseg.models.registry import Models
from recoseg.recipe import LITE

BINS = 10
WAYS = {"of scores": LITE, "of the crf": LITE.replace(confidence_temperature=None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive; built if absent")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=4, help="score each n-th photo only")
    args = parser.parse_args()
    index, models = material.archive_index(args.data, args.index), Models.load(LITE)
    results = {}
    for dataset in (material.msrc(args.data), material.camvid(args.data)):
        aliases = {name: dataset.table.aliases[name] for name in dataset.table.names}
        bank = ConceptBank.build(aliases, index, LITE, models=models, progress=False)
        results[dataset.name] = measure(dataset, bank, models, args.every)
        for way, row in results[dataset.name].items():
            print(dataset.name, way, row)
    if args.out is not None:
        facts = {**machine.describe_machine(), "every": args.every}
        args.out.write_text(json.dumps({**facts, "datasets": results}, indent=1) + "\n")


def measure(dataset: Dataset, bank: ConceptBank, models: Models, every: int) -> dict[str, Any]:
    """Figures of both ways on one set."""
    segmenters = {
        way: Segmenter(dataclasses.replace(bank, recipe=recipe), models=models)
        for way, recipe in WAYS.items()
    }
    sums = {way: np.zeros((3, BINS)) for way in WAYS}
    for sample in track(list(dataset)[::every], label="scoring"):
        image, truth = dataset.read(sample)
        known = truth >= 0
        first = next(iter(segmenters.values()))
        maps, sharpened = first.maps(image), {}
        for way, segmenter in segmenters.items():

            def once(scores: Any, picture: Any, crf: Any, kept: Any = sharpened) -> Any:
                if "crf" not in kept:
                    kept["crf"] = refine(scores, picture, crf)
                return kept["crf"]

            seen = segmenter.decide(image, maps, True, once)
            sure = seen.confidence[known].astype(np.float64)
            right = seen.labels[known] == truth[known]
            place = np.minimum((sure * BINS).astype(int), BINS - 1)
            for row, weights in zip(sums[way], (None, sure, right), strict=True):
                row += np.bincount(place, weights, BINS)
    return {way: figures(*found) for way, found in sums.items()}


def figures(count: np.ndarray, sure: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Percent of pixels."""
    total = count.sum()
    each = 100 * right / np.maximum(count, 1)
    return {
        "confidence": round(float(100 * sure.sum() / total), 1),
        "accuracy": round(float(100 * right.sum() / total), 1),
        "calibration error": round(float(100 * np.abs(sure - right).sum() / total), 1),
        "accuracy by confidence": [
            round(float(a), 1) if n > total / 1000 else None
            for a, n in zip(each, count, strict=True)
        ],
        "pixels by confidence": [round(float(100 * n / total), 1) for n in count],
    }


if __name__ == "__main__":
    main()
