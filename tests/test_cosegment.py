"""Seeds against the literal oracle, and the properties the method promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.building.cosegment import cosegment
from recoseg.errors import InputError
from recoseg.similarity import unit
from tests.oracles import cosegment as oracle


def problem(n=5, d=7, h=3, w=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, d, h, w, generator=generator, dtype=dtype)
    features += 0.5 * torch.randn(1, d, 1, 1, generator=generator, dtype=dtype)
    return features, torch.rand(n, h, w, generator=generator, dtype=dtype)


shapes = st.tuples(
    st.integers(1, 6), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99)
)


@given(shapes, st.booleans())
@settings(max_examples=40, deadline=None)
def test_equals_the_literal_oracle(shape, weighted):
    n, d, h, w, seed = shape
    features, weights = problem(n, d, h, w, seed, torch.float64)
    weights = weights if weighted else None
    got = cosegment(features, weights)
    scores = oracle.scores(features, weights)
    torch.testing.assert_close(got.scores.double(), scores, atol=1e-6, rtol=0)
    rows, columns = got.seeds.T
    best = scores.flatten(1).amax(1)
    torch.testing.assert_close(scores[torch.arange(n), rows, columns], best, atol=2e-6, rtol=0)
    torch.testing.assert_close(
        got.reference.double(), oracle.reference(features, got.seeds), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_lower_precision_stays_close(dtype, tolerance):
    features, weights = problem(12, 32, 6, 6)
    got = cosegment(features, weights, dtype=dtype)
    torch.testing.assert_close(got.scores, oracle.scores(features, weights), atol=tolerance, rtol=0)


def test_zero_weights_support_nobody():
    features, weights = problem(4, 6, 3, 3, dtype=torch.float64)
    weights[:, 1] = 0
    weights[2] = 0
    torch.testing.assert_close(
        cosegment(features, weights).scores.double(),
        oracle.scores(features, weights),
        atol=1e-6,
        rtol=0,
    )


def test_the_released_slice_is_another_function():
    features, _ = problem(6, 16, 4, 4)
    literal, released = oracle.scores(features), oracle.released_scores(features)
    # The first image's slice is right, so the released score can only be too large.
    assert (released >= literal - 1e-6).all()
    assert not torch.allclose(released, literal, atol=1e-3)


@given(st.integers(0, 50), st.integers(1, 9), st.booleans())
@settings(max_examples=25, deadline=None)
def test_block_size_changes_nothing(seed, block, weighted):
    features, weights = problem(7, 16, 3, 5, seed)
    weights = weights if weighted else None
    whole = cosegment(features, weights, block=100)
    split = cosegment(features, weights, block=block)
    assert torch.equal(whole.seeds, split.seeds)
    torch.testing.assert_close(whole.scores, split.scores, atol=1e-6, rtol=0)


@given(st.permutations(range(6)), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_permuting_images_permutes_seeds(order, seed):
    features, weights = problem(6, 16, 3, 4, seed)
    before, after = cosegment(features, weights), cosegment(features[order], weights[order])
    assert torch.equal(before.seeds[order], after.seeds)
    torch.testing.assert_close(before.reference, after.reference, atol=1e-6, rtol=0)
    assert before.agreement == pytest.approx(after.agreement, abs=1e-5)


@given(st.floats(1e-3, 1e3), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_one_scale_for_all_features_changes_nothing(scale, seed):
    features, weights = problem(seed=seed)
    before, after = cosegment(features, weights), cosegment(features * scale, weights)
    assert torch.equal(before.seeds, after.seeds)
    torch.testing.assert_close(before.reference, after.reference, atol=1e-5, rtol=0)


def test_a_scale_per_pixel_changes_no_seed():
    features, weights = problem(8, 16, 4, 4)
    scales = 10 ** torch.linspace(-2, 2, 8 * 16).reshape(8, 1, 4, 4)
    assert torch.equal(
        cosegment(features, weights).seeds, cosegment(features * scales, weights).seeds
    )


def test_one_image_is_its_own_support():
    features, _ = problem(n=1)
    got = cosegment(features)
    torch.testing.assert_close(got.scores, torch.ones(1, 3, 4), atol=1e-6, rtol=0)
    assert got.seeds.tolist() == [[0, 0]]
    assert got.agreement == 1.0
    torch.testing.assert_close(got.reference, unit(features[0, :, 0, 0]))


@pytest.mark.parametrize("block", [1, 2, 3, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_features_give_the_first_pixel(block, dtype):
    pixel = torch.randn(1, 37, 1, 1, generator=torch.Generator().manual_seed(3))
    got = cosegment(pixel.expand(10, 37, 5, 3), block=block, dtype=dtype)
    assert got.seeds.tolist() == [[0, 0]] * 10
    assert got.agreement == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("least", [1.0, 0.01, 1e-4])
def test_a_lead_is_measured_against_the_weights(least):
    """Context elimination makes weights small, and a small lead among them is no tie."""
    pixels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # of the two pixels, at right angles
    weights = least * torch.tensor([[[1.0, 1.0 + 5e-5]]])
    assert cosegment(pixels.T.reshape(1, 2, 1, 2), weights).seeds.tolist() == [[0, 1]]


def test_ties_go_to_the_first_pixel_in_reading_order():
    features = torch.zeros(3, 4, 2, 3)
    features[:, 0] = 1
    features[:, 1, 0, 0] = 1
    features[:, 1, 0, 1:] = -3
    weights = torch.zeros(3, 2, 3)
    weights[:, 1] = 1
    assert cosegment(features, weights).seeds.tolist() == [[1, 0]] * 3


def test_zero_features_give_a_zero_reference():
    got = cosegment(torch.zeros(3, 4, 2, 2))
    assert got.seeds.tolist() == [[0, 0]] * 3
    assert got.reference.abs().sum() == 0
    assert got.agreement == 0
    assert got.support.tolist() == [0, 0, 0]


def test_finds_what_the_images_share():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(9, 64, 5, 5, generator=generator)
    places = [(i % 5, (2 * i + 1) % 5) for i in range(9)]
    shared = torch.randn(64, generator=generator)
    for i, (row, column) in enumerate(places):
        features[i, :, row, column] = shared + 0.1 * torch.randn(64, generator=generator)
    got = cosegment(features)
    assert got.seeds.tolist() == [list(place) for place in places]
    assert got.reference @ unit(shared) > 0.98
    assert got.agreement > 0.9


def test_reference_averages_features_that_are_not_normalised():
    features = torch.zeros(2, 2, 1, 1)
    features[0, :, 0, 0] = torch.tensor([9.0, 0.0])
    features[1, :, 0, 0] = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(cosegment(features).reference, unit(torch.tensor([9.0, 1.0])))


def test_inputs_are_left_alone():
    features, weights = problem()
    kept = features.clone(), weights.clone()
    cosegment(features, weights)
    assert torch.equal(features, kept[0])
    assert torch.equal(weights, kept[1])


@pytest.mark.parametrize(
    ("features", "weights", "options"),
    [
        (torch.zeros(2, 3, 4), None, {}),
        (torch.zeros(0, 3, 4, 4), None, {}),
        (torch.full((1, 2, 2, 2), torch.nan), None, {}),
        (torch.full((1, 2, 2, 2), torch.inf), None, {}),
        (torch.zeros(1, 2, 2, 2, dtype=torch.int64), None, {}),
        (torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 3), {}),
        (torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), torch.nan), {}),
        (torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), -0.1), {}),
        (torch.zeros(1, 2, 2, 2), None, {"block": 0}),
        (torch.zeros(1, 2, 2, 2), None, {"dtype": torch.float16}),
    ],
)
def test_hostile_input_is_refused(features, weights, options):
    with pytest.raises(InputError):
        cosegment(features, weights, **options)
