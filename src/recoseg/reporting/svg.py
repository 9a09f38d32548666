"""Matplotlib figures as SVG elements of a page, in the colours of the page's theme."""

from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recoseg.errors import ReportError, optional_import

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that no plot would choose: each stands for a variable of the page's style sheet.
INK, FAINT, RULE = "#010101", "#010102", "#010103"
SERIES = tuple(f"#01020{i}" for i in range(1, 7))
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(SERIES, start=1)
}
WIDTH = 5.2
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


def draw_svg(draw: Callable[[Axes], None], height: float, name: str) -> str:
    """Draw into new axes; an ``<svg>`` element that may stand beside others in one page."""
    with optional_import("the plots of a report need matplotlib", "report", ReportError):
        import matplotlib
        from matplotlib.figure import Figure
    stream = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The page's own fonts have the letters that the measuring font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(WIDTH, height))
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
