"""structure: do both models consist of the same parameters, buffers and modules?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from verify import mapping
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.report import Location, Verdict
from verify.trace import Ask, Trace

SUMMARY = "names, shapes, dtypes, order, requires_grad, marks of parameters, tied weights, module tree"
RUNS_CASES = False


GROUPS = ("parameters", "buffers")


def plan(job: Job) -> list[Ask]:
    return [
        Ask(
            key=job.key("structure"),
            op="structure",
            args={"values": dict(job.values)},
        )
    ]


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    key = job.key("structure")
    r, c = reference.get(key), candidate.get(key)
    if r.result is None or c.result is None:
        make = Maker(job=job, check="structure", group="construct")
        yield Outcome(name="construct", findings=list(faults(make, r, c)))
        return
    words = {
        group: mapping.resolve(job.spec.mapping, shapes(r.result, group), shapes(c.result, group)) for group in GROUPS
    }
    for group in GROUPS:
        yield _entries(job, group, r.result, c.result, words[group])
    names = _Names(words)
    yield _order(job, r.result, c.result, names)
    yield _tied(job, r.result, c.result, names)
    yield _tree(job, r.result, c.result)


def shapes(result: Mapping[str, Any], group: str = "parameters") -> dict[str, tuple[int, ...]]:
    """Shapes of a side's parameters or buffers by name, from its answer to `structure`."""
    return {str(entry["name"]): tuple(entry["shape"]) for entry in result.get(group, [])}


class _Names:
    """The candidate's names of parameters and buffers in the reference's words, and back."""

    def __init__(self, words: Mapping[str, mapping.Resolved]) -> None:
        self._recipes = {name: recipe for found in words.values() for name, recipe in found.recipes.items()}
        self._back = {source: name for name, recipe in self._recipes.items() for source in recipe.sources}

    def reference(self, name: str) -> tuple[str, ...]:
        """The reference's names for what the candidate calls `name`; several where it joins them."""
        recipe = self._recipes.get(name)
        return recipe.sources if recipe else (name,)

    def candidate(self, name: str) -> str:
        """What the candidate calls the reference's `name`."""
        return self._back.get(name, name)


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


def made(result: Mapping[str, Any], group: str, name: str, told: str = "made") -> Location | None:
    """The line that made (or, as `told`, filled) a parameter or buffer; the class that holds it where a side does not
    tell."""
    place = next((e.get(told) for e in result.get(group, []) if e["name"] == name), None)
    return location(place) or owner(result, name)


def instead(result: Mapping[str, Any], others: Sequence[Mapping[str, Any]], name: str, shape: Any) -> Location | None:
    """Where a side made something else than the parameter or buffer that it lacks: the other kind of that name, one of
    its shape whose name differs in one place (`others`: what only this side has), or the library's module that could
    hold it. The class that could, where it did nothing of the kind."""
    modules = {m["path"]: m for m in result.get("modules", [])}
    for entry in (e for group in GROUPS for e in result.get(group, []) if e["name"] == name):
        return location(entry.get("made")) or owner(result, name)
    wanted = name.split(".")
    for entry in others:
        parts = entry["name"].split(".")
        start = next((n for n, (a, b) in enumerate(zip(parts, wanted, strict=False)) if a != b), 0)
        rest = len(wanted) - start - 1
        if entry["shape"] == shape and len(parts) > start + rest and parts[len(parts) - rest :] == wanted[start + 1 :]:
            module = modules.get(".".join(parts[: start + 1]))
            return location((module or entry).get("made")) or owner(result, entry["name"])
    path = name.rpartition(".")[0]
    while path and path not in modules:
        path = path.rpartition(".")[0]
    holder = modules.get(path, {})
    own = holder.get("location") and holder["location"].get("own")
    return (None if own else location(holder.get("made"))) or owner(result, name)


def _maker(job: Job, group: str) -> Maker:
    return Maker(job=job, check="structure", group=group)


