"""Example images of a concept whose name says nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recoseg
from recoseg.concepts.concept import Unnamed
from recoseg.evaluation.evaluate import evaluate
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.segmenting.scoremaps import ScoreMaps, Scorer
from recoseg.segmenting.segmenter import Segmenter
from tests.test_evaluation import tree
from tests.toys import Toy, paint

RECIPE = LITE.replace(
    k=2, archive_size=64, image_size=64, scales=(1.0,), ce=False, contexts=(), centre=False
)


@pytest.fixture(scope="module")
def models():
    toy = Toy()
    return Models(toy, toy, toy)


@pytest.fixture(scope="module")
def index(tmp_path_factory, models):
    home = tmp_path_factory.mktemp("archive")
    for number, (ground, thing) in enumerate([("red", "green"), ("green", "red"), ("blue", "red")]):
        paint(home / "photos" / f"{number}.png", ground, thing)
    return recoseg.Index.build(home / "photos", home / "i", model=models.retrieval, progress=False)


@pytest.fixture
def blues(tmp_path):
    return [paint(tmp_path / f"{n}.png", "blue", thing) for n, thing in enumerate(("red", "green"))]


def build(index, models, name, examples):
    return recoseg.ConceptBank.build(
        ["red", "green"], index, RECIPE, examples={name: examples}, models=models, progress=False
    )


def test_the_same_examples_give_the_same_labels_whatever_they_are_called(index, models, blues):
    photo = paint(blues[0].parent / "photo.png", "blue", "red")
    found = {}
    for name in ("blue", "green thing"):
        for kind in (list, Unnamed):
            bank = build(index, models, name, kind(blues))
            found[name, kind] = Segmenter(bank, models=models, refine=False)(photo)
            assert bank[name].nameless == (kind is Unnamed)
    ours, other = found["blue", Unnamed], found["green thing", Unnamed]
    np.testing.assert_array_equal(ours.labels, other.labels)
    torch.testing.assert_close(ours.maps, other.maps)
    # The name alone changed the scores.
    assert not torch.equal(found["blue", list].maps, found["green thing", list].maps)


def test_language_says_of_it_what_it_says_of_the_others_on_average(index, models, blues):
    bank = build(index, models, "x", Unnamed(blues))
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    scorer = Segmenter(bank, models=models).scorer
    maps = scorer(image)
    named = Scorer(models, RECIPE, bank.texts[:2], bank.references[:2])(image)
    logits = torch.logit(named.language.double())
    found = torch.logit(maps.language[2].double())
    torch.testing.assert_close(found, logits.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(maps.language[:2], named.language)
    assert isinstance(maps, ScoreMaps)


def test_it_survives_its_file_and_rebuilding(index, models, blues, tmp_path):
    bank = build(index, models, "x", Unnamed(blues))
    bank.save(tmp_path / "x.bank")
    opened = recoseg.ConceptBank.open(tmp_path / "x.bank")
    assert [opened[name].nameless for name in opened.names] == [False, False, True]
    again = opened.rebuild("x", None, examples=blues, models=models, progress=False)
    assert again["x"].nameless
    torch.testing.assert_close(again["x"].reference, bank["x"].reference)


def test_it_is_measured_as_it_segments(index, models, blues, tmp_path):
    """Beside another bank, whose names must not speak for it."""
    dataset = tree(tmp_path / "data", 2)
    bank = build(index, models, "blue", Unnamed(blues))
    other = build(index, models, "blue", blues)
    alone = evaluate(Segmenter(bank, models=models, refine=False), dataset, progress=False)
    both = evaluate(
        {
            "other": Segmenter(other, models=models, refine=False),
            "ours": Segmenter(bank, models=models, refine=False),
        },
        dataset,
        progress=False,
    )
    assert both["ours"]["confusion"] == alone.systems[0]["confusion"]
