"""How good ``unknown`` is: ``python benchmarks/unknown.py DATA --index PATH``.

Half of the classes of ``msrc`` are named, the other half are what the segmenter has never heard of.
For each strictness of the calibrated thresholds: the share of the pixels of unnamed classes that it
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
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.system_groups import Row, Rows
from recoseg.io.progress import track
from recoseg.models.registry import Models
from recoseg.recipe import LITE

STRICTNESSES = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95)
PLAIN = "plain"
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
    sums = {q: dict.fromkeys(SUMS, 0) for q in STRICTNESSES}
    for half in (0, 1):
        named = dataset.table.names[half::2]
        bank = ConceptBank.build(named, index, LITE, models=models)
        rows = [Row.of(Segmenter(bank, models=models), False, PLAIN)]
        for q in STRICTNESSES:
            strict = calibrate(bank, index, strictness=q, models=models, progress=False)
            rows.append(Row.of(Segmenter(strict, models=models, unknown=True), False, str(q)))
        add(sums, dataset, Rows(rows), args.every)
    table = {str(q): figures(found) for q, found in sums.items()}
    for q, row in table.items():
        print(f"strictness {q:5} " + "  ".join(f"{name} {value}" for name, value in row.items()))
    if args.out is not None:
        facts = {**machine.describe_machine(), "every": args.every}
        args.out.write_text(json.dumps({**facts, "quantiles": table}, indent=1) + "\n")


def add(sums: dict[float, dict[str, int]], dataset: Dataset, panel: Rows, every: int) -> None:
    """Count the pixels of one half."""
    named_classes = [dataset.table.names.index(name) for name in panel.rows[0].segmenter.bank.names]
    wanted = [system.name for system in panel.systems]
    for sample in track(list(dataset)[::every], label="scoring"):
        image, truth = dataset.read(sample)
        named = np.isin(truth, named_classes)
        unnamed = (truth >= 0) & ~named
        found = dict(panel.run(image, sample, wanted, Clock()))
        to_class = np.array([*named_classes, -1])
        right = named & (to_class[found[PLAIN]] == truth)
        for q in STRICTNESSES:
            unknown = found[str(q)] >= len(named_classes)
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
