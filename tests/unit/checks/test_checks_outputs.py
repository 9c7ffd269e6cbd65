"""outputs and determinism, from hand-made answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from verify.checks import determinism, outputs
from verify.report import Verdict
from verify.trace import Fault

BOTH_FLAGS = frozenset({"x", "output_attentions", "return_dict"})


def tensor(path: str, *shape: int, dtype: str = "float32") -> dict[str, Any]:
    return {"path": path, "kind": "tensor", "shape": list(shape), "dtype": dtype}


def nothing(path: str) -> dict[str, Any]:
    return {"path": path, "kind": "value", "value": None}


def answer(*leaves: dict[str, Any], container: str = "mapping", ordered: bool = True) -> dict[str, Any]:
    return {"outputs": list(leaves), "container": container, "ordered": ordered}


@pytest.fixture
def contract(job, traces):
    def run(left, right, **changes):
        (outcome,) = outputs.compare(job(**changes), *traces({"outputs/one/0": left}, {"outputs/one/0": right}))
        return outcome

    return run


A, B = tensor("a", 3, 2), tensor("b", 3)


@pytest.mark.parametrize(
    ("right", "subject"),
    [
        (answer(A), "b"),
        (answer(A, B, tensor("c", 1)), "c"),
        (answer(A, tensor("b", 3, 1)), "b"),
        (answer(A, tensor("b", 3, dtype="float64")), "b"),
        (answer(A, nothing("b")), "b"),
        (answer(A, B, container="sequence"), "container"),
        (answer(B, A), "order"),
    ],
)
def test_a_broken_contract_is_found(contract, right, subject):
    outcome = contract(answer(A, B), right)
    assert outcome.verdict == Verdict.DIFFERENT
    assert subject in {f.subject for f in outcome.findings}


def test_none_that_one_side_leaves_out_is_nothing(contract):
    assert contract(answer(A, nothing("b")), answer(A)).findings == []


def test_the_order_of_a_plain_mapping_is_a_note(contract):
    outcome = contract(answer(A, B, ordered=False), answer(B, A, ordered=False))
    assert outcome.verdict == Verdict.EQUAL
    assert [f.kind for f in outcome.findings] == ["output-order"]


def test_what_nobody_can_compare_does_not_count_and_is_told(contract):
    cache = {"path": "cache", "kind": "other", "value": "Cache"}
    outcome = contract(answer(A, cache), answer(A, cache))
    assert (outcome.verdict, outcome.compared) == (Verdict.EQUAL, 1)
    assert [(f.kind, f.subject, f.verdict) for f in outcome.findings] == [("not-comparable", "cache", Verdict.NOTE)]
    assert contract(answer(cache), answer(cache)).verdict == Verdict.ERROR
    other = contract(answer(A, cache), answer(A, {**cache, "value": "Store"}))
    assert [(f.kind, f.subject, f.verdict) for f in other.findings] == [("value", "cache", Verdict.DIFFERENT)]


def test_no_output_is_no_success(contract):
    assert contract(answer(), answer()).verdict == Verdict.ERROR


def test_every_combination_of_the_flags_that_both_take_is_asked(job):
    asks = [a for a in outputs.plan(job(accepted=BOTH_FLAGS)) if a.op == "forward" and a.key[-1].isdigit()]
    assert [a.args["arguments"] for a in asks] == [
        {"output_attentions": a, "return_dict": r} for a in (False, True) for r in (True, False)
    ]
    assert {a.args["arithmetic"] for a in asks} == {"fp32"}
    (plain,) = (a for a in outputs.plan(job()) if a.op == "forward" and a.key[-1].isdigit())
    assert plain.args["arguments"] == {}


def test_calls_that_a_signature_does_not_show_are_asked(job):
    asks = {a.key.removeprefix("default/outputs/one/"): a.args for a in outputs.plan(job(accepted=BOTH_FLAGS))}
    places = {name: args["arguments"] for name, args in asks.items() if args.get("by_place")}
    assert places == {
        "output_attentions=true, by place": {"output_attentions": True, "return_dict": True},
        "return_dict=false, by place": {"output_attentions": False, "return_dict": False},
    }
    assert asks[outputs.UNNAMED]["unnamed"]
    held = asks[outputs.HELD]
    assert (held["arguments"], held["configured"]) == ({}, {"output_attentions": True, "return_dict": False})
    assert outputs.HELD not in {a.key.rpartition("/")[2] for a in outputs.plan(job())}


def test_a_configuration_that_has_the_flags_is_asked_to_say_the_contrary(job, traces):
    key = f"outputs/one/{outputs.HELD}"
    known = {**answer(A), "entries": ["return_dict"]}
    given = job(accepted=BOTH_FLAGS)
    (ask,) = outputs.further(given, *traces({key: {**known, "entries": [*BOTH_FLAGS]}}, {key: known}))
    assert (ask.args["values"], ask.args["arguments"]["return_dict"]) == ({"return_dict": False}, True)
    assert outputs.further(given, *traces({key: known}, {key: answer(A)})) == []


REFUSED = Fault(kind="raised", message="TypeError: no")


@pytest.mark.parametrize(
    ("kind", "left", "right", "verdict"),
    [
        (outputs.UNNAMED, REFUSED, REFUSED, Verdict.EQUAL),
        (outputs.UNNAMED, REFUSED, answer(A), Verdict.DIFFERENT),
        (outputs.UNNAMED, answer(A), REFUSED, Verdict.DIFFERENT),
        (outputs.UNNAMED, answer(A), answer(A), Verdict.EQUAL),
        (outputs.UNNAMED, answer(A), answer(A, B), Verdict.DIFFERENT),
        (outputs.UNNAMED, REFUSED, Fault(kind="timeout", message="late"), Verdict.ERROR),
        (outputs.PLACE, answer(A), REFUSED, Verdict.DIFFERENT),
        (outputs.PLACE, REFUSED, answer(A), Verdict.SKIPPED),
        (outputs.PLACE, answer(A), answer(B), Verdict.DIFFERENT),
        (outputs.AGAINST, answer(A), answer(B), Verdict.DIFFERENT),
        (outputs.AGAINST, REFUSED, REFUSED, Verdict.SKIPPED),
    ],
)
def test_what_each_side_does_in_such_a_call(job, traces, kind, left, right, verdict):
    key = f"outputs/one/{kind}"
    found = {o.name: o for o in outputs.compare(job(), *traces({key: left}, {key: right}))}
    assert found[f"one, {kind}"].verdict == verdict


def test_flags_that_no_configuration_has_are_not_compared_there(job, traces):
    key, given = f"outputs/one/{outputs.HELD}", job(accepted=BOTH_FLAGS)
    known = {**answer(A), "configured": ["return_dict"]}
    other = {**answer(B), "configured": ["return_dict"]}
    for left, right, verdict in (
        (known, other, Verdict.DIFFERENT),
        (known, answer(B), Verdict.SKIPPED),
        (answer(A), other, Verdict.SKIPPED),
        (answer(A), answer(B), None),
    ):
        found = {o.name: o for o in outputs.compare(given, *traces({key: left}, {key: right}))}
        outcome = found.get(f"one, {outputs.HELD}")
        assert (outcome and outcome.verdict) == verdict


def test_a_combination_that_only_one_side_refuses_is_a_difference(job, traces):
    keys = [f"outputs/one/{n}" for n in range(4)]
    right: dict[str, Any] = dict.fromkeys(keys, answer(A)) | {keys[3]: Fault(kind="raised", message="no")}
    sides = traces(dict.fromkeys(keys, answer(A)), right)
    found = {o.name: o.verdict for o in outputs.compare(job(accepted=BOTH_FLAGS), *sides)}
    bad = "one, output_attentions=true, return_dict=false"
    assert {name for name, verdict in found.items() if verdict == Verdict.DIFFERENT} == {bad}
    assert len(found) == 4


# --- determinism ------------------------------------------------------------------------------------------------------

VALUES = np.arange(6.0).reshape(3, 2) + 1
ROUNDING = VALUES * (1 + 4e-15)


def calls(**changes: Any) -> dict[str, Any]:
    """What one side gives in each call; an array stands for the output y."""
    usual = dict.fromkeys(("once", "twice", "threads", "strided"), VALUES)
    usual |= {"row": VALUES[:1], "noise": ROUNDING, **changes}
    return {
        f"determinism/one/{kind}": given if isinstance(given, Fault) else (answer(), {"y": given} | {})
        for kind, given in usual.items()
    }


@pytest.fixture
def repeated(job, traces):
    def run(left, right, **changes):
        return {o.name: o for o in determinism.compare(job(**changes), *traces(left, right))}

    return run


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("twice", ROUNDING, "not-repeatable"),
        ("twice", VALUES[:2], "not-repeatable"),
        ("row", VALUES[:1] + 1e-9, "row-in-batch"),
        ("threads", VALUES + 1e-9, "thread-count"),
        ("threads", VALUES * np.nan, "thread-count"),
        ("strided", VALUES + 1e-9, "input-layout"),
    ],
)
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_a_side_that_changes_is_named(repeated, kind, given, found, side):
    sides = {"reference": calls(), "candidate": calls(), side: calls(**{kind: given})}
    outcomes = repeated(sides["reference"], sides["candidate"])
    (finding,) = outcomes[f"one, {kind}"].findings
    assert (finding.kind, finding.subject, finding.details["side"]) == (found, "y", side)
    assert {n for n, o in outcomes.items() if o.verdict == Verdict.DIFFERENT} == {f"one, {kind}"}


@pytest.mark.parametrize(("kind", "given"), [("row", ROUNDING[:1]), ("threads", ROUNDING)])
def test_another_order_of_sums_is_allowed(repeated, kind, given):
    outcomes = repeated(calls(), calls(**{kind: given}))
    assert {o.verdict for o in outcomes.values()} == {Verdict.EQUAL}
    assert {o.compared for o in outcomes.values()} == {2}


def test_a_row_that_both_sides_change_is_a_note(repeated):
    changed = calls(row=VALUES[:1] + 1)
    outcome = repeated(changed, changed)["one, row"]
    assert outcome.verdict == Verdict.EQUAL
    assert [f.verdict for f in outcome.findings] == [Verdict.NOTE] * 2


def test_chance_on_both_sides_is_a_difference_all_the_same_and_asks_no_more(repeated):
    changed = calls(twice=VALUES + 1)
    outcomes = repeated(changed, changed)
    assert outcomes["one, twice"].verdict == Verdict.DIFFERENT
    assert [o.skipped for o in outcomes.values()] == [False, True, True, True]


def test_an_output_without_a_row_for_each_input_is_not_compared_by_rows(repeated):
    total = calls(once=VALUES[0], twice=VALUES[0], row=VALUES[0], threads=VALUES[0], noise=ROUNDING[0])
    outcome = repeated(total, total)["one, row"]
    assert (outcome.skipped, outcome.verdict) == (True, Verdict.SKIPPED)


@pytest.mark.parametrize(("side", "verdict"), [("candidate", Verdict.DIFFERENT), ("reference", Verdict.SKIPPED)])
def test_only_a_candidate_must_take_every_layout_that_the_other_takes(repeated, side, verdict):
    refusing = calls(strided=Fault(kind="raised", message="view size is not compatible"))
    sides = {"reference": calls(), "candidate": calls(), side: refusing}
    assert repeated(sides["reference"], sides["candidate"])["one, strided"].verdict == verdict


def test_a_call_without_an_answer_is_an_error_of_its_side(repeated):
    outcomes = repeated(calls(), calls(threads=Fault(kind="timeout", message="late")))
    assert outcomes["one, threads"].verdict == Verdict.ERROR
    assert outcomes["one, twice"].verdict == Verdict.EQUAL
    assert "late" in outcomes["one, threads"].findings[0].message


def test_without_noise_there_is_no_tolerance_and_no_verdict(repeated):
    outcomes = repeated(calls(noise=Fault(kind="memory", message="full")), calls())
    assert outcomes["one, row"].verdict == Verdict.ERROR


def test_a_reference_that_amplifies_noise_decides_nothing(repeated):
    outcomes = repeated(calls(noise=VALUES * 1.1), calls(noise=VALUES * 1.1, threads=VALUES + 1e-9))
    assert outcomes["one, threads"].verdict == Verdict.ERROR
    assert [f.kind for f in outcomes["one, threads"].findings] == ["unstable"]


@pytest.mark.parametrize("shape", [[1, 2], [], [0, 2]])
def test_no_batch_no_row(repeated, shape):
    outcomes = repeated(calls(), calls(), cases={"one": {"inputs": {"x": {"shape": shape}}}})
    assert outcomes["one, row"].skipped


@pytest.mark.parametrize("both", [False, True])
def test_a_call_that_writes_to_its_inputs_is_told(repeated, both):
    wrote = calls()
    once = wrote["determinism/one/once"]
    result, arrays = once if isinstance(once, tuple) else (once, {})
    wrote["determinism/one/once"] = ({**result, "written": ["x"]}, arrays)
    outcomes = repeated(wrote if both else calls(), wrote)
    (finding,) = outcomes["one, inputs"].findings
    assert (finding.subject, finding.verdict) == ("input:x", Verdict.NOTE if both else Verdict.DIFFERENT)
    assert finding.details["side"] == ("either side" if both else "candidate")
    assert "one, inputs" not in repeated(calls(), calls())
