"""Banks built from an archive whose content is known: colours are the concepts."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recoseg.building import build as order
from recoseg.building.retrieve import retrieve
from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import Concept
from recoseg.errors import (
    ArchiveError,
    BankError,
    ImageError,
    IndexMismatch,
    InputError,
    UnknownConcept,
)
from recoseg.index.index import Hit, Index
from recoseg.io.archive import Archive
from recoseg.io.squares import cut_square
from recoseg.models.base import batch
from recoseg.models.registry import Models
from recoseg.recipe import Recipe
from tests.oracles import bank as oracle
from tests.toys import COLOURS, Toy, paint

SIZE = 64
CONTEXTS = ("green", "blue")
RECIPE = Recipe(
    name="toy", retrieval="toy", dense="toy", encoder="toy", templates="plain", k=4,
    archive_size=SIZE, contexts=CONTEXTS,
)  # fmt: skip
PLAIN = RECIPE.replace(lgc=False, ce=False)


class Coarse(Toy):
    """A dense map of half the encoder's resolution, which has to be resized."""

    def dense(self, batch):
        return F.normalize(F.avg_pool2d(self.features(batch), 2), dim=1)


class Memory:
    """What an index offers, over images in memory."""

    def __init__(self, pictures, model):
        self.archive = Archive.reopen({"kind": "files", "paths": []})
        self.pictures, self.fingerprint = dict(sorted(pictures.items())), model.fingerprint
        squares = [cut_square(p, SIZE) for p in self.pictures.values()]
        self.embeddings = model.embed_images(batch(squares))
        self.hash = hashlib.sha256(repr(sorted(pictures)).encode()).hexdigest()
        self.searches = 0

    def search(self, queries, k, *, exclude=()):
        self.searches += 1
        found = []
        for scores in (F.normalize(queries, dim=1) @ self.embeddings.T).tolist():
            hits = [Hit(*pair) for pair in zip(self.pictures, scores, strict=True)]
            hits = [hit for hit in hits if hit.id not in exclude]
            found.append(sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k])
        return found

    def image(self, id, at_least=None):
        if self.pictures[id] is None:
            raise ArchiveError(f"{id} is gone; bring the index up to date.")
        return self.pictures[id]

    def check(self, model):
        if model.fingerprint != self.fingerprint:
            raise IndexMismatch("another model.")


def picture(background, square=None, corner=(16, 16), shape=(SIZE, SIZE), side=32):
    pixels = np.full((*shape, 3), COLOURS[background], np.uint8)
    if square is not None:
        top, left = corner
        pixels[top : top + side, left : left + side] = COLOURS[square]
    return pixels


def archive():
    pictures = {
        f"red{i}.png": picture(background, "red", (8 * (i % 3), 16 - 8 * (i % 3)), side=48)
        for i, background in enumerate(("green", "blue", "white", "yellow"))
    }
    for colour in ("green", "blue", "yellow"):
        pictures.update({f"{colour}{i}.png": picture(colour) for i in range(3)})
    return pictures


def shared_background():
    pictures = {f"both{i}.png": picture("green", "red", (8 * i + 8, 16)) for i in range(4)}
    return {**pictures, **{f"green{i}.png": picture("green") for i in range(4)}}


def noisy(count=14, seed=0):
    generator = np.random.default_rng(seed)
    names = list(COLOURS)
    made = {}
    for i in range(count):
        background, square = names[i % 6], names[(i * 5 + 1) % 6]
        pixels = picture(background, square, tuple(generator.integers(0, 32, 2)))
        noise = generator.integers(-30, 30, pixels.shape)
        made[f"{i:02d}.png"] = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return made


@pytest.fixture(scope="module")
def models():
    toy = Toy()
    return Models(toy, toy, toy)


@pytest.fixture
def index(models):
    return Memory(archive(), models.retrieval)


def build(concepts, index, models, recipe=RECIPE, **options):
    return ConceptBank.build(concepts, index, recipe, models=models, progress=False, **options)


def colour_at(seed, pixels):
    height, width = pixels.shape[:2]
    return tuple(pixels[int(seed.y * height), int(seed.x * width)].tolist())


