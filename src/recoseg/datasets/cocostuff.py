"""COCO-Stuff 164k: photos of COCO 2017 beside the stuffthingmaps, and the curated lists.

Splits: ``val`` is the curated list ``Coco164kFull_Stuff_Coarse`` (4,172 images), ``val-7`` the
list ``Coco164kFull_Stuff_Coarse_7`` (2,175), ``val-all`` every image of val2017; likewise train.
"""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.base import Family, LoadedSplit, find_files, pair_files
from recoseg.errors import DatasetError

_LISTS = {"": "Coco164kFull_Stuff_Coarse.txt", "7": "Coco164kFull_Stuff_Coarse_7.txt"}
_LABEL_HOMES = ("annotations", "stuffthingmaps")
_IMAGE_HOMES = ("images", ".")


def _is_present(root: Path) -> bool:
    return any(
        (root / home / f"{half}2017").is_dir() for home in _LABEL_HOMES for half in ("val", "train")
    )


def _load(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    half, _, which = split.partition("-")
    folder = f"{half}2017"
    pictures = find_files(_home(root, _IMAGE_HOMES, folder), (".jpg", ".jpeg", ".png"))
    labels = find_files(_home(root, _LABEL_HOMES, folder), (".png",))
    if which == "all" and listing is None:
        return LoadedSplit(pair_files(pictures, labels))
    return LoadedSplit(pair_files(pictures, labels, listing or _find_list(root, folder, which)))


def _home(root: Path, homes: tuple[str, ...], folder: str) -> Path:
    for home in homes:
        if (root / home / folder).is_dir():
            return root / home / folder
    raise DatasetError(f"{root} has no {homes[0]}/{folder}; unpack that part of COCO-Stuff there.")


def _find_list(root: Path, folder: str, which: str) -> Path:
    if which not in _LISTS:
        raise DatasetError("the splits of cocostuff are val, val-7, val-all and the same of train.")
    for home in (root / "curated" / folder, root / "curated", root):
        if (home / _LISTS[which]).is_file():
            return home / _LISTS[which]
    raise DatasetError(
        f"{root} has no list {_LISTS[which]}; put it into curated/{folder}/, name one yourself, or "
        f"choose the split {folder.removesuffix('2017')}-all."
    )


FAMILY = Family(
    "cocostuff",
    "images/val2017/*.jpg, annotations|stuffthingmaps/val2017/*.png, curated/val2017/*.txt",
    "val",
    _is_present,
    _load,
    "cocostuff",
)
