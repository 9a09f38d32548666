"""Class colours, overlays, legends, heat maps, seed marks and contact sheets."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from recoseg.drawing.colour_generator import GREY, MAX_COLOURS, generate_colours
from recoseg.errors import InputError
from recoseg.io.images import KINDS, RGB, save_image

_INK, _FAINT, _PAPER, _LINE = (32, 36, 42), (110, 116, 124), (255, 255, 255), (222, 225, 230)
_HEAT = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
_SUPERSAMPLE = 4


def colours(count: int) -> NDArray[np.uint8]:
    """The first ``count`` class colours, (C, 3) uint8; class i has the same colour for any count.

    They are told apart by normal and by red- or green-blind eyes as far as so many can be.
    """
    if not 0 <= count <= MAX_COLOURS:
        raise InputError(f"a palette has 0 to {MAX_COLOURS} colours, not {count}.")
    # Grown in steps, so that asking for one colour more does not choose all of them again.
    return generate_colours(64 * math.ceil(max(count, 1) / 64))[:count].copy()


def hexes(colours: NDArray[np.uint8]) -> list[str]:
    """(C, 3) colours as ``#rrggbb``."""
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours.tolist()]


def encode_names(names: Sequence[str], colours: NDArray[np.uint8]) -> bytes:
    """The JSON of ``names.json``: the name and colour of each index of a label map."""
    rows = enumerate(zip(names, colours.tolist(), strict=True))
    return json.dumps([{"id": i, "name": n, "colour": c} for i, (n, c) in rows], indent=1).encode()


def overlay(
    image: RGB,
    labels: NDArray[np.integer],
    colours: NDArray[np.uint8],
    opacity: float = 0.5,
    edges: bool = True,
) -> RGB:
    """Paint a label map over its photo.

    Args:
        image: uint8 (H, W, 3).
        labels: (H, W) integers; outside 0..C-1 (void, unknown) the photo stays, faded to grey.
        colours: (C, 3) uint8.
        opacity: 0 shows the photo alone, 1 the colours alone.
        edges: draw the borders between regions.

    Returns:
        uint8 (H, W, 3).
    """
    labels = np.asarray(labels)
    if labels.shape != image.shape[:2]:
        raise InputError(f"labels {labels.shape} do not fit an image of {image.shape[:2]} pixels.")
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity must be from 0 to 1, not {opacity!r}.")
    table = np.vstack([np.asarray(colours, np.uint8).reshape(-1, 3), GREY])
    known = (labels >= 0) & (labels < len(table) - 1)
    paint = table[np.where(known, labels, len(table) - 1)]
    # A paler photo lets the colours be told from those of the things themselves.
    grey = np.repeat(np.asarray(Image.fromarray(image).convert("L"))[:, :, None], 3, axis=2)
    mixed = _blend(_blend(image, grey, opacity / 2), paint, opacity)
    if edges and opacity > 0:
        border = _border(np.where(known, labels, -1), max(1, round(min(labels.shape) / 360)))
        mixed[border] = _blend(paint[border], np.full_like(paint[border], 255), 0.35)
    return mixed


def heatmap(image: RGB, heat: NDArray[np.floating], opacity: float = 0.6) -> RGB:
    """Overlay a coarse map (h, w) in [0, 1] on a photo (H, W, 3), dark to bright."""
    if heat.ndim != 2 or not np.isfinite(heat).all():
        raise InputError(f"heat must be a finite (h, w) map, not of shape {heat.shape}.")
    small = Image.fromarray(np.clip(heat, 0, 1).astype(np.float32))
    size = (image.shape[1], image.shape[0])
    values = np.clip(np.asarray(small.resize(size, Image.Resampling.BILINEAR)), 0, 1)
    stops = np.linspace(0, 1, len(_HEAT))
    ramp = np.stack([np.interp(values, stops, [c[i] for c in _HEAT]) for i in range(3)], axis=-1)
    return _blend(image, ramp.round().astype(np.uint8), opacity)


def draw_ring(image: RGB, x: float, y: float) -> RGB:
    """Draw a ring at (x, y), fractions of width and height from the top left."""
    height, width = image.shape[:2]
    radius = max(4.0, 0.045 * min(height, width))
    big = (width * _SUPERSAMPLE, height * _SUPERSAMPLE)
    mask = {"outer": Image.new("L", big), "inner": Image.new("L", big)}
    centre = (x * width * _SUPERSAMPLE, y * height * _SUPERSAMPLE)
    for name, thickness in (("outer", 0.62), ("inner", 0.30)):
        half = thickness * radius / 2
        outer, inner = (radius + half) * _SUPERSAMPLE, (radius - half) * _SUPERSAMPLE
        draw = ImageDraw.Draw(mask[name])
        draw.ellipse(_box(centre, outer), fill=255)
        draw.ellipse(_box(centre, inner), fill=0)
    canvas = Image.fromarray(image)
    for name, colour in (("outer", _INK), ("inner", _PAPER)):
        canvas.paste(colour, mask=mask[name].resize((width, height), Image.Resampling.BOX))
    return np.asarray(canvas)


