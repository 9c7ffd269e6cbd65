"""Trace: what a side sent, read without trust."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.trace import BOTH, Answer, Ask, Fault, Trace

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["kind", "type", "message", "frames", "missing", "output"])


@given(anything | st.dictionaries(keys, anything))
def test_any_json_is_a_fault(data):
    fault = Fault.from_wire(data)
    assert fault.kind in ("raised", "import", "setup", "memory", "disk", "exit", "protocol")
    assert isinstance(str(fault), str)
    assert all(isinstance(f, str) for f in fault.frames)
    assert fault.output == ""


def test_a_fault_survives_the_wire():
    fault = Fault(kind="import", type="ModuleNotFoundError", message="no", frames=("a.py:3 in f",), missing="timm")
    assert Fault.from_wire(json.loads(json.dumps(dataclasses.asdict(fault)))) == fault


def test_what_a_side_sends_is_cut():
    fault = Fault.from_wire(
        {"kind": "raised", "type": "T" * 999, "message": "m" * 9999, "frames": ["f" * 999] * 99, "missing": "p" * 999}
    )
    assert len(fault.type) == 200
    assert len(fault.message) == 4000
    assert (len(fault.frames), len(fault.frames[0])) == (40, 500)
    assert len(fault.missing or "") == 200


@pytest.mark.parametrize("kind", ["timeout", "signal", "not-run", "protocol", "x", None])
def test_a_side_cannot_claim_the_parents_kinds(kind):
    assert Fault.from_wire({"kind": kind}).kind == "protocol"  # which proves nothing


def test_a_fault_is_one_sentence():
    assert str(Fault(kind="exit", message="gone")) == "gone"
    full = Fault(
        kind="raised", type="E", message="m", frames=("a.py:1 in f", "b.py:2 in g"), missing="timm", output="x\nlast\n"
    )
    assert str(full) == (
        "E: m (at a.py:1 in f > b.py:2 in g); the package 'timm' is not installed for this side's Python; its last words: last"
    )


@pytest.mark.parametrize(
    ("frames", "place"),
    [
        ((), None),
        (("a.py:1 in f", "b.py:22 in g"), ("b.py", 22)),
        (("a.py:1 in f", "nonsense"), ("a.py", 1)),
        (("a.py:None in f",), None),
        (("a.py:-1 in f",), None),
    ],
)
def test_a_fault_is_where_its_last_frame_is(frames, place):
    assert Fault(kind="raised", frames=frames).location == place


@pytest.mark.parametrize("line", ["\u00b2", "\u0663", "9" * 5000, "9" * 10, "", "+3", "1_0"])
def test_a_hostile_line_number_is_no_place(line):
    assert Fault(kind="raised", frames=(f"a.py:{line} in f",)).location is None


def test_what_was_never_asked_is_a_fault():
    trace = Trace(role="candidate")
    missing = trace.get("x")
    assert missing.result is None
    assert missing.fault is not None
    assert missing.fault.kind == "not-run"
    trace.add(Answer(key="x", result={}))
    assert trace.get("x").result == {}


def test_an_ask_goes_to_both_sides_by_default():
    assert Ask(key="k", op="o").sides == BOTH == ("reference", "candidate")
