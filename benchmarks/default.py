"""The default recipe on four labelled sets: ``python benchmarks/default.py DATA --index PATH``.

DATA is as ``material.py`` says, with ``voc`` beside it: MSRC, both days of CamVid (val, and every
fourth frame of train) and VOC, of which only the classes are named that its masks show. Names alone
build the bank; DenseCLIP and ReCo, each with and without the CRF, at full resolution with recipe
LITE, one setting for all sets. Counts stay in ``--work``, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import machine
import material
import numpy as np

from recoseg import ConceptBank, Segmenter, datasets, evaluate
from recoseg.datasets import Dataset
from recoseg.evaluation.system_groups import Row, Rows
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.segmenting.options import SystemName

SYSTEMS: tuple[SystemName, ...] = ("denseclip", "reco")
TRAIN_STEP = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive; built if absent")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".quality/default"))
    parser.add_argument("--sets", nargs="*", help="some of the sets' names")
    parser.add_argument("--images", type=int, help="only so many photos of each set")
    args = parser.parse_args()
    found = {name: s for name, s in open_sets(args.data).items() if name in (args.sets or (name,))}
    index, models = material.archive_index(args.data, args.index), Models.load(LITE)
    results: dict[str, Any] = {}
    for name, dataset in found.items():
        chosen = dataset if args.images is None else dataset.sample(args.images)
        names = list_shown(chosen)
        aliases = {known: dataset.table.aliases[known] for known in names}
        bank = ConceptBank.build(aliases, index, LITE, models=models, progress=False)
        found_here = measure(chosen, bank, models, args.work / name)
        results[name] = {"images": len(chosen), "names": names, **found_here}
        for row in results[name]["rows"]:
            figures = f"{100 * row['miou']:5.1f} {100 * row['accuracy']:5.1f}"
            print(f"{name:12} {row['system']:14} {figures}", flush=True)
    if args.out is not None:
        facts = {**machine.describe_machine(), "archive": len(index), "recipe": LITE.to_dict()}
        args.out.write_text(json.dumps({**facts, "datasets": results}, indent=1) + "\n")


def open_sets(data: Path) -> dict[str, Dataset]:
    """The four sets; two days of CamVid count as two."""
    train = datasets.open("camvid", data / "camvid", "train")
    return {
        "msrc": material.msrc(data),
        "camvid val": material.camvid(data),
        "camvid train": train.sample(-(-len(train) // TRAIN_STEP)),
        "voc": datasets.open("folder", data / "voc"),
    }


def list_shown(dataset: Dataset) -> list[str]:
    """Names of the classes that the masks show, in order."""
    seen = np.zeros(len(dataset.table.names), dtype=bool)
    for sample in dataset:
        present = np.unique(dataset.read(sample)[1])
        seen[present[present >= 0]] = True
    return [name for name, there in zip(dataset.table.names, seen, strict=True) if there]


def measure(dataset: Dataset, bank: ConceptBank, models: Models, work: Path) -> dict[str, Any]:
    """Figures of each system, and the IoU of each class of ReCo with the CRF."""
    rows = [
        Row.of(Segmenter(bank, system=system, models=models), refine)
        for system in SYSTEMS
        for refine in (False, True)
    ]
    report = evaluate(Rows(rows), dataset, out=work, progress=True)
    kept = ("miou", "accuracy")
    return {
        "rows": [{"system": s["name"], **{key: s[key] for key in kept}} for s in report.systems],
        "iou of reco + crf": {row["name"]: row["iou"] for row in report["reco+crf"]["per_class"]},
    }


if __name__ == "__main__":
    main()
