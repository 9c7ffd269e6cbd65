"""settings: do aligned modules hold the same eps, rates, strides, head counts, activations?

Torch's own classes mean the same by the same settings, so a difference there is one, also where no output shows it (a
dropout rate). In a project's own classes one name can stand for two things; there a difference is a note, and the
passes that use it decide. So is what only one side holds, and what is held in private, by the class, or in a dictionary.
Activations of libraries are one where they make the same of the same numbers, whatever their class is called.

Modules are aligned by path or by the spec's mapping. Of those that are not, torch's classes are compared by what all
modules of a class hold together; the rest is told as not done.

Where both models are transformers' own kind, what they tell it of loading and placing is compared by what it means: which
modules stay whole, which tensors stay float32, which parameters are the embeddings.

Where a model has methods of its own for it, `train()` and `eval()` must leave the modules in the same modes, and what the
reference's give back the candidate's do: the model, so that calls can follow each other.
"""

from __future__ import annotations

import json
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verify.checks import forward, structure
from verify.checks.base import Job, Maker, Outcome, faults, location
from verify.mapping import rename
from verify.messages import WHOLE, say
from verify.report import Finding, Verdict
from verify.spec import ParameterRule
from verify.trace import BOTH, Ask, Role, Trace

SUMMARY = "what modules hold that is no parameter: eps, dropout rates, strides, head counts"
RUNS_CASES = False

HARMLESS = frozenset({"inplace", "batch_first", "dim", "start_dim", "end_dim", "unflattened_size"})
"""Settings of torch's modules that can be written in two ways (-1 and 3) or say how a thing is computed, and not what.
An output shows where one of them is wrong."""

CONTAINERS = frozenset({"ModuleList", "ModuleDict", "Sequential"})
"""Classes that compute nothing of their own."""
BESIDE = frozenset({"padding", "padding_mode", "count_include_pad"})
"""Settings whose work may be done beside their module, as by `F.pad`. Any pass through it shows where it is not done."""

SIZES = frozenset({"in_features", "out_features", "in_channels", "out_channels", "num_features", "num_channels"}) | {
    "num_embeddings", "embedding_dim", "normalized_shape", "num_parameters"
}  # fmt: skip
"""Settings that parameters show by their shapes. Where weights are fused they are others, and the function is the same."""

MOST_NAMED = 5
"""Modules that a reason names; it tells how many there are."""

RESPONSE = 2.0**-40
"""How far apart two activations of libraries may answer: a few thousand roundings of float64, of numbers up to 4. Two
formulas for one function differ by a few, two functions by far more."""
NAMED = ("kept float32", "kept float32 (strict)", "input embeddings", "output embeddings")
"""What a model tells of loading by the names of its parameters."""

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
    lone: dict[Role, list[str]] = {role: [] for role in BOTH}
    """Settings that only one of two modules has, whose classes have other names."""
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
        held = _noted(left[path], right[theirs])
        places = _Places((r.result, c.result), (left[path], right[theirs]))
        for (ours, others), weight in ((changed, verdict), (held, Verdict.NOTE)):
            for finding in make.differences(ours, others, path):
                name = finding.subject.removeprefix(f"{path}.").partition(".")[0]
                renamed = _named(finding, path, theirs)
                outcome.findings.append(renamed.model_copy(update={"verdict": weight, **places.of(name)}))
        outcome.compared += _tried(left[path], right[theirs]) and not make.ignored(path)
        for finding in _class(make, path, left[path], right[theirs]):
            outcome.findings.append(finding.model_copy(update=places.of("")))
        for role, alone in zip(BOTH, _one_sided(left[path], right[theirs]), strict=True):
            if left[path]["class"] != right[theirs]["class"]:
                lone[role] += alone
            else:
                outcome.findings += _missing(make, path, role, alone, places)
    if not (seen or outcome.compared):
        alike = "modules that the mapping shows to be alike" if job.spec.mapping.parameters else "modules of one path"
        outcome.skipped, outcome.reason = True, f"no {alike} have a setting in common"
    yield outcome
    if any(lone.values()):
        told = " and ".join(f"of the {role} {_counted(names)}" for role, names in lone.items() if names)
        reason = f"settings that only one side has, in modules of one path and of classes with other names: {told}"
        yield Outcome(name="one side", skipped=True, reason=reason)
    yield from _loading(job, r.result, c.result, pairs)
    yield from _modes(job, r.result, c.result, pairs)
    yield from _alone(
        job,
        [left[path] for path in left if path not in pairs],
        [right[path] for path in right if path not in set(pairs.values())],
    )


