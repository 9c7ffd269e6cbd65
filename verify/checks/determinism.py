"""determinism: does a side give the same outputs for the same inputs?

Asked of each side by itself: the same call twice, to the bit; the first row of a batch alone; all threads against one;
the same values in tensors of another layout. The last three reorder sums, so they may differ by the reference's own
response to one-ulp noise, as in `forward`. And a call leaves its inputs, and the settings of the process, as they were; so
do an import and the making of a model.

The first case is asked besides with copies of the model and with other weights; each, whether it would run on another
device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from verify.cases import batch
from verify.checks import otherwise, passes
from verify.checks.base import Job, Maker, Outcome, faults
from verify.compare import gap
from verify.mapping import inverse, renamed
from verify.report import Verdict
from verify.tolerance import Tolerance, from_response
from verify.trace import BOTH, Ask, Role, Trace

SUMMARY = "the same call twice, a row alone and in its batch, one thread and many, inputs of another layout; copies, other weights, another device"
RUNS_CASES = True

MOST_CASES = 2
"""Cases that are run where the spec chooses none."""

MAKING = "making"
"""Of the group, and of the ask, of what the making of a model leaves changed."""
STAGES = {"import": "importing it", "construction": "making a model"}

KINDS = {"twice": "not-repeatable", "row": "row-in-batch", "threads": "thread-count", "strided": "input-layout"}

EXACT = Tolerance(allowed=0.0, reason="equal to the bit")

Arrays = Mapping[str, NDArray[Any]]


def plan(job: Job) -> list[Ask]:
    asks = []
    for case in _cases(job):
        asks.append(job.ask("forward", "determinism", case, "once", threads="one"))
        asks.append(job.ask("forward", "determinism", case, "twice", threads="one", again=True))
        if _rows(job, case):
            asks.append(job.ask("forward", "determinism", case, "row", threads="one", rows=1))
        asks.append(job.ask("forward", "determinism", case, "threads", threads="all"))
        asks.append(job.ask("forward", "determinism", case, "strided", threads="one", strided=True))
        asks.append(job.ask("forward", "determinism", case, "noise", sides=("reference",), nudged=True, threads="one"))
    asks.append(Ask(key=job.key("determinism", MAKING), op="making", args={"values": job.values_of("determinism")}))
    return [*asks, *otherwise.plan(job, "determinism", _cases(job))]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    traces: dict[Role, Trace] = {"reference": reference, "candidate": candidate}
    for case in _cases(job):
        yield from _case(job, case, traces)
    answers = [trace.get(job.key("determinism", MAKING)).result or {} for trace in traces.values()]
    if (made := _made(job, answers)).findings:
        yield made
    for case in _cases(job):
        alike = _alike(job, case, traces, "once")
        yield from otherwise.compare(job, "determinism", case, traces, alike=alike)


def _cases(job: Job) -> list[str]:
    """The cases that the spec chose; else the first ones, those with a batch before others."""
    cases = job.cases("determinism")
    if job.spec.options("determinism").cases:
        return cases
    return sorted(cases, key=lambda case: not _rows(job, case))[:MOST_CASES]


def _rows(job: Job, case: str) -> int | None:
    scene = job.scenes["determinism", case]
    return batch(scene.case, scene.values)


@dataclass(frozen=True, kw_only=True)
class _Change:
    """The output of one side that moved furthest beyond what is allowed between two calls."""

    path: str
    where: list[int]
    first: float
    second: float
    measured: float
    tolerance: Tolerance

    @property
    def past(self) -> bool:
        return not self.measured <= self.tolerance.allowed

    @property
    def ratio(self) -> float:
        return self.measured / self.tolerance.allowed if self.tolerance.allowed else float("inf")


def _case(job: Job, case: str, traces: Mapping[Role, Trace]) -> Iterator[Outcome]:
    once = job.key("determinism", case, "once")
    make = Maker(job=job, check="determinism", group=case)
    if any(trace.get(once).result is None for trace in traces.values()):
        yield Outcome(name=case, findings=list(faults(make, *(traces[role].get(once) for role in BOTH))))
        return
    answers = [traces[role].get(once).result or {} for role in BOTH]
    for outcome in (_written(make, job, case, answers), _left(make, case, answers)):
        if outcome.findings:  # else it would count as compared where no output is
            yield outcome
    unsteady: set[Role] = set()
    for kind in KINDS:
        name = f"{case}, {kind}"
        if kind == "row" and not _rows(job, case):
            yield Outcome(name=name, skipped=True, reason="the inputs of this case have no batch of several rows")
            continue
        alone = [trace.get(job.key("determinism", case, kind)).fault for trace in traces.values()]
        refused = [fault is not None and fault.kind == "raised" for fault in alone]
        if kind == "row" and all(refused):
            yield Outcome(name=name, skipped=True, reason=f"neither side takes a row alone: {alone[0]} / {alone[1]}")
            continue
        if kind == "strided" and refused[BOTH.index("reference")]:  # who takes more breaks nobody's code
            why = f"the reference takes no tensors of another layout: {alone[BOTH.index('reference')]}"
            yield Outcome(name=name, skipped=True, reason=why)
            continue
        if kind == "strided" and any(alone):
            given = (traces[role].get(job.key("determinism", case, kind)) for role in BOTH)
            yield Outcome(name=name, findings=list(faults(replace(make, group=name), *given)))
            continue
        sides = [role for role in BOTH if role not in unsteady]
        if not sides:
            yield Outcome(name=name, skipped=True, reason="neither side gives the same outputs twice")
            continue
        outcome, changed = _kind(job, case, kind, {role: traces[role] for role in sides}, traces["reference"])
        if kind == "twice":
            unsteady = changed
        yield outcome


def _written(make: Maker, job: Job, case: str, answers: Sequence[Mapping[str, Any]]) -> Outcome:
    """Whether a call leaves its caller's tensors as they were: one that does not gives other outputs the next time."""
    outcome = Outcome(name=f"{case}, inputs")
    make = replace(make, group=outcome.name)
    for name in job.scenes["determinism", case].case.inputs:
        subject = f"input:{name}"
        if make.ignored(subject):
            continue
        outcome.compared += 1
        sides = [role for role, answer in zip(BOTH, answers, strict=True) if name in answer.get("written", [])]
        if sides:
            verdict = Verdict.DIFFERENT if len(sides) == 1 else Verdict.NOTE
            side = sides[0] if len(sides) == 1 else "either side"
            outcome.findings.append(make.finding("input-written", subject, verdict, details={"side": side}))
    return outcome


