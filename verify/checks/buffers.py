"""buffers: do tables and running statistics hold the same values, saved or not?

Two ways to write one formula round differently, each step by up to half a unit in the last place (ulp) of what it gives.
The default of 4 ulp is room for four such steps on either side. Of which magnitude? A table that crosses zero, as
cos(angle) does, has small values that are what is left of large ones and carry their rounding: there an ulp is that of
the buffer's largest value. In a table of one sign, such as inverse frequencies from 1 down to 1e-4, each value comes by
itself and an ulp is its own, so that a small value is held to as many digits as a large one. Parts of complex numbers are
of both signs. What only fills a table, as the lowest number of its type does in a mask, is no magnitude of the others.

And after `model.to(torch.bfloat16)` and `model.half()`: what the reference keeps in a wider type the candidate keeps so
too. After `model.to_empty()`, with which a model on the meta device gets memory: what the reference fills again the
candidate does too. And after a model of another configuration was made in the same process: what a module remembers of that one must not be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify import mapping
from verify.checks import structure
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.compare import gap, ulps
from verify.report import Location, Verdict
from verify.trace import BOTH, Ask, Trace

SUMMARY = "buffer values, saved or not, and after conversions"
RUNS_CASES = False

SPACING = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7} | {
    "complex128": 2.0**-52,
    "complex64": 2.0**-23,
}

FAR = 1000.0
"""So many times the next largest magnitude of a table is no part of what the others are computed from."""


REMEMBERED = "after another model"
"""The group of what buffers are where a model of another configuration was made before."""

MOVED = {
    "bfloat16": ("moved to bfloat16", "model.to(torch.bfloat16)"),
    "float16": ("moved to float16", "model.half()"),
    "empty": ("emptied", "model.to_empty()"),
}
"""By what is done to a model: the group of what parameters and buffers are after it, and how a finding calls it."""


def plan(job: Job) -> list[Ask]:
    asks = structure.plan(job)
    for how in MOVED:
        args = {"values": dict(job.values), "how": how}
        asks.append(Ask(key=job.key("buffers", "moved", how), op="moved", args=args))
    if pair := _two_models(job):
        asks.append(Ask(key=job.key("buffers", "remembered"), op="remembered", args=pair))
    return asks


def _two_models(job: Job) -> dict[str, Any]:
    """The configurations of two models of the same sizes and, where the spec knows how, of one layer. They differ in the
    numbers with a fraction that cases set; without such, nothing."""
    others: dict[str, Any] = {}
    for case in job.spec.cases.values():
        others |= {k: v for k, v in case.config.items() if isinstance(v, float) and job.values.get(k) != v}
    first = dict(job.values) | ({job.spec.depth_key: 1} if job.spec.depth_key in job.values else {})
    return {"values": {**first, **others}, "other": first} if others else {}


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    key = job.key("structure")
    r, c = reference.get(key), candidate.get(key)
    if r.result is None or c.result is None:
        make = Maker(job=job, check="buffers", group="construct")
        yield Outcome(name="construct", findings=list(faults(make, r, c)))
        return
    outcome = Outcome(
        name="values",
        reason=f"{job.spec.tolerance.buffer_ulps} ulp: two ways to write one formula; of the largest value where a table crosses zero",
    )
    make = Maker(job=job, check="buffers", group="values")
    left, right = r.arrays, c.arrays
    theirs = in_reference_words(job, r.result, c.result)
    right = {theirs.get(name, name): array for name, array in right.items()}
    own = {name: mine for mine, name in theirs.items()}
    dtypes = {e["name"]: e["dtype"] for e in r.result["buffers"]}
    for name in sorted(left.keys() | right.keys()):
        if not make.ignored(name):
            places = {
                "reference": structure.made(r.result, "buffers", name, "filled"),
                "candidate": structure.made(c.result, "buffers", own.get(name, name), "filled"),
            }
            _one(job, make, outcome, name, (left.get(name), right.get(name)), dtypes.get(name, ""), places)
    if not outcome.compared:
        outcome.skipped, outcome.reason = True, "no buffer is on both sides and holds a value"
    yield outcome
    told = {f.subject for f in outcome.findings}  # else the same once more
    for how in MOVED:
        if job.key("buffers", "moved", how) in reference.answers | candidate.answers:
            moved = _moved(job, how, (r.result, c.result), (reference, candidate))
            moved.findings = [f for f in moved.findings if f.subject not in told]
            told |= {f.subject for f in moved.findings}
            yield moved
    yield from _remembered(job, reference, candidate)


def _remembered(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    """Whether a model's buffers are its own, whatever was made before it. Asked of each side by itself."""
    key = job.key("buffers", "remembered")
    if key not in reference.answers | candidate.answers:
        return
    make = Maker(job=job, check="buffers", group=REMEMBERED)
    r, c = reference.get(key), candidate.get(key)
    if r.result is None or c.result is None:
        if r.fault and c.fault:
            why = f"neither side can be made after another model: {r.fault}"
            yield Outcome(name=REMEMBERED, skipped=True, reason=why)
        else:
            yield Outcome(name=REMEMBERED, findings=list(faults(make, r, c)))
        return
    results = [r.result, c.result]
    outcome = Outcome(name=REMEMBERED, compared=sum(make.counted(side["buffers"]) for side in results))
    wrong = [{name for name, alike in side["buffers"].items() if not alike} for side in results]
    for role, side, names, others in zip(BOTH, results, wrong, reversed(wrong), strict=True):
        for name in sorted(names):
            if not make.ignored(name):
                verdict = Verdict.NOTE if others else Verdict.DIFFERENT
                places: dict[str, Any] = {role: location(side["made"].get(name))}
                found = make.finding("buffer-remembered", name, verdict, details={"side": role}, **places)
                outcome.findings.append(found)
    if not outcome.compared:
        outcome.skipped, outcome.reason = True, "neither side has a buffer"
    yield outcome


