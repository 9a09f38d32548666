"""Labels that are hard to export, and photos to go with them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recoseg import exporting

NAMES = ("road", "fire hydrant", 'a "b": c, #d', "été")


def hard_labels():
    """Holes, islands in them, parts at every border, single pixels, void; and an empty image."""
    rng = np.random.default_rng(3)
    holed = np.zeros((14, 17), np.int32)
    holed[2:9, 3:12] = 1
    holed[4:7, 5:9] = 2
    holed[5, 6] = 1
    holed[13, 16] = holed[0, 0] = 3
    holed[10:12, :4] = -1
    noisy = rng.integers(-1, 4, (11, 10)).astype(np.int32)
    # No side below ten, which Ultralytics refuses.
    return {"holed.jpg": holed, "deep/noisy one.png": noisy, "empty.png": np.full((12, 10), -1)}


def beside_photos(folder, labels=None):
    """What ``exporting.write`` takes, with a photo of noise in the folder for each image."""
    made = []
    for id, values in (labels or hard_labels()).items():
        path = folder / id
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (*values.shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        made.append((path, values, NAMES))
    return made


def go(items, format, out="out", **options):
    return exporting.write(items, format, out, progress=False, **options)
