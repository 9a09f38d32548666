"""How strong the CRF should be: ``python benchmarks/temperature.py DATA --index PATH``.

The banks and sets of ``default.py``, every n-th photo of each (``EVERY``) at full size. A photo's
maps are made once and decided without the CRF, at several temperatures, and with an appearance
kernel that reaches less far. Prints mIoU and pixel accuracy; all classes that the masks of the
whole set show are named. ``--sets`` does some sets, and the others' rows in ``--out`` are kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import default
import machine
import material
import numpy as np
from torch import Tensor

from recoseg import ConceptBank, Segmenter
from recoseg.crf.refine import Field
from recoseg.crf_settings import CRF
from recoseg.datasets import Dataset
from recoseg.evaluation import metrics
from recoseg.io.progress import track
from recoseg.models.registry import Models
from recoseg.recipe import LITE

EVERY = {"msrc": 8, "camvid val": 4, "camvid train": 2, "voc": 4}
REACHES = {LITE.crf.bilateral_xy: (0.05, 0.04, 0.03, 0.02), 30.0: (0.05, 0.03)}  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive; built if absent")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sets", nargs="*", choices=list(EVERY), default=list(EVERY))
    parser.add_argument("--every", type=int, help="score each n-th photo of every set")
    args = parser.parse_args()
    index, models = material.archive_index(args.data, args.index), Models.load(LITE)
    results: dict[str, Any] = {}
    if args.out is not None and args.out.exists():
        results = json.loads(args.out.read_text())["sets"]
    for name, dataset in default.open_sets(args.data).items():
        if name not in args.sets:
            continue
        shown = {known: dataset.table.aliases[known] for known in default.list_shown(dataset)}
        bank = ConceptBank.build(shown, index, LITE, models=models, progress=False)
        step = args.every or EVERY[name]
        found = measure(dataset, Segmenter(bank, models=models), step)
        results[name] = {"every": step, "rows": found}
        for case, row in found.items():
            print(f"{name:13} {case:16} {row['miou']:5.1f} ({row['accuracy']:.1f})", flush=True)
        if args.out is not None:
            facts = machine.describe_machine()
            args.out.write_text(json.dumps({**facts, "sets": results}, indent=1) + "\n")


def measure(dataset: Dataset, segment: Segmenter, every: int) -> dict[str, dict[str, float]]:
    """Percent on every n-th photo, of each case."""
    classes = len(dataset.table.names)
    to_class = np.array([dataset.table.names.index(name) for name in segment.names])
    sums: dict[str, metrics.Counts] = {}
    for sample in track(list(dataset)[::every], label=f"scoring {dataset.name}"):
        image, truth = dataset.read(sample)
        maps = segment.maps(image)
        found = {"no CRF": segment.decide(image, maps, False)}
        for reach, temperatures in REACHES.items():
            fields: dict[float, Field] = {}  # the lattice does not depend on the temperature
            for temperature in temperatures:
                sharpen = partial(sharpen_at, reach=reach, temperature=temperature, kept=fields)
                found[f"{temperature}, {reach:g} pixels"] = segment.decide(
                    image, maps, True, sharpen
                )
        for case, result in found.items():
            added = metrics.count(truth, to_class[result.labels], classes, classes)
            sums[case] = sums[case] + added if case in sums else added
    return {case: figures(counts, to_class) for case, counts in sums.items()}


def sharpen_at(
    scores: Tensor,
    image: Any,
    crf: CRF,
    *,
    reach: float,
    temperature: float,
    kept: dict[float, Field],
) -> Tensor:
    """As the recipe's CRF does, with another reach and temperature."""
    crf = dataclasses.replace(crf, bilateral_xy=reach, temperature=temperature)
    if reach not in kept:
        kept[reach] = Field.of(image, crf)
    return dataclasses.replace(kept[reach], crf=crf).refine(scores)


def figures(counts: metrics.Counts, named: Any) -> dict[str, float]:
    """Percent; the mean is over the named classes."""
    scores = metrics.scores(counts)
    miou = float(np.nan_to_num(scores.iou)[named].mean())
    return {"miou": round(100 * miou, 1), "accuracy": round(100 * scores.accuracy, 1)}


if __name__ == "__main__":
    main()
