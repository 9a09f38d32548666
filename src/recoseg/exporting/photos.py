"""Photos inside exports: copied, or re-encoded upright."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from PIL import Image

from recoseg.errors import ImageError
from recoseg.io import images
from recoseg.io.decoding import silence_pillow
from recoseg.io.images import encode_image

_ORIENTATION = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})


def read_upright_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image file with its EXIF orientation applied; only its head is read.

    Raises:
        ImageError: it is missing or no image.
    """
    (width, height), turned, _ = _head(path)
    return (width, height) if turned in _SIDEWAYS else (height, width)


def encode_photo(path: Path, suffixes: Collection[str]) -> tuple[str, bytes]:
    """Suffix and bytes to store an image under.

    The file's own bytes where it is upright and its suffix is among ``suffixes``; else a JPEG of
    quality 95, turned upright, because many readers look past the EXIF orientation.
    """
    suffix = path.suffix.lower()
    _, turned, format = _head(path)
    honest = Image.registered_extensions().get(suffix) == format
    if turned in (0, 1) and honest and suffix in suffixes:
        return suffix, path.read_bytes()
    return ".jpg", encode_image(images.read(path), "JPEG", quality=95)


def _head(path: Path) -> tuple[tuple[int, int], int, str]:
    """Stored (width, height), EXIF orientation (0 if none), and format."""
    try:
        with silence_pillow(), Image.open(path, formats=images.FORMATS) as image:
            size, format = image.size, str(image.format)
            try:
                turned = int(image.getexif().get(_ORIENTATION, 0))
            # Damaged EXIF data say nothing about the pixels.
            except Exception:
                turned = 0
            return size, turned if 1 <= turned <= 8 else 0, format
    except FileNotFoundError:
        raise ImageError(
            f"{path} does not exist; give the folder of photos that was segmented."
        ) from None
    # Pillow meets hostile bytes with errors of any type.
    except Exception as error:
        raise ImageError(f"{path} cannot be read as an image; check the file.") from error
