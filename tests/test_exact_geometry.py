"""With the paper's recipe an image is encoded, scored and refined as a protocol gives it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import recoseg
from recoseg import PAPER
from recoseg.errors import InputError
from recoseg.evaluation.protocols import protocol
from recoseg.models.registry import Models
from recoseg.recipe import CRF, LITE
from recoseg.segmenting import decision
from recoseg.segmenting.scoremaps import ScoreMaps
from recoseg.segmenting.segmenter import Segmenter
from tests.toys import Toy, paint

NAMES = ("red", "green", "blue")


class Watched(Toy):
    """The toy, which remembers the sizes that it encoded."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def dense(self, batch):
        self.seen.append(tuple(batch.shape[2:]))
        return super().dense(batch)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    home, toy = tmp_path_factory.mktemp("archive"), Toy()
    for number, name in enumerate(NAMES):
        paint(home / "photos" / f"{number}.png", name)
    index = recoseg.Index.build(home / "photos", home / "toy.index", model=toy, progress=False)
    recipe = PAPER.replace(k=1, archive_size=64, templates="plain", ce=False, contexts=())
    recipe = recipe.replace(crf=CRF(iterations=1))
    models = Models(toy, toy, toy)
    return recoseg.ConceptBank.build(list(NAMES), index, recipe, models=models, progress=False)


def segmenter(bank, toy, **changes):
    changed = dataclasses.replace(bank, recipe=bank.recipe.replace(**changes))
    return Segmenter(changed, models=Models(toy, toy, toy))


@pytest.mark.parametrize("name", ["kitti-step-19", "cityscapes-27", "cityscapes-27-original"])
def test_a_protocol_s_geometry_reaches_the_encoder_the_scores_and_the_crf(bank, name):
    size = (375, 1242) if name.startswith("kitti") else (1024, 2048)
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    shown = protocol(name).image(photo)
    expected = (320, 320) if name == "cityscapes-27" else size
    toy, refined = Watched(), []
    made = segmenter(bank, toy)

    def sharpen(scores, image, crf):
        refined.append((tuple(scores.shape[1:]), image.shape[:2]))
        return torch.softmax(scores, dim=0)

    maps = made.maps(shown)
    found = made.decide(shown, maps, True, sharpen)
    assert toy.seen == [expected]
    assert refined == [(expected, expected)]
    assert found.labels.shape == expected


def test_a_large_image_is_encoded_once_and_not_in_tiles(bank):
    toy = Watched()
    made = segmenter(bank, toy)
    image = np.zeros((1300, 1400, 3), np.uint8)
    made.maps(image)
    assert toy.seen == [(1300, 1400)]
    assert made.steps(image, refine=False) == 1
    tiled = Watched()
    segmenter(bank, tiled, tiles=True, image_size=320).maps(image)
    assert len(tiled.seen) == 10


def test_what_would_need_unbounded_memory_is_refused_in_one_sentence(bank):
    made = segmenter(bank, Watched())
    with pytest.raises(InputError, match=r"4000x3000 pixels are too many.*image_size=320"):
        made.maps(np.zeros((4000, 3000, 3), np.uint8))


def test_scores_are_capped_only_where_the_recipe_says_so():
    image = np.zeros((1000, 2000, 3), np.uint8)
    assert decision.working_size(image, None) == (1000, 2000)
    height, width = decision.working_size(image, LITE.most_pixels)
    assert height * width == pytest.approx(640_000, rel=0.01)


def test_all_classes_go_into_the_crf_unless_contenders_are_asked_for():
    scores = torch.rand(59, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = ScoreMaps(None, scores)
    assert decision.pick_contenders(maps, PAPER.contenders).tolist() == list(range(59))
    assert len(decision.pick_contenders(maps, LITE.contenders)) <= 32
    assert len(decision.pick_contenders(maps, 5)) == 5
