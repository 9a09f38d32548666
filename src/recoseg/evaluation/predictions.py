"""A folder of label maps, made by any system anywhere, as a system to be measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from recoseg.datasets import ClassTable, Dataset, Sample
from recoseg.datasets.base import Values, find_files, read_values
from recoseg.datasets.folder import read_names
from recoseg.errors import DatasetError, InputError
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.metrics import VOID
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.systems import Labels, Match, System, digest
from recoseg.io.images import RGB

CLUSTERS = 1024
_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


class Predictions:
    """A panel of one: label maps matched to the dataset's images by name.

    Matched by name, the ids mean what ``names.json`` or ``names.txt`` in the folder (or above it)
    says, else the dataset's classes in their order. Unnamed clusters may have any ids below 1024.
    In 8-bit maps 255 is no label at all.
    """

    def __init__(
        self,
        folder: Path,
        dataset: Dataset,
        protocol: Protocol,
        *,
        match: Match = "name",
        name: str = "predictions",
    ) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; give the one that holds the label maps.")
        self._protocol = protocol
        self._files = _match_files(folder, dataset)
        named = match == "name"
        self._ids, names = _read_meaning(folder, dataset.table) if named else _clusters()
        stamps = sorted(_stamp(file) for file in self._files.values())
        key = digest(stamps, named, names)
        recipe = {"folder": str(folder)}
        self.systems = (System(name, name, names, key, recipe, match=match),)

    def run(
        self, image: RGB, sample: Sample, wanted: Collection[str], clock: Clock
    ) -> Iterator[tuple[str, Labels]]:
        """The label map of the image, brought to the protocol's geometry if it is not yet."""
        if self.systems[0].name in wanted:
            with clock("read"):
                labels = self._labels(sample, (image.shape[0], image.shape[1]))
            yield self.systems[0].name, labels

    def _labels(self, sample: Sample, size: tuple[int, int]) -> Labels:
        file = self._files[sample.id]
        values = read_values(file)
        labels = _indices(values, self._ids, file)
        if labels.shape != size:
            # A map at the image's own size goes the way of the truth.
            labels = self._protocol.labels(labels)
        if labels.shape != size:
            raise DatasetError(
                f"{file} is {values.shape[1]}x{values.shape[0]}, which is neither the image's own "
                f"size nor the protocol's ({size[1]}x{size[0]}); make it anew."
            )
        return labels


def _match_files(folder: Path, dataset: Dataset) -> dict[str, Path]:
    """Each sample's file: of the same path below the folder, or of the same name anywhere."""
    files = find_files(folder, _SUFFIXES)
    by_name: dict[str, list[Path]] = {}
    for id, path in files.items():
        by_name.setdefault(id.rsplit("/", maxsplit=1)[-1], []).append(path)
    matched = {}
    for sample in dataset:
        base = sample.id.rsplit("/", maxsplit=1)[-1]
        options = (sample.id, sample.image.stem)
        exact = next((files[id] for id in options if id in files), None)
        loose = {p for name in (base, sample.image.stem) for p in by_name.get(name, ())}
        if exact is None and len(loose) != 1:
            raise DatasetError(
                f"{folder} has {len(loose)} label maps for {sample.id}; name each as its image."
            )
        matched[sample.id] = exact or loose.pop()
    if len(set(matched.values())) < len(matched):
        raise DatasetError(f"one label map of {folder} fits two images; keep their folders apart.")
    return matched


def _read_meaning(folder: Path, table: ClassTable) -> tuple[dict[int, int], tuple[str, ...]]:
    """Index of each id, and the names the indices stand for."""
    places = (folder, folder.parent)
    files = [p / name for p in places for name in ("names.json", "names.txt")]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return {i: i for i in range(len(table.names))}, table.names
    told = read_names(file)
    void = dict.fromkeys(told.void, VOID)
    return {**void, **{id: i for i, id in enumerate(told.ids)}}, told.names


def _clusters() -> tuple[dict[int, int], tuple[str, ...]]:
    return {i: i for i in range(CLUSTERS)}, tuple(f"cluster {i}" for i in range(CLUSTERS))


def _indices(values: Values, ids: dict[int, int], file: Path) -> Labels:
    nothing = {255: VOID} if values.dtype == np.uint8 else {}
    known = {**ids, **nothing}
    present = np.unique(values)
    unknown = [int(value) for value in present if int(value) not in known]
    if unknown:
        raise DatasetError(
            f"{file} holds the id {unknown[0]}, which has no name; add it to names.json, or use "
            "--match hungarian for unnamed clusters."
        )
    table = np.array([known[int(value)] for value in present], np.int32)
    indices: Labels = table[np.searchsorted(present, values)]
    return indices


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{file.name}:{status.st_size}:{status.st_mtime_ns}"
