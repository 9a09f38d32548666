"""The scale of a concept's cosines: medians over an archive, taken off at inference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from recoseg.building.cosegment import cosegment, move_seeds
from recoseg.building.sample import COUNT, PixelSample, spread
from recoseg.concepts.bank import ConceptBank
from recoseg.errors import ArchiveError, RecipeError
from recoseg.io.squares import cut_square
from recoseg.models.base import batch
from recoseg.models.registry import Models
from recoseg.recipe import LITE, PAPER
from recoseg.segmenting.scoremaps import Scorer
from recoseg.segmenting.segmenter import Segmenter
from recoseg.similarity import cosine_map, unit
from tests.test_concepts import RECIPE, SIZE, Coarse, Memory, archive, build, noisy, picture
from tests.toys import COLOURS, Toy

CENTRED = RECIPE.replace(centre=True)


class Listed(Memory):
    """With the ids that an index lists."""

    @property
    def ids(self):
        return list(self.pictures)


@pytest.fixture(scope="module")
def models():
    toy = Toy()
    return Models(toy, toy, toy)


@given(st.sets(st.text("abc", min_size=1, max_size=4), max_size=30), st.integers(1, 12))
def test_ids_are_chosen_evenly_first_and_last_among_them(ids, count):
    chosen = spread(list(ids), count)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= ids
    assert len(chosen) == min(count, len(ids))
    if len(ids) > 1 < count:
        assert (chosen[0], chosen[-1]) == (min(ids), max(ids))


def test_the_paper_has_neither_centre_nor_gain_nor_other_pixels():
    assert (PAPER.centre, PAPER.visual_gain, PAPER.cosegment) == (False, 1.0, "encoder")


@pytest.mark.parametrize("change", [{"cosegment": "text"}, {"visual_gain": 0}, {"centre": 1}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(RecipeError):
        LITE.replace(**change)


def test_medians_are_those_of_the_archives_pixels(models):
    memory = Listed(noisy(), models.retrieval)
    bank = build(["red", "yellow"], memory, models, CENTRED)
    squares = [cut_square(memory.pictures[id], SIZE) for id in memory.ids]
    assert len(squares) < COUNT
    features = models.encoder.features(batch(squares))
    for concept in bank.concepts:
        for vector, median in zip((concept.text, concept.reference), concept.medians, strict=True):
            cosines = cosine_map(features, vector[None]).double().numpy()
            assert median == pytest.approx(np.median(cosines), abs=1e-2)
            assert (cosines < median).mean() <= 0.5 <= (cosines <= median).mean() + 1e-9
    assert bank.medians.tolist() == torch.tensor([c.medians for c in bank.concepts]).T.tolist()


def test_what_the_archive_lost_is_left_out_and_without_any_nothing_can_be_centred(models):
    memory = Listed(archive(), models.retrieval)
    memory.pictures["green0.png"] = None
    assert len(PixelSample.of_archive(memory, models, CENTRED).dense) == -(
        -(len(memory.ids) - 1) // 4
    )
    memory.pictures = dict.fromkeys(memory.pictures)
    with pytest.raises(ArchiveError, match="no image"):
        PixelSample.of_archive(memory, models, CENTRED)


def test_examples_alone_are_centred_by_their_own_pixels(models):
    examples = {"red": [picture("white", "red"), picture("black", "red")]}
    recipe = CENTRED.replace(ce=False)
    bank = build([], None, models, recipe, examples=examples)
    own = PixelSample.of([cut_square(p, SIZE) for p in examples["red"]], models)
    assert bank["red"].medians == own.medians(bank["red"].text, bank["red"].reference)


def test_a_concept_that_is_near_to_everything_wins_only_where_it_is_nearer_than_usual(models):
    memory = Listed(archive(), models.retrieval)
    bank = build(["red", "green"], memory, models, CENTRED.replace(ce=False, visual_gain=3.0))
    score = Segmenter(bank, models=models).scorer
    pixels = picture("green", "red")
    plain = Scorer(models, bank.recipe, bank.texts, bank.references)(pixels)
    found = score(pixels)
    levels = bank.medians
    for mine, without, gain, row in (
        (found.language, plain.language, 10.0, levels[0]),
        (found.visual, plain.visual, 3.0, levels[1]),
    ):
        expected = torch.sigmoid(torch.logit(without.double()) - gain * row[:, None, None])
        torch.testing.assert_close(mine.double(), expected, atol=1e-5, rtol=0)
    # The same raise of a concept's cosines and of its median changes nothing.
    raised = Scorer(models, bank.recipe, bank.texts, bank.references, levels[0] + 0.3, levels[1])
    assert (raised(pixels).language < found.language).all()


def test_banks_keep_medians_and_guides_and_old_ones_have_none(models, tmp_path):
    memory = Listed(archive(), models.retrieval)
    bank = build(["red", "blue"], memory, models, CENTRED.replace(cosegment="dense"))
    again = ConceptBank.open(bank.save(tmp_path / "a.bank", dtype="float32"))
    for mine, theirs in zip(bank.concepts, again.concepts, strict=True):
        assert mine.medians == theirs.medians
        assert torch.equal(mine.guide, theirs.guide)
    plain = build(["red"], memory, models)
    old = ConceptBank.open(plain.save(tmp_path / "b.bank"))
    assert (old["red"].medians, old["red"].guide) == (None, None)
    assert old.medians.tolist() == [[0.0], [0.0]]


class Experienced(Toy):
    """Brings pixels of its own, in which every colour is as frequent."""

    def typical_pixels(self):
        return unit(torch.eye(self.dim).repeat(3, 1))


def test_pixels_that_the_models_bring_take_the_place_of_the_archives():
    toy = Experienced()
    nets = Models(toy, toy, toy)
    # An archive of one colour only, which cannot bend what is usual.
    memory = Listed({f"red{i}.png": picture("red") for i in range(6)}, toy)
    bank = build(["red", "blue"], memory, nets, CENTRED.replace(ce=False))
    examples = {"red": [picture("white", "red"), picture("black", "red")]}
    alone = build([], None, nets, CENTRED.replace(ce=False), examples=examples)
    for concept in (*bank.concepts, *alone.concepts):
        for vector, median in zip((concept.text, concept.reference), concept.medians, strict=True):
            expected = (unit(torch.eye(toy.dim)) @ unit(vector)).sort().values
            assert float(expected[0]) <= median <= float(expected[-1])
            assert median == pytest.approx(float(expected.repeat(3).median()), abs=1e-6)
    assert bank["blue"].medians[1] == pytest.approx(bank["red"].medians[1])
    half = Models(toy, toy, Toy())
    assert PixelSample.of_models(half) is None
    assert PixelSample.of_models(nets).dense[0].shape == (1, toy.dim, 3 * toy.dim, 1)


class Finer(Toy):
    """An encoder of twice the resolution, whose features are others than the dense map's."""

    stride = 4

    def features(self, batch):
        return super().features(batch).roll(3, dims=1)