def _moved(
    job: Job, how: str, structures: tuple[Mapping[str, Any], Mapping[str, Any]], traces: tuple[Trace, Trace]
) -> Outcome:
    """Types of parameters and buffers, and buffers' values, after one of MOVED, in the reference's words."""
    group_name, call = MOVED[how]
    make = Maker(job=job, check="buffers", group=group_name)
    outcome = Outcome(name=group_name, reason=f"{job.spec.tolerance.buffer_ulps} ulp")
    r, c = (trace.get(job.key("buffers", "moved", how)) for trace in traces)
    if r.result is None or c.result is None:
        if r.fault and c.fault:
            outcome.skipped, outcome.reason = True, f"neither side takes {call}: {r.fault}"
        else:
            outcome.findings += faults(make, r, c)
        return outcome
    for group in structure.GROUPS:
        words = in_reference_words(job, structures[0], structures[1], group)
        ours = {e["name"]: e["dtype"] for e in r.result[group]}
        theirs = {words.get(e["name"], e["name"]): (e["name"], e["dtype"]) for e in c.result[group]}
        before = [{e["name"]: e["dtype"] for e in side[group]} for side in structures]
        for name in sorted(ours.keys() & theirs.keys()):
            own, dtype = theirs[name]
            if make.ignored(name) or before[0].get(name) != before[1].get(own):  # which `structure` tells
                continue
            outcome.compared += 1
            places = {
                "reference": structure.made(structures[0], group, name),
                "candidate": structure.made(structures[1], group, own),
            }
            if ours[name] != dtype:
                wider = SPACING.get(dtype, 0.0) < SPACING.get(ours[name], 0.0)
                details = {
                    "what": f"the type of {name} after {call}",
                    "reference": ours[name],
                    "candidate": dtype,
                }
                verdict = Verdict.NOTE if wider else Verdict.DIFFERENT
                found = make.finding("value", name, verdict, details=details, measured=dtype, allowed=ours[name])
                outcome.findings.append(found.model_copy(update=places))
            elif name in r.arrays and own in c.arrays and not _unfilled(r.arrays[name], emptied=how == "empty"):
                counted = outcome.compared
                _one(job, make, outcome, name, (r.arrays[name], c.arrays[own]), dtype, places)
                outcome.compared = counted
    if not outcome.compared:
        outcome.skipped, outcome.reason = True, "no parameter or buffer is on both sides"
    return outcome


