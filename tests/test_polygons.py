"""Regions, polygons and run lengths against readers that others wrote."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coder

from recoseg.exporting import rle
from recoseg.exporting.polygons import round_inwards, trace_mask, trace_outlines
from recoseg.exporting.regions import Region, drop_small_regions, regions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # supervision says that it goes without OpenCV
    import supervision as sv

# numpy's complaint about pycocotools, which decodes rightly all the same.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
label_maps = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.integers(-1, 3)
)
SPIRAL = """
########
#......#
#.####.#
#.#..#.#
#.##.#.#
#....#.#
######.#
.......#
"""
TARGET = """
#########
#.......#
#.#####.#
#.#...#.#
#.#.#.#.#
#.#...#.#
#.#####.#
#.......#
#########
"""


def drawn(picture: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in picture.split()])


def whole(mask) -> Region:
    height, width = mask.shape
    return Region(0, 0, 0, mask, (height, width))


def by_coco(rings, size):
    flat = [ring.ravel().tolist() for ring in rings]
    return coder.decode(coder.merge(coder.frPyObjects(flat, *size))).astype(bool)


def by_drawing(rings, size):
    """As OpenCV draws them from whole numbers."""
    drawn = [sv.polygon_to_mask(ring.astype(int), size[::-1]) for ring in rings]
    return np.any(drawn, axis=0)


def placed(mask) -> Region:
    """The mask as a region with its box."""
    (region,) = regions(np.where(mask, 0, -1).astype(np.int32), "class")
    return region


def check(mask):
    rings = trace_outlines(whole(mask))
    if not mask.any():
        assert rings == []
        return
    near = [round_inwards(ring) for ring in rings]
    np.testing.assert_array_equal(by_coco(rings, mask.shape), mask)
    np.testing.assert_array_equal(by_drawing(rings, mask.shape), mask)
    np.testing.assert_array_equal(by_drawing(near, mask.shape), mask)
    np.testing.assert_array_equal(by_drawing([r.round() for r in near], mask.shape), mask)


@given(masks)
@settings(max_examples=150, deadline=None)
def test_every_reader_gets_the_very_mask_from_its_polygons(mask):
    check(mask)


@pytest.mark.parametrize("picture", [SPIRAL, TARGET, "#", "#.#", "#.\n.#", "###\n#.#\n###"])
def test_the_very_mask_of_hard_shapes_and_of_their_opposites(picture):
    check(drawn(picture))
    check(~drawn(picture))


def test_a_rounding_reader_of_coco_is_at_most_a_pixel_too_large_to_the_right_and_below():
    mask = np.random.default_rng(0).random((40, 40)) < 0.6
    got = by_drawing([ring.round() for ring in trace_outlines(whole(mask))], mask.shape)
    padded = np.pad(mask, 1)
    grown = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, :-2] | padded[:-2, :-2]
    assert (got & ~grown).sum() == 0
    assert (mask & ~got).sum() == 0


def test_one_ring_for_each_part_however_many_holes():
    assert len(trace_outlines(whole(drawn(TARGET)))) == 3
    assert [len(rings) for rings in trace_mask(drawn(TARGET))] == [2, 2, 1]
    holed = np.ones((9, 31), bool)
    holed[2:8:2, 1:30:2] = False
    assert len(trace_outlines(whole(holed))) == 1
    check(holed)


def test_a_ring_is_rectilinear_and_inside_the_image():
    mask = np.random.default_rng(1).random((30, 20)) < 0.7
    for ring in trace_outlines(whole(mask)):
        steps = np.roll(ring, -1, axis=0) - ring
        assert (np.count_nonzero(steps, axis=1) <= 1).all()
        assert (ring > 0).all()
        assert (ring < (20, 30)).all()


@given(label_maps, st.sampled_from(["class", "component"]))
@settings(max_examples=60, deadline=None)
def test_regions_share_out_all_pixels_that_are_not_void(labels, parts):
    painted = np.full_like(labels, -1)
    for region in regions(labels, parts):
        assert (painted[region.window][region.mask] == -1).all()
        assert region.mask[0].any()
        assert region.mask[:, -1].any()
        assert region.area == region.whole().sum()
        painted[region.whole()] = region.label
    np.testing.assert_array_equal(painted, labels)


def test_a_component_is_connected_by_sides():
    labels = np.where(drawn("##.\n..#\n..#"), 0, -1).astype(np.int32)
    assert [r.area for r in regions(labels, "component")] == [2, 2]
    assert [r.area for r in regions(labels, "class")] == [4]


def test_small_regions_become_void():
    labels = np.array([[0, 0, 1], [0, 2, -1]], np.int32)
    kept, found, small = drop_small_regions(labels, "class", 2)
    assert kept.tolist() == [[0, 0, -1], [0, -1, -1]]
    assert [r.label for r in found] == [0]
    assert small == 2
    assert labels[0, 2] == 1


class Bits:
    def __init__(self, data):
        self.bits, self.place = "".join(f"{byte:08b}" for byte in data), 0

    def read(self, count):
        self.place += count
        return int(self.bits[self.place - count : self.place], 2)


def unbrushed(data, height, width):
    """Label Studio's stream, by its published description; (H, W, 4)."""
    bits = Bits(data)
    count, word = bits.read(32), bits.read(5) + 1
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < count:
        repeated = bits.read(1)
        length = bits.read(sizes[bits.read(2)]) + 1
        if repeated:
            values += [bits.read(word)] * length
        else:
            values += [bits.read(word) for _ in range(length)]
    assert len(bits.bits) - bits.place < 8
    return np.array(values, np.uint8).reshape(height, width, 4)


@given(masks.filter(np.any))
@settings(max_examples=60, deadline=None)
def test_a_brush_stroke_is_read_back_by_its_description(mask):
    pixels = unbrushed(rle.encode_brush(placed(mask)), *mask.shape)
    np.testing.assert_array_equal(pixels, np.repeat(mask[:, :, None], 4, axis=2) * np.uint8(255))


@pytest.mark.parametrize("length", [4, 5, 64, 65, 1024, 1025, 16384, 16385, 40000])
def test_a_brush_stroke_of_any_length(length):
    mask = np.zeros((2, length), bool)
    mask[0] = True
    assert (unbrushed(rle.encode_brush(placed(mask)), *mask.shape)[:, :, 3] == mask * 255).all()


@given(masks.filter(np.any))
@settings(max_examples=60, deadline=None)
def test_run_lengths_of_coco_are_read_back(mask):
    np.testing.assert_array_equal(coder.decode(rle.encode_coco(placed(mask))).astype(bool), mask)