def assert_same(first, second, tolerance=0.0):
    assert first.names == second.names
    assert first.recipe == second.recipe
    assert dict(first.fingerprints) == dict(second.fingerprints)
    for mine, theirs in zip(
        (*first.concepts, *first.contexts), (*second.concepts, *second.contexts), strict=True
    ):
        assert (mine.name, mine.aliases, mine.threshold) == (
            theirs.name, theirs.aliases, theirs.threshold,
        )  # fmt: skip
        torch.testing.assert_close(mine.text, theirs.text, atol=tolerance, rtol=0)
        torch.testing.assert_close(mine.reference, theirs.reference, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("model", "lgc", "contexts"),
    [
        (Toy, True, ()),
        (Toy, False, ("green",)),
        (Toy, True, ("white", "red")),
        (Coarse, True, ("green",)),
        (Coarse, True, ("green", "blue", "white")),
    ],
)
def test_a_bank_equals_the_literal_transcription(model, lgc, contexts):
    toy = model()
    memory = Memory(noisy(), toy)
    side = 5
    recipe = RECIPE.replace(lgc=lgc, contexts=contexts, k=5, archive_size=side * toy.stride)
    names = ["red", "white", "yellow", "green"]
    bank = build(names, memory, Models(toy, toy, toy), recipe)

    def encode(id):
        square = cut_square(memory.pictures[id], recipe.archive_size, recipe.archive_resize)
        pixels = batch([square])
        return tuple(x[0].double().numpy() for x in (toy.dense(pixels), toy.features(pixels)))

    truth = oracle.bank(
        names, contexts,
        dict(zip(memory.pictures, memory.embeddings.double().numpy(), strict=True)),
        lambda name: toy.embed_texts([name])[0].double().numpy(),
        encode, recipe.k, recipe.gain if lgc else None,
    )  # fmt: skip
    for name, (ids, seeds, reference) in truth.items():
        evidence = bank[name].evidence
        assert list(evidence.images) == ids
        # A seed is drawn in the middle of its cell; evidence keeps four digits.
        places = [(s.y * side - 0.5, s.x * side - 0.5) for s in evidence.seeds]
        np.testing.assert_allclose(places, seeds, atol=1e-3)
        np.testing.assert_allclose(bank[name].reference.numpy(), reference, atol=1e-5)


def test_red_is_seeded_inside_the_red_squares(index, models):
    bank = build(["red"], index, models)
    evidence = bank["red"].evidence
    assert sorted(evidence.images) == [f"red{i}.png" for i in range(4)]
    for seed in evidence.seeds:
        assert colour_at(seed, index.pictures[seed.image]) == COLOURS["red"]
    assert evidence.agreement > 0.99
    assert evidence.archive == index.hash
    assert bank["red"].reference @ bank["red"].text > 0.99
    assert bank.fingerprints == models.fingerprints


def test_context_elimination_removes_a_shared_background(models):
    pictures = shared_background()
    memory = Memory(pictures, models.retrieval)
    plain = build(["red"], memory, models, PLAIN)
    assert {colour_at(s, pictures[s.image]) for s in plain["red"].evidence.seeds} == {
        COLOURS["green"]
    }
    recipe = PLAIN.replace(ce=True, contexts=("green",))
    eliminated = build(["red"], memory, models, recipe)
    assert {colour_at(s, pictures[s.image]) for s in eliminated["red"].evidence.seeds} == {
        COLOURS["red"]
    }
    guided = build(["red"], memory, models, PLAIN.replace(lgc=True))
    assert {colour_at(s, pictures[s.image]) for s in guided["red"].evidence.seeds} == {
        COLOURS["red"]
    }


def test_a_concept_that_is_a_context_reuses_its_embedding(index, models):
    bank = build(["red", "blue"], index, models)
    assert bank.names == ("red", "blue")
    assert [c.name for c in bank.contexts] == ["green", "blue"]
    assert bank["blue"] is bank.contexts[1]
    later = build(["red"], index, models).add(["blue"], index, models=models, progress=False)
    assert_same(bank, later)


def test_contexts_are_built_in_their_order(models):
    memory = Memory(shared_background(), models.retrieval)
    recipe = RECIPE.replace(lgc=False, contexts=("green", "red"))
    forward = build(["red", "green"], memory, models, recipe)
    backward = build(["red", "green"], memory, models, recipe.replace(contexts=("red", "green")))
    alone = build(["red", "green"], memory, models, PLAIN)
    torch.testing.assert_close(forward["green"].reference, alone["green"].reference)
    torch.testing.assert_close(backward["red"].reference, alone["red"].reference)
    assert not torch.equal(forward["red"].reference, backward["red"].reference)


