"""Maps averaged over the pixels that look alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recoseg import similarity
from recoseg.errors import RecipeError
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.system_groups import Row, Rows
from recoseg.io import images
from recoseg.models.registry import Models
from recoseg.recipe import LITE, PAPER, Recipe
from recoseg.segmenting.segmenter import Segmenter
from recoseg.similarity import smooth
from tests.test_concepts import Memory, archive, build, picture
from tests.test_scoremaps import RECIPE, Fine, noise, scorer
from tests.toys import Toy

SMOOTH = RECIPE.replace(smooth=12.0)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def literal(maps, features, sharpness):
    """Loops in float64 over equal grids."""
    _, height, width = maps.shape
    pixels = features.reshape(len(features), -1).T
    pixels = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
    pixels = pixels - pixels.mean(axis=0)
    pixels = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
    values = maps.reshape(len(maps), -1)
    found = np.zeros_like(values)
    for u in range(height * width):
        weights = np.array([np.exp(sharpness * pixels[u] @ v) for v in pixels])
        for c in range(len(maps)):
            found[c, u] = (weights * values[c]).sum() / weights.sum()
    return found.reshape(maps.shape)


@pytest.mark.parametrize("sharpness", [0.5, 4.0, 12.0])
def test_a_pixel_s_value_is_the_weighted_mean_of_the_literal_formula(sharpness):
    maps, features = random(3, 4, 5), random(6, 4, 5, seed=1)
    expected = literal(maps.double().numpy(), features.double().numpy(), sharpness)
    np.testing.assert_allclose(smooth(maps, features, sharpness).numpy(), expected, atol=1e-5)


def test_two_colours_keep_their_own_means_however_far_apart_their_pixels_are():
    features = torch.zeros(2, 4, 6)
    left = torch.zeros(4, 6, dtype=torch.bool)
    left[:, ::2] = True
    features[0, left], features[1, ~left] = 1, 1
    maps = random(1, 4, 6)
    found = smooth(maps, features, 30.0)[0]
    for part in (left, ~left):
        torch.testing.assert_close(found[part], maps[0][part].mean().expand(part.sum()))


@given(st.integers(0, 2**31), st.floats(0.1, 50))
def test_values_stay_within_their_range_and_a_flat_map_stays_flat(seed, sharpness):
    maps, features = random(2, 3, 4, seed=seed), random(5, 6, 8, seed=seed + 1)
    maps[1] = 0.25
    found = smooth(maps, features, sharpness, (6, 8))
    assert found.shape == (2, 6, 8)
    assert maps[0].min() - 1e-5 <= found[0].min() <= found[0].max() <= maps[0].max() + 1e-5
    torch.testing.assert_close(found[1], torch.full((6, 8), 0.25))


def test_blocks_change_nothing_nor_does_the_features_scale(monkeypatch):
    maps, features = random(3, 6, 7), random(8, 12, 14, seed=1)
    whole = smooth(maps, features, 8.0, (12, 14))
    monkeypatch.setattr(similarity, "_MOST_WEIGHTS", 50)
    torch.testing.assert_close(smooth(maps, features, 8.0, (12, 14)), whole)
    torch.testing.assert_close(smooth(maps, 1000 * features, 8.0, (12, 14)), whole)


def test_one_pixel_and_pixels_without_difference_are_smoothed_too():
    assert smooth(torch.ones(2, 1, 1), random(3, 1, 1), 12.0).tolist() == [[[1.0]], [[1.0]]]
    maps = random(1, 3, 3)
    found = smooth(maps, torch.ones(4, 3, 3), 12.0)
    torch.testing.assert_close(found, maps.mean().expand(1, 3, 3))


def test_scores_of_a_photo_are_those_of_the_smoothed_cosines():
    dense, encoder, image = Toy(), Fine(), noise(64, 96)
    plain = scorer(dense=dense, encoder=encoder)(image)
    found = scorer(SMOOTH, dense, encoder)(image)
    features = encoder.features(images.to_tensor(image)[None])[0]
    both = torch.cat(
        [
            torch.logit(plain.language) / RECIPE.gain,
            torch.nn.functional.avg_pool2d(torch.logit(plain.visual), 2),
        ]
    )
    expected = smooth(both, features, 12.0, (16, 24))
    torch.testing.assert_close(
        torch.logit(found.language) / RECIPE.gain, expected[:3], atol=1e-4, rtol=0
    )
    torch.testing.assert_close(torch.logit(found.visual), expected[3:], atol=1e-4, rtol=0)


def test_pixels_are_alike_by_the_largest_scale():
    dense, image = Toy(), noise(64, 64)
    one, other = (scorer(SMOOTH.replace(scales=s), dense)(image) for s in ((0.5, 1.0), (1.0, 0.5)))
    torch.testing.assert_close(one.language, other.language, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.visual, other.visual, atol=1e-5, rtol=0)


def test_a_factor_alone_is_smoothed_if_it_is_the_visual_one():
    dense, encoder, image = Toy(), Fine(), noise(64, 64)
    for texts, references, changed in ((False, True, True), (True, False, False)):
        use = {"texts": texts, "references": references}
        plain, found = (scorer(r, dense, encoder, **use)(image).factors for r in (RECIPE, SMOOTH))
        assert len(plain) == len(found) == 1
        assert bool((plain[0] - found[0]).abs().max() > 1e-3) == changed


def test_rows_encoded_together_are_those_encoded_alone():
    toy = Toy()
    models = Models(toy, toy, toy)
    bank = build(["red", "blue"], Memory(archive(), toy), models)
    bank = dataclasses.replace(bank, recipe=SMOOTH)
    systems = [
        Segmenter(bank, models=models, refine=False, system=s) for s in ("denseclip", "reco")
    ]
    panel = Rows([Row.of(segmenter, False) for segmenter in systems])
    image = picture("blue", "red")
    wanted = [row.system.name for row in panel.rows]
    found = dict(panel.run(image, None, wanted, Clock()))
    for name, segmenter in zip(wanted, systems, strict=True):
        assert (found[name] == segmenter(image).labels).all()


def test_the_paper_does_not_smooth_and_older_recipes_did_not():
    assert PAPER.smooth == 0 < LITE.smooth
    older = {key: value for key, value in LITE.to_dict().items() if key != "smooth"}
    assert Recipe.from_dict(older).smooth == 0


@pytest.mark.parametrize("smooth", [-1.0, float("nan"), float("inf"), None, "much"])
def test_sharpness_is_a_positive_number_or_none(smooth):
    with pytest.raises(RecipeError, match="smooth"):
        LITE.replace(smooth=smooth)
