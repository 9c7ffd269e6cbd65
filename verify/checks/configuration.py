"""configuration: do both configuration classes hold the same values, however they are made?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify.checks import signature
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.compare import leaves
from verify.mapping import inverse
from verify.report import Verdict
from verify.trace import Ask, Trace

SUMMARY = "defaults, explicit values, resolved attributes, round trips, accepted arguments"
RUNS_CASES = False

PARTS = (
    "arguments",
    "defaults",
    "explicit",
    "attributes",
    "probes",
    "dictionary_trip",
    "json_trip",
    "equality",
    "saving",
)
WHERE_DEFINED = ("equality", "saving")
"""Parts that are compared where the reference has them."""

BOOKKEEPING = ("transformers_version", "_name_or_path", "auto_map", "architectures")
"""Keys that a library writes about the file and not about the model."""


def plan(job: Job) -> list[Ask]:
    return [Ask(key=job.key("configuration"), op="configuration", args={"values": dict(job.values)})]


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
            yield _part(job, part, {**r.result, part: known}, {**c.result, part: theirs})


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
