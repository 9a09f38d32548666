"""Polygon outlines of masks that common readers rasterise to the same mask."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import optional_import
from recoseg.exporting.regions import Mask, Region

Ring = NDArray[np.float64]
INSET = 0.25
# Between the values 0 and 1 of neighbouring pixels, and above their mean over a saddle.
_LEVEL = 0.9


def trace_outlines(region: Region) -> list[Ring]:
    """One closed ring (n, 2) of (x, y) for each 4-connected part of a region.

    Coordinates are of the image, where pixel (i, j) covers [i, i + 1) x [j, j + 1). Sides are
    horizontal or vertical and run a quarter of a pixel inside the outermost edge, so that both a
    reader that asks for the centres of pixels (pycocotools) and one that cuts the fraction off and
    draws the border (OpenCV) gets every pixel and no other, down to single ones. A hole is joined
    to the border above it by a vertical cut of no width.
    """
    corner = np.array([region.left, region.top])
    return [_join_rings(rings) + corner for rings in trace_mask(region.mask)]


def round_inwards(ring: Ring) -> Ring:
    """The ring with each fraction brought below a half, for readers that round as well."""
    whole = np.floor(ring)
    return np.asarray(whole + 0.6 * (ring - whole) - 0.05)


def trace_mask(mask: Mask) -> list[list[Ring]]:
    """For each 4-connected part of a mask (h, w): its border, then those of its holes.

    Raises:
        InputError: contourpy is not installed.
    """
    with optional_import("polygons need contourpy", "export"):
        import contourpy
    padded = np.pad(mask, 1).astype(np.float64)
    generator = contourpy.contour_generator(
        z=padded, name="serial", fill_type=contourpy.FillType.OuterOffset
    )
    parts = zip(*generator.filled(_LEVEL, np.inf), strict=True)
    return [
        [_corners(points[start : end - 1] - 1) for start, end in itertools.pairwise(cuts)]
        for points, cuts in parts
    ]


def _corners(crossings: Ring) -> Ring:
    """Corners of the pixels' edges that a contour crosses, moved inside.

    Each crossing lies between the centres of two neighbours, close to the one inside.
    """
    cell = np.floor(crossings)
    fraction = crossings - cell
    upright = fraction[:, 0] > 0.01
    inward = np.where(fraction < 0.5, -1, 1)
    following = np.roll(np.arange(len(crossings)), -1)
    turns = np.flatnonzero(upright != upright[following])
    # At a turn one of the two edges says where the corner is in x, the other in y.
    across = np.where(upright[turns], turns, following[turns])
    down = np.where(upright[turns], following[turns], turns)
    x = cell[across, 0] + 1 + INSET * inward[across, 0]
    y = cell[down, 1] + 1 + INSET * inward[down, 1]
    return np.stack([x, y], axis=1)


def _join_rings(rings: list[Ring]) -> Ring:
    """Outer ring and holes as one ring, cut open from each hole's top side upwards."""
    if len(rings) == 1:
        return rings[0]
    ring, start, y, low, high = _flat_sides(rings)
    cuts: dict[tuple[int, int], list[tuple[float, Ring]]] = {}
    tops = [float(points[:, 1].min()) for points in rings]
    # A hole that hangs on another lies below that one's top, so the lower come first.
    for hole in sorted(range(1, len(rings)), key=lambda h: -tops[h]):
        own = np.flatnonzero((ring == hole) & (y == tops[hole]))
        side = own[low[own].argmin()]
        x = low[side] + 0.5 + INSET
        above = np.flatnonzero((low < x) & (x < high) & (y < tops[hole]))
        target = above[y[above].argmax()]
        ends = np.array([[x, y[target]], [x, tops[hole]]])
        inside = _walk(rings[hole], int(start[side]) + 1, hole, cuts)
        way = np.concatenate([ends, inside, ends[::-1]])
        cuts.setdefault((int(ring[target]), int(start[target])), []).append((float(x), way))
    return _walk(rings[0], 0, 0, cuts)


def _walk(
    points: Ring, start: int, ring: int, cuts: dict[tuple[int, int], list[tuple[float, Ring]]]
) -> Ring:
    """Once round a ring from a vertex, with the detours that begin on its sides."""
    pieces = []
    for step in range(len(points)):
        here = (start + step) % len(points)
        pieces.append(points[here : here + 1])
        detours = cuts.get((ring, here), [])
        backwards = points[(here + 1) % len(points), 0] < points[here, 0]
        pieces += [way for _, way in sorted(detours, key=lambda d: d[0], reverse=bool(backwards))]
    return np.concatenate(pieces)


def _flat_sides(rings: list[Ring]) -> tuple[NDArray[np.int64], NDArray[np.int64], Ring, Ring, Ring]:
    """Horizontal sides of all rings: ring, index of the first vertex, y, least x, greatest x."""
    found = []
    for number, points in enumerate(rings):
        ends = np.roll(points, -1, axis=0)
        flat = np.flatnonzero(points[:, 1] == ends[:, 1])
        found.append(
            (
                np.full(len(flat), number),
                flat,
                points[flat, 1],
                np.minimum(points[flat, 0], ends[flat, 0]),
                np.maximum(points[flat, 0], ends[flat, 0]),
            )
        )
    ring, start, y, low, high = (np.concatenate(column) for column in zip(*found, strict=True))
    return ring, start, y, low, high
