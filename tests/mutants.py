"""Small images of several formats, and what damage makes of their bytes."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MODES = ("RGB", "RGBA", "L", "P", "1")


def mutants(count: int, seed: int = 0) -> Iterator[bytes]:
    """Encoded images of 32 to 96 pixels with flipped, zeroed, repeated or missing bytes."""
    dice = random.Random(seed)
    pixels = np.random.default_rng(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        size = (dice.randint(32, 96), dice.randint(32, 96))
        image = Image.fromarray(pixels.integers(0, 256, (*size[::-1], 3), np.uint8))
        mode = "RGB" if kind in ("JPEG", "WEBP") else dice.choice(MODES)
        if (kind, mode) == ("BMP", "RGBA"):
            mode = "RGB"
        stream = io.BytesIO()
        image.convert(mode).save(stream, kind)
        yield _mutated(bytearray(stream.getvalue()), dice)


def _mutated(data: bytearray, dice: random.Random) -> bytes:
    for _ in range(dice.choice((1, 1, 2, 8))):
        # Headers decide most, so half of the damage meets them.
        place = dice.randrange(min(64, len(data)) if dice.random() < 0.5 else len(data))
        match dice.randrange(5):
            case 0:
                data[place] ^= 1 << dice.randrange(8)
            case 1:
                data[place] = dice.choice((0, 1, 127, 128, 255))
            case 2:
                data[place : place + 16] = bytes(len(data[place : place + 16]))
            case 3:
                data[place:place] = data[place : place + dice.randrange(1, 64)]
            case 4 if place > 8:
                del data[place:]
    return bytes(data) or b"\0"
