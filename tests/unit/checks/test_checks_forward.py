"""The forward check on hand-made answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from unit_builders import arrays_of, job_of, trace_of

from verify.checks import forward
from verify.trace import Fault

OUT = np.array([[1.0, -2.0], [3.0, 0.5]])
NOISE = 1e-15


def leaves(**described):
    return [{"path": k.replace("__", "."), **v} for k, v in described.items()]


def tensor(array) -> dict:
    kind = "int64" if np.asarray(array).dtype.kind == "i" else "float64"
    return {"kind": "tensor", "shape": list(np.shape(array)), "dtype": kind}


@pytest.fixture
def compare():
    """Compares one case from arrays of both sides; `noise` is the reference's relative response."""

    def run(left, right, noise=NOISE, plain=({}, {}), containers=("mapping", "mapping"), **spec):
        nudged = {k: np.asarray(v) * (1 + noise) if np.asarray(v).dtype.kind == "f" else v for k, v in left.items()}
        answers = []
        for n, arrays in enumerate((left, right, nudged)):
            described = {k: tensor(v) for k, v in arrays.items()}
            values = {k: {"kind": "value", "value": v} for k, v in plain[n].items()} if n < 2 else {}
            answers.append(
                {"arrays": arrays_of(**arrays), "outputs": leaves(**described, **values)}
                | {"container": containers[min(n, 1)]}
            )
        reference = trace_of("reference", {"v/forward/image": answers[0], "v/forward/image/noise": answers[2]})
        (outcome,) = forward.compare(job_of(**spec), reference, trace_of("candidate", {"v/forward/image": answers[1]}))
        return outcome

    return run


def test_the_plan_asks_the_reference_for_its_noise():
    asks = {a.key: a for a in forward.plan(job_of())}
    state = {"v/forward/image/other state", "v/forward/image/other state noise"}
    assert set(asks) == {"v/forward/image", "v/forward/image/noise", *state}
    plain, noise = asks["v/forward/image"], asks["v/forward/image/noise"]
    assert (plain.args["nudged"], noise.args["nudged"], noise.sides) == (False, True, ("reference",))
    assert plain.group == noise.group


def test_cases_of_one_model_are_one_group():
    inputs = {"inputs": {"x": {"shape": [1]}}}
    job = job_of(cases={"a": inputs, "b": inputs, "c": {**inputs, "arithmetic": "fp32"}})
    groups = {a.key: a.group for a in forward.plan(job)}
    assert groups["v/forward/a"] == groups["v/forward/b"] != groups["v/forward/c"]


def test_equal_outputs(compare):
    outcome = compare({"h": OUT, "p": OUT[0]}, {"h": OUT * (1 + 1e-14), "p": OUT[0]})
    assert (outcome.verdict, outcome.compared) == ("equal", 2)
    assert 0 < outcome.measured < outcome.allowed < 1e-12
    assert outcome.reason.startswith("64 x the reference's own response")


@pytest.mark.parametrize("noise", [0.0, 1e-15, 1e-12])
@pytest.mark.parametrize(("share", "verdict"), [(0.5, "equal"), (2.0, "different")])
def test_the_allowed_difference_follows_the_response(compare, noise, share, verdict):
    scale = np.max(np.abs(OUT)) / np.sqrt(np.mean(OUT**2))
    step = 64 * max(noise, 2.0**-52 / scale) * share
    assert compare({"h": OUT}, {"h": OUT * (1 + step)}, noise=noise).verdict == verdict


def test_the_worst_output_is_told(compare):
    other = OUT.copy()
    other[1, 0] = 4.0
    outcome = compare({"a": OUT, "b": OUT}, {"a": OUT * (1 + 1e-9), "b": other})
    (finding,) = outcome.findings
    assert (finding.kind, finding.subject, finding.details["where"]) == ("output-values", "b", "[1, 0]")
    assert finding.message.startswith("2 of 2 outputs differ, worst b at [1, 0]: 4.0")
    assert finding.measured == outcome.measured
    assert finding.allowed == outcome.allowed


