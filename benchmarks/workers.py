"""How the CRF and a whole evaluation scale with workers: ``python benchmarks/workers.py``.

Painted photos of 480x360 with 11 classes, both sides in one process: one worker and as many as
there are cores. Every worker computes on one thread, so that N of them use N cores; labels must be
the same. ``--rounds`` alternates the sides and keeps the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch

from recoseg.crf.refine import refine
from recoseg.io.parallel import parallel_map
from recoseg.recipe import LITE

SIZE, CLASSES = (360, 480), 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    facts = machine.describe_machine()
    jobs = list(scenes(args.photos))
    seconds: dict[int, list[float]] = {1: [], args.workers: []}
    sums: set[int] = set()
    for _ in range(args.rounds):
        for workers, times in seconds.items():
            began = time.perf_counter()
            sums.add(sum(parallel_map(label, jobs, workers)))
            times.append(time.perf_counter() - began)
    if len(sums) > 1:
        raise SystemExit("the labels depend on the number of workers")
    one, many = (statistics.median(times) for times in seconds.values())
    row: dict[str, Any] = {
        "photos": args.photos,
        "workers": args.workers,
        "seconds, one worker": round(one, 2),
        "seconds, all workers": round(many, 2),
        "times faster": round(one / many, 2),
    }
    print("  ".join(f"{name} {value}" for name, value in row.items()))
    if args.out is not None:
        args.out.write_text(json.dumps({**facts, "crf": row}, indent=1) + "\n")


def scenes(count: int) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """Scores (C, H, W) and photos: coloured fields with noise."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        coarse = generator.integers(0, 255, (6, 8, 3), np.uint8)
        photo = np.kron(coarse, np.ones((60, 60, 1), np.uint8)).astype(np.int16)
        photo = np.clip(photo + generator.normal(0, 12, photo.shape), 0, 255).astype(np.uint8)
        scores = torch.from_numpy(generator.random((CLASSES, *SIZE), np.float32))
        yield scores, photo


def label(job: tuple[torch.Tensor, np.ndarray]) -> int:
    """A number that stands for the labels."""
    scores, photo = job
    labels = refine(scores, photo, LITE.crf).argmax(0)
    return int((labels * torch.arange(labels.numel()).reshape(labels.shape)).sum())


if __name__ == "__main__":
    main()
