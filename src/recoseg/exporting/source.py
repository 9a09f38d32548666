"""Sources of label maps: a results folder, or any iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recoseg.datasets.base import read_values
from recoseg.datasets.folder import read_names
from recoseg.datasets.tables import ClassTable
from recoseg.drawing import palette
from recoseg.errors import InputError
from recoseg.exporting import photos
from recoseg.exporting.regions import VOID, Labels
from recoseg.runs import manifest
from recoseg.segmenting.result import UNKNOWN, Segmentation

EIGHT_BIT_VOID = 255
# As in the names of a folder's labels.
_NOTHING = (UNKNOWN, "void")


@dataclass(frozen=True, eq=False)
class Picture:
    """One image's labels.

    Attributes:
        id: what its annotations call the image, a relative path with forward slashes.
        labels: (H, W) indices of names, -1 for void.
        photo: where the image lies, if that is known.
        confidence: (H, W) probability of each label in [0, 1], if that is known.
    """

    id: str
    labels: Labels
    photo: Path | None = None
    confidence: NDArray[np.float32] | None = None


class LabelSource(Protocol):
    """Pictures, made one at a time, that share their names."""

    names: tuple[str, ...]
    total: int

    def __iter__(self) -> Iterator[Picture]:
        """Each picture once, in an order that is always the same."""


class ResultsFolder:
    """What ``recoseg segment`` or ``recoseg video`` wrote."""

    def __init__(self, folder: Path, images: Path | None = None) -> None:
        """Read the folder's manifest and names.

        Args:
            folder: with ``manifest.json`` and ``labels/``.
            images: the folder of photos that was segmented; None if they are not needed.

        Raises:
            InputError: it is no such folder, or records nothing.
            DatasetError: its names cannot be read.
        """
        self.folder, self.images = folder, images
        if not (folder / manifest.MANIFEST).is_file():
            raise InputError(
                f"{folder} has no {manifest.MANIFEST}; give a folder that `recoseg segment` filled."
            )
        if images is not None and not images.is_dir():
            raise InputError(f"{images} is not a folder; give the one that was segmented.")
        self._files = dict(sorted(manifest.list_finished(folder).items()))
        if not self._files:
            raise InputError(f"{folder} records no segmented image; segment some first.")
        self._tables: dict[Path, ClassTable] = {}
        self.names = self._table(next(iter(self._files.values())).path).names
        self.total = len(self._files)

    def __iter__(self) -> Iterator[Picture]:
        """As ``LabelSource``."""
        for name, labels in self._files.items():
            id, file = _check_relative(name), labels.path
            labels.check()
            table = self._table(file)
            if table.names != self.names:
                raise InputError(
                    f"{file.parent} has other names than the rest; segment all images alike."
                )
            photo = None if self.images is None else self.images / id
            yield _check_size(Picture(id, table.decode(read_values(file), file), photo))

    def _table(self, file: Path) -> ClassTable:
        if file.parent not in self._tables:
            self._tables[file.parent] = read_names(file.parent / "names.json")
        return self._tables[file.parent]


class LabelItems:
    """Any iterable of (image path, label map, names) or (image path, Segmentation)."""

    def __init__(self, items: Iterable[Any]) -> None:
        """Take the names from the first item.

        Raises:
            InputError: there is none, or it is something else.
        """
        self.total = len(items) if isinstance(items, Sequence) else 0
        iterator = iter(items)
        first = next(iterator, None)
        if first is None:
            raise InputError("there is nothing to export; give at least one image's labels.")
        self._items = chain([first], iterator)
        self._told = _unpack(first)[2]
        self.names = tuple(name for name in self._told if name.lower() not in _NOTHING)
        if not self.names:
            raise InputError("the names hold no class; give at least one.")
        if len(set(self.names)) != len(self.names):
            raise InputError("the names hold one of them twice; name each class once.")

    def __iter__(self) -> Iterator[Picture]:
        """As ``LabelSource``."""
        seen: set[str] = set()
        for item in self._items:
            photo, values, names, confidence = _unpack(item)
            if names != self._told:
                raise InputError(
                    f"{photo} has other names than the first image; export them separately."
                )
            id = _check_relative(photo.name if photo.is_absolute() else photo.as_posix())
            if id in seen:
                raise InputError(f"two images are called {id}; give relative paths that differ.")
            seen.add(id)
            labels = _decode(values, names, id)
            yield _check_size(Picture(id, labels, photo if photo.is_file() else None, confidence))


def open_source(source: Any, images: str | Path | None) -> LabelSource:
    """A folder's path, or an iterable, as a ``LabelSource``."""
    if isinstance(source, str | Path):
        return ResultsFolder(Path(source), None if images is None else Path(images))
    if not isinstance(source, Iterable):
        raise InputError(
            f"export takes a folder or (image, labels, names) items, not {type(source).__name__}."
        )
    if images is not None:
        raise InputError("images belongs to a folder of results; items bring their own paths.")
    return LabelItems(source)


def colours_of(names: Sequence[str]) -> NDArray[np.uint8]:
    """(C, 3) RGB of names in their order."""
    return palette.colours(len(names))


def _unpack(
    item: Any,
) -> tuple[Path, NDArray[Any], tuple[str, ...], NDArray[np.float32] | None]:
    if isinstance(item, Sequence) and isinstance(item[0], str | Path):
        if len(item) == 2 and isinstance(item[1], Segmentation):
            return Path(item[0]), item[1].labels, item[1].names, item[1].confidence
        if len(item) == 3 and not isinstance(item[2], str):
            return Path(item[0]), np.asarray(item[1]), tuple(map(str, item[2])), None
    raise InputError(
        "each item must be (image path, label map, names) or (image path, result of a segmenter)."
    )


def _decode(values: NDArray[Any], names: tuple[str, ...], id: str) -> Labels:
    """Indices of the names without ``unknown`` and ``void``; -1 and a nameless 255 are void."""
    if values.ndim != 2 or not values.size or values.dtype.kind not in "iu":
        raise InputError(
            f"the labels of {id} must be whole numbers (H, W), not {values.dtype} {values.shape}."
        )
    void = (values == VOID) | ((values == EIGHT_BIT_VOID) & (len(names) <= EIGHT_BIT_VOID))
    wide = np.where(void, VOID, values.astype(np.int64))
    if wide.min() < VOID or wide.max() >= len(names):
        raise InputError(
            f"the labels of {id} go beyond its {len(names)} names; give a name for each index."
        )
    known = [name for name in names if name.lower() not in _NOTHING]
    table = np.array([known.index(n) if n in known else VOID for n in names] + [VOID], np.int32)
    return np.asarray(table[wide])


def _check_relative(id: str) -> str:
    path = PurePosixPath(id)
    parts = id.replace("\\", "/").split("/")
    if path.is_absolute() or ".." in parts or not path.name:
        raise InputError(f"{id!r} is no path below a folder; name the images by relative paths.")
    return str(path)


def _check_size(picture: Picture) -> Picture:
    """The picture, whose photo, if known, must be there and of its size."""
    if picture.photo is not None:
        height, width = photos.read_upright_size(picture.photo)
        if (height, width) != picture.labels.shape:
            rows, columns = picture.labels.shape
            raise InputError(
                f"{picture.photo} is {width}x{height} and its labels are {columns}x{rows}; "
                "segment it again, or give the photos that were segmented."
            )
    return picture