@pytest.mark.parametrize("other", [np.array([1, 3]), np.array([1, 2**60])])
def test_whole_numbers_are_equal_or_not(compare, other):
    same = {"h": OUT, "i": np.array([1, 2])}
    assert compare(same, same).verdict == "equal"
    outcome = compare(same, {"h": OUT, "i": other})
    assert outcome.verdict == "different"
    assert (outcome.findings[0].subject, outcome.allowed) == ("i", 0.0)
    assert outcome.reason == "whole numbers are equal or not"


@pytest.mark.parametrize(
    ("r", "c", "verdict"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], "error"),
        ([np.nan, 1.0], [2.0, 1.0], "different"),
        ([2.0, 1.0], [np.inf, 1.0], "different"),
        ([np.inf, 1.0], [-np.inf, 1.0], "different"),
        ([np.nan, 1.0], [np.nan, 1.5], "different"),
        ([np.nan, 1.0], [np.nan, 1.0 + 1e-15], "error"),
        ([np.inf, -np.inf], [np.inf, -np.inf], "error"),
    ],
)
def test_what_is_not_finite_is_never_equal(compare, r, c, verdict):
    outcome = compare({"h": OUT, "n": np.array(r)}, {"h": OUT, "n": np.array(c)})
    assert outcome.verdict == verdict
    assert outcome.findings[0].kind == "not-finite"


@pytest.mark.parametrize(
    ("other", "verdict"),
    [([1.0, -np.inf], "equal"), ([1.0 + 1e-15, -np.inf], "equal"), ([1.001, -np.inf], "different")],
)
def test_infinities_of_both_sides_are_equal_and_the_rest_decides(compare, other, verdict):
    outcome = compare({"h": OUT, "masked": np.array([1.0, -np.inf])}, {"h": OUT, "masked": np.array(other)})
    assert (outcome.verdict, outcome.compared) == (verdict, 2)
    assert [f.kind for f in outcome.findings] == ["output-values"] * (verdict == "different")


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (0.3, 0.1 + 0.2, "equal"),
        (0.3, 0.3000001, "different"),
        (0.0, 1e-9, "different"),
        (1.0, 1, "different"),
        (1.0, math.nan, "different"),
        (math.nan, math.nan, "error"),
        (math.inf, math.inf, "error"),
    ],
)
def test_floats_are_compared_as_tensors_are(compare, ours, theirs, verdict):
    outcome = compare({"h": OUT}, {"h": OUT}, plain=({"loss": ours}, {"loss": theirs}))
    assert outcome.verdict == verdict
    assert {f.subject for f in outcome.findings} <= {"loss"}
    assert outcome.compared == 2


def test_outputs_on_one_side_and_shapes(compare):
    outcome = compare({"h": OUT, "r": OUT}, {"h": OUT, "c": OUT})
    assert {(f.kind, f.subject) for f in outcome.findings} == {
        ("missing-in-candidate", "r"),
        ("missing-in-reference", "c"),
    }
    outcome = compare({"h": OUT, "s": OUT}, {"h": OUT, "s": OUT[:1]})
    assert [(f.kind, f.measured, f.allowed) for f in outcome.findings] == [
        ("value", "[1, 2] float64", "[2, 2] float64")
    ]
    assert outcome.compared == 1


def test_none_that_the_other_side_leaves_out_is_the_same(compare):
    assert compare({"h": OUT}, {"h": OUT}, plain=({"x": None}, {})).verdict == "equal"
    assert compare({"h": OUT}, {"h": OUT}, plain=({}, {"x": None})).verdict == "equal"
    assert compare({"h": OUT}, {"h": OUT}, plain=({"x": 1}, {})).verdict == "different"
    assert compare({"h": OUT, "x": OUT}, {"h": OUT}, plain=({}, {"x": None})).verdict == "different"