def test_a_context_is_built_from_the_words_the_user_gives_it(index, models):
    bank = build({"green": ["green", "yellow"], "red": ["red"]}, index, models)
    assert bank.contexts[0] is bank["green"]
    assert bank.contexts[0].aliases == ("green", "yellow")


def test_a_context_added_with_other_words_does_not_eliminate_itself(index, models):
    bank = build(["red"], index, models)
    got = bank.add({"blue": ["blue", "black"]}, index, models=models, progress=False)
    truth = build(
        {"red": ["red"], "blue": ["blue", "black"]}, index, models
    )  # here it is the context itself
    torch.testing.assert_close(got["blue"].reference, truth["blue"].reference)
    assert got.contexts == bank.contexts


def test_aliases_are_averaged(index, models):
    bank = build({"warm": ["red", "yellow"]}, index, models)
    both = models.dense.embed_texts(["red", "yellow"]).mean(0)
    torch.testing.assert_close(bank["warm"].text, F.normalize(both, dim=0))
    assert bank["warm"].aliases == ("red", "yellow")


def test_adding_equals_building_together(index, models):
    whole = build(["red", "yellow", "white"], index, models)
    grown = build(["red"], index, models)
    searches = index.searches
    grown = grown.add(["yellow", "white"], index, models=models, progress=False)
    assert index.searches == searches + 1
    assert_same(whole, grown)


def test_the_order_of_concepts_does_not_matter(index, models):
    first = build(["red", "yellow"], index, models)
    second = build(["yellow", "red"], index, models)
    assert_same(first, second.subset(["red", "yellow"]))


def test_an_image_is_left_out_and_the_concept_rebuilt(index, models):
    bank = build(["yellow", "red"], index, models)
    again = bank.rebuild("red", index, exclude=["red1.png"], models=models, progress=False)
    assert again.names == bank.names
    assert again["yellow"] is bank["yellow"]
    assert "red1.png" in bank["red"].evidence.images
    assert "red1.png" not in again["red"].evidence.images
    assert again["red"].evidence.excluded == ("red1.png",)
    at_once = build(["yellow", "red"], index, models, exclude={"red": ["red1.png"]})
    assert_same(again, at_once)
    twice = again.rebuild("red", index, exclude="red2.png", models=models, progress=False)
    assert twice["red"].evidence.excluded == ("red1.png", "red2.png")
    assert bank["red"].evidence.excluded == ()


def test_rebuilding_without_changes_changes_nothing(index, models):
    bank = build(["red", "green", "blue"], index, models)
    for name in bank:
        again = bank.rebuild(name, index, models=models, progress=False)
        assert_same(bank, again)


def test_images_can_be_left_out_of_a_context(index, models):
    bank = build(["red"], index, models, exclude={"green": ["green0.png"]})
    assert "green0.png" not in bank.contexts[0].evidence.images
    assert bank.names == ("red",)


def test_examples_alone_need_no_archive(index, models):
    bank = build(["yellow"], index, models)
    shown = [picture("blue", "red", (0, 0)), picture("white", "red", (32, 32))]
    searches = index.searches
    with_red = bank.add([], index, examples={"red": shown}, models=models, progress=False)
    without = bank.add(["red"], None, examples={"red": shown}, models=models, progress=False)
    assert index.searches == searches
    assert_same(with_red, without)
    evidence = without["red"].evidence
    assert evidence.images == ("example 1", "example 2")
    assert evidence.examples == 2
    assert evidence.archive == ""
    assert [colour_at(s, p) for s, p in zip(evidence.seeds, shown, strict=True)] == [
        COLOURS["red"]
    ] * 2


def test_a_bank_from_examples_alone(models):
    shown = {"red": [picture("blue", "red")], "blue": [picture("blue")]}
    bank = build([], None, models, RECIPE.replace(ce=False), examples=shown)
    assert bank.names == ("red", "blue")
    with pytest.raises(InputError, match="contexts need an archive"):
        build([], None, models, examples=shown)
    itself = build([], None, models, RECIPE.replace(contexts=("blue",)), examples=shown)
    assert itself.contexts == (itself["blue"],)


