"""Datasets of images and label maps, paired by name and read lazily."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recoseg.datasets.tables import ClassTable
from recoseg.errors import DatasetError
from recoseg.io import images
from recoseg.io.images import RGB

Labels = NDArray[np.int32]
Values = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Sample:
    """An image and its label map.

    Attributes:
        id: what pairs them: the path below the split's folder, without suffix.
        image: the photo.
        label: the file that holds its labels.
    """

    id: str
    image: Path
    label: Path

    @property
    def stamp(self) -> str:
        """Sizes and times of both files: another stamp means other contents."""
        facts = [path.stat() for path in (self.image, self.label)]
        return " ".join(f"{fact.st_size}:{fact.st_mtime_ns}" for fact in facts)


@dataclass(frozen=True)
class Pairs:
    """Paired files, and files without a partner.

    Attributes:
        samples: the pairs, in the order of ids.
        problems: sentences about images without masks and masks without images.
    """

    samples: tuple[Sample, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Images with labels, ready to be read.

    Attributes:
        name: of the family, for example ``"cityscapes"``.
        root: the folder that was given.
        split: for example ``"val"``.
        variant: of the class table, for example ``"27"``.
        table: what the labels mean.
        samples: the pairs.
        values: reads a sample's raw ids (H, W).
        problems: what ``check`` tells; ``open`` refuses a dataset that has any.
    """

    name: str
    root: Path
    split: str
    variant: str
    table: ClassTable
    samples: tuple[Sample, ...]
    values: Callable[[Sample], Values] = field(repr=False)
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def sample(self, count: int) -> Dataset:
        """The dataset of ``count`` images chosen evenly; itself if it has no more."""
        total = len(self.samples)
        if count >= total:
            return self
        chosen = (self.samples[number * total // count] for number in range(count))
        return replace(self, samples=tuple(chosen))

    def read(self, sample: Sample) -> tuple[RGB, Labels]:
        """Image uint8 (H, W, 3) and classes (H, W), -1 for void.

        Raises:
            DatasetError: unreadable labels, an unknown id, or sizes that differ.
            ImageError: the image cannot be read.
        """
        image = images.read(sample.image)
        labels = self.labels(sample)
        if image.shape[:2] != labels.shape:
            raise DatasetError(
                f"{sample.label} is {labels.shape[1]}x{labels.shape[0]} but {sample.image} is "
                f"{image.shape[1]}x{image.shape[0]}; make the mask anew at the image's size."
            )
        return image, labels

    def labels(self, sample: Sample) -> Labels:
        """Classes (H, W) alone, -1 for void."""
        return self.table.decode(self.values(sample), sample.label)


def read_png(sample: Sample) -> Values:
    """The values of a one-channel label map, palette or grey, 8 or 16 bits."""
    return read_values(sample.label)


def read_values(file: Path) -> Values:
    """(H, W) values of a one-channel image; DatasetError for colours."""
    values = read_pixels(file)
    if values.ndim != 2:
        raise DatasetError(
            f"{file} has {values.shape[2]} channels; a label map holds one id per pixel."
        )
    return values


def read_pixels(file: Path) -> Values:
    """The pixels as they are stored: (H, W) indices or (H, W, channels)."""
    try:
        with Image.open(file, formats=("PNG", "TIFF", "BMP", "GIF")) as image:
            pixels = np.asarray(image)
    except Exception as error:
        raise DatasetError(
            f"{file} cannot be read as a label map ({error}); check the file."
        ) from error
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def find_files(folder: Path, suffixes: Sequence[str], ending: str = "") -> dict[str, Path]:
    """Files below a folder by their id: the relative path without ``ending`` and suffix.

    Two files of one id are a DatasetError.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        hidden = path.name.startswith(".")
        if path.suffix.lower() not in suffixes or not stem.endswith(ending) or hidden:
            continue
        id = stem.removesuffix(ending) if ending else stem
        if files.setdefault(id, path) != path:
            raise DatasetError(f"{files[id]} and {path} have one name; rename one of them.")
    return files


def pair_files(
    pictures: Mapping[str, Path], labels: Mapping[str, Path], listing: Path | None = None
) -> Pairs:
    """Images and label maps of equal ids; of a list's ids alone, if there is one."""
    every = sorted(set(pictures) | set(labels))
    wanted = list(dict.fromkeys(read_list(listing))) if listing else every
    samples, problems = [], []
    for id in wanted:
        if id not in pictures:
            problems.append(f"{labels.get(id, id)} has no image; add it, or remove the mask.")
        elif id not in labels:
            problems.append(f"{pictures[id]} has no mask; add it, or remove the image.")
        else:
            samples.append(Sample(id, pictures[id], labels[id]))
    return Pairs(tuple(samples), tuple(problems))


def read_list(file: Path) -> list[str]:
    """The first word of each line of a split's list."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}, the list of the split, cannot be read ({error}).") from error
    return [line.split()[0] for line in lines if line.strip()]


@dataclass(frozen=True)
class LoadedSplit:
    """Files and class table of a dataset's split.

    Attributes:
        pairs: images and label files.
        values: reads a sample's raw ids (H, W).
        table: the class table, where the folder itself says what its ids mean.
    """

    pairs: Pairs
    values: Callable[[Sample], Values] = read_png
    table: ClassTable | None = None


@dataclass(frozen=True)
class Family:
    """A dataset's layout on disk.

    Attributes:
        name: what ``open`` takes.
        about: one line for people.
        split: which one is read if none is named.
        present: whether a folder looks like it.
        load: from a folder, a split, and a list of ids in place of the split's own.
        stored: the name of its class table, None if the folder brings one.
    """

    name: str
    about: str
    split: str
    present: Callable[[Path], bool]
    load: Callable[[Path, str, Path | None], LoadedSplit]
    stored: str | None