@dataclass(frozen=True)
class _Places:
    """Where both sides' settings of one module were made. answers: to `settings`; modules: those in them."""

    answers: tuple[Mapping[str, Any], Mapping[str, Any]]
    modules: tuple[Mapping[str, Any], Mapping[str, Any]]

    def of(self, name: str) -> dict[str, Any]:
        """The line that set it on each side; else the class that holds the module."""
        return {
            role: location(module.get("made", {}).get(name)) or structure.owner(answer, module["path"])
            for role, answer, module in zip(BOTH, self.answers, self.modules, strict=True)
        }


def _missing(make: Maker, path: str, role: Role, names: Sequence[str], places: _Places) -> Iterator[Finding]:
    """Notes of settings that one side alone has."""
    for name in names:
        subject = f"{path}.{name}" if path else name
        if not make.ignored(subject):
            note = make.finding("settings-one-side", subject, Verdict.NOTE, details={"side": role})
            yield note.model_copy(update={role: places.of(name)[role]})


def _counted(names: Sequence[str]) -> str:
    """Names, each once, with how often it comes."""
    return ", ".join(name if n == 1 else f"{name} ({n} times)" for name, n in Counter(names).items())


def _loading(job: Job, r: Mapping[str, Any], c: Mapping[str, Any], pairs: Mapping[str, str]) -> Iterator[Outcome]:
    """What both models tell transformers, in the reference's words.

    pairs: see `_aligned`. A module that only the candidate keeps whole, embeddings that only it hands out, and what only it
    supports are more than is asked for, and notes; so are names that lead nothing to another place.
    """
    left, right = r.get("loading"), c.get("loading")
    if left is None or right is None:
        if left is not None:
            reason = (
                "the candidate is no PreTrainedModel: what the reference tells transformers of loading is not compared"
            )
            yield Outcome(name="loading", skipped=True, reason=reason)
        return
    make = Maker(job=job, check="settings", group="loading")
    back = {theirs: ours for ours, theirs in pairs.items()}
    mapped = bool(job.spec.mapping.parameters)
    outcome = Outcome(name="loading", compared=make.counted(set(left) - set(NAMED if mapped else ())))

    def tell(what: str, a: Any, b: Any, verdict: Verdict) -> None:
        if a != b and not make.ignored(what):
            details = {"what": what, "reference": a, "candidate": b}
            found = make.finding("value", what, verdict, details=details)
            places = {"reference": structure.owner(r, ""), "candidate": structure.owner(c, "")}
            outcome.findings.append(found.model_copy(update=places))

    whole = [p for p in left["kept whole"] if p in pairs], [back[p] for p in right["kept whole"] if p in back]
    split = [p for p in whole[0] if not any(p == w or p.startswith(f"{w}.") or not w for w in whole[1])]
    tell("kept whole", sorted(whole[0]), sorted(whole[1]), Verdict.DIFFERENT if split else Verdict.NOTE)
    for what in () if mapped else NAMED:
        more = what.endswith("embeddings") and left[what] is None
        tell(what, left[what], right[what], Verdict.NOTE if more else Verdict.DIFFERENT)
    for what in ("base_model_prefix", "main_input_name"):
        tell(what, left[what], right[what], Verdict.NOTE)
    lacking = [name for name in left["supports"] if name not in right["supports"]]
    tell("supports", lacking, [], Verdict.NOTE)
    yield outcome
    if mapped and any(side[what] for side in (left, right) for what in NAMED):
        reason = f"the spec maps names of parameters: {', '.join(NAMED)} are not compared"
        yield Outcome(name="loading names", skipped=True, reason=reason)


