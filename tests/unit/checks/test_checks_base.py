"""What every check is given and gives: outcomes, findings, faults, locations."""

from __future__ import annotations

import pytest
from unit_builders import HOSTILE, finding_of, job_of

from verify import checks
from verify.checks import base
from verify.checks.base import Maker, Outcome, fault_location, faults, location, show
from verify.compare import MISSING
from verify.report import Location, Verdict
from verify.trace import Answer, Fault

EQUAL, DIFFERENT, ERROR, NOTE = Verdict.EQUAL, Verdict.DIFFERENT, Verdict.ERROR, Verdict.NOTE


@pytest.mark.parametrize(
    ("compared", "found", "skipped", "verdict"),
    [
        (1, [], False, EQUAL),
        (0, [], False, ERROR),
        (0, [NOTE], False, ERROR),
        (1, [NOTE], False, EQUAL),
        (1, [ERROR], False, ERROR),
        (0, [DIFFERENT], False, DIFFERENT),
        (5, [NOTE, ERROR, DIFFERENT], False, DIFFERENT),
        (5, [DIFFERENT], True, Verdict.SKIPPED),
    ],
)
def test_an_outcomes_verdict(compared, found, skipped, verdict):
    outcome = Outcome(name="x", compared=compared, skipped=skipped, findings=[finding_of(v) for v in found])
    assert outcome.verdict == verdict


def test_all_checks_are_found_in_order():
    found = checks.available()
    assert list(found)[: len(checks.ORDER)] == list(checks.ORDER)
    assert "base" not in found
    for module in found.values():
        assert module.SUMMARY
        assert callable(module.plan)
        assert callable(module.compare)


def test_keys_are_unique_over_variants():
    assert job_of().key("forward", "image") == "v/forward/image"


def maker(**checks_) -> Maker:
    return Maker(job=job_of(checks=checks_), check="structure", group="g", candidate=Location(file="c.py", line=1))


@pytest.mark.parametrize(
    ("patterns", "subject", "ignored"),
    [
        ([], "a", False),
        (["a"], "a", True),
        (["a"], "ab", False),
        (["*.auto_map"], "x.auto_map", True),
        (["A"], "a", False),
    ],
)
def test_ignored_subjects(patterns, subject, ignored):
    make = maker(structure={"ignore": patterns})
    assert make.ignored(subject) == ignored
    assert not maker(forward={"ignore": ["*"]}).ignored(subject)
    found = list(make.differences({subject: 1}, {subject: 2}))
    assert bool(found) != ignored


def test_differences_are_looked_at_both_ways():
    found = {f.subject: f for f in maker().differences({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4}, "p")}
    assert {s: f.kind for s, f in found.items()} == {
        "p.b": "value", "p.c": "missing-in-candidate", "p.d": "missing-in-reference",
    }  # fmt: skip
    assert found["p.b"].message == "p.b is 5; the reference has 2"
    assert (found["p.c"].measured, found["p.c"].allowed) == ("missing", "3")
    assert found["p.b"].candidate == Location(file="c.py", line=1)
    assert all(f.verdict == DIFFERENT for f in found.values())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_subjects_and_values_make_findings(text):
    found = list(maker().differences({text: text}, {}))
    assert found[0].details["subject"] == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [("x", "x"), (1, "1"), ([1], "[1]"), (None, "None"), (MISSING, "missing"), (Fault(kind="exit", message="m"), "m")],
)
def test_values_are_shown(value, shown):
    assert show(value) == shown


def test_a_long_value_is_cut():
    assert len(show("x" * 9999)) == 600


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"file": "a.py", "line": 3, "name": "C"}, Location(file="a.py", line=3, name="C")),
        ({"file": "a.py", "line": -5}, Location(file="a.py", line=1)),
        ({"file": "a.py", "line": "3"}, None),
        ({"file": 3, "line": 3}, None),
        ({"file": "a.py"}, None),
        (None, None),
        ([], None),
        ("a.py:3", None),
    ],
)
def test_a_location_is_read_without_trust(data, place):
    assert location(data) == place


def test_a_long_location_is_cut():
    place = location({"file": "f" * 9999, "line": 10**30, "name": "n" * 999})
    assert place is not None
    assert (len(place.file), len(place.name), place.line) == (1000, 200, 10**30)


def answer(fault: Fault | None) -> Answer:
    return Answer(key="k", fault=fault)


RAISED = Fault(kind="raised", type="E", message="m", frames=("a.py:3 in f",))
KINDS = ("import", "setup", "exit", "signal", "timeout", "memory", "disk", "protocol", "not-run")


def test_a_model_that_raises_on_one_side_differs():
    for r, c, side in ((RAISED, None, "reference"), (None, RAISED, "candidate")):
        (found,) = faults(maker(), answer(r), answer(c))
        assert (found.verdict, found.kind, found.details["side"]) == (DIFFERENT, "fault-one", side)
        assert getattr(found, side) == Location(file="a.py", line=3)


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_fault_proves_a_difference(kind):
    (found,) = faults(maker(), answer(None), answer(Fault(kind=kind, message="m")))
    assert (found.verdict, found.kind, found.measured) == (ERROR, "fault-run", kind)


@pytest.mark.parametrize("kind", ["raised", *KINDS])
def test_both_sides_failing_decides_nothing(kind):
    (found,) = faults(maker(), answer(RAISED), answer(Fault(kind=kind)))
    assert (found.verdict, found.kind) == (ERROR, "fault-both")


def test_no_fault_no_finding():
    assert list(faults(maker(), answer(None), answer(None))) == []
    assert fault_location(None) is None
    assert fault_location(Fault(kind="exit")) is None


def test_an_unknown_kind_of_finding_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        base.Maker(job=job_of(), check="c", group="g").finding("nonsense", "s")
