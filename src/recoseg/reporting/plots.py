"""Plots of a report: IoU by class, confusions, sweeps of a setting, purity of retrieval; SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recoseg.reporting.reportfile import (
    ArchivePurity,
    ClassScores,
    ReportFile,
    SweepSeries,
    SystemScores,
)
from recoseg.reporting.svg import SERIES, WIDTH, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "oDs^vP"
_LINES = ("solid", "dashed", "dotted")
_CELL = (47, 127, 208)
_WRITTEN_CELLS = 24
_NAME = 28


def plot_classes(report: ReportFile) -> str:
    """IoU by class: a bar for the best system, a mark for each other one; SVG."""
    best = report.best
    if best is None or not best.classes:
        return ""
    others = [system for system in report.systems if system is not best and system.classes][:5]
    rows = sorted(best.classes, key=lambda row: row.iou if row.iou is not None else -1.0)
    places = np.arange(len(rows))

    def draw(axes: Axes) -> None:
        axes.barh(places, _ious(rows), 0.62, color=SERIES[0], alpha=0.55, label=best.label)
        for i, system in enumerate(others, start=1):
            by_name = {row.name: row for row in system.classes}
            values = _ious([by_name.get(row.name) for row in rows])
            look: Any = {"color": SERIES[i], "marker": _MARKERS[i], "s": 22, "zorder": 3}
            axes.scatter(values, places, label=system.label, linewidths=0, **look)
        axes.set_yticks(places, [_short(row.name) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        _percent(axes, "x", "IoU, %")
        _legend(axes, 1 + len(others))

    return draw_svg(draw, 0.9 + 0.2 * len(rows), "classes")


def plot_confusion(system: SystemScores, names: Sequence[str]) -> str:
    """Where the pixels of each true class went, row by row in per cent; SVG."""
    if not system.confusion or len(names) != len(system.confusion):
        return ""
    counts = np.array(system.confusion)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    n = len(share)

    def draw(axes: Axes) -> None:
        # Opacity in place of lightness reads the same on a white and on a black page.
        cells = np.full((n, n, 4), (*_CELL, 0), dtype=np.uint8)
        cells[..., 3] = (share**0.7 * 255).round()
        axes.imshow(cells, interpolation="none")
        shown = [_short(name) for name in names]
        axes.set_xticks(range(n), shown, rotation=90)
        axes.set_yticks(range(n), shown)
        axes.tick_params(length=0, labelsize=9 if n <= _WRITTEN_CELLS else max(3, 210 / n))
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if n <= _WRITTEN_CELLS:
            _write_cells(axes, share)

    return draw_svg(draw, WIDTH, f"confusion-{system.name}")


def plot_sweep(varied: SweepSeries) -> str:
    """What ``varied.y`` says against the setting that was varied, a line per system; SVG.

    Where the setting has names in place of numbers there are marks and no line.
    """
    named = any(isinstance(point.x, str) for point in varied.points)
    places = list(dict.fromkeys(str(point.x) for point in varied.points))
    systems = list(dict.fromkeys(point.system for point in varied.points))

    def draw(axes: Axes) -> None:
        for i, name in enumerate(systems):
            points = [p for p in varied.points if p.system == name and p.miou is not None]
            xs = [places.index(str(p.x)) if named else float(p.x) for p in points]
            ys = [100 * (p.miou or 0.0) for p in points]
            order = np.argsort(xs, kind="stable")
            look: Any = {"color": SERIES[i % 6], "marker": _MARKERS[i % 6], "markersize": 5}
            line = "none" if named else _LINES[i // 6 % len(_LINES)]
            if i // 6 % 2:
                look["markerfacecolor"] = "none"
            axes.plot(np.array(xs)[order], np.array(ys)[order], linestyle=line, label=name, **look)
        axes.set_xlabel(varied.x)
        if named:
            axes.set_xticks(range(len(places)), [_short(place) for place in places])
        else:
            _numbers(axes, sorted({float(point.x) for point in varied.points}))
        axes.set_ylabel(f"{varied.y}, %")
        axes.grid(axis="y")
        axes.margins(x=0.15 if named else 0.05, y=0.15)
        if len(systems) > 1:
            _legend(axes, len(systems))

    return draw_svg(draw, 3.2, f"sweep-{varied.name}") if varied.points else ""


def plot_purity(archives: Sequence[ArchivePurity]) -> str:
    """Precision of retrieval by concept, from the purest down, a line per archive and k; SVG."""
    drawn = [(one, values) for one in archives if (values := _precisions(one))]

    def draw(axes: Axes) -> None:
        for i, (one, values) in enumerate(drawn):
            # Each concept is one step, so that a line ends at 100 % of the concepts.
            shares = np.linspace(0, 100, len(values) + 1)
            axes.stairs(
                [100 * v for v in values], shares, color=SERIES[i % 6], label=_label_of(one)
            )
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the concepts, %, the purest first")
        _percent(axes, "y", "precision of retrieval, %")
        _legend(axes, len(drawn))

    return draw_svg(draw, 3.4, "purity") if drawn else ""


def _precisions(one: ArchivePurity) -> list[float]:
    return sorted((c.precision for c in one.concepts if c.precision is not None), reverse=True)


def _label_of(one: ArchivePurity) -> str:
    return one.archive if one.k is None else f"{one.archive}, k = {one.k}"


def _ious(rows: Sequence[ClassScores | None]) -> list[float]:
    return [math.nan if r is None or r.iou is None else 100 * r.iou for r in rows]


def _write_cells(axes: Axes, share: np.ndarray) -> None:
    size = min(8.0, 120 / len(share))
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.01:
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=size)


def _numbers(axes: Axes, values: Sequence[float]) -> None:
    """Ticks where something was measured, on a logarithmic axis if they span much.

    Nought stands a step before the least other value. Ticks that would touch are left out.
    """
    least = next((value for value in values if value > 0), 0.0)
    places = list(values)
    if values[0] >= 0 and least and values[-1] / least >= 8:
        axes.set_xscale("symlog", linthresh=least, linscale=0.5)
        places = [math.log10(v / least) + 0.5 if v > 0 else 0.0 for v in values]
    axes.minorticks_off()
    few, gap = [0], (places[-1] - places[0]) / 12
    for i in range(1, len(places)):
        if places[i] - places[few[-1]] >= gap:
            few.append(i)
    shown = [values[i] for i in few]
    axes.set_xticks(shown, [f"{value:,g}" if value < 1e6 else f"{value:.3g}" for value in shown])


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _percent(axes: Axes, axis: str, label: str) -> None:
    axes.set(**{f"{axis}lim": (0, 100), f"{axis}label": label})
    axes.grid(axis="x" if axis == "x" else "y")


def _legend(axes: Axes, entries: int) -> None:
    columns = min(entries, 2)
    place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.3}
    axes.legend(ncols=columns, **place, handlelength=1.4, columnspacing=1.2)
