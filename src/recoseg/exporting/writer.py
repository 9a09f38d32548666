"""Export of label maps to other tools' formats, atomically."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recoseg._version import VERSION
from recoseg.errors import InputError
from recoseg.exporting.coco import Coco
from recoseg.exporting.labelstudio import LabelStudio
from recoseg.exporting.rasters import Cvat, Masks, Voc
from recoseg.exporting.records import HuggingFace
from recoseg.exporting.regions import VOID, Labels, Parts, drop_small_regions
from recoseg.exporting.source import LabelSource, colours_of, open_source
from recoseg.exporting.target import PREFIX, FormatWriter, Target
from recoseg.exporting.yolo import Yolo
from recoseg.io import durable, locks
from recoseg.io.progress import Progress, track

RECORD = "recoseg.json"
FORMATS: dict[str, Callable[[Target], FormatWriter]] = {
    "masks": Masks,
    "voc": Voc,
    "coco-rle": lambda target: Coco(target, as_polygons=False),
    "coco-polygons": lambda target: Coco(target, as_polygons=True),
    "yolo": Yolo,
    "cvat": Cvat,
    "labelstudio": lambda target: LabelStudio(target, as_polygons=False),
    "labelstudio-polygons": lambda target: LabelStudio(target, as_polygons=True),
    "huggingface": HuggingFace,
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        out: the folder.
        format: one of ``FORMATS``.
        images: how many.
        annotations: how many regions.
        small: how many regions were left out for their size.
        renamed: images and classes that the format could not hold by their name, old to new.
    """

    out: Path
    format: str
    images: int
    annotations: int
    small: int
    renamed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**dataclasses.asdict(self), "out": str(self.out)}


def write(
    source: Any,
    format: str,
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    parts: Parts | None = None,
    min_area: int = 1,
    images: str | Path | None = None,
    prefix: str = PREFIX,
    progress: Progress = True,
) -> Exported:
    """Write label maps in another tool's format. One image is in memory at a time.

    Args:
        source: a folder that ``recoseg segment`` filled, or an iterable of (image path, label map,
            names) or (image path, result of a segmenter) that all have the same names.
        format: one of ``FORMATS``.
        out: a folder that does not exist yet or is empty; it is filled whole or not at all.
        names: write only these classes, in this order; all other pixels become void.
        parts: one annotation per ``"class"`` and image (the default), or per 4-connected
            ``"component"`` (yolo always).
        min_area: leave out annotations of fewer pixels, which become void.
        images: the folder of photos that was segmented, to check sizes; voc and yolo hold them.
        prefix: of references to images in Label Studio's tasks.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        InputError: an argument, or labels that do not fit their photo or names.
        ImageError, DatasetError: a photo or a label map is missing or unreadable.
    """
    chosen_parts = _parts(format, parts)
    if not isinstance(min_area, int) or isinstance(min_area, bool) or min_area < 1:
        raise InputError(f"min_area must be a whole number of pixels from 1, not {min_area!r}.")
    opened, out = open_source(source, images), Path(out)
    kept = _choose_names(opened.names, names)
    colours = colours_of(opened.names)[[opened.names.index(name) for name in kept]]
    with _fill_folder(out) as folder:
        target = Target(folder, kept, colours, prefix)
        sink = FORMATS[format](target)
        done = annotations = small = 0
        for picture in track(opened, opened.total, f"writing {format}", progress):
            labels = _renumber(picture.labels, opened, kept)
            labels, found, left_out = drop_small_regions(labels, chosen_parts, min_area)
            sink.add(dataclasses.replace(picture, labels=labels), found)
            done, annotations, small = done + 1, annotations + len(found), small + left_out
        sink.close()
        made = Exported(out, format, done, annotations, small, target.renamed)
        _record(target, made, {"parts": chosen_parts, "min_area": min_area})
    return made


def _record(target: Target, made: Exported, settings: dict[str, Any]) -> None:
    facts = {"recoseg": VERSION, "names": list(target.names), **settings, **made.to_dict()}
    target.write(RECORD, json.dumps({**facts, "out": made.out.name}, indent=1).encode())


def _parts(format: str, parts: Parts | None) -> Parts:
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r}; choose {', '.join(FORMATS)}.")
    if parts not in (None, "class", "component"):
        raise InputError(f"parts must be 'class' or 'component', not {parts!r}.")
    if format == "yolo" and parts == "class":
        raise InputError("yolo writes a line for each component; leave parts out.")
    return "component" if format == "yolo" else parts or "class"


def _choose_names(names: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    if wanted is None:
        return tuple(names)
    if isinstance(wanted, str):
        raise InputError(f"names must be a list; write [{wanted!r}].")
    missing = [name for name in wanted if name not in names]
    if missing or not wanted:
        raise InputError(
            f"{missing[0] if missing else 'nothing'!r} was not segmented; "
            f"there are {', '.join(names)}."
        )
    return tuple(dict.fromkeys(wanted))


def _renumber(labels: Labels, source: LabelSource, kept: tuple[str, ...]) -> Labels:
    if kept == source.names:
        return labels
    table = [kept.index(name) if name in kept else VOID for name in source.names]
    return np.asarray(np.array([*table, VOID], np.int32)[labels])


@contextlib.contextmanager
def _fill_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end, or vanishes after an error."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out} exists already; choose another place, or delete it first.")
    partial, lock = durable.hidden(out, "partial"), durable.hidden(out, "lock")
    durable.make_folder(out.parent)
    with locks.hold(lock, str(out), keep=False):
        try:
            with durable.report_write_errors(partial):
                # What a killed run left behind.
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
            yield partial
            with durable.report_write_errors(out):
                if out.is_dir():
                    out.rmdir()
                partial.rename(out)
                durable.sync_folder(out.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
