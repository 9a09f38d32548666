"""The heat of a reference as a layer over its photo."""

from __future__ import annotations

import numpy as np
import pytest

from recoseg.concepts.evidence import Pictures


def test_the_layer_is_opaque_where_it_is_hottest_and_clear_where_it_is_cold():
    squares = [np.zeros((64, 64, 3), np.uint8)] * 2
    heat = np.zeros((2, 4, 4))
    heat[0, :2], heat[1, 3, 3] = 0.5, 0.25
    pictures = Pictures.of(squares, heat)
    first, second = (np.asarray(pictures.layer(i, 64)) for i in range(2))
    assert first.shape == second.shape == (64, 64, 4)
    assert (first[:16, :, 3] == 255).all()
    assert (first[48:, :, 3] == 0).all()
    assert second[60, 60, 3] == pytest.approx(255 / 2, abs=2)  # one scale for all images
    assert first[4, 4, :3].sum() > second[60, 60, :3].sum() > second[4, 4, :3].sum()


def test_a_concept_that_is_nowhere_gives_a_clear_layer():
    pictures = Pictures.of([np.zeros((8, 8, 3), np.uint8)], np.full((1, 2, 2), -0.3))
    assert np.asarray(pictures.layer(0, 16))[:, :, 3].max() == 0
