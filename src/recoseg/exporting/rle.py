"""Run-length encodings of COCO (by pycocotools) and Label Studio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import optional_import
from recoseg.exporting.regions import Region

# Of the four lengths in bits that a Label Studio stream may use.
_BITS = (4, 8, 12, 16)
_CHANNELS = 4


def encode_coco(region: Region) -> dict[str, Any]:
    """COCO's compressed RLE of a region: runs down the columns of the image.

    Raises:
        InputError: pycocotools is not installed.
    """
    with optional_import("COCO's RLE needs pycocotools", "export"):
        from pycocotools import mask as coder
    size = list(region.size)
    runs = {"size": size, "counts": run_lengths(region, columns=True).tolist()}
    return {"size": size, "counts": coder.frPyObjects(runs, *size)["counts"].decode("ascii")}


def encode_brush(region: Region) -> list[int]:
    """Label Studio's RLE of a region: bytes of a bit stream.

    The stream holds the image's R, G, B, A values row by row, here all 255 inside and 0 outside.
    It begins with their count (32 bits), their width less one (5), and four lengths less one (4
    each). Then each run has a 1, the index of one of the lengths (2 bits), the run's length less
    one in so many bits, and the value (8).
    """
    height, width = region.size
    head = f"{height * width * _CHANNELS:032b}{8 - 1:05b}"
    pieces = [head + "".join(f"{bits - 1:04b}" for bits in _BITS)]
    for number, length in enumerate(run_lengths(region, columns=False).tolist()):
        left = length * _CHANNELS
        while left:
            part = min(left, 1 << _BITS[-1])
            which = next(i for i, bits in enumerate(_BITS) if part <= 1 << bits)
            value = 255 * (number % 2)
            pieces.append(f"1{which:02b}{part - 1:0{_BITS[which]}b}{value:08b}")
            left -= part
    stream = np.frombuffer("".join(pieces).encode("ascii"), np.uint8) - ord("0")
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def run_lengths(region: Region, columns: bool) -> NDArray[np.int64]:
    """Lengths of the runs outside, inside, outside ... the region, in order over the image.

    Made of the region's box alone, for there may be thousands of small ones in a large image.

    Args:
        region: a region with at least one pixel.
        columns: go down the columns, else along the rows.
    """
    mask, (height, width) = region.mask, region.size
    first, offset, length = (region.top, region.left, width)
    if columns:
        mask, first, offset, length = mask.T, region.left, region.top, height
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    ends = []
    for step in (1, -1):
        line, place = np.nonzero(steps == step)
        ends.append((first + line) * length + offset + place)
    # A run that reaches the end of a line goes on at the start of the next.
    apart = ends[0][1:] != ends[1][:-1]
    starts, stops = ends[0][np.append(True, apart)], ends[1][np.append(apart, True)]
    bounds = np.stack([starts, stops], axis=1).ravel()
    return np.diff(np.concatenate([[0], bounds, [height * width]]))
