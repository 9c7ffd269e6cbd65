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


MASKS = [-math.inf, torch.finfo(torch.float64).min, torch.finfo(torch.float32).min, math.inf, math.nan]


@pytest.mark.parametrize("masked", MASKS, ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (300, 400)], ids=str)
def test_what_is_masked_hides_nothing_and_where_it_is_still_tells(shape, masked):
    torch.manual_seed(1)
    scores = torch.randn(shape, dtype=torch.float64)
    band = torch.ones(shape, dtype=torch.bool).tril()
    value = scores.masked_fill(~band, masked)
    found = prints.vector(value)
    assert all(map(math.isfinite, found))
    moved, other = scores.masked_fill(~band.roll(1, 0), masked), (scores * 1.01).masked_fill(~band, masked)
    for apart in (prints.vector(moved), prints.vector(other)):
        assert max(abs(a - b) for a, b in zip(found, apart, strict=True)) > 1e-6 * found[0]
    assert prints.of_view(value.T, value, found) == pytest.approx(prints.vector(value.T), rel=1e-9)
    if value.numel() <= prints.SMALL:
        waiting = prints.Waiting()
        waiting.add(0, value, sketched=False)
        waiting.add(1, scores, sketched=False)
        waiting.make()
        assert waiting.vectors[0] == pytest.approx(found, rel=1e-12)
        assert waiting.vectors[1] == pytest.approx(prints.vector(scores), rel=1e-12)


def test_one_mask_is_another_of_the_same_places_and_signs():
    band = torch.ones(6, 7, dtype=torch.bool).tril()
    lowest, infinite, upper = (
        torch.zeros(6, 7).masked_fill(~band, v) for v in (torch.finfo().min, -math.inf, math.inf)
    )
    assert prints.vector(lowest) == pytest.approx(prints.vector(infinite), rel=1e-12)
    assert prints.vector(lowest) != pytest.approx(prints.vector(upper), rel=1e-3)


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


def test_elements_just_below_those_that_stand_for_infinity_have_a_print_as_well():
    value = torch.full((4,), 0.9 * prints.HUGE, dtype=torch.float64)
    alone, waiting = prints.vector(value), prints.Waiting()
    waiting.add(0, value, sketched=True)
    waiting.make()
    assert alone[0] > prints.HUGE
    assert all(map(math.isfinite, alone))
    assert waiting.vectors[0] == pytest.approx(alone, rel=1e-9)
