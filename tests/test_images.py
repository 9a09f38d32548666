"""Every kind of file that people call an image, and what is sent to break readers of them."""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.errors import ImageError
from recoseg.io import images
from recoseg.io.decoding import silence_pillow
from recoseg.io.squares import cut_square


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(height: int = 24, width: int = 36, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    planes = [y * 255 // height, x * 255 // width, (y + x) * 255 // (height + width)]
    return np.stack(planes, axis=2).astype(np.uint8)


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


# What a viewer must do to the stored pixels for each EXIF orientation.
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


class TestOrientation:
    @pytest.mark.parametrize("orientation", UPRIGHT)
    @pytest.mark.parametrize(
        ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
    )
    def test_lossless_files_are_turned_exactly(self, kind, options, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encode(Image.fromarray(noise()), kind, exif=exif, **options)
        np.testing.assert_array_equal(images.read(data), UPRIGHT[orientation](noise()))

    @pytest.mark.parametrize("orientation", UPRIGHT)
    @pytest.mark.parametrize("at_least", [None, 20])
    def test_jpeg_is_turned_at_any_scale(self, orientation, at_least):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = gradient(96, 160)
        data = encode(Image.fromarray(stored), "JPEG", exif=exif, quality=95)
        expected = UPRIGHT[orientation](stored)
        read = images.read(data, at_least=at_least)
        if at_least:
            assert min(read.shape[:2]) == 24
            expected = images.resize(np.ascontiguousarray(expected), read.shape[:2])
        assert read.shape == expected.shape
        assert np.abs(read.astype(int) - expected).mean() < 4

    def test_damaged_exif_is_ignored(self):
        data = encode(
            Image.fromarray(noise()), "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff junk"
        )
        np.testing.assert_array_equal(images.read(data), noise())


class TestKinds:
    def test_greyscale_becomes_three_equal_channels(self):
        grey = noise()[:, :, 0]
        read = images.read(encode(Image.fromarray(grey), "PNG"))
        np.testing.assert_array_equal(read, np.stack([grey] * 3, axis=2))

    def test_black_and_white(self):
        bits = Image.fromarray(noise()[:, :, 0] > 127)
        assert set(np.unique(images.read(encode(bits, "PNG")))) == {0, 255}

    def test_cmyk_jpeg(self):
        ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
        red = images.read(encode(ink, "JPEG", quality=95))[8, 8].astype(int)
        assert np.abs(red - [254, 0, 0]).max() <= 3

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
    def test_transparent_pixels_are_white(self, mode):
        clear = Image.new("LA" if mode in ("LA", "La") else "RGBA", (4, 4), 0)
        image = clear.convert(mode) if clear.mode != mode else clear
        assert images.read(image).min() == 255

    def test_half_alpha_is_blended_with_white(self):
        half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
        assert images.read(encode(half, "PNG"))[0, 0].tolist() == [255, 127, 127]

    def test_palette_with_a_transparent_entry(self):
        image = Image.new("P", (4, 4), 0)
        image.putpalette([0, 0, 0, 0, 0, 255])
        image.putpixel((1, 0), 1)
        read = images.read(encode(image, "PNG", transparency=0))
        assert read[0, 0].tolist() == [255] * 3
        assert read[0, 1].tolist() == [0, 0, 255]

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_16_bit_grey_uses_its_full_range(self, kind):
        values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
        read = images.read(encode(Image.fromarray(values), kind))
        assert read[0, :, 0].tolist() == [0, 1, 128, 255]

    def test_16_bit_colour_png(self):
        values = np.array([[[0, 32896, 65535]]], dtype=">u2")
        rows = b"\x00" + values.tobytes()
        data = png_header(1, 1, rows).replace(
            struct.pack(">IIB", 1, 1, 8), struct.pack(">IIB", 1, 1, 16)
        )
        header = data[12:29]
        data = data[:29] + struct.pack(">I", zlib.crc32(header)) + data[33:]
        assert images.read(data).tolist() == [[[0, 128, 255]]]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([0.0, 0.5, 1.0], [0, 128, 255]),
            ([0.0, 128.0, 255.0], [0, 128, 255]),
            ([0.0, 32896.0, 65535.0], [0, 128, 255]),
            ([0.0, 1e6, 2e6], [0, 128, 255]),
            ([-5.0, np.nan, 1.0], [0, 0, 255]),
            ([-np.inf, 0.5, np.inf], [0, 128, 0]),
        ],
    )
    def test_float_tiff_is_scaled_by_the_range_that_holds_it(self, values, expected):
        image = Image.fromarray(np.array([values], dtype=np.float32))
        assert images.read(encode(image, "TIFF"))[0, :, 0].tolist() == expected

    def test_32_bit_integers(self):
        for top in (255, 65535, 2**30):
            image = Image.fromarray(np.array([[0, top]], dtype=np.int32))
            assert images.read(image)[0, :, 0].tolist() == [0, 255]

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_first_frame_of_an_animation(self, kind):
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert images.read(data)[4, 4].tolist() == [255, 0, 0]

    def test_phone_jpeg_with_a_second_picture(self):
        first, second = Image.fromarray(gradient(160, 240)), Image.new("RGB", (16, 16))
        data = encode(first, "MPO", save_all=True, append_images=[second])
        assert images.read(data).shape == (160, 240, 3)
        assert images.read(data, at_least=40).shape == (40, 60, 3)

    @pytest.mark.parametrize("kind", ["BMP", "PPM", "JPEG", "GIF"])
    def test_other_formats_keep_their_size(self, kind):
        assert images.read(encode(Image.fromarray(noise()), kind)).shape == (24, 36, 3)

    def test_path_string_bytes_and_pil_agree(self, tmp_path):
        path = tmp_path / "ä photo 写真.png"
        Image.fromarray(noise()).save(path)
        for source in (path, str(path), path.read_bytes(), Image.open(path)):
            np.testing.assert_array_equal(images.read(source), noise())

    @given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 200))
    @settings(max_examples=40, deadline=None)
    def test_a_reduced_jpeg_is_never_too_small(self, height, width, at_least):
        data = encode(Image.new("RGB", (width, height), "red"), "JPEG")
        read = images.read(data, at_least=at_least)
        assert min(read.shape[:2]) >= min(at_least, height, width)
        assert min(read.shape[:2]) < max(2 * at_least + 2, min(height, width) / 8 + 2)

    def test_the_largest_reduction_is_found_for_odd_sizes(self):
        data = encode(Image.fromarray(gradient(1001, 1003)), "JPEG")
        assert images.read(data, at_least=125).shape == (126, 126, 3)


