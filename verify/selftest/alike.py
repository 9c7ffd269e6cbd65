"""Whether a change that moved values changed what the candidate computes, or no more than how that is rounded.

A rule that is measured, and no list of changes: against the candidate as it is, in every case,

- what holds no rounding (settings, structure, initial values, saved tensors, …) is equal to the bit;
- what is computed in exact arithmetic lies within MULTIPLE of the response to one-ulp noise;
- in narrow formats errors are at most LARGER times as large. Another order of the same operations was measured at 1.18.

A difference that a check would not have compared counts as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from verify.checks import available, passes
from verify.checks.base import Job, Maker, Outcome
from verify.compare import gap
from verify.report import Finding, Verdict
from verify.spec import ToleranceSpec
from verify.trace import BOTH, Answer, Ask, Trace

MULTIPLE = 16.0
"""Of the response to one-ulp noise, or the spec's own where that is less. The checks allow the spec's, 64 as a rule."""

LARGER = 1.25
"""How many times the unchanged candidate's error in a narrow format the changed one's may be."""

HARMLESS = frozenset({"more-precise", "lifted", "not-exact", "all-zero", "not-comparable", "no-effect", "not-tried"})
"""Notes that say nothing of a change."""

PLACES = ("location", "own_location", "frames", "line", "lifted", "note")
"""What an answer tells of source and of how it was computed."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a run: a check, or one case of `forward`."""

    check: str
    job: Job
    asks: list[Ask]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The pair as it is. skipped: check and group of what was not compared there."""

    reference: Trace
    candidate: Trace
    skipped: Collection[tuple[str, str]]


def why_equivalent(stages: list[Stage], pair: Pair, changed: Trace) -> str:
    """Why a changed candidate computes what the unchanged one does; empty where it does not, or nobody can say."""
    before = Trace(role="reference", answers={**pair.reference.answers, **pair.candidate.answers})
    worst, error = 0.0, 0.0
    for stage in stages:
        mapping = stage.job.spec.mapping
        if mapping.outputs or mapping.parameters:  # noise is in the reference's words
            return ""
        if not available()[stage.check].RUNS_CASES:
            asked = [ask.key for ask in stage.asks if "candidate" in ask.sides]
            if any(True for key in asked for _ in apart(before.get(key), changed.get(key))):
                return ""
            continue
        for outcome in _against_itself(stage, before, changed):
            if not _harmless(stage, outcome, pair.skipped):
                return ""
            if outcome.measured is not None and stage.check == "precision":
                error = max(error, outcome.measured)
            elif outcome.measured is not None:
                worst = max(worst, outcome.measured)
    if error > LARGER:
        return ""
    told = f"they moved by {worst:.1e} at most, which is rounding" if worst else "to the bit"
    return f"the same values: in exact arithmetic {told}" + (
        f"; errors in narrow formats are {error:.2f} times as large at most" if error else ""
    )


def _against_itself(stage: Stage, before: Trace, changed: Trace) -> Iterator[Outcome]:
    """The outcomes of a check for the unchanged candidate in the reference's place."""
    multiple = min(MULTIPLE, stage.job.spec.tolerance.multiple)
    spec = stage.job.spec.model_copy(update={"tolerance": ToleranceSpec(multiple=multiple, buffer_ulps=0)})
    job = replace(stage.job, spec=spec, matched=set())
    yield from available()[stage.check].compare(job, before, changed)
    if stage.check == "determinism":  # which compares each side with itself alone
        yield from _passes(stage, job, before, changed)


def _passes(stage: Stage, job: Job, before: Trace, changed: Trace) -> Iterator[Outcome]:
    """Plain forward passes of a check, each against the same one of the unchanged candidate."""
    for ask in stage.asks:
        case = ask.key.rpartition("/")[0]
        if ask.op != "forward" or ask.alone:
            continue
        ours, theirs = (passes.read(trace.get(ask.key)) for trace in (before, changed))
        noise = passes.read(before.get(f"{case}/noise"))
        make = Maker(job=job, check=stage.check, group=ask.key)
        rows = ask.args.get("rows")
        if rows is not None:  # noise of the whole batch says how far each of its rows may move
            noise = passes.Pass(
                container=noise.container, leaves=noise.leaves, values={p: v[:rows] for p, v in noise.values.items()}
            )
        yield passes.compared(make, ours, theirs, noise, str(ask.args["arithmetic"]))


def _harmless(stage: Stage, outcome: Outcome, skipped: Collection[tuple[str, str]]) -> bool:
    if outcome.skipped:
        return (stage.check, outcome.name) in skipped
    alike = _told_of_both(outcome)
    loud = [f for f in outcome.findings if f.verdict != Verdict.NOTE or not (f.kind in HARMLESS or _about(f) in alike)]
    return not loud and outcome.verdict == Verdict.EQUAL


def _told_of_both(outcome: Outcome) -> set[tuple[str, ...]]:
    """What is told of the candidate as it is and of the changed one in the same words: no change made it so."""
    sides = [{_about(f) for f in outcome.findings if f.details.get("side") == role} for role in BOTH]
    return set.intersection(*sides)


def _about(finding: Finding) -> tuple[str, ...]:
    details = sorted((k, v) for k, v in finding.details.items() if k != "side")
    return finding.kind, finding.subject, *itertools.chain.from_iterable(details)


def moved(before: Trace, after: Trace) -> str:
    """How the answers of a changed candidate differ from those of the unchanged one. Empty where no bit does."""
    worst, where, count = 0.0, "", 0
    for key, answer in after.answers.items():
        old = before.get(key)
        for name in apart(old, answer):
            count += 1
            if name in old.arrays and name in answer.arrays and old.arrays[name].shape == answer.arrays[name].shape:
                distance = gap(old.arrays[name], answer.arrays[name]).relative
                if distance >= worst:
                    worst, where = distance, f"{key} {name}".strip()
            else:
                where = where or f"{key} {name}".strip()
    return f"{count} values moved, most by {worst:.1e} ({where})" if count else ""


def apart(old: Answer, new: Answer) -> Iterator[str]:
    """Names of what is not equal to the bit."""
    if _plain(old.result) != _plain(new.result):
        yield ""
    for name in [*old.arrays, *(n for n in new.arrays if n not in old.arrays)]:
        a, b = old.arrays.get(name), new.arrays.get(name)
        if a is None or b is None or a.shape != b.shape or a.tobytes() != b.tobytes():
            yield name


def _plain(value: Any) -> Any:
    """An answer without the lines of source that it names and how it was computed."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if k not in PLACES}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
