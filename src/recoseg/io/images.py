"""Reading, resizing and saving images: uint8 (H, W, 3) RGB outside, float (3, H, W) inside."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from recoseg.errors import ImageError
from recoseg.io import durable
from recoseg.io.decoding import (
    check_size,
    one_if_large,
    silence_libtiff,
    silence_pillow,
    to_rgb,
)

if TYPE_CHECKING:
    import torch

# Pillow's own hard limit; a larger one here would never be reached.
MAX_PIXELS = 178_956_970
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
)
# Pillow's other formats are left out: some start external programs on what the file says.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

RGB = NDArray[np.uint8]
ImageLike = str | Path | bytes | Image.Image | NDArray[np.uint8]


def read(
    source: ImageLike,
    *,
    at_least: int | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> RGB:
    """Read a path, bytes, PIL image or array as uint8 (H, W, 3) RGB.

    Args:
        source: a path, encoded bytes, a PIL image, or a uint8 array (H, W), (H, W, 1), (H, W, 3)
            or (H, W, 4).
        at_least: let JPEG decode at a reduced scale whose short side is still at least this many
            pixels, several times faster on large photos; very large images of other kinds are
            reduced so while they are read.
        max_pixels: larger images are refused before they are decoded (decompression bombs);
            Pillow's own limit, the default, holds as well.
        name: what to call the source in messages; by default its path.

    Returns:
        uint8 RGB (H, W, 3), EXIF orientation applied, alpha laid over white, 16-bit scaled to 8,
        the first frame of an animation.

    Raises:
        ImageError: not an image, truncated, or too large; the message names the source.
    """
    label = printable(name or _label(source))
    try:
        with silence_pillow():
            if isinstance(source, np.ndarray):
                return _from_array(source)
            if isinstance(source, Image.Image):
                return to_rgb(source, label, max_pixels, at_least)
            return _decode(source, label, at_least, max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{label} has more than {MAX_PIXELS / 1e6:.0f} million pixels; shrink it or leave it "
            "out."
        ) from error
    # Pillow's decoders meet hostile bytes with errors of any type; none may end a long run.
    except Exception as error:
        remedy = "convert it to JPEG" if _is_foreign(error) else "check the file"
        raise ImageError(
            f"{label} cannot be read as an image ({_explain(error)}); {remedy} or leave it out."
        ) from error


def printable(text: str) -> str:
    r"""Escape undecodable bytes of a file name as ``\xNN``, so that it prints anywhere."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def to_tensor(image: RGB) -> torch.Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    import torch  # not above: a misspelt path is told at once, without waiting for torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)


def resize(image: RGB, size: tuple[int, int]) -> RGB:
    """Bicubic resize to ``size`` = (H, W), antialiased; ImageError if that is over MAX_PIXELS."""
    if image.shape[:2] == size:
        return image
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(
            f"a {image.shape[0]}x{image.shape[1]} image would grow to {size[0]}x{size[1]} pixels; "
            "crop it to a less extreme shape."
        )
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def short_side(shape: Sequence[int], size: int) -> tuple[int, int]:
    """(H, W) with the short side at ``size`` pixels and the aspect ratio kept."""
    height, width = int(shape[0]), int(shape[1])
    scale = size / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_short(image: RGB, size: int) -> RGB:
    """Bicubic resize so that the short side has ``size`` pixels."""
    return resize(image, short_side(image.shape, size))


def encode_image(
    image: Image.Image | NDArray[Any],
    kind: str = "PNG",
    palette: NDArray[np.uint8] | None = None,
    **options: Any,
) -> bytes:
    """The bytes of an image file.

    Args:
        image: a PIL image, or an array that PIL takes: (H, W) grey or (H, W, 3) RGB.
        kind: ``"PNG"``, ``"JPEG"`` or ``"WEBP"``.
        palette: (C, 3) colours; the image holds their indices and is saved as an indexed PNG.
        options: as ``PIL.Image.Image.save``, for example ``quality``.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if palette is not None:
        picture = picture.convert("P")
        picture.putpalette(palette.tobytes())
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def save_image(
    path: Path,
    image: Image.Image | NDArray[Any],
    palette: NDArray[np.uint8] | None = None,
    **options: Any,
) -> Path:
    """Write ``encode_image`` of the kind that the path's suffix says, whole or not at all."""
    durable.write(path, encode_image(image, KINDS[path.suffix.lower()], palette, **options))
    return path


def _label(source: ImageLike) -> str:
    if isinstance(source, str | Path):
        return str(source)
    kinds = {bytes: "the bytes given", np.ndarray: "the array given"}
    return kinds.get(type(source), "the image given")


def _explain(error: Exception) -> str:
    # Pillow's own words name a memory address here, which would differ from run to run.
    if _is_foreign(error):
        return f"it is none of {', '.join(FORMATS)}"
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'}"


def _is_foreign(error: Exception) -> bool:
    return isinstance(error, UnidentifiedImageError)


def _decode(source: str | Path | bytes, label: str, at_least: int | None, max_pixels: int) -> RGB:
    stream = io.BytesIO(source) if isinstance(source, bytes) else _check_file(Path(source), label)
    if isinstance(source, bytes) and not source:
        raise ImageError(f"{label} is empty (0 bytes); check the file or leave it out.")
    with Image.open(stream, formats=FORMATS) as image:
        check_size(image, label, max_pixels)
        if at_least is not None and image.format in ("JPEG", "MPO"):
            _draft(image, at_least)
        if image.format == "TIFF":
            silence_libtiff()
        with one_if_large(image):
            try:
                return to_rgb(image, label, max_pixels, at_least, ours=True)
            finally:
                image.close()  # and its memory is free before the next one begins


def _check_file(path: Path, label: str) -> Path:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ImageError(f"{label} does not exist; give the path of an image file.") from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{label} is a folder, not an image; give the path of an image file.")
    # A named pipe would be waited for without end.
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.R_OK):
        raise ImageError(f"{label} cannot be opened for reading; check its kind and permissions.")
    if not status.st_size:
        raise ImageError(f"{label} is empty (0 bytes); check the file or leave it out.")
    return path


def _from_array(array: NDArray[np.uint8]) -> RGB:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(
            f"an image array must be uint8 (H, W), (H, W, 3) or (H, W, 4), not {array.dtype} "
            f"{tuple(array.shape)}; convert it, for example with (x * 255).astype('uint8')."
        )
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    if array.shape[2] == 3:
        return np.ascontiguousarray(array)
    if array.shape[2] == 4:
        return to_rgb(Image.fromarray(array, "RGBA"), "the array given", MAX_PIXELS, None)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    raise ImageError(
        f"an image array must have 1, 3 or 4 channels last, not shape {tuple(array.shape)}; "
        "transpose channels-first arrays with x.transpose(1, 2, 0)."
    )


def _draft(image: Image.Image, at_least: int) -> None:
    # Rounded down, because the decoder takes the largest scale that reaches the size asked for.
    short = min(image.size)
    scale = next((s for s in (8, 4, 2) if short // s >= at_least), None)
    if scale is not None:
        image.draft(None, (image.width // scale, image.height // scale))
