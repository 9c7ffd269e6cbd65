"""gradients: is every gradient the same, of every output, by every parameter and input, checkpointed or not, and in eval mode?

Asked in float64 with shared weights, in train mode with the same random draws on both sides. A detach, a no_grad or a
stop in the wrong place changes no output and trains another model. Where the sides cannot be
given the same masks, gradients are those of passes that drop nothing. Gradients are compared by fingerprints (norm and
eight random projections), so that memory stays small. The allowed difference is a multiple of the reference's own
response to one-ulp noise. Both are relative to the largest gradient of the same output: one that is zero but for
rounding, such as that of a key bias under softmax, may be exactly zero on the other side.

The first case is asked once more in eval mode, in which a frozen part of a larger model, an attack or a saliency map takes
gradients: a detach that only shows there changes nothing else. And checkpointing that changes no gradient may do nothing
at all: where the reference then computes anything again in the backward pass, the candidate does too.

Each parameter and input is also shown to move an output: by its gradient, or where it has none (a whole number, a frozen
or detached parameter) by trying another value of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify import mapping
from verify.checks import structure, training
from verify.checks.base import Job, Maker, Outcome, faults, unanswered
from verify.mapping import inverse, to_wire
from verify.report import Finding, Verdict
from verify.tolerance import EPS, Tolerance, from_response
from verify.trace import BOTH, Answer, Ask, Role, Trace

SUMMARY = "gradients of every output by every parameter and input, float64, with and without checkpointing"
RUNS_CASES = True

CHECK = "gradients"
REDRAWS = True
KINDS: dict[str, tuple[Role, ...]] = {
    "plain": ("reference", "candidate"),
    "checkpointed": ("reference", "candidate"),
    "noise": ("reference",),
}
EVAL: dict[str, tuple[Role, ...]] = {"eval": ("reference", "candidate"), "eval-noise": ("reference",)}
"""Further passes of the first case."""
FINGERPRINT = 9
RECOMPUTED = "gradient_checkpointing_enable"
"""What findings about checkpointing that is not offered, or does nothing, are about."""
Gradients = Mapping[str, list[float] | None]
"""Fingerprints by name, [norm, eight projections]; None where a name is not connected."""
Moving = dict[str, dict[Role, bool | None]]
"""By name and side whether it moves an output; None where that is not known."""


def plan(job: Job) -> list[Ask]:
    asks = structure.plan(job)
    words = to_wire(inverse(job.spec.mapping.outputs))
    for name in job.cases(CHECK):
        for kind, sides in KINDS.items():
            nudged, again = kind == "noise", kind == "checkpointed"
            more: dict[str, Any] = {"nudged": nudged, "checkpointing": again, "words": words}
            redrawn = job.scenes[CHECK, name].redrawn
            if kind == "plain" and redrawn is not None:
                more["redrawn"] = str(redrawn)
            asks.append(job.ask("gradients", CHECK, name, kind, sides=sides, **more))
    for name in job.cases(CHECK)[:1]:
        for kind, sides in EVAL.items():
            more = {"nudged": kind == "eval-noise", "checkpointing": False, "words": words, "evaluated": True}
            asks.append(job.ask("gradients", CHECK, name, kind, sides=sides, **more))
    return asks


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    moving: Moving = {}
    zero: set[str] = set()
    judged = False
    for name in job.cases(CHECK):
        keys = {kind: job.key(CHECK, name, kind) for kind in KINDS}
        plain = (reference.get(keys["plain"]), candidate.get(keys["plain"]))
        noise = reference.get(keys["noise"])
        masks = training.other_masks(*plain)
        outcome = _plain(_Comparison(job, name, (reference, candidate)), plain, noise, even=bool(masks))
        judged |= bool(outcome.compared)
        if all(answer.result is not None for answer in plain):
            _note(job, moving, plain)
            outcome.findings += _zero(Maker(job=job, check=CHECK, group=name), plain, zero)
        yield outcome
        again = (reference.get(keys["checkpointed"]), candidate.get(keys["checkpointed"]))
        checkpointed = _checkpointed(
            _Comparison(job, f"{name} checkpointed", (reference, candidate)), again, plain, noise
        )
        if name == job.cases(CHECK)[0]:  # one case shows it
            checkpointed.findings += _recomputed(
                checkpointed, Maker(job=job, check=CHECK, group=checkpointed.name), again, plain
            )
        yield checkpointed
        if masks:
            yield Outcome(name=f"{name} masks", skipped=True, reason=masks)
        if name == job.cases(CHECK)[0] and outcome.verdict not in (Verdict.DIFFERENT, Verdict.ERROR):
            yield _evaluated(job, name, reference, candidate)  # else it says the same once more
    if job.cases(CHECK):
        yield _matter(job, moving, judged)


class _Comparison:
    """Gradients of one group: what is common to all its fields."""

    def __init__(self, job: Job, group: str, traces: tuple[Trace, Trace]) -> None:
        self.make = Maker(job=job, check=CHECK, group=group)
        self.outcome = Outcome(name=group)
        self._top: _Gap | None = None
        self._models = [trace.get(job.key("structure")).result or {} for trace in traces]
        self._words = mapping.resolve(job.spec.mapping, *map(structure.shapes, self._models))

    def field(self, left: Gradients, right: Gradients, moved: Gradients, still: Gradients | None = None) -> list[_Gap]:
        """Every gradient of one output. Notes the one that is nearest to its limit, or furthest past it.

        moved, still: the reference's with noise and without; still is `left` unless given.
        """
        gaps = []
        largest = _largest(left)
        still = left if still is None else still
        for name in sorted(left.keys() | right.keys()):
            if self.make.ignored(name):
                continue
            self.outcome.compared += 1
            response = _response(still.get(name), moved.get(name), _largest(still))
            gaps.append(_gap(self.make.job, name, (left.get(name), right.get(name)), response, largest))
            if self._top is None or (gaps[-1].bad, gaps[-1].ratio) > (self._top.bad, self._top.ratio):
                self._top = top = gaps[-1]
                self.outcome.measured, self.outcome.allowed = top.measured, top.tolerance.allowed
                self.outcome.reason = top.tolerance.reason
        return gaps

    def unstable(self, gaps: list[_Gap], field: str) -> None:
        """One error for gradients that differ and whose reference is too unstable to say by how much they may."""
        lost = [g for g in gaps if g.past and not g.tolerance.decides]
        if lost:
            why = lost[0].tolerance.reason
            details = {"bad": len(lost), "count": len(gaps), "why": why}
            self.outcome.findings.append(self.make.finding("unstable", field, Verdict.ERROR, details=details))

    def found(self, kind: str, gap: _Gap, **details: object) -> None:
        """A finding about one gradient, placed at the module that holds its parameter."""
        finding = self.make.finding(
            kind, gap.name, details=details, measured=gap.measured, allowed=gap.tolerance.allowed
        )
        names = (gap.name, self._words.candidate(gap.name))
        places = [structure.owner(model, name) for model, name in zip(self._models, names, strict=True)]
        self.outcome.findings.append(finding.model_copy(update={"reference": places[0], "candidate": places[1]}))


@dataclass(frozen=True, kw_only=True)
class _Gap:
    """How far one gradient lies from another, relative to the largest. lacking: the side that has none of it."""

    name: str
    measured: float
    tolerance: Tolerance
    lacking: str = ""

    @property
    def ratio(self) -> float:
        return self.measured / self.tolerance.allowed

    @property
    def past(self) -> bool:
        return not self.measured <= self.tolerance.allowed

    @property
    def bad(self) -> bool:
        """Past what is allowed, and the reference is stable enough to say so."""
        return self.past and self.tolerance.decides


def _largest(grads: Gradients) -> float:
    """The norm of an output's largest gradient."""
    return max((g[0] for g in grads.values() if g), default=0.0)


