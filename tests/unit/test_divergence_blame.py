"""What a value should be, followed backwards through masks, and values that hold masks compared."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verify.divergence.blame import _inverse, same
from verify.divergence.graph import Operation

LOWEST = float(np.finfo(np.float64).min)
BAND = np.tril(np.ones((4, 4), dtype=np.int64))


def operation(name: str, inputs: tuple[int, ...], *scalars: object) -> Operation:
    return Operation(0, f"aten.{name}.default", inputs, (9,), (), "", scalars)


@pytest.mark.parametrize("masked", [-math.inf, LOWEST])
def test_what_is_masked_hides_no_other_element_and_must_be_masked_on_both_sides(masked):
    scores = np.where(BAND == 1, np.arange(16.0).reshape(4, 4), masked)
    assert same(scores, np.where(np.isinf(scores), LOWEST, scores))
    assert not same(scores, scores * 0.99)
    assert not same(scores, -scores)
    assert not same(scores, np.where(BAND == 1, scores, 0.0))
    assert not same(np.where(BAND == 1, scores, 0.0), scores)
    assert same(np.array([math.nan, 1.0]), np.array([5.0, 1.0]))


@pytest.mark.parametrize("fill", [-math.inf, LOWEST])
def test_a_mask_should_be_where_what_was_filled_is_masked(fill):
    values = {0: np.arange(32.0).reshape(2, 4, 4), 1: BAND}
    expected = np.where(BAND == 0, LOWEST, values[0])
    wanted = _inverse(operation("masked_fill", (0, 1), fill), 0, expected, values)
    assert wanted is not None
    assert same(wanted[1], 1 - BAND)
    summed = _inverse(operation("add", (0, 1)), 0, expected, {0: values[0], 1: np.where(BAND == 0, fill, 0.0)})
    assert summed is not None
    assert same(summed[1], np.where(BAND == 0, -math.inf, 0.0))


@pytest.mark.parametrize("name", ["bitwise_and", "logical_or"])
def test_of_two_masks_each_counts_where_the_other_does_not_decide(name):
    other = np.eye(4, dtype=np.int64)
    expected = BAND & other if name == "bitwise_and" else BAND | other
    wanted = _inverse(operation(name, (0, 1)), 0, expected, {0: BAND.T, 1: other})
    assert wanted is not None
    decided = (other == 0) if name == "bitwise_and" else (other == 1)
    assert np.isnan(wanted[0][decided]).all()
    assert same(wanted[0], BAND)
    turned = _inverse(operation("bitwise_not", (0,)), 0, expected, {0: BAND})
    assert turned is not None
    assert same(turned[0], 1 - expected)
    assert _inverse(operation(name, (0, 1)), 0, expected, {0: BAND * 2, 1: other}) is None
