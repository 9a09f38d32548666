"""What is made of labels: areas, masks, pictures and files that are read back."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.drawing import palette
from recoseg.errors import InputError, RecosegError
from recoseg.segmenting.result import UNKNOWN, Segmentation

NAMES = ("road", "tree", "fire hydrant")


def segmentation(names=NAMES, shape=(40, 60), seed=0, labels=None, maps=None):
    generator = np.random.default_rng(seed)
    dtype = np.uint8 if len(names) <= 256 else np.uint16
    if labels is None:
        labels = generator.integers(0, len(names), shape)
    return Segmentation(
        labels=np.asarray(labels, dtype),
        names=tuple(names),
        confidence=generator.random(shape, dtype=np.float32),
        image=generator.integers(0, 256, (*shape, 3), dtype=np.uint8),
        maps=torch.rand(len(names), 10, 15) if maps is None else maps,
    )


@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
@settings(deadline=None)
def test_areas_are_the_shares_of_the_masks_and_sum_to_one(count, height, width, seed):
    result = segmentation([f"c{i}" for i in range(count)], (height, width), seed)
    assert tuple(result.area) == result.names
    assert sum(result.area.values()) == pytest.approx(1)
    masks = [result.mask(name) for name in result.names]
    assert (np.sum(masks, axis=0) == 1).all()
    for name, mask in zip(result.names, masks, strict=True):
        assert mask.dtype == bool
        assert mask.shape == (height, width)
        assert result.area[name] == pytest.approx(mask.mean())


def test_what_is_absent_has_no_area_and_an_empty_mask():
    result = segmentation(labels=np.ones((40, 60)))
    assert result.area == {"road": 0.0, "tree": 1.0, "fire hydrant": 0.0}
    assert not result.mask("road").any()
    with pytest.raises(InputError, match=r"'sky' was not segmented; there are road, tree"):
        result.mask("sky")


@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
@settings(deadline=None)
def test_certainty_is_the_mean_confidence_inside_each_mask(count, height, width, seed):
    result = segmentation([f"c{i}" for i in range(count)], (height, width), seed)
    for name in result.names:
        inside = result.confidence[result.mask(name)]
        expected = inside.mean() if inside.size else 0.0
        assert result.certainty[name] == pytest.approx(expected, abs=1e-6)
        assert 0 <= result.certainty[name] <= 1


def test_scores_are_the_maps_at_the_images_size():
    result = segmentation()
    assert result.scores.shape == (3, 40, 60)
    assert result.scores.dtype == np.float32
    assert result.scores is result.scores
    expected = torch.nn.functional.interpolate(result.maps[None], (40, 60), mode="bilinear")[0]
    np.testing.assert_allclose(result.scores, expected.numpy(), atol=1e-6)
    same = segmentation(maps=torch.rand(3, 40, 60))
    np.testing.assert_array_equal(same.scores, same.maps.numpy())


def test_unknown_alone_is_grey_and_moves_no_other_colour():
    colours = segmentation((*NAMES, UNKNOWN)).colours
    assert colours.dtype == np.uint8
    np.testing.assert_array_equal(colours[:3], palette.colours(3))
    assert colours[3].tolist() == [128, 128, 128]
    np.testing.assert_array_equal(segmentation().colours, palette.colours(3))
    first = segmentation((UNKNOWN, *NAMES))
    np.testing.assert_array_equal(first.colours, palette.colours(4))
    assert segmentation((UNKNOWN,)).colours.shape == (1, 3)


def test_an_opaque_overlay_shows_the_colours_alone():
    result = segmentation((*NAMES, UNKNOWN))
    picture = result.overlay(opacity=1, edges=False)
    assert picture.size == (60, 40)
    np.testing.assert_array_equal(np.asarray(picture), result.colours[result.labels])
    assert np.array_equal(result.overlay(opacity=0), result.image)
    with pytest.raises(InputError, match="opacity"):
        result.overlay(opacity=2)


@pytest.mark.parametrize("shape", [(40, 60), (300, 900), (1, 1)])
def test_the_legend_is_laid_beneath_whatever_is_wider(shape):
    result = segmentation(shape=shape)
    legend = result.legend()
    both = result.overlay(legend=True)
    assert both.mode == "RGB"
    assert both.size == (max(shape[1], legend.width), shape[0] + legend.height)
    above = np.asarray(both)[: shape[0], : shape[1]]
    np.testing.assert_array_equal(above, np.asarray(result.overlay()))
    assert (np.asarray(both)[: shape[0], shape[1] :] == 255).all()


def test_the_legend_names_what_is_present_largest_first(monkeypatch):
    seen = []
    monkeypatch.setattr(
        palette, "legend",
        lambda names, colours, areas: seen.append((names, colours)) or np.zeros((1, 1, 3), "u1"),
    )  # fmt: skip
    labels = np.zeros((40, 60))
    labels[:30] = 2
    result = segmentation(labels=labels)
    result.legend()
    names, colours = seen[0]
    assert names == ["fire hydrant", "road"]
    np.testing.assert_array_equal(colours, result.colours[[2, 0]])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, 200, 256])
def test_a_saved_file_is_read_back_with_labels_and_palette(tmp_path, count):
    result = segmentation([f"c{i}" for i in range(count)])
    path = result.save(tmp_path / "new" / "folder" / "a.png")
    assert path == tmp_path / "new" / "folder" / "a.png"
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), result.labels)
        colours = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(colours, result.colours[result.labels])
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.png", "names.json"]


def test_names_are_written_beside_the_labels(tmp_path):
    result = segmentation(("road", "café", UNKNOWN))
    result.save(tmp_path / "a.PNG")
    table = json.loads((tmp_path / "names.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in table] == [0, 1, 2]
    assert [row["name"] for row in table] == ["road", "café", "unknown"]
    assert [row["colour"] for row in table] == result.colours.tolist()
    before = (tmp_path / "names.json").read_bytes()
    segmentation(result.names, seed=1).save(str(tmp_path / "b.png"))
    assert (tmp_path / "names.json").read_bytes() == before


def test_more_than_256_names_are_written_as_16_bits(tmp_path):
    names = [f"c{i}" for i in range(300)]
    result = segmentation(names, labels=np.arange(2400).reshape(40, 60) % 300)
    with Image.open(result.save(tmp_path / "a.png")) as image:
        read = np.asarray(image)
    np.testing.assert_array_equal(read, result.labels)
    assert read.max() == 299
    assert len(json.loads((tmp_path / "names.json").read_text())) == 300


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.gz", "png"])
def test_another_format_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InputError, match=r"end the path in \.png"):
        segmentation().save(tmp_path / "new" / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecosegError, match="because a file is in its place"):
        segmentation().save(tmp_path / "file" / "a.png")


def test_saving_again_replaces_the_file(tmp_path):
    segmentation(seed=1).save(tmp_path / "a.png")
    result = segmentation(seed=2)
    result.save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), result.labels)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("labels", np.zeros((4, 6, 1), np.uint8), r"shape \(H, W\), not uint8 of shape \(4, 6, 1"),
        ("labels", np.zeros((40, 60), np.int64), "unsigned integers of shape .*, not int64"),
        ("labels", np.zeros((0, 60), np.uint8), r"not uint8 of shape \(0, 60\)"),
        ("labels", np.full((40, 60), 3, np.uint8), "go up to 3 and there are 3 names"),
        ("confidence", np.zeros((60, 40), np.float32), r"shape \(40, 60\) .*, not \(60, 40\)"),
        ("image", np.zeros((40, 60), np.uint8), r"shape \(40, 60, 3\) .*, not \(40, 60\)"),
        ("image", np.zeros((20, 30, 3), np.uint8), r"not \(20, 30, 3\)"),
        ("maps", torch.zeros(10, 15), r"shape \(3, h, w\), .*, not \(10, 15\)"),
        ("maps", torch.zeros(2, 10, 15), r"shape \(3, h, w\), .*, not \(2, 10, 15\)"),
    ],
)
def test_fields_that_do_not_fit_are_told_with_their_shapes(field, value, words):
    with pytest.raises(InputError, match=words) as caught:
        dataclasses.replace(segmentation(), **{field: value})
    assert "\n" not in str(caught.value)


def test_unknown_has_no_map_and_maps_may_be_left_out():
    names = (*NAMES, UNKNOWN)
    for count in (4, 3, 0):
        assert segmentation(names, maps=torch.zeros(count, 5, 5)).names == names
    with pytest.raises(InputError, match="maps must have the shape"):
        segmentation(names, maps=torch.zeros(2, 5, 5))


def test_a_segmentation_is_shown_in_one_short_line():
    labels = np.zeros((40, 60))
    labels[:10] = 1
    names = ("sky", "tree", "road", "car", UNKNOWN)
    assert repr(segmentation(names[:3], labels=labels)) == (
        "Segmentation(40x60; 2 of 3 names: sky 75%, tree 25%)"
    )
    assert repr(segmentation(names)).startswith("Segmentation(40x60; 5 of 5 names: ")
    assert repr(segmentation(names)).endswith("%, ...)")
