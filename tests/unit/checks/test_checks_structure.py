"""The structure check on hand-made answers."""

from __future__ import annotations

import copy

import pytest
from unit_builders import job_of, trace_of

from verify.checks import structure
from verify.trace import Fault


def place(file: str, line: int = 1, own: bool = True) -> dict:
    return {"file": file, "line": line, "name": "C", "own": own}


def answer() -> dict:
    p = {"shape": [2, 3], "dtype": "float32", "requires_grad": True}
    b = {"shape": [4], "dtype": "float32"}
    return {
        "parameters": [{"name": "a.w", **p}, {"name": "a.v", **p}, {"name": "h.w", **p}],
        "buffers": [{"name": "a.saved", **b, "persistent": True}, {"name": "a.table", **b, "persistent": False}],
        "order": ["a.w", "a.v", "a.saved", "h.w"],
        "tied": [["a.w", "h.w"]],
        "modules": [
            {"path": "", "class": "M", "stateful": True, "location": place("m.py", 1)},
            {"path": "a", "class": "A", "stateful": True, "location": place("a.py", 2)},
            {"path": "a.act", "class": "GELU", "stateful": False, "location": place("torch/nn.py", 9, own=False)},
            {"path": "h", "class": "Linear", "stateful": True, "location": place("torch/nn.py", 9, own=False)},
        ],
        "location": place("m.py", 1),
    }


def compare(r, c, **spec):
    traces = trace_of("reference", {"v/structure": r}), trace_of("candidate", {"v/structure": c})
    return {o.name: o for o in structure.compare(job_of(**spec), *traces)}


@pytest.fixture
def changed():
    return copy.deepcopy(answer())


def verdicts(found):
    return {name: o.verdict.value for name, o in found.items() if o.verdict != "equal"}


def test_equal_structures():
    found = compare(answer(), answer())
    assert {n: o.compared for n, o in found.items()} == {
        "parameters": 3, "buffers": 2, "order": 4, "tied": 3, "modules": 3,
    }  # fmt: skip
    assert verdicts(found) == {}
    assert not any(o.findings for o in found.values())


@pytest.mark.parametrize(("key", "value"), [("shape", [3, 2]), ("dtype", "float16"), ("requires_grad", False)])
def test_a_parameters_property(changed, key, value):
    changed["parameters"][1][key] = value
    found = compare(answer(), changed)
    assert verdicts(found) == {"parameters": "different"}
    (finding,) = found["parameters"].findings
    assert finding.subject == f"a.v.{key}"
    assert (finding.candidate.file, finding.reference.line) == ("a.py", 2)


@pytest.mark.parametrize(("swap", "kind"), [(False, "missing-in-candidate"), (True, "missing-in-reference")])
def test_a_missing_parameter_is_seen_from_both_sides(changed, swap, kind):
    del changed["parameters"][1]
    found = compare(changed, answer()) if swap else compare(answer(), changed)
    (finding,) = found["parameters"].findings
    assert (finding.kind, finding.subject) == (kind, "a.v")
    assert "[2, 3] float32" in finding.message


def test_buffers_that_are_not_saved_may_be_recomputed(changed):
    changed["buffers"] = changed["buffers"][:1]
    assert compare(answer(), changed)["buffers"].verdict == "equal"
    assert compare(changed, answer())["buffers"].verdict == "equal"


def test_saved_buffers_must_be_there_and_stay_saved(changed):
    changed["buffers"][0]["persistent"] = False
    assert [f.subject for f in compare(answer(), changed)["buffers"].findings] == ["a.saved.persistent"]
    del changed["buffers"][0]
    assert compare(answer(), changed)["buffers"].verdict == "different"


def test_order_is_a_note(changed):
    changed["order"] = ["a.v", "a.w", "a.saved", "h.w"]
    found = compare(answer(), changed)["order"]
    assert found.verdict == "equal"
    (note,) = found.findings
    assert (note.verdict, note.details["position"], note.candidate.file) == ("note", "0", "a.py")


def test_tied_weights(changed):
    changed["tied"] = []
    found = compare(answer(), changed)["tied"]
    assert [(f.subject, f.details["candidate"]) for f in found.findings] == [("a.w", "none"), ("h.w", "none")]


def test_modules_on_one_side_are_notes(changed):
    changed["modules"].append({"path": "x", "class": "X", "stateful": True, "location": None})
    del changed["modules"][1]
    found = compare(answer(), changed)["modules"]
    assert found.verdict == "equal"
    assert [(f.subject, f.details["side"]) for f in found.findings] == [("a", "reference"), ("x", "candidate")]


def test_a_spec_can_ignore(changed):
    del changed["parameters"][1]
    changed["tied"] = []
    changed["modules"] = changed["modules"][:1]
    found = compare(answer(), changed, checks={"structure": {"ignore": ["a*", "h*"]}})
    assert not any(o.findings for o in found.values())


def test_nothing_to_compare_is_skipped_with_a_reason():
    empty = {"parameters": [], "buffers": [], "order": [], "tied": [], "modules": []}
    found = compare(empty, empty)
    assert {o.verdict.value for o in found.values()} == {"skipped"}
    assert all(o.reason for o in found.values())


def test_a_fault_is_one_group():
    assert list(compare(answer(), Fault(kind="raised"))) == ["construct"]


def test_the_owner_is_the_nearest_own_class():
    found = answer()
    assert structure.owner(found, "a.act").file == "a.py"
    assert structure.owner(found, "h.w").file == "m.py"
    assert structure.owner(found, "h.w").line == 1
    assert structure.owner({}, "a.b") is None


def test_the_plan():
    (ask,) = structure.plan(job_of())
    assert (ask.key, ask.args) == ("v/structure", {"values": {}})


@pytest.mark.parametrize(
    ("reference", "candidate", "verdict"),
    [
        ([0], [], "equal"),
        ([], [0], "equal"),
        ([0, 1], [0, 1], "equal"),
        ([0, 1], [0], "different"),
        ([0], [0, 1], "equal"),
    ],
)
def test_a_mark_counts_where_the_candidate_knows_its_name_and_leaves_a_parameter_out(reference, candidate, verdict):
    sides = []
    for marked in (reference, candidate):
        side = answer()
        assert len(side["parameters"]) > 1
        for number, parameter in enumerate(side["parameters"]):
            parameter["marks"] = {"_no_weight_decay": "True"} if number in marked else {}
        sides.append(side)
    found = compare(*sides)["parameters"]
    assert found.verdict == verdict
    assert len(found.findings) == len({*reference} ^ {*candidate})
