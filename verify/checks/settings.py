"""settings: do aligned modules hold the same eps, rates, strides, head counts, activations?

Torch's own classes mean the same by the same settings, so a difference there is one, also where no output shows it (a
dropout rate). In a project's own classes one name can stand for two things; there a difference is a note, and the
passes that use it decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify.checks import structure
from verify.checks.base import Job, Maker, Outcome, faults
from verify.mapping import rename
from verify.messages import say
from verify.report import Finding, Verdict
from verify.spec import ParameterRule
from verify.trace import Ask, Trace

SUMMARY = "what modules hold that is no parameter: eps, dropout rates, strides, head counts"
RUNS_CASES = False

HARMLESS = frozenset({"inplace", "batch_first", "dim", "start_dim", "end_dim"})
"""Settings of torch's modules that can be written in two ways (-1 and 3) or say how a thing is computed, and not what.
An output shows where one of them is wrong."""

PARAMETERS = ("weight", "bias")
"""Names by which a rule for parameters tells where their module went."""


def plan(job: Job) -> list[Ask]:
    return [Ask(key=job.key("settings"), op="settings", args={"values": job.values_of("settings")})]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    r, c = reference.get(job.key("settings")), candidate.get(job.key("settings"))
    make = Maker(job=job, check="settings", group="modules")
    outcome = Outcome(name="modules")
    if r.result is None or c.result is None:
        outcome.findings += faults(make, r, c)
        yield outcome
        return
    left, right = ({m["path"]: m for m in side["modules"]} for side in (r.result, c.result))
    seen = 0
    for path, theirs in _aligned(job.spec.mapping.parameters, left, right).items():
        names = _common(left[path], right[theirs])
        seen += len(names)
        outcome.compared += make.counted(f"{path}.{name}" if path else name for name in names)
        places = {"reference": structure.owner(r.result, path), "candidate": structure.owner(c.result, theirs)}
        same = left[path]["library"] and right[theirs]["library"] and left[path]["class"] == right[theirs]["class"]
        verdict = Verdict.DIFFERENT if same else Verdict.NOTE
        # Equal as Python sees it, so that 0 and 0.0 are one rate.
        values = [side["settings"] for side in (left[path], right[theirs])]
        apart = [name for name in names if values[0][name] != values[1][name]]
        changed = [{name: side[name] for name in apart} for side in values]
        outcome.findings += [
            _named(finding, path, theirs).model_copy(update={"verdict": verdict, **places})
            for finding in make.differences(changed[0], changed[1], path)
        ]
    if not seen:
        alike = "modules that the mapping shows to be alike" if job.spec.mapping.parameters else "modules of one path"
        outcome.skipped, outcome.reason = True, f"no {alike} have a setting in common"
    yield outcome


def _named(finding: Finding, path: str, theirs: str) -> Finding:
    """With the candidate's own name in the sentence, where the mapping gives its module another."""
    if path == theirs or "what" not in finding.details:
        return finding
    details = {**finding.details, "what": f"{theirs}{finding.subject.removeprefix(path)}"}
    return finding.model_copy(update={"details": details, "message": say(finding.kind, details)})


def _common(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names of settings that both modules have and that say what is computed."""
    return sorted((a["settings"].keys() & b["settings"].keys()) - HARMLESS)


def _aligned(rules: list[ParameterRule], left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, str]:
    """The candidate's path of each module, by the reference's path of it, where both have it."""
    found: dict[str, str] = {}
    for path in right:
        ours = _reference_path(rules, path, left)
        if ours is not None:
            found.setdefault(ours, path)
    return found


def _reference_path(rules: list[ParameterRule], path: str, known: Mapping[str, Any]) -> str | None:
    """What the reference calls a module, as far as rules that make one parameter of one say so; else its own path."""
    for rule in rules:
        one = isinstance(rule.reference, str) and rule.part is None
        for name in PARAMETERS:
            new = rename(f"{path}.{name}", rule.candidate, str(rule.reference)) if one and path else None
            if new is not None and new.endswith(f".{name}"):
                ours = new.removesuffix(f".{name}")
                return ours if ours in known else None
    return path if path in known else None
