"""outputs: does forward keep its contract, whatever it is asked to return?

Every combination of the flags that both forwards take, on one case: container, field names and their order, None-ness,
shapes, dtypes, how many hidden states. Run as the model computes, in float32, so that an output of another dtype shows.

What a signature does not show of a call is asked by calling: with every argument by place, as far as one flag is set;
with an argument that nobody named, which both sides refuse or both take; with the flags set in the configuration that the
model holds already; and, of a model whose configuration has them, with a call that says the contrary, which must win.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from verify.checks import passes, signature
from verify.checks.base import Job, Maker, Outcome, faults
from verify.checks.passes import contract, opaque, present
from verify.mapping import inverse
from verify.report import Finding, Verdict
from verify.trace import Answer, Ask, Trace

SUMMARY = (
    "container, fields, shapes and dtypes for every combination of forward's flags; calls by place and as configured"
)
RUNS_CASES = True

FLAGS = {"output_hidden_states": (False, True), "output_attentions": (False, True), "return_dict": (True, False)}
"""Arguments that are varied where the spec names none."""


def plan(job: Job) -> list[Ask]:
    asks = signature.plan(job)
    for case in job.cases("outputs")[:1]:
        arguments = job.scenes["outputs", case].case.arguments
        for number, flags in enumerate(_combinations(job)):
            given = {**arguments, **flags}
            asks.append(job.ask("forward", "outputs", case, str(number), arithmetic="fp32", arguments=given))
        for kind, (given, more) in _otherwise(job, case).items():
            asks.append(job.ask("forward", "outputs", case, kind, arithmetic="fp32", arguments=given, **more))
    return asks


def further(job: Job, reference: Trace, candidate: Trace) -> list[Ask]:
    """A model whose configuration has the flags otherwise than the call, where both configurations have such entries."""
    asks = []
    for case in job.cases("outputs")[:1]:
        answers = (trace.get(job.key("outputs", case, HELD)).result or {} for trace in (reference, candidate))
        known = [set(answer.get("entries", ())) for answer in answers]  # also such as cannot be set afterwards
        first, *others = _combinations(job)
        if both := known[0] & known[1]:
            values = {name: value for name, value in others[-1].items() if name in both}
            given = {**job.scenes["outputs", case].case.arguments, **first}
            asks.append(job.ask("forward", "outputs", case, AGAINST, values=values, arithmetic="fp32", arguments=given))
    return asks


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    for flag in job.spec.options("outputs").vary:
        if flag not in job.accepted:
            yield Outcome(name=flag, skipped=True, reason="forward does not take this argument on both sides")
    told: set[tuple[str, str]] = set()
    for case in job.cases("outputs")[:1]:
        for number, flags in enumerate(_combinations(job)):
            name = _name(job, case, flags)
            key = job.key("outputs", case, str(number))
            r, c = reference.get(key), candidate.get(key)
            make = Maker(job=job, check="outputs", group=name)
            if r.result is None or c.result is None:
                yield Outcome(name=name, findings=list(faults(make, r, c)))
                continue
            outcome = _one(make, name, r.result, c.result)
            if not job.spec.mapping.outputs:
                outcome.findings += _access(make, r.result, c.result, told)
            yield outcome
        for kind in (*_otherwise(job, case), AGAINST):
            keys = job.key("outputs", case, kind)
            if keys in reference.answers | candidate.answers:
                yield from _called(job, case, kind, reference.get(keys), candidate.get(keys))


PLACE, UNNAMED, HELD, AGAINST = "by place", "an unnamed argument", "configured afterwards", "against the configuration"


def _otherwise(job: Job, case: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Calls beside those of every combination: by what they are called forward's plain arguments, and what else the
    observer is told."""
    arguments = job.scenes["outputs", case].case.arguments
    first, *others = _combinations(job)
    one = [flags for flags in others if sum(flags[name] is not first[name] for name in flags) == 1]
    calls: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        ", ".join([*_changed(job, flags), PLACE]): ({**arguments, **flags}, {"by_place": True})
        for flags in one or [first]
    }
    calls[UNNAMED] = ({**arguments, **first}, {"unnamed": True})
    if others:
        unset = {name: value for name, value in arguments.items() if name not in first}
        calls[HELD] = (unset, {"configured": others[-1]})
    return calls


