"""The configuration check on hand-made answers."""

from __future__ import annotations

import pytest
from unit_builders import job_of, trace_of

from verify.checks import configuration
from verify.trace import Fault

PLACE = {"file": "c.py", "line": 4, "name": "Config"}


def answer() -> dict:
    argument = {"name": "a", "kind": "keyword-only", "default": 1, "required": False}
    values = {"a": 1, "b": {"c": 2.0}}
    return {
        "arguments": [argument, {**argument, "name": "b"}],
        "defaults": values,
        "explicit": values,
        "attributes": values,
        "probes": {"a": {"a": 18}},
        "unusual": {"a": {"a": 0}, configuration.UNNAMED: {}},
        "dictionary_trip": values,
        "json_trip": values,
        "equality": {"the same values": True, "a": False},
        "own_equality": True,
        "saving": {"arguments": {"push_to_hub": False}, "a": "b"},
        "location": PLACE,
    }


def compare(r, c):
    key = "v/configuration"
    traces = trace_of("reference", {key: r}), trace_of("candidate", {key: c})
    return {o.name: o for o in configuration.compare(job_of(), *traces)}


def test_the_plan_asks_both_sides_once():
    asks = configuration.plan(job_of(variants={"v": {"a": 1}}))
    assert [(ask.key, ask.op) for ask in asks] == [
        ("v/configuration", "configuration"),
        ("v/configuration/constructed", "constructed"),
    ]
    assert all(ask.args == {"values": {"a": 1}} and len(ask.sides) == 2 for ask in asks)


def test_equal_configurations():
    found = compare(answer(), answer())
    assert list(found) == list(configuration.PARTS)
    assert {o.verdict for o in found.values()} == {"equal"}
    assert found["defaults"].compared == 2
    assert found["arguments"].compared == 10


@pytest.mark.parametrize("part", [p for p in configuration.PARTS if p != "arguments"])
def test_one_value_is_found_where_it_is(part):
    changed = answer()
    changed[part] = {**changed[part], "a": 3}
    found = compare(answer(), changed)
    assert {name for name, o in found.items() if o.verdict == "different"} == {part}
    (finding,) = found[part].findings if part != "probes" else found[part].findings[:1]
    assert finding.candidate.file == "c.py"


@pytest.mark.parametrize("part", configuration.WHERE_DEFINED)
@pytest.mark.parametrize("theirs", [{}, {"a": {"raised": "TypeError: no"}}, {"raised": "TypeError: no"}])
def test_what_the_reference_does_not_say_is_not_compared(part, theirs):
    """A reference that says nothing asks nothing; a candidate that says less, or raises, is another."""
    found = compare({**answer(), part: theirs}, answer())
    assert part not in found
    assert {o.verdict for o in found.values()} == {"equal"}
    if part != "unusual" or "a" not in theirs:  # what is unusual may be refused, one by one
        assert compare(answer(), {**answer(), part: theirs})[part].verdict == "different"


def test_equality_is_compared_where_the_reference_has_its_own():
    inherited = {**answer(), "own_equality": False}
    other = {"the same values": False, "a": False}
    assert compare(answer(), inherited)["equality"].verdict == "equal"
    assert compare(answer(), {**inherited, "equality": other})["equality"].verdict == "different"
    assert "equality" not in compare(inherited, {**answer(), "equality": other})


@pytest.mark.parametrize("key", configuration.BOOKKEEPING)
def test_bookkeeping_is_left_out_at_any_depth(key):
    changed = answer()
    changed["defaults"] = {"a": 1, "b": {"c": 2.0, key: "x"}, key: "y"}
    assert compare(answer(), changed)["defaults"].verdict == "equal"


def test_a_moved_argument_reads_as_moved():
    changed = answer()
    changed["arguments"] = changed["arguments"][::-1]
    found = compare(answer(), changed)["arguments"]
    assert sorted(f.subject for f in found.findings) == ["a.position", "b.position"]


def test_an_inserted_argument_is_one_finding():
    changed = answer()
    new = {**changed["arguments"][0], "name": "new", "default": 3}
    changed["arguments"] = [new, *changed["arguments"]]
    (finding,) = compare(answer(), changed)["arguments"].findings
    assert (finding.subject, finding.kind) == ("new", "missing-in-reference")
    assert finding.measured.endswith("default 3")


def test_a_part_that_raises():
    broken = answer()
    broken["json_trip"] = {"raised": "E: m"}
    assert compare(answer(), broken)["json_trip"].verdict == "different"
    assert compare(broken, broken)["json_trip"].verdict == "error"


def test_probes_that_raise_alike_agree():
    both = answer()
    both["probes"] = {"a": {"raised": "ValueError: no"}}
    assert compare(both, both)["probes"].verdict == "equal"


@pytest.mark.parametrize("part", [None, {}, []])
def test_an_empty_part_is_never_equal(part):
    broken = answer()
    broken["defaults"] = part
    assert compare(broken, broken)["defaults"].verdict == "error"


def test_faults_and_absence():
    assert compare(Fault(kind="raised"), answer())["construct"].verdict == "different"
    assert compare(Fault(kind="exit"), answer())["construct"].verdict == "error"
    skipped = compare({"absent": True}, {"absent": True})["construct"]
    assert (skipped.verdict, skipped.reason) == ("skipped", "the spec names no configuration class")
    assert {o.verdict for o in compare({"absent": True}, answer()).values()} == {"different"}


def test_what_a_librarys_base_class_alone_adds_is_no_difference():
    older, newer = answer(), answer()
    older["attributes"] = {**older["attributes"], "torchscript": False, "own": 1}
    older["inherited"] = {"torchscript": False, "own": 2}
    found = compare(older, newer)
    assert [f.subject for f in found["attributes"].findings] == ["own"]  # it was given a value of its own
    newer["attributes"] = {**newer["attributes"], "torchscript": True}
    assert "torchscript" in [f.subject for f in compare(older, newer)["attributes"].findings]


UNNAMED = configuration.UNNAMED


@pytest.mark.parametrize(
    ("ours", "theirs", "subjects"),
    [
        ({"a": {"a": 0}}, {"a": {}}, {"a.a"}),
        ({"a": {"a": 0}}, {"a": {"raised": "ValueError: zero"}}, None),
        ({"a": {"raised": "ValueError: zero"}}, {"a": {"a": 0}}, None),
        ({UNNAMED: {UNNAMED: 1}}, {UNNAMED: {}}, {f"{UNNAMED}.{UNNAMED}"}),
        ({UNNAMED: {}}, {UNNAMED: {UNNAMED: 1}}, None),
    ],
)
def test_what_is_unusual_counts_where_the_reference_does_it_and_the_candidate_refuses_nothing(ours, theirs, subjects):
    found = compare({**answer(), "unusual": ours}, {**answer(), "unusual": theirs}).get("unusual")
    assert (found and {f.subject for f in found.findings}) == subjects


@pytest.mark.parametrize(("before", "verdict"), [("None", "equal"), ("1", "different")])
def test_what_making_a_model_changes(before, verdict):
    constructed = {"changed": {"a": [before, "2"]}, "location": PLACE}
    key, made = "v/configuration", "v/configuration/constructed"
    traces = (
        trace_of("reference", {key: answer(), made: {**constructed, "changed": {}}}),
        trace_of("candidate", {key: answer(), made: constructed}),
    )
    found = {o.name: o for o in configuration.compare(job_of(), *traces)}
    assert found["after construction"].verdict == verdict
