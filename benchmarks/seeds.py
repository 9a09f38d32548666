"""Seeds of one concept: blocks against the literal transcription, same tensors, one process.

    python benchmarks/seeds.py [--images 50] [--threads N] [--out benchmarks/results/seeds.json]

Time is the best of ``--repeats`` runs; memory is the rise of the process's peak while it runs.
The limit is the time of the matrix products alone, each pair of images multiplied once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.oracles import cosegment as literal  # noqa: E402

from recoseg.building.cosegment import cosegment  # noqa: E402

CHANNELS = 384
SIDES = {224: 14, 448: 28}
METHODS = {
    "blocks fp32": torch.float32,
    "blocks bf16": torch.bfloat16,
    "blocks bf16, candidates fp32": None,
}

LIMITS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows, limits = [], {}
    for pixels, side in SIDES.items():
        features, weights = problem(options.images, side)
        truth = run(lambda f=features, w=weights: literal.scores(f, w), options.repeats)
        rows.append(row(pixels, "literal fp32", truth, truth, features))
        limits[pixels] = {
            name: round(limit(options.images, side**2, dtype), 3) for name, dtype in LIMITS.items()
        }
        print(pixels, "seconds of the products alone", limits[pixels], flush=True)
        for name, dtype in METHODS.items():
            ours = run(
                lambda f=features, w=weights, t=dtype: cosegment(f, w, dtype=t).scores,
                options.repeats,
            )
            rows.append(row(pixels, name, ours, truth, features))
        released = run(lambda f=features, w=weights: literal.released_scores(f, w), 1)
        rows.append(row(pixels, "released slice", released, truth, features))
        del truth, released
    if options.out:
        facts = {**machine.describe_machine(), "images": options.images, "channels": CHANNELS}
        facts["seconds of the products alone"] = limits
        text = json.dumps({**facts, "rows": rows}, indent=1)
        options.out.write_text(text + "\n", encoding="utf-8")


def problem(images: int, side: int) -> tuple[Tensor, Tensor]:
    """Smooth random maps around a common direction: (n, d, h, w) features and (n, h, w) weights."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images, CHANNELS, side, side, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    common = torch.randn(1, CHANNELS, 1, 1, generator=generator)
    return smooth + 0.2 * common, torch.rand(images, side, side, generator=generator)


def limit(images: int, pixels: int, dtype: torch.dtype) -> float:
    """Seconds of the n (n + 1) / 2 products of (p, d) with (d, p), at the best of five batches."""
    left, right = torch.randn(2, pixels, CHANNELS).to(dtype)
    batches = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(20):
            left @ right.T
        batches.append((time.perf_counter() - start) / 20)
    return min(batches) * images * (images + 1) / 2


def run(function: Callable[[], Tensor], repeats: int) -> tuple[float, float, Tensor]:
    """Seconds, MiB of memory at the peak above the start, and the scores."""
    best, peak = float("inf"), 0.0
    for _ in range(repeats):
        before = reset_peak()
        start = time.perf_counter()
        scores = function()
        best = min(best, time.perf_counter() - start)
        peak = max(peak, machine.memory("VmHWM") - before)
    return best, peak, scores


def row(
    pixels: int,
    name: str,
    got: tuple[float, float, Tensor],
    truth: tuple[float, float, Tensor],
    features: Tensor,
) -> dict[str, object]:
    seeds, right = literal.seeds(got[2].float()), literal.seeds(truth[2])
    cosine = literal.reference(features, seeds) @ literal.reference(features, right)
    result = {
        "pixels": pixels,
        "method": name,
        "seconds": round(got[0], 3),
        "MiB": round(got[1], 1),
        "times faster": round(truth[0] / got[0], 2),
        "times less memory": round(truth[1] / max(got[1], 0.1), 1),
        "same seeds": int((seeds == right).all(1).sum()),
        "cosine of references": round(float(cosine), 5),
    }
    print("  ".join(f"{key} {value}" for key, value in result.items()), flush=True)
    return result


def reset_peak() -> float:
    """Forget the peak and give the memory now in use, MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return machine.memory("VmRSS")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own choice")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
