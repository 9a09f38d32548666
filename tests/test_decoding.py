"""Large images are decoded within a budget of memory, one at a time."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import ImageError
from recoseg.io import decoding, images

SIDE = 9000
GREY16, RGBA, RGB = (16, 0, 2), (8, 6, 4), (8, 2, 3)
CHILD = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from recoseg.io import images
path, at_least, threads = sys.argv[1], int(sys.argv[2]) or None, int(sys.argv[3])
with ThreadPoolExecutor(threads) as pool:
    for done in pool.map(lambda _: images.read(path, at_least=at_least).shape, range(threads)):
        print(done)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def png(path: Path, side: int, kind: tuple[int, int, int]) -> Path:
    """A black square, written row by row."""
    depth, colour, each = kind
    packer, data = zlib.compressobj(1), b""
    rows = bytes(1 + side * each) * 100
    for _ in range(side // 100):
        data += packer.compress(rows)
    data += packer.flush()
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    with path.open("wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        for name, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
            check = struct.pack(">I", zlib.crc32(name + body))
            stream.write(struct.pack(">I", len(body)) + name + body + check)
    return path


def peak(path: Path, at_least: int = 0, threads: int = 1) -> float:
    """Bytes at most, beyond those for a tiny image."""
    tiny = png(path.with_name("tiny.png"), 100, RGB)
    found = [
        subprocess.run(
            [sys.executable, "-c", CHILD, p, str(at_least), str(threads)],
            capture_output=True, check=True, text=True,
        ).stdout.split()[-1]
        for p in (tiny, path)
    ]  # fmt: skip
    return (int(found[1]) - int(found[0])) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize(("kind", "most"), [(GREY16, 5), (RGBA, 7), (RGB, 7)])
def test_memory_is_that_of_the_image_and_of_the_result(tmp_path, kind, most):
    path = png(tmp_path / "x.png", SIDE, kind)
    assert peak(path) < most * SIDE**2 + 80 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_several_at_once_take_the_memory_of_one(tmp_path):
    """Reduced while they are read, so that results are small."""
    path = png(tmp_path / "x.png", 6000, RGBA)
    assert peak(path, at_least=300, threads=4) < 4 * 6000**2 + 100 * 2**20


def test_large_images_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(decoding, "LARGE", 100)
    inside, most = [], []
    real = Image.Image.convert

    def slow(self, *args, **options):
        inside.append(0)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return real(self, *args, **options)

    monkeypatch.setattr(Image.Image, "convert", slow)
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(stream, "PNG")
    readers = [threading.Thread(target=images.read, args=(stream.getvalue(),)) for _ in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert most == [1] * 6


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "L", "I;16", "F", "CMYK", "1"])
@pytest.mark.parametrize("size", [(37, 53), (1, 64), (64, 1)])
def test_strips_change_no_pixel(monkeypatch, mode, size):
    dice = np.random.default_rng(0)
    whole = Image.fromarray(dice.integers(0, 256, (size[1], size[0], 4), np.uint8), "RGBA")
    if mode in ("I;16", "F"):
        values = dice.integers(0, 60000, (size[1], size[0]))
        image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.float32))
    else:
        image = whole.convert(mode)
    at_once = images.read(image)
    monkeypatch.setattr(decoding, "_STRIP", 3 * size[0])
    np.testing.assert_array_equal(images.read(image), at_once)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_reducing_while_it_is_read_is_reducing_after(monkeypatch, mode):
    dice = np.random.default_rng(1)
    if mode == "I;16":
        image = Image.fromarray(dice.integers(0, 60000, (101, 67)).astype(np.uint16))
    else:
        image = Image.fromarray(dice.integers(0, 256, (101, 67, 4), np.uint8), "RGBA").convert(mode)
    whole = Image.fromarray(images.read(image))
    monkeypatch.setattr(decoding, "LARGE", 100)
    monkeypatch.setattr(decoding, "_STRIP", 7 * 67)
    reduced = images.read(image, at_least=20)
    assert min(reduced.shape[:2]) >= 20
    np.testing.assert_array_equal(reduced, np.asarray(whole.reduce(3)))


def test_the_limit_is_in_bytes_too(monkeypatch):
    stream = io.BytesIO()
    Image.new("RGB", (40, 40)).save(stream, "TIFF")
    monkeypatch.setattr(decoding, "MAX_BYTES", 40 * 40 * 14)
    with pytest.raises(ImageError, match="takes 0 MiB to decode, over the limit of 0; shrink it"):
        images.read(stream.getvalue())
    assert images.read(Image.new("RGB", (40, 40))).shape == (40, 40, 3)


def test_libtiff_prints_nothing(tmp_path, capfd):
    dice, rough = random.Random(0), np.random.default_rng(0)
    stream = io.BytesIO()
    pixels = rough.integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "TIFF", compression="tiff_lzw")
    for _ in range(20):
        data = bytearray(stream.getvalue())
        for _ in range(20):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            images.read(bytes(data))
        except ImageError:
            continue
    assert capfd.readouterr() == ("", "")
