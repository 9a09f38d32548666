"""What an evaluation found, as values that a page can show: the table, the sweeps, the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VIEWS = {
    "image": "Image",
    "truth": "Ground truth",
    "denseclip": "DenseCLIP",
    "reco": "ReCo",
    "crf": "ReCo + CRF",
}


@dataclass(frozen=True)
class ClassScore:
    """One class of one system; fractions in [0, 1], None where undefined.

    Attributes:
        name: the class.
        iou: intersection over union.
        accuracy: share of its pixels that were found.
        boundary_iou: IoU along the borders.
        pixels: how many the ground truth has.
    """

    name: str
    iou: float | None
    accuracy: float | None
    boundary_iou: float | None
    pixels: int | None


@dataclass(frozen=True)
class System:
    """One row of the table; fractions in [0, 1], None where unknown.

    Attributes:
        name: its id.
        label: what to call it.
        miou: mean IoU.
        accuracy: pixel accuracy.
        fw_iou: frequency-weighted IoU.
        boundary_iou: mean IoU along the borders.
        classes: the scores by class.
        confusion: pixels by (truth, prediction); empty if unknown.
        matched: whether unnamed clusters were given names by Hungarian matching.
        recipe: its settings as (name, words).
        note: what must be known beside its figures.
        printed: accuracy and mIoU that the paper printed of the same system; None if it has none.
    """

    name: str
    label: str
    miou: float | None
    accuracy: float | None
    fw_iou: float | None
    boundary_iou: float | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[float, ...], ...]
    matched: bool
    recipe: tuple[tuple[str, str], ...]
    note: str = ""
    printed: tuple[float | None, float | None] | None = None


@dataclass(frozen=True)
class Point:
    """One point of a sweep: a number or a name on the x axis, and its scores in [0, 1]."""

    x: float | str
    system: str
    miou: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Sweep:
    """One setting varied: its name, what the x axis counts, and the points."""

    name: str
    x: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class GridRow:
    """One row of the component grid: what was switched on, and its scores in [0, 1]."""

    denseclip: bool
    lgc: bool
    ce: bool
    crf: bool
    miou: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Purity:
    """Precision of the k best photos of each concept of one labelled archive, in [0, 1]."""

    archive: str
    k: int | None
    mean: float | None
    concepts: tuple[tuple[str, float | None, int | None], ...]


@dataclass(frozen=True)
class Example:
    """One image of the gallery: view to file, its mIoU, and whether it is a best or worst case."""

    id: str
    files: tuple[tuple[str, Path], ...]
    miou: float | None
    case: str


@dataclass(frozen=True)
class Published:
    """One row that the paper printed; per cent, None where it printed none."""

    system: str
    group: str
    accuracy: float | None
    miou: float | None


@dataclass(frozen=True)
class Report:
    """All of a report, in the order it is shown.

    Attributes:
        dataset: its name.
        split: which part of it.
        images: how many.
        classes: the names, in the order of the confusion matrices.
        colours: (r, g, b) of each class in the gallery, 0..255; empty if not said.
        systems: the rows of the table.
        sweeps, grid, purity, gallery: empty where not measured.
        protocol, provenance: (name, words) pairs.
        published: the paper's rows on this dataset; empty if it has none.
    """

    dataset: str
    split: str
    images: int | None
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    systems: tuple[System, ...]
    sweeps: tuple[Sweep, ...]
    grid: tuple[GridRow, ...]
    purity: tuple[Purity, ...]
    gallery: tuple[Example, ...]
    protocol: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    published: tuple[Published, ...]

    @property
    def best(self) -> System | None:
        """The system of highest mIoU, the first of several; None without systems."""
        return max(self.systems, key=lambda system: system.miou or 0.0, default=None)
