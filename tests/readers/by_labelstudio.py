"""Label Studio's SDK: its check of config and predictions, its converter, its brush decoder."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from label_studio_sdk.converter import Converter, brush
from label_studio_sdk.label_interface import LabelInterface
from pycocotools import mask as coder


def accepted(folder):
    """The tasks as an import numbers them, with the predictions as annotations."""
    interface = LabelInterface((folder / "config.xml").read_text())
    interface.validate()
    tasks = json.loads((folder / "tasks.json").read_text())
    for number, task in enumerate(tasks):
        (prediction,) = task.pop("predictions")
        errors = interface.validate_prediction(prediction, return_errors=True)
        if errors:
            raise ValueError(errors)
        task["id"] = number
        task["annotations"] = [{"id": number, "result": prediction["result"]}]
    return interface, tasks


def read(format, folder):
    interface, tasks = accepted(folder)
    converter = Converter(str(folder / "config.xml"), None, download_resources=False)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "tasks.json")
        file.write_text(json.dumps(tasks))
        if format == "labelstudio":
            images = brushes(converter.iter_from_json_file(str(file)))
        else:
            converter.convert_to_coco(str(file), scratch, is_dir=False)
            images = polygons(json.loads(Path(scratch, "result.json").read_text()))
    return interface.get_control().labels, images


def brushes(items):
    images = {}
    for item in items:
        layers = {}
        for control, results in item["output"].items():
            layers |= brush.decode_from_annotation(control, results)
        # Layers are called control-label-number.
        pairs = [(key.split("-", 1)[1].rsplit("-", 1)[0], mask) for key, mask in layers.items()]
        images[item["input"]["image"]] = pairs
    return images


def polygons(coco):
    names = {category["id"]: category["name"] for category in coco["categories"]}
    images = {image["file_name"]: [] for image in coco["images"]}
    known = {image["id"]: image for image in coco["images"]}
    for one in coco["annotations"]:
        image = known[one["image_id"]]
        runs = coder.frPyObjects(one["segmentation"], image["height"], image["width"])
        pair = (names[one["category_id"]], coder.decode(coder.merge(runs)))
        images[image["file_name"]].append(pair)
    return images
