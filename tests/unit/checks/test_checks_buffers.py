"""The buffers check on hand-made answers."""

from __future__ import annotations

import numpy as np
import pytest
from unit_builders import arrays_of, job_of, trace_of

from verify.checks import buffers, structure
from verify.trace import Fault


@pytest.fixture
def compare():
    def run(left: dict, right: dict, dtype: str = "float32", **spec):
        answers = []
        for arrays in (left, right):
            listed = [
                {"name": k.replace("__", "."), "shape": list(v.shape), "dtype": dtype, "persistent": False}
                for k, v in arrays.items()
            ]
            answers.append({"buffers": listed, "arrays": arrays_of(**arrays), "modules": []})
        traces = trace_of("reference", {"v/structure": answers[0]}), trace_of("candidate", {"v/structure": answers[1]})
        (outcome,) = buffers.compare(job_of(**spec), *traces)
        return outcome

    return run


TABLE = np.array([1.0, 2.0, 3.0])


def test_it_shares_the_structures_question():
    assert buffers.plan(job_of())[:1] == structure.plan(job_of())


@pytest.mark.parametrize(
    ("dtype", "step", "verdict"),
    [
        ("float32", 4 * 2.0**-23, "equal"),
        ("float32", 5 * 2.0**-23, "different"),
        ("float64", 5 * 2.0**-52, "different"),
        ("bfloat16", 4 * 2.0**-7, "equal"),
        ("float16", 5 * 2.0**-10, "different"),
        ("int64", 1.0, "different"),
        ("bool", 1.0, "different"),
    ],
)
def test_values_may_be_a_few_ulps_apart(compare, dtype, step, verdict):
    outcome = compare({"t": TABLE}, {"t": TABLE + np.array([step, 0, 0])}, dtype)
    assert outcome.verdict == verdict
    assert outcome.compared == 1


def test_the_worst_value_is_told(compare):
    (finding,) = compare({"a__t": TABLE}, {"a__t": TABLE + np.array([0, 0, 1])}).findings
    assert (finding.subject, finding.details["where"], finding.allowed) == ("a.t", "[2]", "4 ulp")
    assert "1 of 3 values differ; worst at [2]: 4.0, the reference has 3.0" in finding.message


def test_the_spec_sets_the_ulps(compare):
    assert compare({"t": TABLE}, {"t": TABLE + 2.0**-22}, tolerance={"buffer_ulps": 0}).verdict == "different"


def test_infinities_agree_and_nan_does_not_hide_a_difference(compare):
    mask = np.array([0.0, -np.inf])
    assert compare({"t": mask}, {"t": mask}).verdict == "equal"
    assert compare({"t": mask}, {"t": np.array([np.nan, -np.inf])}, tolerance={"buffer_ulps": 0}).verdict == "different"


@pytest.mark.parametrize("other", [[1.0, -np.inf], [np.nan, -np.inf], [0.0, 5.0], [0.0, np.inf]])
def test_a_few_wrong_values_beside_an_infinity_are_a_difference(compare, other):
    outcome = compare({"t": np.array([0.0, -np.inf])}, {"t": np.array(other)})
    assert outcome.verdict == "different"
    assert "1 of 2 values differ" in outcome.findings[0].message


def test_ulps_are_allowed_beside_an_infinity_too(compare):
    mask = np.array([1.0, -np.inf, np.inf])
    assert compare({"t": mask}, {"t": mask + 4 * 2.0**-23}).verdict == "equal"
    assert compare({"t": mask}, {"t": mask + 5 * 2.0**-23}).verdict == "different"


def test_nan_on_both_sides_is_never_equal(compare):
    unset = np.array([1.0, np.nan])
    assert compare({"t": unset}, {"t": unset}).verdict == "error"


@pytest.mark.parametrize("wrong", [1, 4, 9])
def test_every_wrong_value_of_a_mask_counts(compare, wrong):
    mask = np.triu(np.full((9, 9), -np.inf), 1)
    found = mask.copy()
    found[np.arange(wrong), np.arange(wrong)] = -np.inf
    outcome = compare({"t": mask}, {"t": found})
    assert outcome.verdict == "different"
    assert outcome.findings[0].details["different"] == str(wrong)


def test_one_side_only_is_a_note(compare):
    outcome = compare({"t": TABLE, "r": TABLE}, {"t": TABLE, "c": TABLE})
    assert outcome.verdict == "equal"
    assert [(f.subject, f.details["side"]) for f in outcome.findings] == [("c", "candidate"), ("r", "reference")]


def test_nothing_shared_is_skipped(compare):
    outcome = compare({"r": TABLE}, {"c": TABLE})
    assert (outcome.verdict, outcome.reason) == ("skipped", "no buffer is on both sides and holds a value")
    assert compare({"t": TABLE}, {"t": TABLE[:2]}).verdict == "skipped"


def test_of_a_table_that_crosses_zero_the_largest_value_sets_the_ulp(compare):
    angles = np.linspace(0, 40, 900)
    table = np.cos(angles)
    for step, verdict in ((3.9, "equal"), (4.1, "different")):  # as if the angles had been rounded otherwise
        assert compare({"t": table}, {"t": table + step * 2.0**-23}).verdict == verdict


