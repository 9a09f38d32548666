"""Colours that stay put and can be told apart; pictures whose pixels are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recoseg.drawing import palette
from recoseg.errors import InputError


def photo(height=40, width=60):
    ramp = np.linspace(0, 255, width).round().astype(np.uint8)
    return np.repeat(np.repeat(ramp[None, :, None], height, axis=0), 3, axis=2)


def test_a_class_keeps_its_colour_whatever_the_count():
    many = palette.colours(300)
    for count in (0, 1, 7, 27, 64, 65, 171):
        assert np.array_equal(palette.colours(count), many[:count])


def test_colours_are_distinct():
    few, many = palette.colours(27).astype(int), palette.colours(256)
    assert len(np.unique(many, axis=0)) == 256
    apart = np.abs(few[:, None] - few[None]).sum(-1) + 999 * np.eye(27, dtype=int)
    assert apart.min() >= 48


def test_colours_are_written_for_the_web():
    assert palette.hexes(np.array([[0, 10, 255], [171, 205, 239]], np.uint8)) == [
        "#000aff",
        "#abcdef",
    ]


def test_changing_the_answer_changes_no_later_answer():
    palette.colours(3)[:] = 0
    assert palette.colours(3).sum() > 0


@pytest.mark.parametrize("count", [-1, palette.MAX_COLOURS + 1])
def test_impossible_counts_are_refused(count):
    with pytest.raises(InputError):
        palette.colours(count)


def test_overlay_closed_forms():
    image, colours = photo(), palette.colours(2)
    labels = np.zeros(image.shape[:2], np.int64)
    labels[:, 30:] = 1
    assert np.array_equal(palette.overlay(image, labels, colours, opacity=0), image)
    full = palette.overlay(image, labels, colours, opacity=1, edges=False)
    assert np.array_equal(full, colours[labels])
    half = palette.overlay(image, labels, colours, edges=False).astype(int)
    assert np.abs(half - (image.astype(int) + colours[labels]) / 2).max() <= 1.5


def test_edges_are_drawn_at_borders_only():
    image, colours = photo(), palette.colours(2)
    labels = np.zeros(image.shape[:2], np.uint8)
    labels[:, 30:] = 1
    plain = palette.overlay(image, labels, colours, edges=False)
    edged = palette.overlay(image, labels, colours)
    assert np.array_equal(np.unique(np.nonzero((plain != edged).any(-1))[1]), [29, 30])


@pytest.mark.parametrize("void", [-1, 2, 255])
def test_labels_without_a_colour_turn_grey(void):
    image = np.full((4, 4, 3), (200, 40, 40), np.uint8)
    labels = np.full((4, 4), void)
    got = palette.overlay(image, labels, palette.colours(2), opacity=1)
    assert (got == 128).all()


def test_overlay_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="do not fit"):
        palette.overlay(photo(), np.zeros((2, 2), int), palette.colours(1))
    with pytest.raises(InputError, match="opacity"):
        palette.overlay(photo(), np.zeros((40, 60), int), palette.colours(1), opacity=2)


def test_heat_runs_from_dark_to_bright():
    heat = np.array([[0.0, 1.0]])
    drawn = palette.heatmap(photo(), heat, opacity=1).astype(int).sum(-1)
    assert drawn[:, 0].max() < 30
    assert drawn[:, -1].min() > 600
    assert (np.diff(drawn[0]) >= 0).all()
    assert np.array_equal(palette.heatmap(photo(), heat, opacity=0), photo())
    with pytest.raises(InputError):
        palette.heatmap(photo(), np.array([[np.nan]]))


def test_a_mark_is_a_ring_round_its_point():
    image = np.full((100, 200, 3), 128, np.uint8)
    changed = np.argwhere((palette.draw_ring(image, 0.25, 0.5) != image).any(-1))
    assert np.abs(changed.mean(0) - (49.5, 49.5)).max() < 0.6
    assert np.abs(changed - (50, 50)).max() < 10
    assert (palette.draw_ring(image, 0.25, 0.5)[50, 50] == 128).all()


def test_marks_at_the_corners_do_not_fail():
    for x, y in ((0, 0), (1, 1), (0, 1)):
        assert palette.draw_ring(photo(), x, y).shape == (40, 60, 3)


def test_legend_shows_each_colour_and_grows_columns():
    colours = palette.colours(30)
    names = [f"concept {i}" for i in range(30)]
    narrow = palette.legend(names, colours, rows=30)
    wide = palette.legend(names, colours, areas={"concept 3": 0.25}, rows=10)
    assert wide.shape[1] > 2 * narrow.shape[1]
    assert wide.shape[0] < narrow.shape[0]
    for drawn in (narrow, wide):
        present = {tuple(c) for c in drawn.reshape(-1, 3).tolist()}
        assert {tuple(c) for c in colours.tolist()} <= present
    with pytest.raises(InputError):
        palette.legend(names, colours[:3])


def test_legend_of_nothing():
    assert palette.legend([], palette.colours(0)).ndim == 3


def test_contact_sheet_places_every_picture():
    colours = palette.colours(7)
    tiles = [(np.full((20, 30, 3), c, np.uint8), f"picture {i}") for i, c in enumerate(colours)]
    sheet = palette.contact_sheet(tiles, columns=3, title="seven\nof them", size=48)
    for colour in colours:
        area = (sheet == colour).all(-1).sum()
        assert area == pytest.approx(48 * 32, rel=0.02)
    assert (sheet[0] == 255).all()


@pytest.mark.parametrize("tiles", [[], [(photo(), "")], [(photo(1, 500), "a " * 99 + "\nb")]])
def test_contact_sheet_of_odd_tiles(tiles):
    assert palette.contact_sheet(tiles, title="x" * 500).dtype == np.uint8


def test_shorten_keeps_both_ends():
    text = "flickr8k_train/images/1000268201_693b08cb0e.jpg"
    short = palette.shorten(text, 120, 13)
    assert short.startswith("flick")
    assert short.endswith(".jpg")
    assert "…" in short
    assert palette.shorten("tree", 120, 13) == "tree"
    assert palette.shorten(text, 0, 13) == "…"


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.webp"])
def test_write_reads_back(tmp_path, name):
    path = palette.write(tmp_path / name, photo())
    with Image.open(path) as image:
        assert image.size == (60, 40)
        if name.endswith("png"):
            assert np.array_equal(np.asarray(image), photo())
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_write_refuses_other_suffixes_and_missing_folders(tmp_path):
    with pytest.raises(InputError, match="must end in"):
        palette.write(tmp_path / "a.txt", photo())
    with pytest.raises(InputError, match="does not exist"):
        palette.write(tmp_path / "no" / "a.png", photo())
