"""The systems that ReCo is compared with, in one table with it.

``python benchmarks/baselines.py DATA --index ARCHIVE.index --out RESULT.json``

DATA holds ``camvid/train``, ``camvid/val`` and ``msrc``. Every baseline is trained on photos alone,
CamVid's on the 367 train frames and MSRC's on every second photo. They are scored on CamVid val, on
the photos that MSRC's were trained on, and on its others, at the photos' own size, with clusters
matched by the truth. One table has them beside ReCo and DenseCLIP by name and beside ReCo+: those
of CamVid as ``results/default.json`` and ``results/adapt.json`` have them, those of MSRC measured
here.

Nothing is chosen by these sets. Trainings, features and counts are kept in ``--work``, so that a
run that was stopped goes on; what is done so far is written after each part.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import material
import named_rows
import torch

from recoseg import evaluate
from recoseg.baselines.baseline import Baseline
from recoseg.baselines.plan import LABELS, preset
from recoseg.baselines.rows import BaselineRows
from recoseg.baselines.training import train
from recoseg.datasets import Dataset
from recoseg.evaluation.protocols import protocol
from recoseg.evaluation.results import Report

# Frames of a film: those within 30 places are nearly the same photo.
GAP = 30
NEAR = "stego, adjacent frames"
FIGURES = ("miou", "accuracy")


@dataclasses.dataclass(frozen=True)
class Set:
    """Photos to train on, labelled photos to score on, and how many clusters are looked for."""

    name: str
    photos: Path
    scored: dict[str, Dataset]
    clusters: tuple[int, ...]
    gap: int


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = {
        **machine.describe_machine(),
        "seeds": args.seeds,
        "rows": {},
        "trained": {},
    }
    result["plans"] = {method: preset(method).to_dict() for method in LABELS}
    sets = [camvid(args.data), msrc(args.data, args.work)]
    result["rows"]["camvid val"] = named_rows.camvid()
    whole, (folder, parts) = material.msrc(args.data), (sets[1].photos, sets[1].scored)
    named = named_rows.msrc(whole, parts, folder, args.data, args.index, args.work / "named")
    result["rows"].update(named)
    # The headline, as many clusters as classes, comes first, and one seed of all sets.
    for place in (0, 1):
        for seeds in dict.fromkeys((tuple(args.seeds[:1]), tuple(args.seeds))):
            for each in sets:
                compare(each, each.clusters[place], seeds, result, args)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive; built if absent")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("baselines.work"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, help="score only so many photos of each set")
    return parser.parse_args()


def camvid(data: Path) -> Set:
    """Trained on the train frames, scored on the val frames; 11 classes."""
    val = material.camvid(data)
    return Set("camvid", data / "camvid" / "train" / "images", {"camvid val": val}, (11, 27), GAP)


def msrc(data: Path, work: Path) -> Set:
    """Trained on every second photo, scored on these and on the others; 23 classes."""
    whole = material.msrc(data)
    halves = [dataclasses.replace(whole, samples=whole.samples[start::2]) for start in (0, 1)]
    photos = work / "msrc-photos"
    photos.mkdir(parents=True, exist_ok=True)
    for sample in halves[0]:
        link = photos / sample.image.name
        if not link.exists():
            link.symlink_to(sample.image.resolve())
    scored = {"msrc, trained on": halves[0], "msrc, others": halves[1]}
    return Set("msrc", photos, scored, (23, 27), 0)


def compare(
    each: Set, clusters: int, seeds: tuple[int, ...], result: dict[str, Any], args: Any
) -> None:
    """Add a set's rows of some clusters and seeds to the result, and write it."""
    trained = dict(trainings(each, clusters, seeds, args))
    for name, row in trained.items():
        result["trained"][f"{each.name}, {name}"] = row["cost"]
    for where, dataset in each.scored.items():
        made = BaselineRows({name: row["made"] for name, row in trained.items()})
        result["rows"].setdefault(where, {}).update(sum_seeds(figures(made, dataset, args)))
        write(args.out, result)


