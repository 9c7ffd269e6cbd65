"""outputs: does forward keep its contract, whatever it is asked to return?

Every combination of the flags that both forwards take, on one case: container, field names and their order, None-ness,
shapes, dtypes, how many hidden states. Run as the model computes, in float32, so that an output of another dtype shows.
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
from verify.trace import Ask, Trace

SUMMARY = "container, fields, shapes and dtypes for every combination of forward's flags"
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


def _combinations(job: Job) -> list[dict[str, Any]]:
    """Forward arguments of each call; one call without any where both sides take none of them."""
    varied = job.spec.options("outputs").vary or FLAGS
    names = [name for name in varied if name in job.accepted]
    return [dict(zip(names, values, strict=True)) for values in product(*(varied[name] for name in names))]


def _name(job: Job, case: str, flags: Mapping[str, Any]) -> str:
    """The case, and what is not as in its first call."""
    varied = job.spec.options("outputs").vary or FLAGS
    return ", ".join([case, *(f"{k}={json.dumps(v)}" for k, v in flags.items() if v is not varied[k][0])])


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
    orders = [[p for p, leaf in side.items() if present(leaf) and not make.ignored(p)] for side in (left, right)]
    if not theirs and orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]):
        details = {"reference": ", ".join(orders[0]), "candidate": ", ".join(orders[1])}
        verdict = Verdict.DIFFERENT if r["ordered"] or c["ordered"] else Verdict.NOTE  # no number leads into a dict
        outcome.findings.append(make.finding("output-order", "order", verdict, details=details))
    return outcome
