"""Run lengths: COCO's by pycocotools, and Label Studio's bit stream."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import InputError
from recoseg.exporting.regions import Mask

# Of the four lengths in bits that a Label Studio stream may use.
_BITS = (4, 8, 12, 16)
_CHANNELS = 4


def coco(mask: Mask) -> dict[str, Any]:
    """COCO's compressed RLE of an (H, W) mask.

    Raises:
        InputError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coder
    except ImportError as error:
        raise InputError("COCO's RLE needs pycocotools; pip install 'recoseg[export]'.") from error
    encoded = coder.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def brush(mask: Mask) -> list[int]:
    """Label Studio's RLE of an (H, W) mask: bytes of a bit stream.

    The stream holds the image's R, G, B, A values row by row, here all 255 inside and 0 outside.
    It begins with their count (32 bits), their width less one (5), and four lengths less one (4
    each). Then each run has a 1, the index of one of the lengths (2 bits), the run's length less
    one in so many bits, and the value (8).
    """
    starts, lengths, values = _runs(mask.ravel())
    del starts
    head = f"{mask.size * _CHANNELS:032b}{8 - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in _BITS)
    pieces = [head]
    for length, value in zip(lengths.tolist(), values.tolist(), strict=True):
        left = length * _CHANNELS
        while left:
            part = min(left, 1 << _BITS[-1])
            which = next(i for i, bits in enumerate(_BITS) if part <= 1 << bits)
            pieces.append(f"1{which:02b}{part - 1:0{_BITS[which]}b}{255 if value else 0:08b}")
            left -= part
    stream = np.frombuffer("".join(pieces).encode("ascii"), np.uint8) - ord("0")
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def _runs(flat: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], Mask]:
    """Start, length and value of each run of a flat array."""
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, len(flat)))
    return starts, lengths, flat[starts]