def legend(
    names: Sequence[str],
    colours: NDArray[np.uint8],
    areas: Mapping[str, float] | None = None,
    rows: int = 24,
) -> RGB:
    """Swatches with names, in columns of at most ``rows``.

    Args:
        names: C names.
        colours: (C, 3) uint8.
        areas: name to its fraction of the image, shown in per cent.
        rows: names per column.
    """
    if len(names) > len(colours):
        raise InputError(f"{len(names)} names need as many colours, not {len(colours)}.")
    font, line, swatch, gap = _font(15), 26, 16, 16
    shares = [f"{100 * areas.get(name, 0.0):.1f} %" if areas is not None else "" for name in names]
    text = max((font.getlength(name) for name in names), default=0.0)
    share = max((font.getlength(s) for s in shares), default=0.0)
    column = math.ceil(swatch + 10 + text + (14 + share if areas is not None else 0)) + gap
    deep, across = min(rows, max(1, len(names))), max(1, math.ceil(len(names) / rows))
    canvas = Image.new("RGB", (across * column + gap, deep * line + gap), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, name in enumerate(names):
        left, middle = gap + i // rows * column, gap / 2 + (i % rows + 0.5) * line
        box = (left, middle - swatch / 2, left + swatch, middle + swatch / 2)
        draw.rounded_rectangle(box, 4, fill=tuple(colours[i].tolist()))
        draw.text((left + swatch + 10, middle), name, _INK, font, anchor="lm")
        draw.text((left + column - gap, middle), shares[i], _FAINT, font, anchor="rm")
    return np.asarray(canvas)


def contact_sheet(
    tiles: Sequence[tuple[RGB, str]], columns: int = 6, title: str = "", size: int = 160
) -> RGB:
    """Pictures in a grid, each fitted into a square with its caption below.

    Args:
        tiles: (uint8 (H, W, 3), caption) pairs; a caption may have several lines.
        columns: pictures side by side.
        title: a heading; its lines after the first are small.
        size: side of a picture's square, pixels.
    """
    if columns < 1 or size < 16:
        raise InputError(f"a sheet of {columns} columns and {size}-pixel pictures is too small.")
    columns, margin, gap, line = min(columns, max(1, len(tiles))), 20, 12, 17
    lines = max((caption.count("\n") + 1 for _, caption in tiles if caption), default=0)
    head = _heading_height(title)
    step = (size + gap, size + gap + lines * line + (4 if lines else 0))
    rows = math.ceil(len(tiles) / columns)
    shape = (2 * margin + columns * step[0] - gap, 2 * margin + head + max(0, rows * step[1] - gap))
    canvas = Image.new("RGB", shape, _PAPER)
    draw = ImageDraw.Draw(canvas)
    _heading(draw, title, margin, shape[0] - 2 * margin)
    for i, (picture, caption) in enumerate(tiles):
        left = margin + i % columns * step[0]
        top = margin + head + i // columns * step[1]
        _place(canvas, picture, left, top, size)
        for row, words in enumerate(caption.split("\n")):
            ink = _FAINT if row else _INK
            place = (left, top + size + 6 + row * line)
            draw.text(place, shorten(words, size, 13), ink, _font(13))
    return np.asarray(canvas)


def shorten(text: str, width: float, size: int) -> str:
    """``text`` cut in the middle so that it is at most ``width`` pixels wide at font ``size``."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    for keep in range(len(text) - 1, 0, -1):
        tail = keep // 2
        short = text[: keep - tail] + "…" + (text[-tail:] if tail else "")
        if font.getlength(short) <= width:
            return short
    return "…"


def write(path: str | Path, image: RGB) -> Path:
    """Save uint8 (H, W, 3) as PNG, JPEG or WebP by the file's suffix; whole or not at all."""
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise InputError(f"{path} must end in {', '.join(sorted(KINDS))} to hold a picture.")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first.")
    return save_image(path, image, quality=90, optimize=True)


def _blend(below: RGB, above: RGB, opacity: float) -> RGB:
    part = round(256 * opacity)
    mixed = below.astype(np.uint16) * (256 - part) + above.astype(np.uint16) * part + 128
    return (mixed >> 8).astype(np.uint8)


def _border(labels: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Pixels within ``width`` of another label, above, below, left or right."""
    border = np.zeros(labels.shape, dtype=bool)
    for shift in range(1, width + 1):
        for seen, marked in ((labels, border), (labels.T, border.T)):
            differ = seen[shift:] != seen[:-shift]
            marked[shift:] |= differ
            marked[:-shift] |= differ
    return border


def _box(centre: tuple[float, float], radius: float) -> tuple[float, float, float, float]:
    x, y = centre
    return x - radius, y - radius, x + radius, y + radius


def _place(canvas: Image.Image, picture: RGB, left: int, top: int, size: int) -> None:
    scale = size / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    fitted = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    if height != width:
        ImageDraw.Draw(canvas).rectangle((left, top, left + size - 1, top + size - 1), _LINE)
    canvas.paste(fitted, (left + (size - width) // 2, top + (size - height) // 2))


def _heading_height(title: str) -> int:
    return 34 + 20 * title.count("\n") + 8 if title else 0


def _heading(draw: ImageDraw.ImageDraw, title: str, margin: int, width: int) -> None:
    for row, words in enumerate(title.split("\n") if title else ()):
        size, ink = (15, _FAINT) if row else (24, _INK)
        top = margin - 4 if row == 0 else margin + 30 + 20 * (row - 1)
        draw.text((margin, top), shorten(words, width, size), ink, _font(size))


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