def test_small_values_of_one_sign_have_ulps_of_their_own(compare):
    table = 10_000.0 ** -np.linspace(0, 1, 32)
    for step, verdict in ((3.9, "equal"), (8.1, "different")):
        moved = table.copy()
        moved[-1] *= 1 + step * 2.0**-23 / 2
        assert compare({"t": table}, {"t": moved}).verdict == verdict
    assert compare({"t": table}, {"t": table + 2.0**-24}).verdict == "different"


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_buffers_are_compared(compare, dtype):
    eps = {"complex64": 2.0**-23, "complex128": 2.0**-52}[dtype]
    table = np.stack([np.cos(np.arange(9.0)), np.sin(np.arange(9.0))], -1)  # as the side sends them: [..., 2]
    for step, verdict in ((1.9, "equal"), (4.1, "different")):
        assert compare({"t": table}, {"t": table + step * eps}, dtype).verdict == verdict


def test_empty_and_ignored_buffers(compare):
    assert compare({"t": np.zeros(0)}, {"t": np.zeros(0)}).verdict == "skipped"
    some = compare({"t": np.zeros(0), "u": TABLE}, {"t": np.zeros(0), "u": TABLE})
    assert (some.verdict, some.compared) == ("equal", 1)
    ignoring = {"checks": {"buffers": {"ignore": ["t"]}}}
    assert compare({"t": TABLE, "u": TABLE}, {"t": TABLE + 1, "u": TABLE}, **ignoring).verdict == "equal"


def test_a_fault_is_one_group():
    traces = trace_of("reference", {"v/structure": Fault(kind="raised")}), trace_of("candidate", {})
    assert [o.name for o in buffers.compare(job_of(), *traces)] == ["construct"]


@pytest.mark.parametrize("filling", [float(np.finfo(np.float32).min), float(np.finfo(np.float32).max), -1e9, -1e4])
def test_one_large_value_excuses_no_other(compare, filling):
    table = np.append(np.linspace(0.1, 1, 8), [filling, -0.5])
    moved = table + np.where(np.abs(table) < 2, 4 * 2.0**-24, 0)
    assert compare({"t": table}, {"t": moved}).verdict == "equal"
    for wrong in (7.0, 1.001):
        other = np.where(np.abs(table) < 2, table * wrong, table)
        assert compare({"t": table}, {"t": other}).verdict == "different"
    assert compare({"t": table}, {"t": np.where(np.abs(table) < 2, table, filling * 0.999)}).verdict == "different"


def test_both_fillings_of_a_mask_are_compared_by_themselves(compare):
    mask = np.array([0.0, -1e9, 3e38])
    for wrong in ([5.0, -1e9, 3e38], [0.0, -1.001e9, 3e38], [0.0, -1e9, 2e38]):
        assert compare({"t": mask}, {"t": np.array(wrong)}).verdict == "different"


def test_what_is_left_of_a_quarter_turn_is_still_rounding(compare):
    table = np.cos(np.arange(4) * np.pi / 2)  # 1, 6e-17, -1, -2e-16
    assert compare({"t": table}, {"t": np.round(table)}, "float32").verdict == "equal"


@pytest.mark.parametrize(
    ("refusing", "verdict"),
    [(("candidate",), "different"), (("reference", "candidate"), "skipped"), ((), "different")],
)
def test_a_side_that_cannot_be_made_after_another_model_is_told(refusing, verdict):
    """The last: a table of the other model on the candidate alone."""
    key = "v/buffers/remembered"
    traces = [
        trace_of(
            role,
            {
                key: Fault(kind="raised", message="no")
                if role in refusing
                else {"buffers": {"t": role == "reference"}, "made": {"t": None}}
            },
        )
        for role in ("reference", "candidate")
    ]
    (outcome,) = buffers._remembered(job_of(), *traces)
    assert outcome.verdict == verdict


@pytest.mark.parametrize("how", buffers.MOVED)
@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [(TABLE, TABLE, "equal"), (TABLE, TABLE * np.nan, "different"), (TABLE * np.nan, TABLE, "equal")],
)
def test_what_the_reference_holds_after_a_move_the_candidate_holds(how, ours, theirs, verdict):
    table = {"name": "t", "shape": [3], "dtype": "float32", "persistent": False}
    structures = {"buffers": [table], "parameters": [], "modules": []}
    traces = [
        trace_of(
            role,
            {
                "v/structure": {**structures, "arrays": arrays_of(t=TABLE)},
                f"v/buffers/moved/{how}": {"parameters": [], "buffers": [table], "arrays": arrays_of(t=values)},
            },
        )
        for role, values in (("reference", ours), ("candidate", theirs))
    ]
    found = {o.name: o.verdict for o in buffers.compare(job_of(), *traces)}
    assert found == {"values": "equal", buffers.MOVED[how][0]: verdict}


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "float32"])
def test_whole_numbers_that_empty_memory_is_made_to_hold_say_nothing(dtype):
    unset = {"bool": True, "float32": np.nan}.get(dtype)
    values = np.full(3, np.iinfo(dtype).max if unset is None else unset, dtype)
    assert buffers._unfilled(values, emptied=True)
    assert buffers._unfilled(values, emptied=False) == (dtype == "float32")
    assert not buffers._unfilled(np.arange(3).astype(dtype), emptied=True)
