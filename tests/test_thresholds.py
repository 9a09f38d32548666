"""Thresholds for unknown: quantiles of an archive whose scores are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import recoseg
from recoseg.building import calibration
from recoseg.building.calibration import calibrate
from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import STRICTNESSES, Concept
from recoseg.errors import ArchiveError, BankError, ImageError, InputError
from recoseg.models.registry import Models
from recoseg.recipe import Recipe
from recoseg.segmenting.scoremaps import Scorer
from recoseg.segmenting.segmenter import Segmenter
from tests.toys import COLOURS, Toy

NAMES = ("red", "green", "blue")
RECIPE = Recipe(
    name="toy", retrieval="toy", dense="toy", encoder="toy", templates="plain", image_size=64,
    ce=False, contexts=(),
)  # fmt: skip


class Memory:
    """What calibration asks of an index, over images in memory; an error is raised when read."""

    def __init__(self, pictures):
        self.pictures, self.read = pictures, []

    @property
    def ids(self):
        return list(self.pictures)

    def image(self, id, at_least=None):
        self.read.append((id, at_least))
        if isinstance(self.pictures[id], Exception):
            raise self.pictures[id]
        return self.pictures[id]


@pytest.fixture(scope="module")
def models():
    toy = Toy()
    return Models(toy, toy, toy)


def bank_of(models, recipe=RECIPE, names=NAMES):
    texts = models.dense.embed_texts(names)
    concepts = tuple(
        Concept(name, (name,), text, text) for name, text in zip(names, texts, strict=True)
    )
    return ConceptBank(concepts, (), recipe, models.fingerprints)


def noise(count=12, shape=(64, 64)):
    generator = np.random.default_rng(0)
    return {
        f"{i:03d}.png": np.kron(
            generator.integers(0, 256, (shape[0] // 8, shape[1] // 8, 3), dtype=np.uint8),
            np.ones((8, 8, 1), np.uint8),
        )
        for i in range(count)
    }


def plain(colour):
    return np.full((64, 64, 3), COLOURS[colour], np.uint8)


def run(bank, index, models, **options):
    return calibrate(bank, index, models=models, progress=False, **options)


def scores_of(bank, pictures, models, texts=True):
    scorer = Scorer(models, bank.recipe, bank.texts if texts else None, bank.references)
    maps = [scorer(p) for p in pictures]
    return torch.cat([m.at(m.grid).flatten(1) for m in maps], dim=1)


@pytest.mark.parametrize("strictness", [0.1, 0.5, 0.85, 0.99])
@pytest.mark.parametrize("denseclip", [True, False])
def test_the_share_of_pixels_below_a_threshold_is_the_strictness(models, strictness, denseclip):
    bank, pictures = bank_of(models, RECIPE.replace(denseclip=denseclip)), noise()
    calibrated = run(bank, Memory(pictures), models, strictness=strictness)
    scores = scores_of(bank, pictures.values(), models, denseclip)
    for concept, values in zip(calibrated.concepts, scores, strict=True):
        below = float((values < concept.threshold).float().mean())
        assert below == pytest.approx(strictness, abs=2 / values.numel() + 1e-3)
    assert calibrated.names == bank.names
    assert all(c.threshold is None for c in bank.concepts)


def test_a_higher_strictness_rejects_more(models):
    levels = [
        [c.threshold for c in run(bank_of(models), Memory(noise()), models, strictness=q).concepts]
        for q in (0.2, 0.5, 0.9)
    ]
    assert all(low < mid < high for low, mid, high in zip(*levels, strict=True))


def test_a_plain_archive_gives_its_one_score(models):
    bank = bank_of(models)
    calibrated = run(bank, Memory({"a": plain("yellow")}), models)
    expected = scores_of(bank, [plain("yellow")], models)[:, 0]
    found = [c.threshold for c in calibrated.concepts]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_what_is_no_concept_is_unknown_after_calibration(models):
    colours = ("yellow", "white", "black", "red", "green", "blue")
    archive = Memory({c: plain(c) for c in colours})
    # Each concept covers a sixth of it: half way between its own 64 values and the other 320.
    calibrated = run(bank_of(models), archive, models, strictness=319.5 / 383)
    segmenter = Segmenter(calibrated, unknown=True, refine=False, models=models)
    for i, name in enumerate(NAMES):
        assert (segmenter(plain(name)).labels == i).all()
    for name in ("yellow", "white", "black"):
        assert (segmenter(plain(name)).labels == len(NAMES)).all()
    assert recoseg.calibrate is calibrate


def test_thresholds_that_are_there_stay(models):
    index = Memory(noise())
    bank = bank_of(models).with_thresholds({"green": 0.123})
    calibrated = run(bank, index, models)
    assert calibrated["green"].threshold == 0.123
    everything = run(bank_of(models), index, models)
    assert calibrated["red"].threshold == everything["red"].threshold
    index.read.clear()
    assert run(calibrated, index, models) is calibrated
    assert not index.read


def test_thresholds_are_the_quantiles_of_their_strictnesses_and_rise(models):
    pictures = noise()
    calibrated = run(bank_of(models), Memory(pictures), models)
    scores = scores_of(bank_of(models), pictures.values(), models)
    for concept, values in zip(calibrated.concepts, scores, strict=True):
        for share, level in zip(STRICTNESSES, concept.thresholds, strict=True):
            below = float((values < level).float().mean())
            assert below == pytest.approx(share, abs=2 / values.numel() + 1e-3)
        assert concept.threshold == concept.threshold_at(calibration.STRICTNESS)
        between = (concept.threshold_at(0.5) + concept.threshold_at(0.6)) / 2
        assert concept.threshold_at(0.55) == pytest.approx(between)
        assert (concept.threshold_at(0), concept.threshold_at(1)) == (
            concept.thresholds[0],
            concept.thresholds[-1],
        )


def test_a_bank_calibrated_before_there_were_others_gets_them(models):
    index = Memory(noise())
    whole = run(bank_of(models), index, models)
    older = whole.put(*(replace(c, thresholds=None, threshold=0.7) for c in whole.concepts))
    again = run(older, index, models)
    assert [c.threshold for c in again.concepts] == [0.7] * 3
    assert [c.thresholds for c in again.concepts] == [c.thresholds for c in whole.concepts]


def test_levels_that_are_there_stay(models):
    index, kept = Memory(noise()), tuple(range(len(STRICTNESSES)))
    bank = bank_of(models)
    bank = bank.put(replace(bank["green"], thresholds=kept))
    calibrated, everything = run(bank, index, models), run(bank_of(models), index, models)
    assert calibrated["green"].thresholds == kept
    assert calibrated["green"].threshold == everything["green"].threshold
    assert calibrated["red"].thresholds == everything["red"].thresholds


@pytest.mark.parametrize("share", STRICTNESSES)
def test_strictness_is_the_threshold_asked_for(models, share):
    index, image = Memory(noise()), noise(1)["000.png"]
    usual = run(bank_of(models), index, models)
    asked = run(bank_of(models), index, models, strictness=share)
    options = {"refine": False, "models": models}
    strict = Segmenter(usual, strictness=share, **options)
    assert strict.options.unknown
    expected = Segmenter(asked, unknown=True, **options)(image)
    np.testing.assert_array_equal(strict(image).labels, expected.labels)
    np.testing.assert_array_equal(strict.choose(["red"])(image).labels,
                                  expected_of(asked, image, options))  # fmt: skip


def expected_of(bank, image, options):
    return Segmenter(bank, ["red"], unknown=True, **options)(image).labels


def test_a_stricter_segmenter_leaves_more_unknown(models):
    usual = run(bank_of(models), Memory(noise()), models)
    image = noise(1)["000.png"]
    shares = [
        Segmenter(usual, strictness=s, refine=False, models=models)(image).area["unknown"]
        for s in (0.5, 0.75, 0.9, 0.99)
    ]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


@pytest.mark.parametrize("strictness", [0, 0.49, 1, 85, float("nan")])
def test_a_strictness_out_of_range_is_refused(models, strictness):
    usual = run(bank_of(models), Memory(noise()), models)
    with pytest.raises(InputError, match=r"between 0\.5 and 0\.99"):
        Segmenter(usual, strictness=strictness, models=models)


def test_strictness_needs_thresholds_of_its_own(models):
    older = bank_of(models).with_thresholds(dict.fromkeys(NAMES, 0.5))
    assert Segmenter(older, unknown=True, models=models).names[-1] == "unknown"
    with pytest.raises(BankError, match=r"'red' has no thresholds by strictness.*calibrate"):
        Segmenter(older, strictness=0.9, models=models)


@pytest.mark.parametrize(
    "error", [ArchiveError("gone"), ImageError("broken"), FileNotFoundError("vanished")]
)
def test_an_image_that_vanished_is_left_out(models, error):
    pictures = noise()
    expected = run(bank_of(models), Memory(pictures), models)
    found = run(bank_of(models), Memory({**pictures, "005b.png": error}), models)
    for name in NAMES:
        assert found[name].threshold == expected[name].threshold
    with pytest.raises(ArchiveError, match="no image of the archive can be read"):
        run(bank_of(models), Memory({"a": error, "b": error}), models)


def test_images_are_chosen_evenly_by_sorted_id_and_read_at_the_finest_scale(models):
    pictures = dict(reversed(noise(40).items()))
    index = Memory(pictures)
    run(bank_of(models, RECIPE.replace(scales=(1, 2))), index, models, sample=5)
    chosen = [int(id[:3]) for id, _ in index.read]
    assert len(chosen) == 5
    assert (chosen[0], chosen[-1]) == (0, 39)
    assert set(np.diff(chosen)) <= {9, 10}
    assert {at_least for _, at_least in index.read} == {128}
    index.read.clear()
    run(bank_of(models), index, models, sample=999)
    assert sorted(id for id, _ in index.read) == sorted(pictures)


def test_the_order_of_the_archive_does_not_matter(models):
    pictures = noise()
    first = run(bank_of(models), Memory(pictures), models)
    second = run(bank_of(models), Memory(dict(reversed(pictures.items()))), models)
    assert [c.threshold for c in first.concepts] == [c.threshold for c in second.concepts]


def test_more_than_16_million_values_have_a_quantile(models, monkeypatch):
    many = np.linspace(0, 1, 1 + (1 << 24), dtype=np.float32)[None]
    monkeypatch.setattr(calibration, "_scores", lambda *_: many)
    bank = run(bank_of(models, names=("red",)), Memory({}), models, strictness=0.75)
    assert bank["red"].threshold == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("strictness", [0, 1, -0.5, 85, float("nan")])
def test_a_quantile_out_of_range_is_refused(models, strictness):
    with pytest.raises(InputError, match="between 0 and 1"):
        run(bank_of(models), Memory(noise()), models, strictness=strictness)


@pytest.mark.parametrize("sample", [0, -3])
def test_a_sample_of_nothing_is_refused(models, sample):
    with pytest.raises(InputError, match="at least one image"):
        run(bank_of(models), Memory(noise()), models, sample=sample)


def test_an_archive_without_images_is_refused(models):
    with pytest.raises(ArchiveError, match="holds no image"):
        run(bank_of(models), Memory({}), models)


def test_foreign_models_are_refused(models):
    strange = Toy(seed=1)
    with pytest.raises(BankError, match="model at hand"):
        run(bank_of(models), Memory(noise()), Models(strange, strange, strange))


def test_progress_counts_images(models):
    seen = []
    calibrate(
        bank_of(models), Memory(noise(3)), models=models,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1] == (3, 3)
