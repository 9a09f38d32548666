"""How good a concept is: closed forms, and a bank of colours whose faults are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recoseg import recipe
from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import Concept
from recoseg.concepts.evidence import Evidence, Seed
from recoseg.errors import IndexMismatch
from recoseg.index.index import Index
from recoseg.models.registry import Models
from recoseg.reporting import checkup, conceptpage, quality
from recoseg.reporting.advice import Files, advise
from tests.test_report import Page
from tests.toys import Toy, paint

FILES = Files("my bank.bank", "photos.index")


def concept(name, reference, photos=(), agreement=0.5, text=(1.0, 0.0), support=None):
    support = support or [0.4] * len(photos)
    seeds = tuple(
        Seed(photo, 0.9 - 0.1 * i, 0.5, 0.5, s)
        for i, (photo, s) in enumerate(zip(photos, support, strict=True))
    )
    evidence = Evidence(name, seeds, agreement) if photos else None
    return Concept(name, (name,), torch.tensor(text), torch.tensor(reference), evidence=evidence)


def at(cosine):
    return [cosine, math.sqrt(1 - cosine**2)]


# numbers


def test_standout_is_one_where_cosines_scatter_alike_to_both_sides():
    scores = np.array([0.3, 0.2, 0.0, -0.2, -0.3]) + 0.1
    assert quality.measure_standout(scores[:2], scores[-2:], 0.1) == pytest.approx(1.0)


def test_standout_is_a_ratio_of_the_two_tails():
    assert quality.measure_standout(
        np.array([0.7, 0.5]), np.array([-0.1, -0.3]), 0.0
    ) == pytest.approx(3)


def test_standout_depends_on_neither_scale_nor_offset():
    best, worst = np.array([0.8, 0.6]), np.array([-0.2, -0.1])
    ratio = quality.measure_standout(best, worst, 0.05)
    assert quality.measure_standout(3 * best + 1, 3 * worst + 1, 1.15) == pytest.approx(ratio)


def test_standout_of_an_archive_of_equals_is_chance():
    same = np.array([0.2, 0.2])
    assert quality.measure_standout(same, same, 0.2) == 1.0


def test_noise_is_rare_and_a_few_photos_that_show_it_are_not():
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.05, 5000)
    shown = np.concatenate([noise, generator.normal(0.5, 0.05, 40)])

    def ratio(scores):
        ranked = np.sort(scores)
        return quality.measure_standout(ranked[-30:], ranked[:30], float(scores.mean()))

    assert ratio(noise) < quality.STANDOUT < ratio(shown)


def test_margin_is_over_the_best_other_concept_and_rivals_are_counted():
    own = np.array([0.5, 0.4, 0.3])
    others = np.array([[0.1, 0.6, 0.4], [0.2, 0.1, 0.1]])
    found = quality.judge_retrieval(own, -own, 0.0, own, others, ["rival", "friend"])
    assert found.margin == pytest.approx((0.3 - 0.2 - 0.1) / 3)
    assert found.rivals == (("rival", 2),)
    assert found.rare


def test_a_concept_alone_has_no_margin():
    found = quality.judge_retrieval(np.ones(1), np.zeros(1), 0.1, np.ones(1), np.zeros((0, 1)), [])
    assert (found.margin, found.rivals, found.rare) == (None, (), False)


def test_likeness_is_the_mean_cosine_of_seeds_with_their_reference():
    seeds = torch.nn.functional.normalize(torch.eye(400) + 0.05, dim=1)
    cosines = seeds @ seeds.T
    agreement = float((cosines.sum() - 400) / (400 * 399))
    reference = torch.nn.functional.normalize(seeds.mean(0), dim=0)
    assert quality.seed_likeness(agreement) == pytest.approx(
        float((seeds @ reference).mean()), abs=5e-3
    )
    assert quality.seed_likeness(-0.1) == 0.0


def test_a_seed_with_less_than_half_the_usual_support_is_odd():
    one = concept("car", [1.0, 0.0], "abcde", support=[0.4, 0.4, 0.19, 0.21, 0.4])
    assert quality.find_odd_photos(one.evidence) == ("c",)


def test_concepts_are_confusable_where_a_reference_is_as_near_as_the_own_seeds():
    concepts = [concept("car", at(1.0), "ab", 0.64), concept("van", at(0.81), "cd", 0.7)]
    car, van = quality.judge_concepts(concepts)
    assert car.confusable[0].reference == pytest.approx(0.81)
    assert [one.name for one in car.confusable] == ["van"]
    assert van.confusable == ()  # its own seeds are nearer: 0.84


def test_neighbours_come_nearest_first_with_the_photos_in_common():
    concepts = [
        concept("dog", at(1.0), "abcde"),
        concept("far", at(0.1), "vwxyz"),
        concept("puppy", at(0.9), "eabxy"),
    ]
    dog = quality.judge_concepts(concepts)[0]
    assert [(one.name, one.shared) for one in dog.neighbours] == [("puppy", 3), ("far", 0)]
    assert dog.neighbours[0].synonymous
    assert (dog.score, dog.drop) == (pytest.approx(0.7), pytest.approx(0.4))


def test_seeds_that_agree_far_less_than_usual_are_discordant():
    agreements = (0.6, 0.5, 0.24)
    judged = quality.judge_concepts([concept(str(a), at(0.1), "ab", a) for a in agreements])
    assert [one.discordant for one in judged] == [False, False, True]


def test_a_concept_without_evidence_is_judged_by_its_vectors_alone():
    a, b, c = quality.judge_concepts(
        [concept("a", at(1.0)), concept("b", at(0.95)), concept("c", at(0.5))]
    )
    assert (a.photos, a.score, a.agreement, a.odd) == (0, None, None, ())
    assert [one.name for one in a.confusable] == ["b"]
    assert c.confusable == ()
    assert b.neighbours[0].name == "a"


# advice


def test_advice_names_the_remedy_with_quoted_commands():
    concepts = [
        concept("dog", at(1.0), "abcde", support=[0.4, 0.4, 0.4, 0.4, 0.1]),
        concept("my puppy", at(0.99), "abcxy"),
    ]
    like, odd = advise(quality.judge_concepts(concepts)[0], FILES)
    assert like.flag == "like my puppy"
    assert "3 of its 5 photos" in like.finding
    assert like.command == "recoseg concept drop 'my bank.bank' 'my puppy'"
    assert odd.command == (
        "recoseg concept rebuild 'my bank.bank' dog --index photos.index --exclude e"
    )


def test_look_alikes_without_photos_in_common_are_not_to_be_merged():
    concepts = [concept("oscilloscope", at(1.0), "ab"), concept("pangolin", at(0.99), "cd")]
    (advice,) = advise(quality.judge_concepts(concepts)[0], FILES)
    assert "rebuild" in advice.remedy
    assert advice.command == ""


def test_a_good_concept_needs_no_advice():
    assert advise(quality.judge_concepts([concept("car", at(1.0), "ab")])[0], FILES) == []


# with an archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for i in range(4):
        paint(folder / "photos" / f"red{i}.png", "red", ("white", "black", "green", "blue")[i])
    for i in range(12):
        paint(folder / "photos" / f"other{i}.png", ("green", "blue", "white", "black")[i % 4])
    return Index.build(folder / "photos", folder / "photos.index", model=Toy(), progress=False)


@pytest.fixture(scope="module")
def bank(archive):
    toy = Toy()
    small = recipe.LITE.replace(archive_size=64, image_size=64, k=4, ce=False)
    models = Models(toy, toy, toy)
    return ConceptBank.build(["red", "green"], archive, small, models=models, progress=False)


def test_the_archive_s_numbers_are_those_of_all_its_cosines(bank, archive):
    vectors = archive.vectors(archive.ids)
    for one, text in zip(checkup.judge_bank(bank, archive), bank.texts.numpy(), strict=True):
        scores = np.sort(vectors @ text)
        mean = float(scores.mean())
        expected = (scores[-4:].mean() - mean) / (mean - scores[:4].mean())
        assert one.retrieval.standout == pytest.approx(expected, abs=1e-3)
        photos = archive.vectors(bank[one.name].evidence.images)
        own, other = photos @ text, photos @ bank.texts.numpy()[1 if one.name == "red" else 0]
        assert one.retrieval.margin == pytest.approx(float((own - other).mean()), abs=1e-3)


def test_without_an_archive_nothing_is_said_of_it(bank):
    assert [one.retrieval for one in checkup.judge_bank(bank)] == [None, None]


def test_an_index_of_another_model_is_refused(bank, archive, tmp_path):
    paint(tmp_path / "photos" / "a.png", "red")
    other = Index.build(tmp_path / "photos", tmp_path / "x.index", model=Toy(1), progress=False)
    with pytest.raises(IndexMismatch, match="give the index that the bank was built from"):
        checkup.judge_bank(bank, other)


def test_the_page_shows_every_photo_with_its_scores(bank, archive):
    shown = Page(
        conceptpage.render_concept_page(bank, checkup.judge_bank(bank, archive), FILES, archive)
    )
    pictures = shown.all("img")
    assert len(pictures) == 8
    assert all(picture["src"].startswith("data:image/jpeg;base64,") for picture in pictures)
    seed = bank["red"].evidence.seeds[0]
    assert f"found {seed.score:.2f}, seed {seed.support:.2f}" in shown.text
    assert "16 photos" in shown.text
    assert "It has changed" not in shown.text


def test_without_pictures_the_archive_gives_them_or_the_page_says_so(bank, archive, tmp_path):
    bank.save(tmp_path / "compact.bank")
    compact = ConceptBank.open(tmp_path / "compact.bank")
    judged = checkup.judge_bank(compact)
    alone = Page(conceptpage.render_concept_page(compact, judged, FILES))
    assert alone.all("img") == []
    assert "The archive was not given" in alone.text
    assert "keeps no pictures" in alone.text
    assert (
        len(Page(conceptpage.render_concept_page(compact, judged, FILES, archive)).all("img")) == 8
    )


def test_a_bank_without_evidence_is_a_page_too(bank, tmp_path):
    bank.save(tmp_path / "bare.bank", evidence="none")
    bare = ConceptBank.open(tmp_path / "bare.bank")
    page = Page(conceptpage.render_concept_page(bare, checkup.judge_bank(bare), FILES))
    assert "keeps no evidence" in page.text


def test_hostile_concepts_are_text(bank):
    name = "<img src=x onerror=alert(1)>"
    hostile = ConceptBank((concept(name, at(1.0), "ab"),), (), bank.recipe, bank.fingerprints)
    page = Page(conceptpage.render_concept_page(hostile, checkup.judge_bank(hostile), FILES))
    assert name in page.text
    assert page.all("img") == []
