"""How much of each concept a folder of pseudo-labels shows, counted here or by many machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.io.machines import Cluster
from recoseg.io.progress import Progress, track
from recoseg.learning.augment import IGNORE
from recoseg.learning.sampling import Pair, read_labels

IGNORED = "ignored"
# Label maps that a machine counts at a time.
BLOCK = 64


@dataclass(frozen=True)
class CountPixels:
    """Counts of label maps below ``out``: pixels, images, and sum of the confidence in 255ths."""

    out: Path

    def __call__(self, paths: Sequence[Path]) -> NDArray[np.int64]:
        """(3, 256) whole numbers, so that their sum does not depend on an order."""
        total = np.zeros((3, IGNORE + 1), np.int64)
        for path in paths:
            labels = read_labels(path).ravel()
            beside = self.out / "confidence" / path.relative_to(self.out / "labels")
            certain = read_labels(beside).ravel()
            counts = np.bincount(labels, minlength=IGNORE + 1)
            sure = np.bincount(labels, weights=certain, minlength=IGNORE + 1)
            total += np.stack([counts, counts > 0, sure.astype(np.int64)])
        return total


def measure_coverage(
    pairs: Sequence[Pair],
    names: Sequence[str],
    out: Path,
    progress: Progress = True,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Per concept: share of images that show it, of pixels, and its mean confidence."""
    work, paths = CountPixels(out.absolute()), [pair.labels.absolute() for pair in pairs]
    size = 1 if cluster is None else BLOCK
    blocks = [paths[first : first + size] for first in range(0, len(paths), size)]
    counted = map(work, blocks) if cluster is None else cluster.map(work, blocks)
    pixels, images, sure = sum(
        track(counted, len(blocks), "measuring coverage", progress),
        start=np.zeros((3, IGNORE + 1), np.int64),
    )
    total = max(int(pixels.sum()), 1)
    concepts = {
        name: {
            "images": round(float(images[i] / len(pairs)), 4),
            "pixels": round(float(pixels[i] / total), 6),
            "confidence": round(float(sure[i] / 255 / max(pixels[i], 1)), 4),
        }
        for i, name in enumerate(names)
    }
    ignored = round(float(pixels[IGNORE] / total), 6)
    return {"images": len(pairs), IGNORED: ignored, "concepts": concepts}
