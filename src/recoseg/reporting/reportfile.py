"""``report.json`` read and validated: each value has its type and range, or a sentence says why.

An absent or null key is an empty part of the page; a wrong value is an error that names its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from recoseg.errors import ReportError
from recoseg.evaluation.results import FILE, FORMAT, VERSION
from recoseg.reporting.fields import (
    Axis,
    Colour,
    Flag,
    Fraction,
    Name,
    Pairs,
    Pixels,
    ReportPart,
    Text,
    Whole,
    sentence_of,
)
from recoseg.reporting.published_parts import PublishedAblation, PublishedRow, PublishedScores

PUBLISHED = Path(__file__).parents[1] / "data" / "published.json"
VIEWS = {
    "image": "Image",
    "truth": "Ground truth",
    "denseclip": "DenseCLIP",
    "reco": "ReCo",
    "crf": "ReCo + CRF",
}


class ClassScores(ReportPart):
    """One class of one system; ``accuracy`` is the share of its pixels that were found."""

    name: Text = "unnamed"
    iou: Fraction | None = None
    accuracy: Fraction | None = None
    boundary_iou: Fraction | None = None
    pixels: Whole | None = None


class SystemScores(ReportPart):
    """One row of the table; ``confusion`` holds pixels by (truth, prediction), if known."""

    name: Text = "system"
    label: Text = Field(default_factory=lambda data: data.get("name", ""))
    miou: Fraction | None = None
    accuracy: Fraction | None = None
    fw_iou: Fraction | None = None
    boundary_iou: Fraction | None = None
    classes: tuple[ClassScores, ...] = Field((), alias="per_class")
    confusion: tuple[tuple[Pixels, ...], ...] = ()
    # Whether unnamed clusters were given names by Hungarian matching.
    matched: Annotated[bool, BeforeValidator(lambda _: True)] = Field(False, alias="matching")
    recipe: Pairs = ()
    note: Text = ""
    published: PublishedScores | None = None


class SweepPoint(ReportPart):
    """One point of a sweep: a number or a name on the x axis, and its scores."""

    x: Axis = Field(None, validate_default=True)
    system: Text = ""
    miou: Fraction | None = None
    accuracy: Fraction | None = None


class SweepSeries(ReportPart):
    """One setting varied: its name, what the axes count, and the points."""

    name: Text = "sweep"
    x: Text = "x"
    y: Text = "mIoU"
    points: tuple[SweepPoint, ...] = ()


class GridRow(ReportPart):
    """One row of the component grid: what was switched on, and its scores."""

    cosegmentation: Flag = True
    denseclip: Flag = False
    lgc: Flag = False
    ce: Flag = False
    crf: Flag = False
    miou: Fraction | None = None
    accuracy: Fraction | None = None
    published: tuple[PublishedAblation, ...] = ()


class ConceptPurity(ReportPart):
    """Precision of the best photos of one concept, and how many photos of it there are."""

    name: Text = "unnamed"
    precision: Fraction | None = None
    positives: Whole | None = None


class ArchivePurity(ReportPart):
    """Precision of the k best photos of each concept of one labelled archive."""

    archive: Text = "archive"
    model: Text = ""
    k: Whole | None = None
    mean: Fraction | None = None
    concepts: tuple[ConceptPurity, ...] = Field((), alias="per_concept")


class GalleryImage(ReportPart):
    """One image of the gallery: view to file, its mIoU, and whether it is a best or worst case."""

    id: Text = "image"
    files: dict[str, Text | None] = Field(default_factory=dict)
    miou: Fraction | None = None
    case: Text = ""

    @property
    def views(self) -> list[tuple[str, str]]:
        """(view, file) pairs, the usual views first and in their order."""
        order = [*(view for view in VIEWS if view in self.files), *self.files]
        found = ((view, self.files[view]) for view in dict.fromkeys(order))
        return [(view, file) for view, file in found if file is not None]


class MeasuredOn(ReportPart):
    """The dataset: classes in the order of the confusion matrices, colours those of the gallery."""

    name: Text = "unnamed dataset"
    split: Text = ""
    images: Whole | None = None
    classes: tuple[Name, ...] = ()
    colours: tuple[Colour, ...] = ()


class ReportFile(ReportPart):
    """All of a report, in the order it is shown; what was not measured is empty."""

    dataset: MeasuredOn = MeasuredOn()
    systems: tuple[SystemScores, ...] = ()
    sweeps: tuple[SweepSeries, ...] = ()
    grid: tuple[GridRow, ...] = ()
    purity: tuple[ArchivePurity, ...] = ()
    gallery: tuple[GalleryImage, ...] = ()
    protocol: Pairs = ()
    provenance: Pairs = ()
    published: tuple[PublishedRow, ...] = ()

    @model_validator(mode="after")
    def _check_tables(self) -> ReportFile:
        for i, system in enumerate(self.systems):
            side = len(self.dataset.classes) or len(system.confusion)
            lengths = {len(system.confusion), *map(len, system.confusion)}
            if system.confusion and lengths != {side}:
                raise ReportError(
                    f"systems[{i}].confusion must be a square table of {side} rows and columns."
                )
        return self

    @property
    def best(self) -> SystemScores | None:
        """The system of highest mIoU, the first of several; None without systems."""
        return max(self.systems, key=lambda system: system.miou or 0.0, default=None)


def read(path: Path) -> ReportFile:
    """The report of a file, or of a folder that holds ``report.json``.

    Raises:
        ReportError: missing, damaged, something else, of a newer version, or a value out of range.
    """
    file = path / FILE if path.is_dir() else path
    data = _load(file)
    try:
        found = ReportFile.model_validate(data | {"published": None})
    except (ReportError, ValidationError) as error:
        first = error if isinstance(error, ReportError) else sentence_of(error.errors()[0])
        raise ReportError(
            f"{file} cannot be shown: {str(first).rstrip('.')}; write it again with "
            "`recoseg evaluate`."
        ) from error
    rows = find_published(found.dataset.name, dict(found.protocol).get("name", ""))
    return found.model_copy(update={"published": rows})


def find_published(
    dataset: str, protocol: str = "", source: Path = PUBLISHED
) -> tuple[PublishedRow, ...]:
    """The paper's rows on a dataset, found by its or the protocol's name; empty if it has none."""
    if not source.is_file():
        return ()
    tables = {_plain(key): rows for key, rows in _json(source, "reinstall recoseg").items()}
    found = (tables.get(_plain(name)) for name in (protocol, dataset) if name)
    rows: list[Any] = next((rows for rows in found if isinstance(rows, list)), [])
    return tuple(PublishedRow.model_validate(row) for row in rows)


def _load(file: Path) -> dict[str, Any]:
    data = _json(file, "give the report.json of `recoseg evaluate`, its folder, or a bank")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ReportError(f"{file} is not a report; give the report.json of `recoseg evaluate`.")
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ReportError(
            f"{file} has version {version!r} and this recoseg reads up to {VERSION}; upgrade it."
        )
    return data


def _json(file: Path, remedy: str) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise ReportError(f"{file} cannot be read ({error.strerror}); {remedy}.") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file} is damaged or cut short; {remedy}.") from error


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
