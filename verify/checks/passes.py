"""Two passes of one case against each other: which outputs came out, and whether their values agree.

The allowed difference is measured: a multiple of what the reference's own outputs do when its inputs and weights move
by one ulp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.checks.base import Job, Maker, Outcome
from verify.compare import Gap, gap, same_scalar
from verify.mapping import renamed
from verify.report import Finding, Verdict
from verify.tolerance import Tolerance, from_response
from verify.trace import BOTH, Answer, Ask, Role, Trace

Three = tuple[Answer, Answer, Answer]
"""The reference's and the candidate's answer, and the reference's when its inputs and weights move by one ulp."""

STATE = "other state"
"""Of the group, and of the asks, of a pass with other values in saved flags and counters."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run of a model. leaves: what is known of each output, by path in the reference's words; values: the tensors
    among them, float64 or int64, and Python's floats, which are rounded as tensors are."""

    container: str
    leaves: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, NDArray[Any]]

    def section(self, name: str) -> Pass:
        """Of an answer that holds several passes, the one whose paths begin with `name` and a slash."""
        start = f"{name}/"
        return Pass(
            container=self.container,
            leaves={p.removeprefix(start): leaf for p, leaf in self.leaves.items() if p.startswith(start)},
            values={p.removeprefix(start): value for p, value in self.values.items() if p.startswith(start)},
        )


def read(answer: Answer, names: Mapping[str, str] | None = None, *, sections: bool = False) -> Pass:
    """A side's answer.

    names: rules from its own output paths to the reference's. sections: each path begins with a section and a slash.
    """
    result = answer.result or {}

    def known(path: str) -> str:
        section, slash, own = path.partition("/") if sections else ("", "", path)
        return section + slash + renamed(own, names or {})

    leaves = _leaves(result, known)
    floats = {path: np.array(leaf["value"]) for path, leaf in leaves.items() if _float(leaf)}
    return Pass(
        container=str(result.get("container", "")),
        leaves=leaves,
        values={known(path): array for path, array in answer.arrays.items()} | floats,
    )


