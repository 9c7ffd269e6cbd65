"""settings: do aligned modules hold the same eps, rates, strides, head counts, activations?

Torch's own classes mean the same by the same settings, so a difference there is one, also where no output shows it (a
dropout rate). In a project's own classes one name can stand for two things; there a difference is a note, and the
passes that use it decide.

Modules are aligned by path or by the spec's mapping. Of those that are not, torch's classes are compared by what all
modules of a class hold together; the rest is told as not done.
"""

from __future__ import annotations

import json
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from verify.checks import forward, structure
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.mapping import rename
from verify.messages import say
from verify.report import Finding, Verdict
from verify.spec import ParameterRule
from verify.trace import BOTH, Ask, Trace

SUMMARY = "what modules hold that is no parameter: eps, dropout rates, strides, head counts"
RUNS_CASES = False

HARMLESS = frozenset({"inplace", "batch_first", "dim", "start_dim", "end_dim", "unflattened_size"})
"""Settings of torch's modules that can be written in two ways (-1 and 3) or say how a thing is computed, and not what.
An output shows where one of them is wrong."""

BESIDE = frozenset({"padding", "padding_mode", "count_include_pad"})
"""Settings whose work may be done beside their module, as by `F.pad`. Any pass through it shows where it is not done."""

SIZES = frozenset({"in_features", "out_features", "in_channels", "out_channels", "num_features", "num_channels"}) | {
    "num_embeddings", "embedding_dim", "normalized_shape", "num_parameters"
}  # fmt: skip
"""Settings that parameters show by their shapes. Where weights are fused they are others, and the function is the same."""

MOST_NAMED = 5
"""Modules that a reason names; it tells how many there are."""

PARAMETERS = ("weight", "bias")
"""Names by which a rule for parameters tells where their module went."""


def plan(job: Job) -> list[Ask]:
    return [Ask(key=job.key("settings"), op="settings", args={"values": job.values_of("settings")})]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    for outcome in _compared(job, reference, candidate):
        if any(map(_beside, outcome.findings)) and _same_function(job, reference, candidate):
            notes = {"verdict": Verdict.NOTE}
            outcome.findings = [f.model_copy(update=notes) if _beside(f) else f for f in outcome.findings]
        yield outcome


def _beside(finding: Finding) -> bool:
    """Whether it is about a setting, or an item of one, whose work may be done beside its module."""
    return next((name for name in reversed(finding.subject.split(".")) if not name.isdigit()), "") in BESIDE


def _same_function(job: Job, reference: Trace, candidate: Trace) -> bool:
    """Whether `forward` ran, and every case of it is equal."""
    outcomes = list(forward.compare(job, reference, candidate))
    return bool(outcomes) and all(outcome.verdict == Verdict.EQUAL for outcome in outcomes)


