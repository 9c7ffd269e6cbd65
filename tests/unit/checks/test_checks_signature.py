"""signature, from hand-made answers."""

from __future__ import annotations

from typing import Any

import pytest

from verify.checks import signature
from verify.report import Verdict

NAMED, KEYWORD, REST = "positional or keyword", "keyword-only", "variadic keyword"


def told(arguments: tuple[tuple[str, str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "kind": kind, "default": default} for name, kind, default in arguments]


def method(name: str, *arguments: tuple[str, str, str], kind: str = "method", line: int = 5) -> dict[str, Any]:
    given = None if "property" in kind else told(arguments)
    return {"name": name, "kind": kind, "arguments": given, "location": {"file": "m.py", "line": line, "own": True}}


def answer(*arguments: tuple[str, str, str], methods: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    known = [method("forward", *arguments), *methods]
    return {"arguments": told(arguments), "methods": known, "location": {"file": "m.py", "line": 3, "own": True}}


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


def methods(compare, left: dict[str, Any], right: dict[str, Any], **changes: Any):
    return compare(answer(X, methods=(left,)), answer(X, methods=(right,)), **changes)[0]["methods"]


SIZE, PLACE = ("size", NAMED, "3"), ("place", NAMED, "required")
ANY = (("args", "variadic positional", "required"), MORE)


@pytest.mark.parametrize(
    ("left", "right", "kind", "subject"),
    [
        ((PLACE, SIZE), (PLACE, ("size", NAMED, "4")), "value", "resize.size.default"),
        ((PLACE, SIZE), (PLACE, ("size", KEYWORD, "3")), "value", "resize.size.kind"),
        ((PLACE, SIZE), (("size", NAMED, "3"), ("place", NAMED, "required")), "value", "resize.place.position"),
        ((PLACE, SIZE), (PLACE,), "missing-in-candidate", "resize.size"),
        ((PLACE,), (PLACE, ("more", NAMED, "required")), "missing-in-reference", "resize.more"),
        ((SIZE,), (ANY[1],), "missing-in-candidate", "resize.size"),
    ],
)
def test_a_method_of_both_sides_that_is_called_otherwise_is_a_difference(compare, left, right, kind, subject):
    found = methods(compare, method("resize", *left), method("resize", *right, line=9))
    assert found.verdict == Verdict.DIFFERENT
    told = next(f for f in found.findings if f.subject == subject)
    assert (told.kind, told.verdict) == (kind, Verdict.DIFFERENT)
    assert (told.reference.line, told.candidate.line) == (5, 9)


@pytest.mark.parametrize(
    ("left", "right"),
    [((PLACE,), (PLACE, SIZE)), ((PLACE,), (PLACE, *ANY)), ((PLACE, SIZE), ANY), ((PLACE, *ANY), (PLACE,))],
)
def test_what_breaks_no_caller_of_a_method_is_a_note(compare, left, right):
    found = methods(compare, method("resize", *left), method("resize", *right))
    assert found.verdict == Verdict.EQUAL
    assert {f.verdict for f in found.findings} == {Verdict.NOTE}


@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        ("method", "property", Verdict.DIFFERENT),
        ("property", "method", Verdict.DIFFERENT),
        ("class method", "method", Verdict.DIFFERENT),
        ("static method", "method", Verdict.DIFFERENT),
        ("property that can be set", "property", Verdict.DIFFERENT),
        ("method", "static method", Verdict.NOTE),
        ("class method", "static method", Verdict.NOTE),
        ("property", "property that can be set", Verdict.NOTE),
    ],
)
def test_what_a_method_is_counts_as_far_as_its_callers_notice(compare, left, right, verdict):
    found = methods(compare, method("width", kind=left), method("width", kind=right))
    assert [(f.subject, f.verdict) for f in found.findings] == [("width.kind", verdict)]


@pytest.mark.parametrize("pattern", ["resize", "resize.*", "resize.size.default"])
def test_methods_that_the_spec_ignores_are_not_compared(compare, pattern):
    ignoring = {"checks": {"signature": {"ignore": [pattern]}}}
    right = method("resize", ("size", NAMED, "4"))
    assert methods(compare, method("resize", SIZE), right, **ignoring).findings == []


def test_methods_of_one_side_are_notes(compare):
    outcomes, _ = compare(answer(X, methods=(method("a"),)), answer(X, methods=(method("b"),)))
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
