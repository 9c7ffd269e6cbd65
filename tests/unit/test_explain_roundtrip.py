"""The step of a checkpoint's way that is told, by what is known of a tensor at each."""

from __future__ import annotations

import pytest

from verify.checks.roundtrip import LACKING, SAVED
from verify.chinese import knows
from verify.explain import roundtrip
from verify.report import Finding, Verdict

HERE = {"file": "m.py", "line": 3}
WELL = {
    "held": True, "persistent": True, "tied": [], "made": HERE, "state": "same", "file": "same", "loaded": "other",
    "types": ["float32"] * 3, "told": [], "written": None, "ended": None,
    "overrides": dict.fromkeys(("state", "file", "loading", "untold")),
}  # fmt: skip
UNSAVED = {"persistent": False, "state": "absent", "file": "absent"}


def finding(case: str = "candidate load", kind: str = "tensor-lost") -> Finding:
    return Finding(
        check="roundtrip", variant="v", case=case, subject="x", verdict=Verdict.DIFFERENT, kind=kind, message=""
    )


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"held": False}, "under a name that the model does not have"),
        (UNSAVED, "nothing sets it"),
        ({**UNSAVED, "loaded": "unset", "ended": HERE}, "without having set it"),
        ({**UNSAVED, "written": HERE, "ended": HERE}, "is given other values here"),
        ({**UNSAVED, "loaded": "absent"}, "the model that is loaded has none"),
        ({"state": "absent", "file": "absent"}, "the state dict does not hold it"),
        ({"state": "other"}, "other values than the model"),
        ({"file": "absent"}, "and the file does not"),
        ({"file": "absent", "tied": ["y"]}, "under the name of y alone"),
        ({"file": "other"}, "the file has other values"),
        ({"file": "other", "types": ["float32", "float16", "float32"]}, "it is saved as float16"),
        ({"loaded": "absent"}, "in the file, and the model that is loaded has none"),
        ({"types": ["float32", "float32", "float16"]}, "and is float16 after loading"),
        ({"told": ["missing_keys"]}, "is not read: missing_keys"),
        ({"written": HERE}, "is written over here"),
        ({}, "loading gives it other values"),
    ],
)
def test_the_first_step_that_does_not_give_on_what_it_was_given(facts, part):
    step, _ = roundtrip._lost({**WELL, **facts}, finding())
    assert part in step
    assert knows(step)


def test_what_comes_back_is_lost_only_where_the_checkpoints_differ():
    shared = {**WELL, "loaded": "same", "file": "absent", "tied": ["y"]}
    assert roundtrip._lost(shared, finding()) is None
    assert roundtrip._lost({**WELL, **UNSAVED, "loaded": "same"}, finding(SAVED)) is None
    assert roundtrip._lost(shared, finding(SAVED))


@pytest.mark.parametrize(
    ("kind", "facts", "part"),
    [
        ("initialisation", {"written": HERE, "ended": HERE}, "it is filled here"),
        ("initialisation", {"written": None, "ended": HERE}, "without having set it"),
        ("initialisation", {"written": None, "ended": None}, None),
        ("tensor-lost", {"kept": HERE}, "is written over here"),
        ("tensor-lost", {"kept": None}, None),
        ("does", {"overrides": {"untold": HERE}}, "is not told"),
        ("does", {"overrides": {"untold": None}}, None),
    ],
)
def test_what_fills_a_tensor_that_a_checkpoint_lacks(kind, facts, part):
    told = roundtrip._filled(facts, finding(LACKING, kind))
    assert (told is None) == (part is None)
    if told is not None:
        assert part in told[0]
        assert told[1] == HERE
        assert knows(told[0])