def _compared(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    r, c = reference.get(job.key("settings")), candidate.get(job.key("settings"))
    make = Maker(job=job, check="settings", group="modules")
    outcome = Outcome(name="modules")
    if r.result is None or c.result is None:
        outcome.findings += faults(make, r, c)
        yield outcome
        return
    left, right = ({m["path"]: m for m in side["modules"]} for side in (r.result, c.result))
    pairs = _aligned(job.spec.mapping.parameters, left, right)
    seen = 0
    for path, theirs in pairs.items():
        names = _common(left[path], right[theirs])
        seen += len(names)
        outcome.compared += make.counted(f"{path}.{name}" if path else name for name in names)
        same = left[path]["library"] and right[theirs]["library"] and left[path]["class"] == right[theirs]["class"]
        verdict = Verdict.DIFFERENT if same else Verdict.NOTE
        # Equal as Python sees it, so that 0 and 0.0 are one rate.
        values = [side["settings"] for side in (left[path], right[theirs])]
        equal: Callable[[Any, Any], bool] = _alike if same else operator.eq
        apart = [name for name in names if not equal(values[0][name], values[1][name])]
        changed = [{name: side[name] for name in apart} for side in values]
        for finding in make.differences(changed[0], changed[1], path):
            name = finding.subject.removeprefix(f"{path}.").partition(".")[0]
            places = {
                "reference": location(left[path].get("made", {}).get(name)) or structure.owner(r.result, path),
                "candidate": location(right[theirs].get("made", {}).get(name)) or structure.owner(c.result, theirs),
            }
            told = _named(finding, path, theirs)
            outcome.findings.append(told.model_copy(update={"verdict": verdict, **places}))
    if not seen:
        alike = "modules that the mapping shows to be alike" if job.spec.mapping.parameters else "modules of one path"
        outcome.skipped, outcome.reason = True, f"no {alike} have a setting in common"
    yield outcome
    yield from _alone(
        job,
        [left[path] for path in left if path not in pairs],
        [right[path] for path in right if path not in set(pairs.values())],
    )


def _alone(job: Job, left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> Iterator[Outcome]:
    """Modules that have no counterpart by path: torch's by class, where both sides have such; the rest is told."""
    kinds = [{m["class"] for m in side if m["library"]} for side in (left, right)]
    together = Outcome(name="classes", reason="torch's modules that no path aligns, all of a class together")
    for kind in sorted(kinds[0] & kinds[1]):
        both = [[m for m in side if m["library"] and m["class"] == kind] for side in (left, right)]
        _together(Maker(job=job, check="settings", group="classes"), together, kind, both)
    if together.compared or together.findings:
        yield together
    lone = [
        [m for m in side if _telling(m) and not (m["library"] and m["class"] in kinds[0] & kinds[1])]
        for side in (left, right)
    ]
    if any(lone):
        counts = zip(BOTH, lone, strict=True)
        told = " and ".join(f"{len(side)} of the {role} ({_listed(side)})" for role, side in counts if side)
        reason = f"modules with settings that have no counterpart by path, nor by the mapping: {told}"
        yield Outcome(name="alone", skipped=True, reason=reason)


def _together(make: Maker, outcome: Outcome, kind: str, both: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """What all modules of one class hold together, setting by setting.

    Different where both sides have as many of them and they hold parameters or buffers. Where one has more, or where they
    are such as can be written as functions (an activation, a dropout), another sum is a note: the passes decide.
    """
    held = [
        {name: Counter(_text(m["settings"][name]) for m in side if name in m["settings"]) for name in _names(side)}
        for side in both
    ]
    decided = len(both[0]) == len(both[1]) and all(m["stateful"] for side in both for m in side)
    for name in sorted(held[0].keys() & held[1].keys()):
        a, b = held[0][name], held[1][name]
        subject = f"{kind}.{name}"
        if make.ignored(subject):
            continue
        outcome.compared += 1
        if a == b or (len(both[0]) != len(both[1]) and a.keys() == b.keys()):
            continue
        told = [", ".join(f"{n} x {value}" for value, n in sorted(side.items())) for side in (a, b)]
        verdict = Verdict.DIFFERENT if decided else Verdict.NOTE
        details = {"reference": told[0], "candidate": told[1]}
        outcome.findings.append(
            make.finding("settings-together", subject, verdict, details=details, measured=told[1], allowed=told[0])
        )


def _names(modules: Sequence[Mapping[str, Any]]) -> set[str]:
    """Settings that say what is computed, and that no parameter's shape shows."""
    return {name for m in modules for name in m["settings"]} - HARMLESS - SIZES


def _text(value: Any) -> str:
    """A setting of one of torch's classes as text; 0, 0.0 and False are one, and so are 2 and (2, 2)."""
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]
    whole = isinstance(value, bool | int) and abs(value) < 2**53
    return json.dumps(float(value) if whole else value)


def _alike(a: Any, b: Any) -> bool:
    """Whether two settings of one of torch's classes are one: a number stands for a list of it, as 2 for (2, 2)."""
    if isinstance(a, list) and not isinstance(b, list):
        a, b = b, a
    if isinstance(b, list) and not isinstance(a, list):
        return bool(b) and all(a == item for item in b)
    return bool(a == b)


def _telling(module: Mapping[str, Any]) -> bool:
    return bool(module["settings"].keys() - HARMLESS)


def _listed(modules: Sequence[Mapping[str, Any]]) -> str:
    more = ", …" if len(modules) > MOST_NAMED else ""
    return ", ".join(m["path"] or "the model" for m in modules[:MOST_NAMED]) + more


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
