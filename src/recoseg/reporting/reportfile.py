"""``report.json`` read and checked: each value has its type and range, or a sentence says why.

An absent key is an empty part of the page; a wrong value is an error that names its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recoseg.errors import ReportError
from recoseg.evaluation.results import FORMAT, VERSION
from recoseg.reporting.fields import Fields
from recoseg.reporting.report import (
    VIEWS,
    ClassScore,
    Example,
    GridRow,
    Point,
    Published,
    Purity,
    Report,
    Sweep,
    System,
)

FILE = "report.json"
PUBLISHED = Path(__file__).parents[1] / "data" / "published.json"


def read(path: Path) -> Report:
    """The report of a file, or of a folder that holds ``report.json``.

    Raises:
        ReportError: missing, damaged, something else, of a newer version, or a value out of range.
    """
    file = path / FILE if path.is_dir() else path
    fields = _load(file)
    try:
        return _parse(fields, file.parent)
    except ReportError as error:
        raise ReportError(
            f"{file} cannot be shown: {str(error).rstrip('.')}; write it again with "
            "`recoseg evaluate`."
        ) from error


def _load(file: Path) -> Fields:
    data = _json(file, "give the report.json of `recoseg evaluate`, its folder, or a bank")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ReportError(f"{file} is not a report; give the report.json of `recoseg evaluate`.")
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ReportError(
            f"{file} has version {version!r} and this recoseg reads up to {VERSION}; upgrade it."
        )
    return Fields(data)


def _json(file: Path, remedy: str) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise ReportError(f"{file} cannot be read ({error.strerror}); {remedy}.") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file} is damaged or cut short; {remedy}.") from error


def _parse(fields: Fields, folder: Path) -> Report:
    dataset = fields.object("dataset")
    classes = dataset.texts("classes")
    return Report(
        dataset=dataset.text("name", "unnamed dataset"),
        split=dataset.text("split"),
        images=dataset.whole("images"),
        classes=classes,
        colours=_colours(dataset),
        systems=tuple(_system(item, len(classes) or None) for item in fields.objects("systems")),
        sweeps=tuple(_sweep(item) for item in fields.objects("sweeps")),
        grid=tuple(_grid_row(item) for item in fields.objects("grid")),
        purity=tuple(_purity(item) for item in fields.objects("purity")),
        gallery=tuple(_example(item, folder) for item in fields.objects("gallery")),
        protocol=tuple(fields.object("protocol").flat()),
        provenance=tuple(fields.object("provenance").flat()),
        published=published(dataset.text("name"), fields.object("protocol").text("name")),
    )


def _colours(dataset: Fields) -> tuple[tuple[int, int, int], ...]:
    if not dataset.has("colours"):
        return ()
    return tuple((int(r), int(g), int(b)) for r, g, b in dataset.triples("colours"))


def _system(item: Fields, side: int | None) -> System:
    name = item.text("name", "system")
    return System(
        name=name,
        label=item.text("label", name),
        miou=item.fraction("miou"),
        accuracy=item.fraction("accuracy"),
        fw_iou=item.fraction("fw_iou"),
        boundary_iou=item.fraction("boundary_iou"),
        classes=tuple(_class(row) for row in item.objects("per_class")),
        confusion=item.matrix("confusion", side),
        matched=item.has("matching"),
        recipe=tuple(item.object("recipe").flat()),
        note=item.text("note"),
        printed=_printed(item),
    )


def _printed(item: Fields) -> tuple[float | None, float | None] | None:
    row = item.object("published")
    return (row.fraction("accuracy"), row.fraction("miou")) if row.names() else None


def _class(row: Fields) -> ClassScore:
    return ClassScore(
        row.text("name", "unnamed"),
        row.fraction("iou"),
        row.fraction("accuracy"),
        row.fraction("boundary_iou"),
        row.whole("pixels"),
    )


def _sweep(item: Fields) -> Sweep:
    points = tuple(
        Point(p.scalar("x"), p.text("system"), p.fraction("miou"), p.fraction("accuracy"))
        for p in item.objects("points")
    )
    return Sweep(item.text("name", "sweep"), item.text("x", "x"), points)


def _grid_row(row: Fields) -> GridRow:
    return GridRow(
        denseclip=row.flag("denseclip"),
        lgc=row.flag("lgc"),
        ce=row.flag("ce"),
        crf=row.flag("crf"),
        miou=row.fraction("miou"),
        accuracy=row.fraction("accuracy"),
    )


def _purity(item: Fields) -> Purity:
    rows = tuple(
        (row.text("name", "unnamed"), row.fraction("precision"), row.whole("positives"))
        for row in item.objects("per_concept")
    )
    return Purity(item.text("archive", "archive"), item.whole("k"), item.fraction("mean"), rows)


def _example(item: Fields, folder: Path) -> Example:
    files = item.object("files")
    shown = [*(v for v in VIEWS if files.has(v)), *(k for k in files.names() if k not in VIEWS)]
    return Example(
        id=item.text("id", "image"),
        files=tuple((view, folder / files.text(view)) for view in shown if files.has(view)),
        miou=item.fraction("miou"),
        case=item.text("case"),
    )


def published(dataset: str, protocol: str = "", source: Path = PUBLISHED) -> tuple[Published, ...]:
    """The paper's rows on a dataset, found by its or the protocol's name; empty if it has none."""
    if not source.is_file():
        return ()
    tables = {_plain(key): rows for key, rows in _json(source, "reinstall recoseg").items()}
    for name in (protocol, dataset):
        rows = tables.get(_plain(name))
        if name and isinstance(rows, list):
            return tuple(
                Published(
                    row.text("system"),
                    row.text("group"),
                    row.number("accuracy"),
                    row.number("miou"),
                )
                for row in Fields({"rows": rows}).objects("rows")
            )
    return ()


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
