"""Pixels in: uint8 HWC RGB at the border, float (3, H, W) in [0, 1] inside."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from recoseg.errors import ImageError, InputError

MAX_PIXELS = 200_000_000
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jfif"}
)

RGB = NDArray[np.uint8]
ImageLike = str | Path | bytes | Image.Image | NDArray[np.uint8]


def read(source: ImageLike, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS) -> RGB:
    """Read anything a user calls an image.

    Args:
        source: a path, encoded bytes, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).
        at_least: let JPEG decode at a reduced scale whose short side is still at least this many
            pixels; several times faster on large photos.
        max_pixels: larger images are refused before they are decoded (decompression bombs).

    Returns:
        uint8 RGB (H, W, 3), EXIF orientation applied, alpha laid over white, 16-bit scaled to 8,
        the first frame of an animation.

    Raises:
        ImageError: not an image, truncated, or too large; the message names the source.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the image given", max_pixels)
    name = "the bytes given" if isinstance(source, bytes) else str(source)
    stream = io.BytesIO(source) if isinstance(source, bytes) else _existing(Path(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(stream) as image:
                _guard(image, name, max_pixels)
                if at_least is not None and image.format == "JPEG":
                    _draft(image, at_least)
                return _to_rgb(image, name, max_pixels)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{name} cannot be read as an image ({type(error).__name__}: {error}); "
            "check the file or leave it out."
        ) from error


def to_tensor(image: RGB) -> torch.Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)


def resize(image: RGB, size: tuple[int, int]) -> RGB:
    """Bicubic resize to ``size`` = (H, W), antialiased."""
    if image.shape[:2] == size:
        return image
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


def centre_crop(image: RGB, size: int) -> RGB:
    """The central ``size`` x ``size`` square of an image at least that large on both sides."""
    height, width = image.shape[:2]
    if min(height, width) < size:
        raise InputError(f"a {height}x{width} image has no {size}-pixel square; resize it first.")
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def square(image: RGB, size: int) -> RGB:
    """Short side to ``size``, then the central square (facts of the paper's archive geometry)."""
    return centre_crop(resize_short(image, size), size)


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    found = "is a folder, not an image" if path.is_dir() else "does not exist"
    raise ImageError(f"{path} {found}; give the path of an image file.")


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
        return _to_rgb(Image.fromarray(array, "RGBA"), "the array given", MAX_PIXELS)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    raise ImageError(
        f"an image array must have 1, 3 or 4 channels last, not shape {tuple(array.shape)}; "
        "transpose channels-first arrays with x.transpose(1, 2, 0)."
    )


def _guard(image: Image.Image, name: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{name} has {image.width}x{image.height} pixels, over the limit of "
            f"{max_pixels / 1e6:.0f} million; shrink it or raise max_pixels."
        )


def _draft(image: Image.Image, at_least: int) -> None:
    short = min(image.size)
    scale = next((s for s in (8, 4, 2) if short // s >= at_least), None)
    if scale is not None:
        image.draft("RGB", (-(-image.width // scale), -(-image.height // scale)))


def _to_rgb(image: Image.Image, name: str, max_pixels: int) -> RGB:
    _guard(image, name, max_pixels)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return _from_deep(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB")).copy()


def _from_deep(image: Image.Image) -> RGB:
    # 16-bit files use their full range by convention; other ranges are stretched to what they hold.
    values = np.asarray(image, dtype=np.float64)
    top = 65535.0 if image.mode.startswith("I;16") or values.max() > 255 else 255.0
    if image.mode == "F" and values.max() <= 1:
        top = 1.0
    grey = np.clip(np.nan_to_num(values) / top * 255, 0, 255).round().astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
