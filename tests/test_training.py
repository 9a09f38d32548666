"""The closed forms behind ``lite``'s head, and the listing of the everyday bank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from training import everyday_bank, lite_head, words

from recoseg import ConceptBank, Segmenter
from recoseg.models import registry
from recoseg.models.model_set import Models


def test_tags_with_too_few_photos_are_left_out(tmp_path):
    file = tmp_path / "tags.tsv"
    file.write_text("a.jpg\tsky,sea\nb.jpg\tsky, sea ,sky\nc.jpg\tsky\n")
    assert words.of_tags(file, minimum=2) == {
        "sky": ["a.jpg", "b.jpg", "c.jpg"],
        "sea": ["a.jpg", "b.jpg"],
    }


def test_a_word_of_one_caption_is_not_shown(tmp_path):
    file = tmp_path / "captions.tsv"
    file.write_text("a.jpg\tA dog runs in the grass .\na.jpg\tThe dog dog plays\nb.jpg\tA dog\n")
    assert words.of_captions(file, minimum=1) == {"dog": ["a.jpg"]}


def test_lda_with_isotropic_samples_is_the_mean_offset():
    samples = np.concatenate([np.eye(4), -np.eye(4)])
    means = np.array([[3.0, 0, 0, 0], [0, 1.0, 1.0, 0]])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(lite_head.solve(means, samples), expected, atol=1e-12)


def test_lda_turns_away_from_noisy_directions():
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(4000, 2)) * [10, 1]
    direction = lite_head.solve(np.array([[1.0, 1.0]]) + samples.mean(0), samples)[0]
    # 0.2 * (100, 1) + 0.8 * 50.5 on the diagonal
    assert direction[1] / direction[0] == pytest.approx(60.4 / 40.6, rel=0.05)


def test_a_word_attends_to_the_pixels_that_fit_it():
    pixels = np.zeros((1, 100, 1280), np.float16)
    pixels[0, :50, 0] = 1
    pixels[0, 50:, 1] = 1
    photos = lite_head.Photos([("f", "a.jpg")], pixels, torch.zeros(1280))
    rows = np.array([0])
    part = lite_head.Labelled(rows, {"first": rows, "second": rows})
    shared = lite_head.share(photos, part, np.eye(2, 1280))
    np.testing.assert_allclose(shared[:, :2], np.eye(2), atol=1e-6)


@pytest.fixture(scope="module")
def bank():
    return ConceptBank.everyday()


class TestEverydayBank:
    def test_it_holds_what_the_listing_says(self, bank):
        listed = everyday_bank.names(everyday_bank.LISTING)
        assert list(bank) == list(listed)
        assert all(bank[name].aliases == tuple(aliases) for name, aliases in listed.items())
        assert len(bank) >= 150

    def test_it_is_calibrated_and_of_the_shipped_model(self, bank):
        assert all(concept.threshold is not None for concept in bank.concepts)
        bank.check(Models.load(bank.recipe, "cpu"))

    def test_it_names_what_is_in_a_real_photo(self, bank):
        names = ["cat", "flower", "road", "sea", "elephant", "motorcycle", "tree"]
        segmenter = Segmenter(bank, names, models=Models.load(bank.recipe, "cpu"))
        area = segmenter(data.chelsea()).area
        assert max(area, key=lambda name: area[name]) == "cat"
        assert registry.load("lite", "cpu") is segmenter._models.encoder
