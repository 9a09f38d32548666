"""Every way of co-segmentation keeps the one protocol, and a bank may be built by any."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recoseg
from recoseg.building.cosegmenters import COSEGMENTERS, cosegment_spectrally
from recoseg.errors import InputError
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from tests.toys import Toy, paint

ALL = pytest.mark.parametrize("method", COSEGMENTERS.values(), ids=COSEGMENTERS)


def planted(n=5, d=8, side=6, seed=0):
    """Random pixels, and in each image one at a known place that all images share."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, d, side, side, generator=generator)
    common = torch.zeros(d)
    common[0] = 6.0
    places = torch.randint(0, side, (n, 2), generator=generator)
    for i, (row, column) in enumerate(places.tolist()):
        features[i, :, row, column] = common + 0.1 * torch.randn(d, generator=generator)
    weights = torch.full((n, side, side), 0.1)
    for i, (row, column) in enumerate(places.tolist()):
        weights[i, row, column] = 1.0
    return features, weights, places


@ALL
def test_what_the_images_share_is_found(method):
    features, weights, places = planted()
    found = method(features, weights)
    assert torch.equal(found.seeds, places)
    assert found.reference[0] > 0.95
    assert found.agreement > 0.9
    torch.testing.assert_close(found.reference.norm(), torch.tensor(1.0))
    assert found.scores.shape == weights.shape
    assert torch.equal(found.support, found.scores.flatten(1).amax(1))


@ALL
def test_order_and_scale_of_the_images_do_not_matter(method):
    features, weights, _ = planted(seed=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    found, other = method(features, weights), method(7 * features[order], weights[order])
    assert torch.equal(found.seeds[order], other.seeds)
    torch.testing.assert_close(found.reference, other.reference, atol=1e-5, rtol=1e-5)


@ALL
def test_what_weighs_nothing_supports_nothing(method):
    features, weights, places = planted(seed=2)
    shown = method(features, (weights > 0.5).float())
    assert torch.equal(shown.seeds, places)
    with pytest.raises(InputError, match="not negative"):
        method(features, -weights)
    with pytest.raises(InputError, match="finite"):
        method(features * torch.nan)


def test_the_spectral_scores_are_the_adjacency_s_leading_eigenvector():
    """Against the whole matrix of all pixels, by numpy."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(3, 5, 2, 4, generator=generator) + 0.5
    weights = torch.rand(3, 2, 4, generator=generator)
    pixels = features.permute(0, 2, 3, 1).reshape(-1, 5).double().numpy()
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    root = np.sqrt(weights.reshape(-1).double().numpy())
    adjacency = root[:, None] * (pixels @ pixels.T) * root[None]
    leading = np.linalg.eigh(adjacency)[1][:, -1]
    found = cosegment_spectrally(features, weights).scores.reshape(-1).double().numpy() * root
    assert abs(leading @ found) / np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_a_bank_is_built_by_the_method_that_its_recipe_names(tmp_path):
    toy = Toy()
    models = Models(toy, toy, toy)
    for number, (ground, thing) in enumerate([("red", "green"), ("blue", "red"), ("red", "blue")]):
        paint(tmp_path / "photos" / f"{number}.png", ground, thing)
    index = recoseg.Index.build(tmp_path / "photos", tmp_path / "i", model=toy, progress=False)
    recipe = LITE.replace(k=3, archive_size=64, ce=False, contexts=(), centre=False)
    banks = [
        recoseg.ConceptBank.build(
            ["red"], index, recipe.replace(cosegmenter=name), models=models, progress=False
        )
        for name in COSEGMENTERS
    ]
    for bank in banks:
        bank.save(tmp_path / "x.bank")
        assert recoseg.ConceptBank.open(tmp_path / "x.bank").recipe == bank.recipe
    assert banks[0].recipe.hash != banks[1].recipe.hash
    red = toy.features(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64))
    for bank in banks:
        cosine = torch.nn.functional.cosine_similarity(bank["red"].reference, red[0, :, 0, 0], 0)
        assert cosine > 0.9