def _entries(job: Job, group: str, r: Mapping[str, Any], c: Mapping[str, Any], words: mapping.Resolved) -> Outcome:
    """Parameters or buffers by name: which there are, and their shapes, dtypes and flags."""
    make = _maker(job, group)
    names = _Names({group: words})
    left = {e["name"]: _plain(e) for e in r[group]}
    right: dict[str, dict[str, Any]] = {}
    twice = []
    for name, entry in _in_reference_words(c[group], words):
        twice += [name] if name in right and not _cut(words, names.candidate(name)) else []
        right[name] = entry
    if group == "buffers":  # an unsaved buffer may be recomputed on the other side: the check `buffers` says more
        shared = {n for n in left if n in right}
        left = {n: e for n, e in left.items() if n in shared or e["persistent"]}
        right = {n: e for n, e in right.items() if n in shared or e["persistent"]}
    used = {mark for entry in right.values() for mark in entry.get("marks", {})}
    outcome = Outcome(name=group, compared=make.counted([*left, *right]))
    for name in twice:
        details = {"what": names.candidate(name), "fault": f"two of the candidate's names stand for {name}"}
        outcome.findings.append(make.finding("mapping", name, Verdict.ERROR, details=details))
    for name, problem in words.problems.items():
        details = {"what": name, "fault": problem}
        outcome.findings.append(make.finding("mapping", name, details=details, candidate=made(c, group, name)))
    for name in [*left, *(n for n in right if n not in left)]:
        a, b = left.get(name), right.get(name)
        places = {"reference": made(r, group, name), "candidate": made(c, group, names.candidate(name))}
        if b is None and a is not None:
            others = [e for e in c[group] if not set(names.reference(e["name"])) & set(left)]
            places["candidate"] = instead(c, others, names.candidate(name), a["shape"])
        if a is None or b is None:
            kind = "missing-in-reference" if a is None else "missing-in-candidate"
            details = {"reference": _shape(a), "candidate": _shape(b)}
            if not make.ignored(name):
                found = make.finding(kind, name, details=details, measured=_shape(b), allowed=_shape(a))
                outcome.findings.append(found.model_copy(update=places))
            continue
        flat_a, flat_b = ({k: str(v) for k, v in side.items()} for side in (a, b))
        # A mark is for who trains: nothing asks for those of the candidate alone, and a model that is published may do
        # without all of one name.
        more = {m for m in a.get("marks", {}).items() if m[0] in used} <= b.get("marks", {}).items()
        for finding in make.differences(flat_a, flat_b, name):
            weight = {"verdict": Verdict.NOTE} if more and finding.subject == f"{name}.marks" else {}
            outcome.findings.append(finding.model_copy(update={**places, **weight}))
    if not left and not right:
        outcome.skipped, outcome.reason = True, f"neither side has {group}"
    return outcome


def _cut(words: mapping.Resolved, name: str) -> bool:
    """Whether a candidate's name is one of several pieces of a parameter."""
    recipe = words.recipes.get(name)
    return recipe is not None and recipe.part is not None


def _in_reference_words(
    entries: Sequence[Mapping[str, Any]], words: mapping.Resolved
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The candidate's entries by the names, and in the shapes, that the reference has for them."""
    for entry in entries:
        plain = _plain(entry)
        recipe = words.recipes.get(entry["name"])
        if recipe is None:
            yield entry["name"], plain
        else:
            for source, shape in zip(recipe.sources, recipe.shapes, strict=True):
                yield source, {**plain, "shape": list(shape)}


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared of a parameter or buffer."""
    return {key: value for key, value in entry.items() if key not in ("name", "made", "filled")}


def _shape(entry: Mapping[str, Any] | None) -> str:
    return f"{entry['shape']} {entry['dtype']}" if entry else "missing"


def _order(job: Job, r: Mapping[str, Any], c: Mapping[str, Any], names: _Names) -> Outcome:
    """Order of the state dict's common names. A note: it changes no output, but optimizer states follow it."""
    theirs = list(dict.fromkeys(source for name in c["order"] for source in names.reference(name)))
    left = [n for n in r["order"] if n in set(theirs)]
    right = [n for n in theirs if n in set(r["order"])]
    outcome = Outcome(name="order", compared=_maker(job, "order").counted(left))
    for position, (a, b) in enumerate(zip(left, right, strict=True)):
        if a != b and not _maker(job, "order").ignored(b):
            details = {"position": position, "reference": a, "candidate": b}
            place = owner(c, names.candidate(b))
            outcome.findings.append(
                _maker(job, "order").finding(
                    "order", b, Verdict.NOTE, details=details, measured=b, allowed=a, candidate=place
                )
            )
            break
    if not left:
        outcome.skipped, outcome.reason = True, "no common names"
    return outcome


def _tied(job: Job, r: Mapping[str, Any], c: Mapping[str, Any], names: _Names) -> Outcome:
    """Which names share one tensor."""
    make = _maker(job, "tied")
    left = {name: group for group in r["tied"] for name in group}
    shared = [sorted(source for name in group for source in names.reference(name)) for group in c["tied"]]
    right = {name: group for group in shared for name in group}
    outcome = Outcome(name="tied", compared=make.counted(e["name"] for e in r["parameters"]))
    for name in sorted(left.keys() | right.keys()):
        a, b = left.get(name, []), right.get(name, [])
        if a != b and not make.ignored(name):
            details = {"reference": ", ".join(a) or "none", "candidate": ", ".join(b) or "none"}
            outcome.findings.append(
                make.finding(
                    "tied",
                    name,
                    details=details,
                    reference=made(r, "parameters", name),
                    candidate=made(c, "parameters", names.candidate(name)),
                )
            )
    if not r["parameters"]:
        outcome.skipped, outcome.reason = True, "no parameters"
    return outcome


def _tree(job: Job, r: Mapping[str, Any], c: Mapping[str, Any]) -> Outcome:
    """Paths of modules that hold state. Stateless ones (an activation, a dropout) may be written as functions."""
    make = _maker(job, "modules")
    if job.spec.mapping.parameters:
        return Outcome(name="modules", skipped=True, reason="the spec maps names; modules go by what they hold")
    left, right = ({m["path"]: m for m in side["modules"] if m["stateful"]} for side in (r, c))
    outcome = Outcome(name="modules", compared=make.counted([*left, *right]))
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
    if not left and not right:
        outcome.skipped, outcome.reason = True, "no module holds state"
    return outcome
