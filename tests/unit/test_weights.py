"""Weights: drawn by name, in generic position, the same wherever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.weights import GAIN, VECTOR_SPREAD, draw, placement, stream

names = st.text(st.characters(), max_size=20)


@given(st.lists(names, min_size=1, max_size=5, unique=True), st.randoms())
def test_streams_do_not_depend_on_order(found, random):
    before = {name: stream(0, name).random(4).tolist() for name in found}
    random.shuffle(found)
    assert {name: stream(0, name).random(4).tolist() for name in found} == before
    assert len({tuple(v) for v in before.values()}) == len(found)


def test_streams_differ_by_seed():
    assert stream(0, "a").random() != stream(1, "a").random()
    assert stream(0, "a\ud800").random() == stream(0, "a\ud800").random()


def test_the_generator_never_changes():
    """Recorded traces hold numbers made of these: a change of generator would break every one."""
    assert stream(0, "encoder.layer.0.weight").integers(0, 2**32, 3).tolist() == GOLDEN


GOLDEN = [3593203257, 2190884761, 707168012]


@pytest.mark.parametrize(
    ("name", "shape", "centre", "spread"),
    [
        ("fc.weight", (8, 4), 0.0, GAIN / 2),
        ("conv.weight", (8, 3, 2, 2), 0.0, GAIN / 12**0.5),
        ("cls_token", (1, 1, 8), 0.0, 1.0),
        ("empty", (2, 0), 0.0, GAIN),
        ("norm.weight", (8,), 1.0, VECTOR_SPREAD),
        ("fc.bias", (8,), 0.0, VECTOR_SPREAD),
        ("in_proj_bias", (8,), 0.0, VECTOR_SPREAD),
        ("LayerNorm.Beta", (8,), 0.0, VECTOR_SPREAD),
        ("bias.scale", (8,), 1.0, VECTOR_SPREAD),
        ("scale", (), 1.0, VECTOR_SPREAD),
    ],
)
def test_placement(name, shape, centre, spread):
    assert placement(name, shape) == pytest.approx((centre, spread))


@given(names, st.lists(st.integers(0, 6), max_size=4), st.integers(0, 3))
def test_draws_have_their_shape_and_range(name, shape, seed):
    values = draw(seed, name, shape)
    assert values.shape == tuple(shape)
    assert values.dtype == np.float32
    centre, spread = placement(name, shape)
    assert (np.abs(values - np.float32(centre)) <= spread * 3**0.5 * 1.00001).all()
    np.testing.assert_array_equal(values, draw(seed, name, shape))


@pytest.mark.parametrize("name", ["fc.weight", "fc.bias", "norm.weight"])
def test_draws_have_their_centre_and_spread(name):
    shape = (200, 200) if name == "fc.weight" else (40_000,)
    values = draw(0, name, shape).astype(np.float64)
    centre, spread = placement(name, shape)
    assert abs(values.mean() - centre) < 6 * spread / 200
    assert values.std() == pytest.approx(spread, rel=0.02)


def test_no_vector_is_at_its_default():
    for name in ("norm.weight", "norm.bias"):
        values = draw(0, name, (1000,))
        assert not np.isin(values, [0.0, 1.0]).any()
        assert len(np.unique(values)) > 990
