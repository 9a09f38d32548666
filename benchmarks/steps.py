"""The steps from the paper's method to ``LITE``: ``python benchmarks/steps.py DATA --index PATH``.

Four sets with masks (``material.py``), of which CamVid's two are one domain: DenseCLIP, ReCo and
ReCo with the CRF at full resolution, for each of STEPS. Then leave-one-domain-out: the step among
RIVALS that is best by the mean of ReCo + CRF on the other domains, and what it gives on the one
that was left out, beside what ``LITE`` gives there. Writes ``steps.json`` into ``--out``.
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

from recoseg import ConceptBank, Index, Segmenter
from recoseg.datasets import Dataset
from recoseg.evaluation.encoding_cache import cache_encodings
from recoseg.io.progress import track
from recoseg.models.registry import Models
from recoseg.recipe import CRF, LITE

DOMAINS = {"msrc": "msrc", "camvid": "streets", "camvid-train": "streets", "voc": "voc"}
BEFORE = LITE.replace(
    encoder="lite", cosegment="encoder", visual_gain=1.0, centre=False, debias=0.25,
    crf=CRF(temperature=0.1),
)  # fmt: skip
_CENTRED = BEFORE.replace(centre=True)
_WHOLE = _CENTRED.replace(debias=0.0)
_FINE = _WHOLE.replace(encoder="lite:16", cosegment="dense")
STEPS = {
    "before": BEFORE,
    "centred": _CENTRED,
    "centred, scene left in": _WHOLE,
    "fine pixels, own seeds": _WHOLE.replace(encoder="lite:16"),
    "fine pixels, deep seeds": _FINE,
    "visual gain 2": _FINE.replace(visual_gain=2.0),
    "lite": LITE,
}
RIVALS = ("before", "centred", "centred, scene left in", "fine pixels, deep seeds", "visual gain 2")
SYSTEMS = ("denseclip", "reco", "reco+crf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive; built if absent")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--every", type=int, default=1, help="score each n-th photo only")
    args = parser.parse_args()
    index = material.archive_index(args.data, args.index)
    results: dict[str, Any] = {}
    sets = (material.msrc, material.camvid, material.camvid_train, material.voc)
    for make in sets:
        dataset = make(args.data)
        results[dataset.name] = measured(dataset, index, args.every)
        for step, row in results[dataset.name].items():
            print(f"{dataset.name:13} {step:26} {row}", flush=True)
    left_out = {domain: chosen_without(domain, results) for domain in set(DOMAINS.values())}
    print(json.dumps(left_out, indent=1))
    if args.out is not None:
        facts = {**machine.described(), "every": args.every, "archive": len(index)}
        data = {**facts, "datasets": results, "left out": left_out}
        (args.out / "steps.json").write_text(json.dumps(data, indent=1) + "\n")


def measured(dataset: Dataset, index: Index, every: int) -> dict[str, dict[str, list[float]]]:
    """Step to system to mIoU and accuracy, percent."""
    dataset = dataclasses.replace(dataset, samples=dataset.samples[::every])
    aliases = {name: dataset.table.aliases[name] for name in dataset.table.names}
    count = len(aliases)
    sums = {(s, system): np.zeros((count, count), np.int64) for s in STEPS for system in SYSTEMS}
    # Steps with the same encoder see the same maps of a photo.
    models = {r.encoder: cache_encodings(Models.load(r), 1 << 28) for r in STEPS.values()}
    segmenters = {}
    for step, recipe in STEPS.items():
        nets = models[recipe.encoder]
        bank = ConceptBank.build(aliases, index, recipe, models=nets, progress=False)
        baseline = Segmenter(bank, models=nets, system="denseclip")
        segmenters[step] = baseline, Segmenter(bank, models=nets)
    for sample in track(list(dataset), label=f"scoring {dataset.name}"):
        image, truth = dataset.read(sample)
        known = truth >= 0
        for step, (plain, reco) in segmenters.items():
            maps = reco.maps(image)
            text = dataclasses.replace(maps, visual=None)
            found = (
                plain.decide(image, text, False),
                reco.decide(image, maps, False),
                reco.decide(image, maps, True),
            )
            for system, seen in zip(SYSTEMS, found, strict=True):
                pairs = truth[known] * count + seen.labels[known]
                sums[step, system] += np.bincount(pairs, minlength=count**2).reshape(count, -1)
    return {s: {system: figures(sums[s, system]) for system in SYSTEMS} for s in STEPS}


def figures(confusion: np.ndarray) -> list[float]:
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    miou = 100 * (hit[union > 0] / union[union > 0]).mean()
    return [round(float(miou), 1), round(float(100 * hit.sum() / confusion.sum()), 1)]


def chosen_without(domain: str, results: dict[str, Any]) -> dict[str, Any]:
    """The step that is best on the other domains, and what it gives on this one."""

    def score(step: str, where: str) -> float:
        sets = [name for name, home in DOMAINS.items() if home == where]
        return float(np.mean([results[name][step]["reco+crf"][0] for name in sets]))

    others = sorted(set(DOMAINS.values()) - {domain})
    best = max(RIVALS, key=lambda step: np.mean([score(step, other) for other in others]))
    return {
        "chosen": best,
        "mIoU": {step: round(score(step, domain), 1) for step in ("before", best, "lite")},
    }


if __name__ == "__main__":
    main()