@pytest.mark.parametrize(
    ("a", "b", "verdict"), [(1, 1, "equal"), (1, 1.0, "different"), (1, True, "different"), ("a", "b", "different")]
)
def test_plain_values_are_compared_by_type_and_value(compare, a, b, verdict):
    assert compare({"h": OUT}, {"h": OUT}, plain=({"x": a}, {"x": b})).verdict == verdict


def test_the_container_is_compared(compare):
    outcome = compare({"h": OUT}, {"h": OUT}, containers=("mapping", "sequence"))
    assert outcome.verdict == "different"
    assert outcome.findings[0].subject == "container"


@pytest.mark.parametrize(("arrays", "kind"), [({}, "empty-output"), ({"h": np.zeros((0, 2))}, "no-elements")])
def test_nothing_compared_is_an_error(compare, arrays, kind):
    outcome = compare(arrays, arrays, plain=({"x": 1}, {"x": 1}))
    assert (outcome.verdict, outcome.compared) == ("error", 0)
    assert outcome.findings[-1].kind == kind


def test_ignored_outputs(compare):
    spec = {"checks": {"forward": {"ignore": ["n", "m"]}}}
    assert compare({"h": OUT, "n": OUT}, {"h": OUT, "n": OUT + 1, "m": OUT}, **spec).verdict == "equal"


@pytest.mark.parametrize("noise", [float("inf"), float("nan"), 1e300, 1.0, 1e-3])
@pytest.mark.parametrize("factor", [1 + 1e-9, 2.0, 1e9])
def test_a_response_past_all_rounding_allows_nothing(compare, noise, factor):
    outcome = compare({"h": OUT, "n": OUT}, {"h": OUT, "n": OUT * factor}, noise=noise)
    assert outcome.verdict == "error"
    (finding,) = outcome.findings
    assert (finding.kind, finding.subject, finding.details["bad"]) == ("unstable", "n", "1")
    assert "too large to decide" in finding.message
    assert outcome.measured == finding.measured


def test_the_same_bits_need_no_response(compare):
    assert compare({"h": OUT}, {"h": OUT}, noise=float("inf")).verdict == "equal"


def test_a_proven_difference_stands_beside_one_that_is_not(compare):
    left, right = {"h": OUT, "i": np.array([1])}, {"h": OUT * 2, "i": np.array([2])}
    outcome = compare(left, right, noise=1.0)
    assert outcome.verdict == "different"
    assert {f.kind: f.subject for f in outcome.findings} == {"unstable": "h", "output-values": "i"}


def test_zeros_that_stay_zeros_allow_nothing(compare):
    zeros = np.zeros(3)
    same = compare({"n": zeros, "h": OUT}, {"n": zeros, "h": OUT})
    assert (same.verdict, same.measured) == ("equal", 0.0)
    assert [(f.kind, f.subject, f.verdict) for f in same.findings] == [("all-zero", "n", "note")]
    differs = compare({"n": zeros}, {"n": np.array([0.0, 3.0, 4.0])})
    assert differs.measured == pytest.approx(4 / (25 / 3) ** 0.5)
    assert compare({"n": zeros}, {"n": zeros + 1e-300}, tolerance={"multiple": 4096.0}).verdict == "different"


def traces(r=None, c=None, noise=None):
    answers = {"v/forward/image": r, "v/forward/image/noise": noise}
    return trace_of("reference", {k: v for k, v in answers.items() if v is not None}), trace_of(
        "candidate", {"v/forward/image": c} if c is not None else {}
    )


def good():
    return {"container": "tensor", "arrays": arrays_of(output=OUT), "outputs": leaves(output=tensor(OUT))}


def test_faults():
    raised, ok = Fault(kind="raised", message="m"), good()
    for given, verdict in (
        (traces(raised, ok, ok), "different"),
        (traces(ok, raised, ok), "different"),
        (traces(raised, raised, ok), "error"),
        (traces(ok, Fault(kind="timeout"), ok), "error"),
        (traces(ok, ok, raised), "error"),
        (traces(ok, ok, None), "error"),
        (traces(), "error"),
    ):
        (outcome,) = forward.compare(job_of(), *given)
        assert outcome.verdict == verdict
