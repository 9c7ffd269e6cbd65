"""Comparing plain data: gap, ulps, nested JSON."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from verify.compare import MISSING, differing, gap, leaves, same_scalar, ulps

any_floats = hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4))
finite = st.floats(-1e100, 1e100, allow_subnormal=False)


@st.composite
def pairs(draw, elements=None):
    a = draw(hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=elements))
    return a, draw(hnp.arrays(np.float64, a.shape, elements=elements))


@given(any_floats)
def test_a_thing_is_no_gap_from_itself(a):
    found = gap(a, a.copy())
    assert (found.relative, found.absolute, found.different) == (0.0, 0.0, 0)
    assert found.alike
    assert found.finite == (not np.isnan(a).any() and bool(np.isfinite(a).any()))


@given(pairs())
def test_the_gap_is_symmetric_where_it_can_be(pair):
    there, back = gap(*pair), gap(*pair[::-1])
    assert there.absolute == back.absolute
    assert there.where == back.where
    assert there.different == back.different
    assert there.finite == back.finite
    assert (there.reference, there.candidate) == pytest.approx((back.candidate, back.reference), nan_ok=True)


@given(pairs())
def test_a_gap_of_nothing_is_equality_and_nothing_is_nan(pair):
    a, b = pair
    found = gap(a, b)
    assert not math.isnan(found.relative)
    assert not math.isnan(found.absolute)
    assert (found.relative == 0) <= (found.different == 0)
    assert (found.different == 0) == np.array_equal(a, b, equal_nan=True)
    assert found.different == 0 or found.absolute > 0


@given(pairs(elements=finite))
def test_the_gap_is_what_numpy_says(pair):
    a, b = pair
    assume(np.abs(a).max() > 1e-100)
    found = gap(a, b)
    assert found.absolute == np.abs(b - a).max()
    scaled = a / np.abs(a).max()
    assert found.relative == pytest.approx(found.absolute / np.abs(a).max() / np.sqrt(np.mean(scaled**2)), rel=1e-12)
    assert np.abs(b - a)[found.where] == found.absolute


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**-300, 1.0, 2.0**300, 2.0**900])
def test_the_relative_gap_does_not_depend_on_scale(scale):
    a = np.array([1.0, -2.0, 3.0])
    assert gap(a * scale, a * scale * (1 + 2**-20)).relative == pytest.approx(gap(a, a * (1 + 2**-20)).relative)


@pytest.mark.parametrize(
    ("r", "c", "relative", "different", "finite"),
    [
        (0.0, 0.0, 0.0, 0, True),
        (0.0, -0.0, 0.0, 0, True),
        (0.0, 1e-300, 1.0, 1, True),
        (1e-300, 0.0, 1.0, 1, True),
        (math.nan, math.nan, 0.0, 0, False),
        (math.nan, 1.0, math.inf, 1, False),
        (1.0, math.nan, math.inf, 1, False),
        (math.inf, math.inf, 0.0, 0, False),
        (math.inf, -math.inf, math.inf, 1, False),
        (1.0, math.inf, math.inf, 1, False),
        (math.inf, 1.0, math.inf, 1, False),
        (1.7e308, -1.7e308, math.inf, 1, True),
    ],
)
def test_zero_nan_and_infinity(r, c, relative, different, finite):
    found = gap(np.array([r]), np.array([c]))
    assert (found.relative, found.different, found.finite) == (relative, different, finite)


@pytest.mark.parametrize(
    ("r", "c", "relative", "alike", "finite"),
    [
        ([-math.inf, 3.0, 4.0], [-math.inf, 3.0, 4.0], 0.0, True, True),
        ([-math.inf, 5.0, 5.0], [-math.inf, 5.0, 5.5], 0.1, True, True),
        ([-math.inf, 5.0, 5.0], [math.inf, 5.0, 5.0], math.inf, False, False),
        ([-math.inf, 5.0, 5.0], [5.0, -math.inf, 5.0], math.inf, False, False),
        ([math.nan, 5.0, 5.0], [math.nan, 5.0, 5.5], 0.1, True, False),
        ([math.nan, 5.0, math.inf], [math.inf, 5.0, math.nan], math.inf, False, False),
    ],
)
def test_infinities_that_both_have_leave_the_rest_to_decide(r, c, relative, alike, finite):
    found = gap(np.array(r), np.array(c))
    assert (found.relative, found.alike, found.finite) == (pytest.approx(relative), alike, finite)


def test_the_worst_element_is_shown():
    found = gap(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.5], [3.0, 3.0]]))
    assert (found.where, found.reference, found.candidate, found.different) == ((1, 1), 4.0, 3.0, 2)
    assert gap(np.array(1.0), np.array(2.0)).where == ()


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_differ_past_the_precision_of_floats(dtype):
    found = gap(np.array([2**60], dtype), np.array([2**60 + 1], dtype))
    assert found.different == 1
    assert found.absolute >= 1
    assert found.relative > 0


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.float16, np.float32])
def test_every_dtype_is_compared(dtype):
    a, b = np.array([0, 1], dtype), np.array([1, 1], dtype)
    assert gap(a, b).different == 1
    assert gap(a, b).absolute == 1.0


def test_shapes_are_never_broadcast_and_nothing_is_never_equal():
    with pytest.raises(ValueError, match=r"shapes differ: \(2,\) and \(1, 2\)"):
        gap(np.zeros(2), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="nothing to compare"):
        gap(np.zeros((2, 0)), np.zeros((2, 0)))


@pytest.mark.parametrize(("dtype", "eps"), [(np.float64, 2.0**-52), (np.float32, 2.0**-23), (np.float16, 2.0**-10)])
@given(data=st.data())
def test_neighbours_are_one_ulp_apart(dtype, eps, data):
    tiny = float(np.finfo(dtype).tiny)
    width = np.dtype(dtype).itemsize * 8
    value = data.draw(st.floats(width=width, allow_nan=False, allow_infinity=False, allow_subnormal=False))
    a = np.array([value], dtype)
    assume(2 * tiny < abs(value) < float(np.finfo(dtype).max) / 2)
    with np.errstate(over="ignore"):
        up, down = np.nextafter(a, dtype(np.inf)), np.nextafter(a, dtype(-np.inf))
    for other in (up, down):
        apart = ulps(a, other, eps)[0]
        assert apart == ulps(other, a, eps)[0]
        assert apart in (0.5, 1.0)  # half where the neighbour lies below a power of two
    assert ulps(a, a, eps)[0] == 0


def test_ulps_of_zero_are_finite_and_large():
    assert ulps(np.array([0.0]), np.array([1.0]), 2.0**-52)[0] == 2.0**52
    assert ulps(np.array([0.0]), np.array([0.0]), 2.0**-52)[0] == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text("ab.", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.0", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def same(a, b) -> bool:
    """The obvious definition."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(json_values, json_values)
