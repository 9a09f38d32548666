"""SVG plots of a report, with text as text and colours of the page's theme."""

from __future__ import annotations

import io
import math
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recoseg.errors import ReportError, optional_import
from recoseg.reporting.reportfile import (
    ArchivePurity,
    ClassScores,
    ReportFile,
    SweepSeries,
    SystemScores,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that no plot would choose: each stands for a variable of the page's style sheet.
INK, FAINT, RULE = "#010101", "#010102", "#010103"
SERIES = tuple(f"#01020{i}" for i in range(1, 7))
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(SERIES, start=1)
}
_MARKERS = "oDs^vP"
_LINES = ("solid", "dashed", "dotted")
_CELL = (47, 127, 208)
_WIDTH = 5.2
_WRITTEN_CELLS = 24
_NAME = 28
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recoseg",
    "font.family": "sans-serif",
    "font.size": 9,
    # A class may be called "$5"; it is no formula.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


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

    return _svg(draw, 0.9 + 0.2 * len(rows), "classes")


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

    return _svg(draw, _WIDTH, f"confusion-{system.name}")


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

    return _svg(draw, 3.2, f"sweep-{varied.name}") if varied.points else ""


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

    return _svg(draw, 3.4, "purity") if drawn else ""


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
    positive = [value for value in values if value > 0]
    if values[0] >= 0 and positive and positive[-1] / positive[0] >= 8:
        least = positive[0]
        axes.set_xscale("symlog", linthresh=least, linscale=0.5)
        axes.minorticks_off()
        places = [math.log10(v / least) + 0.5 if v > 0 else 0.0 for v in values]
    else:
        places = list(values)
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


def _svg(draw: Callable[[Axes], None], height: float, name: str) -> str:
    """Draw into new axes; an ``<svg>`` element that may stand beside others in one page."""
    with optional_import("the plots of a report need matplotlib", "report", ReportError):
        import matplotlib
        from matplotlib.figure import Figure
    stream = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The page's own fonts have the letters that the measuring font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(_WIDTH, height))
        draw(figure.add_subplot())
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing, bbox_inches="tight", pad_inches=0.04)
    return _embed(ElementTree.fromstring(stream.getvalue()), name)


def _embed(svg: ElementTree.Element, name: str) -> str:
    """The element without namespaces and fixed size, its ids its own, its colours variables."""
    prefix = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    for element in svg.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(k): _variable(v, prefix) for k, v in element.attrib.items()}
        if "id" in element.attrib:
            element.set("id", f"{prefix}-{element.get('id')}")
    for side in ("width", "height"):
        svg.attrib.pop(side, None)
    for style in svg.findall("./defs/style/.."):
        # It speaks to all of a document, which is the page here.
        svg.remove(style)
    return ElementTree.tostring(svg, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _variable(value: str, prefix: str) -> str:
    if value.startswith("#"):
        return _VARIABLES.get(value) or f"#{prefix}-{value[1:]}"
    value = value.replace("url(#", f"url(#{prefix}-")
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, variable)
    return value