def _array(grad: list[float] | None) -> NDArray[np.float64]:
    """A fingerprint. One that is not connected counts as zero."""
    return np.array(grad or [0.0] * FINGERPRINT, dtype=np.float64)


def _response(still: list[float] | None, moved: list[float] | None, largest: float) -> float:
    """What noise does to a gradient of the reference."""
    return 0.0 if moved is None else _relative(_array(still) - _array(moved), largest)


def _gap(
    job: Job, name: str, grads: tuple[list[float] | None, list[float] | None], response: float, largest: float
) -> _Gap:
    """The distance of two fingerprints."""
    a, b = map(_array, grads)
    tolerance = from_response(response, job.spec.tolerance.multiple, "fp64")
    lacking = "reference" if grads[0] is None else "candidate" if grads[1] is None else ""
    return _Gap(name=name, measured=_relative(a - b, largest), tolerance=tolerance, lacking=lacking)


def _relative(difference: NDArray[np.float64], largest: float) -> float:
    """The largest part of a difference; infinite where it is not finite, or where there is nothing to relate it to."""
    apart = float(np.max(np.abs(difference)))
    if apart == 0:
        return 0.0
    return apart / largest if math.isfinite(apart) and 0 < largest < math.inf else math.inf


def _fields(answer: Answer, *, even: bool = False) -> Mapping[str, Gradients]:
    """Gradients by output field. even: of the pass that drops nothing."""
    fields: Mapping[str, Gradients] = (answer.result or {}).get("even" if even else "fields") or {}
    return fields