def outputs(result: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What is known of each output, by path in the reference's words."""
    return _leaves(result, lambda path: renamed(path, names))


def _leaves(result: Mapping[str, Any], known: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    return {known(o["path"]): {k: v for k, v in o.items() if k != "path"} for o in result.get("outputs", [])}


@dataclass(frozen=True, kw_only=True)
class Value:
    """One output that both passes have: how far apart, how far it may be."""

    path: str
    gap: Gap
    tolerance: Tolerance

    @property
    def ratio(self) -> float:
        """Of the difference to what is allowed; above 1 it is too much."""
        if self.tolerance.allowed:
            return self.gap.relative / self.tolerance.allowed
        return math.inf if self.gap.different else 0.0

    @property
    def past(self) -> bool:
        """Further apart than is allowed, in what is finite."""
        return self.gap.alike and not self.gap.relative <= self.tolerance.allowed

    @property
    def bad(self) -> bool:
        """Past what is allowed, and the reference is stable enough to say so."""
        return self.past and self.tolerance.decides


def values(make: Maker, left: Pass, right: Pass, noise: Pass, arithmetic: str) -> list[Value]:
    """Every tensor of both passes whose shapes agree and that holds something, and every float."""
    return [
        _value(path, left.values[path], right.values[path], noise.values.get(path), make, arithmetic)
        for path in left.leaves
        if path in right.leaves and _comparable(path, left, right) and not make.ignored(path)
    ]


def compared(make: Maker, left: Pass, right: Pass, noise: Pass, arithmetic: str, *, mapped: bool = False) -> Outcome:
    """The candidate's pass against the reference's. mapped: outputs are renamed, so the container is not compared."""
    outcome = Outcome(name=make.group)
    if not mapped:
        outcome.findings += make.differences({"container": left.container}, {"container": right.container})
    outcome.findings += contract(make, left.leaves, right.leaves)
    found = values(make, left, right, noise, arithmetic)
    others = left.leaves.keys() & right.leaves.keys() - {v.path for v in found}
    outcome.compared = len(found) + sum(1 for p in others if left.leaves[p]["kind"] == "value")
    outcome.findings += _findings(make, found)
    top = worst(found)
    if top is not None:
        outcome.measured, outcome.allowed = top.gap.relative, top.tolerance.allowed
        outcome.reason = top.tolerance.reason
    if not proves(left, found):
        outcome.compared = 0
        outcome.findings += _nothing(make, left, right, outcome.findings)
    return outcome


def proves(side: Pass, found: Sequence[Value]) -> bool:
    """Whether any of the compared outputs is a tensor: a plain number is what it is, whatever is given."""
    return any(side.leaves[value.path]["kind"] == "tensor" for value in found)


def _nothing(make: Maker, left: Pass, right: Pass, told: list[Finding]) -> Iterator[Finding]:
    """Why no tensor of two passes is compared. None where differences say it already: of shape, or of what came out."""
    tensors = {
        p: leaf["shape"] for side in (left, right) for p, leaf in side.leaves.items() if leaf["kind"] == "tensor"
    }
    kept = {path: shape for path, shape in tensors.items() if not make.ignored(path)}
    if tensors and not kept:
        yield make.finding("ignored-output", make.group, Verdict.ERROR, details={"outputs": ", ".join(tensors)})
    elif any(f.verdict != Verdict.NOTE for f in told):
        return
    elif kept and not any(map(math.prod, kept.values())):
        shown = ", ".join(f"{path} {shape}" for path, shape in kept.items())
        yield make.finding("no-elements", make.group, Verdict.ERROR, details={"outputs": shown})
    else:
        yield make.finding("empty-output", make.group, Verdict.ERROR)


def worst(found: list[Value]) -> Value | None:
    """The value that is nearest to its limit or furthest past it; one that decides, where any does."""
    alike = [v for v in found if v.gap.alike]
    return max(alike, key=lambda v: (v.bad, v.past, v.ratio), default=None)


def contract(make: Maker, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Finding]:
    """Which outputs there are, their shapes, dtypes and None-ness. A None that the other side leaves out is the same. How
    far two floats lie apart is for `values` to say, as of tensors."""

    def described(leaf: Mapping[str, Any]) -> str:
        if leaf["kind"] != "tensor":
            return repr(leaf.get("value"))
        return " ".join(filter(None, (str(leaf["shape"]), leaf["dtype"], leaf.get("class"))))

    for path in [*left, *(p for p in right if p not in left)]:
        a, b = left.get(path), right.get(path)
        if make.ignored(path) or not (present(a) or present(b)):
            continue
        if a == b and opaque(a):
            details = {"class_name": a["value"]} if a else {}
            yield make.finding("not-comparable", path, Verdict.NOTE, details=details)
            continue
        if a is not None and b is not None and a["kind"] == b["kind"] == "value":
            same = (_float(a) and _float(b)) or same_scalar(a["value"], b["value"])
        else:
            same = a == b
        if same:
            continue
        shown = [described(x) if x is not None else "missing" for x in (a, b)]
        kind = "missing-in-candidate" if b is None else "missing-in-reference" if a is None else "value"
        details = {"what": path, "reference": shown[0], "candidate": shown[1]}
        yield make.finding(kind, path, details=details, measured=shown[1], allowed=shown[0])


def left_changed(
    make: Maker,
    outcome: Outcome,
    kind: str,
    sides: Sequence[Mapping[str, str]],
    details: Mapping[str, Any],
    tolerated: Sequence[Role] = (),
) -> None:
    """Notes what sides left changed of the process, or of their configuration: a difference where only one did, and it is
    none of those that may.

    sides: "before -> after" by what was changed.
    """
    for subject in sorted({*sides[0], *sides[1]}):
        if make.ignored(subject):
            continue
        outcome.compared += 1
        found = [role for role, side in zip(BOTH, sides, strict=True) if subject in side]
        verdict = Verdict.DIFFERENT if len(found) == 1 and found[0] not in tolerated else Verdict.NOTE
        change = next(side[subject] for side in sides if subject in side)
        told = {**details, "side": found[0] if len(found) == 1 else "either side", "change": change}
        outcome.findings.append(make.finding(kind, subject, verdict, details=told))


def present(leaf: Mapping[str, Any] | None) -> bool:
    return leaf is not None and not (leaf["kind"] == "value" and leaf.get("value") is None)


def _float(leaf: Mapping[str, Any]) -> bool:
    return leaf["kind"] == "value" and isinstance(leaf.get("value"), float)


def opaque(leaf: Mapping[str, Any] | None) -> bool:
    """Whether an output is of a class of which no more than the name is known."""
    return leaf is not None and leaf["kind"] == "other"


def _comparable(path: str, left: Pass, right: Pass) -> bool:
    alike = left.leaves[path]["kind"] == right.leaves[path]["kind"]
    present = alike and path in left.values and path in right.values
    return present and left.values[path].shape == right.values[path].shape and left.values[path].size > 0


def _value(
    path: str, r: NDArray[Any], c: NDArray[Any], nudged: NDArray[Any] | None, make: Maker, arithmetic: str
) -> Value:
    response = gap(r, nudged).relative if nudged is not None and nudged.shape == r.shape else 0.0
    whole = r.dtype.kind not in "fc"
    tolerance = (
        Tolerance(allowed=0.0, reason="whole numbers are equal or not")
        if whole
        else from_response(response, make.job.spec.tolerance.multiple, arithmetic)
    )
    return Value(path=path, gap=gap(r, c), tolerance=tolerance)


def _findings(make: Maker, found: list[Value]) -> Iterator[Finding]:
    """One finding for all outputs that differ, about the worst; one for values that are not finite, but for infinities
    that both sides have at the same places, as masked logits are; one for outputs that differ and whose reference is too
    unstable to say by how much they may."""
    for value in found:
        if not value.gap.finite:
            both = value.gap.alike
            yield make.finding(
                "not-finite",
                value.path,
                Verdict.ERROR if both else Verdict.DIFFERENT,
                details={"side": "both sides" if both else "one side", "where": list(value.gap.where)},
                measured=repr(value.gap.candidate),  # what stands there, as text: no relative difference
                allowed=repr(value.gap.reference),
            )
    unstable = [v for v in found if v.past and not v.tolerance.decides]
    if unstable:
        top = max(unstable, key=lambda v: v.ratio)
        details: dict[str, Any] = {"bad": len(unstable), "count": len(found), "why": top.tolerance.reason}
        yield make.finding("unstable", top.path, Verdict.ERROR, details=details, measured=top.gap.relative)
    bad = [v for v in found if v.bad]
    if bad:
        top = max(bad, key=lambda v: v.ratio)
        details = {
            "bad": len(bad),
            "count": len(found),
            "where": list(top.gap.where),
            "reference": top.gap.reference,
            "candidate": top.gap.candidate,
        }
        yield make.finding(
            "output-values", top.path, details=details, measured=top.gap.relative, allowed=top.tolerance.allowed
        )


def state_asks(job: Job, check: str) -> list[Ask]:
    """The first case of a check once more, with other values in saved flags and counters than a fresh model has."""
    asks = []
    for case in job.cases(check)[:1]:
        asks.append(job.ask(check, check, case, STATE, advanced=True))
        asks.append(job.ask(check, check, case, f"{STATE} noise", sides=("reference",), advanced=True, nudged=True))
    return asks


def of_state(
    job: Job, check: str, reference: Trace, candidate: Trace, judge: Callable[[Maker, str, Three], Outcome]
) -> Iterator[Outcome]:
    """What the answers to `state_asks` show; nothing where neither side has such buffers. judge: as without them."""
    for case in job.cases(check)[:1]:
        keys = [job.key(check, case, kind) for kind in (STATE, f"{STATE} noise")]
        answers = reference.get(keys[0]), candidate.get(keys[0]), reference.get(keys[1])
        names = [(answer.result or {}).get("advanced") for answer in answers]
        asked = any(answer.fault is None or answer.fault.kind != "not-run" for answer in answers)
        if asked and (any(names) or any(answer.fault for answer in answers)):
            make = Maker(job=job, check=check, group=f"{case} {STATE}")
            fault = next((answer.fault for answer in answers if answer.fault), None)
            yield _of_state(make, names, fault) or _told_of_state(judge(make, case, answers), make, names[0] or [])


def _of_state(make: Maker, names: list[Any], fault: Any) -> Outcome | None:
    """Why a pass with other flags and counters is not compared, if it is not."""
    if fault is not None:
        reason = (
            f"with other values in saved flags and counters not every pass runs, as where they are indices: {fault}"
        )
    elif names[0] != names[1]:
        told = [", ".join(side) or "none" for side in names[:2]]
        reason = f"saved flags and counters are not the same: {told[0]} in the reference, {told[1]} in the candidate"
    else:
        return None
    return Outcome(name=make.group, skipped=True, reason=reason)


def _told_of_state(outcome: Outcome, make: Maker, names: list[str]) -> Outcome:
    """What such a pass decides. What it leaves open proves nothing: the values may be none that a model can have."""
    told = ", ".join(names)
    serious = [f for f in outcome.findings if f.verdict != Verdict.NOTE]
    outcome.findings = [f for f in serious if f.verdict == Verdict.DIFFERENT]
    if serious and not outcome.findings:
        reason = f"with other values in {told} outputs cannot be judged: {serious[0].message}"
        return Outcome(name=make.group, skipped=True, reason=reason)
    outcome.findings = [
        make.finding(
            "state-values", f.subject, details={**f.details, "buffers": told}, measured=f.measured, allowed=f.allowed
        )
        if f.kind == "output-values"
        else f
        for f in outcome.findings
    ]
    return outcome
