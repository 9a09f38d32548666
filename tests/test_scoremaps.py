"""Score maps against a literal transcription, and scales, tiles and strips by what must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.io import images
from recoseg.models.registry import Models
from recoseg.recipe import Recipe
from recoseg.segmenting.scoremaps import LARGE, LONGEST, TILING, ScoreMaps, Scorer
from recoseg.segmenting.tiling import Blend
from recoseg.similarity import cosine_map, upsample
from tests.oracles import segment as oracle
from tests.toys import COLOURS, Toy

RECIPE = Recipe(
    name="toy", retrieval="toy", dense="toy", encoder="toy", templates="plain", image_size=64
)
NAMES = ("red", "green", "blue")
TILE = TILING.side


class Fine(Toy):
    """Features of twice the dense map's resolution."""

    stride = 4


class Counted(Toy):
    """Remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def features(self, batch):
        self.shapes.append(tuple(batch.shape))
        return super().features(batch)


class Positional(Toy):
    """Its maps depend on the place within what it is given, as a network's borders do."""

    def features(self, batch):
        features = super().features(batch)
        ramp = torch.linspace(-1, 1, features.shape[-1])
        return features + ramp[None, None, None] * ramp[None, None, :, None]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def vectors(count=3, seed=1):
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


def scorer(recipe=RECIPE, dense=None, encoder=None, texts=True, references=True):
    dense = dense or Toy()
    return Scorer(
        Models(dense, dense, encoder or dense),
        recipe,
        dense.embed_texts(NAMES) if texts else None,
        vectors() if references else None,
    )


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (120, 64)])
@pytest.mark.parametrize("factors", ["both", "language", "visual"])
def test_scores_are_those_of_the_literal_method(shape, factors):
    dense, encoder, image = Toy(), Fine(), noise(*shape)
    use = {"texts": factors != "visual", "references": factors != "language"}
    score = scorer(dense=dense, encoder=encoder, **use)
    pixels = images.to_tensor(image)[None]
    size = (37, 50)
    expected = oracle.scores(
        encoder.features(pixels)[0].double().numpy(),
        score.references.double().numpy() if use["references"] else None,
        dense.dense(pixels)[0].double().numpy(),
        score.texts.double().numpy() if use["texts"] else None,
        RECIPE.gain,
        size,
    )
    found = score(image).at(size)
    assert found.shape == (3, *size)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_a_factor_that_is_not_asked_for_is_not_computed():
    dense, encoder = Counted(), Counted()
    scorer(dense=dense, encoder=encoder, references=False)(noise(64, 64))
    assert (len(dense.shapes), len(encoder.shapes)) == (1, 0)
    scorer(dense=dense, encoder=encoder, texts=False)(noise(64, 64))
    assert (len(dense.shapes), len(encoder.shapes)) == (1, 1)


def test_the_grid_is_that_of_the_finer_factor():
    maps = scorer(encoder=Fine())(noise(64, 96))
    assert maps.language.shape == (3, 8, 12)
    assert maps.visual.shape == (3, 16, 24)
    assert maps.grid == (16, 24)
    assert ScoreMaps(maps.language, None).grid == (8, 12)


@given(
    height=st.integers(1, 200), width=st.integers(1, 200), size=st.sampled_from([(1, 1), (7, 90)])
)
@settings(max_examples=25, deadline=None)
def test_scores_of_any_shape_are_finite_and_between_0_and_1(height, width, size):
    found = scorer()(noise(height, width)).at(size)
    assert found.shape == (3, *size)
    assert ((found > 0) & (found < 1)).all()


def test_scales_average_cosines_on_the_finest_grid():
    image, score = noise(64, 96), scorer(RECIPE.replace(scales=(1, 2)))
    toy = score.models.dense
    each = [
        cosine_map(toy.dense(images.to_tensor(images.resize(image, size))[None]), score.texts)
        for size in [(64, 96), (128, 192)]
    ]
    mean = (upsample(each[0], (16, 24)) + each[1])[0] / 2
    assert torch.allclose(score(image).language, torch.sigmoid(10 * mean), atol=1e-6)


def test_the_order_of_scales_and_repeated_ones_change_nothing():
    image = noise(64, 96)
    maps = [
        scorer(RECIPE.replace(scales=scales))(image).at((64, 96))
        for scales in [(1, 2), (2, 1), (1, 2, 1, 2)]
    ]
    assert torch.allclose(maps[0], maps[1], atol=1e-6)
    assert torch.allclose(maps[0], maps[2], atol=1e-6)


@pytest.mark.parametrize("debias", [0.25, 1.0])
def test_debias_takes_a_share_of_the_scenes_mean_off_language_alone(debias):
    image, plain = noise(64, 96), scorer()(noise(64, 96))
    maps = scorer(RECIPE.replace(debias=debias))(image)
    cosines = torch.logit(plain.language.double()) / 10
    expected = torch.sigmoid(10 * (cosines - debias * cosines.mean(dim=(1, 2), keepdim=True)))
    assert torch.allclose(maps.language.double(), expected, atol=1e-5)
    assert torch.equal(maps.visual, plain.visual)


def test_with_all_of_the_mean_taken_off_a_plain_image_says_nothing():
    image = np.full((64, 64, 3), COLOURS["red"], np.uint8)
    maps = scorer(RECIPE.replace(debias=1.0))(image)
    assert torch.allclose(maps.language, torch.full_like(maps.language, 0.5), atol=1e-6)


