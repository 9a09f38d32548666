"""The closed forms behind ``lite``'s head, and the listing of the everyday bank."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from skimage import data
from training import captions, classifier, everyday_bank, lite_head, regression, words
from training.photos import Photos

from recoseg import ConceptBank, Segmenter
from recoseg.evaluation.captions import recall
from recoseg.models import registry
from recoseg.models.registry import Models
from recoseg.similarity import unit


def test_tags_with_too_few_photos_are_left_out(tmp_path):
    file = tmp_path / "tags.tsv"
    file.write_text("a.jpg\tsky,sea\nb.jpg\tsky, sea ,sky\nc.jpg\tsky\n")
    assert words.shown(words.read_tags(file), agree=1, minimum=2) == {
        "sky": ["a.jpg", "b.jpg", "c.jpg"],
        "sea": ["a.jpg", "b.jpg"],
    }


def test_a_word_of_one_caption_is_not_shown(tmp_path):
    file = tmp_path / "captions.tsv"
    file.write_text("a.jpg\tA dog runs in the grass .\na.jpg\tThe dog dog plays\nb.jpg\tA dog\n")
    captions = words.read_captions(file)
    assert words.shown(captions, agree=2, minimum=1) == {"dog": ["a.jpg"]}


def test_a_group_is_shown_where_captions_agree_on_any_of_its_words(tmp_path):
    file = tmp_path / "captions.tsv"
    file.write_text("a.jpg\tA man\na.jpg\tTwo women\nb.jpg\tA man\nb.jpg\tA tree\n")
    groups = {("person", "people"): "man women", ("tree",): "tree woods"}
    found = words.shown_groups(words.read_captions(file), groups, agree=2, minimum=1)
    assert found == {("person", "people"): ["a.jpg"]}


def test_listed_groups_are_well_formed():
    of_words, of_classes = words.read_groups(), words.read_groups(classifier.GROUPS)
    assert len(of_words) > 60
    assert len(of_classes) > 150
    for names in (*of_words, *of_classes):
        assert all(names)
        assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z0-9 -]+", members) for members in of_words.values())
    assert all(0 <= i < 1000 for listed in of_classes.values() for i in classifier.indices(listed))
    assert classifier.indices("3, 7-9") == [3, 7, 8, 9]


def test_a_group_s_direction_is_the_unit_mean_of_its_rows():
    rows = np.eye(1000, 1280)
    names, directions = classifier.groups(rows)
    cats = directions[names.index("kitten")]
    np.testing.assert_allclose(cats[281:286], 5**-0.5)
    assert np.count_nonzero(cats) == 5


def test_a_known_word_without_noise_gets_its_direction():
    generator = np.random.default_rng(0)
    text, directions = generator.normal(size=(9, 384)), generator.normal(size=(9, 1280))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    head = regression.fit(text, directions, np.full(9, 1e9))
    found = regression.text_side(head)(torch.from_numpy(text).float())
    expected = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_regression_is_the_posterior_mean_of_its_kernel():
    generator = np.random.default_rng(1)
    text, directions = generator.normal(size=(6, 384)), generator.normal(size=(6, 1280))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    weights = np.arange(1.0, 7.0)
    known, new = text[:5], text[5]
    mean = sum(w * t for w, t in zip(weights, known, strict=False)) / weights[:5].sum()

    def kernel(a, b):
        return (a - mean) @ (b - mean) + np.exp(regression.SHARPNESS * (a @ b - 1))

    gram = np.array([[kernel(a, b) for b in known] for a in known])
    solved = np.linalg.inv(gram + np.diag(regression.NOISE / weights[:5])) @ directions[:5]
    expected = np.array([kernel(new, b) for b in known]) @ solved
    direct = regression.text_side(regression.fit(known, directions[:5], weights[:5]))
    found = direct(torch.from_numpy(new[None]).float())[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_merging_repeated_names_changes_nothing():
    generator = np.random.default_rng(2)
    text, directions = generator.normal(size=(3, 384)), generator.normal(size=(4, 1280))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    names, weights = ["a", "b", "c", "a"], np.array([1.0, 2, 3, 4])
    merged, means, totals = regression.merge(names, directions, weights)
    assert merged == ["a", "b", "c"]
    # The duplicate differs by so little that the kernel's matrix is still regular.
    whole = np.concatenate([text, text[:1]])
    apart = regression.text_side(regression.fit(whole, directions, weights))
    once = regression.text_side(regression.fit(text, means, totals))
    query = torch.from_numpy(generator.normal(size=(2, 384))).float()
    torch.testing.assert_close(once(query), apart(query), atol=1e-4, rtol=0)


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


def halves():
    """One photo whose upper pixels lie on the first axis, the lower ones on the second."""
    pixels = np.zeros((1, 100, 1280), np.float16)
    pixels[0, :50, 0] = 1
    pixels[0, 50:, 1] = 1
    return Photos([("f", "a.jpg")], pixels, torch.zeros(1280))


def test_a_word_attends_to_the_pixels_that_fit_it():
    shared = lite_head.share(halves(), [np.array([0])] * 2, np.eye(2, 1280), exclusive=True)
    np.testing.assert_allclose(shared[:, :2], np.eye(2), atol=1e-6)


def test_a_word_and_a_group_of_the_same_name_both_count(monkeypatch):
    rows = np.array([0])
    part = lite_head.Labelled(rows, {("sky",): rows}, {("sky",): rows, ("sea", "ocean"): rows})
    monkeypatch.setattr(lite_head, "word_directions", lambda *_: np.eye(3, 1280))
    monkeypatch.setattr(lite_head, "learnt_from_classifier", lambda: ([], [], []))
    monkeypatch.setattr(regression, "embed", lambda names: np.eye(len(names), 384))
    monkeypatch.setattr(regression, "fit", lambda *given: given)
    _, directions, weights = lite_head.of_texts(halves(), [part])
    expected = np.array([[0.5, 0.5, 0], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(directions[:, :3], expected)
    np.testing.assert_allclose(weights, np.log(2) * np.array([2, 1, 1]))


def test_groups_that_overlap_do_not_compete_for_pixels():
    same = np.eye(1, 1280).repeat(2, axis=0)
    alone = lite_head.share(halves(), [np.array([0])], same[:1], exclusive=False)
    both = lite_head.share(halves(), [np.array([0])] * 2, same, exclusive=False)
    np.testing.assert_allclose(both, alone.repeat(2, axis=0), atol=1e-7)
    np.testing.assert_allclose(alone[0, :2], [1, 0], atol=1e-6)


class TestCaptions:
    @pytest.fixture
    def material(self):
        """Forty photos with two captions each, whose directions are a rotation of the photos."""
        generator = torch.Generator().manual_seed(0)
        photos = unit(torch.randn(40, 32, generator=generator))
        turn = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0]
        noise = 0.05 * torch.randn(80, 32, generator=generator)
        texts = unit((photos @ turn).repeat(2, 1) + noise)
        words = unit(torch.randn(9, 32, generator=generator))
        return captions.Material(photos, texts, torch.arange(80) % 40, words, torch.arange(40))

    @staticmethod
    def placed(material, head):
        photos = material.pooled
        return unit(photos + photos @ head["image_projection"] + head["image_shift"])

    def test_captions_find_their_photos(self, material, monkeypatch):
        monkeypatch.setattr(captions, "EPOCHS", 300)
        monkeypatch.setattr(captions, "KEEP", 0.0)
        found = self.placed(material, captions.fit(material))
        assert recall(found, material.captions, material.owners, [1])[1] > 0.9
        assert recall(material.pooled, material.captions, material.owners, [1])[1] < 0.2

    def test_cosines_with_known_words_are_kept_where_that_weighs(self, material, monkeypatch):
        monkeypatch.setattr(captions, "EPOCHS", 100)
        changes = []
        for keep in (0.0, 1000.0):
            monkeypatch.setattr(captions, "KEEP", keep)
            moved = self.placed(material, captions.fit(material)) - material.pooled
            changes.append(float((moved @ material.words.T).square().mean()))
        assert changes[1] < changes[0] / 5

    def test_the_same_seed_gives_the_same_bits(self, material):
        first, second, other = (captions.fit(material, seed=seed) for seed in (0, 0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not torch.equal(first["image_projection"], other["image_projection"])

    def test_the_caller_s_random_numbers_are_left_alone(self, material):
        state = torch.get_rng_state()
        captions.fit(material)
        assert torch.equal(torch.get_rng_state(), state)

    def test_only_the_photos_asked_for_are_read(self, tmp_path):
        file = tmp_path / "captions.tsv"
        file.write_text("a.jpg\tA dog\nheld.jpg\tA cat\nb.jpg\tA tree\na.jpg\tA dog\n")
        vectors, owners = captions.embed(file, {"a.jpg": 7, "b.jpg": 3}, lambda x: x)
        assert owners.tolist() == [7, 3, 7]
        torch.testing.assert_close(vectors[0], vectors[2])
        assert not vectors.is_inference()


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
        assert registry.load("lite", "cpu") is segmenter._models.dense
        assert registry.load("lite:16", "cpu") is segmenter._models.encoder
