"""Ultralytics: data.yaml and labels by what feeds its training, at each photo's own size."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset
from ultralytics.utils import USER_CONFIG_DIR

# It fetches fonts for its plots unless it finds files of their names.
for font in ("Arial.ttf", "Arial.Unicode.ttf"):
    (USER_CONFIG_DIR / font).touch()
SETTINGS = get_cfg(overrides={"mask_ratio": 1, "overlap_mask": True})


def read(format, folder):
    data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    files = sorted(Path(data["train"]).iterdir())
    return data["names"].values(), {file.stem: masks(file, data) for file in files}


def masks(file, data):
    with Image.open(file) as photo:
        width, height = photo.size
    options = {"augment": False, "hyp": SETTINGS, "task": "segment", "data": data}
    fed = YOLODataset(img_path=data["train"], imgsz=max(width, height), **options)
    sample = fed[fed.im_files.index(str(file))]
    _, (left, top) = sample["ratio_pad"]
    numbers = sample["masks"][0].numpy()[top : top + height, left : left + width]
    classes = sample["cls"].ravel().int().tolist()
    return [(data["names"][label], numbers == i) for i, label in enumerate(classes, start=1)]
