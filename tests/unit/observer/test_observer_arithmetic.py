"""Exact arithmetic and the one-ulp nudge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from verify.observer.arithmetic import exact, nudge
from verify.weights import draw

DTYPES = {np.float64: torch.float64, np.float32: torch.float32}


@pytest.mark.parametrize("dtype", list(DTYPES))
@given(data=st.data(), seed=st.integers(0, 2**31), sign=st.sampled_from([1, -1]))
def test_there_and_back_to_the_bit(dtype, data, seed, sign):
    tiny, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max) / 2
    width = np.dtype(dtype).itemsize * 8
    usual = st.floats(-most, most, width=width, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 2 * tiny)
    before = data.draw(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), elements=usual)
    )
    tensor = torch.from_numpy(before.copy())
    nudge(tensor, seed, sign)
    moved = tensor.numpy().copy()
    nudge(tensor, seed, -sign)
    assert tensor.numpy().tobytes() == before.tobytes()
    apart = np.abs(moved.view(f"i{width // 8}") - before.view(f"i{width // 8}"))
    assert (apart == (before != 0)).all()


def test_a_nudge_goes_both_ways_and_is_seeded():
    moved = [torch.ones(8, 8, dtype=torch.float64) for _ in range(3)]
    for tensor, seed in zip(moved, (1, 1, 2), strict=True):
        nudge(tensor, seed)
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])
    assert (moved[0] > 1).any()
    assert (moved[0] < 1).any()


def test_a_nudge_moves_a_view_in_place():
    whole = torch.ones(4, 6, dtype=torch.float64)
    nudge(whole.t()[:3], 0)
    assert (whole[:, :3] != 1).all()
    assert (whole[:, 3:] == 1).all()


def test_the_smallest_number_comes_back_or_is_a_zero():
    """One step below it is zero, which stays: the one place where there is no way back."""
    smallest = 2.0**-1074
    tensor = torch.full((64,), smallest, dtype=torch.float64)
    nudge(tensor, 0)
    assert set(tensor.tolist()) == {0.0, 2 * smallest}
    nudge(tensor, 0, -1)
    assert set(tensor.tolist()) == {0.0, smallest}


@pytest.mark.parametrize("shape", [(300, 700), (1, 4, 2000), (5000,)])
def test_drawn_weights_are_nowhere_near_the_smallest_number(shape):
    for name in ("x.weight", "x.bias"):
        drawn = np.abs(draw(3, name, shape))
        assert drawn[drawn > 0].min() > 2.0**-60


ISLANDS = {
    "float": lambda x: x.float() + 1,
    "half": lambda x: x.half() * 3,
    "to": lambda x: x.to(torch.bfloat16) * 3,
    "softmax": lambda x: torch.softmax(x, -1, dtype=torch.float32),
    "sum": lambda x: x.sum(dtype=torch.float32),
    "factory": lambda x: x * torch.arange(1, 4, dtype=torch.float32) / 3,
    "literal": lambda x: x * torch.tensor([0.1], dtype=torch.float32),
    "default": lambda x: x * torch.tensor([0.1]),
    "full": lambda x: x + torch.full((3,), 0.1, dtype=torch.float32),
}


@pytest.mark.parametrize("name", list(ISLANDS))
def test_narrow_islands_are_lifted(name):
    x = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    with exact(True):
        found = ISLANDS[name](x)
    assert found.dtype == torch.float64
    with torch.no_grad():
        plain = ISLANDS[name](x).double()
    assert torch.allclose(found, plain, rtol=1e-2)


def test_a_narrow_buffer_is_lifted_and_counted():
    table = torch.tensor([0.5, 0.25])
    with exact(True) as lifted:
        found = torch.ones(2, dtype=torch.float64) * table
    assert found.dtype == torch.float64
    assert lifted.count == 1
    assert table.dtype == torch.float32


def test_off_means_off_and_the_default_comes_back():
    with exact(False) as lifted:
        assert torch.ones(1, dtype=torch.float64).float().dtype == torch.float32
    assert lifted.count == 0
    before = torch.get_default_dtype()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), exact(True):
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert torch.get_default_dtype() == before


def test_whole_numbers_are_left_alone():
    with exact(True):
        assert torch.arange(3).dtype == torch.int64
        assert (torch.ones(2, dtype=torch.float64) > 0).dtype == torch.bool
