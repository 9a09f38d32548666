"""OpenCV, as tools draw polygons with it: fractions cut off or, where we promise it, rounded."""

from __future__ import annotations

import json

import cv2
import numpy as np
import yaml

CUT = (np.floor,)
BOTH = (np.floor, np.round)


def drawn(points, size, ways):
    """The mask of a polygon (n, 2) in an image (height, width), the same in all ways."""
    masks = []
    for whole in ways:
        mask = np.zeros(size, np.uint8)
        cv2.fillPoly(mask, [whole(points).astype(np.int32)], 1)
        masks.append(mask)
    if any((mask != masks[0]).any() for mask in masks):
        raise ValueError("rounding gives another mask than cutting off")
    return masks[0]


def coco(folder):
    whole = json.loads((folder / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in whole["categories"]}
    known = {image["id"]: image for image in whole["images"]}
    images = {image["file_name"]: [] for image in whole["images"]}
    for one in whole["annotations"]:
        image = known[one["image_id"]]
        for ring in one["segmentation"]:
            mask = drawn(np.reshape(ring, (-1, 2)), (image["height"], image["width"]), CUT)
            images[image["file_name"]].append((names[one["category_id"]], mask))
    return names.values(), images


def yolo(folder):
    images, names = {}, yaml.safe_load((folder / "data.yaml").read_text())["names"]
    for file in sorted((folder / "labels/train").iterdir()):
        (photo,) = (folder / "images/train").glob(f"{file.stem}.*")
        size = cv2.imread(str(photo)).shape[:2]
        images[file.stem] = []
        for line in file.read_text().splitlines():
            label, *numbers = line.split()
            points = np.reshape(np.array(numbers, float), (-1, 2)) * size[::-1]
            images[file.stem].append((names[int(label)], drawn(points, size, BOTH)))
    return names.values(), images


def labelstudio(folder):
    images = {}
    for task in json.loads((folder / "tasks.json").read_text()):
        pairs = images[task["data"]["image"]] = []
        for one in task["predictions"][0]["result"]:
            size = one["original_height"], one["original_width"]
            points = np.array(one["value"]["points"]) / 100 * size[::-1]
            (name,) = one["value"]["polygonlabels"]
            pairs.append((name, drawn(points, size, CUT)))
    return None, images


READERS = {"coco-polygons": coco, "yolo": yolo, "labelstudio-polygons": labelstudio}


def read(format, folder):
    return READERS[format](folder)
