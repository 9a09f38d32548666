"""HTML page of an evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.drawing import palette
from recoseg.drawing.colour_generator import MAX_COLOURS
from recoseg.reporting import pages, plots
from recoseg.reporting.published_parts import PublishedRow
from recoseg.reporting.reportfile import (
    VIEWS,
    ArchivePurity,
    GalleryImage,
    ReportFile,
    SweepPoint,
    SweepSeries,
    SystemScores,
)

MISTAKES = 6
SECTIONS = (
    ("results", "Results"),
    ("classes", "By class"),
    ("confusion", "What is taken for what"),
    ("ablation", "Ablation"),
    ("sweeps", "Sweeps"),
    ("purity", "Archive purity"),
    ("gallery", "Gallery"),
    ("protocol", "How this was measured"),
)
CASES = {"best": "Best cases", "worst": "Worst cases", "": "Images"}


@dataclass(frozen=True)
class Confusion:
    """One system's matrix: its plot and its largest mistakes as (true, taken for, share)."""

    label: str
    plot: str
    mistakes: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class ClassTableRow:
    """One class in the table: its IoU in every scored system, and its accuracy in the best."""

    name: str
    ious: tuple[float | None, ...]
    accuracy: float | None


def render_benchmark_page(report: ReportFile, folder: Path) -> str:
    """The HTML page of a report.

    Args:
        report: what was measured.
        folder: where the pictures of the gallery must lie.

    Raises:
        ReportError: a picture is missing or no picture, or matplotlib is not installed.
    """
    values = {
        "report": report,
        "summary": summarise(report),
        **_table(report),
        **_classes(report),
        "confusions": _confusions(report),
        "top_row": max(report.grid, key=lambda row: row.miou or 0.0, default=None),
        "sweeps": [(s, pages.mark_trusted(plots.plot_sweep(s))) for s in report.sweeps if s.points],
        "purity_plot": pages.mark_trusted(_purity(report.purity)),
        "printed_grid": sorted({p.protocol for row in report.grid for p in row.published}),
        "cases": _group_by_case(report.gallery, folder),
        "legend": _legend(report) if report.gallery else [],
        "recipes": [system for system in report.systems if system.recipe],
    }
    values["contents"] = _contents(report, values)
    return pages.render("benchmark.html", f"{report.dataset.name}: recoseg report", values)


def _purity(found: Sequence[ArchivePurity]) -> str:
    """Precision by k, a line per archive and model, where several k were measured."""
    if len({one.k for one in found}) < 2:
        return plots.plot_purity(found)
    points = tuple(
        SweepPoint(x=one.k, system=" ".join(filter(None, (one.archive, one.model))), miou=one.mean)
        for one in found
        if one.k is not None
    )
    return plots.plot_sweep(SweepSeries(name="purity", x="k", y="precision", points=points))


def summarise(report: ReportFile) -> str:
    """The main finding in one or two sentences."""
    size = f" on {report.dataset.images:,} images" if report.dataset.images is not None else ""
    size += f" of {len(report.dataset.classes)} classes" if report.dataset.classes else ""
    best = report.best
    if best is None or best.miou is None:
        return f"Measured{size}." if size else "What was measured."
    text = f"{best.label} reaches {pages.percent(best.miou)} % mIoU"
    if best.accuracy is not None:
        text += f" and {pages.percent(best.accuracy)} % pixel accuracy"
    base = next((s for s in report.systems if s.name == "denseclip" and s is not best), None)
    if base is not None and base.miou is not None:
        # Of the rounded figures, so that the sentence agrees with the table below it.
        gain = round(100 * best.miou, 1) - round(100 * base.miou, 1)
        return f"{text}{size}: {gain:.1f} points of mIoU above {base.label}."
    return f"{text}{size}."


