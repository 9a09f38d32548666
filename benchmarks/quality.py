"""The paper's ablations with ``lite``: ``python benchmarks/quality.py DATA --index PATH``.

DATA is as ``material.py`` says. Writes ``quality.json`` into
``--out``: component grid, archive sizes, k and encoders on both labelled sets, and the purity of
retrieval on the two labelled archives. Full reports, banks and counts stay in ``--work``, so that
a run that was stopped goes on. Nothing is tuned per set.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import machine
import material
from safetensors.torch import save_file

from recoseg import Index
from recoseg.datasets import Dataset
from recoseg.errors import MissingWeights
from recoseg.evaluation import purity
from recoseg.evaluation.ablation import ablate
from recoseg.evaluation.sweeps import Sweeps
from recoseg.models import encoders, registry
from recoseg.recipe import LITE

SIZES = (500, 1000, 2000, 4000, 8000, 1_000_000)
KS = (5, 10, 30, 50, 100)
CONTEXTS = ((), ("tree",), ("tree", "sky"), LITE.contexts)
# Photos per class that an archive has; more could not be found.
PURITY = {"caltech101_12": 12, "imagenet_sample": 1}
_LITE0 = re.compile(r"timm:\w+/.*lite0\.safetensors")
_GRID_KEYS = ("denseclip", "lgc", "ce", "crf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, help="where the archive's index is or shall be")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--work", type=Path, default=Path(".quality"))
    parser.add_argument("--images", type=int, help="only so many photos of each set")
    parser.add_argument("--workers", type=int)
    args = parser.parse_args()
    facts = machine.describe_machine()
    index = material.archive_index(args.data, args.index or args.work / "archive.index")
    found = ("lite", "lite:16", *lite0(args.work))
    sweeps = Sweeps(sizes=SIZES, ks=KS, encoders=found, contexts=CONTEXTS)
    results = {
        dataset.name: measure(dataset, index, sweeps, args.work / dataset.name, args.workers)
        for dataset in open_sets(args.data, args.images)
    }
    pure = [measure_purity(args.data / name / "images", args.work, k) for name, k in PURITY.items()]
    args.out.mkdir(parents=True, exist_ok=True)
    data = {**facts, "archive": len(index), "datasets": results, "purity": pure}
    (args.out / "quality.json").write_text(json.dumps(data, indent=1) + "\n")


def open_sets(data: Path, images: int | None) -> list[Dataset]:
    found = [material.msrc(data), material.camvid(data)]
    return found if images is None else [dataset.sample(images) for dataset in found]


def lite0(work: Path) -> list[str]:
    """The maps of EfficientNet-Lite0, if its package is installed, from a file in timm's names."""
    try:
        weights = encoders.find_encoder("lite0").weights or {}
    except MissingWeights as error:
        print(f"left out: {error}")
        return []
    file = work.resolve() / "lite0.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file)
    id = f"timm:{encoders.LITE0}/{file}"
    return [id, f"{id}?stride=16"]


def measure(
    dataset: Dataset, index: Index, sweeps: Sweeps, work: Path, workers: int | None
) -> dict[str, Any]:
    """All points on one set, without what only a page needs."""
    report = ablate(dataset, index, LITE, sweeps, out=work, workers=workers)
    for row in report.grid:
        parts = " + ".join(key for key in _GRID_KEYS if row[key])
        print(f"{dataset.name:8} {parts:28} {100 * row['miou']:5.1f} {100 * row['accuracy']:5.1f}")
    for sweep in report.sweeps:
        for point in sweep["points"]:
            figures = f"{100 * point['miou']:5.1f} {100 * point['accuracy']:5.1f}"
            print(f"{dataset.name:8} {sweep['name']:12} {point['x']!s:15} {figures}")
    full = {row["name"]: row["iou"] for row in report["reco+crf"]["per_class"]}
    return {
        "images": len(dataset),
        "seconds": report.provenance["seconds"],
        "shares": report.provenance["shares"],
        "workers": report.provenance["workers"],
        "grid": report.grid,
        "sweeps": [plainly(sweep) for sweep in report.sweeps],
        "iou of reco + crf": full,
    }


def plainly(sweep: dict[str, Any]) -> dict[str, Any]:
    """A sweep whose encoders are named without this machine's paths."""
    points = [{**point, "x": _LITE0.sub("lite0", str(point["x"]))} for point in sweep["points"]]
    return {**sweep, "points": points} if sweep["name"] == "encoder" else sweep


def measure_purity(photos: Path, work: Path, k: int) -> dict[str, Any]:
    """Precision@k of retrieval on one labelled archive."""
    name = photos.parent.name
    model = registry.load_joint("lite")
    index = Index.build(photos, work / f"{name}.index", model=model)
    found = purity.precision(index, model, k, archive=name)
    print(f"{name:16} precision@{k} {100 * found['mean']:.1f}")
    return found


if __name__ == "__main__":
    main()
