"""Decoding by Pillow: images to uint8 RGB in strips, size limits, and suppressed warnings.

Memory is that of the image and of the result. Files are untrusted, and Pillow and libtiff report
their faults as warnings and printed lines, which name no file; what matters comes as exceptions.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps

from recoseg.errors import ImageError

# Images of more pixels are decoded one at a time, whatever the number of threads.
LARGE = 24_000_000
# Of what an image takes to decode: the decoder's buffers, Pillow's pixels, and the result.
MAX_BYTES = 1280 * 2**20
_STRIP = 2**20
_ONE_LARGE = threading.RLock()
# Decoders that hold an image whole before Pillow does, and bytes per pixel there.
_WHOLE = {"WEBP": 4, "TIFF": 8, "GIF": 2}
_SMALL_MODES = {"1": 1, "L": 1, "P": 1, "LA": 4, "I;16": 2, "I;16B": 2, "I;16L": 2}


def check_size(image: Image.Image, label: str, max_pixels: int) -> None:
    """ImageError for an image without pixels, or with too many, or that takes too much memory."""
    pixels = image.width * image.height
    if not pixels:
        raise ImageError(f"{label} has no pixels; leave it out.")
    if pixels > max_pixels:
        raise ImageError(
            f"{label} has {image.width}x{image.height} pixels, over the limit of "
            f"{max_pixels / 1e6:.0f} million; shrink it or leave it out."
        )
    each = _SMALL_MODES.get(image.mode, 4) + 3 + _WHOLE.get(image.format or "", 0)
    if pixels * each > MAX_BYTES:
        raise ImageError(
            f"{label} takes {pixels * each / 2**20:.0f} MiB to decode, over the limit of "
            f"{MAX_BYTES / 2**20:.0f}; shrink it or leave it out."
        )


@contextlib.contextmanager
def one_if_large(image: Image.Image) -> Iterator[None]:
    """Decode a large image only while no other thread does."""
    if image.width * image.height > LARGE:
        with _ONE_LARGE:
            yield
    else:
        yield


def to_rgb(
    image: Image.Image, label: str, max_pixels: int, at_least: int | None, ours: bool = False
) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) of an image, upright, alpha over white, 16 bits scaled to 8.

    A large one is reduced by a whole factor where its short side stays ``at_least`` pixels. One
    that is ``ours`` may be turned in place.
    """
    check_size(image, label, max_pixels)
    large = image.width * image.height > LARGE
    image = _upright(image, ours)
    scale = max(1, min(image.size) // at_least) if large and at_least is not None else 1
    deep = _range_of(image) if image.mode.startswith(("I", "F")) else None
    height, width = -(-image.height // scale), -(-image.width // scale)
    result = np.empty((height, width, 3), np.uint8)
    step = max(1, _STRIP // image.width // scale) * scale
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height)))
        part = _flat(strip) if deep is None else _reduce_depth(strip, deep)
        if scale > 1:
            part = part.reduce(scale)
        first = top // scale
        result[first : first + part.height] = np.asarray(part)
    return result


def _flat(strip: Image.Image) -> Image.Image:
    if strip.mode == "La":
        strip = strip.convert("LA")
    if strip.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in strip.info:
        strip = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
    return strip.convert("RGB")


def _upright(image: Image.Image, ours: bool) -> Image.Image:
    image.load()
    try:
        if ours:
            ImageOps.exif_transpose(image, in_place=True)
            return image
        return ImageOps.exif_transpose(image)
    # Damaged EXIF data say nothing about the pixels.
    except Exception:
        return image


def _range_of(image: Image.Image) -> float:
    """The value that is white: 16-bit files use their full range, others the least that fits."""
    top = 0.0
    step = max(1, _STRIP // image.width)
    for first in range(0, image.height, step):
        strip = image.crop((0, first, image.width, min(first + step, image.height)))
        top = max(top, float(_values(strip).max()))
    ranges = {"I": (255, 65535), "F": (1, 255, 65535)}.get(image.mode, (65535,))
    return next((r for r in ranges if top <= r), top)


def _reduce_depth(strip: Image.Image, full: float) -> Image.Image:
    grey = np.clip(_values(strip) / full * 255, 0, 255).round().astype(np.uint8)
    return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))


def _values(strip: Image.Image) -> NDArray[np.float32]:
    return np.nan_to_num(np.asarray(strip).astype(np.float32), posinf=0, neginf=0)


class _Silence:
    """Reference-counted ``catch_warnings``: threads may leave it in any order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.filters = warnings.catch_warnings()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.filters = warnings.catch_warnings()
                self.filters.__enter__()
                warnings.filterwarnings("ignore", module="PIL")
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    self.filters.__exit__(None, None, None)


silence_pillow = _Silence()


@functools.cache
def silence_libtiff() -> None:
    """Stop libtiff from printing a line, which names no file, for every fault it meets.

    What matters of them reaches us as Pillow's exceptions. Where the library is not found, as it
    goes by another name, it keeps talking.
    """
    bundled = sorted(Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*"))
    bundled += sorted(Path(PIL.__file__).parent.glob(".dylibs/libtiff*"))
    name = str(bundled[0]) if bundled else ctypes.util.find_library("tiff")
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(name) if name else None
        for function in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, function)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
