"""What determinism asks of its first case besides, and roundtrip of a checkpoint, from hand-made answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from verify.checks import determinism, loading, otherwise
from verify.checks.base import Maker
from verify.report import Verdict
from verify.trace import Fault

VALUES = np.arange(6.0).reshape(3, 2) + 1
PLACE = {"file": "m.py", "line": 7, "name": "Model.forward", "own": True}
RAISED = Fault(kind="raised", message="RuntimeError: no")


def held(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays = {f"{section}/y": changes.get(section, VALUES) for section in otherwise.SECTIONS}
    outputs = [{"path": path, "kind": "tensor", "shape": [3, 2], "dtype": "float64"} for path in arrays]
    return {"outputs": outputs, "container": "mapping", "ordered": True}, arrays


def device(operation: str = "", stopped: str = "") -> dict[str, Any]:
    return {"mixed": {"operation": operation, "location": PLACE} if operation else None, "stopped": stopped}


@pytest.fixture
def compare(job, traces):
    def run(left: dict[str, Any], right: dict[str, Any], *, alike: bool = True, **changes: Any):
        sides = []
        for given in (left, right):
            whole = {"copies": held(), "noise": held(), "device": device(), **given}
            names = {"copies": otherwise.COPIES, "noise": f"{otherwise.COPIES} noise", "device": otherwise.DEVICE}
            sides.append({f"determinism/one/{names[key]}": answer for key, answer in whole.items()})
        both = dict(zip(("reference", "candidate"), traces(*sides), strict=True))
        outcomes = otherwise.compare(job(**changes), "determinism", "one", both, alike=alike)
        return {o.name.removeprefix("one, "): o for o in outcomes}

    return run


@pytest.mark.parametrize("section", otherwise.SECTIONS)
def test_outputs_of_a_section_that_differ_are_told(compare, section):
    outcome = compare({}, {"copies": held(**{section: VALUES + 1})})[otherwise.COPIES]
    (finding,) = outcome.findings
    assert (finding.kind, finding.subject, outcome.verdict) == ("weights-values", "y", Verdict.DIFFERENT)
    assert finding.details["what"] == otherwise.SECTIONS[section]
    assert compare({}, {})[otherwise.COPIES].verdict == Verdict.EQUAL


@pytest.mark.parametrize(
    ("left", "right", "alike", "verdict"),
    [
        (RAISED, held(), True, Verdict.SKIPPED),
        (held(), RAISED, True, Verdict.DIFFERENT),
        (held(), Fault(kind="setup", message="too many"), True, Verdict.SKIPPED),
        (held(), held(loaded=VALUES + 1), False, Verdict.SKIPPED),
        (held(), Fault(kind="timeout", message="late"), True, Verdict.ERROR),
    ],
)
def test_what_cannot_be_copied_or_differs_anyway(compare, left, right, alike, verdict):
    assert compare({"copies": left}, {"copies": right}, alike=alike)[otherwise.COPIES].verdict == verdict


@pytest.mark.parametrize(
    ("left", "right", "verdict", "sides"),
    [
        (device(), device("mul"), Verdict.DIFFERENT, ["candidate"]),
        (device("mul"), device(), Verdict.EQUAL, ["reference"]),
        (device("mul"), device("cat"), Verdict.EQUAL, ["reference", "candidate"]),
        (device(stopped="no value"), device("mul"), Verdict.DIFFERENT, ["candidate"]),
        (device(stopped="no value"), device(), Verdict.SKIPPED, []),
        (device(), RAISED, Verdict.SKIPPED, []),
    ],
)
def test_tensors_that_stay_behind(compare, left, right, verdict, sides):
    outcome = compare({"device": left}, {"device": right})[otherwise.DEVICE]
    assert (outcome.verdict, [f.details["side"] for f in outcome.findings]) == (verdict, sides)
    assert all((f.candidate or f.reference).line == 7 for f in outcome.findings)


@pytest.mark.parametrize(
    ("sides", "verdict"),
    [((False, True), Verdict.DIFFERENT), ((True, False), Verdict.EQUAL), ((True, True), Verdict.EQUAL)],
)
def test_what_making_a_model_leaves_is_a_difference_on_the_candidates_side_alone(job, sides, verdict):
    made = {"import": {"the default dtype": "a -> b"}, "construction": {}}
    outcome = determinism._made(job(), [made if side else {} for side in sides])
    assert [f.kind for f in outcome.findings] == ["process-made"]
    assert outcome.verdict == verdict
    assert determinism._made(job(), [{}, {}]).findings == []


@pytest.mark.parametrize(
    ("left", "right", "verdicts"),
    [(["x"], [], ["different"]), ([], ["x"], ["note"]), (["x"], ["y"], []), (["x"], None, []), (None, ["x"], [])],
)
def test_a_key_that_no_model_has_is_told_as_in_the_reference(job, left, right, verdicts):
    sides = ({"unexpected": names, "modules": [], "location": None} for names in (left, right))
    make = Maker(job=job(), check="roundtrip", group="missing keys")
    assert [f.verdict.value for f in loading.reported(make, *sides)] == verdicts


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [({}, {"missing_keys": ["a"]}, True), ({"missing_keys": ["a"]}, {"missing_keys": ["a"]}, False), ({}, {}, False)],
)
def test_keys_with_a_prefix_are_known_where_the_reference_knows_them(job, traces, left, right, found):
    key = f"roundtrip/{loading.PREFIXED}"
    sides = traces(*({key: {"loads": [{"report": report}]}, "roundtrip/load": {}} for report in (left, right)))
    outcomes = list(loading.of_prefix(job(), "roundtrip", *sides))
    assert [f.subject for o in outcomes for f in o.findings] == [loading.PREFIX] * found
    assert len(outcomes) == (not left)


def test_a_candidate_that_raises_where_keys_have_a_prefix_is_told(job, traces):
    key = f"roundtrip/{loading.PREFIXED}"
    left = {key: {"loads": [{"report": {}}]}}
    sides = traces(left, {key: RAISED, "roundtrip/load": {}})
    (outcome,) = loading.of_prefix(job(), "roundtrip", *sides)
    assert [f.kind for f in outcome.findings] == ["fault-one"]
    assert (outcome.compared, outcome.verdict.value) == (0, "different")
    ignoring = job(checks={"roundtrip": {"ignore": [loading.PREFIX]}})
    assert not list(loading.of_prefix(ignoring, "roundtrip", *sides))


@pytest.mark.parametrize(
    ("plain", "told"),
    [(RAISED, False), (Fault(kind="setup", message="none"), False), (Fault(kind="timeout", message="late"), True)],
)
def test_a_candidate_that_can_load_no_checkpoint_is_not_told_of_prefixes_too(job, traces, plain, told):
    key = f"roundtrip/{loading.PREFIXED}"
    sides = traces({key: {"loads": [{"report": {}}]}}, {key: RAISED, "roundtrip/load": plain})
    outcomes = list(loading.of_prefix(job(), "roundtrip", *sides))
    assert [o.verdict.value for o in outcomes] == ["different"] * told


@pytest.mark.parametrize(("left", "right", "found"), [(3, 1, True), (3, 0, False), (1, 3, False), (3, 4, False)])
def test_a_checkpoint_in_one_file_where_several_were_asked_for(job, traces, left, right, found):
    sides = traces(*({"roundtrip/save": {"files": count}} for count in (left, right)))
    assert [f.subject for f in loading.shards(job(), "roundtrip", "save", *sides)] == [loading.SHARDS] * found
    ignoring = job(checks={"roundtrip": {"ignore": [loading.SHARDS]}})
    assert list(loading.shards(ignoring, "roundtrip", "save", *sides)) == []


def test_a_prefix_is_asked_about_where_both_sides_have_one(job, traces):
    saves = [{"roundtrip/save": {"prefix": prefix}} for prefix in ("left", "right")]
    (ask,) = loading.prefixed(job(), "roundtrip", *traces(*saves))
    assert ask.args["prefix"] == "left"
    assert loading.prefixed(job(), "roundtrip", *traces(saves[0], {"roundtrip/save": {}})) == []


def test_what_a_larger_model_loses(job):
    lost = {"head.probe": "is missing after loading a larger model"}
    make, places = Maker(job=job(), check="roundtrip", group="state dict"), [{}, {}]
    for sides, verdicts in (
        (({}, lost), ["different"]),
        ((lost, {}), ["note"]),
        ((lost, lost), ["note", "note"]),
        (({}, {}), []),
    ):
        assert [f.verdict.value for f in loading.nested(make, sides, places)] == verdicts
