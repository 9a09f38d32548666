"""Recipes: what their fields mean in files that were written before the fields were there."""

from __future__ import annotations

import pytest

from recoseg import LITE, MODERN, PAPER, Recipe
from recoseg.errors import RecipeError

# What a recipe meant before it had these fields.
BEFORE = {
    "archive_resize": "bicubic",
    "cosegmenter": "support",
    "tiles": True,
    "most_pixels": 640_000,
    "contenders": 32,
}


def older(recipe):
    """As it was saved before the newer fields."""
    return {key: value for key, value in recipe.to_dict().items() if key not in BEFORE}


@pytest.mark.parametrize("recipe", [LITE, MODERN, PAPER])
def test_a_recipe_survives_its_file(recipe):
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_an_older_file_of_the_paper_s_recipe_means_what_it_meant():
    old = older(PAPER.replace(encoder="timm:x", templates="paper", image_size=320))
    found = Recipe.from_dict(old)
    assert {key: getattr(found, key) for key in BEFORE} == BEFORE
    # Its prompts had an article that fits, and no full stop.
    assert found.templates == "inflected"
    assert Recipe.from_dict({k: v for k, v in old.items() if k != "templates"}) == found
    assert found.encoder == "timm:x"


def test_older_files_of_the_other_presets_are_these_presets():
    assert Recipe.from_dict(older(LITE)) == LITE
    assert Recipe.from_dict({**older(MODERN), "templates": "paper"}) == MODERN


def test_the_paper_s_archive_is_cropped_from_whole_files_bilinearly():
    assert (PAPER.archive_resize, LITE.archive_resize) == ("bilinear", "bicubic")
    with pytest.raises(RecipeError, match="archive_resize"):
        PAPER.replace(archive_resize="nearest")


def test_what_is_only_for_users_is_off_in_paper():
    assert [getattr(PAPER, f) for f in ("image_size", "most_pixels", "contenders")] == [None] * 3
    assert not PAPER.tiles
    for recipe in (LITE, MODERN):
        assert {key: getattr(recipe, key) for key in BEFORE} == BEFORE
    for field, value in (("contenders", 0), ("most_pixels", 7), ("cosegmenter", "luck")):
        with pytest.raises(RecipeError, match=field):
            PAPER.replace(**{field: value})