def find_mistakes(system: SystemScores, names: Sequence[str]) -> tuple[tuple[str, str, float], ...]:
    """The largest shares of a true class that went to another: (true, taken for, share)."""
    if len(names) != len(system.confusion) or not names:
        return ()
    counts = np.array(system.confusion)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    np.fill_diagonal(share, 0)
    order = np.argsort(-share, axis=None, kind="stable")[:MISTAKES]
    pairs = [divmod(int(place), len(names)) for place in order]
    return tuple((names[t], names[p], float(share[t, p])) for t, p in pairs if share[t, p] > 0)


def _contents(report: ReportFile, values: dict[str, Any]) -> list[tuple[str, str]]:
    there = {
        "results": report.systems,
        "classes": report.best and report.best.classes,
        "confusion": values["confusions"],
        "ablation": report.grid,
        "sweeps": values["sweeps"],
        "purity": report.purity,
        "gallery": values["cases"],
        "protocol": report.protocol or report.provenance or values["recipes"],
    }
    return [(id, name) for id, name in SECTIONS if there[id]]


def _table(report: ReportFile) -> dict[str, Any]:
    has_fw = any(system.fw_iou is not None for system in report.systems)
    has_boundary = any(system.boundary_iou is not None for system in report.systems)
    return {
        "has_fw": has_fw,
        "has_boundary": has_boundary,
        "columns": 3 + has_fw + has_boundary,
        "top_accuracy": max((s.accuracy or 0.0 for s in report.systems), default=None),
        "published": _group(report.published),
    }


def _group(rows: Sequence[PublishedRow]) -> list[tuple[str, list[PublishedRow]]]:
    return [(group, list(members)) for group, members in itertools.groupby(rows, lambda r: r.group)]


def _classes(report: ReportFile) -> dict[str, Any]:
    best = report.best
    scored = [system for system in report.systems if system.classes]
    ious = [{row.name: row.iou for row in system.classes} for system in scored]
    rows = best.classes if best is not None else ()
    total = sum(row.pixels or 0 for row in rows)
    return {
        "scored": scored,
        "class_plot": pages.mark_trusted(plots.plot_classes(report)),
        "class_rows": [
            ClassTableRow(row.name, tuple(of.get(row.name) for of in ious), row.accuracy)
            for row in rows
        ],
        "shares": {row.name: (row.pixels or 0) / total for row in rows} if total else {},
    }


def _confusions(report: ReportFile) -> list[Confusion]:
    ordered = sorted(report.systems, key=lambda system: system is not report.best)
    return [
        Confusion(
            system.label, pages.mark_trusted(plot), find_mistakes(system, report.dataset.classes)
        )
        for system in ordered
        if (plot := plots.plot_confusion(system, report.dataset.classes))
    ]


def _group_by_case(
    gallery: Sequence[GalleryImage], folder: Path
) -> list[tuple[str, list[dict[str, Any]]]]:
    kinds = list(dict.fromkeys(e.case for e in gallery))
    order = [*(kind for kind in CASES if kind in kinds), *(k for k in kinds if k not in CASES)]
    return [
        (CASES.get(kind, kind), [_embed_example(e, folder) for e in gallery if e.case == kind])
        for kind in order
    ]


def _embed_example(example: GalleryImage, folder: Path) -> dict[str, Any]:
    pictures = [
        (VIEWS.get(view, view), pages.embed_file(folder / file, folder))
        for view, file in example.views
    ]
    return {"id": example.id, "miou": example.miou, "pictures": pictures}


def _legend(report: ReportFile) -> list[tuple[str, str]]:
    if report.dataset.colours:
        colours = [tuple(colour) for colour in report.dataset.colours]
    elif len(report.dataset.classes) <= MAX_COLOURS:
        colours = [tuple(c) for c in palette.colours(len(report.dataset.classes)).tolist()]
    else:
        return []
    # Fewer colours than classes leave the rest without a swatch.
    return [
        (name, f"#{r:02x}{g:02x}{b:02x}")
        for name, (r, g, b) in zip(report.dataset.classes, colours, strict=False)
    ]