@given(st.integers(20, 120), st.integers(20, 120))
def test_tiles_cover_every_pixel_and_overlap(rows, columns):
    size = rows * 32, columns * 32
    found = TILING.corners(size)
    assert len(set(found)) == len(found)
    for axis in (0, 1):
        starts = sorted({corner[axis] for corner in found})
        assert starts[0] == 0
        assert starts[-1] + TILE == size[axis]
        assert all(start % 32 == 0 for start in starts)
        gaps = np.diff(starts)
        assert (gaps > 0).all()
        assert (gaps <= TILE - TILING.overlap).all()
    assert len(found) == np.prod([len({c[axis] for c in found}) for axis in (0, 1)])


@pytest.mark.parametrize("encoder", [Toy, Fine])
def test_the_tiled_map_of_a_repeated_cell_has_no_seams(encoder):
    image = np.tile(noise(32, 32), (40, 47, 1))
    score = scorer(encoder=encoder())
    whole, _ = score._encode(images.to_tensor(image)[None])
    for tiled, expected in zip(score._encode_tiles(image), whole, strict=True):
        assert tiled.shape == expected.shape
        assert torch.allclose(tiled, expected, atol=1e-5)


def test_tiles_are_put_where_they_were_cut():
    image, score = noise(1280, 1312), scorer()
    whole, _ = score._encode(images.to_tensor(image)[None])
    for tiled, expected in zip(score._encode_tiles(image), whole, strict=True):
        assert torch.allclose(tiled, expected, atol=1e-5)


@pytest.mark.parametrize("cells", [20, 40, 45, 46, 7])
def test_blending_constant_tiles_gives_the_constant(cells):
    size, tile = (1280, 1504), torch.tensor([0.25, -0.5])[:, None, None].expand(2, cells, cells)
    blend = Blend(size, TILING, tile)
    for top, left in TILING.corners(size):
        blend.add(tile, top, left)
    result = blend.result()
    assert result.shape == (2, *(cells + round((side - TILE) * cells / TILE) for side in size))
    assert torch.allclose(result, torch.tensor([0.25, -0.5])[:, None, None].expand_as(result))


def test_a_stride_that_does_not_divide_a_tile_leaves_no_gap():
    class Fourteen(Toy):
        stride = 14

    maps = scorer(dense=Fourteen())(noise(1290, 1400))
    assert torch.isfinite(maps.at((50, 60))).all()


def test_what_a_network_makes_of_a_tiles_border_is_faded_out():
    image = np.full((1280, 1280, 3), COLOURS["red"], np.uint8)
    tiled = scorer(dense=Positional())._encode_tiles(image)[1]
    steps = max(tiled.diff(dim=1).abs().max(), tiled.diff(dim=2).abs().max())
    alone = scorer(dense=Positional())._encode(images.to_tensor(image[:TILE, :TILE])[None])[0][1]
    jump = (alone[:, -1] - alone[:, 0]).abs().max()
    assert steps < jump / 4


def test_tiles_are_used_for_large_images_alone_and_added_to_the_whole():
    toy = Counted()
    score = scorer(dense=toy, references=False)
    score(noise(LARGE - 1, LARGE + 300))
    assert toy.shapes == [(1, 3, 64, 79)]
    toy.shapes.clear()
    image = noise(LARGE, LARGE + 32)
    maps = score(image)
    assert toy.shapes == [(1, 3, 64, 66)] + [(1, 3, TILE, TILE)] * 9
    mean = (upsample(score._encode(score._whole(image, 1))[0][0][None], (160, 164))[0]
            + score._encode_tiles(image)[0]) / 2  # fmt: skip
    assert torch.allclose(maps.language, torch.sigmoid(10 * mean), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (2, 3000), (40, 4000), (1, 1)])
def test_long_strips_are_bounded_and_never_thinner_than_a_cell(shape):
    toy = Counted()
    maps = scorer(RECIPE.replace(scales=(1, 3)), dense=toy)(noise(*shape))
    for _, _, height, width in toy.shapes:
        assert max(height, width) <= 3 * LONGEST * 64
        assert min(height, width) >= 32
    assert torch.isfinite(maps.at((3, 3))).all()


def test_long_large_strips_have_a_bounded_number_of_tiles():
    toy = Counted()
    score = scorer(dense=toy, references=False)
    image = np.broadcast_to(np.uint8(90), (1280, 14_000, 3))
    assert score._encode_tiles(np.ascontiguousarray(image))[0].shape == (3, 160, LONGEST * 160)
    assert len(toy.shapes) == 3 * 21


def test_a_small_scale_is_no_thinner_than_a_cell():
    toy = Counted()
    scorer(RECIPE.replace(image_size=32, scales=(0.1,)), dense=toy)(noise(64, 64))
    assert {shape[-2:] for shape in toy.shapes} == {(32, 32)}


def test_one_model_for_both_runs_once_per_scale():
    class Both(Toy):
        shared = 0

        def dense_and_features(self, batch):
            self.shared += 1
            features = self.features(batch)
            return F.normalize(features, dim=1), features

    toy = Both()
    scorer(RECIPE.replace(scales=(1, 2)), dense=toy)(noise(64, 64))
    assert (toy.shared, toy.calls) == (2, 2)


def test_scores_of_concepts_do_not_depend_on_each_other():
    image, score = noise(64, 96), scorer(RECIPE.replace(debias=0.25))
    alone = Scorer(score.models, score.recipe, score.texts[1:2], score.references[1:2])
    both = score(image).at((64, 96))
    assert torch.allclose(alone(image).at((64, 96))[0], both[1], atol=1e-6)


@pytest.mark.parametrize("factors", [{}, {"texts": False}, {"references": False}])
def test_some_of_the_maps_are_taken_by_index(factors):
    maps = scorer(**factors)(noise(64, 96))
    taken = maps.take(torch.tensor([2, 0]))
    assert (maps.count, taken.count) == (3, 2)
    assert torch.equal(taken.at((9, 9)), maps.at((9, 9))[[2, 0]])
