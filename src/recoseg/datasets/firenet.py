"""FireNet, and any set of photos with polygons in one COCO json: the classes are its categories.

    annotations/*.json or *.json      images, annotations, categories
    images/*, <split>/* or beside     the photos, by their file_name

Pixels outside all polygons are ``background``. Where polygons overlap, the smaller one counts: it
lies on top.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from recoseg.datasets import tables
from recoseg.datasets.base import Family, LoadedSplit, Pairs, Sample, Values, read_list
from recoseg.datasets.tables import ClassTable
from recoseg.errors import DatasetError

BACKGROUND = "background"
_SURROUNDINGS = (BACKGROUND, "wall", "floor", "ceiling", "building", "sky", "ground")
_KEYS = {"images", "annotations", "categories"}
Row = Mapping[str, Any]


def _is_present(root: Path) -> bool:
    return any(_is_coco(file) for file in _files(root))


def _load(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    file = _choose_file(root, split)
    data = _parse(file)
    try:
        shapes: dict[object, list[Row]] = {row["id"]: [] for row in data["images"]}
        for row in data["annotations"]:
            shapes[row["image_id"]].append(row)
        photos = {_id(row): (row, shapes[row["id"]]) for row in data["images"]}
        table = _table(data["categories"], file)
        index = {int(row["id"]): table.names.index(row["name"]) for row in data["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{file} is not a whole COCO json ({error!r}); export it anew."
        ) from error

    def values(sample: Sample) -> Values:
        row, own = photos[sample.id]
        return _draw_polygons(row, own, index, file)

    wanted = set(read_list(listing)) if listing else set(photos)
    rows = {id: row for id, (row, _) in sorted(photos.items()) if id in wanted}
    return LoadedSplit(_pairs(root, split, file, rows), values, table)


def _table(categories: list[Row], file: Path) -> ClassTable:
    names = [str(row["name"]) for row in sorted(categories, key=lambda row: int(row["id"]))]
    names = [BACKGROUND, *(name for name in names if name != BACKGROUND)]
    return tables.plain(names, aliases={BACKGROUND: _SURROUNDINGS}, source=str(file))


def _draw_polygons(row: Row, shapes: list[Row], index: Mapping[int, int], file: Path) -> Values:
    """(H, W) class indices of one photo's polygons, the largest first."""
    canvas = Image.new("I", (int(row["width"]), int(row["height"])), 0)
    brush = ImageDraw.Draw(canvas)
    polygons = [
        (_area(corners), index[int(shape["category_id"])], corners)
        for shape in shapes
        for corners in _corners(shape, file)
    ]
    for _, number, corners in sorted(polygons, key=lambda polygon: -polygon[0]):
        brush.polygon(corners, fill=number)
    return np.asarray(canvas)


def _corners(shape: Row, file: Path) -> list[list[tuple[float, float]]]:
    outlines = shape.get("segmentation")
    if not isinstance(outlines, list) or any(len(flat) < 6 or len(flat) % 2 for flat in outlines):
        raise DatasetError(
            f"{file}: annotation {shape.get('id')} is no polygon; export masks as polygons."
        )
    return [list(zip(flat[::2], flat[1::2], strict=True)) for flat in outlines]


def _area(corners: list[tuple[float, float]]) -> float:
    x, y = np.array(corners).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _pairs(root: Path, split: str, file: Path, rows: Mapping[str, Row]) -> Pairs:
    samples, problems = [], []
    homes = (root / "images" / split, root / "images", root / split, root, file.parent)
    for id, row in rows.items():
        places = (home / str(row["file_name"]) for home in homes)
        photo = next((place for place in places if place.is_file()), None)
        if photo is None:
            problems.append(f"{row['file_name']}, which {file} names, is not there; add it.")
        else:
            samples.append(Sample(id, photo, file))
    return Pairs(tuple(samples), tuple(problems))


def _id(row: Row) -> str:
    return str(PurePosixPath(str(row["file_name"])).with_suffix(""))


def _files(root: Path) -> list[Path]:
    return [*sorted((root / "annotations").glob("*.json")), *sorted(root.glob("*.json"))]


def _choose_file(root: Path, split: str) -> Path:
    files = [file for file in _files(root) if _is_coco(file)]
    named = [file for file in files if split in file.stem]
    if len(named) == 1 or len(files) == 1:
        return (named or files)[0]
    raise DatasetError(
        f"{root} has {len(files)} COCO json files and {len(named)} of them name the split "
        f"{split!r}; keep one, or name another split."
    )


def _is_coco(file: Path) -> bool:
    try:
        return _parse(file).keys() >= _KEYS
    except DatasetError:
        return False


def _parse(file: Path) -> Row:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read as JSON ({error}); check the file.") from error
    return data if isinstance(data, dict) else {}


FAMILY = Family(
    "firenet",
    "one COCO json with polygons (images, annotations, categories) and its photos",
    "val",
    _is_present,
    _load,
    None,
)
