"""Squares of archive photos, ours and the paper's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from recoseg.io.images import resize_short
from recoseg.io.squares import PLAIN, SMOOTH, cut_square, least_side
from tests.test_images import noise


@pytest.mark.parametrize("shape", [(37, 61), (61, 37), (375, 1242), (50, 50), (33, 97), (1, 9)])
def test_the_paper_s_square_is_torchvision_s(shape):
    image = noise(*shape)
    expected = Compose([Resize(32), CenterCrop(32)])(Image.fromarray(image))
    np.testing.assert_array_equal(cut_square(image, 32, PLAIN), np.asarray(expected))


def test_the_usual_square_is_smooth():
    image = noise(40, 90)
    np.testing.assert_array_equal(cut_square(image, 32), resize_short(image, 32)[:, 20:52])
    assert (cut_square(image, 32, PLAIN) != cut_square(image, 32)).any()


def test_the_paper_s_photos_are_decoded_whole():
    assert (least_side(224, SMOOTH), least_side(224, PLAIN)) == (224, None)