def test_json_differs_where_and_only_where_it_does(a, b):
    there, back = list(differing(a, b)), list(differing(b, a))
    assert bool(there) == (not same(a, b))
    assert sorted(p for p, _, _ in there) == sorted(p for p, _, _ in back)
    assert not list(differing(a, a))


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ({"x": 1}, {"x": 1.0}, [("x", 1, 1.0)]),
        ({"x": 1}, {"x": True}, [("x", 1, True)]),
        ({"x": None}, {}, [("x", None, MISSING)]),
        ({}, {"x": {"y": 1, "z": 2}}, [("x.y", MISSING, 1), ("x.z", MISSING, 2)]),
        ({"x": [1, 2]}, {"x": [1]}, [("x.1", 2, MISSING)]),
        ({"x": [1]}, {"x": {"0": 1}}, [("x", [1], {"0": 1})]),
        ({"x": []}, {"x": {}}, [("x", [], {})]),
        ({"x": {}}, {}, [("x", {}, MISSING)]),
        ({"x": 1}, {"x": {"y": 1}}, [("x", 1, {"y": 1})]),
        ({"a.b": 1}, {"a": {"b": 1}}, [("a.b", 1, MISSING), ("a.b", MISSING, 1)]),
        (1, 2, [("", 1, 2)]),
        ("ab", ["a", "b"], [("", "ab", ["a", "b"])]),
    ],
)
def test_differences_are_told_both_ways(a, b, told):
    assert list(differing(a, b)) == told


def test_nan_equals_nan_and_types_count():
    assert same_scalar(math.nan, math.nan)
    assert not same_scalar(math.nan, 1.0)
    assert not same_scalar(0, False)
    assert not same_scalar(None, MISSING)


def test_leaves_name_every_scalar_and_empty_container():
    assert list(leaves({"a": [1, {"b": "xy"}], "c": {}, "d": []})) == [
        ("a.0", 1),
        ("a.1.b", "xy"),
        ("c", {}),
        ("d", []),
    ]
    assert list(leaves(3)) == [("", 3)]
