"""signature, from hand-made answers."""

from __future__ import annotations

from typing import Any

import pytest

from verify.checks import signature
from verify.report import Verdict

NAMED, KEYWORD, REST = "positional or keyword", "keyword-only", "variadic keyword"


def answer(*arguments: tuple[str, str, str], methods: tuple[str, ...] = ("forward",)) -> dict[str, Any]:
    given = [{"name": name, "kind": kind, "default": default} for name, kind, default in arguments]
    return {"arguments": given, "methods": list(methods), "location": {"file": "m.py", "line": 3, "own": True}}


X, FLAG, MORE = ("x", NAMED, "required"), ("flag", NAMED, "False"), ("kwargs", REST, "required")


@pytest.fixture
def compare(job, traces):
    def run(left, right, **changes):
        sides = traces({"signature": left}, {"signature": right})
        given = job(**changes)
        return {o.name: o for o in signature.compare(given, *sides)}, signature.accepted(given, *sides)

    return run


@pytest.mark.parametrize(
    ("right", "kind", "subject"),
    [
        (answer(X, ("flag", NAMED, "None")), "value", "flag.default"),
        (answer(X, ("flag", KEYWORD, "False")), "value", "flag.kind"),
        (answer(FLAG, X), "value", "x.position"),
        (answer(X), "missing-in-candidate", "flag"),
        (answer(X, FLAG, ("more", KEYWORD, "1")), "missing-in-reference", "more"),
        (answer(X, FLAG, MORE), "missing-in-reference", "**"),
    ],
)
def test_a_difference_is_found_at_forward(compare, right, kind, subject):
    outcomes, _ = compare(answer(X, FLAG), right)
    assert outcomes["forward"].verdict == Verdict.DIFFERENT
    assert (kind, subject) in {(f.kind, f.subject) for f in outcomes["forward"].findings}
    assert all(f.candidate.file == "m.py" for f in outcomes["forward"].findings)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_inserted_argument_is_one_finding(compare, place):
    inserted = [X, FLAG, ("last", NAMED, "1")]
    inserted.insert(place, ("new", NAMED, "None"))
    whole = answer(X, FLAG, ("last", NAMED, "1"))
    assert [f.subject for f in compare(whole, answer(*inserted))[0]["forward"].findings] == ["new"]
    assert [f.subject for f in compare(answer(*inserted), whole)[0]["forward"].findings] == ["new"]


def test_names_of_what_takes_the_rest_and_the_order_of_keywords_mean_nothing(compare):
    a, b = ("a", KEYWORD, "1"), ("b", KEYWORD, "2")
    outcomes, _ = compare(answer(X, a, b, MORE), answer(X, b, a, ("others", REST, "required")))
    assert outcomes["forward"].verdict == Verdict.EQUAL
    assert outcomes["forward"].findings == []


def test_arguments_that_the_mapping_renames_are_one(compare):
    outcomes, accepted = compare(answer(X), answer(("y", NAMED, "required")), mapping={"inputs": {"x": "y"}})
    assert outcomes["forward"].verdict == Verdict.EQUAL
    assert accepted == {"x"}


def test_methods_of_one_side_are_notes(compare):
    outcomes, _ = compare(answer(X, methods=("forward", "a")), answer(X, methods=("forward", "b")))
    assert outcomes["methods"].verdict == Verdict.EQUAL
    sides = {f.subject: f.details["side"] for f in outcomes["methods"].findings}
    assert sides == {"a": "reference", "b": "candidate"}


def test_an_argument_is_accepted_where_one_side_names_it_and_the_other_takes_it(compare):
    assert compare(answer(X, FLAG), answer(X, MORE))[1] == {"x", "flag"}
    assert compare(answer(X, FLAG), answer(X))[1] == {"x"}
    assert compare(answer(MORE), answer(MORE))[1] == set()


def test_ignoring_everything_is_no_success(compare):
    outcomes, _ = compare(answer(X), answer(X), checks={"signature": {"ignore": ["*"]}})
    assert {o.verdict for o in outcomes.values()} == {Verdict.ERROR}