def _modes(job: Job, r: Mapping[str, Any], c: Mapping[str, Any], pairs: Mapping[str, str]) -> Iterator[Outcome]:
    """Modes of aligned modules after a switch, of those that lie in each other the outermost; what methods give back."""
    if r.get("modes") is None or c.get("modes") is None:
        return
    places = {"reference": structure.owner(r, ""), "candidate": structure.owner(c, "")}
    make = Maker(job=job, check="settings", group="modes", **places)
    outcome = Outcome(name="modes")
    back = {theirs: ours for ours, theirs in pairs.items()}
    for switch, other in (("train", "eval"), ("eval", "train")):
        if not all(switch in side["modes"]["left"] for side in (r, c)):
            continue
        ours = {path for path in r["modes"]["left"][switch] if path in pairs}
        theirs = {back[path] for path in c["modes"]["left"][switch] if path in back}
        apart = ours ^ theirs
        for path in sorted(p for p in apart if not any(_encloses(q, p) for q in apart)):
            words = [other if path in side else switch for side in (ours, theirs)]
            what = f"the mode of {path or WHOLE} after model.{switch}()"
            _tell(make, outcome, path or WHOLE, what, words, Verdict.DIFFERENT)
    chained = [dict.fromkeys(c["modes"]["chained"], True) | r["modes"]["chained"], c["modes"]["chained"]]
    for name, ours in sorted(chained[0].items()):
        theirs = chained[1].get(name, True)
        if ours != theirs:
            words = ["the model" if side else "something else" for side in (ours, theirs)]
            verdict = Verdict.NOTE if theirs else Verdict.DIFFERENT
            _tell(make, outcome, f"{name}()", f"what model.{name}() gives back", words, verdict)
    outcome.compared = len(outcome.findings)  # where no method is written anew, nothing was
    if outcome.findings:
        yield outcome


def _encloses(path: str, other: str) -> bool:
    return path != other and (not path or other.startswith(f"{path}."))


def _tell(make: Maker, outcome: Outcome, subject: str, what: str, words: Sequence[str], verdict: Verdict) -> None:
    """Notes a finding about a subject, unless the spec ignores it. words: what the reference and the candidate have."""
    if not make.ignored(subject):
        details = {"what": what, "reference": words[0], "candidate": words[1]}
        found = make.finding("does", subject, verdict, details=details, measured=words[1], allowed=words[0])
        outcome.findings.append(found)


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


def _noted(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What two modules hold otherwise that is no setting."""
    more = [side.get("more", {}) for side in (a, b)]
    apart = [name for name in more[0].keys() & more[1].keys() if more[0][name] != more[1][name]]
    return [{name: side[name] for name in apart} for side in more]


def _tried(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two modules are activations of libraries, so that what they compute is known."""
    return a.get("response") is not None and b.get("response") is not None


def _class(make: Maker, path: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Finding]:
    """That two modules are of other classes: a difference where both are known and compute otherwise; a note where one is
    a library's and holds no parameters, so that nothing else would tell. Own classes may be called anything."""
    if a["class"] == b["class"] or make.ignored(path):
        return
    details = {"reference": a["class"], "candidate": b["class"]}
    if _tried(a, b):
        pairs = zip(a["response"], b["response"], strict=False)
        same = len(a["response"]) == len(b["response"]) and all(abs(x - y) <= RESPONSE for x, y in pairs)
        if not same:
            yield make.finding("class-computes", path, details=details, measured=b["class"], allowed=a["class"])
    elif (
        (a.get("known") or b.get("known"))
        and not (a["stateful"] and b["stateful"])
        and not CONTAINERS & {a["class"], b["class"]}
    ):
        yield make.finding(
            "class-differs", path, Verdict.NOTE, details=details, measured=b["class"], allowed=a["class"]
        )


def _one_sided(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Settings that one of two modules has and the other in no way; none of classes of
    torch, which has others in other releases, and of activations, whose numbers are compared."""
    if _tried(a, b) or (a["library"] and b["library"]):
        return [], []
    held = [side["settings"].keys() | side.get("more", {}).keys() for side in (a, b)]
    alone = (a["settings"].keys() - held[1], b["settings"].keys() - held[0])
    ours, theirs = (sorted(names - HARMLESS - SIZES) for names in alone)
    return ours, theirs


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
