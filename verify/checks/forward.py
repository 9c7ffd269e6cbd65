"""forward: with the same weights in generic position and the same inputs, is every output the same?

Asked in float64 with exact arithmetic, so that a harmless rewrite differs by rounding alone. The allowed difference is
measured: a multiple of what the reference's own outputs do when its inputs and weights move by one ulp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from verify.checks.base import Job, Maker, Outcome, faults
from verify.compare import Gap, gap, same_scalar
from verify.mapping import inverse, renamed
from verify.report import Finding, Verdict
from verify.tolerance import Tolerance, from_response
from verify.trace import Answer, Ask, Trace

SUMMARY = "every output of every case, shared weights in generic position, float64"


RUNS_CASES = True


def plan(job: Job) -> list[Ask]:
    asks = []
    for name in job.cases("forward"):
        asks.append(job.ask("forward", "forward", name))
        asks.append(job.ask("forward", "forward", name, "noise", sides=("reference",), nudged=True))
    return asks


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    for name in job.cases("forward"):
        key = job.key("forward", name)
        r, c, noise = reference.get(key), candidate.get(key), reference.get(job.key("forward", name, "noise"))
        make = Maker(job=job, check="forward", group=name)
        if r.result is None or c.result is None:
            yield Outcome(name=name, findings=list(faults(make, r, c)))
            continue
        if noise.result is None:
            details = {"side": "reference (one-ulp noise)", "fault": noise.fault}
            yield Outcome(name=name, findings=[make.finding("fault-run", name, Verdict.ERROR, details=details)])
            continue
        yield _case(job, make, name, (r, c, noise))


def _case(job: Job, make: Maker, name: str, answers: tuple[Answer, Answer, Answer]) -> Outcome:
    outcome = Outcome(name=name)
    r, c = answers[0].result or {}, answers[1].result or {}
    theirs = inverse(job.spec.mapping.outputs)
    left, right = leaves(r, {}), leaves(c, theirs)
    arrays = [a.arrays for a in answers]
    arrays[1] = {renamed(path, theirs): array for path, array in arrays[1].items()}
    if not theirs:  # mapped outputs come in a container of their own
        outcome.findings += make.differences({"container": r.get("container")}, {"container": c.get("container")})
    outcome.findings += contract(make, left, right)
    values = [
        _value(
            job,
            path,
            (arrays[0][path], arrays[1][path], arrays[2].get(path)),
            job.scenes["forward", name].case.arithmetic,
        )
        for path in left
        if path in right and _comparable(path, left, right, arrays) and not make.ignored(path)
    ]
    outcome.compared = len(values) + sum(1 for p in left if p in right and left[p]["kind"] == "value")
    outcome.findings += _findings(make, outcome, values)
    if not values:
        outcome.compared = 0
        outcome.findings.append(make.finding("empty-output", name, Verdict.ERROR))
    return outcome


def leaves(result: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What is known of each output, by path in the reference's words."""
    return {renamed(str(o["path"]), names): {k: v for k, v in o.items() if k != "path"} for o in result["outputs"]}


def contract(make: Maker, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Finding]:
    """Which outputs there are, their shapes, dtypes and None-ness. A None that the other side leaves out is the same."""

    def described(leaf: Mapping[str, Any]) -> str:
        return f"{leaf['shape']} {leaf['dtype']}" if leaf["kind"] == "tensor" else repr(leaf.get("value"))

    for path in [*left, *(p for p in right if p not in left)]:
        a, b = left.get(path), right.get(path)
        if make.ignored(path) or not (present(a) or present(b)):
            continue
        if a is not None and b is not None and a["kind"] == b["kind"] == "value":
            same = same_scalar(a["value"], b["value"])
            if same and isinstance(a["value"], float) and not math.isfinite(a["value"]):  # says nothing about equality
                yield make.finding("not-finite", path, Verdict.ERROR, details={"side": "both sides"})
        else:
            same = a == b
        if same:
            continue
        shown = [described(x) if x is not None else "missing" for x in (a, b)]
        kind = "missing-in-candidate" if b is None else "missing-in-reference" if a is None else "value"
        details = {"what": path, "reference": shown[0], "candidate": shown[1]}
        yield make.finding(kind, path, details=details, measured=shown[1], allowed=shown[0])


def present(leaf: Mapping[str, Any] | None) -> bool:
    return leaf is not None and not (leaf["kind"] == "value" and leaf.get("value") is None)


def _comparable(path: str, left: Mapping[str, Any], right: Mapping[str, Any], arrays: list[Any]) -> bool:
    tensors = left[path]["kind"] == right[path]["kind"] == "tensor"
    present = tensors and path in arrays[0] and path in arrays[1]
    return present and arrays[0][path].shape == arrays[1][path].shape and arrays[0][path].size > 0


@dataclass(frozen=True, kw_only=True)
class _Value:
    path: str
    gap: Gap
    tolerance: Tolerance

    @property
    def ratio(self) -> float:
        return self.gap.relative / self.tolerance.allowed

    @property
    def past(self) -> bool:
        """Whether the difference is larger than is allowed."""
        return not self.gap.relative <= self.tolerance.allowed


def _value(
    job: Job, path: str, arrays: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None], arithmetic: str
) -> _Value:
    r, c, nudged = arrays
    response = gap(r, nudged).relative if nudged is not None and nudged.shape == r.shape else 0.0
    whole = r.dtype.kind not in "fc"
    tolerance = (
        Tolerance(allowed=0.0, reason="whole numbers are equal or not")
        if whole
        else from_response(response, job.spec.tolerance.multiple, arithmetic)
    )
    return _Value(path=path, gap=gap(r, c), tolerance=tolerance)


def _numbers(value: _Value) -> tuple[float, float, str]:
    return value.gap.relative, value.tolerance.allowed, value.tolerance.reason


def _findings(make: Maker, outcome: Outcome, values: list[_Value]) -> Iterator[Finding]:
    """One finding for all outputs that differ, about the worst; one for values that are not finite; one for outputs that
    differ and whose reference is too unstable to say by how much they may."""
    for value in values:
        if not value.gap.finite:
            both = value.gap.different == 0
            side = "both sides" if both else "one side"
            verdict = Verdict.ERROR if both else Verdict.DIFFERENT
            yield make.finding(
                "not-finite",
                value.path,
                verdict,
                details={"side": side},
                measured=value.gap.candidate,
                allowed=value.gap.reference,
            )
    finite = [v for v in values if v.gap.finite]
    unstable = [v for v in finite if v.past and not v.tolerance.decides]
    if unstable:
        worst = max(unstable, key=lambda v: v.ratio)
        details = {"bad": len(unstable), "count": len(values), "why": worst.tolerance.reason}
        outcome.measured, outcome.allowed, outcome.reason = _numbers(worst)
        yield make.finding("unstable", worst.path, Verdict.ERROR, details=details, measured=worst.gap.relative)
    decided = [v for v in finite if v.tolerance.decides or not v.past]
    if not decided:
        return
    top = max(decided, key=lambda v: v.ratio if v.tolerance.allowed else float(v.gap.different))
    bad = [v for v in decided if v.past]
    if bad or not unstable:
        outcome.measured, outcome.allowed, outcome.reason = _numbers(top)
    if bad:
        details = {
            "bad": len(bad),
            "count": len(values),
            "where": list(top.gap.where),
            "reference": top.gap.reference,
            "candidate": top.gap.candidate,
        }
        yield make.finding(
            "output-values", top.path, details=details, measured=top.gap.relative, allowed=top.tolerance.allowed
        )
