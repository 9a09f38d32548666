"""Evaluation reports, saved as ``report.json``.

Fractions lie in [0, 1]; what there is nothing to say of is null or absent.
"""

from __future__ import annotations

import functools
import json
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.datasets import Dataset
from recoseg.errors import InputError
from recoseg.evaluation.metrics import VOID, Counts, Scores, hungarian, scores
from recoseg.evaluation.systems import System
from recoseg.io import durable

FORMAT, VERSION = "recoseg report", 1
FILE = "report.json"
_DIGITS = 6
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """A report's parts, each of plain JSON types; see ``docs`` of ``report.json`` for the keys.

    Attributes:
        provenance: versions, machine, fingerprints, time.
        dataset: name, split, number of images, classes.
        protocol: the geometry and classes.
        systems: one entry per system, with its scores, classes and confusion matrix.
        grid: rows of the component grid.
        sweeps: named series of points.
        purity: precision of retrieval on labelled archives.
        gallery: pictures of the best and worst cases.
        published: the paper's rows of this protocol, not measured here.
    """

    provenance: Json = field(default_factory=dict)
    dataset: Json = field(default_factory=dict)
    protocol: Json = field(default_factory=dict)
    systems: Sequence[Json] = ()
    grid: Sequence[Json] = ()
    sweeps: Sequence[Json] = ()
    purity: Sequence[Json] = ()
    gallery: Sequence[Json] = ()
    published: Sequence[Json] = ()

    def __getitem__(self, name: str) -> Json:
        """The entry of one system; InputError if it was not measured."""
        for system in self.systems:
            if system["name"] == name:
                return system
        names = ", ".join(str(system["name"]) for system in self.systems)
        raise InputError(f"{name!r} was not measured; there are {names}.")

    @property
    def miou(self) -> float | None:
        """That of the last system, the most refined one."""
        value: float | None = self.systems[-1]["miou"]
        return value

    def replace(self, **parts: Any) -> Report:
        """A report with some parts changed."""
        return replace(self, **parts)

    def to_dict(self) -> dict[str, Any]:
        """The whole of ``report.json``."""
        return {"format": FORMAT, "version": VERSION, **self.__dict__}

    def save(self, folder: str | Path) -> Path:
        """Write ``report.json`` into a folder; its path."""
        path = Path(folder) / FILE
        durable.make_folder(path.parent)
        durable.write(path, json.dumps(self.to_dict(), indent=1, allow_nan=False).encode())
        return path

    @classmethod
    def open(cls, path: str | Path) -> Report:
        """A report that was saved, by its file or folder; InputError if it is none."""
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read as a report ({error}).") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InputError(f"{file} is not a report of recoseg; name a report.json.")
        if data.get("version") != VERSION:
            raise InputError(f"{file} is of version {data.get('version')}; update recoseg.")
        return cls(**{key: data[key] for key in cls.__dataclass_fields__ if key in data})


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """A dataset as a report tells of it."""
    return {
        "name": dataset.name,
        "split": dataset.split,
        "variant": dataset.variant,
        "images": len(dataset),
        "classes": list(dataset.table.classes),
        "colours": [list(colour) for colour in dataset.table.colours],
        "source": dataset.table.source,
    }


def entry(
    system: System,
    dataset: Dataset,
    images: Callable[[], Iterator[Counts]],
    published: Sequence[Json] = (),
) -> dict[str, Any]:
    """A system's part of a report.

    Args:
        system: its name and settings.
        dataset: what it was measured on.
        images: goes through the counts of its samples; called twice, so that none need be held.
        published: the paper's rows of the protocol; the one of the same system goes into the part.
    """
    classes = dataset.table.classes
    total = functools.reduce(operator.add, images())
    columns = hungarian(total.confusion) if system.matched else None
    total = _name_clusters(total, columns)
    found = scores(total)
    return {
        "name": system.name,
        "label": system.label,
        "match": system.match,
        "note": system.note,
        "published": _find_published(system, published),
        "recipe": dict(system.recipe),
        **figures(found),
        "per_class": _per_class(classes, found, total),
        "confusion": total.confusion[:, :-1].tolist(),
        "no_class": total.confusion[:, -1].tolist(),
        "per_image": [
            {"id": sample.id, "miou": _number(scores(_name_clusters(one, columns)).miou)}
            for sample, one in zip(dataset, images(), strict=True)
        ],
        "matching": _describe_matching(classes, columns),
    }


def figures(found: Scores) -> dict[str, float | None]:
    """The four figures of a row of a table."""
    names = ("miou", "accuracy", "fw_iou", "boundary_iou")
    return {name: _number(getattr(found, name)) for name in names}


def _find_published(system: System, published: Sequence[Json]) -> dict[str, float | None] | None:
    """The paper's own figures of a system."""
    for row in published:
        if system.published and row["system"] == system.published:
            return {name: row[name] for name in ("miou", "accuracy")}
    return None


def _name_clusters(counts: Counts, columns: NDArray[np.int64] | None) -> Counts:
    return counts if columns is None else counts.take(columns)


def _per_class(classes: Sequence[str], found: Scores, total: Counts) -> list[dict[str, Any]]:
    pixels = total.confusion.sum(axis=1).tolist()
    rows = zip(classes, found.iou, found.recall, found.boundary, pixels, strict=True)
    return [
        {
            "name": name,
            "iou": _number(iou),
            "accuracy": _number(recall),
            "boundary_iou": _number(boundary),
            "pixels": count,
        }
        for name, iou, recall, boundary, count in rows
    ]


def _describe_matching(
    classes: Sequence[str], columns: NDArray[np.int64] | None
) -> dict[str, int | None] | None:
    if columns is None:
        return None
    clusters = (None if column == VOID else int(column) for column in columns)
    return dict(zip(classes, clusters, strict=True))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), _DIGITS)