def test_words_and_examples_together(index, models, tmp_path):
    path = paint(tmp_path / "mine.png", "black", "red")
    bank = build(["red"], index, models, examples={"red": [path, picture("white", "red")]})
    evidence = bank["red"].evidence
    assert evidence.images[:2] == (str(path), "example 2")
    assert [seed.score is None for seed in evidence.seeds] == [True, True, False, False, False,
                                                               False]  # fmt: skip
    with pytest.raises(BankError, match="give them again"):
        bank.rebuild("red", index, models=models, progress=False)
    again = bank.rebuild(
        "red", index, examples=[path, picture("white", "red")], models=models, progress=False
    )
    assert_same(bank, again)


def test_images_need_not_be_square(models):
    shown = [picture("white", "red", (16, 80), (64, 192)), picture("white", "red", (80, 16),
                                                                   (192, 64))]  # fmt: skip
    bank = build([], None, models, RECIPE.replace(ce=False), examples={"red": shown})
    for seed, pixels in zip(bank["red"].evidence.seeds, shown, strict=True):
        assert colour_at(seed, cut_square(pixels, SIZE)) == COLOURS["red"]


def test_an_image_that_vanished_is_noted(index, models):
    index.pictures["red2.png"] = None
    evidence = build(["red"], index, models)["red"].evidence
    assert len(evidence.seeds) == 3
    assert evidence.notes == (
        "red2.png was left out: red2.png is gone; bring the index up to date.",
    )
    for name in index.pictures:
        index.pictures[name] = None
    with pytest.raises(ArchiveError, match="no image is left for 'green'"):
        build(["red"], index, models)


def test_one_forward_pass_serves_both_maps(index):
    class Both(Toy):
        shared = 0

        def dense_and_features(self, batch):
            self.shared += 1
            return self.dense(batch), self.features(batch)

    toy = Both()
    build(["red"], index, Models(toy, toy, toy), RECIPE.replace(ce=False, k=6))
    assert toy.shared == 2