def test_pixels_of_the_dense_map_are_cosegmented_and_the_encoders_are_compared(models):
    dense, encoder = Coarse(), Finer(seed=4)
    nets = Models(dense, dense, encoder)
    memory = Memory(noisy(), dense)
    recipe = RECIPE.replace(cosegment="dense", lgc=False, ce=False)
    bank = build(["red"], memory, nets, recipe)
    evidence, concept = bank["red"].evidence, bank["red"]
    pixels = batch([cut_square(memory.pictures[s.image], SIZE) for s in evidence.seeds])
    found = cosegment(dense.dense(pixels))
    rows, columns = found.seeds.T.tolist()
    side = found.scores.shape[1]
    assert [round(s.y * side - 0.5) for s in evidence.seeds] == rows
    assert [round(s.x * side - 0.5) for s in evidence.seeds] == columns
    torch.testing.assert_close(concept.guide, found.reference)
    fine = unit(encoder.features(pixels), dim=1)
    per = fine.shape[2] // side
    seeds = [
        fine[i, :, r * per : (r + 1) * per, c * per : (c + 1) * per].mean((1, 2))
        for i, (r, c) in enumerate(zip(rows, columns, strict=True))
    ]
    expected = F.normalize(F.normalize(torch.stack(seeds), dim=1).mean(0), dim=0)
    torch.testing.assert_close(concept.reference, expected, atol=1e-5, rtol=0)


def test_contexts_are_eliminated_where_pixels_are_cosegmented(models):
    """A shared green background is taken out by the context's vector in the dense map."""
    pictures = {f"both{i}.png": picture("green", "red", (8 * i + 8, 16)) for i in range(4)}
    pictures.update({f"green{i}.png": picture("green") for i in range(4)})
    dense = models.dense
    nets = Models(dense, dense, Finer(seed=4))
    memory = Memory(pictures, dense)
    recipe = RECIPE.replace(cosegment="dense", lgc=False, contexts=("green",))
    for ce, colour in ((False, "green"), (True, "red")):
        bank = build(["red"], memory, nets, recipe.replace(ce=ce))
        for seed in bank["red"].evidence.seeds:
            at = pictures[seed.image][int(seed.y * SIZE), int(seed.x * SIZE)]
            assert tuple(at.tolist()) == COLOURS[colour]
    later = bank.add(["crimson red"], memory, models=nets)
    torch.testing.assert_close(later["crimson red"].guide, bank["red"].guide)


def test_moved_seeds_of_the_same_features_are_the_same():
    features = torch.randn(3, 8, 4, 5, generator=torch.Generator().manual_seed(0))
    features = unit(features, dim=1)
    found = cosegment(features)
    moved = move_seeds(found, features)
    torch.testing.assert_close(moved.reference, found.reference)
    assert moved.agreement == pytest.approx(found.agreement, abs=1e-6)
    assert torch.equal(moved.seeds, found.seeds)
