"""How good ``unknown`` is: ``python benchmarks/unknown.py DATA --index PATH``.

Half of the classes of ``msrc`` are named, the other half are what the segmenter has never heard of.
For each quantile of the calibrated thresholds: the share of the pixels of unnamed classes that it
calls unknown (to be high), that of named ones (to be low), and the accuracy on the latter among
pixels that it does name. Both halves take their turn. Full resolution, no CRF.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import machine
import material
import numpy as np

from recoseg import ConceptBank, Segmenter, calibrate
from recoseg.datasets import Dataset
from recoseg.models.trio import Models
from recoseg.progress import track
from recoseg.recipe import LITE

QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
SUMS = ("unnamed", "unnamed unknown", "named", "named unknown", "named right", "named right plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive; built if absent")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=2, help="score each n-th photo only")
    args = parser.parse_args()
    index = material.archive_index(args.data, args.index)
    dataset, models = material.msrc(args.data), Models.load(LITE)
    sums = {q: dict.fromkeys(SUMS, 0) for q in QUANTILES}
    for half in (0, 1):
        named = dataset.table.names[half::2]
        bank = ConceptBank.build(named, index, LITE, models=models)
        plain = Segmenter(bank, models=models, refine=False)
        strict = {
            q: Segmenter(
                calibrate(bank, index, quantile=q, models=models),
                models=models,
                refine=False,
                unknown=True,
            )
            for q in QUANTILES
        }
        add(sums, dataset, plain, strict, args.every)
    rows = {str(q): figures(found) for q, found in sums.items()}
    for q, row in rows.items():
        print(f"quantile {q:5} " + "  ".join(f"{name} {value}" for name, value in row.items()))
    if args.out is not None:
        facts = {**machine.described(), "every": args.every}
        args.out.write_text(json.dumps({**facts, "quantiles": rows}, indent=1) + "\n")


def add(
    sums: dict[float, dict[str, int]],
    dataset: Dataset,
    plain: Segmenter,
    strict: dict[float, Segmenter],
    every: int,
) -> None:
    """Count the pixels of one half."""
    to_class = np.array([dataset.table.names.index(name) for name in plain.names])
    for sample in track(list(dataset)[::every], label="scoring"):
        image, truth = dataset.read(sample)
        unnamed = (truth >= 0) & ~np.isin(truth, to_class)
        named = np.isin(truth, to_class)
        right = named & (to_class[plain(image).labels] == truth)
        for q, segment in strict.items():
            unknown = segment(image).labels >= len(to_class)
            masks = (unnamed, unnamed & unknown, named, named & unknown, right & ~unknown, right)
            for name, mask in zip(SUMS, masks, strict=True):
                sums[q][name] += int(mask.sum())


def figures(found: dict[str, int]) -> dict[str, Any]:
    """Percent of pixels."""

    def share(part: str, whole: float) -> float:
        return round(100 * found[part] / max(whole, 1), 1)

    known = found["named"] - found["named unknown"]
    return {
        "unnamed called unknown": share("unnamed unknown", found["unnamed"]),
        "named called unknown": share("named unknown", found["named"]),
        "accuracy where named": share("named right", known),
        "accuracy without unknown": share("named right plain", found["named"]),
    }


if __name__ == "__main__":
    main()
