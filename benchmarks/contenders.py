"""What leaving concepts out before the CRF costs: ``python benchmarks/contenders.py DATA``.

``Recipe.contenders`` lets only the 32 concepts that win most of a quick look into the CRF. Here the
same maps are decided with 32 and with all, for the 59 classes of PASCAL-Context (built from
``--index``) and the 169 concepts of the everyday bank, on photos of MSRC and VOC (``material.py``),
at the default's CRF temperature and at the paper's, without and with the CRF. A pixel is right if
its concept is the mask's class or a kind of it. Writes ``contenders.json`` into ``--out``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine
import material
import numpy as np
import torch
import vocabulary

from recoseg import ConceptBank, Index, Segmenter
from recoseg.datasets import Dataset, tables
from recoseg.evaluation.class_banks import build_bank
from recoseg.evaluation.wordlists import word_list
from recoseg.io.progress import track
from recoseg.models.registry import Models
from recoseg.recipe import LITE, PAPER

KINDS = {
    **vocabulary.KINDS,
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "person": "man woman child baby crowd face",
    "dining table": "table desk",
    "potted plant": "plant",
    "tv monitor": "tv_monitor screen computer",
    "body": "person man woman child crowd shirt jacket dress",
}
# Without the CRF, with the default's, and with the CRF of the paper's temperature.
CASES = {
    "no CRF": (False, LITE.crf.temperature),
    "CRF": (True, LITE.crf.temperature),
    "CRF, temperature 1": (True, PAPER.crf.temperature),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=8, help="score each n-th photo only")
    args = parser.parse_args()
    torch.set_num_threads(1)
    models, table = Models.load(LITE), tables.table("pascal_context")
    context = build_bank(table, word_list("usual"), Index.open(args.index), LITE, models=models)
    banks = {"pascal-context": context, "everyday": ConceptBank.everyday()}
    rows: list[dict[str, Any]] = []
    for dataset in (material.msrc(args.data), material.voc(args.data)):
        photos = list(dataset)[:: args.every]
        for name, bank in banks.items():
            found = compare(dataset, photos, bank, models)
            for case, figures in found.items():
                facts = {"set": dataset.name, "photos": len(photos), "bank": name}
                rows.append({**facts, "concepts": len(bank), "case": case, **figures})
                print(rows[-1], flush=True)
    if args.out is not None:
        result = {**machine.describe_machine(), "contenders": LITE.contenders, "rows": rows}
        (args.out / "contenders.json").write_text(json.dumps(result, indent=1) + "\n")


def compare(
    dataset: Dataset, photos: Sequence[Any], bank: ConceptBank, models: Models
) -> dict[str, dict[str, Any]]:
    """Agreement, quality and processor seconds of both, in every case."""
    segmenters = {
        (case, most): Segmenter(
            dataclasses.replace(bank, recipe=bank.recipe.replace(contenders=most)),
            refine=refine,
            temperature=temperature,
            models=models,
        )
        for case, (refine, temperature) in CASES.items()
        for most in (LITE.contenders, None)
    }
    classes = dataset.table.names
    to_class = np.array([class_of(name, classes) for name in bank.names])
    seconds = dict.fromkeys(segmenters, 0.0)
    confusion = {key: np.zeros((len(classes), len(classes) + 1), np.int64) for key in segmenters}
    equal: dict[str, list[float]] = {case: [] for case in CASES}
    for sample in track(photos, label=f"{dataset.name}, {len(bank)} concepts"):
        image, truth = dataset.read(sample)
        maps = segmenters["CRF", None].maps(image)
        labels = {}
        for key, segment in segmenters.items():
            began = time.process_time()
            labels[key] = segment.decide(image, maps).labels
            seconds[key] += time.process_time() - began
            known = truth >= 0
            np.add.at(confusion[key], (truth[known], to_class[labels[key][known]]), 1)
        for case in CASES:
            equal[case].append(float((labels[case, LITE.contenders] == labels[case, None]).mean()))
    return {
        case: {
            "equal labels": percent(float(np.mean(equal[case]))),
            "equal labels, worst photo": percent(min(equal[case])),
            **{
                "all" if most is None else str(most): {
                    **vocabulary.figures(confusion[case, most]),
                    "seconds a photo": round(seconds[case, most] / len(photos), 2),
                }
                for most in (LITE.contenders, None)
            },
        }
        for case in CASES
    }


def class_of(concept: str, classes: Sequence[str]) -> int:
    """Index of the first class that a concept is or is a kind of, or the number of classes."""
    word = concept.replace(" ", "_")
    for i, name in enumerate(classes):
        if concept == name or word in (name, *KINDS.get(name, "").split()):
            return i
    return len(classes)


def percent(share: float) -> float:
    return round(100 * share, 2)


if __name__ == "__main__":
    main()
