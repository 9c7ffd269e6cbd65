"""configuration: do both configuration classes hold the same values, however they are made?

And does a model leave the one that it is given as it was? A model that writes there saves another configuration than the
one that it was made of, and changes what its caller makes of it next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify.checks import signature
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.compare import leaves
from verify.mapping import inverse
from verify.report import Verdict
from verify.trace import Ask, Trace

SUMMARY = "defaults, explicit values, resolved attributes, round trips, accepted arguments, what making a model changes"
RUNS_CASES = False

PARTS = (
    "arguments",
    "defaults",
    "explicit",
    "attributes",
    "probes",
    "unusual",
    "dictionary_trip",
    "json_trip",
    "equality",
    "saving",
)
WHERE_DEFINED = ("unusual", "equality", "saving")
"""Parts that are compared where the reference has them."""

UNNAMED = "an_argument_that_nobody_named"
"""What the observer calls such an argument."""

BOOKKEEPING = ("transformers_version", "_name_or_path", "auto_map", "architectures")
"""Keys that a library writes about the file and not about the model."""


def plan(job: Job) -> list[Ask]:
    values = {"values": dict(job.values)}
    return [
        Ask(key=job.key("configuration"), op="configuration", args=values),
        Ask(key=job.key("configuration", "constructed"), op="constructed", args=values),
    ]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    key = job.key("configuration")
    r, c = reference.get(key), candidate.get(key)
    if r.result is None or c.result is None:
        make = Maker(job=job, check="configuration", group="construct")
        yield Outcome(name="construct", findings=list(faults(make, r, c)))
        return
    if r.result.get("absent") and c.result.get("absent"):
        yield Outcome(name="construct", skipped=True, reason="the spec names no configuration class")
        return
    for part in PARTS:
        if part not in WHERE_DEFINED:
            yield _part(job, part, r.result, c.result)
        elif part == "equality" and not r.result.get("own_equality"):  # a library's, which changes with its version
            continue
        elif known := _known(r.result.get(part)):
            names = inverse(job.spec.mapping.config)
            theirs = {k: v for k, v in (c.result.get(part) or {}).items() if k == "raised" or names.get(k, k) in known}
            if part == "unusual":  # a zero may be refused, and what the reference does not keep may be kept
                refused = {names.get(k, k) for k, v in theirs.items() if _raised(v)}
                known = {k: v for k, v in known.items() if k not in refused and (v or k != UNNAMED)}
                theirs = {k: v for k, v in theirs.items() if names.get(k, k) in known}
                if not known:
                    continue
            yield _part(job, part, {**r.result, part: known}, {**c.result, part: theirs})
    yield from _constructed(job, reference, candidate)


def _constructed(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    """What making a model changes of its configuration. What was None may be filled in; nothing is told where neither
    model can be made, which is for `structure` to say."""
    r, c = (trace.get(job.key("configuration", "constructed")) for trace in (reference, candidate))
    if r.result is None or c.result is None:
        return
    make = Maker(
        job=job,
        check="configuration",
        group="after construction",
        reference=location(r.result.get("location")),
        candidate=location(c.result.get("location")),
    )
    names = inverse(job.spec.mapping.config)
    left = dict(r.result["changed"])
    right = {names.get(k, k): change for k, change in c.result["changed"].items()}
    outcome = Outcome(name=make.group)
    for subject in sorted(left.keys() | right.keys()):
        if left.get(subject) == right.get(subject) or make.ignored(subject):
            continue
        side, (before, after) = ("candidate", right[subject]) if subject in right else ("reference", left[subject])
        verdict = Verdict.NOTE if before == "None" else Verdict.DIFFERENT
        details = {"side": side, "before": before, "after": after}
        outcome.findings.append(make.finding("configuration-changed", subject, verdict, details=details))
    outcome.compared = len(outcome.findings)
    if outcome.findings:  # else it would count as compared where there is no configuration
        yield outcome


def _part(job: Job, part: str, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    make = Maker(
        job=job,
        check="configuration",
        group=part,
        reference=location(r.get("location")),
        candidate=location(c.get("location")),
    )
    theirs = inverse(job.spec.mapping.config)
    left, right = _comparable(r.get(part), {}), _comparable(c.get(part), theirs)
    outcome = Outcome(name=part, compared=make.counted(path for path, _ in leaves(left)) if left else 0)
    if _raised(left) and _raised(right):
        fault = {"reference": r[part]["raised"], "candidate": c[part]["raised"]}
        outcome.compared = 0
        outcome.findings.append(make.finding("fault-both", part, Verdict.ERROR, details=fault))
        return outcome
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        left, right = _without_inherited(left, r, right), _without_inherited(right, c, left)
    if part == "arguments" and isinstance(left, Mapping) and isinstance(right, Mapping):
        outcome.findings += signature.compared(make, left, right)
    else:
        outcome.findings += make.differences(left, right)
    return outcome


def _without_inherited(part: Mapping[str, Any], side: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only one side has, and has from its library's base class: another version, not another model."""
    inherited = side.get("inherited") or {}
    return {k: v for k, v in part.items() if k in other or k not in inherited or inherited[k] != v}


def _known(part: Any) -> dict[str, Any]:
    """What the reference does without raising."""
    return {k: v for k, v in part.items() if not _raised(v)} if isinstance(part, Mapping) and not _raised(part) else {}


def _raised(part: Any) -> bool:
    return isinstance(part, Mapping) and set(part) == {"raised"}


def _comparable(part: Any, names: Mapping[str, str]) -> Any:
    """Without bookkeeping keys and in the reference's words; arguments by name, with their place, so that a moved one
    reads as moved."""
    if isinstance(part, list):
        arguments = [a for a in part if isinstance(a, Mapping)]
        found = {}
        for position, argument in enumerate(arguments):
            name = str(argument.get("name"))
            found[names.get(name, name)] = {**argument, "name": names.get(name, name), "position": position}
        return found
    if isinstance(part, Mapping) and set(part) == {"raised"}:  # two ways to say no are one
        return {"raised": str(part["raised"]).partition(":")[0]}
    if isinstance(part, Mapping):
        return {
            names.get(k, k): _comparable(v, names) if isinstance(v, Mapping) else v
            for k, v in part.items()
            if k not in BOOKKEEPING
        }
    return part