class TestArrays:
    @pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 3), (5, 6, 4)])
    def test_accepted_shapes(self, shape):
        assert images.read(np.full(shape, 255, dtype=np.uint8)).shape == (5, 6, 3)

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((5, 6, 2), dtype=np.uint8),
            np.zeros((3, 50, 60), dtype=np.uint8),
            np.zeros((5, 6, 3), dtype=np.float32),
            np.zeros((0, 6, 3), dtype=np.uint8),
            np.zeros(5, dtype=np.uint8),
        ],
    )
    def test_others_are_refused_with_the_shape(self, array):
        with pytest.raises(ImageError, match=r"image array must"):
            images.read(array)

    def test_not_contiguous(self):
        read = images.read(noise()[::-1, ::2])
        np.testing.assert_array_equal(read, noise()[::-1, ::2])
        assert read.flags.c_contiguous

    def test_an_image_without_pixels(self):
        with pytest.raises(ImageError, match="no pixels"):
            images.read(Image.new("RGB", (0, 5)))


class TestHostile:
    def refused(self, source: images.ImageLike, match: str, **options: int) -> None:
        with pytest.raises(ImageError, match=match) as caught:
            images.read(source, **options)
        assert " at 0x" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_zero_bytes(self, tmp_path):
        self.refused(b"", "is empty")
        path = tmp_path / "none.jpg"
        path.touch()
        self.refused(path, r"none\.jpg is empty")

    def test_text_with_an_image_suffix(self, tmp_path):
        path = tmp_path / "notes.jpg"
        path.write_text("dear diary")
        self.refused(path, r"notes\.jpg cannot be read as an image \(it is none of JPEG")

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
    def test_truncated(self, kind, keep):
        data = encode(Image.fromarray(noise(64, 64)), kind)
        self.refused(data[: int(len(data) * keep)], "cannot be read")

    def test_truncated_image_object(self, tmp_path):
        path = tmp_path / "half.png"
        data = encode(Image.fromarray(noise(64, 64)), "PNG")
        path.write_bytes(data[: len(data) // 2])
        with Image.open(path) as image:
            self.refused(image, "cannot be read")

    def test_header_of_a_huge_image(self):
        self.refused(png_header(60_000, 60_000), "more than 179 million pixels")

    def test_header_of_a_large_image_without_data(self):
        self.refused(png_header(4000, 4000), "cannot be read")

    def test_bomb_that_would_decode(self):
        data = encode(Image.new("L", (1500, 1500)), "PNG")
        assert len(data) < 10_000
        self.refused(data, r"1500x1500 pixels, over the limit", max_pixels=1_000_000)

    def test_programs_are_not_pictures(self, monkeypatch):
        def started(*_args: object, **_options: object) -> None:
            raise AssertionError("a program was started")

        monkeypatch.setattr("subprocess.Popen", started)
        self.refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n", "is none of")

    def test_growth_by_an_extreme_shape(self):
        strip = np.zeros((1, 20_000, 3), dtype=np.uint8)
        with pytest.raises(ImageError, match="would grow to 448x8960000"):
            cut_square(strip, 448)

    def test_missing_folder_pipe_and_impossible_names(self, tmp_path):
        self.refused(tmp_path / "gone.jpg", "does not exist")
        self.refused(tmp_path, "is a folder")
        self.refused(tmp_path / ("x" * 5000), "cannot be read")
        self.refused("a\0b.jpg", "cannot be read")
        if hasattr(os, "mkfifo"):
            os.mkfifo(tmp_path / "pipe.jpg")
            self.refused(tmp_path / "pipe.jpg", "cannot be opened")

    def test_unreadable(self, tmp_path, monkeypatch):
        path = tmp_path / "secret.png"
        Image.fromarray(noise()).save(path)
        path.chmod(0)
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may read anything
        self.refused(path, "permissions")

    @pytest.mark.skipif(sys.platform != "linux", reason="names must be Unicode there")
    def test_name_that_is_not_utf8(self, tmp_path):
        path = os.fsencode(tmp_path) + b"/caf\xe9.png"
        Path(os.fsdecode(path)).write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"caf\\xe9\.png") as caught:
            images.read(os.fsdecode(path))
        str(caught.value).encode("utf-8")

    def test_a_loop_of_links(self, tmp_path):
        (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
        (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
        self.refused(tmp_path / "a.jpg", "cannot be read")

    def test_the_given_name_is_used(self):
        with pytest.raises(ImageError, match=r"^day/1\.jpg cannot"):
            images.read(b"junk", name="day/1.jpg")

    @given(st.data(), st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "MPO"]))
    @settings(max_examples=150, deadline=None)
    def test_damaged_bytes_give_an_image_or_an_image_error(self, data, kind):
        good = bytearray(encode(Image.fromarray(noise(16, 16)), kind))
        for _ in range(data.draw(st.integers(1, 8))):
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
        try:
            read = images.read(bytes(good), max_pixels=10_000)
        except ImageError:
            return
        assert read.ndim == 3
        assert read.dtype == np.uint8


class TestQuiet:
    def test_filters_are_restored_whatever_the_order_of_threads(self):
        before = list(warnings.filters)
        first_in, second_in, first_out = (threading.Event() for _ in range(3))

        def first() -> None:
            with silence_pillow():
                first_in.set()
                second_in.wait(10)
            first_out.set()

        thread = threading.Thread(target=first)
        thread.start()
        first_in.wait(10)
        with silence_pillow():
            second_in.set()
            first_out.wait(10)
            warnings.warn_explicit("from Pillow", UserWarning, "x.py", 1, module="PIL.Image")
        thread.join()
        assert list(warnings.filters) == before
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)


class TestGeometry:
    def test_to_tensor(self):
        tensor = images.to_tensor(noise())
        assert tensor.shape == (3, 24, 36)
        assert tensor.dtype == torch.float32
        np.testing.assert_allclose(tensor.permute(1, 2, 0).numpy() * 255, noise(), atol=1e-4)

    @given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 500))
    def test_short_side(self, height, width, size):
        scaled = images.short_side((height, width), size)
        assert min(scaled) == size
        assert abs(max(scaled) - max(height, width) * size / min(height, width)) <= 0.5 + 1e-6

    def test_resize_to_its_own_size_changes_nothing(self):
        image = noise()
        assert images.resize(image, (24, 36)) is image

    def test_resize_keeps_a_flat_colour(self):
        flat = np.full((50, 80, 3), (10, 200, 30), dtype=np.uint8)
        assert (images.resize_short(flat, 33) == (10, 200, 30)).all()
        assert images.resize_short(flat, 33).shape == (33, 53, 3)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (300, 200), (31, 32)])
    def test_square(self, shape):
        assert cut_square(noise(*shape), 32).shape == (32, 32, 3)
