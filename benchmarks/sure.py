"""How often a name is right with the whole everyday bank: ``python benchmarks/sure.py DATA``.

All 169 concepts compete on MSRC, CamVid train and VOC (``material.py``) as ``recoseg segment`` does
without names, with the CRF at full resolution. For each value of ``sure``: the share of the pixels
that get a name, and of these the share whose name is right: a concept that is the mask's class or a
kind or part of it (KINDS), or a group that holds such a concept.
Writes ``sure.json`` into ``--out``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import machine
import material
import numpy as np
import vocabulary

from recoseg import ConceptBank, Segmenter
from recoseg.crf.refine import refine
from recoseg.datasets import Dataset
from recoseg.io.progress import track
from recoseg.segmenting.options import USUAL_SHORTLIST

SURE = (None, 0.3, 0.4, 0.5, 0.6, 0.7)
_PEOPLE = "person man woman child baby crowd face hand hat shirt jacket dress"
KINDS = {
    **vocabulary.KINDS,
    "face": _PEOPLE,
    "body": _PEOPLE,
    "person": _PEOPLE,
    "pedestrian": _PEOPLE,
    "bicyclist": f"{_PEOPLE} bicycle",
    "building": "house tower castle church temple wall roof door window",
    "tree": "forest bush leaf plant",
    "road": "street sidewalk path",
    "sidewalk": "path road",
    "traffic sign": "sign",
    "sign": "traffic_light",
    "motorbike": "motorcycle",
    "dining table": "table desk",
    "potted plant": "plant leaf bush flower",
    "tv monitor": "screen computer",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=6, help="score each n-th photo only")
    args = parser.parse_args()
    bank = ConceptBank.everyday()
    segmenters = {s: Segmenter(bank, shortlist=USUAL_SHORTLIST, sure=s) for s in SURE}
    results: dict[str, Any] = {}
    for make in (material.msrc, material.camvid_train, material.voc):
        dataset = make(args.data)
        results[dataset.name] = measure(dataset, bank, segmenters, args.every)
        for sure, row in results[dataset.name]["rows"].items():
            print(f"{dataset.name:13} sure {sure:5} {row}", flush=True)
    if args.out is not None:
        facts = {**machine.describe_machine(), "every": args.every, "concepts": len(bank)}
        (args.out / "sure.json").write_text(json.dumps({**facts, "sets": results}, indent=1) + "\n")


def measure(
    dataset: Dataset, bank: ConceptBank, segmenters: dict[float | None, Segmenter], every: int
) -> dict[str, Any]:
    """Percent of the labelled pixels of every n-th photo."""
    photos = list(dataset)[::every]
    right = {s: right_names(segmenters[s].names, bank, dataset.table.names) for s in SURE}
    sums = {s: np.zeros(4) for s in SURE}
    for sample in track(photos, label=f"scoring {dataset.name}"):
        image, truth = dataset.read(sample)
        known = truth >= 0
        maps = segmenters[None].maps(image)
        sharpened: dict[str, Any] = {}
        for sure, segment in segmenters.items():

            def once(scores: Any, picture: Any, crf: Any, kept: Any = sharpened) -> Any:
                if "crf" not in kept:
                    kept["crf"] = refine(scores, picture, crf)
                return kept["crf"]

            labels = segment.decide(image, maps, True, once).labels[known].astype(np.int64)
            named = labels < len(segment.names) - (sure is not None)
            hit = right[sure][truth[known], labels]
            by_group = named & (labels >= len(bank))
            sums[sure] += [known.sum(), named.sum(), (hit & named).sum(), by_group.sum()]
    rows = {str(sure): figures(*found.tolist()) for sure, found in sums.items()}
    return {"photos": len(photos), "rows": rows}


def right_names(names: tuple[str, ...], bank: ConceptBank, classes: tuple[str, ...]) -> np.ndarray:
    """(classes, names), which names are right on which class."""
    kinds = [
        {one, *(word.replace("_", " ") for word in KINDS.get(one, "").split())} for one in classes
    ]
    homes = [{bank[word].group for word in words if word in bank} for words in kinds]
    return np.array(
        [[n in words or n in home for n in names] for words, home in zip(kinds, homes, strict=True)]
    )


def figures(total: float, named: float, hit: float, by_group: float) -> dict[str, float]:
    return {
        "named": round(100 * named / total, 1),
        "by a group's name": round(100 * by_group / total, 1),
        "right where named": round(100 * hit / max(named, 1), 1),
    }


if __name__ == "__main__":
    main()
