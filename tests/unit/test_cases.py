"""Cases: sizes and draws."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from verify.cases import MOST_ELEMENTS, draw_inputs, size, write_inputs
from verify.spec import CaseSpec, SpecError

VALUES = {"n": 3, "patch_size": 16, "ratio": 0.5, "flag": True, "name": "x"}


def case_of(**spec) -> CaseSpec:
    return CaseSpec.model_validate({"inputs": {"x": spec}})


def drawn(seed=0, name="c", **spec):
    return draw_inputs(case_of(**spec), name, VALUES, seed)["x"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [(7, 7), ("7", 7), ("2*patch_size", 32), ("n + 1", 4), ("patch_size//n - 1", 4), ("(n+1)*n", 12), ("0", 0)],
)
def test_a_size_is_worked_out(expression, value):
    assert size(expression, VALUES) == value


@pytest.mark.parametrize(
    "expression",
    [
        *("n/2", "n**2", "-n", "f(n)", "n.real", "[1]", "1.5", "'a'", "True", "n if n else 1", "", "1 +", "n//0"),
        *("\ud800", "\0", "9" * 5000, "(" * 150, "1" + "+1" * 5000, "lambda: 0", "(m:=1)"),
    ],
)
def test_what_is_no_size_is_a_spec_error(expression):
    with pytest.raises(SpecError, match="size") as error:
        size(expression, VALUES)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize("name", ["m", "ratio", "flag", "name"])
def test_an_unknown_name_is_told_with_the_known_ones(name):
    with pytest.raises(SpecError, match=f"'{name}' is no whole number of this variant; known: n, patch_size"):
        size(f"2*{name}", VALUES)
    with pytest.raises(SpecError, match="known: none"):
        size(name, {})


expressions = st.recursive(
    st.integers(0, 99).map(str) | st.sampled_from(["n", "patch_size"]),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)


@given(expressions)
def test_a_size_means_what_python_means(expression):
    assert size(expression, VALUES) == eval(expression, {}, VALUES)


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_spec_error(text):
    with contextlib.suppress(SpecError):
        assert isinstance(size(text, VALUES), int)


@pytest.mark.parametrize("draw", ["normal", "uniform", "constant"])
@pytest.mark.parametrize(
    ("dtype", "kind"), [(None, np.float32), ("float", np.float32), ("int64", np.int64), ("bool", np.bool_)]
)
def test_float_draws(draw, dtype, kind):
    found = drawn(shape=[2, "n"], draw=draw, scale=4.0, **({"dtype": dtype} if dtype else {}))
    assert found.shape == (2, 3)
    assert found.dtype == kind
    if draw == "constant" and kind != np.bool_:
        assert (found == 4).all()
    if draw == "uniform" and kind == np.float32:
        assert (np.abs(found) <= 4).all()
        assert len(np.unique(found)) == 6


@pytest.mark.parametrize("draw", ["integers", "subset", "permutation"])
def test_whole_draws_are_int64_and_nothing_else(draw):
    for dtype in ({}, {"dtype": "int64"}):
        found = drawn(shape=[3], draw=draw, below=3, **dtype)
        assert found.dtype == np.int64
        assert set(found.tolist()) <= {0, 1, 2}
    for other in ("float", "bool"):
        with pytest.raises(ValueError, match=f"draw: {draw} gives int64, not {other}"):
            case_of(shape=[3], draw=draw, below=3, dtype=other)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 5), st.integers(0, 9))
def test_a_subset_is_sorted_and_unique(count, below, rows, seed):
    if count > below:
        with pytest.raises(SpecError, match="cannot choose"):
            drawn(seed, shape=[rows, count], draw="subset", below=below)
        return
    found = drawn(seed, shape=[rows, count], draw="subset", below=below)
    assert found.shape == (rows, count)
    for row in found:
        assert sorted(set(row)) == list(row)
        assert all(0 <= v < below for v in row)


@given(st.integers(1, 40), st.integers(0, 9))
def test_a_permutation_holds_each_value_once(below, seed):
    assert sorted(drawn(seed, shape=[below], draw="permutation", below=below)) == list(range(below))


@given(st.integers(1, 6), st.integers(0, 9))
def test_integers_are_in_range(below, seed):
    found = drawn(seed, shape=[64], draw="integers", below=below)
    assert found.min() >= 0
    assert found.max() < below


@pytest.mark.parametrize(
    "spec", [{}, {"draw": "uniform"}, {"draw": "integers", "below": 99}, {"draw": "permutation", "below": 40}]
)
def test_rows_differ_unless_asked_to_be_the_same(spec):
    apart, same = drawn(shape=[3, 20], **spec), drawn(shape=[3, 20], rows="same", **spec)
    assert (same == same[0]).all()
    assert not (apart[0] == apart[1]).all()
    assert same.flags.writeable
    assert same.flags.c_contiguous


def test_draws_depend_on_seed_case_and_argument_and_on_nothing_else():
    two = CaseSpec.model_validate({"inputs": {"x": {"shape": [9]}, "a": {"shape": [9]}}})
    first = draw_inputs(two, "c", {}, 0)
    assert list(first) == ["a", "x"]
    np.testing.assert_array_equal(first["x"], drawn(shape=[9]))
    assert not np.array_equal(first["a"], first["x"])
    assert not np.array_equal(drawn(1, shape=[9]), first["x"])
    assert not np.array_equal(drawn(name="d", shape=[9]), first["x"])


@pytest.mark.parametrize("shape", [[-1], ["n-4"], [2**40], [MOST_ELEMENTS, 2], [10**400], [0, 10**30], [2**16, 2**16]])
def test_a_shape_out_of_bounds_is_refused(shape):
    with pytest.raises(SpecError, match="is not one that can be drawn"):
        drawn(shape=shape)


@pytest.mark.parametrize("below", [0, -1, "n-3", 10**30])
@pytest.mark.parametrize("draw", ["integers", "permutation"])
def test_below_out_of_bounds_is_refused(draw, below):
    with pytest.raises(SpecError, match=r"below is .*; values are drawn from \[0, below\)"):
        drawn(shape=[0], draw=draw, below=below)


def test_a_whole_number_without_a_shape_is_refused():
    with pytest.raises(SpecError, match="cases/c/x: integers needs a shape of at least one size"):
        drawn(shape=[], draw="integers", below=5)


FLOATS = [{}, {"draw": "constant"}, {"dtype": "bool"}]
SHAPES = [[0], [2, 0], [1], [2, 3, 4]]


@pytest.mark.parametrize(
    ("shape", "spec"),
    [([], s) for s in FLOATS] + [(n, s) for n in SHAPES for s in (*FLOATS, {"draw": "integers", "below": 5})],
)
def test_shapes_survive_the_file(tmp_path, shape, spec):
    found = drawn(shape=shape, **spec)
    write_inputs({"x": found}, tmp_path / "f")
    back = load_file(str(tmp_path / "f"))["x"]
    assert back.shape == tuple(shape) == found.shape
    np.testing.assert_array_equal(back, found)


def test_a_transposed_array_is_written_as_it_reads(tmp_path):
    array = np.arange(6.0).reshape(2, 3).T
    write_inputs({"x": array}, tmp_path / "f")
    np.testing.assert_array_equal(load_file(str(tmp_path / "f"))["x"], array)


def test_an_offset_is_added_after_the_scale():
    found = drawn(shape=[2000], dtype="int64", scale=1e6, offset=2.0**43)
    assert abs(found.mean() - 2**43) < 1e5
    assert 9e5 < found.std() < 1.1e6
    assert len(np.unique(found)) > 1990
    assert len(np.unique(found.astype(np.float32))) < 20
    assert drawn(shape=[2], draw="constant", scale=0.5, offset=0.25).tolist() == [0.75, 0.75]
    assert drawn(shape=[2], draw="constant", offset=-2.0, dtype="bool").tolist() == [False, False]
