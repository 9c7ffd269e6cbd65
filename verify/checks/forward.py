"""forward: with the same weights in generic position and the same inputs, is every output the same?

Asked in float64 with exact arithmetic, so that a harmless rewrite differs by rounding alone. The allowed difference is
measured: a multiple of what the reference's own outputs do when its inputs and weights move by one ulp.

The first case runs once more where the models have saved flags or counters: with other values in them than a fresh model
has. They may be meant as indices, so that no pass runs with others; that is then told as not done.
"""

from __future__ import annotations

from collections.abc import Iterator

from verify.checks import passes
from verify.checks.base import Job, Maker, Outcome, unanswered
from verify.mapping import inverse, renamed
from verify.report import Finding, Verdict
from verify.trace import BOTH, Answer, Ask, Trace

SUMMARY = "every output of every case, shared weights in generic position, float64"


RUNS_CASES = True


def plan(job: Job) -> list[Ask]:
    asks = []
    for name in job.cases("forward"):
        asks.append(job.ask("forward", "forward", name))
        asks.append(job.ask("forward", "forward", name, "noise", sides=("reference",), nudged=True))
    return [*asks, *passes.state_asks(job, "forward")]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    told: set[tuple[str, str]] = set()
    for name in job.cases("forward"):
        key = job.key("forward", name)
        r, c, noise = reference.get(key), candidate.get(key), reference.get(job.key("forward", name, "noise"))
        make = Maker(job=job, check="forward", group=name)
        if lacking := unanswered(make, r, c, noise):
            yield Outcome(name=name, findings=lacking)
            continue
        outcome = _case(job, make, name, (r, c, noise))
        arithmetic = list(_arithmetic(make, job.scenes["forward", name].case.arithmetic, r, c))
        shared = [finding for finding in outcome.findings if finding.kind == "output-shares"]
        outcome.findings = [finding for finding in outcome.findings if finding.kind != "output-shares"]
        for finding in (*shared, *arithmetic):
            if (finding.kind, finding.subject) not in told:  # one model: once is enough
                told.add((finding.kind, finding.subject))
                outcome.findings.append(finding)
        yield outcome
        if name == job.cases("forward")[0] and outcome.verdict == Verdict.EQUAL:
            yield from passes.of_state(job, "forward", reference, candidate, lambda *given: _case(job, *given))


def _arithmetic(make: Maker, arithmetic: str, *answers: Answer) -> Iterator[Finding]:
    """How exact the arithmetic of each side really was, where that was asked for."""
    for role, answer in zip(BOTH, answers, strict=True):
        result = answer.result or {}
        if arithmetic == "fp64" and not result.get("exact", True):
            details = {"side": role, "why": result.get("note", "")}
            yield make.finding("not-exact", role, Verdict.NOTE, details=details)
        if result.get("lifted"):
            yield make.finding("lifted", role, Verdict.NOTE, details={"side": role, "count": result["lifted"]})


def _case(job: Job, make: Maker, name: str, answers: passes.Three) -> Outcome:
    theirs = inverse(job.spec.mapping.outputs)
    left, right, moved = (passes.read(a, names) for a, names in zip(answers, (None, theirs, None), strict=True))
    arithmetic = job.scenes["forward", name].case.arithmetic
    outcome = passes.compared(make, left, right, moved, arithmetic, mapped=bool(theirs))
    shared = [(answer.result or {}).get("shared", {}) for answer in answers[:2]]
    shared[1] = {renamed(path, theirs): kind for path, kind in shared[1].items()}
    for path in sorted(shared[0].keys() | shared[1].keys()):
        words = [side.get(path, "its own") for side in shared]
        if words[0] != words[1] and path in left.values and path in right.values and not make.ignored(path):
            details = {"reference": words[0], "candidate": words[1]}
            outcome.findings.append(make.finding("output-shares", path, Verdict.NOTE, details=details))
    tracked = [set((answer.result or {}).get("tracked", ())) for answer in answers[:2]]
    tracked[1] = {renamed(path, theirs) for path in tracked[1]}
    for path in sorted(tracked[0] ^ tracked[1]):
        if path in left.values and path in right.values and not make.ignored(path):
            words = ["recorded" if path in side else "not recorded" for side in tracked]
            details = {"reference": words[0], "candidate": words[1]}
            outcome.findings.append(make.finding("output-tracked", path, details=details))
    for path, array in left.values.items():
        if array.dtype.kind == "f" and array.size and not array.any() and not make.ignored(path):
            outcome.findings.append(make.finding("all-zero", path, Verdict.NOTE))
    return outcome
