"""The segmenter on painted photos, where every pixel's right label is known."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import STRICTNESSES, Concept
from recoseg.errors import BankError, ImageError, InputError, RecipeError, UnknownConcept
from recoseg.models.registry import Models
from recoseg.recipe import CRF, LITE, Recipe
from recoseg.segmenting.decision import (
    WORKING_PIXELS,
    median_scores,
    pick_contenders,
    pick_winners,
    probability,
    working_size,
)
from recoseg.segmenting.segmenter import Segmenter
from recoseg.similarity import unit, upsample, upsample_rows
from tests.toys import COLOURS, Toy, paint

NAMES = ("red", "green", "blue", "yellow")
RECIPE = Recipe(
    name="toy", retrieval="toy", dense="toy", encoder="toy", templates="plain", image_size=64,
    ce=False, contexts=(), crf=CRF(temperature=0.05),
)  # fmt: skip


def bank_of(names=NAMES, toy=None, thresholds=None, recipe=RECIPE):
    toy = toy or Toy()
    concepts = [
        Concept(name, (name,), text, text, threshold=(thresholds or {}).get(name))
        for name, text in zip(names, toy.embed_texts(names), strict=True)
    ]
    return ConceptBank(tuple(concepts), (), recipe, Models(toy, toy, toy).fingerprints)


def segmenter(names=NAMES, thresholds=None, recipe=RECIPE, **options):
    toy = Toy()
    bank = bank_of(names, toy, thresholds, recipe)
    return Segmenter(bank, models=Models(toy, toy, toy), **options)


def photo(background="green", square="red", shape=(64, 64)):
    pixels = np.full((*shape, 3), COLOURS[background], np.uint8)
    top, left = shape[0] // 4, shape[1] // 4
    pixels[top : shape[0] - top, left : shape[1] - left] = COLOURS[square]
    return pixels


def truth(image, names=NAMES):
    out = np.full(image.shape[:2], 255)
    for i, name in enumerate(names):
        out[(image == COLOURS[name]).all(axis=-1)] = i
    return out


def assert_equal(first, second):
    assert first.names == second.names
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.confidence, second.confidence)


@pytest.mark.parametrize("refine", [True, False])
@pytest.mark.parametrize("system", ["reco", "denseclip"])
@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (200, 120)])
def test_a_red_square_on_green_is_red_on_green(refine, system, shape):
    image = photo(shape=shape)
    # Not yellow, which the mean of red and green at a border is.
    result = segmenter(NAMES[:3], refine=refine, system=system)(image)
    assert result.labels.shape == result.confidence.shape == shape
    assert result.labels.dtype == np.uint8
    assert result.confidence.dtype == np.float32
    assert set(np.unique(result.labels)) == {0, 1}
    assert (result.labels == truth(image)).mean() > 0.97
    assert np.array_equal(result.image, image)


def test_the_crf_puts_the_border_where_the_colours_change():
    image = photo(shape=(120, 120))
    plain, sharp = (segmenter(NAMES[:3], refine=refine)(image) for refine in (False, True))
    errors = [(r.labels != truth(image)).sum() for r in (plain, sharp)]
    assert errors[0] > 0
    assert errors[1] < errors[0]
    assert_equal(segmenter(NAMES[:3], refine=True)(image, refine=False), plain)
    assert_equal(segmenter(NAMES[:3], refine=False)(image, refine=True), sharp)
    # The scores are those before the CRF.
    assert torch.equal(plain.maps, sharp.maps)


def test_every_kind_of_source_gives_the_same(tmp_path):
    segment, path = segmenter(), paint(tmp_path / "a.png", "green", "red")
    expected = segment(np.asarray(Image.open(path)))
    rgba = io.BytesIO()
    Image.open(path).convert("RGBA").save(rgba, "PNG")
    for source in (path, str(path), path.read_bytes(), Image.open(path), rgba.getvalue()):
        assert_equal(segment(source), expected)
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        segment(tmp_path / "nowhere.png")
    with pytest.raises(ImageError):
        segment(np.zeros((4, 4, 3), np.float32))


def test_a_grey_photo_is_a_photo():
    grey = np.full((64, 64), 245, np.uint8)
    grey[:, 32:] = 10
    result = segmenter(("white", "black"))(grey)
    assert (result.labels == (np.arange(64) >= 32)).mean() > 0.97
    assert_equal(segmenter(("white", "black"))(Image.fromarray(grey)), result)


def test_concepts_are_labelled_in_the_order_asked_for():
    image = photo()
    chosen = segmenter(concepts=["blue", "green", "red"])
    result = chosen(image)
    assert chosen.names == result.names == ("blue", "green", "red")
    assert (result.labels == truth(image, ("blue", "green", "red"))).mean() > 0.97
    assert result.maps.shape[0] == 3
    assert_equal(segmenter()(image, ["blue", "green", "red"]), result)
    assert_equal(segmenter().choose(["blue", "green", "red"])(image), result)
    assert_equal(segmenter()(image, NAMES[::-1]), segmenter(NAMES[::-1])(image))


def test_duplicates_count_once():
    result = segmenter()(photo(), ["red", "green", "red"])
    assert result.names == ("red", "green")
    assert segmenter(concepts=["red", "red"]).names == ("red",)


def test_one_concept_takes_everything_with_certainty():
    for refine in (True, False):
        result = segmenter(refine=refine)(photo(), ["blue"])
        assert not result.labels.any()
        assert np.allclose(result.confidence, 1)
        assert result.confidence.max() <= 1


def test_choosing_keeps_settings_and_models():
    toy = Toy()
    models, levels = Models(toy, toy, toy), dict.fromkeys(NAMES, 0.1)
    first = Segmenter(
        bank_of(NAMES, toy, levels), refine=False, unknown=True, temperature=0.5, models=models
    )
    second = first.choose(["red"])
    assert second.names == ("red", "unknown")
    assert (second.options.refine, second.crf) == (False, first.crf)
    assert second._models is models
    assert first.names == (*NAMES, "unknown")
    assert segmenter(system="denseclip").choose(["red"]).options.system == "denseclip"


def test_an_unknown_name_is_told_with_its_neighbour():
    for choose in (
        lambda: segmenter(concepts=["yelow"]),
        lambda: segmenter()(photo(), ["yelow"]),
        lambda: segmenter().choose(["yelow"]),
    ):
        with pytest.raises(UnknownConcept, match="did you mean yellow"):
            choose()


@pytest.mark.parametrize("string", ["red", "r", ""])
def test_a_string_is_not_a_list_of_names(string):
    with pytest.raises(InputError, match="list of names"):
        segmenter(concepts=string)
    with pytest.raises(InputError, match="list of names"):
        segmenter()(photo(), string)


def test_nothing_to_look_for_is_refused():
    with pytest.raises(BankError, match="no concept"):
        Segmenter(bank_of().drop(NAMES), models=segmenter()._models)
    with pytest.raises(BankError, match="no concept"):
        segmenter()(photo(), [])


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="choose 'reco' or 'denseclip'"):
        segmenter(system="stego")
    with pytest.raises(RecipeError, match="temperature"):
        segmenter(temperature=0.0)


def test_foreign_models_are_refused():
    strange = Toy(seed=1)
    with pytest.raises(BankError, match="model at hand"):
        Segmenter(bank_of(), models=Models(strange, strange, strange))
    toy = Toy()
    with pytest.raises(BankError, match="encoder"):
        Segmenter(bank_of(), models=Models(toy, toy, strange))


def test_a_smaller_temperature_is_surer():
    sure, unsure = (segmenter(refine=False, temperature=t)(photo()) for t in (0.01, 1.0))
    assert np.array_equal(sure.labels, unsure.labels)
    assert (sure.confidence > unsure.confidence).all()
    assert_equal(segmenter(temperature=0.05)(photo()), segmenter()(photo()))


def test_a_recipe_without_language_scores_by_reference_alone():
    image = photo()
    silent = segmenter(recipe=RECIPE.replace(denseclip=False), refine=False)(image)
    spoken = segmenter(refine=False)(image)
    baseline = segmenter(recipe=RECIPE.replace(denseclip=False), refine=False, system="denseclip")
    product = torch.from_numpy(silent.scores * baseline(image).scores)
    assert torch.allclose(torch.from_numpy(spoken.scores), product, atol=2e-2)
    assert (silent.labels == truth(image)).mean() > 0.9


def test_the_referencesdecided_and_the_baseline_does_not_see_them():
    toy = Toy()
    bank = bank_of(("red", "green"), toy)
    swapped = [
        dataclasses.replace(c, reference=other.reference)
        for c, other in zip(bank.concepts, bank.concepts[::-1], strict=True)
    ]
    swapped = dataclasses.replace(
        bank, concepts=tuple(swapped), recipe=RECIPE.replace(denseclip=False)
    )
    models, image = Models(toy, toy, toy), photo()
    correct = truth(image, ("red", "green"))
    assert (Segmenter(swapped, models=models)(image).labels == 1 - correct).mean() > 0.97
    baseline = Segmenter(swapped, models=models, system="denseclip")
    assert (baseline(image).labels == correct).mean() > 0.97


def test_the_same_image_gives_the_same_result_and_changes_nothing():
    segment, image = segmenter(), photo()
    before, bank = image.copy(), segment.bank
    first = segment(image)
    segment(photo("blue", "yellow"))
    assert_equal(segment(image), first)
    assert np.array_equal(image, before)
    assert segment.bank is bank


def test_many_is_lazy():
    read = []

    def sources():
        for colour in ("red", "blue"):
            read.append(colour)
            yield photo(colour, colour)

    results = segmenter().many(sources())
    assert read == []
    assert not next(results).labels.any()
    assert read == ["red"]
    assert (next(results).labels == 2).all()
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("one", ["photo.jpg", b"bytes"])
def test_many_refuses_one_image_at_once(one):
    with pytest.raises(InputError, match="list of images"):
        segmenter().many(one)


def test_unknown_needs_calibration():
    with pytest.raises(BankError, match=r"'red' has no threshold.*recoseg\.calibrate"):
        segmenter(unknown=True)
    with pytest.raises(BankError, match="'yellow' has no threshold"):
        segmenter(thresholds=dict.fromkeys(NAMES[:3], 0.5), unknown=True)
    partly = segmenter(thresholds={"red": 0.5}, unknown=True, concepts=["red"])
    assert partly.names == ("red", "unknown")


def test_unknown_is_refused_where_it_means_nothing():
    levels = {"red": 0.5, "unknown": 0.5}
    with pytest.raises(BankError, match="called 'unknown' itself"):
        segmenter(("red", "unknown"), levels, unknown=True)
    assert segmenter(("red", "unknown"), levels).names == ("red", "unknown")
    with pytest.raises(InputError, match="system 'reco'"):
        segmenter(thresholds=dict.fromkeys(NAMES, 0.5), unknown=True, system="denseclip")


@pytest.mark.parametrize("shape", [(64, 64), (900, 1000)])
def test_a_foreign_colour_is_unknown(shape):
    segment = segmenter(
        ("red", "yellow"), {"red": 0.38, "yellow": 0.38}, unknown=True, refine=False
    )
    image = photo("red", "blue", shape)
    result = segment(image)
    assert result.names == ("red", "yellow", "unknown")
    assert result.maps.shape[0] == 2
    assert (result.labels == np.where(truth(image) == 0, 0, 2)).mean() > 0.95


def test_thresholds_reject_by_the_score_of_the_label():
    image = photo()
    open_ = segmenter(refine=False)(image)
    won = np.take_along_axis(open_.scores, open_.labels[None].astype(int), axis=0)[0]
    for level in (0.0, float(np.median(won)), 1.0):
        levels = dict.fromkeys(NAMES, level)
        result = segmenter(thresholds=levels, unknown=True, refine=False)(image)
        expected = np.where(won >= np.float32(level), open_.labels, len(NAMES))
        assert np.array_equal(result.labels, expected)


def test_a_large_image_goes_through_tiles():
    image = photo(shape=(1400, 1300))
    segment = segmenter(refine=False)
    calls = segment._models.dense.calls
    result = segment(image)
    assert segment._models.dense.calls - calls > 2
    assert result.labels.shape == result.confidence.shape == (1400, 1300)
    assert result.maps.shape[1] * result.maps.shape[2] <= 1.01 * WORKING_PIXELS
    assert result.scores.shape == (4, 1400, 1300)
    assert (result.labels == truth(image)).mean() > 0.99
    assert 0 <= result.confidence.min() <= result.confidence.max() <= 1


@pytest.mark.parametrize("refine", [True, False])
@pytest.mark.parametrize("shape", [(1, 64), (64, 1), (1, 1), (1, 3000), (3, 7)])
def test_images_of_one_pixel_height_are_images(shape, refine):
    result = segmenter(refine=refine)(np.full((*shape, 3), COLOURS["blue"], np.uint8))
    assert result.labels.shape == shape
    assert (result.labels == 2).all()
    assert np.isfinite(result.confidence).all()


@given(
    h=st.integers(1, 40), w=st.integers(1, 12), more=st.integers(0, 700), wider=st.integers(0, 9)
)
@settings(max_examples=40, deadline=None)
def test_bands_of_rows_are_those_of_the_whole(h, w, more, wider):
    generator = torch.Generator().manual_seed(h * 99 + w)
    maps = torch.rand(3, h, w, generator=generator, dtype=torch.float64)
    size = h + more, w + wider
    whole = upsample(maps[None], size)[0]
    bands = [slice(top, min(size[0], top + 256)) for top in range(0, size[0], 256)]
    found = torch.cat([upsample_rows(maps, size, band) for band in bands], dim=1)
    assert found.shape == whole.shape
    assert torch.allclose(found, whole, atol=1e-10, rtol=0)
    rough = torch.cat([upsample_rows(maps.float(), size, band) for band in bands], dim=1)
    assert torch.allclose(rough, whole.float(), atol=1e-6, rtol=0)
    labels, confidence = pick_winners(maps.float().softmax(dim=0), size)
    assert labels.shape == confidence.shape == size
    assert confidence.max() <= 1


@given(st.integers(1, 100_000_000), st.integers(1, 4000))
def test_theworking_size_keeps_shape_and_is_bounded(long, short):
    for size in ((long, short), (short, long)):
        image = np.broadcast_to(np.uint8(0), (*size, 3))
        height, width = working_size(image)
        assert 1 <= height <= size[0]
        assert 1 <= width <= size[1]
        assert height * width <= 2.1 * WORKING_PIXELS
        if long * short <= WORKING_PIXELS:
            assert (height, width) == size
        elif min(height, width) > 50:
            assert height / width == pytest.approx(size[0] / size[1], rel=0.02)


def test_scales_of_vectors_do_not_matter():
    toy, image = Toy(), photo()
    bank = bank_of(NAMES, toy)
    scaled = dataclasses.replace(
        bank, concepts=tuple(dataclasses.replace(c, reference=unit(c.reference) * 7)
                             for c in bank.concepts)
    )  # fmt: skip
    models = Models(toy, toy, toy)
    results = [Segmenter(b, models=models)(image) for b in (bank, scaled)]
    assert np.array_equal(results[0].labels, results[1].labels)


def test_of_many_concepts_those_that_win_nowhere_change_no_label():
    others = [f"thing {i}" for i in range(60)]
    few = segmenter(("red", "green"))(photo())
    thresholds = dict.fromkeys([*others, "red", "green"], 0.0)
    many = segmenter([*others[:30], "green", *others[30:], "red"], thresholds, unknown=True)(
        photo()
    )
    named = np.array(many.names)[many.labels]
    winners = set(np.unique(named))
    assert {"red", "green"} <= winners
    assert (named == np.array(few.names)[few.labels]).mean() > 0.9
    assert many.scores.shape == (62, 64, 64)
    np.testing.assert_allclose(sum(many.area.values()), 1)


def test_candidates_are_the_largest_winners_anddecided_as_all_do_where_one_of_them_wins():
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    image = np.kron(image[::8, ::8], np.ones((8, 8, 1), np.uint8))
    segment = segmenter([f"thing {i}" for i in range(150)], refine=False)
    maps = segment.scorer(image)
    chosen = pick_contenders(maps, LITE.contenders).tolist()
    assert chosen == sorted(set(chosen))
    assert 0 < len(chosen) <= LITE.contenders
    all_of_them = maps.at((96, 96)).argmax(dim=0).numpy()
    labels = segment(image).labels
    assert set(np.unique(labels)) <= set(chosen)
    among = np.isin(all_of_them, chosen)
    assert among.mean() > 0.5
    assert np.array_equal(labels[among], all_of_them[among])
    area = np.bincount(all_of_them.ravel(), minlength=150)
    assert int(area.argmax()) in chosen


def test_candidates_of_a_small_bank_are_all():
    segment = segmenter([f"thing {i}" for i in range(LITE.contenders)])
    maps = segment.scorer(photo("red", "red"))
    assert pick_contenders(maps, LITE.contenders).tolist() == list(range(LITE.contenders))


def test_a_bank_of_more_than_256_concepts_has_16_bit_labels():
    names = [*(f"thing {i}" for i in range(299)), "red"]
    result = segmenter(names)(photo("red", "red"))
    assert result.labels.dtype == np.uint16
    assert (result.labels == 299).all()


def test_confidence_does_not_jump_where_a_bank_becomes_large():
    plain = np.full((64, 64, 3), COLOURS["red"], np.uint8)
    confidences = [
        segmenter(["red", *(f"thing {i}" for i in range(count))], refine=False)(plain).confidence
        for count in (31, 32)
    ]
    assert abs(confidences[0] - confidences[1]).max() < 0.05


def test_all_names_of_a_segmenter_can_be_chosen():
    whole = segmenter(thresholds=dict.fromkeys(NAMES, 0.1), unknown=True)
    assert whole.choose(whole.names).names == whole.names
    with pytest.raises(UnknownConcept, match="unknown"):
        segmenter().choose(["red", "unknown"])


def test_a_shortlist_keeps_the_concepts_that_stand_highest_over_their_thresholds():
    names = (*NAMES, *(f"thing {i}" for i in range(40)))
    short = segmenter(names, thresholds=dict.fromkeys(names, 0.4), shortlist=2)
    result = short(photo())
    assert {name for name, share in result.area.items() if share} == {"red", "green"}
    assert result.scores.shape == (44, 64, 64)
    # A threshold above what a concept reaches anywhere takes it off the list.
    hub = segmenter(names, thresholds=dict.fromkeys(names, 0.4) | {"red": 40.0}, shortlist=2)
    assert hub(photo()).area["red"] == 0


def test_a_shortlist_of_all_changes_nothing():
    thresholds = dict.fromkeys(NAMES, 0.3)
    plain, short = segmenter(), segmenter(thresholds=thresholds, shortlist=4)
    assert np.array_equal(plain(photo()).labels, short(photo()).labels)
    np.testing.assert_allclose(plain(photo()).confidence, short(photo()).confidence)
    assert short.choose(["red", "green"]).options.shortlist == 4


def test_in_a_shortlist_concepts_compete_by_what_they_score_above_their_medians():
    image = np.full((64, 64, 3), COLOURS["red"], np.uint8)
    plain = segmenter(NAMES[:2])(image, refine=False)
    margin = float(plain.scores[0, 0, 0] - plain.scores[1, 0, 0])
    assert margin > 0

    def winner(median):
        toy = Toy()
        bank = bank_of(NAMES[:2], toy, dict.fromkeys(NAMES[:2], 0.3))
        levels = {"red": median, "green": 0.0}
        bank = bank.put(
            *(
                dataclasses.replace(bank[n], thresholds=[v] * len(STRICTNESSES))
                for n, v in levels.items()
            )
        )
        made = Segmenter(bank, shortlist=2, refine=False, models=Models(toy, toy, toy))(image)
        np.testing.assert_array_equal(made.scores, plain.scores)
        return made.names[int(made.labels[0, 0])]

    assert winner(0.9 * margin) == "red"
    assert winner(1.1 * margin) == "green"


def test_a_shortlist_needs_thresholds_and_at_least_one_concept():
    with pytest.raises(BankError, match=r"has no threshold.*shortlist"):
        segmenter(shortlist=2)
    with pytest.raises(InputError, match="at least one concept, not 0"):
        segmenter(thresholds=dict.fromkeys(NAMES, 0.3), shortlist=0)
    with pytest.raises(InputError, match="scores of system"):
        segmenter(thresholds=dict.fromkeys(NAMES, 0.3), shortlist=1, system="denseclip")


def test_a_bank_with_a_concept_called_unknown_can_still_be_shortlisted():
    names = ("red", "unknown")
    result = segmenter(names, thresholds=dict.fromkeys(names, 0.3), shortlist=1)(photo())
    assert result.names == names


def test_only_the_models_that_are_needed_are_loaded():
    def never():
        raise AssertionError("this model is not needed")

    toy, image = Toy(), photo()
    expected = segmenter(refine=False)(image).labels
    found = Segmenter(bank_of(), refine=False, models=Models(never, lambda: toy, lambda: toy))
    assert np.array_equal(found(image).labels, expected)
    names_alone = Segmenter(bank_of(), system="denseclip", models=Models(never, toy, never))
    assert names_alone(image).area
    looks_alone = bank_of(recipe=RECIPE.replace(denseclip=False))
    assert Segmenter(looks_alone, models=Models(never, never, toy))(image).area


def noisy(shape=(48, 56)):
    return np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_a_crf_of_no_strength_is_no_crf_and_of_strength_one_the_recipe_s():
    image = noisy()
    plain, usual = segmenter()(image, refine=False), segmenter()(image)
    weak, same = segmenter(strength=0)(image), segmenter(strength=1.0)(image)
    np.testing.assert_array_equal(weak.labels, plain.labels)
    np.testing.assert_allclose(weak.confidence, plain.confidence, atol=1e-6)
    np.testing.assert_array_equal(same.confidence, usual.confidence)


def test_strength_multiplies_both_kernels():
    image, crf = noisy(), RECIPE.crf
    twice = dataclasses.replace(
        crf,
        gaussian_weight=2 * crf.gaussian_weight,
        bilateral_weight=2 * crf.bilateral_weight,
        temperature=0.3,
    )
    expected = segmenter(recipe=RECIPE.replace(crf=twice))(image)
    found = segmenter(strength=2, temperature=0.3).choose(NAMES)(image)
    np.testing.assert_array_equal(found.confidence, expected.confidence)


@pytest.mark.parametrize("strength", [-0.1, 101, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(RecipeError, match="strength must be a number from 0 to 100"):
        segmenter(strength=strength)


@pytest.mark.parametrize(("shape", "encodings"), [((64, 64), 1), ((1280, 1300), 1 + 9)])
@pytest.mark.parametrize("refine", [True, False])
def test_progress_counts_encodings_and_iterations(shape, encodings, refine):
    seen = []
    image = np.full((*shape, 3), 128, np.uint8)
    segment = segmenter(NAMES[:1])
    segment(image, refine=refine, progress=lambda done, total: seen.append((done, total)))
    total = encodings + (RECIPE.crf.iterations if refine else 0)
    assert segment.steps(image, refine) == total
    assert seen == [(done, total) for done in range(total + 1)]


@pytest.mark.parametrize("at", [1, 2, 7])
def test_what_progress_raises_ends_the_work_there(at):
    seen = []

    def stop(done, total):
        seen.append(done)
        if done == at:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        segmenter()(noisy(), progress=stop)
    assert seen == list(range(at + 1))


def test_the_same_maps_serve_other_settings():
    image = noisy()
    maps = segmenter().maps(image)
    for options in ({"strength": 3.0}, {"temperature": 0.5}, {"refine": False}):
        other = segmenter(**options)
        expected, found = other(image), other.decide(image, maps)
        np.testing.assert_array_equal(found.confidence, expected.confidence)


def test_confidence_is_of_the_scores_where_the_recipe_says_so():
    recipe = RECIPE.replace(confidence_temperature=0.07)
    image = noisy()
    for options in ({}, {"strength": 9.0}, {"temperature": 0.5}, {"refine": False}):
        seen = segmenter(recipe=recipe, **options)(image)
        np.testing.assert_array_equal(seen.labels, segmenter(**options)(image).labels)
        softmax = torch.softmax(torch.from_numpy(seen.scores) / 0.07, dim=0)
        expected = softmax.gather(0, torch.from_numpy(seen.labels).long()[None])[0]
        np.testing.assert_allclose(seen.confidence, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("height", [255, 256, 257, 511, 512, 513, 611])
def test_every_row_of_a_large_image_is_that_of_the_whole(height):
    """Bands end everywhere: before, on and after their last row."""
    probabilities, size = torch.rand(5, 20, 30).softmax(dim=0), (height, 45)
    whole = upsample(probabilities[None], size)[0]
    labels = np.random.default_rng(0).integers(0, 5, size)
    expected = whole.gather(0, torch.from_numpy(labels)[None])[0]
    np.testing.assert_allclose(probability(probabilities, labels, size), expected, atol=1e-6)
    winners, confidence = pick_winners(probabilities, size)
    np.testing.assert_allclose(confidence, whole.amax(dim=0), atol=1e-6)
    np.testing.assert_allclose(probability(probabilities, winners, size), confidence, atol=1e-6)


def test_medians_are_the_scores_that_half_of_the_archive_does_not_reach():
    levels = {name: [0.1 * i + share for share in STRICTNESSES] for i, name in enumerate(NAMES)}
    bank = bank_of(thresholds=dict.fromkeys(NAMES, 0.9))
    assert median_scores(bank) is None
    partly = bank.put(dataclasses.replace(bank["red"], thresholds=levels["red"]))
    assert median_scores(partly) is None
    bank = bank.put(*(dataclasses.replace(bank[n], thresholds=levels[n]) for n in NAMES))
    np.testing.assert_allclose(median_scores(bank), [0.5, 0.6, 0.7, 0.8])


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), "warm"])
def test_a_confidence_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(RecipeError, match="confidence_temperature must be a positive number"):
        RECIPE.replace(confidence_temperature=temperature)
