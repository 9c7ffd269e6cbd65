"""structure: do both models consist of the same parameters, buffers and modules?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.report import Location, Verdict
from verify.trace import Ask, Trace

SUMMARY = "names, shapes, dtypes, order, requires_grad, tied weights, module tree"


def plan(job: Job) -> list[Ask]:
    return [
        Ask(
            key=job.key("structure"),
            op="structure",
            args={"values": dict(job.values), "file": f"{job.variant}-buffers.safetensors"},
        )
    ]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    key = job.key("structure")
    r, c = reference.get(key), candidate.get(key)
    if r.result is None or c.result is None:
        make = Maker(job=job, check="structure", group="construct")
        yield Outcome(name="construct", findings=list(faults(make, r, c)))
        return
    yield _entries(job, "parameters", r.result, c.result)
    yield _entries(job, "buffers", r.result, c.result)
    yield _order(job, r.result, c.result)
    yield _tied(job, r.result, c.result)
    yield _tree(job, r.result, c.result)


def owner(result: Mapping[str, Any], name: str) -> Location | None:
    """The nearest class in the side's own folder that encloses a parameter, buffer or module."""
    places = {m["path"]: m["location"] for m in result.get("modules", []) if m.get("location")}
    path = name
    while True:
        place = places.get(path)
        if place and place.get("own"):
            return location(place)
        if not path:
            return location(result.get("location"))
        path = path.rpartition(".")[0]


def _maker(job: Job, group: str) -> Maker:
    return Maker(job=job, check="structure", group=group)


def _entries(job: Job, group: str, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    """Parameters or buffers by name: which there are, and their shapes, dtypes and flags."""
    make = _maker(job, group)
    left, right = ({e["name"]: {k: v for k, v in e.items() if k != "name"} for e in side[group]} for side in (r, c))
    if group == "buffers":  # an unsaved buffer may be recomputed on the other side: the check `buffers` says more
        shared = {n for n in left if n in right}
        left = {n: e for n, e in left.items() if n in shared or e["persistent"]}
        right = {n: e for n, e in right.items() if n in shared or e["persistent"]}
    outcome = Outcome(name=group, compared=len(left.keys() | right.keys()))
    for name in [*left, *(n for n in right if n not in left)]:
        a, b = left.get(name), right.get(name)
        places = {"reference": owner(r, name), "candidate": owner(c, name)}
        if a is None or b is None:
            kind = "missing-in-reference" if a is None else "missing-in-candidate"
            details = {"reference": _shape(a), "candidate": _shape(b)}
            if not make.ignored(name):
                found = make.finding(kind, name, details=details, measured=_shape(b), allowed=_shape(a))
                outcome.findings.append(found.model_copy(update=places))
            continue
        flat_a, flat_b = ({k: str(v) for k, v in side.items()} for side in (a, b))
        outcome.findings += [f.model_copy(update=places) for f in make.differences(flat_a, flat_b, name)]
    if not outcome.compared:
        outcome.skipped, outcome.reason = True, f"neither side has {group}"
    return outcome


def _shape(entry: Mapping[str, Any] | None) -> str:
    return f"{entry['shape']} {entry['dtype']}" if entry else "missing"


def _order(job: Job, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    """Order of the state dict's common names. A note: it changes no output, but optimizer states follow it."""
    left = [n for n in r["order"] if n in set(c["order"])]
    right = [n for n in c["order"] if n in set(r["order"])]
    outcome = Outcome(name="order", compared=len(left))
    for position, (a, b) in enumerate(zip(left, right, strict=True)):
        if a != b:
            details = {"position": position, "reference": a, "candidate": b}
            place = owner(c, b)
            outcome.findings.append(
                _maker(job, "order").finding(
                    "order", b, Verdict.NOTE, details=details, measured=b, allowed=a, candidate=place
                )
            )
            break
    if not left:
        outcome.skipped, outcome.reason = True, "no common names"
    return outcome


def _tied(job: Job, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    """Which names share one tensor."""
    make = _maker(job, "tied")
    left, right = ({name: group for group in side["tied"] for name in group} for side in (r, c))
    outcome = Outcome(name="tied", compared=len({e["name"] for e in r["parameters"]}))
    for name in sorted(left.keys() | right.keys()):
        a, b = left.get(name, []), right.get(name, [])
        if a != b and not make.ignored(name):
            details = {"reference": ", ".join(a) or "none", "candidate": ", ".join(b) or "none"}
            outcome.findings.append(
                make.finding("tied", name, details=details, reference=owner(r, name), candidate=owner(c, name))
            )
    if not outcome.compared:
        outcome.skipped, outcome.reason = True, "no parameters"
    return outcome


def _tree(job: Job, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    """Paths of modules that hold state. Stateless ones (an activation, a dropout) may be written as functions."""
    make = _maker(job, "modules")
    left, right = ({m["path"]: m for m in side["modules"] if m["stateful"]} for side in (r, c))
    outcome = Outcome(name="modules", compared=len(left.keys() | right.keys()))
    for path in [*left, *(p for p in right if p not in left)]:
        if (path in left) == (path in right) or make.ignored(path):
            continue
        side, module = ("reference", left[path]) if path in left else ("candidate", right[path])
        details = {"side": side, "class_name": module["class"]}
        # Saved state must match by name, so a module that holds parameters is already reported with them; one that
        # holds only unsaved buffers changes no checkpoint.
        outcome.findings.append(
            make.finding(
                "module-one-side",
                path,
                Verdict.NOTE,
                details=details,
                reference=owner(r, path),
                candidate=owner(c, path),
            )
        )
    if not outcome.compared:
        outcome.skipped, outcome.reason = True, "no module holds state"
    return outcome