def _called(job: Job, case: str, kind: str, r: Answer, c: Answer) -> Iterator[Outcome]:
    """One such call. What the reference refuses says nothing of a candidate, but for an argument that nobody named."""
    make = Maker(job=job, check="outputs", group=f"{case}, {kind}")
    refused = [answer.fault is not None and answer.fault.kind == "raised" for answer in (r, c)]
    answered = [refusal or answer.result is not None for refusal, answer in zip(refused, (r, c), strict=True)]
    if kind == UNNAMED and any(refused) and all(answered):
        outcome = Outcome(name=make.group, compared=make.counted([UNNAMED]))
        if not all(refused) and outcome.compared:
            words = ["refused" if side else "taken" for side in refused]
            details = {
                "what": "a call with an argument that forward does not name",
                "reference": words[0],
                "candidate": words[1],
            }
            outcome.findings.append(make.finding("does", UNNAMED, details=details, measured=words[1], allowed=words[0]))
        yield outcome
    elif refused[0] and kind != UNNAMED:
        yield Outcome(name=make.group, skipped=True, reason=f"the reference cannot be called so: {r.fault}")
    elif r.result is None or c.result is None:
        yield Outcome(name=make.group, findings=list(faults(make, r, c)))
    elif kind == HELD and (alone := {*r.result.get("configured", ())} ^ {*c.result.get("configured", ())}):
        reason = f"only one side's configuration can be set so afterwards: {', '.join(sorted(alone))}"
        yield Outcome(name=make.group, skipped=True, reason=reason)
    elif kind != HELD or r.result.get("configured"):
        yield _one(make, make.group, r.result, c.result)


def _combinations(job: Job) -> list[dict[str, Any]]:
    """Forward arguments of each call; one call without any where both sides take none of them."""
    varied = job.spec.options("outputs").vary or FLAGS
    names = [name for name in varied if name in job.accepted]
    return [dict(zip(names, values, strict=True)) for values in product(*(varied[name] for name in names))]


def _name(job: Job, case: str, flags: Mapping[str, Any]) -> str:
    """The case, and what is not as in its first call."""
    return ", ".join([case, *_changed(job, flags)])


def _changed(job: Job, flags: Mapping[str, Any]) -> list[str]:
    varied = job.spec.options("outputs").vary or FLAGS
    return [f"{k}={json.dumps(v)}" for k, v in flags.items() if v is not varied[k][0]]


def _access(make: Maker, r: Mapping[str, Any], c: Mapping[str, Any], told: set[tuple[str, str]]) -> Iterator[Finding]:
    """Containers of one path whose parts are had in other ways, each kind once: a note, since every value is there.

    told: what each side offers where that was said already.
    """
    left, right = r.get("containers", {}), c.get("containers", {})
    for path, ours in left.items():
        theirs, subject = right.get(path, ours), path or "container"
        if ours != theirs and (ours, theirs) not in told and not make.ignored(subject):
            told.add((ours, theirs))
            details = {"reference": ours, "candidate": theirs}
            yield make.finding("output-access", subject, Verdict.NOTE, details=details)


def _one(make: Maker, name: str, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    theirs = inverse(make.job.spec.mapping.outputs)
    left, right = passes.outputs(r, {}), passes.outputs(c, theirs)
    known = [p for p in [*left, *right] if not opaque(left.get(p) or right.get(p))]
    outcome = Outcome(name=name, compared=make.counted(known))
    if not theirs:  # mapped outputs come in a container of their own
        outcome.findings += make.differences({"container": r["container"]}, {"container": c["container"]})
    outcome.findings += contract(make, left, right)
    changes = [{k: v for k, v in side.get("left", {}).items() if k.startswith("the configuration")} for side in (r, c)]
    passes.left_changed(make, outcome, "process-changed", changes, {})
    orders = [[p for p, leaf in side.items() if present(leaf) and not make.ignored(p)] for side in (left, right)]
    if not theirs and orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]):
        details = {"reference": ", ".join(orders[0]), "candidate": ", ".join(orders[1])}
        verdict = Verdict.DIFFERENT if r["ordered"] or c["ordered"] else Verdict.NOTE  # no number leads into a dict
        outcome.findings.append(make.finding("output-order", "order", verdict, details=details))
    return outcome