def _left(make: Maker, case: str, answers: Sequence[Mapping[str, Any]]) -> Outcome:
    """Whether a call leaves the process as it was: what it sets there holds for all code that runs after it."""
    outcome = Outcome(name=f"{case}, process")
    make = replace(make, group=outcome.name)
    passes.left_changed(make, outcome, "process-changed", [answer.get("left", {}) for answer in answers], {})
    return outcome


def _made(job: Job, answers: Sequence[Mapping[str, Any]]) -> Outcome:
    """Whether importing a side and making a model leave the process as it was. What training code sets for itself, a
    candidate need not set."""
    outcome = Outcome(name=MAKING)
    make = Maker(job=job, check="determinism", group=MAKING)
    for stage, what in STAGES.items():
        sides = [answer.get(stage, {}) for answer in answers]
        passes.left_changed(make, outcome, "process-made", sides, {"what": what}, tolerated=("reference",))
    return outcome


def _kind(job: Job, case: str, kind: str, traces: Mapping[Role, Trace], reference: Trace) -> tuple[Outcome, set[Role]]:
    """One way to call again, of each side. Gives the sides whose outputs changed."""
    outcome = Outcome(name=f"{case}, {kind}")
    make = Maker(job=job, check="determinism", group=outcome.name)
    changes: dict[Role, _Change] = {}
    for role, trace in traces.items():
        try:
            limits = {} if kind == "twice" else _limits(job, case, reference)
            arrays = [_arrays(trace, job.key("determinism", case, which)) for which in ("once", kind)]
        except _NoAnswer as error:
            failed = {"side": role, "fault": str(error)}
            outcome.findings.append(make.finding("fault-run", case, Verdict.ERROR, details=failed))
            continue
        words = inverse(job.spec.mapping.outputs) if role == "candidate" else {}
        first, second = ({renamed(p, words): a for p, a in side.items()} for side in arrays)
        rows = _rows(job, case) if kind == "row" else None
        found = [c for p in first if not make.ignored(p) and (c := _change(p, first, second, rows, limits)) is not None]
        outcome.compared += len(found)
        bad = [c for c in found if c.past and c.tolerance.decides]
        if bad:
            changes[role] = max(bad, key=lambda c: (c.ratio, c.measured))
        unstable = [c for c in found if c.past and not c.tolerance.decides]
        if unstable:
            worst = max(unstable, key=lambda c: c.ratio)
            why = {"bad": str(len(unstable)), "count": str(len(found)), "why": worst.tolerance.reason}
            outcome.findings.append(make.finding("unstable", worst.path, Verdict.ERROR, details=why))
    if kind == "row" and not outcome.compared and not outcome.findings:
        outcome.skipped, outcome.reason = True, "no output has a row for each input"
    both = len(changes) == len(BOTH) and (
        kind != "twice" or _alike(job, case, traces)
    )  # then it is how this model works
    for role, change in changes.items():
        details: dict[str, Any] = {"side": role, "where": change.where}
        details |= {"first": change.first, "second": change.second}
        verdict = Verdict.NOTE if both else Verdict.DIFFERENT
        outcome.findings.append(
            make.finding(
                KINDS[kind],
                change.path,
                verdict,
                details=details,
                measured=change.measured,
                allowed=change.tolerance.allowed,
            )
        )
    return outcome, set(changes)


