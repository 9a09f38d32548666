"""Any folder of ``images/`` and ``masks/``, whose ids a names file explains.

The names file lies beside the two folders or in ``masks/``: ``names.json`` as ``Segmentation.save``
writes it, a JSON object of id to name or a JSON list of names, or ``names.txt`` with one name per
line. 255 is void unless it is named, and so is the name ``unknown``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from recoseg.datasets import tables
from recoseg.datasets.base import Family, LoadedSplit, find_files, pair_files
from recoseg.datasets.tables import ClassTable
from recoseg.errors import DatasetError
from recoseg.io.images import SUFFIXES

_VOID_NAMES = ("unknown", "void")
_MASKS = (".png", ".tif", ".tiff", ".bmp")


def load(root: Path, split: str, listing: Path | None) -> LoadedSplit:
    """Pairs of ``<root>/images`` and ``<root>/masks``, or of the same two below ``<split>``."""
    home = next((place for place in (root, root / split) if _is_present(place)), None)
    if home is None:
        raise DatasetError(f"{root} has no images/ and masks/, nor has its folder {split}.")
    pictures = find_files(home / "images", tuple(SUFFIXES))
    labels = find_files(home / "masks", _MASKS)
    names = _names_file((home, home / "masks", root))
    return LoadedSplit(
        pair_files(pictures, labels, listing),
        table=None if names is None else read_names(names),
    )


def read_names(file: Path) -> ClassTable:
    """The class table of a names file."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        rows = list(_lines(text) if file.suffix == ".txt" else _entries(json.loads(text)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{file} is not a list of names ({error}); see `recoseg datasets` for its forms."
        ) from error
    classes = [(id, name) for id, name in rows if name.lower() not in _VOID_NAMES]
    void = [id for id, name in rows if name.lower() in _VOID_NAMES]
    if not classes:
        raise DatasetError(f"{file} names no class; name at least one.")
    ids, names = zip(*classes, strict=True)
    return tables.plain(names, ids, [*void, 255], source=str(file))


def _is_present(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "masks").is_dir()


def _detect(root: Path) -> bool:
    return any(_is_present(place) for place in (root, root / "val", root / "train"))


def _names_file(places: Iterable[Path]) -> Path | None:
    files = [place / name for place in places for name in ("names.json", "names.txt")]
    return next((file for file in files if file.is_file()), None)


def _lines(text: str) -> Iterable[tuple[int, str]]:
    names = [line.strip() for line in text.splitlines()]
    return ((id, name) for id, name in enumerate(names) if name)


def _entries(data: object) -> Iterable[tuple[int, str]]:
    if isinstance(data, dict):
        return ((int(id), str(name)) for id, name in data.items())
    if not isinstance(data, list):
        raise TypeError("neither a list nor an object")
    return (
        (int(entry["id"]), str(entry["name"])) if isinstance(entry, dict) else (id, str(entry))
        for id, entry in enumerate(data)
    )


FAMILY = Family(
    "folder",
    "images/* and masks/*.png with names.json or names.txt, also below <split>/",
    "val",
    _detect,
    load,
    None,
)
