"""What `determinism` asks besides: another device of each case; copies of a model and other weights in it of the first.

Outputs with other weights are compared side against side: where the candidate's are not the reference's though they are
with the weights that both had, the candidate reads a tensor that is none of its parameters any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from verify.checks import passes
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.mapping import inverse
from verify.report import Finding, Verdict
from verify.trace import BOTH, Ask, Role, Trace

COPIES, DEVICE = "other weights", "another device"
"""Of the groups, and of the asks."""

SECTIONS = {
    "copied": "of a deep copy",
    "assigned": "of a deep copy that was assigned other weights",
    "original": "of the model after a copy of it was assigned other weights",
    "loaded": "of the model once it has loaded other weights",
    "first": "of the first call, when later ones have run,",
}
"""Of which outputs those of each section are, as a finding says it."""


def plan(job: Job, check: str, cases: Sequence[str]) -> list[Ask]:
    asks = [job.ask("devices", check, case, DEVICE, threads="one") for case in cases]
    return [*(ask for case in cases[:1] for ask in _of_copies(job, check, case)), *asks]


def _of_copies(job: Job, check: str, case: str) -> list[Ask]:
    ask = job.ask("copies", check, case, COPIES, threads="one")
    noise = job.ask("copies", check, case, f"{COPIES} noise", sides=("reference",), nudged=True, threads="one")
    return [ask, noise]


def compare(job: Job, check: str, case: str, traces: Mapping[Role, Trace], *, alike: bool) -> Iterator[Outcome]:
    """The groups of one case. alike: whether the sides' outputs agree as the models are; otherwise other weights tell
    nothing new."""
    asked = traces["reference"].answers | traces["candidate"].answers
    if job.key(check, case, COPIES) in asked:
        yield _copies(job, check, case, traces, alike=alike)
    if job.key(check, case, DEVICE) in asked:
        device = _device(job, check, case, traces)
        if device.findings or device.skipped:  # else it would count as compared where no output is
            yield device


def _copies(job: Job, check: str, case: str, traces: Mapping[Role, Trace], *, alike: bool) -> Outcome:
    make = Maker(job=job, check=check, group=f"{case}, {COPIES}")
    outcome = Outcome(name=make.group)
    answers = [trace.get(job.key(check, case, COPIES)) for trace in traces.values()]
    noise = traces["reference"].get(job.key(check, case, f"{COPIES} noise"))
    absent = [answer for answer in answers if answer.fault and answer.fault.kind == "setup"]
    first = answers[BOTH.index("reference")]
    if absent:
        outcome.skipped, outcome.reason = True, str(absent[0].fault)
    elif first.fault and first.fault.kind == "raised":
        outcome.skipped, outcome.reason = True, f"the reference takes no copies or no other weights: {first.fault}"
    elif any(answer.result is None for answer in answers):
        outcome.findings += faults(make, answers[0], answers[1])
    elif noise.result is None:
        outcome.skipped, outcome.reason = True, f"the reference takes no copies or no other weights: {noise.fault}"
    elif not alike:
        outcome.skipped, outcome.reason = True, "outputs differ with the weights that the models have"
    else:
        theirs = inverse(job.spec.mapping.outputs)
        sides = [passes.read(a, n, sections=True) for a, n in zip((*answers, noise), ({}, theirs, {}), strict=True)]
        for section, what in SECTIONS.items():
            left, right, moved = (side.section(section) for side in sides)
            found = passes.values(make, left, right, moved, job.scenes[check, case].case.arithmetic)
            outcome.compared += len(found) if passes.proves(left, found) else 0
            outcome.findings += _apart(make, found, what)
        if not outcome.compared:
            outcome.skipped, outcome.reason = True, "no output has an element"
    return outcome


def _apart(make: Maker, found: list[passes.Value], what: str) -> Iterator[Finding]:
    """One finding for the outputs of a section that differ, about the worst."""
    bad = [value for value in found if value.bad or not value.gap.alike]
    if bad:
        top = passes.worst(bad) or bad[0]
        details: dict[str, Any] = {"bad": len(bad), "count": len(found), "what": what, "where": list(top.gap.where)}
        details |= {"reference": top.gap.reference, "candidate": top.gap.candidate}
        measured, allowed = top.gap.relative, top.tolerance.allowed
        yield make.finding("weights-values", top.path, details=details, measured=measured, allowed=allowed)


def _device(job: Job, check: str, case: str, traces: Mapping[Role, Trace]) -> Outcome:
    """Whether a side mixes tensors of two devices once it is moved. Asked of each side by itself."""
    make = Maker(job=job, check=check, group=f"{case}, {DEVICE}")
    outcome = Outcome(name=make.group)
    answers = [trace.get(job.key(check, case, DEVICE)) for trace in traces.values()]
    results = [answer.result for answer in answers]
    mixed = [None if result is None else result["mixed"] for result in results]
    if not any(mixed):
        why = [str(a.fault) if a.result is None else a.result["stopped"] for a in answers]
        if any(why):
            reason = f"a pass without values cannot be followed to its end: {next(filter(None, why))}"
            outcome.skipped, outcome.reason = True, reason
    for role, found in zip(BOTH, mixed, strict=True):
        if found is not None and not make.ignored(DEVICE):
            outcome.compared += 1
            # a candidate that mends what the reference lacks runs wherever the reference does
            verdict = Verdict.DIFFERENT if role == "candidate" and not all(mixed) else Verdict.NOTE
            details = {"side": role, "operation": found["operation"]}
            place: dict[str, Any] = {role: location(found["location"])}
            outcome.findings.append(make.finding("device-mixed", DEVICE, verdict, details=details, **place))
    return outcome