def test_progress_counts_concepts_and_contexts(index, models):
    seen = []
    ConceptBank.build(
        ["red", "green"], index, RECIPE, models=models,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("verb", ["build", "add"])
def test_a_progress_bar_that_looks_ahead_changes_nothing(index, models, monkeypatch, verb):
    def make():
        if verb == "build":
            return build(["red", "green", "yellow"], index, models)
        return build(["red"], index, models).add(
            ["yellow", "green"], index, models=models, progress=False
        )

    plain = make()
    monkeypatch.setattr(order, "track", lambda items, *rest: list(items))
    assert_same(make(), plain)


def test_a_real_index_serves_as_well(tmp_path, models):
    for name, pixels in archive().items():
        Image.fromarray(pixels).save(tmp_path / name)
    index = Index.build(tmp_path, tmp_path / "i.index", model=models.retrieval, progress=False)
    bank = build(["red"], index, models)
    assert sorted(bank["red"].evidence.images) == [f"red{i}.png" for i in range(4)]
    assert bank["red"].evidence.archive == index.hash
    (tmp_path / "red0.png").unlink()
    assert "red0.png" in build(["red"], index, models)["red"].evidence.notes[0]


def test_retrieve_keeps_order_and_exclusions(index, models):
    names = ["red", "green", "blue"]
    vectors = dict(zip(names, models.retrieval.embed_texts(names), strict=True))
    found = retrieve(vectors, index, 2, {"green": ["green0.png"]})
    assert list(found) == names
    assert [hit.id for hit in found["green"]] == ["green1.png", "green2.png"]
    assert all(len(hits) == 2 for hits in found.values())
    assert len(retrieve(vectors, index, 999)["red"]) == len(index.pictures)


def test_a_bank_is_a_mapping(index, models):
    bank = build(["red", "yellow"], index, models)
    assert list(bank) == ["red", "yellow"]
    assert len(bank) == 2
    assert "red" in bank
    assert "purple" not in bank
    assert [concept.name for concept in bank.values()] == ["red", "yellow"]
    assert bank.texts.shape == bank.references.shape == (2, 16)
    assert "red, yellow" in repr(bank)
    with pytest.raises(UnknownConcept, match="did you mean yellow"):
        bank["yelow"]
    with pytest.raises(UnknownConcept, match="it holds red, yellow"):
        bank["zzz"]
    with pytest.raises(KeyError):
        bank["zzz"]


def test_drop_subset_and_merge(index, models):
    bank = build(["red", "yellow", "white"], index, models)
    assert bank.drop("yellow").names == ("red", "white")
    assert bank.drop(["red", "white"]).names == ("yellow",)
    assert bank.subset(["white", "red"]).names == ("white", "red")
    assert bank.subset(["white"]).merge(bank.subset(["red"])).names == ("white", "red")
    assert bank.names == ("red", "yellow", "white")
    for change in (bank.drop, bank.subset):
        with pytest.raises(UnknownConcept):
            change(["purple"])


def test_merge_refuses_what_does_not_fit(index, models):
    bank, other = build(["red"], index, models), build(["yellow"], index, models)
    with pytest.raises(BankError, match="twice"):
        bank.merge(bank)
    with pytest.raises(BankError, match="differ in k, lgc"):
        bank.merge(dataclasses.replace(other, recipe=RECIPE.replace(k=9, lgc=False)))
    with pytest.raises(BankError, match="different models"):
        bank.merge(dataclasses.replace(other, fingerprints={"encoder": "x"}))
    assert bank.merge(dataclasses.replace(other, recipe=RECIPE.replace(name="x"))).names


def test_foreign_models_are_refused(index, models):
    bank = build(["red"], index, models)
    strange = Toy(seed=1)
    others = Models(models.retrieval, strange, models.encoder)
    with pytest.raises(BankError, match="dense model at hand"):
        bank.check(others)
    with pytest.raises(BankError, match="dense model at hand"):
        bank.add(["blue"], index, models=others, progress=False)
    with pytest.raises(IndexMismatch):
        build(["red"], index, Models(strange, strange, strange))
    bank.check(models)


def test_thresholds(index, models):
    bank = build(["red", "yellow"], index, models)
    assert bank["red"].threshold is None
    changed = bank.with_thresholds({"red": 0.25})
    assert (changed["red"].threshold, changed["yellow"].threshold) == (0.25, None)
    assert bank["red"].threshold is None
    with pytest.raises(UnknownConcept):
        bank.with_thresholds({"purple": 1.0})
    with pytest.raises(InputError):
        bank.with_thresholds({"red": float("nan")})


@pytest.mark.parametrize(
    ("concepts", "options"),
    [
        ([], {}),
        ("red", {}),
        (["red", "red"], {}),
        ([""], {}),
        ([" red"], {}),
        (["red\n"], {}),
        ([7], {}),
        ({"red": []}, {}),
        ({"red": "red"}, {}),
        ({"red": [""]}, {}),
        (["red"], {"exclude": {"purple": ["a"]}}),
        (["red"], {"exclude": {"red": "a.png"}}),
        (["red"], {"examples": {"red": []}}),
        (["red"], {"examples": {"red": "a.png"}}),
        (["red"], {"examples": {"red": picture("red")}}),
    ],
)
def test_hostile_requests_are_refused(index, models, concepts, options):
    with pytest.raises(InputError):
        build(concepts, index, models, **options)


def test_requests_that_need_an_archive_or_exist_are_refused(index, models):
    bank = build(["red"], index, models)
    with pytest.raises(BankError, match="already"):
        bank.add(["red"], index, models=models, progress=False)
    with pytest.raises(InputError, match="no image for 'blue'"):
        bank.add(["blue"], None, models=models, progress=False)
    with pytest.raises(InputError, match="not being built"):
        bank.add(["yellow"], index, exclude={"green": ["x"]}, models=models, progress=False)
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        bank.add([], None, examples={"blue": ["nowhere.png"]}, models=models, progress=False)
    with pytest.raises(UnknownConcept):
        bank.rebuild("purple", index, models=models)


@pytest.mark.parametrize("vector", [torch.zeros(2, 2), torch.zeros(0), torch.tensor([torch.nan])])
def test_a_concept_checks_its_vectors(vector):
    with pytest.raises(InputError):
        Concept("x", ("x",), torch.ones(3), vector)
    with pytest.raises(InputError):
        Concept("x", ("x",), vector, torch.ones(3))
