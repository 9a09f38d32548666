"""How strong the CRF should be: ``python benchmarks/temperature.py DATA --index PATH``.

The banks and sets of ``default.py``, every n-th photo of each (``EVERY``) at full size. ReCo
without the CRF, with it at several temperatures, and with an appearance kernel that reaches less
far. Prints mIoU and pixel accuracy; all classes that the masks of the whole set show are named, and
one that is neither shown nor found in the chosen photos counts 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import default
import machine
import material

from recoseg import ConceptBank, Index, Segmenter, evaluate
from recoseg.evaluation.system_groups import Row, Rows
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
    for name, dataset in default.open_sets(args.data).items():
        if name not in args.sets:
            continue
        step = args.every or EVERY[name]
        chosen = dataclasses.replace(dataset, samples=dataset.samples[::step])
        shown = {known: dataset.table.aliases[known] for known in default.list_shown(dataset)}
        report = evaluate(Rows(list_rows(shown, index, models)), chosen, progress=True)
        rows = {system["name"]: figures(system, shown) for system in report.systems}
        results[name] = {"every": step, "rows": rows}
        for case, row in rows.items():
            print(f"{name:13} {case:16} {row['miou']:5.1f} ({row['accuracy']:.1f})", flush=True)
    if args.out is not None:
        facts = machine.describe_machine()
        args.out.write_text(json.dumps({**facts, "sets": results}, indent=1) + "\n")


def list_rows(names: Mapping[str, Sequence[str]], index: Index, models: Models) -> list[Row]:
    """ReCo without the CRF, then with it at each reach and temperature."""
    rows: list[Row] = []
    for reach, temperatures in REACHES.items():
        recipe = LITE.replace(crf=dataclasses.replace(LITE.crf, bilateral_xy=reach))
        bank = ConceptBank.build(names, index, recipe, models=models, progress=False)
        if not rows:
            rows.append(Row.of(Segmenter(bank, models=models), False, "no CRF"))
        for temperature in temperatures:
            segmenter = Segmenter(bank, temperature=temperature, models=models)
            rows.append(Row.of(segmenter, True, f"{temperature}, {reach:g} pixels"))
    return rows


def figures(system: Any, named: Collection[str]) -> dict[str, float]:
    """Percent; the mean is over the named classes."""
    ious = [row["iou"] or 0.0 for row in system["per_class"] if row["name"] in named]
    miou = sum(ious) / len(ious)
    return {"miou": round(100 * miou, 1), "accuracy": round(100 * system["accuracy"], 1)}


if __name__ == "__main__":
    main()