def _plain(
    comparison: _Comparison,
    pair: tuple[Answer, Answer],
    noise: Answer,
    *,
    even: bool,
) -> Outcome:
    make, outcome = comparison.make, comparison.outcome
    outcome.findings += unanswered(make, *pair, noise)
    if outcome.findings:
        return outcome
    left, right = (_fields(answer, even=even) for answer in pair)
    moved = _fields(noise, even=even)
    for field in sorted(left.keys() | right.keys()):
        if make.ignored(field):
            continue
        if field not in left or field not in right:
            details = {"field": field, "side": "candidate" if field in left else "reference"}
            outcome.findings.append(make.finding("gradient-field", field, details=details))
            continue
        if _still(left[field], right[field]):
            continue
        gaps = comparison.field(left[field], right[field], moved.get(field, {}))
        comparison.unstable(gaps, field)
        bad = [g for g in gaps if g.bad]
        for gap in (g for g in bad if g.lacking):
            comparison.found("gradient-none", gap, field=field, side=gap.lacking)
        if values := [g for g in bad if not g.lacking]:
            worst = max(values, key=lambda g: g.ratio)
            comparison.found("gradient-values", worst, bad=len(values), count=len(left[field]), field=field)
    _skip_still(make, outcome, left, right)
    return outcome


def _checkpointed(
    comparison: _Comparison, pair: tuple[Answer, Answer], plain: tuple[Answer, Answer], noise: Answer
) -> Outcome:
    """Each side with checkpointing against the reference without. Skipped where neither side offers it.

    Where the sides cannot be given the same masks, each against itself without: `_plain` has compared them with each other.
    """
    make, outcome = comparison.make, comparison.outcome
    sides = dict(zip(("reference", "candidate"), pair, strict=True))
    lacking = [side for side, answer in sides.items() if answer.fault and answer.fault.kind == "setup"]
    if len(lacking) == 2:
        outcome.skipped, outcome.reason = True, f"neither side offers it: {pair[1].fault}"
        return outcome
    if lacking:
        details = {"side": lacking[0], "fault": sides[lacking[0]].fault}
        outcome.findings.append(make.finding("fault-one", RECOMPUTED, details=details))
        return outcome
    if pair[0].result is None or pair[1].result is None:
        outcome.findings += faults(make, *pair)
        return outcome
    if plain[0].result is None or noise.result is None:
        outcome.skipped, outcome.reason = True, "there are no gradients without checkpointing to compare with"
        return outcome
    still, moved = (_fields(answer) for answer in (plain[0], noise))
    masks = training.other_masks(*plain)
    for side, answer in sides.items():
        found = _fields(answer)
        right = _fields(plain[1]) if masks and side == "candidate" else still
        for field in sorted(right.keys() | found.keys()):
            if make.ignored(field):
                continue
            if field not in found or field not in right:
                details = {"field": field, "side": side}
                outcome.findings.append(make.finding("checkpointing-field", field, details=details))
                continue
            grads = found[field]
            if _still(grads, right[field]):
                continue
            gaps = comparison.field(right[field], grads, moved.get(field, {}), still.get(field, {}))
            comparison.unstable(gaps, field)
            if bad := [g for g in gaps if g.bad]:
                worst = max(bad, key=lambda g: g.ratio)
                comparison.found("checkpointing", worst, bad=len(bad), count=len(grads), field=field, side=side)
    _skip_still(make, outcome, *map(_fields, pair))
    return outcome


def _recomputed(
    outcome: Outcome, make: Maker, pair: tuple[Answer, Answer], plain: tuple[Answer, Answer]
) -> Iterator[Finding]:
    """Whether checkpointing does anything: no gradient shows that it saves no memory.

    A side that computes something again whether it is asked to or not, as one with checkpoints of its own, does what it is asked.
    """
    if outcome.skipped or any(answer.result is None for answer in (*pair, *plain)):
        return
    again, without = ([(answer.result or {}).get("recomputed", 0) for answer in answers] for answers in (pair, plain))
    for side, other in ((1, 0), (0, 1)):
        if again[side] == 0 and again[other] > without[other] and not make.ignored(RECOMPUTED):
            verdict = Verdict.DIFFERENT if BOTH[side] == "candidate" else Verdict.NOTE
            yield make.finding(
                "not-recomputed", RECOMPUTED, verdict, details={"side": BOTH[side], "other": BOTH[other]}
            )


