"""PASCAL-Context: VOC 2010 photos with labels in one of three forms.

    trainval/*.mat              LabelMap with 459 ids, of which 59 are scored
    59_context_labels/*.png     ids 1 to 59 in the order of 59_labels.txt
    SegmentationClassContext/   ids 1 to 59 in the order of the 459 ids, as converters write them

The last two look alike and differ in order, so the folder's name decides.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoseg.datasets.base import (
    Family,
    LoadedSplit,
    Sample,
    Values,
    find_files,
    pair_files,
    read_png,
)
from recoseg.datasets.tables import read_stored
from recoseg.errors import DatasetError

_ALPHABETICAL = "SegmentationClassContext"
_HOMES = {_ALPHABETICAL: ".png", "59_context_labels": ".png", "trainval": ".mat"}
_LISTS = ("ImageSets/SegmentationContext/{}.txt", "{}.txt")
_MOST = 1 << 16


def _is_present(root: Path) -> bool:
    return (root / "JPEGImages").is_dir() and _home(root) is not None


def _home(root: Path) -> str | None:
    return next((name for name in _HOMES if (root / name).is_dir()), None)


def _load(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    home = _home(root)
    if home is None:
        raise DatasetError(f"{root} has none of {', '.join(_HOMES)}; unpack the labels there.")
    lists = [root / form.format(split) for form in _LISTS]
    chosen = listing or next((file for file in lists if file.is_file()), None)
    if chosen is None:
        raise DatasetError(f"{lists[0]}, the list of the split, is not there; name one yourself.")
    pictures = find_files(root / "JPEGImages", (".jpg",))
    labels = find_files(root / home, (_HOMES[home],))
    return LoadedSplit(pair_files(pictures, labels, chosen), _values)


def _values(sample: Sample) -> Values:
    """Ids in the order of 59_labels.txt, whatever the file's own form."""
    if sample.label.suffix == ".mat":
        return _official("mat")[_matrix(sample.label)]
    values = read_png(sample)
    return _official("alphabet")[values] if sample.label.parent.name == _ALPHABETICAL else values


def _matrix(file: Path) -> Values:
    from scipy.io import loadmat

    try:
        values = np.asarray(loadmat(file)["LabelMap"])
    except Exception as error:
        raise DatasetError(f"{file} holds no LabelMap ({error}); check the file.") from error
    if values.ndim != 2 or values.min() < 0 or values.max() > 459:
        raise DatasetError(f"{file}: a LabelMap is (H, W) with ids from 0 to 459; check the file.")
    return values.astype(np.int64)


@functools.cache
def _official(form: str) -> NDArray[np.int64]:
    """Official id of each id of another form; what is not scored is void, unknown ids stay so."""
    rows = read_stored("pascal_context")["classes"]
    if form == "mat":
        table = np.zeros(_MOST, np.int64)
        table[[row["mat"] for row in rows]] = [row["id"] for row in rows]
        return table
    table = np.arange(_MOST)
    ordered = sorted(rows, key=lambda row: int(row["mat"]))
    table[1 : len(rows) + 1] = [row["id"] for row in ordered]
    return table


FAMILY = Family(
    "pascal_context",
    "JPEGImages/*.jpg with trainval/*.mat, 59_context_labels/ or SegmentationClassContext/*.png",
    "val",
    _is_present,
    _load,
    "pascal_context",
)
