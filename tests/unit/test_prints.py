"""Prints of values made together are those that each would have alone."""

from __future__ import annotations

import math

import pytest
import torch

from verify.observer import prints

SHAPES = [(), (0,), (1,), (5,), (3, 4), (2, 1, 7), (1, 1), (90, 12), (2, 3, 4, 5, 1, 2), (60, 130)]


def values(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    torch.manual_seed(math.prod(shape))
    drawn = torch.randn(shape, dtype=torch.float64)
    every = [drawn, drawn.abs() * 1e-9, torch.zeros(shape, dtype=torch.float64), drawn.clamp(min=0), torch.ones(shape)]
    return [v.to(dtype) for v in every]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64, torch.bool], ids=str)
def test_prints_made_together_are_those_made_alone(shape, dtype):
    waiting, made = prints.Waiting(), values(shape, dtype)
    for number, value in enumerate(made):
        waiting.add(number, value, sketched=dtype.is_floating_point and number != 1)
    waiting.make()
    assert list(waiting.vectors) == list(range(len(made)))
    for number, value in enumerate(made):
        alone = torch.tensor(prints.vector(value), dtype=torch.float64)
        together = torch.tensor(waiting.vectors[number], dtype=torch.float64)
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12 * max(float(alone[0]), 1e-30))
    expected = [n for n in range(len(made)) if n != 1] if dtype.is_floating_point else []
    assert sorted(waiting.sketches) == expected
    for number, (hashes, bound) in waiting.sketches.items():
        alone, alone_bound = prints.sketch(made[number])
        assert hashes.tolist() == alone.tolist()
        assert bound == alone_bound


def test_what_is_not_finite_stays_what_it_is():
    waiting, value = prints.Waiting(), torch.tensor([[1.0, math.nan], [math.inf, 2.0]], dtype=torch.float64)
    waiting.add(7, value, sketched=True)
    waiting.make()
    assert [math.isnan(x) for x in waiting.vectors[7]] == [math.isnan(x) for x in prints.vector(value)]


def test_a_value_is_kept_as_it_was_when_it_came():
    waiting, value = prints.Waiting(), torch.arange(12.0, dtype=torch.float64).view(3, 4)
    before = prints.vector(value.T)
    waiting.add(0, value.T, sketched=False)
    value.zero_()
    waiting.make()
    assert waiting.vectors[0] == pytest.approx(before, rel=1e-13)


def test_what_waits_is_made_before_it_is_too_much(monkeypatch):
    monkeypatch.setattr(prints, "MOST_WAITING", 100)
    waiting = prints.Waiting()
    waiting.add(0, torch.ones(12), sketched=False)
    assert not waiting.vectors
    waiting.add(1, torch.ones(3), sketched=False)
    assert sorted(waiting.vectors) == [0, 1]
