"""Datasets with labels, read in their official layouts: ``recoseg.datasets.open``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recoseg.datasets import camvid, cocostuff, firenet, folder, kitti_step, pascal_context, tables
from recoseg.datasets.base import Dataset, Family, LoadedSplit, Sample
from recoseg.datasets.parallel import ADE20K, CITYSCAPES, MSRC, PASCAL_VOC
from recoseg.datasets.tables import ClassTable
from recoseg.errors import DatasetError, InputError

__all__ = ["FAMILIES", "ClassTable", "Dataset", "Sample", "available", "detect", "open"]

# The order in which a folder is tried; the plain folder fits most and comes last.
_FAMILIES = (
    CITYSCAPES,
    cocostuff.FAMILY,
    kitti_step.FAMILY,
    pascal_context.FAMILY,
    PASCAL_VOC,
    ADE20K,
    camvid.FAMILY,
    firenet.FAMILY,
    folder.FAMILY,
)
FAMILIES = {family.name: family for family in (*_FAMILIES, MSRC)}


@dataclass(frozen=True)
class DatasetEntry:
    """A line of the list of datasets: its name, variants of its classes and its layout."""

    name: str
    variants: tuple[str, ...]
    layout: str


def available() -> list[DatasetEntry]:
    """Every dataset that ``open`` knows."""
    return [
        DatasetEntry(
            family.name,
            tuple(tables.read_stored(family.stored)["variants"]) if family.stored else (),
            family.about,
        )
        for family in FAMILIES.values()
    ]


def detect(root: str | Path) -> str:
    """The name of the family whose layout a folder has; DatasetError if it has none."""
    folder_ = _check_folder(root)
    for family in _FAMILIES:
        if family.present(folder_):
            return family.name
    raise DatasetError(
        f"{root} has the layout of no dataset known here; see `recoseg datasets` for the layouts."
    )


def open(
    name: str,
    root: str | Path,
    split: str | None = None,
    variant: str | None = None,
    *,
    names: Sequence[str] | None = None,
    listing: str | Path | None = None,
    strict: bool = True,
) -> Dataset:
    """A dataset, its files paired by name; labels are read one by one, later.

    Args:
        name: a family (``available``), or ``"auto"`` to tell it by the folder's layout.
        root: the folder with the official layout.
        split: for example ``"val"``, the default.
        variant: of the classes, for example ``"19"``; by default the dataset's first.
        names: what the ids 0, 1, ... mean, in place of the dataset's own table.
        listing: a text file of ids, one per line, in place of the split's own list.
        strict: refuse files without a partner; else they are told in ``problems`` and left out.

    Raises:
        DatasetError: not laid out so, a photo without mask or a mask without photo.
        InputError: no such dataset or variant.
    """
    place = _check_folder(root)
    family = FAMILIES.get(detect(place) if name == "auto" else name)
    if family is None:
        raise InputError(f"no dataset {name!r}; choose auto or one of {', '.join(FAMILIES)}.")
    part = split or family.split
    loaded = family.load(place, part, Path(listing) if listing else None)
    table = _table(family, loaded, variant, names, place)
    if not loaded.pairs.samples and not loaded.pairs.problems:
        raise DatasetError(f"{place} holds no image of the split {part!r}; name another split.")
    problems = loaded.pairs.problems
    if strict and problems:
        more = f" ({len(problems) - 1} more such)" if len(problems) > 1 else ""
        raise DatasetError(problems[0] + more)
    return Dataset(
        name=family.name,
        root=place,
        split=part,
        variant=variant or str(len(table.classes)),
        table=table,
        samples=loaded.pairs.samples,
        values=loaded.values,
        problems=problems,
    )


def _table(
    family: Family,
    loaded: LoadedSplit,
    variant: str | None,
    names: Sequence[str] | None,
    root: Path,
) -> ClassTable:
    if names is not None:
        return tables.plain(list(names), source="names given by the user")
    if family.stored is not None:
        return tables.table(family.stored, variant)
    if loaded.table is None:
        raise DatasetError(
            f"nothing says what the ids of {root} mean; add names.txt with one name per line, or "
            "give the names."
        )
    return loaded.table


def _check_folder(root: str | Path) -> Path:
    place = Path(root)
    if not place.is_dir():
        raise DatasetError(f"{root} is not a folder; give the one that holds the dataset.")
    return place