def _alike(job: Job, case: str, traces: Mapping[Role, Trace], kind: str = "twice") -> bool:
    """Whether a call of one side, such as the second, gives what that of the other does."""
    make = Maker(job=job, check="determinism", group=case)
    keys = [job.key("determinism", case, kind) for kind in (kind, "noise")]
    answers = [traces[role].get(keys[0]) for role in BOTH] + [traces["reference"].get(keys[1])]
    theirs = inverse(job.spec.mapping.outputs)
    left, right, moved = (passes.read(a, names) for a, names in zip(answers, (None, theirs, None), strict=True))
    found = passes.values(make, left, right, moved, job.scenes["determinism", case].case.arithmetic)
    return bool(found) and all(value.gap.alike and not value.past for value in found)


class _NoAnswer(Exception):
    """A call that has no outputs, and why."""


def _arrays(trace: Trace, key: str) -> Arrays:
    answer = trace.get(key)
    if answer.result is None:
        raise _NoAnswer(str(answer.fault))
    return answer.arrays


def _limits(job: Job, case: str, reference: Trace) -> dict[str, Tolerance]:
    """Allowed relative change of each output, in the reference's words."""
    plain, nudged = (_arrays(reference, job.key("determinism", case, which)) for which in ("once", "noise"))
    multiple, arithmetic = job.spec.tolerance.multiple, job.scenes["determinism", case].case.arithmetic
    found = {}
    for path, array in plain.items():
        if array.dtype.kind == "f" and array.size and path in nudged and nudged[path].shape == array.shape:
            found[path] = from_response(gap(array, nudged[path]).relative, multiple, arithmetic)
    return found


def _change(
    path: str, first: Arrays, second: Arrays, rows: int | None, limits: Mapping[str, Tolerance]
) -> _Change | None:
    """How far one output moved, or None where there is nothing to compare. rows: of the batch, of which the first one
    was run alone."""
    a, b = first[path], second.get(path)
    if rows is not None:
        if b is None or not a.shape or a.shape[0] != rows or b.shape != (1, *a.shape[1:]):
            return None  # an output without a row for each input
        a = a[:1]
    widest = max(limits.values(), key=lambda limit: limit.allowed, default=EXACT)
    tolerance = limits.get(path, widest) if a.dtype.kind == "f" else EXACT
    if b is None or b.shape != a.shape:
        nothing = float("nan")
        return _Change(path=path, where=[], first=nothing, second=nothing, measured=float("inf"), tolerance=tolerance)
    if not a.size:
        return None
    found = gap(a, b)
    return _Change(
        path=path,
        where=list(found.where),
        first=found.reference,
        second=found.candidate,
        measured=found.relative,
        tolerance=tolerance,
    )
