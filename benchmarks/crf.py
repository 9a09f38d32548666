"""The fully connected CRF: ours against pydensecrf2, same inputs, alternating, one process.

    python benchmarks/crf.py [--classes 5 11 21 59 171] [--threads 1 2] [--repeats 3]
                             [--size 321 481] [--out benchmarks/results/crf.json]

Both calls are timed whole: from scores and image to probabilities, lattices included. "first" is
ours on an image size not seen before; "again" is ours when the last call had the same size, whose
position kernel is kept. Seconds are medians; ratios are pydensecrf2's median over ours. On a shared
machine only the calls count during which other processes used less than a quarter of a core, if
there are three such calls of each kind; "kept" is how many counted, "others" the cores that other
processes used during those. With --patience every call first waits for such a moment.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import machine
import numpy as np
import pydensecrf.densecrf as densecrf
import torch
from scipy.ndimage import gaussian_filter
from skimage import data, transform

from recoseg.crf import refine
from recoseg.recipe import CRF

ROOT = Path(__file__).resolve().parents[1]
QUIET = 0.25
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def main() -> None:
    options = arguments()
    photos = [photo(name, tuple(options.size)) for name in PHOTOS]
    rows = []
    for classes in options.classes:
        for threads in options.threads:
            torch.set_num_threads(threads)
            rows.append(compare(photos, classes, options.repeats, options.patience))
    if options.out:
        settings = {"photos": PHOTOS, "size": options.size, "repeats": options.repeats}
        libraries = {name: version(name) for name in ("numpy", "scipy", "pydensecrf2")}
        facts = {**machine.describe_machine(), "versions": libraries, **settings}
        text = json.dumps({**facts, "rows": rows}, indent=1)
        options.out.write_text(text + "\n", encoding="utf-8")


def compare(
    photos: list[np.ndarray], classes: int, repeats: int, patience: float
) -> dict[str, object]:
    """Time both sides on every photo in turn, ``repeats`` rounds."""
    crf = CRF()
    calls: dict[str, list[tuple[float, float]]] = {"theirs": [], "first": [], "again": []}
    agreement, largest, mean = [], [], []
    for turn in range(repeats * len(photos)):
        image = photos[turn % len(photos)]
        scores = colour_scores(image, classes)
        expected = time_calls(
            calls["theirs"], patience, lambda s=scores, i=image: theirs(s, i, crf)
        )
        refine._build_spatial.cache_clear()
        for side in ("first", "again"):
            ours = time_calls(
                calls[side], patience, lambda s=scores, i=image: refine.refine(s, i, crf).numpy()
            )
        agreement.append(float((ours.argmax(0) == expected.argmax(0)).mean()))
        largest.append(float(np.abs(ours - expected).max()))
        mean.append(float(np.abs(ours - expected).mean()))
    quiet = is_undisturbed(calls)
    middle = {side: median(seconds for seconds, _ in values) for side, values in quiet.items()}
    row: dict[str, object] = {
        "classes": classes,
        "threads": torch.get_num_threads(),
        **{side: round(value, 3) for side, value in middle.items()},
        "ratio first": round(middle["theirs"] / middle["first"], 2),
        "ratio again": round(middle["theirs"] / middle["again"], 2),
        "kept": [len(values) for values in quiet.values()],
        "others": round(max(median(o for _, o in values) for values in quiet.values()), 2),
        "label agreement": round(min(agreement), 6),
        "largest difference": float(f"{max(largest):.1e}"),
        "mean difference": float(f"{max(mean):.1e}"),
    }
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def time_calls(
    into: list[tuple[float, float]], patience: float, function: Callable[[], np.ndarray]
) -> np.ndarray:
    """Append the seconds it took and the cores that other processes used meanwhile."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit and others_share(lambda: time.sleep(0.3)) >= QUIET:
        pass
    result: list[np.ndarray] = []
    start = time.perf_counter()
    share = others_share(lambda: result.append(function()))
    into.append((time.perf_counter() - start, share))
    return result[0]


def others_share(function: Callable[[], None]) -> float:
    """Cores that other processes use while the function runs."""
    before, start = others_seconds(), time.perf_counter()
    function()
    return (others_seconds() - before) / (time.perf_counter() - start)


def others_seconds() -> float:
    """CPU seconds used so far by all processes but this one (Linux; 0 elsewhere)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    ticks = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    return busy - time.process_time()


def is_undisturbed(
    calls: dict[str, list[tuple[float, float]]],
) -> dict[str, list[tuple[float, float]]]:
    quiet = {side: [call for call in made if call[1] < QUIET] for side, made in calls.items()}
    return quiet if min(map(len, quiet.values())) >= 3 else calls


def theirs(scores: np.ndarray, image: np.ndarray, crf: CRF) -> np.ndarray:
    """The same inference by pydensecrf2 with its defaults, (C, H, W)."""
    classes, height, width = scores.shape
    logits = torch.from_numpy(scores).flatten(1) / crf.temperature
    field = densecrf.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(-torch.log_softmax(logits, dim=0).numpy())
    field.addPairwiseGaussian(sxy=crf.gaussian_xy, compat=crf.gaussian_weight)
    field.addPairwiseBilateral(
        sxy=crf.bilateral_xy, srgb=crf.bilateral_rgb, rgbim=image, compat=crf.bilateral_weight
    )
    return np.array(field.inference(crf.iterations)).reshape(scores.shape)


def photo(name: str, size: tuple[int, int]) -> np.ndarray:
    resized = transform.resize(getattr(data, name)()[..., :3], size, anti_aliasing=True)
    return np.ascontiguousarray((resized * 255).round().astype(np.uint8))


def colour_scores(image: np.ndarray, classes: int) -> np.ndarray:
    """Scores like a network's: smooth, and related to what is seen.

    Minus the distance of the blurred colours to the colours of some pixels, (C, H, W) float32.
    """
    blurred = gaussian_filter(image.astype(np.float32), (6, 6, 0))
    rng = np.random.default_rng(classes)
    rows = rng.integers(0, image.shape[0], classes)
    centres = blurred[rows, rng.integers(0, image.shape[1], classes)]
    return -0.05 * np.linalg.norm(blurred - centres[:, None, None], axis=-1).astype(np.float32)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[5, 11, 21, 59, 171])
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--repeats", type=int, default=3, help="rounds over the four photos")
    parser.add_argument("--size", type=int, nargs=2, default=[321, 481])
    parser.add_argument("--patience", type=float, default=0, help="seconds per call")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
