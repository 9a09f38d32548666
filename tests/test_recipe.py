"""A recipe from a file is held to the rules of one written in Python: type and range of all."""

from __future__ import annotations

import json
import math

import pytest

from recoseg.errors import RecipeError
from recoseg.recipe import CRF, LITE, PRESETS, Recipe

WRONG = {
    "name": 3,
    "retrieval": None,
    "dense": b"lite",
    "encoder": ["lite"],
    "cosegment": 2,
    "templates": 1.0,
    "k": 3.0,
    "archive_size": "320",
    "archive_resize": 2,
    "cosegmenter": None,
    "image_size": True,
    "tiles": 1,
    "most_pixels": 1e6,
    "contenders": "32",
    "scales": 1.0,
    "contexts": "sky",
    "lgc": "false",
    "ce": 1,
    "denseclip": None,
    "gain": "10",
    "visual_gain": "1",
    "centre": "yes",
    "smooth": "12",
    "debias": "0.2",
    "crf": "strong",
    "confidence_temperature": False,
}
WRONG_CRF = {
    "iterations": 10.0,
    "gaussian_xy": "1",
    "gaussian_weight": True,
    "bilateral_xy": None,
    "bilateral_rgb": [3.0],
    "bilateral_weight": "4",
    "temperature": math.nan,
}


def test_every_field_is_tried():
    assert set(WRONG) == set(LITE.to_dict())
    assert set(WRONG_CRF) == set(LITE.to_dict()["crf"])


@pytest.mark.parametrize(("field", "value"), WRONG.items())
def test_a_field_of_another_type_is_refused(field, value):
    with pytest.raises(RecipeError, match=field):
        LITE.replace(**{field: value})
    if not isinstance(value, bytes):
        data = json.loads(json.dumps({**LITE.to_dict(), field: value}))
        with pytest.raises(RecipeError, match=field):
            Recipe.from_dict(data)


@pytest.mark.parametrize(("field", "value"), WRONG_CRF.items())
def test_a_field_of_the_crf_of_another_type_is_refused(field, value):
    crf = {**LITE.to_dict()["crf"], field: value}
    data = json.loads(json.dumps({**LITE.to_dict(), "crf": crf}))
    with pytest.raises(RecipeError, match=field):
        CRF(**{field: value})
    with pytest.raises(RecipeError, match=field):
        Recipe.from_dict(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [("contexts", ["sky", 3]), ("scales", ["1"]), ("scales", [True]), ("scales", "12")],
)
def test_every_element_of_a_list_is_checked(field, value):
    with pytest.raises(RecipeError, match=field):
        LITE.replace(**{field: value})


@pytest.mark.parametrize("weight", ["gaussian_weight", "bilateral_weight"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -1.0])
def test_a_weight_is_a_finite_number_that_is_not_negative(weight, value):
    with pytest.raises(RecipeError, match=weight):
        CRF(**{weight: value})


@pytest.mark.parametrize("data", [None, [], "lite", 3, [["name", "lite"]]])
def test_what_is_no_object_is_no_recipe(data):
    with pytest.raises(RecipeError, match="not a recipe"):
        Recipe.from_dict(data)


def test_an_unknown_field_is_refused():
    with pytest.raises(RecipeError, match="not a recipe of this version"):
        Recipe.from_dict({**LITE.to_dict(), "magic": 1})


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=PRESETS)
def test_a_recipe_comes_back_equal_and_with_its_hash(recipe):
    back = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert back == recipe
    assert back.hash == recipe.hash
