"""Rare concepts and the archive's kind: ``python benchmarks/rarity.py DATA --index PATH``.

DATA is as ``material.py`` says. Two of the limits that the paper names, with ``lite``: concepts too
rare for the archive, by hiding all but 0, 1, 3 and 10 of a concept's photos from its search; and
how far an archive of photos of single objects flatters, by archives of the same size, one of
scenes, one of objects. A photo shows a concept if its captions, tags, folder or name say so, which
lets some through. Writes ``rarity.json`` and ``rarity.svg`` into ``--out``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import material
import numpy as np
import torch

import recoseg
from recoseg import ConceptBank, Index, Segmenter
from recoseg.datasets import Dataset
from recoseg.evaluation.class_banks import build_bank
from recoseg.evaluation.encoding_cache import cache_encodings
from recoseg.evaluation.evaluate import evaluate
from recoseg.evaluation.rarity import measure_rarity
from recoseg.evaluation.system_groups import Row, Rows
from recoseg.evaluation.wordlists import word_list
from recoseg.models.registry import Models
from recoseg.recipe import LITE, Recipe
from recoseg.reporting import plots
from recoseg.reporting.reportfile import SweepSeries

DATA = Path(recoseg.__file__).parent / "data"
# Class of MSRC to the words that say that a photo shows it.
SAID = {
    "aeroplane": "aeroplane airplane airplanes plane planes jet jets aircraft",
    "bird": "bird birds",
    "boat": "boat boats ship ships canoe kayak sailboat ketch schooner",
    "car": "car cars",
    "cat": "cat cats kitten tabby",
    "flower": "flower flowers sunflower",
    "horse": "horse horses pony",
    "sheep": "sheep lamb lambs",
}
SCENES, OBJECTS = ("flickr8k_train", "corel5k_train"), ("imagenet_sample", "caltech101_12")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, default=Path(".quality/archive.index"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--images", type=int, default=74, help="photos of each set")
    parser.add_argument("--k", type=int, default=LITE.k, help="photos retrieved per concept")
    only = "classes to hide photos of; none: keep the file's rows, measure the archives alone"
    parser.add_argument("--only", nargs="*", default=list(SAID), help=only)
    parser.add_argument("--sets", nargs="+", default=["msrc", "camvid"])
    parser.add_argument("--seeds", type=int, default=1, help="draws of the larger archive")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine.describe_machine()
    index = Index.open(args.index)
    models = cache_encodings(Models.load(LITE))
    told = dict(summarise(args.data, index))
    recipe = LITE.replace(k=args.k)
    known = {"msrc": material.msrc, "camvid": material.camvid}
    sets = [known[name](args.data).sample(args.images) for name in args.sets]
    data: dict[str, Any] = {**facts, "archive": len(index), "images": [len(d) for d in sets]}
    data["k"] = args.k
    if args.only:
        data["rarity"] = rarity(index, sets[0], told, args.only, recipe, models, args.workers)
        save(args.out, data)
        series = SweepSeries.model_validate(data["rarity"]["reco"])
        (args.out / "rarity.svg").write_text(standalone(plots.plot_sweep(series)))
        facts = {}
    else:
        data = json.loads((args.out / "rarity.json").read_bytes())
    rows = archives(index, sets, recipe, models, args.workers, args.seeds)
    data["archives"] = {**facts, "images": [len(d) for d in sets], "k": args.k, "rows": rows}
    save(args.out, data)


def standalone(plot: str) -> str:
    """A page's plot as a file of its own, in the light colours of the page's style."""
    colours = re.findall(r"--[a-z0-9-]+: #\w{6};", (DATA / "page.css").read_text())
    light = "".join({text.split(":")[0]: text for text in reversed(colours)}.values())
    style = f"<style>:root {{ {light} background: #ffffff; }}</style>"
    opening, rest = plot.split(">", 1)
    return f'{opening} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def save(out: Path, data: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "rarity.json").write_text(json.dumps(data, indent=1) + "\n")


def summarise(data: Path, index: Index) -> Iterator[tuple[str, set[str]]]:
    """Every photo's id and the words that are said of it."""
    words: dict[str, set[str]] = {}
    for file in (data / "flickr8k_train/captions.tsv", data / "corel5k_train/tags.tsv"):
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition("\t")
            words.setdefault(name, set()).update(re.findall("[a-z]+", text.lower()))
    for id in index.ids:
        path = Path(id)
        named = re.findall("[a-z]+", f"{path.parent.name} {path.stem}".lower())
        yield id, words.get(path.name, set()) | set(named)


def rarity(
    index: Index,
    dataset: Dataset,
    told: dict[str, set[str]],
    only: list[str],
    recipe: Recipe,
    models: Models,
    workers: int,
) -> dict[str, Any]:
    """IoU by how many photos of the concept the archive holds, with language and without."""
    shown = {
        name: [id for id, words in told.items() if words & set(said.split())]
        for name, said in SAID.items()
        if name in only
    }
    print({name: len(ids) for name, ids in shown.items()})
    bank = build_bank(dataset.table, word_list("usual"), index, recipe, models=models)
    found: dict[str, Any] = {"photos": {name: len(ids) for name, ids in shown.items()}}
    for kind, denseclip in (("reco", True), ("references alone", False)):
        changed = dataclasses.replace(bank, recipe=recipe.replace(denseclip=denseclip))
        report = measure_rarity(dataset, changed, index, shown, models=models, workers=workers)
        found[kind] = report.sweeps[0]
        for point in report.sweeps[0]["points"]:
            print(f"{kind:16} {point['system']:10} {point['x']:5} {100 * point['miou']:5.1f}")
    return found


def archives(
    index: Index,
    sets: list[Dataset],
    recipe: Recipe,
    models: Models,
    workers: int,
    seeds: int,
) -> list[dict[str, Any]]:
    """Both kinds of archive at the size of the smaller one."""
    kinds = {
        kind: sorted(id for id in index.ids if set(Path(id).parts) & set(homes))
        for kind, homes in (("scenes", SCENES), ("objects", OBJECTS))
    }
    size = min(len(ids) for ids in kinds.values())
    rows = []
    for kind, ids in kinds.items():
        for seed in range(seeds if len(ids) > size else 1):
            order = np.random.default_rng(seed).permutation(len(ids))[:size]
            kept = {ids[place] for place in order}
            for dataset in sets:
                figures = measure(index, kept, dataset, recipe, models, workers)
                rows.append({"kind": kind, "photos": size, "seed": seed, **figures})
                print(rows[-1], flush=True)
    return rows


def measure(
    index: Index,
    kept: set[str],
    dataset: Dataset,
    recipe: Recipe,
    models: Models,
    workers: int,
) -> dict[str, Any]:
    hidden = set(index.ids) - kept
    asked = word_list("usual").words(dataset.table)
    exclude = dict.fromkeys({*asked, *recipe.contexts}, hidden)
    bank = ConceptBank.build(asked, index, recipe, exclude=exclude, models=models, progress=False)
    rows = [Row.of(Segmenter(bank, models=models), False, "reco")]
    alone = dataclasses.replace(bank, recipe=recipe.replace(denseclip=False))
    rows.append(Row.of(Segmenter(alone, models=models), False, "references alone"))
    report = evaluate(Rows(rows), dataset, workers=workers, progress=False)
    figures = {s["name"]: {k: s[k] for k in ("miou", "accuracy")} for s in report.systems}
    return {"dataset": dataset.name, **figures}


if __name__ == "__main__":
    main()
