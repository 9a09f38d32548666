"""The screened pass against the plain one, and the tiles against the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.building import support
from recoseg.building.cosegment import cosegment
from tests.oracles import cosegment as oracle

problems = st.tuples(
    st.integers(2, 6), st.integers(2, 24), st.integers(1, 6), st.integers(1, 6), st.integers(0, 999)
)


def problem(n, d, h, w, seed, common=0.5):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, d, h, w, generator=generator)
    features += common * torch.randn(1, d, 1, 1, generator=generator)
    return features, torch.rand(n, h, w, generator=generator)


@given(problems, st.booleans())
@settings(max_examples=60, deadline=None)
def test_screened_has_the_maxima_of_the_literal_oracle(shape, weighted):
    features, weights = problem(*shape)
    weights = weights if weighted else None
    got = support.screen_scores(features, weights, None).flatten(1)
    exact = oracle.scores(features.double(), None if weights is None else weights.double())
    torch.testing.assert_close(got.amax(1).double(), exact.flatten(1).amax(1), atol=1e-6, rtol=0)
    assert torch.equal(
        got >= got.amax(1, keepdim=True) - 1e-6,
        exact.flatten(1) >= exact.flatten(1).amax(1, keepdim=True) - 1e-6,
    )


@given(problems, st.floats(1e-6, 1))
@settings(max_examples=60, deadline=None)
def test_bfloat16_stays_within_the_bound_that_screening_trusts(shape, ceiling):
    features, weights = problem(*shape)
    weights *= ceiling
    rough = support.scores(features, weights, None, torch.bfloat16)
    exact = oracle.scores(features.double(), weights.double())
    bound = support._BF16_ERROR * weights.flatten(1).amax(1).mean()
    assert (rough - exact).abs().max() <= bound + 1e-9


def test_a_few_heavy_pixels_do_not_narrow_the_bound():
    """Rounding errs by the largest weight of an image, however small the others are."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(1, 128, 1, 1, generator=generator)
    for _ in range(10):
        # Nearly alike, so that bfloat16 ranks the pixels wrongly.
        features = centre + 0.2 * torch.randn(4, 128, 12, 12, generator=generator)
        weights = torch.full((4, 12, 12), 1e-4)
        weights[:, 6, 6] = 1
        got = support.screen_scores(features, weights, None).flatten(1)
        exact = support.scores(features, weights, None, torch.float64).flatten(1)
        torch.testing.assert_close(got.amax(1), exact.amax(1), atol=1e-6, rtol=0)
        assert torch.equal(got.argmax(1), exact.argmax(1))


def test_only_the_candidates_are_scored_again(monkeypatch):
    features, weights = problem(6, 64, 8, 8, 0, common=1.0)
    counted = []
    again = support._score_some
    monkeypatch.setattr(
        support,
        "_score_some",
        lambda p, o, chosen: counted.append(int(chosen.sum())) or again(p, o, chosen),
    )
    support.screen_scores(features, weights, None)
    assert 6 <= counted[0] < 6 * 64 / 2


def test_pixels_that_are_all_alike_are_scored_in_full_precision():
    features = torch.ones(3, 5, 4, 4)
    torch.testing.assert_close(
        support.screen_scores(features, None, None), torch.ones(3, 4, 4), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("block", [None, 1, 4])
def test_cosegment_by_screening_finds_the_same_seeds_as_float32(monkeypatch, block):
    features, weights = problem(9, 48, 7, 5, 3, common=0.8)
    plain = cosegment(features, weights, dtype=torch.float32)
    monkeypatch.setattr(support, "is_screening_faster", lambda features: True)
    got = cosegment(features, weights, block=block)
    assert torch.equal(got.seeds, plain.seeds)
    torch.testing.assert_close(got.support, plain.support, atol=1e-6, rtol=0)
    assert torch.equal(got.reference, plain.reference)


def test_double_precision_and_small_problems_are_not_screened():
    assert not support.is_screening_faster(torch.zeros(2, 3, 4, 4))
    assert not support.is_screening_faster(torch.zeros(20, 3, 40, 40, dtype=torch.float64))


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_tiles_smaller_than_an_image_change_nothing(monkeypatch, block):
    features, weights = problem(5, 8, 4, 5, 1)
    whole = support.scores(features, weights, None, torch.float64)
    monkeypatch.setattr(support, "_TILE_CPU", (3, 20))
    tiled = support.scores(features, weights, block, torch.float64)
    torch.testing.assert_close(tiled, whole, atol=1e-7, rtol=0)
    torch.testing.assert_close(
        support.screen_scores(features, weights, block), whole.float(), atol=0.02, rtol=0
    )


@pytest.mark.parametrize("shift", [-3.0, -1.0, 0.0, 3.0])
@pytest.mark.parametrize("dim", [0, 1])
def test_maxima_by_their_bits_are_the_maxima(shift, dim):
    """A shift of -3 leaves rows below zero alone, which bits do not order."""
    generator = torch.Generator().manual_seed(0)
    values = (torch.randn(9, 33, generator=generator) + shift).bfloat16()
    values[4, 5:8] = torch.tensor([0.0, -0.0, 1e-40]).bfloat16()
    values[:, 3] = torch.tensor(-float("inf")).bfloat16()
    assert torch.equal(support._largest(values, dim), values.amax(dim))


def test_negative_zero_is_not_taken_for_less():
    values = torch.tensor([[-0.0, -1.0], [-2.0, -0.0]]).bfloat16()
    assert torch.equal(support._largest(values, 1), torch.zeros(2).bfloat16())
