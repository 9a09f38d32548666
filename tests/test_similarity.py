"""Unit vectors of every size and precision, against double precision."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from recoseg.similarity import unit

# Twice the spacing of a number just below 1.
NEAR = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 2.5e-7, torch.float64: 5e-16}
SIZES = [1e-36, 1e-30, 1e-20, 1e-12, 1e-9, 2e-7, 1e-4, 1.0, 6e4, 1e20, 1e38]
CASES = [
    (dtype, size)
    for dtype in NEAR
    for size in SIZES
    if torch.finfo(dtype).smallest_normal / 2**9 < size < torch.finfo(dtype).max
]


def exact(x, dim=-1):
    """Longhand, in double precision, after division by the largest element."""
    wide = x.double()
    largest = wide.abs().amax(dim, keepdim=True)
    scaled = wide / largest.where(largest > 0, 1)
    length = scaled.square().sum(dim, keepdim=True).sqrt()
    return scaled / length.where(length > 0, 1)


@pytest.mark.parametrize(("dtype", "size"), CASES, ids=str)
def test_a_vector_of_any_size_has_length_one(dtype, size):
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(5, 33, generator=generator, dtype=torch.float64) + 0.5) * size / 2
    x = x.to(dtype)
    torch.testing.assert_close(unit(x).double(), exact(x), rtol=0, atol=NEAR[dtype])


@pytest.mark.parametrize("dtype", NEAR, ids=str)
def test_zeros_stay_zero_beside_any_other_vector(dtype):
    x = torch.zeros(3, 4, dtype=dtype)
    x[1] = torch.tensor([3.0, 4.0, 0, 0])
    x[2] = 6e-8 if dtype == torch.float16 else 1e-30
    found = unit(x)
    assert found.dtype == dtype
    assert found[0].tolist() == [0.0] * 4
    torch.testing.assert_close(found.double(), exact(x), rtol=0, atol=NEAR[dtype])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_ordinary_vectors_keep_every_bit_whatever_stands_beside_them(dim):
    x = torch.randn(7, 6, 5, generator=torch.Generator().manual_seed(1))
    plain = x / x.norm(dim=dim, keepdim=True)
    assert torch.equal(unit(x, dim), plain)
    odd = x.clone().movedim(dim, -1)
    odd[0, 0] = 0
    odd[1, 1] = 1e-30
    found = unit(odd.movedim(-1, dim), dim).movedim(dim, -1)
    same = torch.ones(odd.shape[:2], dtype=torch.bool)
    same[0, 0] = same[1, 1] = False
    assert torch.equal(found[same], plain.movedim(dim, -1)[same])


def test_what_is_not_finite_is_not_hidden():
    x = torch.tensor([[1.0, torch.nan], [torch.inf, 1.0], [3.0, 4.0]])
    found = unit(x)
    assert found[:2].isnan().any(dim=1).all()
    assert found[2].tolist() == pytest.approx([0.6, 0.8])


@given(arrays("float32", (4, 3), elements=st.floats(-(2.0**126), 2.0**126, width=32)))
def test_every_length_is_one_or_zero(values):
    x = torch.from_numpy(values)
    expected = exact(x)
    torch.testing.assert_close(unit(x).double(), expected, rtol=0, atol=5e-7)
