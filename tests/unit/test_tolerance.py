"""Tolerance: a multiple of a measured response, never below that multiple of one ulp."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.tolerance import EPS, LARGEST_RESPONSE, from_response

arithmetics = st.sampled_from(["fp64", "fp32"])
responses = st.floats(0, LARGEST_RESPONSE["fp64"])


@given(responses, st.floats(1e-3, 4096), arithmetics)
def test_it_is_the_multiple_of_the_response_or_of_one_ulp(response, multiple, arithmetic):
    found = from_response(response, multiple, arithmetic)
    assert found.allowed == multiple * max(response, EPS[arithmetic])
    assert f"{multiple:g} x" in found.reason
    assert found.decides


@given(responses, responses, arithmetics)
def test_it_grows_with_the_response(a, b, arithmetic):
    low, high = sorted((a, b))
    assert from_response(low, 64, arithmetic).allowed <= from_response(high, 64, arithmetic).allowed


def test_a_reference_that_does_not_respond_still_gets_its_ulps():
    assert from_response(0.0, 64, "fp64").allowed == 64 * 2.0**-52


@pytest.mark.parametrize("response", [float("inf"), float("nan"), 1.0, 1e300, 1.001 * LARGEST_RESPONSE["fp32"]])
def test_a_response_past_all_rounding_allows_and_decides_nothing(response):
    found = from_response(response, 64, "fp32")
    assert (found.allowed, found.decides) == (64 * 2.0**-23, False)
    assert "too large to decide" in found.reason


def test_what_fp64_allows_is_never_a_fault_that_shows():
    """The smallest real faults move an output by about 1e-8."""
    assert from_response(1.001 * LARGEST_RESPONSE["fp64"], 64, "fp64").allowed < 1e-13
    assert not from_response(1e-6, 64, "fp64").decides


def test_an_unknown_arithmetic_is_no_silent_default():
    with pytest.raises(KeyError):
        from_response(0.0, 64, "bf16")