def _unfilled(values: NDArray[Any], *, emptied: bool) -> bool:
    """Whether a table holds what empty memory is made to hold; see the observer's `empty_is_nan`."""
    if values.dtype.kind in "iub" and emptied and values.size:
        most = True if values.dtype.kind == "b" else np.iinfo(values.dtype).max
        return bool((values == most).all())
    return bool(np.isnan(values).any())


def in_reference_words(job: Job, r: Mapping[str, Any], c: Mapping[str, Any], group: str = "buffers") -> dict[str, str]:
    """The reference's names of those buffers of the candidate, or parameters, that are no more than renamed, from
    `structure`."""
    shapes = (structure.shapes(side, group) for side in (r, c))
    recipes = mapping.resolve(job.spec.mapping, *shapes).recipes
    return {name: recipe.sources[0] for name, recipe in recipes.items() if recipe.plain}


def _one(
    job: Job,
    make: Maker,
    outcome: Outcome,
    name: str,
    values: tuple[NDArray[Any] | None, NDArray[Any] | None],
    dtype: str,
    places: Mapping[str, Location | None],
) -> None:
    a, b = values
    if a is None or b is None:
        side = "reference" if b is None else "candidate"
        details = {"side": side}
        outcome.findings.append(
            make.finding("buffer-one-side", name, Verdict.NOTE, details=details).model_copy(update=places)
        )
        return
    if a.shape != b.shape:
        return  # `structure` reports it
    if a.size == 0:
        return  # its shape is all there is of it, and `structure` compares that
    outcome.compared += 1
    if a.dtype.kind == "f" and bool((np.isnan(a) & np.isnan(b)).any()):
        unset = make.finding("not-finite", name, Verdict.ERROR, details={"side": "both sides"})
        outcome.findings.append(unset.model_copy(update=places))
        return
    allowed = job.spec.tolerance.buffer_ulps if dtype in SPACING else 0
    found = gap(a, b)
    apart = ulps_apart(a, b, SPACING[dtype]) if dtype in SPACING else float(found.different)
    if apart <= allowed:
        return
    shown = {
        "different": found.different,
        "count": a.size,
        "where": list(found.where),
        "reference": found.reference,
        "candidate": found.candidate,
    }
    unit = "ulp" if dtype in SPACING else "values"
    outcome.findings.append(
        make.finding(
            "buffer-values", name, details=shown, measured=f"{apart:.4g} {unit}", allowed=f"{allowed} {unit}"
        ).model_copy(update=places)
    )


def ulps_apart(a: NDArray[Any], b: NDArray[Any], eps: float) -> float:
    """Largest distance in units in the last place, of the largest finite value that is no filling where there are both
    signs. What is not finite is either the same or infinitely far apart, as in a causal mask: no number of ulps excuses
    another value there. Fillings have ulps of their own."""
    both = np.concatenate([a[np.isfinite(a)].ravel(), b[np.isfinite(b)].ravel()]).astype(np.float64)
    largest = _largest(both)
    rest = both[np.abs(both) <= largest]
    with np.errstate(all="ignore"):
        distance = ulps(a, b, eps)
        if (rest < 0).any() and (rest > 0).any():
            inside = (np.abs(a) <= largest) & (np.abs(b) <= largest)
            distance[inside] = np.abs(b - a)[inside] / (eps * np.exp2(np.floor(np.log2(largest))))
    distance[~np.isfinite(distance)] = np.inf
    distance[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return float(np.max(distance))


def _largest(values: NDArray[np.float64]) -> float:
    """The largest magnitude that is no filling: one that is FAR above one and above the next, such as -1e9 in a mask."""
    magnitudes = np.unique(np.abs(values))[::-1]
    place = 0
    while place + 1 < len(magnitudes) and magnitudes[place] >= FAR * max(1.0, magnitudes[place + 1]):
        place += 1
    return float(magnitudes[place]) if len(magnitudes) else 0.0