def trainings(
    each: Set, clusters: int, seeds: tuple[int, ...], args: argparse.Namespace
) -> Iterator[tuple[str, Any]]:
    """Name to baseline and cost, of every method and seed; what is there already is read."""
    for seed in seeds:
        for name in (*LABELS, NEAR) if each.gap else LABELS:
            method = name.partition(",")[0]
            row = f"{name}, {clusters} clusters, seed {seed}"
            home = args.work / each.name
            home.mkdir(parents=True, exist_ok=True)
            file = home / f"{row.replace(', ', '-').replace(' ', '-')}.baseline"
            gap = each.gap if method == "stego" and name != NEAR else 0
            plan = preset(method).replace(gap=gap)
            costs = file.with_suffix(".json")
            if not costs.exists():
                costs.write_text(
                    json.dumps(train_one(plan, each.photos, clusters, file, seed, home))
                )
            yield row, {"made": Baseline.open(file), "cost": json.loads(costs.read_text())}


def train_one(plan: Any, photos: Path, clusters: int, file: Path, seed: int, home: Path) -> Any:
    """Train one; minutes of processor and clock, and the most memory the process had meanwhile."""
    Path("/proc/self/clear_refs").write_text("5")
    processor, clock = time.process_time(), time.monotonic()
    made = train(plan, photos, clusters, file, seed=seed, cache=home / "features", progress=False)
    cost = {
        "cpu minutes": round((time.process_time() - processor) / 60, 2),
        "minutes": round((time.monotonic() - clock) / 60, 2),
        "MiB": round(machine.memory("VmHWM")),
        "last round": made.provenance["rounds"][-1],
        "shifts": made.provenance.get("shifts"),
    }
    print(f"{file.stem:48} {cost['cpu minutes']:5.2f} CPU minutes {cost['MiB']} MiB", flush=True)
    return cost


def figures(panel: Any, dataset: Dataset, args: argparse.Namespace) -> dict[str, Any]:
    """Per cent of every system of a panel on a labelled set."""
    shown = dataset.sample(args.images) if args.images else dataset
    report = evaluate(panel, shown, out=args.work / "counts", workers=args.threads, progress=False)
    return {
        system["name"]: {
            **{figure: round(100 * system[figure], 1) for figure in FIGURES},
            "iou": {c["name"]: percent(c["iou"]) for c in system["per_class"]},
            "match": system["match"],
            "note": system["note"],
            "images": len(shown),
        }
        for system in report.systems
    }


def sum_seeds(rows: dict[str, Any]) -> dict[str, Any]:
    """Mean and deviation over the seeds, by method and clusters."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows.items():
        groups.setdefault(name.rpartition(", seed")[0], []).append(row)
    made = {}
    for name, members in groups.items():
        facts = {key: members[0][key] for key in ("match", "note", "images")}
        for figure in FIGURES:
            values = [member[figure] for member in members]
            facts[figure] = round(statistics.mean(values), 1)
            facts[f"{figure} of seeds"] = values
            facts[f"{figure} deviation"] = (
                round(statistics.stdev(values), 1) if len(values) > 1 else None
            )
        made[name] = facts
        print(f"{name:40} mIoU {facts['miou']:5} accuracy {facts['accuracy']:5}", flush=True)
    return made


def percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 1)


def write(out: Path, result: dict[str, Any]) -> None:
    """The result, and beside it a report of each table, which ``recoseg report`` draws."""
    out.write_text(json.dumps(result, indent=1) + "\n")
    provenance = {key: result[key] for key in ("commit", "processor", "torch", "seeds")}
    for where, rows in result["rows"].items():
        name, _, split = where.replace(",", "").partition(" ")
        images = max(row["images"] for row in rows.values())
        Report(
            provenance=provenance,
            dataset={"name": name, "split": split, "images": images},
            protocol=protocol("original").to_dict(),
            systems=[system(title, row) for title, row in rows.items()],
        ).save(out.with_suffix("") / f"{name}-{split}".replace(" ", "-"))


def system(title: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row as a report has it: the mean over the seeds, and in words how far they differ."""
    spread = row.get("miou deviation")
    seeds = f"; mean of {len(row['miou of seeds'])} seeds" if "miou of seeds" in row else ""
    note = row["note"] + seeds + ("" if spread is None else f", mIoU +- {spread}")
    return {
        "name": title,
        "label": title,
        **{figure: row[figure] / 100 for figure in FIGURES},
        "note": note,
        "matching": {} if row["match"] == "hungarian" else None,
        "recipe": {},
    }


if __name__ == "__main__":
    main()
