"""signature: is forward called with the same arguments, in the same order, with the same defaults?

And so are the public methods that both sides' own classes define, as far as a caller of the reference's would notice: what
a candidate's method takes beyond those arguments breaks nobody's code and is a note. So is a method that one side lacks,
since a helper computes nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.mapping import inverse
from verify.report import Finding, Verdict
from verify.trace import Ask, Trace

SUMMARY = "forward's arguments, their order, defaults and kinds; public methods"
RUNS_CASES = False

BY_PLACE = ("positional-only", "positional or keyword")
REST = {"variadic positional": "*", "variadic keyword": "**"}
"""Kinds of arguments that take what is left over; what they are called means nothing to a caller."""


def plan(job: Job) -> list[Ask]:
    return [Ask(key=job.key("signature"), op="signature", args={"values": job.values_of("signature")})]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    r, c = reference.get(job.key("signature")), candidate.get(job.key("signature"))
    if r.result is None or c.result is None:
        make = Maker(job=job, check="signature", group="construct")
        yield Outcome(name="construct", findings=list(faults(make, r, c)))
        return
    yield _forward(job, r.result, c.result)
    yield from _methods(job, r.result, c.result)


def accepted(job: Job, reference: Trace, candidate: Trace) -> frozenset[str]:
    """Arguments that forward takes by name on both sides, in the reference's words. One that a side takes in ** alone
    counts where the other side names it. Empty where a side did not answer."""
    sides = [t.get(job.key("signature")).result for t in (reference, candidate)]
    if sides[0] is None or sides[1] is None:
        return frozenset()
    words: tuple[Mapping[str, str], Mapping[str, str]] = ({}, inverse(job.spec.mapping.inputs))
    left, right = (set(_arguments(s["arguments"], w)) for s, w in zip(sides, words, strict=True) if s is not None)
    named = (left | right) - {*REST.values()}
    return frozenset(n for n in named if all(n in side or "**" in side for side in (left, right)))


def _arguments(arguments: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Arguments by name in the reference's words, with kind, default and place. One by keyword alone has no place."""
    return {
        REST.get(a["kind"], names.get(a["name"], a["name"])): {
            "kind": a["kind"],
            "default": a["default"],
            "position": position if a["kind"] in BY_PLACE else None,
        }
        for position, a in enumerate(arguments)
    }


def _forward(job: Job, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    places = {"reference": location(r["location"]), "candidate": location(c["location"])}
    make = Maker(job=job, check="signature", group="forward", **places)
    left, right = _arguments(r["arguments"], {}), _arguments(c["arguments"], inverse(job.spec.mapping.inputs))
    outcome = Outcome(name="forward", compared=make.counted([*left, *right]))
    outcome.findings += compared(make, left, right)
    if not left and not right:
        outcome.skipped, outcome.reason = True, "forward takes no argument on either side"
    return outcome


Arguments = Mapping[str, Mapping[str, Any]]


def compared(make: Maker, left: Arguments, right: Arguments) -> Iterator[Finding]:
    """Arguments by name, each with kind, default and position (None for one that has no place).

    One that a side lacks is one finding. Positions count among the arguments of both, so that it moves no other.
    """
    both = [name for name in left if name in right]
    ranks = [_ranks(side, {n for n in both if None not in (left[n]["position"], right[n]["position"])})
             for side in (left, right)]  # fmt: skip
    for name in [*left, *(n for n in right if n not in left)]:
        if name in both:
            ours, theirs = ({**s[name], "position": r.get(name)} for s, r in zip((left, right), ranks, strict=True))
            yield from make.differences(ours, theirs, prefix=name)
        elif not make.ignored(name):
            shown = {side: _shown(args.get(name)) for side, args in (("reference", left), ("candidate", right))}
            kind = "missing-in-candidate" if name in left else "missing-in-reference"
            yield make.finding(kind, name, details=shown, measured=shown["candidate"], allowed=shown["reference"])


def _ranks(side: Arguments, names: set[str]) -> dict[str, int]:
    """The places of these arguments among themselves."""
    return {name: rank for rank, name in enumerate(sorted(names, key=lambda n: int(side[n]["position"])))}


def _shown(argument: Mapping[str, Any] | None) -> str:
    if argument is None:
        return "missing"
    default = argument["default"]
    if argument.get("required", default == "required"):
        return f"{argument['kind']}, required"
    return f"{argument['kind']}, default {default if isinstance(default, str) else repr(default)}"


def _methods(job: Job, r: Mapping[str, Any], c: Mapping[str, Any]) -> Iterator[Outcome]:
    """Public methods of the project's own classes: which there are, and how those of both sides are called."""
    left, right = ({m["name"]: m for m in side["methods"]} for side in (r, c))
    make = Maker(job=job, check="signature", group="methods")
    outcome = Outcome(name="methods", compared=make.counted([*left, *right]))
    for name in sorted(left.keys() ^ right.keys()):
        side = "reference" if name in left else "candidate"
        if not make.ignored(name):
            outcome.findings.append(make.finding("method-one-side", name, Verdict.NOTE, details={"side": side}))
    for name in sorted(left.keys() & right.keys() - {"forward"}):
        if not make.ignored(name):
            outcome.findings += _method(job, name, left[name], right[name])
    if not left and not right:
        outcome.skipped, outcome.reason = True, "neither side defines a public method of its own"
    yield outcome


def _method(job: Job, name: str, r: Mapping[str, Any], c: Mapping[str, Any]) -> Iterator[Finding]:
    """One public method of both sides: what it is, and its arguments by their own names."""
    places = {"reference": location(r["location"]), "candidate": location(c["location"])}
    make = Maker(job=job, check="signature", group="methods", **places)
    for finding in make.differences({"kind": r["kind"]}, {"kind": c["kind"]}, prefix=name):
        yield finding if _narrower(r["kind"], c["kind"]) else _note(finding)
    if r["arguments"] is None or c["arguments"] is None:
        return
    left, right = ({f"{name}.{n}": a for n, a in _arguments(side["arguments"], {}).items()} for side in (r, c))
    rest = {f"{name}.{star}" for star in REST.values()}
    takes_any = rest <= right.keys()
    for finding in compared(make, left, right):
        beyond = finding.kind == "missing-in-reference" and right[finding.subject]["default"] != "required"
        taken = finding.kind == "missing-in-candidate" and takes_any
        # what takes the rest does not say what it takes
        yield _note(finding) if beyond or taken or finding.subject in rest else finding


def _narrower(reference: str, candidate: str) -> bool:
    """Whether code that uses what the reference has breaks with what the candidate has of this name. On a model every
    kind of method is called alike; on the class only some are."""
    properties = ["property" in kind for kind in (reference, candidate)]
    if properties[0] != properties[1]:
        return True
    return candidate in ("method", "property") and reference != candidate


def _note(finding: Finding) -> Finding:
    return finding.model_copy(update={"verdict": Verdict.NOTE})
