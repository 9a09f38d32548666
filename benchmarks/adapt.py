"""ReCo+ on CamVid: ``python benchmarks/adapt.py DATA --index ARCHIVE.index --out RESULT.json``.

DATA holds ``camvid/train`` and ``camvid/val``. The teacher (``lite``, ReCo with CRF) labels the
train frames, of which no mask is read; one student per seed is trained on these labels, and both
are scored on the val frames at their own size with one global confusion matrix (void left out).
Work in ``--work`` is kept and continued: labels, banks and counts are made once, and a killed run
goes on. ``--rounds 2`` trains a second student on the first one's labels. All that can be changed
is stated in the result; nothing is chosen by the val masks.
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
import material
import numpy as np
import torch
from numpy.typing import NDArray

from recoseg import ConceptBank, Segmentation, Segmenter, Student, adapt, calibrate, evaluate
from recoseg.datasets import Dataset
from recoseg.learning.plan import preset
from recoseg.learning.pseudolabels import Ignoring
from recoseg.student.onnx import export

TEACHER = "teacher (ReCo + CRF)"


def main() -> None:
    args = arguments()
    facts = machine.describe_machine()
    args.work.mkdir(parents=True, exist_ok=True)
    val = material.camvid(args.data)
    val = val.sample(args.images) if args.images else val
    teacher = Segmenter(bank(args, val), unknown=args.unknown)
    rows: dict[str, Any] = {TEACHER: score(Segmenter(teacher.bank), val, args.work)}
    tell(rows)
    changes = {name: getattr(args, name) for name in ("iterations", "encoder", "average", "batch")}
    plan = preset(args.preset).replace(balance=args.balance, **changes)
    students = []
    for seed in args.seeds:
        home = args.work / f"seed-{seed}"
        share_labels(args.work / f"seed-{args.seeds[0]}", home)
        began, fresh = time.monotonic(), not (home / "round-1" / "checkpoint.safetensors").exists()
        student = adapt(
            teacher,
            args.data / "camvid" / "train" / "images",
            home,
            preset=plan,
            seed=seed,
            rounds=args.rounds,
            ignoring=Ignoring(args.confidence, args.unknown),
        )
        # A run that was continued has no time of its own.
        minutes = round((time.monotonic() - began) / 60, 1) if fresh else None
        rows[f"student, seed {seed}"] = {**score(student, val, args.work), "minutes": minutes}
        students.append(rows[f"student, seed {seed}"])
        tell(rows)
        if seed == args.seeds[0]:
            rows["onnx"] = onnx(student, home, val, args.work)
    asked = {name: getattr(args, name) for name in ("rounds", "confidence", "unknown")}
    result = {**facts, "plan": plan.to_dict(), **asked, "images": len(val), "rows": rows}
    result.update(summary(rows[TEACHER], students))
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
    parser.add_argument("--balance", type=float)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--confidence", type=float, default=0.0)
    parser.add_argument("--unknown", action="store_true", help="ignore what is below thresholds")
    parser.add_argument("--images", type=int, help="score only so many val frames")
    return parser.parse_args()


def bank(args: argparse.Namespace, dataset: Dataset) -> ConceptBank:
    """CamVid's names, learnt from the archive; calibrated if thresholds are asked for."""
    file = args.work / ("camvid.calibrated.bank" if args.unknown else "camvid.bank")
    if not file.exists():
        index = material.archive_index(args.data, args.index)
        built = ConceptBank.build(dataset.table.names, index)
        (calibrate(built, index) if args.unknown else built).save(file)
    return ConceptBank.open(file)


def share_labels(first: Path, home: Path) -> None:
    """The first round's labels are of the teacher alone, so that one seed's serve all."""
    source, target = (folder / "round-1" / "labels" for folder in (first, home))
    if source.is_dir() and not target.exists():
        shutil.copytree(source, target)


def score(segment: Callable[[Any], Any], val: Dataset, work: Path) -> dict[str, Any]:
    """Figures in percent, and the median seconds per frame, one at a time, of 20 frames."""
    report = evaluate({"measured": segment}, val, out=work / "val")
    row = report["measured"]
    seconds = []
    for sample in list(val)[:: max(1, len(val) // 20)]:
        image, _ = val.read(sample)
        began = time.perf_counter()
        segment(image)
        seconds.append(time.perf_counter() - began)
    return {
        "miou": round(100 * row["miou"], 1),
        "accuracy": round(100 * row["accuracy"], 1),
        "iou": {c["name"]: round(100 * c["iou"], 1) for c in row["per_class"]},
        "seconds_per_frame": round(statistics.median(seconds), 4),
    }


class Exported:
    """An ONNX file, called like the student it was made of."""

    def __init__(self, file: Path, names: tuple[str, ...]) -> None:
        import onnxruntime

        self.names, self.digest = names, f"{file.name} {file.stat().st_mtime_ns}"
        self._session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def __call__(self, image: NDArray[np.uint8]) -> Segmentation:
        """Labels of one image; there are no maps."""
        labels, confidence = self._session.run(None, {"image": image})
        return Segmentation(labels, self.names, confidence, image, torch.zeros(0, *labels.shape))


def onnx(student: Student, home: Path, val: Dataset, work: Path) -> dict[str, Any]:
    """Of the exported files: size, agreement with the student, and figures on the val frames.

    The 8-bit file's ranges are set on train frames.
    """
    photos = sorted((val.root / "train" / "images").iterdir())[::9]
    rows = {}
    for name, int8 in (("student.onnx", False), ("student.int8.onnx", True)):
        made = export(student, home / name, photos=photos, int8=int8)
        rows[name] = {
            "agreement": round(100 * float(made.agreement or 0), 3),
            "megabytes": round(made.path.stat().st_size / 1e6, 1),
            **score(Exported(made.path, student.names), val, work),
        }
    return rows


def summary(teacher: dict[str, Any], students: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over the seeds, the gain over the teacher, and how much faster it is."""
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
