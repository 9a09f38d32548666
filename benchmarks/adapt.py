"""ReCo+ on CamVid: ``python benchmarks/adapt.py DATA --index ARCHIVE.index --out RESULT.json``.

DATA holds ``camvid/train`` and ``camvid/val``. The teacher (``lite``, ReCo with CRF) labels the
train frames, of which no mask is read; one student per seed is trained on these labels, and both
are scored on the val frames at their own size with one global confusion matrix (void left out).
Work in ``--work`` is kept and continued: the labels and banks are made once, and a killed run goes
on. ``--rounds 2`` trains a second student on the first one's labels. All that can be changed is
stated in the result; nothing is chosen by the val masks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from lite import NAMES, archive_index, confused, figures, pairs
from PIL import Image

from recoseg import ConceptBank, Segmenter, Student, adapt, calibrate
from recoseg.learning.onnxgraph import export
from recoseg.learning.plan import preset
from recoseg.learning.pseudolabels import Ignoring
from recoseg.progress import track


def main() -> None:
    args = arguments()
    facts = machine.described()
    args.work.mkdir(parents=True, exist_ok=True)
    teacher = Segmenter(bank(args), unknown=args.unknown)
    shown = pairs(args.data / "camvid" / "val")[:: args.every]
    names = teacher.bank.names
    plain = Segmenter(teacher.bank)
    rows: dict[str, Any] = {"teacher (ReCo + CRF)": scored(plain, shown, names)}
    tell(rows)
    plan = preset(args.preset).replace(
        iterations=args.iterations, encoder=args.encoder, average=args.average, batch=args.batch
    )
    for seed in args.seeds:
        home = args.work / f"seed-{seed}"
        share_labels(args.work / "seed-0", home)
        began = time.monotonic()
        student = adapt(
            teacher,
            args.data / "camvid" / "train" / "images",
            home,
            preset=plan,
            seed=seed,
            rounds=args.rounds,
            ignoring=Ignoring(args.confidence, args.unknown),
        )
        rows[f"student, seed {seed}"] = {
            **scored(student, shown, names),
            "minutes": round((time.monotonic() - began) / 60, 1),
        }
        tell(rows)
        if seed == args.seeds[0]:
            rows["onnx"] = onnx(student, home, shown)
    result = {**facts, "plan": plan.to_dict(), **asked(args), "rows": rows, **summary(rows)}
    args.out.write_text(json.dumps(result, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="of the archive; built if absent")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("adapt.work"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--encoder")
    parser.add_argument("--average", type=float)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--confidence", type=float, default=0.0)
    parser.add_argument("--unknown", action="store_true", help="ignore what is below thresholds")
    parser.add_argument("--every", type=int, default=1, help="score each n-th val frame only")
    return parser.parse_args()


def asked(args: argparse.Namespace) -> dict[str, Any]:
    names = ("rounds", "confidence", "unknown", "every")
    return {name: getattr(args, name) for name in names}


def bank(args: argparse.Namespace) -> ConceptBank:
    """CamVid's names, learnt from the archive; calibrated if thresholds are asked for."""
    file = args.work / ("camvid.calibrated.bank" if args.unknown else "camvid.bank")
    if not file.exists():
        index = archive_index(args.data, args.index)
        built = ConceptBank.build(NAMES["camvid/val"].split(","), index)
        (calibrate(built, index) if args.unknown else built).save(file)
    return ConceptBank.open(file)


def share_labels(first: Path, home: Path) -> None:
    """The first round's labels are of the teacher alone, so that one seed's serve all."""
    source, target = (folder / "round-1" / "labels" for folder in (first, home))
    if source.is_dir() and not target.exists():
        shutil.copytree(source, target)


def scored(
    segment: Callable[[Path], Any], shown: list[tuple[Path, Path]], names: tuple[str, ...]
) -> dict[str, Any]:
    """Figures in percent, and the median seconds per frame."""
    matrix = np.zeros((len(names), len(names)), np.int64)
    seconds = []
    for photo, mask in track(shown, label="scoring"):
        began = time.perf_counter()
        labels = segment(photo).labels
        seconds.append(time.perf_counter() - began)
        matrix += confused(np.asarray(Image.open(mask)), labels, len(names))
    return {**figures(matrix, names), "seconds_per_frame": round(statistics.median(seconds), 4)}


def onnx(student: Student, home: Path, shown: list[tuple[Path, Path]]) -> dict[str, Any]:
    photos = [photo for photo, _ in shown[:40]]
    whole = export(student, home / "student.onnx", photos=photos)
    small = export(student, home / "student.int8.onnx", photos=photos, int8=True)
    return {
        made.path.name: {
            "agreement": round(100 * float(made.agreement or 0), 3),
            "megabytes": round(made.path.stat().st_size / 1e6, 1),
        }
        for made in (whole, small)
    }


def summary(rows: dict[str, Any]) -> dict[str, Any]:
    """Mean and spread over the seeds, the gain over the teacher, and how much faster it is."""
    teacher = rows["teacher (ReCo + CRF)"]
    students = [row for name, row in rows.items() if name.startswith("student")]
    mious = [row["miou"] for row in students]
    fastest = statistics.median(row["seconds_per_frame"] for row in students)
    return {
        "student_miou": round(statistics.mean(mious), 2),
        "spread": round(statistics.stdev(mious), 2) if len(mious) > 1 else None,
        "gain": round(statistics.mean(mious) - teacher["miou"], 2),
        "times_faster": round(teacher["seconds_per_frame"] / fastest, 1),
        "threads": torch.get_num_threads(),
    }


def tell(rows: dict[str, Any]) -> None:
    name, row = list(rows.items())[-1]
    print(f"{name:22} mIoU {row['miou']:5} accuracy {row['accuracy']:5}", flush=True)


if __name__ == "__main__":
    main()