def _evaluated(job: Job, case: str, reference: Trace, candidate: Trace) -> Outcome:
    """Gradients in eval mode. Skipped where neither side can have them there."""
    comparison = _Comparison(job, f"{case} eval", (reference, candidate))
    pair = (reference.get(job.key(CHECK, case, "eval")), candidate.get(job.key(CHECK, case, "eval")))
    noise = reference.get(job.key(CHECK, case, "eval-noise"))
    if pair[0].fault and pair[1].fault and pair[0].fault.kind == pair[1].fault.kind == "raised":
        outcome = comparison.outcome
        outcome.skipped, outcome.reason = True, f"neither side has gradients in eval mode: {pair[1].fault}"
        return outcome
    return _plain(comparison, pair, noise, even=bool(training.other_masks(*pair)))


def _still(left: Gradients, right: Gradients) -> bool:
    """Whether every gradient of one output is zero or not connected, on both sides: what it proves is nothing."""
    return not any(grad and grad[0] != 0 for grads in (left, right) for grad in grads.values())


def _skip_still(make: Maker, outcome: Outcome, left: Mapping[str, Gradients], right: Mapping[str, Gradients]) -> None:
    """Says why nothing was compared where that is not the spec's doing."""
    if outcome.compared or outcome.findings:
        return
    if not left and not right:
        outcome.skipped, outcome.reason = True, "no output of either side that has elements has a gradient"
        return
    kept = (grads for side in (left, right) for field, grads in side.items() if not make.ignored(field))
    if not all(make.ignored(name) for grads in kept for name in grads):
        outcome.skipped, outcome.reason = True, "every gradient of both sides is zero"


def _zero(make: Maker, pair: tuple[Answer, Answer], told: set[str]) -> Iterator[Finding]:
    """Notes for what no output is connected to on one side, and has a gradient of zeros on the other. Not a difference:
    no output shows it, and a parameter that is cut out of a larger one has zeros where one of its own has none."""
    left, right = (_connected(answer) for answer in pair)
    for name in sorted(left.keys() & right.keys() - told):
        without = [left[name] is None, right[name] is None]
        if without[0] != without[1] and not left[name] and not right[name] and not make.ignored(name):
            told.add(name)
            side, other = BOTH if without[0] else BOTH[::-1]
            yield make.finding("gradient-zero", name, Verdict.NOTE, details={"side": side, "other": other})


def _connected(answer: Answer) -> dict[str, float | None]:
    """The norm of the largest gradient over all outputs by name; None where no output is connected."""
    found: dict[str, float | None] = {}
    for grads in _fields(answer).values():
        for name, grad in grads.items():
            norms = [norm for norm in (found.get(name), grad[0] if grad else None) if norm is not None]
            found[name] = max(norms, default=None)
    return found


def _note(job: Job, moving: Moving, pair: tuple[Answer, Answer]) -> None:
    """Remembers which parameters and inputs move an output of each side: by more than rounding, or when they were tried."""
    left = _fields(pair[0])
    for side, answer in zip(BOTH, pair, strict=True):
        found: dict[str, bool | None] = {}
        for field, grads in _fields(answer).items():
            least = job.spec.tolerance.multiple * EPS["fp64"] * _largest(left.get(field, grads))
            for name, grad in grads.items():
                found[name] = found.get(name, False) or (grad is not None and not grad[0] <= least)
        for name, trial in (answer.result or {}).get("tried", {}).items():
            found[name] = trial if trial is not None else found.get(name) or None
        for name, moves in found.items():
            sides = moving.setdefault(name, {})
            known = (sides.get(side, False), moves)
            sides[side] = True if True in known else None if None in known else False


def _matter(job: Job, moving: Moving, judged: bool) -> Outcome:
    """Each parameter and input moves some output of some case. One that moves none on both sides is a note: no pass
    of these cases has compared it, and it does not count. judged: whether any gradient was compared."""
    make = Maker(job=job, check=CHECK, group="matter")
    outcome = Outcome(name="matter")
    unknown = []
    for name, sides in sorted(moving.items()):
        if make.ignored(name) or len(sides) < len(BOTH):  # what one side alone has is told by `structure`
            continue
        if None in sides.values():
            unknown.append(name)
            continue
        still = [side for side in BOTH if not sides[side]]
        outcome.compared += len(still) < len(BOTH)
        if still:
            both = len(still) == len(BOTH)
            details = {"side": "either side" if both else f"the {still[0]}"}
            verdict = Verdict.NOTE if both else Verdict.DIFFERENT
            outcome.findings.append(make.finding("no-effect", name, verdict, details=details))
    if unknown:
        outcome.findings.append(make.finding("not-tried", unknown[0], Verdict.NOTE, details={"count": len(unknown)}))
    serious = any(f.verdict != Verdict.NOTE for f in outcome.findings)
    if not judged and not serious and not any(map(make.ignored, moving)):
        outcome.skipped, outcome.reason = True, "no gradient was compared"
    return outcome
