"""Features of unlabelled sample pixels that ship with ``lite``, for median cosines of concepts.

A median over them needs no archive, and no small or one-sided archive can bend it.
``training/typical_pixels.py`` makes the file.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from recoseg.errors import MissingWeights

FILE = Path(__file__).parent.parent / "data" / "lite_pixels.safetensors"


def read(model: str, file: Path = FILE) -> Tensor:
    """(m, d) float32 raw features of m pixels, one of each of m photos.

    Args:
        model: ``"lite"`` or ``"lite:16"``; the pixels of both are at the same places.
        file: where they are.

    Raises:
        MissingWeights: the file is absent or damaged.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            pixels: Tensor = stored.get_tensor(model).float()
    except (OSError, SafetensorError) as error:
        raise MissingWeights(
            f"the pixels {file} are absent or damaged ({error}); reinstall recoseg."
        ) from error
    return pixels
