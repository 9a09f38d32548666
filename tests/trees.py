"""Tiny datasets in the exact official layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (6, 8)


def photo(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)
    return path


def mask(path: Path, *ids: int, size: tuple[int, int] = SIZE, deep: bool = False) -> Path:
    """A mask whose columns repeat ``ids``; with ``deep`` in 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = np.resize(np.array(ids), size[1])
    pixels = np.tile(row, (size[0], 1)).astype(np.uint16 if deep else np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def cityscapes(root: Path, *ids: int) -> Path:
    for city, frame in (("ulm", "000001"), ("aachen", "000000")):
        stem = f"{city}/{city}_{frame}_000019"
        photo(root / "leftImg8bit" / "val" / f"{stem}_leftImg8bit.png")
        labels = root / "gtFine" / "val"
        mask(labels / f"{stem}_gtFine_labelIds.png", *ids)
        mask(labels / f"{stem}_gtFine_instanceIds.png", 26001, deep=True)
        photo(labels / f"{stem}_gtFine_color.png")
        text(labels / f"{stem}_gtFine_polygons.json", "{}")
    return root


def cocostuff(root: Path, *ids: int, home: str = "annotations") -> Path:
    for name in ("000000000139", "000000000285", "000000000632"):
        photo(root / "images" / "val2017" / f"{name}.jpg")
        mask(root / home / "val2017" / f"{name}.png", *ids)
    curated = root / "curated" / "val2017"
    text(curated / "Coco164kFull_Stuff_Coarse.txt", "000000000632", "000000000139")
    text(curated / "Coco164kFull_Stuff_Coarse_7.txt", "000000000285")
    return root


def kitti_step(root: Path, *ids: int) -> Path:
    for split, sequence in (("val", "0002"), ("train", "0000")):
        photo(root / "training" / "image_02" / sequence / "000000.png")
        mask(root / "panoptic_maps" / split / sequence / "000000.png", *ids)
        path = root / "panoptic_maps" / split / sequence / "000000.png"
        first = np.asarray(Image.open(path))
        # Instances in the other two channels must not be taken for classes.
        Image.fromarray(np.stack([first, first * 0 + 7, first * 0 + 9], 2)).save(path)
    return root


def pascal_voc(root: Path, *ids: int) -> Path:
    for name in ("2007_000033", "2007_000042", "2007_000061"):
        photo(root / "JPEGImages" / f"{name}.jpg")
    for name in ("2007_000033", "2007_000042"):
        path = mask(root / "SegmentationClass" / f"{name}.png", *ids)
        indexed = Image.open(path)
        indexed.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
        indexed.save(path)
    text(root / "ImageSets" / "Segmentation" / "val.txt", "2007_000042", "2007_000033")
    return root


def pascal_context(root: Path, home: str, *ids: int) -> Path:
    from scipy.io import savemat

    for name in ("2008_000002", "2008_000003"):
        photo(root / "JPEGImages" / f"{name}.jpg")
    if home == "trainval":
        (root / home).mkdir(parents=True)
        row = np.resize(np.array(ids, np.uint16), SIZE[1])
        savemat(root / home / "2008_000002.mat", {"LabelMap": np.tile(row, (SIZE[0], 1))})
    else:
        mask(root / home / "2008_000002.png", *ids)
    text(root / "ImageSets" / "SegmentationContext" / "val.txt", "2008_000002")
    return root


def ade20k(root: Path, *ids: int) -> Path:
    photo(root / "images" / "validation" / "ADE_val_00000001.jpg")
    mask(root / "annotations" / "validation" / "ADE_val_00000001.png", *ids)
    return root


def camvid_painted(root: Path, *colours: tuple[int, int, int]) -> Path:
    photo(root / "701_StillsRaw_full" / "0001TP_006690.png")
    painted = root / "LabeledApproved_full" / "0001TP_006690_L.png"
    painted.parent.mkdir(parents=True)
    row = np.resize(np.array(colours, np.uint8), (SIZE[1], 3))
    Image.fromarray(np.tile(row, (SIZE[0], 1, 1))).save(painted)
    return root


def firenet(root: Path) -> Path:
    """A large box of category 7 with a small one of category 3 on top."""
    photo(root / "images" / "a.jpg", (20, 20))
    data = {
        "images": [{"id": 4, "file_name": "a.jpg", "width": 20, "height": 20}],
        "categories": [{"id": 7, "name": "extinguisher"}, {"id": 3, "name": "exit sign"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 3, "segmentation": [[6, 6, 9, 6, 9, 9, 6, 9]]},
            {
                "id": 2,
                "image_id": 4,
                "category_id": 7,
                "segmentation": [[2, 2, 14, 2, 14, 14, 2, 14]],
            },
        ],
    }
    (root / "val.json").write_text(json.dumps(data))
    return root


def folder(root: Path, *ids: int, names: str | None = "names.txt", deep: bool = False) -> Path:
    for name in ("b", "a"):
        photo(root / "images" / f"{name}.jpg")
        mask(root / "masks" / f"{name}.png", *ids, deep=deep)
    if names == "names.txt":
        text(root / names, "sky", "road", "car")
    return root
